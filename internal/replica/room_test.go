package replica

import (
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// A follower with a full disk takes the entry that begins a leader's term, without
// which that one answers no read, and no calls.
func TestFullFollowerTakesANewTerm(t *testing.T) {
	o := newOne(t, 3)
	o.follow()
	o.r.SetRoom(Room{Full: true})
	last, term := o.r.Status().LastIndex, o.r.Term()
	send := func(kind raft.EntryKind) {
		o.messages = nil
		st := o.r.Status()
		o.step(raft.Message{Kind: raft.MsgAppend, From: 2, Term: term, Stream: 1, LogIndex: st.LastIndex, LogTerm: term - 1,
			Entries: []raft.Entry{{Index: st.LastIndex + 1, Term: term, Span: 1, Kind: kind}}})
	}
	send(raft.EntryBatch)
	if got := o.r.Status().LastIndex; got != last || len(o.messages) != 0 {
		t.Fatalf("a call is taken: the log ends at %d, was %d; %v", got, last, o.messages)
	}
	send(raft.EntryNoop)
	if got := o.r.Status().LastIndex; got != last+1 || len(o.messages) != 1 || o.messages[0].Kind != raft.MsgAppendReply {
		t.Fatalf("the entry of a new term is not taken: the log ends at %d, was %d; %v", got, last, o.messages)
	}
}
