package persist

import (
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"slices"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

var crashSeed = flag.Int64("crash.seed", 0, "run TestCrash with this seed only")

// model is what the log must be: after each Append one state.
type model struct {
	states []modelState
	acked  int // states before this one need not be found any more
	snap   raft.Index
}

type modelState struct {
	term    raft.Term // of the hard state
	vote    raft.ID
	base    raft.Index
	first   raft.Term // at base
	entries []raft.Entry
}

func (s modelState) end() raft.Index {
	if n := len(s.entries); n > 0 {
		return s.entries[n-1].Index
	}
	return s.base
}

func (s modelState) lastTerm() raft.Term {
	if n := len(s.entries); n > 0 {
		return s.entries[n-1].Term
	}
	return max(s.first, 1)
}

// behind returns the entries that follow on a snapshot, as §7 of the paper has
// it: none if the log does not lead to it.
func (s modelState) behind(m *raft.SnapshotMeta) []raft.Entry {
	if m == nil {
		return s.entries
	}
	if s.base == m.Index {
		return s.entries
	}
	for i, e := range s.entries {
		if e.Index == m.Index && e.Term == m.Term {
			return s.entries[i+1:]
		}
	}
	return nil
}

func (m *model) now() modelState { return m.states[len(m.states)-1] }

// crashRun drives one directory through cycles of work and crashes.
type crashRun struct {
	t    *testing.T
	seed int64
	r    *rand.Rand
	fs   *MemFS
	opt  Options
	m    model
	// terms is the highest one that was given away.
	terms raft.Term
	// floor is the least one for the next entry: after a cut, by a truncation or
	// a crash, an index never has another entry of the same term.
	floor raft.Term
	seen  map[string]int
	again string // how to run it again
}

// TestCrash: random work, power failures, full disks: what was acknowledged is
// found, and nothing else (scenarios 49, 53, 54, 55, 76; lua-facts 46, 53, 57).
func TestCrash(t *testing.T) {
	seeds := int64(400)
	if testing.Short() {
		seeds = 60
	}
	seen := map[string]int{}
	for seed := int64(1); seed <= seeds; seed++ {
		if *crashSeed != 0 {
			seed = *crashSeed
		}
		run(t, seed, seen)
		if *crashSeed != 0 || t.Failed() {
			break
		}
	}
	t.Log(seen)
	if *crashSeed != 0 {
		return
	}
	// States without which the test has not tested.
	for _, k := range []string{"torn", "in load", "killed", "reset by load", "kept unsynced", "lost unsynced", "compacted", "dropped segments",
		"no room", "no room for a snapshot"} {
		if seen[k] == 0 {
			t.Errorf("never seen: %s", k)
		}
	}
}

func run(t *testing.T, seed int64, seen map[string]int) {
	c := &crashRun{t: t, seed: seed, terms: 1, r: rand.New(rand.NewSource(seed)), fs: NewMemFS(), seen: seen,
		again: fmt.Sprintf("TestCrash -crash.seed %d", seed)}
	c.opt = Options{FS: c.fs, SegmentBytes: 4096, Sync: seed%4 != 0}
	c.m = model{states: []modelState{{}}}
	for cycle := 0; cycle < 8 && !t.Failed(); cycle++ {
		limit := 1 + c.r.Intn(1+c.r.Intn(300))
		c.fs.SetFault(func(n int, _ Op, _ string) (int, error) {
			if n >= limit {
				return c.r.Intn(200), syscall.EIO
			}
			return 0, nil
		})
		c.work()
		c.fs.SetRoom(-1)
		if c.r.Intn(4) == 0 {
			c.fs.Kill()
			c.seen["killed"]++
		} else {
			c.fs.Crash(c.r.Int63())
			if !c.opt.Sync {
				c.m.acked = 0
			}
		}
		if c.r.Intn(3) > 0 {
			c.recover()
		}
	}
}

func (c *crashRun) fail(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("seed %d (go test ./persist -run %s): %s", c.seed, c.again, fmt.Sprintf(format, args...))
}

// recover opens without faults and checks what is there.
func (c *crashRun) recover() *Dir {
	d, rec, err := openLoad(c.opt)
	if err != nil {
		c.fail("load: %v", err)
		return nil
	}
	c.check(rec)
	must(c.t, d.Close())
	return d
}

// check finds the state that was recovered among those that may be, and makes it
// the only one.
func (c *crashRun) check(rec *Recovered) {
	var at raft.Index
	if rec.Snapshot != nil {
		at = rec.Snapshot.Index
	}
	if at < c.m.snap {
		c.fail("snapshot at %d is gone, have %d", c.m.snap, at)
		return
	}
	c.m.snap = at
	c.floor = c.newTerm()
	if rec.Torn != nil {
		c.seen["torn"]++
	}
	for _, n := range rec.Notes {
		switch {
		case len(n) > 7 && n[:7] == "the log":
			c.seen["reset by load"]++
		case len(n) > 10 && n[:10] == "removed 00" && c.opt.Sync == false:
			c.seen["dropped segments"]++
		}
	}
	for i := len(c.m.states) - 1; i >= c.m.acked; i-- {
		s := c.m.states[i]
		if s.term != rec.HardState.Term || s.vote != rec.HardState.Vote || !sameEntries(s.behind(rec.Snapshot), rec.Entries) {
			continue
		}
		if i > c.m.acked {
			c.seen["kept unsynced"]++
		}
		if i < len(c.m.states)-1 {
			c.seen["lost unsynced"]++
		}
		n := modelState{term: s.term, vote: s.vote, base: at, entries: rec.Entries}
		if rec.Snapshot != nil {
			n.first = rec.Snapshot.Term
		}
		c.m.states = append(c.m.states[:i+1:i+1], n)
		if c.opt.Sync { // else what was found may have been in memory only, and older states come back
			c.m.states = []modelState{n}
		}
		c.m.acked = len(c.m.states) - 1
		return
	}
	c.fail("recovered term %d vote %d snapshot %d torn %v: %s\nlast state: %+v: %s\nacked: %s", rec.HardState.Term, rec.HardState.Vote, at, rec.Torn,
		brief(rec.Entries), c.m.now().term, brief(c.m.now().entries), brief(c.m.states[c.m.acked].entries))
}

// work runs until the fault hits, or long enough.
func (c *crashRun) work() {
	d, rec, err := openLoad(c.opt)
	if err != nil {
		if !errors.Is(err, syscall.EIO) {
			c.fail("load: %v", err)
		}
		c.seen["in load"]++
		return
	}
	c.check(rec)
	for range 150 {
		if err := c.step(d); err != nil {
			if !errors.Is(err, syscall.EIO) {
				c.fail("step: %v", err)
			}
			break
		}
	}
	d.Close()
}

func (c *crashRun) step(d *Dir) error {
	switch k := c.r.Intn(22); {
	case k < 11:
		return c.append(d, c.save())
	case k < 16:
		if err := d.Sync(); err != nil {
			return c.waits(err)
		}
		c.m.acked = len(c.m.states) - 1
	case k < 18:
		if err := d.Flush(); err != nil {
			return c.waits(err)
		}
		if !c.opt.Sync {
			c.m.acked = len(c.m.states) - 1
		}
	case k < 19:
		return c.waits(c.snapshot(d))
	case k < 20:
		return c.waits(c.install(d))
	case k < 21:
		c.fs.SetRoom(int64(c.r.Intn(6000)))
	default:
		c.fs.SetRoom(-1)
		return d.Reserve()
	}
	return nil
}

// waits goes on when it was only space that was missing.
func (c *crashRun) waits(err error) error {
	if errors.Is(err, ErrNoRoom) {
		c.seen["no room"]++
		return nil
	}
	if errors.Is(err, syscall.ENOSPC) && !errors.Is(err, ErrDead) {
		c.seen["no room for a snapshot"]++
		return nil
	}
	return err
}

func (c *crashRun) append(d *Dir, s raft.Save) error {
	n := c.m.now()
	if s.HardState != nil {
		n.term, n.vote = s.HardState.Term, s.HardState.Vote
	}
	if s.Reset != nil {
		n.base, n.first, n.entries = s.Reset.Index, s.Reset.Term, nil
	}
	if s.Truncate {
		keep := 0
		for keep < len(n.entries) && n.entries[keep].Index <= s.TruncateTo {
			keep++
		}
		n.entries = n.entries[:keep]
	}
	n.entries = append(slices.Clone(n.entries), s.Entries...)
	if err := d.Append(s); err != nil {
		return err
	}
	c.m.states = append(c.m.states, n)
	return nil
}

// save makes up what a raft core might save next.
func (c *crashRun) save() raft.Save {
	n := c.m.now()
	var s raft.Save
	if c.r.Intn(3) == 0 {
		s.HardState = &raft.HardState{Term: n.term + raft.Term(c.r.Intn(2)), Vote: raft.ID(c.r.Intn(4)), Commit: n.end()}
	}
	end, term := n.end(), max(n.lastTerm(), c.floor)
	if len(n.entries) > 0 && c.r.Intn(6) == 0 {
		// Never behind the snapshot: what it has is committed.
		i := c.r.Intn(len(n.entries))
		if to := n.entries[i].Index; to >= c.m.snap {
			s.Truncate, s.TruncateTo = true, to
			c.floor = c.newTerm()
			end, term = to, c.floor
		}
	}
	for range c.r.Intn(4) {
		span := 1 + c.r.Intn(3)
		end += raft.Index(span)
		e := entry(end, term, c.r.Intn(1+c.r.Intn(1500)))
		e.Span = uint32(span)
		s.Entries = append(s.Entries, e)
	}
	return s
}

// newTerm is one that no entry or snapshot has: two that agree in index and term
// are of one history.
func (c *crashRun) newTerm() raft.Term {
	c.terms++
	return c.terms
}

// snapshot dumps the state at some entry and compacts the log.
func (c *crashRun) snapshot(d *Dir) error {
	n := c.m.now()
	i := len(n.entries) - 1
	for i >= 0 && n.entries[i].Index > c.m.snap && c.r.Intn(3) > 0 {
		i--
	}
	if i < 0 || n.entries[i].Index <= c.m.snap {
		return nil
	}
	return c.store(d, n.entries[i].Index, n.entries[i].Term, func(raft.SnapshotMeta) error {
		c.seen["compacted"]++
		return d.Compact(c.m.snap)
	})
}

// install takes a snapshot of a leader that is ahead, or has another history.
func (c *crashRun) install(d *Dir) error {
	n := c.m.now()
	index := n.end() + 1 + raft.Index(c.r.Intn(5))
	return c.store(d, index, c.newTerm(), func(m raft.SnapshotMeta) error {
		return c.append(d, raft.Save{Reset: &m})
	})
}

func (c *crashRun) store(d *Dir, index raft.Index, term raft.Term, then func(raft.SnapshotMeta) error) error {
	w, err := d.CreateSnapshot(index, term, testConfig)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(make([]byte, c.r.Intn(3000))); err != nil {
		return err
	}
	m, err := w.Finish()
	if err != nil {
		return err
	}
	c.m.snap = index
	return then(m)
}
