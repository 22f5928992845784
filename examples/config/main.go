// Command config is a program that is changed while it runs: it watches the
// settings of the object config and prints what becomes of them. When the node
// that it watches at is lost, the watch goes on at another.
//
//	go run ./examples/config -c 127.0.0.1:7400,127.0.0.1:7401
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/syncsh/syncsh/client"
)

// patience is for how long no node may be there.
const patience = time.Minute

func main() {
	addrs := flag.String("c", "127.0.0.1:7400", "addresses of nodes, with commas between them")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, strings.Split(*addrs, ","), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "config:", err)
		os.Exit(1)
	}
}

// run prints the settings and their changes until ctx ends.
func run(ctx context.Context, addrs []string, out io.Writer) error {
	c, err := client.Dial(ctx, client.Config{Addrs: addrs, Name: "config"})
	if err != nil {
		return err
	}
	defer c.Close() //nolint:errcheck // always nil
	s := settings{values: map[string]any{}, out: out}
	for e, err := range c.Watch(ctx, client.WatchOptions{Object: "config", Path: []any{"settings"}, Patience: patience}) {
		if err != nil {
			return err
		}
		switch e.Kind {
		case client.WatchPicture:
			s.replace(e.Value)
		case client.WatchChanged:
			s.change(e.Changes)
		}
		// A watch that was too slow is told client.WatchLagged, and then a picture.
	}
	return nil
}

// settings are those that are in force.
type settings struct {
	values map[string]any
	out    io.Writer
}

// replace takes a picture: the first one, or a new one after a node was lost. Only
// what differs from the settings in force is news.
func (s settings) replace(picture any) {
	now, _ := picture.(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(s.values)) {
		if _, there := now[name]; !there {
			s.set(name, nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if s.values[name] != now[name] {
			s.set(name, now[name])
		}
	}
}

// change takes what one call has changed.
func (s settings) change(changes []client.Change) {
	for _, c := range changes {
		if len(c.Path) == 0 {
			s.replace(c.Value)
		} else if name, ok := c.Path[0].(string); ok {
			s.set(name, c.Value)
		}
	}
}

// set is where a program would take a new value over; nil takes it away.
func (s settings) set(name string, value any) {
	if value == nil {
		delete(s.values, name)
		fmt.Fprintf(s.out, "%s is gone\n", name)
		return
	}
	s.values[name] = value
	fmt.Fprintf(s.out, "%s = %v\n", name, value)
}
