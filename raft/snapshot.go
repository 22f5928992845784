package raft

import "github.com/syncsh/syncsh/internal/mutant"

// incoming is a snapshot that this member receives.
type incoming struct {
	meta   SnapshotMeta // Index 0: none
	from   ID
	stream uint64
	next   uint64 // the offset wanted next
	// complete: all is there and the caller checks and restores it. Until
	// SnapshotInstalled nothing is handed out to be applied and no other snapshot
	// begins.
	complete bool
}

// sameFile tells whether two snapshots are the same bytes.
func sameFile(a, b *SnapshotMeta) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Bytes == b.Bytes && a.Sum == b.Sum
}

// Compact says that the caller has a durable snapshot of what it applied. The
// log up to it is dropped, but for a tail for followers that are a little
// behind, and more for those that are alive and need it; Output.Compacted says
// how much. Older snapshots than the present one are ignored.
func (r *Raft) Compact(meta SnapshotMeta) {
	if meta.Index <= r.snapshot.Index || r.refetch != 0 {
		return
	}
	if t, ok := r.log.term(meta.Index); meta.Index > r.handed || !ok || t != meta.Term {
		r.invariant("compaction at %d/%d, handed out %d, log %d..%d", meta.Index, meta.Term, r.handed, r.log.base, r.log.last())
	}
	r.snapshot = meta
	r.compactTo(r.keepFrom(meta.Index))
	r.dirty = true // somebody may wait for it
}

// keepFrom returns the position up to which the log can go.
func (r *Raft) keepFrom(snapshot Index) Index {
	k := r.log.search(snapshot + 1) // entries[:k] are in the snapshot
	keep := snapshot
	var bytes uint64
	needed := r.neededFrom(snapshot)
	for n := 0; k > 0; n++ {
		k--
		e := &r.log.entries[k]
		bytes += size(e)
		small := n < r.cfg.CompactKeepEntries && bytes <= r.cfg.CompactKeepBytes
		held := e.Index > needed && bytes <= r.cfg.CompactHoldBytes
		if !small && !held {
			break
		}
		keep = e.First() - 1
	}
	return keep
}

// neededFrom is the lowest position from which a live follower goes on: its Match
// or the end of the snapshot it is receiving.
func (r *Raft) neededFrom(i Index) Index {
	for _, p := range r.progress {
		if p.id == r.id || !r.alive(p) {
			continue
		}
		if p.state == Snapshot {
			i = min(i, p.transfer.meta.Index)
		} else if p.match >= r.log.base {
			i = min(i, p.match)
		}
	}
	return i
}

// compactTo drops the log up to a position.
func (r *Raft) compactTo(to Index) {
	if to <= r.log.base {
		return
	}
	r.log.compact(to)
	r.compacted = to
	// The configuration at base stays, those before it can't come back.
	k := 0
	for k+1 < len(r.configs) && r.configs[k+1].index <= to {
		k++
	}
	r.configs = append([]configAt(nil), r.configs[k:]...)
}

// sendChunks keeps a window of parts of the snapshot under way.
func (r *Raft) sendChunks(p *progress) {
	t := &p.transfer
	window := uint64(r.cfg.SnapshotChunksInflightMax) * uint64(r.cfg.SnapshotChunkBytes)
	for t.sent < t.meta.Bytes && t.sent-t.acked < window || t.sent >= t.meta.Bytes && !t.asked {
		n := min(uint64(r.cfg.SnapshotChunkBytes), t.meta.Bytes-t.sent)
		chunk := &SnapshotChunk{Meta: t.meta, Offset: t.sent, Length: uint32(n)}
		t.sent += n
		t.asked = t.sent >= t.meta.Bytes
		p.sentMax = max(p.sentMax, t.meta.Index)
		r.send(Message{Kind: MsgSnapshot, To: p.id, Term: r.term, Snapshot: chunk, Stream: p.stream})
	}
}

// rewindTransfer sends anew from where the follower is known to be. If it was
// silent for an election timeout and there is a newer snapshot, that is taken: the
// caller may not have the old one any more.
func (r *Raft) rewindTransfer(p *progress) {
	p.transfer.silentTicks = 0
	if !sameFile(&p.transfer.meta, &r.snapshot) {
		p.transfer = transfer{meta: r.snapshot}
	}
	p.transfer.sent, p.transfer.asked, p.transfer.rewound = p.transfer.acked, false, true
}

func (r *Raft) handleSnapshotReply(m *Message) {
	p := r.answering(m)
	if p == nil || !p.transferring() || m.LogIndex != p.transfer.meta.Index || m.LogTerm != p.transfer.meta.Term {
		return
	}
	t := &p.transfer
	want := uint64(m.Hint)
	switch {
	case want > t.meta.Bytes:
		r.note("ignored %d's answer for snapshot %d: wants %d of %d bytes", p.id, m.LogIndex, want, t.meta.Bytes)
	case m.Reject:
		// It could not be installed. Not again before the next timeout: a damaged
		// snapshot would otherwise be sent in a circle.
		r.note("member %d could not install snapshot %d", p.id, m.LogIndex)
		t.acked, t.sent, t.asked, t.silentTicks = 0, t.meta.Bytes, true, 0
	case want > t.acked: // perhaps from an earlier transfer of the same file
		t.acked, t.sent, t.silentTicks = want, max(t.sent, want), 0
		r.dirty = true
	case want < t.acked && t.rewound: // it began anew
		t.acked, t.sent, t.asked, t.rewound = want, want, false, false
		r.dirty = true
	}
}

