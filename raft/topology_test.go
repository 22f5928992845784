package raft

import (
	"slices"
	"testing"
)

// TestTopologies: links stay cut for good, and one member ends as the leader and
// stays it: there must be one as soon as somebody reaches a majority both ways.
func TestTopologies(t *testing.T) {
	all := func(ID, ID) bool { return true }
	star := func(hub ID, leaves ...ID) func(a, b ID) bool {
		return func(a, b ID) bool {
			return a == hub && slices.Contains(leaves, b) || b == hub && slices.Contains(leaves, a)
		}
	}
	for _, c := range []struct {
		name   string
		voters int
		first  ID                     // leads before anything is cut
		link   func(from, to ID) bool // afterwards
		leads  []ID                   // one of these must
	}{
		{"scenario 61: nothing is cut", 5, 2, all, []ID{2}},
		{"scenario 62: a member hears all and is heard by nobody", 3, 3, func(from, _ ID) bool { return from != 1 }, []ID{2, 3}},
		{"scenario 62: a leader hears all and is heard by nobody", 3, 1, func(from, _ ID) bool { return from != 1 }, []ID{2, 3}},
		{"scenario 62: a leader is heard by all and hears nobody", 3, 1, func(_, to ID) bool { return to != 1 }, []ID{2, 3}},
		{"scenario 62: the leader is cut off from a follower that others reach", 3, 1,
			func(from, to ID) bool { return from+to != 1+3 }, []ID{1}},
		{"scenario 84: a star, and one of its points led", 5, 1, star(3, 1, 2, 4, 5), []ID{3}},
		{"scenario 84: a star of three and two others", 5, 5,
			func(a, b ID) bool { return star(3, 1, 2)(a, b) || a+b == 4+5 }, []ID{3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for seed := range uint64(20) {
				settled(t, seed, c.voters, c.first, c.link, c.leads)
			}
		})
	}
}

// settled plays a world of a fixed topology.
func settled(t *testing.T, seed uint64, voters int, first ID, link func(from, to ID) bool, leads []ID) {
	t.Helper()
	w := newWorld(seed)
	w.faults = false
	var config Configuration
	for i := range voters {
		config.Members = append(config.Members, Member{ID: ID(i + 1), Role: Voter})
	}
	w.actors = nil
	for i := range voters {
		w.actors = append(w.actors, &actor{id: ID(i + 1)})
	}
	clear(w.committed)
	clear(w.leaders)
	clear(w.entries)
	clear(w.prevTerm)
	w.top, w.net = 0, nil
	for _, a := range w.actors {
		*a = actor{id: a.id, bytes: map[Index][]byte{}, disk: diskImage{hs: HardState{Term: 1, Commit: 1}, entries: []Entry{Bootstrap(config)}}}
		w.boot(a, false)
	}
	w.actors[first-1].r.campaign()
	w.turns(1)
	if l := w.leader(); l == nil || l.id != first {
		t.Fatalf("seed %d: %d does not lead at the start", seed, first)
	}
	for _, a := range w.actors {
		for _, b := range w.actors {
			w.cut[[2]ID{a.id, b.id}] = !link(a.id, b.id)
		}
	}
	w.turns(300)
	l := w.leader()
	if l == nil || !slices.Contains(leads, l.id) {
		t.Fatalf("seed %d: after 300 ticks the leader is not one of %v: %+v", seed, leads, l)
	}
	term, commit := l.r.Term(), l.r.Commit()
	for range 10 {
		w.propose(l)
		w.turns(30)
	}
	if now := w.leader(); now != l || l.r.Term() != term {
		t.Errorf("seed %d: %d led term %d, now %d leads term %d", seed, l.id, term, now.id, now.r.Term())
	}
	if l.r.Commit() <= commit {
		t.Errorf("seed %d: leader %d commits nothing", seed, l.id)
	}
}

// turns lets ticks pass, each with all messages of its time.
func (w *world) turns(n int) {
	for range n {
		for _, i := range w.rng.Perm(len(w.actors)) {
			a := w.actors[i]
			a.r.Tick()
			w.drain(a)
			for len(w.net) > 0 || slices.ContainsFunc(w.actors, func(a *actor) bool { return len(a.saves) > 0 }) {
				for _, a := range w.actors {
					for len(a.saves) > 0 {
						w.writeSome(a)
					}
					a.r.Stored(a.written)
					w.drain(a)
				}
				if len(w.net) > 0 {
					m := w.net[0]
					w.net = w.net[1:]
					w.deliver(m)
				}
			}
		}
	}
}
