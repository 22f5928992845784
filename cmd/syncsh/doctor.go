package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/doctor"
	"github.com/syncsh/syncsh/internal/shell"
)

func newDoctor() *cobra.Command {
	var o doctor.Options
	var keyFile string
	var json bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Look for what keeps a cluster from working well, and say what to do",
		Long: `Looks at this machine: whether --addr is free for a node, over TCP and UDP, how
many files may be open, and how fast and how full the disk of --data is. To
measure, it writes a file of 1 MiB into --data, or the nearest directory above
that exists, 100 times or for 2 s, and removes it.

Then at the members of the cluster at --connect: whether each is reached over TCP
and UDP from here and by gossip, whether there is a leader, how far apart the
clocks are, and whether versions and architectures are mixed.

One line each: ok, warn or fail, what was seen, and what to do. Exits with 1 if
anything failed. Without --connect a cluster is not expected: that no node
answers is a warning, and --addr is looked at too.`,
		Example: `  syncsh doctor --addr 127.0.0.1:7400 --data ./n1
  syncsh doctor -c 127.0.0.1:7400,127.0.0.1:7401 --key-file key
  syncsh doctor --json`,
		Args: cobra.NoArgs,
		PreRunE: func(cmd *cobra.Command, _ []string) error {
			return fromEnv(cmd.Flags(), "connect", "timeout", "addr", "data", "key-file")
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVarP(&o.Connect, "connect", "c", []string{"127.0.0.1:7400"}, "addresses of nodes (SYNCSH_CONNECT)")
	fs.StringVar(&o.Addr, "addr", "127.0.0.1:7400", "host:port that a node here will listen on (SYNCSH_ADDR)")
	fs.StringVar(&o.Data, "data", "", "data directory of a node here (SYNCSH_DATA)")
	fs.StringVar(&keyFile, "key-file", "", "file with the gossip key of the cluster (SYNCSH_KEY_FILE)")
	fs.DurationVar(&o.Timeout, "timeout", 3*time.Second, "for a node to answer (SYNCSH_TIMEOUT)")
	fs.BoolVar(&json, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		if o.Connect, err = nodeAddrs(o.Connect); err != nil {
			return err
		}
		if o.Timeout <= 0 {
			return errTimeoutFlag
		}
		if err := checkHostPort(o.Addr); err != nil {
			return &shell.UsageError{Text: "--addr " + o.Addr + ": " + err.Error()}
		}
		if fs.Changed("key-file") {
			if o.Key, err = readKey(keyFile); err != nil {
				return err
			}
		}
		if o.Expected = fs.Changed("connect"); o.Expected && !fs.Changed("addr") {
			o.Addr = ""
		}
		return shell.Interruptible(cmd.Context(), func(ctx context.Context) error {
			report := doctor.Run(ctx, o)
			if ctx.Err() != nil {
				return shell.ErrInterrupted
			}
			if json {
				err = printJSON(report)
			} else {
				err = report.Write(os.Stdout)
			}
			if err == nil && !report.OK {
				err = &shell.ExitError{Code: shell.ExitScript}
			}
			return err
		})
	}
	return cmd
}
