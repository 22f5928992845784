package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newScripts() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "scripts",
		Short:   "List the deployed scripts and their objects",
		Example: "  syncsh scripts\n  syncsh scripts --json",
		Args:    cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			d, err := shell.Describe(ctx, c, f.mode())
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(shell.ScriptList(&d))
			}
			shell.WriteScripts(os.Stdout, &d)
			return nil
		})
	}
	return cmd
}
