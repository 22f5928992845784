package main

import (
	"context"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newStatus() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster at a glance",
		Long: `Shows the cluster at a glance, as the node that is connected knows it and its
members answer. It needs no leader: without one it says so, and exits with 0.
It exits with 3 when no node answers.`,
		Example: "  syncsh status\n  syncsh status --json\n  syncsh status --watch -c 127.0.0.1:7401",
		Args:    cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "show it again every second until Ctrl-C")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			return shell.Repeat(ctx, watch, func() error {
				s, err := c.Status(ctx)
				if err != nil {
					return err
				}
				if f.json {
					return printJSON(s)
				}
				shell.WriteStatus(os.Stdout, s)
				return nil
			})
		})
	}
	return cmd
}
