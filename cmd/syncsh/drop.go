package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newDrop() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "drop NAME",
		Short:   "Remove an object and its state",
		Example: "  syncsh drop hits",
		Args:    cobra.ExactArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.ValidArgsFunction = f.completeCall(false)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			if err := shell.Drop(ctx, c, args[0]); err != nil {
				return err
			}
			if f.json {
				return printJSON(map[string]string{"dropped": args[0]})
			}
			fmt.Println("dropped " + args[0])
			return nil
		})
	}
	return cmd
}
