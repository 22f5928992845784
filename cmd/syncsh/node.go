package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/tty"
	"github.com/syncsh/syncsh/luafsm"
)

// nodeStopTimeout bounds how long a node that is told to stop may take.
const nodeStopTimeout = 10 * time.Second

// gossipKeyBytes is the length of the gossip key.
const gossipKeyBytes = 32

// nodeFlags are the flags that need work before they are a node.Config.
type nodeFlags struct {
	conf      node.Config
	keyFile   string
	keyGiven  bool // --key-file, or its variable, was set
	logLevel  string
	logFormat string
}

func newNode() *cobra.Command {
	f := &nodeFlags{}
	cmd := &cobra.Command{
		Use:   "node [FILE...]",
		Short: "Run a member of a cluster",
		Long: `Runs a member of a cluster until SIGTERM or SIGINT, then hands leadership over,
closes the log and exits with 0. The script files given are deployed once the
cluster has a leader, unless they are deployed already.

Each flag can also be given as SYNCSH_NAME, SYNCSH_ADDR and so on.

Exit code 2, one line, and nothing changed: a port in use; a data directory that
is locked, damaged, or of another node; one of another cluster than that of a
node at an address in --join, if no member of the own cluster answers there; and
a name that a node of the cluster has which answers. Later, while it serves, a
node of another cluster is only refused and logged.`,
		Example: `  syncsh node --name n1 --addr 127.0.0.1:7400 --data ./n1 --expect 3 --join 127.0.0.1:7401,127.0.0.1:7402
  syncsh node --expect 1 scripts/counter.lua`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: completeScripts,
		PreRunE:           func(cmd *cobra.Command, _ []string) error { return fromEnv(cmd.Flags()) },
		RunE: func(cmd *cobra.Command, files []string) error {
			f.keyGiven = cmd.Flags().Changed("key-file")
			return f.run(cmd.Context(), files)
		},
	}
	host, err := os.Hostname()
	if err != nil {
		host = "node"
	}
	fs := cmd.Flags()
	fs.StringVar(&f.conf.Name, "name", host, "name, unique in the cluster, kept in the data directory: letters, digits and any of . _ - : @")
	fs.StringVar(&f.conf.Addr, "addr", "127.0.0.1:7400", "host:port to listen on, TCP and UDP")
	fs.StringVar(&f.conf.Advertise, "advertise", "", "host:port that others use, when it differs")
	fs.StringVar(&f.conf.Data, "data", "", "data directory (default: everything in memory)")
	fs.StringSliceVar(&f.conf.Join, "join", nil, "addresses of any members to find the cluster through")
	fs.IntVar(&f.conf.Expect, "expect", 0, "found a new cluster once so many nodes, 1 to 9, have found each other (0: never)")
	fs.StringVar(&f.conf.Durability, "durability", "fsync", "fsync, async or memory")
	fs.DurationVar(&f.conf.FlushInterval, "flush-interval", 100*time.Millisecond, "how often async flushes; more than 0")
	fs.IntVar(&f.conf.SnapshotEntries, "snapshot-entries", 100_000, "dump after so many log entries; 1 or more")
	fs.DurationVar(&f.conf.SnapshotInterval, "snapshot-interval", 10*time.Minute, "dump at least so often; more than 0")
	fs.BoolVar(&f.conf.Observer, "observer", false, "never vote: serve reads and forward calls")
	fs.BoolVar(&f.conf.LeaseReads, "lease-reads", false, `let leaders answer --read lease without a round; on all nodes or none.
Safe while no node's clock runs faster than another's by a quarter and
none stands still, as a paused virtual machine's may; a leader that
failed is replaced up to 0.6 s later. To take it away, stop a node for 1 s`)
	fs.StringVar(&f.keyFile, "key-file", "", "file with the gossip key: 32 bytes in base64")
	completeFlag(cmd, "durability", "fsync", "async", "memory")
	fs.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	fs.StringVar(&f.logFormat, "log-format", "text", "text or json")
	completeFlag(cmd, "log-level", "debug", "info", "warn", "error")
	completeFlag(cmd, "log-format", "text", "json")
	return cmd
}

