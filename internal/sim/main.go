// Command sim plays whole clusters through faults, from one seed each, and
// checks after every event what must hold.
//
//	go run ./internal/sim -seed 7 -v      the story of one seed
//	go run ./internal/sim -seeds 1000     many seeds, and a table
//
// A world is one to seven members on one goroutine: the replica, applier, store
// and machine of production (internal/replica, raft, persist, luafsm) with a
// driver that does, in virtual time, what internal/node does with goroutines,
// sockets and disks. Everything follows from the seed: a seed that fails fails
// again. docs/SAFETY.md lists what happens to the members and what is checked.
//
// To read it start with world.go, then member.go. nemesis.go, damage.go and
// fleet.go are what goes wrong and what an operator does; check.go names the
// checks, history.go has those of calls and states, sessions.go the model of
// sessions, logs.go those of logs, votes and disks, linear.go porcupine's. Counters
// show that rare states were reached (stats.go). With the build tag mutants bugs can
// be planted (mutants.go).
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

func trace() string { return string(debug.Stack()) }

// gcPercent lets the heap grow more between collections: worlds are small, and
// most of what they allocate dies at once.
const gcPercent = 400

// mutants plays planted bugs, if this program was built with them.
var mutants func(seeds uint64) (ok bool)

func main() {
	seed := flag.Uint64("seed", 1, "the first seed")
	seeds := flag.Uint64("seeds", 1, "how many seeds")
	verbose := flag.Bool("v", false, "tell the whole story")
	flag.Parse()
	debug.SetGCPercent(gcPercent)
	if mutants != nil && !mutants(*seeds) {
		os.Exit(1)
	}
	if *verbose {
		_, err := tell(*seed, func(line string) { fmt.Println(line) })
		if err != nil {
			fmt.Fprintln(os.Stderr, report(*seed, err))
			os.Exit(1)
		}
		return
	}
	failed := 0
	total := playAll(*seed, *seeds, func(seed uint64, err error) bool {
		failed++
		fmt.Fprintln(os.Stderr, report(seed, err))
		return true
	})
	fmt.Print(&total)
	if failed > 0 {
		fmt.Fprintf(os.Stderr, "%d of %d seeds failed\n", failed, *seeds)
		os.Exit(1)
	}
}

// play plays the world of one seed.
func play(seed uint64) (*world, error) { return end(newWorld(seed, false, nil)) }

// tell plays it and keeps the story.
func tell(seed uint64, print func(string)) (*world, error) { return end(newWorld(seed, true, print)) }

func end(w *world) (*world, error) {
	err := w.run()
	w.stats.seeds, w.stats.simulated, w.stats.events = 1, w.now, w.count
	return w, err
}

// playAll plays seeds on all processors. failed is told of each that fails, one at
// a time, and says whether to go on.
func playAll(first, seeds uint64, failed func(seed uint64, err error) bool) (total stats) {
	var mu sync.Mutex
	var all sync.WaitGroup
	next, goOn := first, true
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				done := !goOn || seed >= first+seeds
				mu.Unlock()
				if done {
					return
				}
				w, err := play(seed)
				mu.Lock()
				total.add(&w.stats)
				if err != nil {
					goOn = failed(seed, err) && goOn
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return total
}

// report is what a failure says: the last events, the seed, the commit, what was
// broken, and how to see it again.
func report(seed uint64, err error) string {
	events := ""
	if w, again := tell(seed, nil); again != nil {
		events = w.lastEvents() + "\n"
	} else {
		events = "the seed did not fail again: it is not all that decides\n"
	}
	return fmt.Sprintf("%sseed %d, commit %s: %v\nreplay: %s", events, seed, commit(), err, replay(seed))
}

// replay is the command that plays a seed again; with planted bugs it names them.
var replay = func(seed uint64) string { return fmt.Sprintf("go run ./internal/sim -seed %d -v", seed) }

// commit is the revision that this program was built from. go test and go run
// don't store it, so git is asked where there is one.
func commit() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