// handleSnapshot takes parts in order; everything else is answered with the
// offset that is wanted (scenario 48).
func (r *Raft) handleSnapshot(m *Message) {
	r.heard(m.From)
	if r.doubtful(m) {
		return
	}
	c := m.Snapshot
	in := &r.incoming
	if in.complete {
		if sameFile(&in.meta, &c.Meta) {
			in.from, in.stream = m.From, m.Stream
			r.wantChunk(m)
		}
		return
	}
	if c.Meta.Index <= r.commit && !r.refetches(&c.Meta) && !mutant.On(mutant.StaleSnapshot) { // scenario 47
		r.dropIncoming()
		r.ack(m, c.Meta.Index)
		return
	}
	if in.meta.Index == 0 || !sameFile(&in.meta, &c.Meta) {
		r.dropIncoming()
		in.meta = c.Meta
	}
	in.from, in.stream = m.From, m.Stream
	if c.Offset == in.next && (c.Length > 0 || c.Meta.Bytes == 0) {
		in.next += uint64(c.Length)
		in.complete = in.next == in.meta.Bytes
		r.chunks = append(r.chunks, *c)
	}
	r.wantChunk(m)
}

func (r *Raft) wantChunk(m *Message) {
	meta := &m.Snapshot.Meta
	r.send(Message{Kind: MsgSnapshotReply, To: m.From, Term: r.term, Stream: m.Stream,
		LogIndex: meta.Index, LogTerm: meta.Term, Hint: Index(r.incoming.next)})
}

// dropIncoming gives up the snapshot under way.
func (r *Raft) dropIncoming() {
	if r.incoming.meta.Index != 0 {
		r.dropSnapshot = true
		r.chunks = nil
	}
	r.incoming = incoming{}
}

// SnapshotInstalled says how the installation of a complete snapshot ended. When
// it succeeded the file is durable under its name and the state is restored from
// it. Not before that may the log in front of it go (scenario 76).
func (r *Raft) SnapshotInstalled(meta SnapshotMeta, err error) {
	in := r.incoming
	if !in.complete || !sameFile(&in.meta, &meta) {
		return
	}
	r.incoming = incoming{}
	current := r.state == Follower && r.leader == in.from
	if err != nil {
		r.note("snapshot %d/%d not installed: %v", meta.Index, meta.Term, err)
		r.dropSnapshot = true
		if current {
			r.send(Message{Kind: MsgSnapshotReply, To: in.from, Term: r.term, Stream: in.stream,
				LogIndex: meta.Index, LogTerm: meta.Term, Reject: true})
		}
		return
	}
	r.snapshot = in.meta
	r.handed = max(r.handed, meta.Index)
	r.applied = max(r.applied, meta.Index)
	r.refetched(&meta)
	if t, ok := r.log.term(meta.Index); ok && t == meta.Term {
		// What came meanwhile fits: it stays (scenario 46).
		r.commitTo(meta.Index)
		r.compactTo(meta.Index)
	} else {
		if meta.Index <= r.commit {
			r.invariant("snapshot %d/%d does not fit the log committed to %d", meta.Index, meta.Term, r.commit)
		}
		r.resetLog(&in.meta)
		r.commit = meta.Index
		r.regainTrust()
	}
	if current {
		r.ack(&Message{From: in.from, Stream: in.stream}, meta.Index)
	}
}

// resetLog begins the log anew behind a snapshot.
func (r *Raft) resetLog(meta *SnapshotMeta) {
	r.log = log{base: meta.Index, baseTerm: meta.Term}
	r.configs = []configAt{newConfigAt(meta.Index, meta.Config)}
	r.changed = true
	r.unsave(meta.Index)
	r.durable, r.savedTo, r.cut = meta.Index, meta.Index, false
	if !mutant.On(mutant.ResetForgotten) {
		r.reset, r.resetLSN = meta, r.lsn+1
	}
	r.compacted = 0 // all that was written is void with the Reset
}

// takeCompacted returns up to where stable storage may forget the log. Not before
// what is written there is what it should be: with a Reset or a truncation still
// under way, a crash after the deletion would leave entries behind the snapshot
// that do not follow it, and nothing to tell by.
func (r *Raft) takeCompacted() Index {
	if !r.compactable() {
		return 0
	}
	i := r.compacted
	r.compacted = 0
	return i
}

func (r *Raft) compactable() bool {
	return r.compacted != 0 && r.durable >= r.compacted && r.stored >= r.resetLSN
}
