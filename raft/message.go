package raft

import (
	"fmt"
	"strings"
)

// Which fields count, beside Kind, From, To, Term and After:
//
//	PreVote         Term: the term it would campaign for; LogIndex, LogTerm: its last position
//	PreVoteReply    Reject; Term: granted: the asked term, refused: the voter's own
//	Vote            LogIndex, LogTerm: the candidate's last position; Transfer
//	VoteReply       Reject
//	Append          LogIndex, LogTerm: position before Entries; Entries; Commit; Stream
//	AppendReply     Stream; LogIndex: durable up to here. Reject: LogIndex is that of the refused
//	                append, Hint and HintTerm a position where the logs may agree
//	Heartbeat       LogIndex: what the follower is known to have; Commit: not above that; Stream;
//	                Round: 0 wants no reply; Sent
//	HeartbeatReply  Stream; Round, echoed; Sent; LogIndex: the follower's last index; Hint: if not 0,
//	                a snapshot from there on is wanted although the log lacks nothing.
//	                Reject: the log that it acknowledged in this stream is lost, start a new one
//	Snapshot        Snapshot; Stream
//	SnapshotReply   Stream; LogIndex, LogTerm: those of the snapshot; Hint: the offset wanted next.
//	                Reject: it could not be installed, start over. An installed snapshot is
//	                answered with an AppendReply for its index
//	Read            Round: the asker's ReadID; answers all its reads up to that; Lease
//	ReadReply       Round, echoed; LogIndex: read index; Lease. Reject: not from here
//	TimeoutNow      no more: campaign at once (§3.10)
//
// A message of a lower term than the receiver's is answered, if at all, by a
// HeartbeatReply that only carries the higher term.

var kindNames = [...]string{"?", "PreVote", "PreVoteReply", "Vote", "VoteReply", "Append", "AppendReply",
	"Heartbeat", "HeartbeatReply", "Snapshot", "SnapshotReply", "Read", "ReadReply", "TimeoutNow"}

func (k MessageKind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind%d", uint8(k))
}

func (s State) String() string {
	return [...]string{"?", "follower", "precandidate", "candidate", "leader"}[s%5]
}

func (r Role) String() string {
	return [...]string{"?", "voter", "learner", "observer"}[r&3]
}

func (k EntryKind) String() string {
	return [...]string{"?", "noop", "batch", "config"}[k&3]
}

// String is one line for transcripts and logs.
func (m Message) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d => %d %v term=%d", m.From, m.To, m.Kind, m.Term)
	show := func(name string, v uint64) {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%d", name, v)
		}
	}
	switch m.Kind {
	case MsgPreVote, MsgVote:
		fmt.Fprintf(&b, " last=%d/%d", m.LogIndex, m.LogTerm)
		if m.Transfer {
			b.WriteString(" transfer")
		}
	case MsgAppend:
		fmt.Fprintf(&b, " prev=%d/%d commit=%d", m.LogIndex, m.LogTerm, m.Commit)
	case MsgAppendReply:
		show("match", uint64(m.LogIndex))
	case MsgHeartbeat:
		fmt.Fprintf(&b, " match=%d commit=%d", m.LogIndex, m.Commit)
	case MsgHeartbeatReply:
		show("last", uint64(m.LogIndex))
		show("wants", uint64(m.Hint))
	case MsgSnapshotReply:
		fmt.Fprintf(&b, " snapshot=%d/%d want=%d", m.LogIndex, m.LogTerm, m.Hint)
	case MsgReadReply:
		show("index", uint64(m.LogIndex))
	}
	show("round", m.Round)
	show("sent", m.Sent)
	if m.Lease {
		b.WriteString(" lease")
	}
	if m.Reject {
		b.WriteString(" reject")
		if m.Kind == MsgAppendReply {
			fmt.Fprintf(&b, " hint=%d/%d", m.Hint, m.HintTerm)
		}
	}
	if c := m.Snapshot; c != nil {
		fmt.Fprintf(&b, " snapshot=%d/%d bytes=%d..%d of %d", c.Meta.Index, c.Meta.Term, c.Offset, c.Offset+uint64(c.Length), c.Meta.Bytes)
	}
	show("after", uint64(m.After))
	for _, e := range m.Entries {
		fmt.Fprintf(&b, " [%v]", e)
	}
	return b.String()
}

