package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/bench"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/tty"
)

func newBench() *cobra.Command {
	var o bench.Options
	var connect, args []string
	var json bool
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure calls per second and their latency",
		Long: `Calls one method as fast as the cluster answers and prints calls per second and
the latencies. At its end it checks that the object grew by exactly what was
acknowledged.`,
		Example: `  syncsh bench --object counter --method inc --clients 64 --pipeline 16 --duration 10s
  syncsh bench -c 127.0.0.1:7400,127.0.0.1:7401 --json`,
		Args:    cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error { return fromEnv(cmd.Flags(), "connect", "timeout") },
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Addrs, err = nodeAddrs(connect); err != nil {
				return err
			}
			if o.Timeout <= 0 {
				return errTimeoutFlag
			}
			for _, a := range args {
				v, err := shell.GoValue(shell.ParseArg(a))
				if err != nil {
					return err
				}
				o.Args = append(o.Args, v)
			}
			bar := newBar(json)
			defer bar.Clear()
			if bar != nil {
				o.Progress = func(p bench.Progress) { showBench(bar, o.Duration, p) }
			}
			return shell.Interruptible(cmd.Context(), func(ctx context.Context) error {
				report, err := bench.Run(ctx, o)
				bar.Clear()
				if errors.Is(err, bench.ErrOptions) {
					return &shell.UsageError{Text: err.Error()}
				}
				if report == nil {
					return cutShort(ctx, err)
				}
				var perr error
				if json {
					perr = printJSON(report)
				} else {
					perr = report.WriteText(os.Stdout)
				}
				if err == nil {
					err = perr
				}
				return err
			})
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&connect, "connect", "c", []string{"127.0.0.1:7400"}, "addresses of nodes (SYNCSH_CONNECT)")
	fs.StringVar(&o.Object, "object", "counter", "object to call")
	fs.StringVar(&o.Method, "method", "inc", "its method")
	fs.StringArrayVar(&args, "arg", nil, "argument of each call, a Lua literal or a string; may be repeated")
	fs.IntVar(&o.Clients, "clients", bench.ClientsDefault, "connections")
	fs.IntVar(&o.Pipeline, "pipeline", bench.PipelineDefault, "calls in flight on each")
	fs.DurationVar(&o.Duration, "duration", bench.DurationDefault, "how long")
	fs.DurationVar(&o.Timeout, "timeout", client.DefaultTimeout, "for each call (SYNCSH_TIMEOUT)")
	fs.BoolVar(&json, "json", false, "print JSON")
	return cmd
}

// showBench shows how much of the duration is over, and what was reached.
func showBench(bar *tty.Bar, duration time.Duration, p bench.Progress) {
	bar.Show("bench", min(float64(p.Elapsed)/float64(duration), 1), fmt.Sprintf("%d of %d s  %.0f calls/s  %d errors",
		int(p.Elapsed.Seconds()), int(duration.Seconds()), p.PerSecond, p.Errors))
}
