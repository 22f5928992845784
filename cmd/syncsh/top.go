package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/top"
	"github.com/syncsh/syncsh/internal/tty"
)

// topIntervalMin keeps looking from becoming load.
const topIntervalMin = 100 * time.Millisecond

func newTop() *cobra.Command {
	var interval time.Duration
	var once bool
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Show nodes and calls on a live screen",
		Long: `Shows the nodes with role, term, applied index, lag and health; calls per second,
failures and latency by node and by method; the slowest calls of the last minute
and the calls that failed last. q or Ctrl-C leaves.

Latencies are those that the nodes see: from the arrival of a request to its
answer. A call counts at the node that its client is connected to.

Without a terminal, with --once and with --json it prints one picture, of one
interval. docs/TOP.md tells what each column means.`,
		Example: `  syncsh top
  syncsh top -c 127.0.0.1:7401 --interval 5s
  syncsh top --json --interval 10s`,
		Args: cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	cmd.Flags().DurationVar(&interval, "interval", time.Second, "time between two pictures")
	cmd.Flags().BoolVar(&once, "once", false, "print one picture and end")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if interval < topIntervalMin {
			return &shell.UsageError{Text: fmt.Sprintf("--interval %v: want %v or more", interval, topIntervalMin)}
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			if !once && !f.json && tty.Is(os.Stdin) && tty.Is(os.Stdout) && os.Getenv("TERM") != "dumb" {
				return topLive(ctx, c, interval)
			}
			v, err := top.Once(ctx, c, interval)
			if ctx.Err() != nil {
				return shell.ErrInterrupted
			}
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(v)
			}
			for _, line := range v.Lines(top.Layout{Colours: tty.Is(os.Stdout) && tty.Colours()}) {
				fmt.Println(line)
			}
			return nil
		})
	}
	return cmd
}

// topLive gives the terminal back when ctx ends: when the process is told to end,
// too.
func topLive(ctx context.Context, c *client.Client, interval time.Duration) error {
	screen, err := tty.OpenScreen(os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	defer screen.Close()
	return top.Live(ctx, c, screen, interval)
}