// String is short, for transcripts and logs.
func (e Entry) String() string {
	s := fmt.Sprintf("%d/%d", e.Index, e.Term)
	if e.Span != 1 {
		s = fmt.Sprintf("%d-%s", e.First(), s)
	}
	switch e.Kind {
	case EntryBatch:
		if len(e.Data) > 24 {
			return fmt.Sprintf("%s %d bytes", s, len(e.Data))
		}
		return fmt.Sprintf("%s %q", s, e.Data)
	case EntryConfig:
		c, err := DecodeConfiguration(e.Data)
		if err != nil {
			return s + " config?"
		}
		return s + " " + c.String()
	}
	return s + " " + e.Kind.String()
}

// check finds messages that no correct member sends, before anything is changed
// by them.
func (r *Raft) check(m *Message) error {
	switch {
	case m.Kind < MsgPreVote || m.Kind > MsgTimeoutNow:
		return fmt.Errorf("%w: %v", ErrBadMessage, m.Kind)
	case m.To != r.id || m.From == 0 || m.From == r.id:
		return fmt.Errorf("%w: %v from %d to %d at %d", ErrBadMessage, m.Kind, m.From, m.To, r.id)
	case m.Term == 0:
		return fmt.Errorf("%w: %v from %d without a term", ErrBadMessage, m.Kind, m.From)
	case m.Term > r.term && m.Term-r.term > MaxTermJump:
		r.note("refused %v from %d: term %d is too far above %d", m.Kind, m.From, m.Term, r.term)
		return fmt.Errorf("%w: %v from %d: term %d is too far above %d", ErrBadMessage, m.Kind, m.From, m.Term, r.term)
	}
	switch m.Kind {
	case MsgAppend:
		return checkEntries(m)
	case MsgSnapshot:
		return checkChunk(m)
	}
	return nil
}

// checkEntries makes sure that the entries continue each other: no gap, no
// falling term, nothing above the sender's term.
func checkEntries(m *Message) error {
	prev, prevTerm := m.LogIndex, m.LogTerm
	if prevTerm > m.Term || (prev == 0) != (prevTerm == 0) {
		return fmt.Errorf("%w: append from %d in term %d behind %d/%d", ErrBadMessage, m.From, m.Term, prev, prevTerm)
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		if e.Span == 0 || e.Index <= prev || e.Index-prev != Index(e.Span) || e.Term < prevTerm || e.Term > m.Term || e.Term == 0 ||
			e.Kind < EntryNoop || e.Kind > EntryConfig {
			return fmt.Errorf("%w: append from %d in term %d: entry %d/%d of span %d behind %d/%d",
				ErrBadMessage, m.From, m.Term, e.Index, e.Term, e.Span, prev, prevTerm)
		}
		if e.Kind == EntryConfig {
			if _, err := DecodeConfiguration(e.Data); err != nil {
				return fmt.Errorf("%w: append from %d: entry %d/%d: %w", ErrBadMessage, m.From, e.Index, e.Term, err)
			}
		}
		prev, prevTerm = e.Index, e.Term
	}
	return nil
}

func checkChunk(m *Message) error {
	c := m.Snapshot
	if c == nil {
		return fmt.Errorf("%w: snapshot from %d without a part", ErrBadMessage, m.From)
	}
	if c.Meta.Index == 0 || c.Meta.Term == 0 || c.Meta.Term > m.Term || c.Offset > c.Meta.Bytes ||
		uint64(c.Length) > c.Meta.Bytes-c.Offset || c.Length > MaxSnapshotChunkBytes || len(c.Data) != int(c.Length) {
		return fmt.Errorf("%w: snapshot %d/%d from %d in term %d: part of %d bytes, said to be %d, at %d of %d",
			ErrBadMessage, c.Meta.Index, c.Meta.Term, m.From, m.Term, len(c.Data), c.Length, c.Offset, c.Meta.Bytes)
	}
	if err := c.Meta.Config.validate(); err != nil {
		return fmt.Errorf("%w: snapshot %d/%d from %d: %w", ErrBadMessage, c.Meta.Index, c.Meta.Term, m.From, err)
	}
	return nil
}
