package shell

import (
	"bytes"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/client"
)

// Two members of one name, as after a node lost its data, are told apart by their
// ids; a name that one member has stands alone.
func TestStatusOfEqualNames(t *testing.T) {
	var b bytes.Buffer
	WriteStatus(&b, &client.Status{Nodes: []client.StatusNode{{Name: "n1", ID: "0a"}, {Name: "n2", ID: "0b"}, {Name: "n2", ID: "0c", Alive: true}}})
	for _, want := range []string{"\nn1     ", "\nn2 0b  ", "\nn2 0c  "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no line begins with %q:\n%s", want, b.String())
		}
	}
}
