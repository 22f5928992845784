package main

import (
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// applyLater makes the applier, a goroutine of its own in a node, go on.
func (m *member) applyLater() {
	if m.applying || len(m.works) == 0 {
		return
	}
	m.applying = true
	wait := m.w.between(0, 300*microsecond)
	if m.w.chance(0.002) {
		m.w.stats.slowApplies++
		wait = m.w.between(10*millisecond, 500*millisecond)
	}
	m.after(wait, m.apply)
}

// apply does some of the works that wait, and reports.
func (m *member) apply() {
	m.applying = false
	n := 1 + m.w.rng.IntN(len(m.works))
	works := m.works[:n:n]
	m.works = m.works[n:]
	var done replica.Done
	for i := range works {
		w := &works[i]
		before := m.applier.State()
		m.applier.Do(w, &done)
		if w.Kind == replica.WorkApply && w.Entry.Index > before.Index {
			m.w.history.applied(m, w.Entry, m.applier.State())
		}
	}
	done.Applied = m.applier.State()
	m.in.done = append(m.in.done, done)
	m.wake()
	m.applyLater()
}

// hands is node.hands.
type hands struct{ m *member }

func (h hands) Read(v *luafsm.Version, queries []replica.Query) {
	m := h.m
	m.after(m.w.between(0, 300*microsecond), func() {
		for _, q := range queries {
			q.Ticket.To.Reply(q.Ticket.ID, m.querier.Query(v, q.Payload, nil))
		}
		v.Release()
	})
}

func (h hands) Dump(v *luafsm.Version, meta raft.SnapshotMeta) {
	m := h.m
	m.after(m.w.between(0, 50*millisecond), func() {
		m.maybeFailOnce(0.02)
		meta, err := m.store.Dump(v, meta)
		v.Release()
		if err == nil {
			m.w.history.dumped(m, meta)
			m.w.stats.snapshots++
			m.w.log("%v wrote a snapshot at %d, %d bytes", m, meta.Index, meta.Bytes)
		} else {
			m.w.stats.failedSnapshots++
			m.w.log("%v could not write a snapshot at %d: %v", m, meta.Index, err)
		}
		m.in.dumped = append(m.in.dumped, dumped{meta, err})
		m.wake()
	})
}

// Changed and Replaced are for clients that watch; those of the simulator don't.
func (h hands) Changed([]luafsm.Change) {}

func (h hands) Replaced(raft.Index) {}

func (h hands) Install(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	m := h.m
	m.maybeFailOnce(0.15)
	machine, err := m.store.Install(meta)
	if err != nil {
		m.w.stats.failedInstalls++
		m.w.log("%v could not install the snapshot at %d: %v", m, meta.Index, err)
		return nil, err
	}
	m.w.stats.installs++
	m.w.log("%v installed the snapshot at %d", m, meta.Index)
	m.w.history.restored(m, machine, meta)
	return machine, nil
}

// forwardReplier sends the answer to a forwarded request back to the member
// that forwarded it.
type forwardReplier struct {
	m  *member
	to raft.ID
}

func (f forwardReplier) Reply(id uint64, result []byte) {
	f.m.w.stats.forwardReplies++
	f.m.w.net.send(f.m, f.to, wire.PeerMessage{ForwardReply: &wire.ForwardReply{ID: id, Result: append([]byte(nil), result...)}})
}
