package raft

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// The world of leases: time passes by the millisecond, members tick by clocks
// that run up to 1.22 times as fast as others, where leases allow 1.25, and
// messages are quick, so that leaders mostly have a lease. Then followers are made
// to believe that the leader is gone, in all ways there are, while it goes on or
// stands still, and everybody who believes to lead is asked to read by lease
// (scenarios 32, 33, 72).
const (
	leaseTickMs   = 20
	leaseSeconds  = 6
	leasePromise  = 200
	leaseBelieved = 160
)

func TestLeases(t *testing.T) {
	first, n := uint64(1), max(*seedsFlag/4, 1)
	if *seedFlag != 0 {
		first, n = *seedFlag, 1
	}
	total := map[string]int{}
	for seed := first; seed < first+uint64(n); seed++ {
		w := newWorld(seed)
		if err := w.runLeases(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./raft -run TestLeases -seed %d\n%s", seed, err, seed, strings.Join(w.story, "\n"))
		}
		for k, v := range w.sometimes {
			total[k] += v
		}
	}
	t.Log(total)
	if n < 20 {
		return
	}
	for _, k := range []string{"lease", "no lease", "asleep", "coup", "handed over", "read", "joint"} {
		if total[k] == 0 {
			t.Errorf("never happened: %s", k)
		}
	}
}

func (a *actor) clock(w *world) uint64 { return uint64(float64(w.ms-a.started) * a.speed) }

func (w *world) runLeases() (err error) {
	defer func() {
		if f, ok := recover().(failure); ok {
			err = f.error
		}
	}()
	w.rng, w.leases = rand.New(rand.NewPCG(w.seed, 11)), true
	for _, a := range w.actors {
		a.lossy = false
		w.boot(a, false)
	}
	for range leaseSeconds * 1000 {
		w.step++
		w.millisecond()
	}
	return nil
}

func (w *world) millisecond() {
	w.ms++
	net := w.net
	w.net = nil
	for _, m := range net {
		switch a := w.actors[m.To-1]; {
		case a.asleep > w.ms, w.rng.IntN(2) == 0:
			w.net = append(w.net, m)
		case w.rng.IntN(100) > 0:
			a.r.SetTime(a.clock(w))
			w.deliver(m)
		}
	}
	for _, a := range w.actors {
		if a.asleep <= w.ms {
			w.live(a)
		}
	}
	l := w.leader()
	if l == nil || l.asleep > w.ms {
		return
	}
	switch w.rng.IntN(1600) {
	case 0, 1, 2, 3:
		w.coup(l)
	case 4, 5:
		w.sometimes["asleep"]++
		l.asleep = w.ms + uint64(w.rng.IntN(2*leasePromise))
		w.log("%d stands still", l.id)
	case 6, 7, 8, 9:
		clear(w.cut)
	case 10, 11:
		w.reconfigure()
	}
}

// live is what a member does in a millisecond.
func (w *world) live(a *actor) {
	before := a.r.time / leaseTickMs
	a.r.SetTime(a.clock(w))
	if a.r.time/leaseTickMs > before {
		a.r.Tick()
	}
	if a.install != nil {
		w.finishInstall(a)
	}
	w.writeSome(a)
	if a.r.State() == Leader {
		if w.rng.IntN(4) == 0 {
			w.propose(a)
		}
		if a.r.leased() {
			w.sometimes["lease"]++
			if l := w.leader(); l != a {
				w.fail("%d has a lease in term %d, %d leads term %d", a.id, a.r.Term(), l.id, l.r.Term())
			}
		} else {
			w.sometimes["no lease"]++
		}
	}
	if a.r.State() == Leader || w.rng.IntN(20) == 0 {
		id := a.r.ReadByLease()
		a.reads[id] = w.top
	}
	w.drain(a)
}

// coup makes the others believe that the leader is gone, so that they elect
// another one while it has a lease, as far as promises let them.
func (w *world) coup(l *actor) {
	w.sometimes["coup"]++
	handsOver := w.rng.IntN(3) == 0 && l.r.Transfer(0) == nil
	if handsOver {
		w.sometimes["handed over"]++
	}
	w.log("coup against %d, hands over: %v", l.id, handsOver)
	w.drain(l)
	w.net = slices.DeleteFunc(w.net, func(m Message) bool { return m.From == l.id && m.Kind != MsgTimeoutNow })
	for _, a := range w.actors {
		if a == l {
			continue
		}
		w.cut[[2]ID{a.id, l.id}], w.cut[[2]ID{l.id, a.id}] = true, !handsOver
		switch w.rng.IntN(3) {
		case 0:
			w.crash(a)
		case 1:
			a.r.LostPeer(l.id)
			w.drain(a)
		}
	}
}
