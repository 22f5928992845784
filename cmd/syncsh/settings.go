package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newSettings() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "settings [NAME [VALUE]]",
		Short: "Show or change the replicated limits",
		Long: `Shows the limits of calls and scripts, or changes one. A change goes through the
log: every node has it from the same call on.`,
		Example: "  syncsh settings\n  syncsh settings instructions 2000000",
		Args:    cobra.MaximumNArgs(2),
	}
	f := addClientFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		value := 0.0
		if len(args) == 2 {
			var err error
			if value, err = strconv.ParseFloat(args[1], 64); err != nil {
				return &shell.UsageError{Text: fmt.Sprintf("settings: %q is not a number", args[1])}
			}
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			if len(args) == 2 {
				if err := c.Set(ctx, args[0], value); err != nil {
					return err
				}
			}
			return printSettings(ctx, c, f.json, args)
		})
	}
	return cmd
}

// printSettings prints all settings, or the one that is named.
func printSettings(ctx context.Context, c *client.Client, asJSON bool, args []string) error {
	infos, err := c.Settings(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		named := infos[:0]
		for _, s := range infos {
			if s.Name == args[0] {
				named = append(named, s)
			}
		}
		if infos = named; len(infos) == 0 {
			return &client.Error{Code: client.CodeNotFound, Message: fmt.Sprintf("no setting %q; see syncsh settings", args[0])}
		}
	}
	if asJSON {
		return printJSON(infos)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tDEFAULT\tLEAST\tMOST")
	for _, s := range infos {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.0f\n", s.Name, s.Value, s.Default, s.Least, s.Most)
	}
	return w.Flush()
}
