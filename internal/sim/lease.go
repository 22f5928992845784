package main

import (
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// What tempts a leader to answer by a lease that is over: it is kept from hearing
// of the next one, by the network or as it stands still, clients read from it
// meanwhile, and others write through the other members. Faults that meet by
// chance do that in next to no seed.

const (
	trapTime      = 3 * second // how long a leader is kept in the trap at most
	trapReadEvery = 30 * millisecond
	// trapPromise is about when the promises of the last heartbeat end.
	trapPromise = 600 * millisecond
)

// trapLease sets a trap for the leader.
func (w *world) trapLease() {
	l := w.leader()
	if l == nil || len(w.members) < 2 || !w.history.deployed {
		return
	}
	w.stats.traps++
	kind := w.rng.IntN(3)
	w.log("a trap of kind %d for the lease of %v", kind, l)
	switch kind {
	case 0: // it hands over, and does not hear that it was done
		w.clients[0].askWith(&op{kind: opTransfer}, l, func(r *wire.Request) {
			r.Op, r.Payload = wire.OpTransfer, wire.AppendTransfer(nil, w.otherVoter(l))
		})
		w.after(w.between(0, 20*millisecond), func() { w.deafen(l, true) })
	case 1: // its heartbeats stop arriving first, what the others send later
		w.deafen(l, false)
		w.after(w.between(trapPromise/4, trapPromise), func() { w.deafen(l, true) })
	default: // it stands still, and wakes alone
		w.net.isolate([]*member{l})
		l.pausedTo = w.now + w.between(trapPromise, trapTime)
		w.stats.pauses++
	}
	if kind > 0 && w.rng.IntN(2) == 0 { // the others notice as early as they may
		w.after(w.between(0, trapPromise), func() {
			for _, m := range w.members {
				if m != l {
					m.losePeerLater(l.id)
				}
			}
		})
	}
	end := w.now + w.between(trapPromise, trapTime)
	w.after(end-w.now, w.net.heal)
	w.bait(l, end)
}

// deafen cuts what the others send to a member, or what it sends to them.
func (w *world) deafen(m *member, in bool) {
	for _, x := range w.members {
		switch {
		case x == m:
		case in:
			w.net.cutLink(x, m, false)
		default:
			w.net.cutLink(m, x, false)
		}
	}
}

// otherVoter draws one to hand over to; 0 leaves the choice to the leader.
func (w *world) otherVoter(l *member) raft.ID {
	if m := w.anyMember(); m != l {
		return m.id
	}
	return 0
}

// bait reads from the leader in the trap by its lease, and writes through others.
func (w *world) bait(l *member, end int64) {
	if !w.faults || w.now >= end {
		return
	}
	c := &client{w: w, once: true}
	c.ask(&op{kind: opCounter, mode: wire.Lease}, l)
	if m := w.anyMember(); m != l {
		c.ask(&op{kind: opInc}, m)
	}
	w.after(w.between(trapReadEvery/2, 2*trapReadEvery), func() { w.bait(l, end) })
}
