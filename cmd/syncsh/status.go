package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

// waitPause is how often --wait looks: a status asks every member.
const waitPause = 100 * time.Millisecond

func newStatus() *cobra.Command {
	var watch bool
	var wait time.Duration
	var tolerates int
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the cluster at a glance",
		Long: `Shows the cluster at a glance, as the node that is connected knows it and its
members answer. It needs no leader: without one it says so, and exits with 0.
It exits with 3 when no node answers.

With --wait it waits until the cluster is healthy: there is a leader, and a
majority of the voters follows it; with --tolerates N also until it would stay
so if N more voters failed. No node has to answer yet when it begins. Then it
shows the cluster; if the time is over first it says what is missing, and exits
with 3.`,
		Example: `  syncsh status
  syncsh status --json
  syncsh status --watch -c 127.0.0.1:7401
  syncsh status --wait 30s --tolerates 1 && syncsh deploy counter`,
		Args: cobra.NoArgs,
	}
	f := addClientFlags(cmd)
	fs := cmd.Flags()
	fs.BoolVar(&watch, "watch", false, "show it again every second until Ctrl-C")
	fs.DurationVar(&wait, "wait", 0, "wait so long at most until the cluster is healthy")
	fs.IntVar(&tolerates, "tolerates", 0, "with --wait: and until so many more voters may fail")
	show := func(w io.Writer, s *client.Status) error {
		if f.json {
			return writeJSON(w, s)
		}
		shell.WriteStatus(w, s)
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch waits := fs.Changed("wait"); {
		case waits && wait <= 0:
			return &shell.UsageError{Text: fmt.Sprintf("--wait %v: want more than 0, such as 30s", wait)}
		case waits && watch:
			return &shell.UsageError{Text: "--wait and --watch contradict each other"}
		case fs.Changed("tolerates") && !waits:
			return &shell.UsageError{Text: "--tolerates goes with --wait"}
		case tolerates < 0:
			return &shell.UsageError{Text: fmt.Sprintf("--tolerates %d: want 0 or more", tolerates)}
		case waits:
			return shell.Interruptible(cmd.Context(), func(ctx context.Context) error {
				s, err := f.awaitHealthy(ctx, wait, tolerates)
				if err != nil {
					return err
				}
				return show(os.Stdout, s)
			})
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error {
			return shell.Repeat(ctx, os.Stdout, watch, !f.json, func(w io.Writer) error {
				s, err := c.Status(ctx)
				if err != nil {
					return err
				}
				return show(w, s)
			})
		})
	}
	return cmd
}

// awaitHealthy looks until the cluster is healthy and so many more voters may
// fail. That nobody answers yet is no error before the time is over.
func (f *clientFlags) awaitHealthy(ctx context.Context, wait time.Duration, tolerates int) (*client.Status, error) {
	within, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	missing := "no node has answered"
	for {
		s, err := f.statusOf(within)
		// What is asked as the time ends fails for that reason: what was missing before
		// says more.
		switch code := client.CodeOf(err); {
		case err == nil && s.Healthy && s.Tolerates >= tolerates:
			return s, nil
		case err == nil:
			missing = lacking(s, tolerates)
		case code != client.CodeNoLeader && code != client.CodeTimeout:
			return nil, err
		case within.Err() == nil:
			missing = messageOf(err)
		}
		// A node that is cut off, does not answer, or is of no cluster yet would be asked
		// in vain: another one is first next time.
		f.connect = append(f.connect[1:len(f.connect):len(f.connect)], f.connect[0])
		select {
		case <-within.Done():
		case <-time.After(waitPause):
		}
		if ctx.Err() != nil {
			return nil, shell.ErrInterrupted
		}
		if within.Err() != nil {
			return nil, &client.Error{Code: client.CodeNoLeader, Message: fmt.Sprintf("not healthy within %v: %s", wait, missing)}
		}
	}
}

// statusOf asks the first node that can be reached.
func (f *clientFlags) statusOf(ctx context.Context) (*client.Status, error) {
	c, err := f.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // always nil
	return c.Status(ctx)
}

// messageOf is the text of an error without its code.
func messageOf(err error) string {
	var failed *client.Error
	if errors.As(err, &failed) {
		return failed.Message
	}
	return err.Error()
}

// lacking says what a cluster still lacks.
func lacking(s *client.Status, tolerates int) string {
	switch {
	case s.Cluster == "":
		return "the cluster is not founded yet"
	case s.Leader == "":
		return "no leader"
	case !s.Healthy:
		return "no majority of the voters follows " + s.Leader
	}
	return fmt.Sprintf("%d more voters may fail, not %d", s.Tolerates, tolerates)
}
