package raft

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/mutant"
)

// Propose appends an entry of the caller's data that covers span indexes. It
// returns the first and last of them and the term: the entry is committed when
// Committed has an entry with that last index and term, and lost when it has
// another one there (scenario 26: until then the outcome is unknown).
func (r *Raft) Propose(data []byte, span uint32) (first, last Index, term Term, err error) {
	if r.state != Leader || r.transferee != 0 {
		return 0, 0, 0, ErrNotLeader
	}
	if n := uint64(len(data)); n > r.cfg.EntryBytesMax {
		return 0, 0, 0, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, n, r.cfg.EntryBytesMax)
	} else if r.uncommitted > 0 && r.uncommitted+n+entryOverhead > r.cfg.UncommittedBytesMax {
		return 0, 0, 0, ErrOverloaded
	}
	if span == 0 {
		span = 1
	}
	r.appendOwn(EntryBatch, data, span)
	last = r.log.last()
	return last - Index(span) + 1, last, r.term, nil
}

// appendOwn appends an entry of the leader.
func (r *Raft) appendOwn(kind EntryKind, data []byte, span uint32) {
	e := Entry{Index: r.log.last() + Index(span), Term: r.term, Span: span, Kind: kind, Data: data}
	r.log.append(e)
	r.uncommitted += size(&e)
	r.dirty = true
	if kind == EntryConfig {
		r.pushConfig(&e)
	}
}

// replicate sends what every member is to have now. It runs once per Output, so
// that a drained batch of proposals and answers costs one message a member.
func (r *Raft) replicate() {
	r.beginRound()
	for _, p := range r.progress {
		if p.id != r.id {
			r.sendTo(p)
		}
	}
	r.heartbeatDue, r.newsDue, r.dirty = false, false, false
}

func (r *Raft) sendTo(p *progress) {
	if p.state != Snapshot && p.next-1 < r.log.base {
		// Only to who is there: a dead member would cost a window of chunks each
		// time.
		if r.alive(p) {
			p.becomeSnapshot(r.snapshot)
		}
	} else if p.state == Probe && !p.probeSent {
		r.sendAppend(p)
		p.probeSent = true
	}
	for p.state == Replicate && p.next <= r.log.last() && !p.windowFull(&r.cfg) {
		r.sendAppend(p)
	}
	r.beginRefetch(p)
	if p.transferring() && r.refetch == 0 {
		r.sendChunks(p)
	}
	r.sendHeartbeat(p)
}

// sendHeartbeat sends one when it is time, when a round of reads needs it, or to
// tell a commit that no append told. Calls that were committed are told with the
// next append, and by the next tick if there is none: what else was committed, and
// what a member waits for with a read, is told at once. A lone caller's next call is most often there
// before the tick, and a message each would cost him more than they give.
func (r *Raft) sendHeartbeat(p *progress) {
	commit := min(p.match, r.commit) // scenario 19
	m := Message{Kind: MsgHeartbeat, To: p.id, Term: r.term, LogIndex: p.match, Commit: commit, Stream: p.stream}
	switch {
	case r.heartbeatDue || p.voter && p.roundSent < r.round:
		m.Round = r.round
		p.roundSent = r.round
		if r.cfg.LeaseMs != 0 {
			m.Sent = r.time
		}
	case commit <= p.commitSent || !r.newsDue && p.commitSent >= p.awaited:
		return
	}
	p.commitSent = max(p.commitSent, commit)
	r.send(m)
}

// sendAppend sends one append from Next on. A member that does not answer is
// probed without entries.
func (r *Raft) sendAppend(p *progress) {
	prev := p.next - 1
	prevTerm, ok := r.log.term(prev)
	if !ok {
		r.invariant("next %d of %d is behind no position; base %d last %d", p.next, p.id, r.log.base, r.log.last())
	}
	m := Message{Kind: MsgAppend, To: p.id, Term: r.term, LogIndex: prev, LogTerm: prevTerm, Commit: r.commit, Stream: p.stream}
	end := prev
	if p.state == Replicate || r.alive(p) {
		var bytes uint64
		m.Entries, bytes = upToBytes(r.log.after(prev), r.cfg.AppendBytesMax)
		if n := len(m.Entries); n > 0 {
			end = m.Entries[n-1].Index
		}
		if p.state == Replicate {
			p.addInflight(end, bytes)
			p.next = end + 1
		}
	}
	p.sentMax = max(p.sentMax, end)
	p.commitSent = max(p.commitSent, min(r.commit, end))
	r.send(m)
}

// upToBytes cuts a slice of entries to a size, but not below one entry (scenario
// 23).
func upToBytes(entries []Entry, limit uint64) ([]Entry, uint64) {
	var sum uint64
	for i := range entries {
		n := size(&entries[i])
		if i > 0 && sum+n > limit {
			return entries[:i:i], sum
		}
		sum += n
	}
	return entries, sum
}

