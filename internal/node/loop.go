package node

import (
	"errors"
	"time"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// loop is the one goroutine that feeds the replica: drain all that waits, let
// the core decide, send, write with one fdatasync, send what depended on it.
// While it writes, the next batch gathers in the inbox: that is the group
// commit.
func (n *Node) loop() error {
	ticker := time.NewTicker(TickInterval)
	defer ticker.Stop()
	var in inputs
	for {
		tick := false
		select {
		case <-n.inbox.wake:
		case <-ticker.C:
			tick = true
		case <-n.ctx.Done():
			return nil
		}
		in = n.inbox.take(in)
		n.told.drained()
		if err := n.feed(&in, tick); err != nil {
			return err
		}
		if err := n.carryOut(); err != nil {
			return err
		}
	}
}

// feed passes the drained inputs to the replica.
func (n *Node) feed(in *inputs, tick bool) error {
	r := n.replica
	now := n.cfg.Now().UnixMilli()
	if in.failed != nil {
		return in.failed
	}
	r.SetTime(now)
	r.SetMonotonic(uint64((monotonic() - n.startedAt).Milliseconds())) // after in was taken
	for _, d := range in.done {
		r.Done(d)
	}
	for _, d := range in.dumped {
		r.Dumped(d.meta, d.err)
	}
	for i := range in.peers {
		p := &in.peers[i]
		if m := p.msg.JoinRefused; m != nil {
			if err := n.joinRefused(m); err != nil {
				return err
			}
			continue
		}
		var back replica.Replier
		if p.msg.Forward != nil {
			back = n.peer(p.msg.From)
			if !p.at.IsZero() {
				back = &timed{to: back, came: p.at}
			}
		}
		if err := r.Step(p.msg, back); err != nil {
			n.log.Warn("message refused", "peer", n.nameOf(p.msg.From), "err", err)
		}
		if !p.at.IsZero() {
			n.follows(back)
		}
	}
	for _, id := range in.lost {
		r.LostPeer(id)
		n.forgetStranger(id)
	}
	for i := range in.requests {
		q := &in.requests[i]
		if q.req.Op == wire.OpStatus {
			n.answerStatus(q.from, q.req)
			continue
		}
		if q.req.Op == wire.OpBackup {
			n.backup(q.from, q.req)
			continue
		}
		if q.req.Op == wire.OpWatch {
			n.watches.subscribe(q.from, q.req)
			continue
		}
		if q.req.Op == wire.OpQuery && !n.readers.admit(q) {
			continue
		}
		r.Submit(q.from, q.req)
		if q.req.Mode == wire.Timed {
			n.follows(q.from)
		}
	}
	for _, f := range in.calls {
		f()
	}
	if tick {
		r.Tick(now)
		n.clock.Store(r.Clock())
		return n.everyTick()
	}
	return nil
}

// carryOut does what the replica asks for, until it asks for nothing more.
func (n *Node) carryOut() error {
	r := n.replica
	for r.HasOutput() {
		out := r.Output()
		n.receive(out.Chunks, out.DropSnapshot) // before the work that installs it
		if len(n.timed) > 0 {
			n.proposed(out.Work)
		}
		n.readers.handed(out.Work)
		n.works.push(out.Work)
		gated := n.sendMessages(out.Messages)
		for i := range out.Peer {
			to, m := out.Peer[i].To, out.Peer[i].Msg
			if !n.peer(to).send(m) && m.Forward != nil {
				r.NotForwarded(m.Forward.ID)
			}
		}
		n.flushPeers(n.direct && !out.Save.Empty())
		for i := range out.Replies {
			out.Replies[i].Ticket.To.Reply(out.Replies[i].Ticket.ID, out.Replies[i].Result)
		}
		n.flushReplies()
		if !out.Save.Empty() {
			if len(n.timed) > 0 {
				n.saving()
			}
			if err := n.save(out.Save); err != nil {
				return err
			}
			if len(n.timed) > 0 {
				n.saved()
			}
		}
		n.sendMessages(gated) // those of a save that found no room are lost
		n.flushPeers(n.direct)
		if out.Compacted != 0 {
			if err := n.store.Compact(out.Compacted); err != nil {
				return err
			}
		}
		if out.Changed {
			n.changed()
		}
		for _, note := range out.Notes {
			n.log.Warn("raft", "note", note)
		}
	}
	n.flushReplies()
	return nil
}

// receive stores parts of a snapshot. A failure is no reason to stop: the core
// finds the installation failed, and the leader begins anew.
func (n *Node) receive(chunks []raft.SnapshotChunk, drop bool) {
	if err := n.store.Receive(chunks, drop); err != nil {
		n.log.Warn("part of a snapshot not stored", "err", err)
		return
	}
	if drop {
		n.caughtUp() // of what will not arrive
	}
	if len(chunks) > 0 {
		n.received(&chunks[len(chunks)-1])
	}
}

// sendMessages sends the messages whose Save is durable and returns the others,
// with their After cleared: they are sent once this output's Save was written,
// and no later Save was taken in between.
func (n *Node) sendMessages(messages []raft.Message) (gated []raft.Message) {
	for i := range messages {
		m := &messages[i]
		if m.After > n.store.Durable() {
			gated = append(gated, *m)
			continue
		}
		p := n.peer(m.To)
		if m.Kind == raft.MsgSnapshot {
			n.sendChunk(p, *m)
			continue
		}
		p.send(wire.PeerMessage{Raft: m})
	}
	return gated
}

// sendChunk reads a part of a snapshot on a goroutine of its own: the disk may
// be slow, and the loop must not wait for it.
func (n *Node) sendChunk(p *peer, m raft.Message) {
	chunk := *m.Snapshot
	n.group.Go(func() {
		if err := n.store.Fill(&chunk); err != nil {
			n.log.Warn("snapshot can't be read for a peer", "peer", n.nameOf(p.id), "err", err)
			return
		}
		m.Snapshot = &chunk
		p.send(wire.PeerMessage{Raft: &m})
		p.flush()
	})
}

// peer finds or makes the connection to a member.
func (n *Node) peer(id raft.ID) *peer {
	p, ok := n.peers[id]
	if !ok {
		p = n.newPeer(id)
		n.peers[id] = p
	}
	return p
}

// forgetStranger ends the connection to a node that went away and is no member:
// it may have been answered that it can't become one.
func (n *Node) forgetStranger(id raft.ID) {
	config := n.replica.Config()
	if _, in := config.Member(id); in || len(config.Members) == 0 || id == n.replica.Leader() {
		return
	}
	if p, ok := n.peers[id]; ok {
		p.cancel()
		delete(n.peers, id)
	}
}

// flushPeers lets messages leave, directly or by their writers. Directly is for
// those that a write to the disk follows, or that waited for one: a writer that
// has to be woken first begins when the disk is busy already, and on the other
// side theirs waits behind it.
func (n *Node) flushPeers(direct bool) {
	for _, p := range n.peers {
		if direct {
			p.out.flush()
		} else {
			p.flushIfAny()
		}
	}
}

// changed follows role, term, leader and configuration.
func (n *Node) changed() {
	config := n.replica.Config()
	n.book.setConfig(config)
	st := n.replica.Status()
	leader := n.nameOf(st.Leader)
	if st.Leader == 0 {
		leader = ""
	}
	role := n.role()
	if now := (seen{role, uint64(st.Term), leader}); now != n.seen {
		n.seen = now
		n.log.Info("role", "role", role, "term", st.Term, "leader", leader)
		n.publishMeta()
	}
	keep := map[raft.ID]bool{}
	for _, m := range config.Members {
		keep[m.ID] = true
	}
	for _, id := range config.Outgoing {
		keep[id] = true
	}
	for id, p := range n.peers {
		if !keep[id] && len(config.Members) > 0 && id != st.Leader {
			p.cancel()
			delete(n.peers, id)
		}
	}
	for _, m := range config.Members {
		if m.ID != n.id {
			n.peer(m.ID) // connects ahead of need: an election must not wait for it
		}
	}
}

// everyTick does what needs time but no message.
func (n *Node) everyTick() error {
	if n.ticks++; n.ticks%joinTicks == 0 {
		n.askToJoin()
	}
	if every := uint64(n.cfg.FlushInterval / TickInterval); n.ticks%max(every, 1) == 0 {
		if err := n.store.Sync(); err != nil && !errors.Is(err, persist.ErrNoRoom) {
			return err
		}
	}
	if n.ticks%roomTicks == 0 {
		if err := n.watchRoom(); err != nil {
			return err
		}
	}
	n.watchPace()
	n.announceReady()
	n.watches.follow(n.replica.Leader() != 0 && !n.replica.Consistency().Diverged, n.replica.Clock())
	return n.watchTrust()
}
