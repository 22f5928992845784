package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/gossip"
	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
)

// clientFlags are those of all commands that talk to a cluster.
type clientFlags struct {
	connect []string
	timeout time.Duration
	stale   bool
	read    string
	within  time.Duration
	json    bool

	withinGiven bool
}

// Modes of reads, as --read names them.
const (
	readLinearizable = "linearizable"
	readLease        = "lease"
	readBounded      = "bounded"
	readStale        = "stale"
)

func addClientFlags(cmd *cobra.Command) *clientFlags {
	f := &clientFlags{}
	fs := cmd.Flags()
	fs.StringSliceVarP(&f.connect, "connect", "c", []string{"127.0.0.1:7400"}, "addresses of nodes (SYNCSH_CONNECT)")
	fs.DurationVar(&f.timeout, "timeout", client.DefaultTimeout, "for each call (SYNCSH_TIMEOUT)")
	fs.BoolVar(&f.stale, "stale", false, "the same as --read stale")
	fs.StringVar(&f.read, "read", readLinearizable, `what a read sees: linearizable, all that was acknowledged before it;
lease, the same without a round while the leader has a lease
(node --lease-reads); bounded, all but the last --max-staleness;
stale, what the asked node has`)
	fs.DurationVar(&f.within, "max-staleness", time.Second, "bound of --read bounded")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	completeFlag(cmd, "read", readLinearizable, readLease, readBounded, readStale)
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		f.withinGiven = cmd.Flags().Changed("max-staleness")
		if err := fromEnv(cmd.Flags(), "connect", "timeout"); err != nil {
			return err
		}
		return f.checkRead(cmd.Flags().Changed("read"))
	}
	return f
}

// checkRead refuses flags of reads that contradict each other.
func (f *clientFlags) checkRead(readGiven bool) error {
	switch {
	case !slices.Contains([]string{readLinearizable, readLease, readBounded, readStale}, f.read):
		return &shell.UsageError{Text: fmt.Sprintf("--read %s: want linearizable, lease, bounded or stale", f.read)}
	case f.stale && readGiven && f.read != readStale:
		return &shell.UsageError{Text: "--stale and --read " + f.read + " contradict each other"}
	case f.withinGiven && f.read != readBounded:
		return &shell.UsageError{Text: "--max-staleness goes with --read bounded"}
	case f.within < time.Millisecond || f.within > withinMax:
		return &shell.UsageError{Text: fmt.Sprintf("--max-staleness %v: want 1ms to %v", f.within, withinMax)}
	}
	return nil
}

// withinMax is more than anybody can want; the wire has room for more.
const withinMax = 24 * time.Hour

// mode of reads.
func (f *clientFlags) mode() client.Mode {
	switch {
	case f.stale, f.read == readStale:
		return client.Stale
	case f.read == readLease:
		return client.Lease
	case f.read == readBounded:
		return client.Bounded(f.within)
	}
	return client.Linearizable
}

// dial connects to the cluster that the flags name.
func (f *clientFlags) dial(ctx context.Context) (*client.Client, error) {
	if f.timeout <= 0 {
		return nil, errTimeoutFlag
	}
	addrs, err := nodeAddrs(f.connect)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	cfg := client.Config{Addrs: addrs, Timeout: f.timeout, Mode: f.mode(), Name: "syncsh"}
	var first error
	for began := time.Now(); ; {
		c, err := client.Dial(ctx, cfg)
		if first == nil {
			first = err
		}
		if err == nil || client.CodeOf(err) != client.CodeNoLeader || time.Since(began) > dialPatience {
			return c, err
		}
		select {
		case <-ctx.Done():
			return nil, first // the last one may say only that the time is over
		case <-time.After(dialPause):
		}
	}
}

// A node that was started in the line before needs a moment until it listens.
const (
	dialPatience = time.Second
	dialPause    = 50 * time.Millisecond
)

var errTimeoutFlag = &shell.UsageError{Text: "--timeout must be positive"}

// nodeAddrs checks what --connect names.
func nodeAddrs(connect []string) ([]string, error) {
	var addrs []string
	for _, a := range connect {
		if a = strings.TrimSpace(a); a == "" {
			continue
		}
		if err := checkHostPort(a); err != nil {
			return nil, &shell.UsageError{Text: fmt.Sprintf("--connect %s: %v", a, err)}
		}
		addrs = append(addrs, a)
	}
	if len(addrs) == 0 {
		return nil, &shell.UsageError{Text: "--connect names no address"}
	}
	return addrs, nil
}

// checkHostPort tells whether an address can be one of a node, before the
// network is asked: a host that does not answer is another error.
func checkHostPort(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return errors.New("want host:port, such as 127.0.0.1:7400")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("port '%s': want a number from 1 to 65535", port)
	}
	return nil
}

// with connects, runs f, and disconnects.
func (f *clientFlags) with(cmd *cobra.Command, run func(ctx context.Context, c *client.Client) error) error {
	return shell.Interruptible(cmd.Context(), func(ctx context.Context) error {
		c, err := f.dial(ctx)
		if err != nil {
			return cutShort(ctx, err)
		}
		defer c.Close() //nolint:errcheck // always nil
		return cutShort(ctx, run(ctx, c))
	})
}