// tickProgress finds what was lost on the way to a member.
func (r *Raft) tickProgress(p *progress) {
	if p.transferring() {
		if p.transfer.silentTicks++; p.transfer.silentTicks >= r.cfg.ElectionTicks {
			r.rewindTransfer(p)
		}
	}
	switch p.state {
	case Probe:
		if r.heartbeatDue {
			p.probeSent = false
		}
		return
	case Snapshot:
		return
	}
	if len(p.inflight) == 0 {
		p.stalledTicks = 0
		return
	}
	p.stalledTicks++
	if p.stalledTicks >= r.cfg.ElectionTicks || p.stalledTicks > 2*r.cfg.HeartbeatTicks && p.seenLast < p.next-1 {
		// Something was lost: nothing newer will be refused if nothing newer is
		// sent. A member that has it all in memory is left the time to write.
		p.becomeProbe(p.match + 1)
	}
}

// handleAppend is the follower's side of replication (§3.5).
func (r *Raft) handleAppend(m *Message) {
	r.heard(m.From)
	if r.doubtful(m) {
		return
	}
	end := m.LogIndex
	if n := len(m.Entries); n > 0 {
		end = m.Entries[n-1].Index
	}
	if end <= r.commit && !mutant.On(mutant.TruncateCommitted) {
		// Old. What is committed here is in every leader's log.
		r.ack(m, end)
		return
	}
	prev, prevTerm, entries := m.LogIndex, m.LogTerm, m.Entries
	if prev < r.log.base { // the front was compacted away, so it is committed
		for len(entries) > 0 && entries[0].Index <= r.log.base {
			prev, prevTerm = entries[0].Index, entries[0].Term
			entries = entries[1:]
		}
		if prev != r.log.base {
			r.invariant("append from %d behind %d/%d has no end of an entry at the committed %d", m.From, m.LogIndex, m.LogTerm, r.log.base)
		}
	}
	if t, ok := r.log.term(prev); !ok || t != prevTerm {
		r.refuse(m)
		return
	}
	r.appendForeign(entries)
	if mutant.On(mutant.CommitUnverified) {
		end = r.log.last()
	}
	r.commitTo(r.log.floor(min(m.Commit, end))) // scenario 68
	r.ack(m, end)
}

// appendForeign takes entries that follow a position of this log.
func (r *Raft) appendForeign(entries []Entry) {
	for i := range entries {
		e := &entries[i]
		if e.Index <= r.log.last() {
			if t, ok := r.log.term(e.Index); ok && (t == e.Term && !mutant.On(mutant.TruncateCommitted) || mutant.On(mutant.SuffixKept)) {
				continue // log matching: the same entry
			}
		}
		if e.First()-1 < r.log.last() {
			r.truncate(e.First() - 1)
		}
		r.log.append(*e)
		if e.Kind == EntryConfig {
			r.pushConfig(e)
		}
	}
}

// truncate removes a conflicting suffix. Never anything committed: that would
// undo what somebody was told (scenario 14).
func (r *Raft) truncate(to Index) {
	if to < r.commit && !mutant.On(mutant.TruncateCommitted) {
		r.invariant("truncation to %d below commit %d, log %d..%d", to, r.commit, r.log.base, r.log.last())
	}
	r.log.truncate(to)
	r.undoConfigs(to)
	r.unsave(to)
	if to < r.savedTo {
		r.cut, r.cutTo, r.savedTo = true, to, to
	}
}

// ack tells the leader up to where the log agrees and is durable. Of several in
// one Output only the last is sent.
func (r *Raft) ack(m *Message, i Index) {
	reply := Message{Kind: MsgAppendReply, To: m.From, Term: r.term, Stream: m.Stream, LogIndex: i, After: r.savedBy(i)}
	if mutant.On(mutant.AckUnsynced) {
		reply.After = 0
	}
	if r.ackAt < len(r.messages) {
		old := &r.messages[r.ackAt]
		if old.Kind == MsgAppendReply && !old.Reject && old.To == reply.To && old.Term == reply.Term && old.Stream == reply.Stream {
			if old.LogIndex < i {
				*old = r.stamp(reply)
			}
			return
		}
	}
	r.ackAt = len(r.messages)
	r.send(reply)
}

// refuse tells the leader where the logs may agree: our highest position whose
// term is not above that of the refused one (scenario 13).
func (r *Raft) refuse(m *Message) {
	hint, ok := r.log.upTo(min(m.LogIndex, r.log.last()), m.LogTerm)
	if !ok {
		hint = r.log.base
	}
	t, _ := r.log.term(hint)
	r.send(Message{Kind: MsgAppendReply, To: m.From, Term: r.term, Stream: m.Stream, Reject: true,
		LogIndex: m.LogIndex, Hint: hint, HintTerm: t})
}

// answering returns what the leader knows of the sender, if the answer belongs
// to this reign and to the sender's present stream.
func (r *Raft) answering(m *Message) *progress {
	if r.state != Leader {
		return nil
	}
	p := r.progressOf(m.From)
	if p == nil || p.stream != m.Stream {
		return nil
	}
	p.heardAt = r.now
	return p
}

