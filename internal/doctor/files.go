package doctor

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/node"
)

// A node keeps some files of its log and its peers open, and one for each client.
const (
	filesLeast  = 256
	filesEnough = 4096
)

const filesAdvice = "raise the limit of open files (ulimit -n, LimitNOFILE= of a systemd unit): each client takes one"

// filesHere looks at what this process may open. Go has raised the soft limit to
// the hard one already, as it does in a node.
func filesHere() Check { return files("this machine", node.FilesMax()) }

func files(of string, most int) Check {
	c := Check{Name: "open files", Of: of, Status: OK, Seen: fmt.Sprintf("%d may be open", most)}
	switch {
	case most >= 1<<30:
		c.Seen = "no limit"
	case most < filesLeast:
		c.Status, c.Advice = Fail, filesAdvice
	case most < filesEnough:
		c.Status, c.Advice = Warn, filesAdvice
	}
	return c
}
