package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/bench"
	"github.com/syncsh/syncsh/internal/shell"
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
			if term.IsTerminal(int(os.Stderr.Fd())) {
				o.Progress = os.Stderr
			}
			return shell.Interruptible(cmd.Context(), func(ctx context.Context) error {
				report, err := bench.Run(ctx, o)
				if errors.Is(err, bench.ErrOptions) {
					return &shell.UsageError{Text: err.Error()}
				}
				if report == nil {
					return err
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
