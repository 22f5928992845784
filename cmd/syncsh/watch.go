package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/spf13/cobra"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

func newWatch() *cobra.Command {
	var topics []string
	var from uint64
	cmd := &cobra.Command{
		Use:   "watch [OBJECT[.PATH]]",
		Short: "Print changes and events as they commit",
		Long: `Prints what becomes of an object, of a path below it, or of a topic, one line
per change, until Ctrl-C. A path is written as in Lua. Of an object or a path it
first prints what is there now; of a topic the events that calls emit from now
on, or with --from those behind a log index. With both an object and topics all
are watched. When the node is lost it goes on at another one: with the next
event, or with what is then at the path.

A line is INDEX PATH = VALUE, or INDEX OBJECT emits TOPIC(VALUES). JSON lines
have kind: picture, change, removed, event or lagged.`,
		Example: `  syncsh watch counter
  syncsh watch 'kv.data.colour' --json
  syncsh watch --topic tanks --from 0
  syncsh watch --topic '*'`,
		Args: cobra.MaximumNArgs(1),
	}
	f := addClientFlags(cmd)
	cmd.Flags().StringArrayVar(&topics, "topic", nil, "a topic to watch, '*' for all; may be given several times")
	cmd.ValidArgsFunction = f.completeWatch
	if err := cmd.RegisterFlagCompletionFunc("topic", f.completeTopics); err != nil { // no such flag: the program is wrong
		panic(err)
	}
	cmd.Flags().Uint64Var(&from, "from", 0, "begin behind this log index")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var all []client.WatchOptions
		if len(args) > 0 {
			o, err := shell.WatchPlace(args[0])
			if err != nil {
				return err
			}
			all = append(all, o)
		}
		for _, t := range topics {
			if t == "" {
				return &shell.UsageError{Text: "--topic names no topic"}
			}
			all = append(all, client.WatchOptions{Topic: t})
		}
		if len(all) == 0 {
			return &shell.UsageError{Text: "nothing to watch: name an object, a path or --topic; see 'syncsh watch --help'"}
		}
		for i := range all {
			all[i].Resume, all[i].From = cmd.Flags().Changed("from"), from
		}
		return f.with(cmd, func(ctx context.Context, c *client.Client) error { return watchAll(ctx, c, all, f.json) })
	}
	return cmd
}

// watchAll prints what all watches tell until ctx ends or one fails.
func watchAll(ctx context.Context, c *client.Client, all []client.WatchOptions, json bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var printing sync.Mutex
	var running sync.WaitGroup
	var first error
	for _, o := range all {
		o.Began = func(index uint64) {
			fmt.Fprintf(os.Stderr, "watching %s from index %d\n", shell.WatchName(o), index)
		}
		running.Go(func() {
			err := watchOne(ctx, c, o, json, &printing)
			printing.Lock()
			defer printing.Unlock()
			if err != nil && first == nil {
				first = err
				cancel(err)
			}
		})
	}
	running.Wait()
	return first
}

func watchOne(ctx context.Context, c *client.Client, o client.WatchOptions, json bool, printing *sync.Mutex) error {
	for e, err := range c.Watch(ctx, o) {
		if err != nil {
			return err
		}
		lines, err := shell.WatchLines(o, e, json)
		if err != nil {
			return err
		}
		printing.Lock()
		for _, line := range lines {
			_, err = fmt.Println(line)
		}
		printing.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}
