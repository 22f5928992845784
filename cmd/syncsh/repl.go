package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newREPL() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repl",
		Short: "Open a REPL on a running cluster",
		Example: `  syncsh repl -c 127.0.0.1:7400,127.0.0.1:7401
  echo 'counter:inc()' | syncsh repl`,
		Args: cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var c *client.Client
		err := shell.Interruptible(cmd.Context(), func(ctx context.Context) (err error) {
			c, err = f.dial(ctx)
			return cutShort(ctx, err)
		})
		if err != nil {
			return err
		}
		defer c.Close() //nolint:errcheck // always nil
		return shell.RunREPL(cmd.Context(), shell.REPLConfig{
			Node: c, Timeout: f.timeout, Mode: f.mode(), JSON: f.json, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		})
	}
	return cmd
}
