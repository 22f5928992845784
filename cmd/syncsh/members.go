package main

import (
	"context"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newMembers() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "members",
		Short: "List the members as the asked node knows them",
		Long: `Lists the members as the asked node knows them. It needs no leader: without one
the list is what that node last heard, and the exit code is 0. It exits with 3
when no node answers.`,
		Example: "  syncsh members\n  syncsh members --json",
		Args:    cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "list them again every second until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			return shell.Repeat(ctx, os.Stdout, watch, !f.json, func(w io.Writer) error {
				m, err := c.Members(ctx)
				if err != nil {
					return err
				}
				if f.json {
					return writeJSON(w, m)
				}
				shell.WriteMembers(w, m)
				return nil
			})
		})
	}
	return cmd
}
