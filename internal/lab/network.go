package lab

import (
	"slices"
	"time"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// How long a message takes, and how long one that is late.
const (
	delayMin = 50 * time.Microsecond
	delayMax = time.Millisecond
	lateMin  = 20 * time.Millisecond
	lateMax  = 400 * time.Millisecond
)

// send takes a message of a member to another. A message of raft may arrive
// twice. A request or an answer that was forwarded may not: it goes over a
// connection between two processes and ends with either.
func (w *World) send(from *member, to raft.ID, msg wire.PeerMessage) {
	target := w.members[to-1]
	frame := wire.AppendPeer(nil, msg) // who gets it shares no memory with who sent it
	if !w.reaches(from.id, to) {
		return
	}
	if w.chance(dropChance) {
		w.stats.Lost++
		return
	}
	life := target.life
	if msg.Raft == nil {
		w.after(w.delay(), func() {
			if target.life == life {
				w.arrive(from.id, target, frame)
			}
		})
		return
	}
	w.after(w.delay(), func() { w.arrive(from.id, target, frame) })
	if w.chance(doubleChance) {
		w.stats.Doubled++
		again := slices.Clone(frame)
		w.after(w.delay(), func() { w.arrive(from.id, target, again) })
	}
}

func (w *World) delay() time.Duration {
	if w.chance(lateChance) {
		w.stats.Late++
		return w.between(lateMin, lateMax)
	}
	return w.between(delayMin, delayMax)
}

// arrive hands a frame to a member.
func (w *World) arrive(from raft.ID, to *member, frame []byte) {
	if !to.up || !w.reaches(from, to.id) {
		return
	}
	msg, err := wire.DecodePeer(frame)
	if err != nil {
		w.fail(err)
		return
	}
	msg.From = from
	to.in.peers = append(to.in.peers, msg)
	to.wake()
}

// link is one direction between two members.
type link struct{ from, to raft.ID }

// reaches tells whether messages pass.
func (w *World) reaches(from, to raft.ID) bool {
	return !w.cut[link{from, to}] && !w.apart[link{from, to}]
}

// isolate cuts a member off from all others.
func (w *World) isolate(m *member, cut map[link]bool) {
	for _, x := range w.members {
		if x != m {
			cut[link{m.id, x.id}], cut[link{x.id, m.id}] = true, true
		}
	}
}
