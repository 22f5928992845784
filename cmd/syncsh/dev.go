package main

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/scripts"
)

// devNodesMax bounds the nodes of one process.
const devNodesMax = 9

func newDev() *cobra.Command {
	var nodes int
	var json bool
	cmd := &cobra.Command{
		Use:   "dev [FILE...]",
		Short: "Run a whole cluster in this process, with a REPL on it",
		Long: `Runs real nodes on loopback ports of the system's choice, with a REPL on them:
.kill n2, .restart n2, .partition n1, .heal, .status. Their data is deleted at
the end.`,
		Example: `  syncsh dev
  syncsh dev --nodes 5 counter.lua`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeScripts,
		RunE: func(cmd *cobra.Command, files []string) error {
			if nodes < 1 || nodes > devNodesMax {
				return &shell.UsageError{Text: fmt.Sprintf("--nodes %d: 1 to %d are possible", nodes, devNodesMax)}
			}
			given, err := shell.ReadScripts(files)
			if err != nil {
				return err
			}
			var d *shell.Dev
			var report []string
			err = shell.Interruptible(cmd.Context(), func(ctx context.Context) (err error) {
				if d, err = shell.StartDev(ctx, nodes, version); err != nil {
					return startError(err)
				}
				report, err = shell.DeployMissing(ctx, d.Client, given, scripts.Default())
				return err
			})
			if d != nil {
				defer d.Close()
			}
			if err != nil {
				return err
			}
			return shell.RunREPL(cmd.Context(), shell.REPLConfig{
				Node: d.Client, Extra: d.Commands(), JSON: json, In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
				Banner: banner(fmt.Sprintf("%d nodes in this process", nodes), given, report),
			})
		},
	}
	cmd.Flags().IntVar(&nodes, "nodes", 3, "how many")
	cmd.Flags().BoolVar(&json, "json", false, "print results as JSON")
	return cmd
}