func (r *Raft) handleAppendReply(m *Message) {
	p := r.answering(m)
	if p == nil {
		return
	}
	r.dirty = true
	if m.Reject {
		r.refused(p, m)
		return
	}
	i := m.LogIndex
	if _, ok := r.log.term(i); i > p.sentMax || i > r.log.base && !ok {
		r.note("ignored %d's answer for %d: sent up to %d", p.id, i, p.sentMax) // scenario 18
		return
	}
	found := p.state == Probe && i >= p.next-1 || p.state == Snapshot && i >= p.transfer.meta.Index
	moved := i > p.match
	p.match = max(p.match, i)
	p.next = max(p.next, p.match+1)
	p.freeInflight(i)
	if found {
		p.becomeReplicate()
	}
	if moved {
		p.stalledTicks = 0
		r.maybeCommit()
		r.transferIfReady(p)
	}
}

// refused moves Next back to where the logs may agree.
func (r *Raft) refused(p *progress, m *Message) {
	switch {
	case p.state == Snapshot,
		p.state == Probe && m.LogIndex != p.next-1,
		p.state == Replicate && m.LogIndex <= p.match:
		return // answers an older question
	}
	pos, ok := r.log.upTo(min(m.Hint, m.LogIndex), m.HintTerm)
	if ok && pos >= m.LogIndex { // only a confused member refuses what it hints at
		if ok = m.LogIndex > r.log.base; ok {
			pos = r.log.floor(m.LogIndex - 1)
		}
	}
	if !ok {
		pos = 0 // what it needs was compacted away
	}
	next := max(pos, p.match) + 1
	again := p.state == Probe && next == p.next
	p.becomeProbe(next)
	p.probeSent = again // no news: not before the next heartbeat
}

// handleHeartbeat is the follower's side.
func (r *Raft) handleHeartbeat(m *Message) {
	r.heard(m.From)
	if r.doubtful(m) {
		return
	}
	if max(m.LogIndex, m.Commit) > r.log.last() {
		r.lostLog(m)
		return
	}
	r.commitTo(r.log.floor(max(m.Commit, r.commit)))
	if m.Round != 0 {
		r.send(Message{Kind: MsgHeartbeatReply, To: m.From, Term: r.term, Stream: m.Stream, Round: m.Round,
			LogIndex: r.log.last(), Hint: r.refetch, Sent: r.promise(m.Sent)})
	}
}

func (r *Raft) handleHeartbeatReply(m *Message) {
	p := r.answering(m)
	if p == nil {
		return
	}
	r.dirty = true
	if m.Reject {
		// Scenario 69: what it acknowledged is not there any more. It counts for
		// nothing until it has it again.
		r.note("member %d lost entries: it had acknowledged %d and has %d", p.id, p.match, m.LogIndex)
		r.newStream(p)
		return
	}
	p.seenLast = m.LogIndex
	r.wanted(p, m.Hint)
	r.promised(p, m.Sent)
	if m.Round > r.round {
		r.note("ignored %d's answer for round %d: begun up to %d", p.id, m.Round, r.round)
		return
	}
	if m.Round > p.roundAcked {
		p.roundAcked = m.Round
		r.confirmReads()
	}
}

// newStream forgets all that was known of a member.
func (r *Raft) newStream(p *progress) {
	r.streams++
	*p = progress{id: p.id, voter: p.voter, heardAt: p.heardAt, stream: r.streams}
	p.becomeProbe(r.log.last() + 1)
}

// matchOf is what counts for commitment: the leader's own log when it is durable
// (scenarios 20, 70).
func (r *Raft) matchOf(p *progress) uint64 {
	if p.id == r.id {
		if mutant.On(mutant.CountUnsyncedOwn) {
			return uint64(r.log.last())
		}
		return uint64(r.durable)
	}
	return uint64(p.match)
}

// maybeCommit counts replicas. Only entries of the present term are committed by
// counting (§3.6.2, scenario 15); all before them go with them.
func (r *Raft) maybeCommit() {
	i := Index(r.quorumValue(r.matchOf))
	if i <= r.commit {
		return
	}
	if t, ok := r.log.term(i); !ok {
		r.invariant("a majority has %d, which is no position of the log %d..%d", i, r.log.base, r.log.last())
	} else if t != r.term && !mutant.On(mutant.CommitOldTerm) {
		return
	}
	r.commitTo(i)
	r.configCommitted()
}

// tellAll has all members told a commit at once.
func (r *Raft) tellAll(i Index) {
	for _, p := range r.progress {
		p.awaited = max(p.awaited, i)
	}
}

// commitTo raises the commit index to a position.
func (r *Raft) commitTo(i Index) {
	if i <= r.commit {
		return
	}
	if i > r.log.last() {
		r.invariant("commit %d is above the last index %d", i, r.log.last())
	}
	if r.state == Leader {
		done := r.log.between(r.commit, i)
		for k := range done {
			r.uncommitted -= min(r.uncommitted, size(&done[k]))
			if done[k].Kind != EntryBatch {
				r.tellAll(done[k].Index)
			}
		}
		r.dirty = true
	}
	r.commit = i
	if in := &r.incoming; !in.complete && in.meta.Index <= i && !r.refetches(&in.meta) {
		r.dropIncoming() // the log was faster
	}
	r.regainTrust()
}
