package main

import (
	"errors"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

const (
	// seedsDefault is how many seeds a plain go test plays. Each counter of stats.go
	// must have moved within so many.
	seedsDefault = 300
	// seedsShort are those of go test -short.
	seedsShort = 30
	// dullSeeds is how many worlds are spoiled in each way.
	dullSeeds = 10
	// classMin is how often each class of faults must be injected by classSeeds
	// seeds or more.
	classMin   = 1000
	classSeeds = 10_000
)

func TestMain(m *testing.M) {
	debug.SetGCPercent(gcPercent)
	os.Exit(m.Run())
}

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
		seeds = seedsShort
	}
	total := playAll(1, seeds, func(seed uint64, err error) bool {
		t.Error(report(seed, err))
		return true
	})
	t.Logf("\n%v", &total)
	if missing := total.missing(); seeds >= seedsDefault && len(missing) > 0 {
		t.Errorf("never happened in %d seeds: %s", seeds, strings.Join(missing, ", "))
	}
	if rare := total.rare(classMin); seeds >= classSeeds && len(rare) > 0 {
		t.Errorf("less than %d times in %d seeds: %s", classMin, seeds, strings.Join(rare, ", "))
	}
}

// A seed that fails must fail again: two worlds of one seed tell the same story,
// whether anybody listens or not.
func TestEqualSeedsTellEqualStories(t *testing.T) {
	for seed := uint64(1); seed <= 6; seed++ {
		a, err := tell(seed, nil)
		if err != nil {
			t.Fatal(report(seed, err))
		}
		b, _ := tell(seed, nil)
		c, _ := play(seed)
		if a.hash != b.hash || a.count != b.count || a.count != c.count || a.history.top() != c.history.top() {
			t.Errorf("seed %d: stories %x and %x; %d, %d and %d events, %d and %d indexes", seed, a.hash, b.hash, a.count, b.count, c.count,
				a.history.top(), c.history.top())
		}
	}
}

// A world that nothing disturbs, and one in which next to nothing is committed,
// test nothing: they fail, whatever clients and operators do in them.
func TestDullWorldsFail(t *testing.T) {
	quiet := func(p *profile) {
		p.crashEvery, p.cutEvery, p.pauseEvery, p.jumpEvery, p.diskEvery, p.fullEvery, p.damageEvery, p.rivalEvery, p.trapEvery = 0, 0, 0, 0, 0, 0, 0, 0, 0
		p.drop, p.double, p.slow, p.voteCrash, p.cutSnapshots, p.stall, p.saveCrash = 0, 0, 0, 0, 0, 0, 0
	}
	mute := func(p *profile) { p.drop = 1 } // no member hears another
	for _, c := range []struct {
		spoil func(*profile)
		says  string
	}{{quiet, "faults were injected"}, {mute, "calls took effect"}} {
		for seed, played := uint64(1), 0; played < dullSeeds; seed++ {
			w := newWorld(seed, false, nil)
			if w.profile.voters == 1 { // it needs to hear nobody
				continue
			}
			played++
			c.spoil(&w.profile)
			err := w.run()
			var f *failure
			if !errors.As(err, &f) || f.check != enoughHappens || !strings.Contains(err.Error(), c.says) {
				t.Errorf("seed %d, of which is to be said that too few %s: %v", seed, c.says, err)
			}
		}
	}
}