// prepare completes the configuration from the flags.
func (f *nodeFlags) prepare() error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return &shell.UsageError{Text: fmt.Sprintf("--log-level %s: want debug, info, warn or error", f.logLevel)}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch f.logFormat {
	case "text":
		var lines io.Writer = os.Stderr
		if bar := newBar(false); bar != nil {
			lines, f.conf.Progress = bar, func(p node.Progress) { showBehind(bar, p) }
		}
		f.conf.Logger = slog.New(slog.NewTextHandler(lines, opts))
	case "json":
		f.conf.Logger = slog.New(slog.NewJSONHandler(os.Stderr, opts))
	default:
		return &shell.UsageError{Text: fmt.Sprintf("--log-format %s: want text or json", f.logFormat)}
	}
	if err := f.checkNumbers(); err != nil {
		return err
	}
	f.conf.Build = version
	underFaults(&f.conf)
	f.conf.Print = func(object, text string) { f.conf.Logger.Debug("print", "object", object, "text", text) }
	if !f.keyGiven {
		return nil
	}
	key, err := readKey(f.keyFile)
	f.conf.Key = key
	return err
}

// showBehind shows how far a node that joins or comes back is.
func showBehind(bar *tty.Bar, p node.Progress) {
	switch {
	case p.Total == 0:
		bar.Clear()
	case p.Bytes:
		bar.Bytes(p.What, p.Done, p.Total)
	default:
		bar.Show(p.What, float64(p.Done)/float64(p.Total), fmt.Sprintf("%d of %d calls", p.Done, p.Total))
	}
}

// readKey reads a gossip key.
func readKey(file string) ([]byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, &shell.UsageError{Text: fmt.Sprintf("--key-file: %v", err)}
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		return nil, &shell.UsageError{Text: fmt.Sprintf("--key-file %s: %v; want %d bytes in base64", file, err, gossipKeyBytes)}
	}
	// An empty key would be none: gossip that anybody can read and send.
	if len(key) != gossipKeyBytes {
		return nil, &shell.UsageError{Text: fmt.Sprintf("--key-file %s: a key of %d bytes, want %d bytes in base64", file, len(key), gossipKeyBytes)}
	}
	return key, nil
}

// checkNumbers refuses 0, which is a default only in a node.Config.
func (f *nodeFlags) checkNumbers() error {
	switch {
	case f.conf.SnapshotEntries < 1:
		return &shell.UsageError{Text: fmt.Sprintf("--snapshot-entries %d: want 1 or more", f.conf.SnapshotEntries)}
	case f.conf.SnapshotInterval <= 0:
		return &shell.UsageError{Text: fmt.Sprintf("--snapshot-interval %v: want more than 0", f.conf.SnapshotInterval)}
	case f.conf.FlushInterval <= 0:
		return &shell.UsageError{Text: fmt.Sprintf("--flush-interval %v: want more than 0", f.conf.FlushInterval)}
	}
	return nil
}

func (f *nodeFlags) run(ctx context.Context, files []string) error {
	if err := f.prepare(); err != nil {
		return err
	}
	given, err := shell.ReadScripts(files)
	if err != nil {
		return err
	}
	if len(given) > 0 {
		if findings := luafsm.Check(given); len(findings) > 0 {
			return &shell.LuaError{Text: findingText(findings[0])}
		}
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var n *node.Node
	err = startUnlocked(ctx, lockPatience,
		func() (err error) { n, err = node.Start(f.conf); return err },
		func(err error) { f.conf.Logger.Debug("waiting for the data directory", "why", err) })
	if err != nil {
		return startError(damageError(err))
	}
	if f.conf.Data == "" {
		f.conf.Logger.Warn("no --data: everything is in memory and lost when this node stops")
	}
	if len(given) > 0 {
		go func() {
			report, err := shell.DeployWhenReady(ctx, n, given)
			for _, line := range report {
				f.conf.Logger.Info("deployed", "what", line)
			}
			if err != nil && ctx.Err() == nil {
				f.conf.Logger.Error("deploy of the scripts given", "err", err)
			}
		}()
	}
	select {
	case <-n.Done():
		if err := n.Err(); errors.Is(err, node.ErrRefused) {
			return startError(err)
		}
		return damageError(n.Err())
	case <-ctx.Done():
	}
	stop() // a second signal ends the process at once
	f.conf.Logger.Info("stopping")
	sctx, cancel := context.WithTimeout(context.Background(), nodeStopTimeout)
	defer cancel()
	return n.Stop(sctx)
}
