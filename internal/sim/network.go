package main

import (
	"slices"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// network carries the frames of peers: in any order, late, twice or not at all.
type network struct {
	w   *world
	cut map[[2]raft.ID]bool // from, to
}

func (n *network) init(w *world) { n.w, n.cut = w, map[[2]raft.ID]bool{} }

// send takes a message of a member to another. A message of raft may arrive
// twice. A request or an answer that was forwarded may not: it goes over a
// connection between two processes and ends with either.
func (n *network) send(from *member, to raft.ID, msg wire.PeerMessage) {
	w := n.w
	target := w.machine(to)
	if target == nil || target == from {
		w.fail(simulatorItself, "%v sends to %016x", from, uint64(to))
	}
	if msg.Raft != nil {
		w.history.says(from, msg.Raft)
	}
	w.stats.sent++
	frame := wire.AppendPeer(nil, msg)
	if n.cut[[2]raft.ID{from.id, to}] {
		w.stats.cutOff++
		return
	}
	if w.chance(w.profile.drop) {
		w.stats.dropped++
		return
	}
	delay := n.delay()
	life := target.life
	if msg.Raft == nil {
		w.after(delay, func() {
			if target.life == life {
				n.arrive(from.id, target, frame)
			}
		})
		return
	}
	w.after(delay, func() { n.arrive(from.id, target, frame) })
	if w.chance(w.profile.double) {
		w.stats.doubled++
		again := slices.Clone(frame)
		w.after(n.delay(), func() { n.arrive(from.id, target, again) })
	}
}

func (n *network) delay() int64 {
	w := n.w
	if w.chance(w.profile.slow) {
		w.stats.slow++
		return w.between(100*millisecond, 3*second)
	}
	return w.between(50*microsecond, w.profile.delayMax)
}

// arrive hands a frame to a member.
func (n *network) arrive(from raft.ID, to *member, frame []byte) {
	w := n.w
	if !to.up || n.cut[[2]raft.ID{from, to.id}] {
		w.stats.cutOff++
		return
	}
	msg, err := wire.DecodePeer(frame)
	if err != nil {
		w.fail(messagesAccepted, "%v can't read a frame of %016x: %v", to, uint64(from), err)
	}
	msg.From = from
	if r := msg.Raft; r != nil && r.Kind != raft.MsgHeartbeat && r.Kind != raft.MsgHeartbeatReply {
		w.log("%v <- %v", to, r)
	}
	to.in.peers = append(to.in.peers, msg)
	to.wake()
}

// cutLink cuts one direction, or both.
func (n *network) cutLink(a, b *member, both bool) {
	n.cut[[2]raft.ID{a.id, b.id}] = true
	n.w.stats.cutsOneWay++
	if both {
		n.cut[[2]raft.ID{b.id, a.id}] = true
		n.w.stats.cutsOneWay--
		n.w.stats.cutsBothWays++
	}
}

// cutFor cuts one direction, or both, for a while.
func (n *network) cutFor(a, b *member, both bool, d int64) {
	links := [][2]raft.ID{{a.id, b.id}, {b.id, a.id}}
	if !both {
		links = links[:1]
	}
	for _, l := range links {
		n.cut[l] = true
	}
	n.w.after(d, func() {
		for _, l := range links {
			delete(n.cut, l)
		}
	})
}

// isolate cuts a group off from the rest.
func (n *network) isolate(group []*member) {
	for _, a := range group {
		for _, b := range n.w.members {
			if !slices.Contains(group, b) {
				n.cut[[2]raft.ID{a.id, b.id}] = true
				n.cut[[2]raft.ID{b.id, a.id}] = true
			}
		}
	}
	n.w.stats.partitions++
}

func (n *network) heal() { clear(n.cut) }