// cutShort makes ErrInterrupted of the error of a request that was given up because
// a signal ended ctx: it says that its time is over.
func cutShort(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil {
		return err
	}
	switch code := client.CodeOf(err); {
	case errors.Is(err, context.Canceled), code == client.CodeTimeout, code == client.CodeNoLeader:
		return shell.ErrInterrupted
	}
	return err
}

// session is a Lua session of a command that is no REPL.
func (f *clientFlags) session(c *client.Client) *shell.Session {
	return shell.New(shell.Config{Cluster: c, Timeout: f.timeout, Mode: f.mode(), JSON: f.json, Out: os.Stdout, Err: os.Stderr})
}

// fromEnv sets flags that were not given from SYNCSH_NAME; without names all.
func fromEnv(fs *pflag.FlagSet, names ...string) error {
	var err error
	set := func(f *pflag.Flag) {
		env := "SYNCSH_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		value := os.Getenv(env)
		if value == "" || f.Changed || f.Name == "help" || err != nil {
			return
		}
		if serr := fs.Set(f.Name, value); serr != nil {
			err = &shell.UsageError{Text: fmt.Sprintf("%s: %s", env, badValue(serr))}
		}
	}
	if len(names) == 0 {
		fs.VisitAll(set)
	}
	for _, name := range names {
		set(fs.Lookup(name))
	}
	return err
}

// badValue says what is wrong with the value of a flag, without the words of the
// function that parses it.
func badValue(err error) string {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err.Error()
	}
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Sprintf("%s is too large or too small", bad.GetValue())
	}
	want := ""
	switch kind := bad.GetFlag().Value.Type(); {
	case kind == "duration":
		want = "a duration such as 500ms, 10s or 1m"
	case kind == "bool":
		want = "true or false"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		want = "a whole number"
		if strings.HasPrefix(kind, "uint") {
			want += " from 0 on"
		}
	case strings.HasPrefix(kind, "float"):
		want = "a number"
	default:
		return bad.Unwrap().Error()
	}
	return fmt.Sprintf("%q is not %s", bad.GetValue(), want)
}

// flagError is an error of the flags as people read it.
func flagError(err error) string {
	var bad *pflag.InvalidValueError
	if errors.As(err, &bad) {
		return fmt.Sprintf("--%s: %s", bad.GetFlag().Name, badValue(err))
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown shorthand flag") {
		text += "; put -- before arguments that start with -"
	}
	return text
}

// startError makes a usage error of what a node refuses because of how it was
// started.
func startError(err error) error {
	var network *net.OpError // no address to listen on is possible
	usage := errors.As(err, &network)
	for _, refused := range []error{node.ErrConfig, node.ErrRefused, persist.ErrIdentity, persist.ErrLocked, gossip.ErrBadConfig, gossip.ErrPortInUse,
		syscall.EADDRINUSE, syscall.EADDRNOTAVAIL, os.ErrPermission, os.ErrNotExist, syscall.ENOTDIR, syscall.EROFS, syscall.ENAMETOOLONG} {
		usage = usage || errors.Is(err, refused)
	}
	if usage {
		return &shell.UsageError{Text: err.Error()}
	}
	return err
}

// damageAdvice is what can be done about a data directory that is damaged. An
// older copy would be worse than none: the member would have forgotten votes and
// entries that others count on.
const damageAdvice = "this member can't go on: start a new one with an empty directory in its place, " +
	"or put back a copy of the directory made since it last stopped; where no other member has the data, see 'syncsh restore'"

// damageError makes a usage error of damaged or unreadable data, with what to do
// about it; other errors stay as they are.
func damageError(err error) error {
	switch {
	case errors.Is(err, persist.ErrFormat):
		return &shell.UsageError{Text: err.Error() + "; a newer syncsh wrote it: use that one"}
	case errors.Is(err, persist.ErrDamage), errors.Is(err, luafsm.ErrBadDump):
		return &shell.UsageError{Text: err.Error() + "; " + damageAdvice}
	}
	return err
}

// lockPatience is how long a start waits for the lock of the data directory: of
// a process that was just killed the system needs a moment to give it back.
const lockPatience = 2 * time.Second

// startUnlocked calls start until the data directory is not locked any more, and
// calls waits once if that takes more than one try.
func startUnlocked(ctx context.Context, patience time.Duration, start func() error, waits func(error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(lockInterval)
	defer tick.Stop()
	err := start()
	if errors.Is(err, persist.ErrLocked) {
		waits(err)
	}
	for errors.Is(err, persist.ErrLocked) {
		select {
		case <-tick.C:
			err = start()
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// lockInterval is how often startUnlocked tries.
const lockInterval = 50 * time.Millisecond

// printJSON prints one JSON value on one line.
func printJSON(v any) error { return writeJSON(os.Stdout, v) }
