package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
)

func newDeploy() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deploy FILE...",
		Short: "Deploy scripts to the cluster",
		Long: `Checks the scripts, runs them against a copy of the present state on the leader,
and only then deploys all of them in one log entry. A deploy that fails changes
nothing. Objects of other scripts stay as they are.

Where there is no file of that name, queue stands for queue.lua of the library
that is part of this program; syncsh scripts --library lists it.`,
		Example: `  syncsh deploy scripts/counter.lua
  syncsh deploy -c 127.0.0.1:7401 *.lua
  syncsh deploy queue lock`,
		Args: cobra.MinimumNArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = completeScripts
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		given, err := shell.ReadScripts(files)
		if err != nil {
			return err
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			report, err := shell.Deploy(ctx, c, given)
			var refused *shell.DeployError
			if errors.As(err, &refused) {
				return notClients(err, given)
			}
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(map[string]any{"deployed": shell.ScriptNames(given), "report": report})
			}
			for _, line := range report {
				fmt.Println(line)
			}
			fmt.Println("deployed " + strings.Join(shell.ScriptNames(given), ", "))
			return nil
		})
	}
	return cmd
}

// clientError is a refused deploy of scripts that look like clients.
type clientError struct {
	error
	hint string
}

func (e *clientError) Unwrap() error { return e.error }

// notClients adds to the error of a deploy which scripts are to be run instead:
// what is wrong with them as objects tells their authors nothing.
func notClients(err error, given []command.Script) error {
	var hints []string
	for _, s := range given {
		if shell.IsClient(s.Source) {
			hints = append(hints, clientText(s))
		}
	}
	if len(hints) == 0 {
		return err
	}
	return &clientError{err, strings.Join(hints, "\n")}
}
