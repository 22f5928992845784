package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newSnapshot() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "snapshot",
		Short:   "Dump the state of the asked node to its disk now",
		Example: "  syncsh snapshot -c 127.0.0.1:7401",
		Args:    cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			index, err := shell.Snapshot(ctx, c)
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(map[string]uint64{"index": index})
			}
			fmt.Printf("snapshot at index %d\n", index)
			return nil
		})
	}
	return cmd
}
