package main

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// seedsDefault is how many seeds a plain go test plays. Each counter of stats.go
// must have moved within so many.
const seedsDefault = 60

// TestSeeds plays seeds from 1: SYNCSH_SIM_SEEDS of them if set.
func TestSeeds(t *testing.T) {
	seeds := uint64(seedsDefault)
	if s := os.Getenv("SYNCSH_SIM_SEEDS"); s != "" {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			t.Fatalf("SYNCSH_SIM_SEEDS: %v", err)
		}
		seeds = n
	} else if testing.Short() {
		seeds /= 4
	}
	var total stats
	var mu sync.Mutex
	var next uint64
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for {
				mu.Lock()
				next++
				seed := next
				mu.Unlock()
				if seed > seeds {
					return
				}
				w, err := play(seed, nil)
				mu.Lock()
				total.add(&w.stats)
				mu.Unlock()
				if err != nil {
					t.Error(report(w, err))
				}
			}
		})
	}
	all.Wait()
	t.Logf("\n%v", &total)
	if missing := total.missing(); seeds >= seedsDefault && len(missing) > 0 {
		t.Errorf("never happened in %d seeds: %s", seeds, strings.Join(missing, ", "))
	}
}

// A seed that fails must fail again: two worlds of one seed tell the same story.
func TestEqualSeedsTellEqualStories(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		a, err := play(seed, nil)
		if err != nil {
			t.Fatal(report(a, err))
		}
		b, err := play(seed, nil)
		if err != nil {
			t.Fatal(report(b, err))
		}
		if a.hash != b.hash || a.count != b.count || a.history.top() != b.history.top() {
			t.Errorf("seed %d: stories %x and %x, %d and %d events, %d and %d indexes", seed, a.hash, b.hash, a.count, b.count,
				a.history.top(), b.history.top())
		}
	}
}
