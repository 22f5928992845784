// Command sim plays whole clusters through faults, from one seed each, and
// checks after every event what must hold.
//
//	go run ./internal/sim -seed 7 -v      the story of one seed
//	go run ./internal/sim -seeds 1000     many seeds, and a table
//
// A world is one to seven members on one goroutine: the replica, applier, store
// and machine of production (internal/replica, raft, persist, luafsm) with a
// driver that does, in virtual time, what internal/node does with goroutines,
// sockets and disks. The network loses, doubles, delays and reorders; disks lose
// what was not synced, and power can go between any two of their operations;
// processes are killed and paused; clocks drift and jump. Everything follows
// from the seed: a seed that fails fails again.
//
// What is checked, in history.go: one leader per term; the commit index never
// moves back; members that applied the same index applied the same entry and
// have the same digest; what was acknowledged has happened once, what was
// refused has not happened; the values of all answers; linearizability of calls
// and reads. After the last fault the members must agree within a bounded time
// and serve. Counters show that rare states were reached (stats.go).
//
// To read it start with world.go, then member.go.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
)

func trace() string { return string(debug.Stack()) }

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	seeds := flag.Uint64("seeds", 1, "how many seeds")
	verbose := flag.Bool("v", false, "tell the whole story")
	flag.Parse()
	var print func(string)
	if *verbose {
		print = func(line string) { fmt.Println(line) }
	}
	var total stats
	failed := 0
	for s := *seed; s < *seed+*seeds; s++ {
		w, err := play(s, print)
		total.add(&w.stats)
		if err != nil {
			failed++
			fmt.Fprintln(os.Stderr, report(w, err))
		}
	}
	fmt.Print(&total)
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d seeds failed\n", failed, *seeds)
		os.Exit(1)
	}
}

// play plays the world of one seed.
func play(seed uint64, print func(string)) (*world, error) {
	w := newWorld(seed, print)
	err := w.run()
	w.stats.seeds, w.stats.simulated, w.stats.events = 1, w.now, w.count
	return w, err
}

// report is what a failure says.
func report(w *world, err error) string {
	events := ""
	if w.print == nil {
		events = w.lastEvents() + "\n"
	}
	return fmt.Sprintf("%sseed %d: %v\nreplay: go run ./internal/sim -seed %d -v", events, w.seed, err, w.seed)
}
