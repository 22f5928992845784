package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run FILE [ARG...]",
		Short: "Run a Lua script as a client of the cluster",
		Long: `Runs a Lua script as a client of the cluster, with the full standard library,
the objects as globals, sleep, every, after, and callbacks. It goes on until the
script has ended and no timer or unanswered call is left. A script may begin
with #!/usr/bin/env -S syncsh run.

All that stands behind FILE is the script's, flags and -- too: it finds them in
args and in ... . An error that nothing catches is printed with its traceback.
What it returns is printed with --json only, as one JSON value.`,
		Example: `  syncsh run worker.lua
  syncsh run -c 127.0.0.1:7401 import.lua data.csv`,
		Args: cobra.MinimumNArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = completeScripts
	cmd.Flags().SetInterspersed(false) // flags after FILE are the script's
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		source, err := os.ReadFile(args[0])
		if err != nil {
			return &shell.UsageError{Text: err.Error()}
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			s := f.session(c)
			defer s.Close()
			if err := s.Run(ctx, filepath.Base(args[0]), string(source), args[1:]); err != nil {
				return err
			}
			return s.Drain(ctx, true)
		})
	}
	return cmd
}
