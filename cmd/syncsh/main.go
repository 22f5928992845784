// Command syncsh is a shell for replicated objects: a node, a client and a REPL
// in one binary. docs: syncsh --help, README.md.
//
// Each command has a file of its own, which turns flags into a call of the
// package that does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/syncsh/syncsh/internal/shell"
)

func main() { os.Exit(run()) }

// run carries out the command line and returns the exit code.
func run() int {
	cmd, err := newRoot().ExecuteContextC(context.Background())
	var exit *shell.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, shell.ErrInterrupted) {
		json := cmd.Flags().Lookup("json")
		text := shell.ErrorText(err, json != nil && json.Value.String() == "true")
		text = strings.ReplaceAll(strings.TrimSpace(text), "\n", "; ")
		fmt.Fprintln(os.Stderr, "syncsh: "+text+shell.DeployPlace(err)+shell.TracebackLines(err))
		var client *clientError
		if errors.As(err, &client) {
			fmt.Fprintln(os.Stderr, client.hint)
		}
	}
	return shell.ExitCode(err)
}
