package replica

import (
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// reader is replica 1 with the other members played by the test, and a monotonic
// clock that only the test moves.
type reader struct {
	*one
	id uint64
}

func newReader(t *testing.T) *reader {
	o := &reader{one: newOneWith(t, 3, raft.Config{PromiseMs: 600, LeaseMs: 480})}
	o.at(600)
	return o
}

func (o *reader) at(ms uint64) { o.r.SetMonotonic(ms) }

// ask submits a query and tells whether it is answered at once.
func (o *reader) ask(mode wire.Mode) bool {
	o.works, o.messages = nil, nil
	o.id++
	o.r.Submit(o, wire.Request{ID: o.id, Op: wire.OpQuery, Mode: mode, TimeoutMs: 5000})
	o.take()
	return o.served()
}

// served tells whether the last query is in the stream of work.
func (o *reader) served() bool {
	for _, w := range o.works {
		for _, q := range w.Queries {
			if w.Kind == WorkRead && q.Ticket.ID == o.id {
				return true
			}
		}
	}
	return false
}

// heartbeats has 2 answer the heartbeats under way.
func (o *reader) heartbeats() {
	o.t.Helper()
	messages := o.messages
	o.messages = nil
	for _, m := range messages {
		if m.Kind == raft.MsgHeartbeat && m.To == 2 && m.Round != 0 {
			o.step(raft.Message{Kind: raft.MsgHeartbeatReply, From: 2, Term: m.Term, Stream: m.Stream, Round: m.Round, Sent: m.Sent})
		}
	}
}

// beat lets a heartbeat interval of ticks pass and has it answered.
func (o *reader) beat() {
	o.t.Helper()
	o.messages = nil
	o.ticks(5)
	o.heartbeats()
}

// Scenarios 32, 72: with a lease a read needs no round; a process that stood
// still asks for one, although it has not seen a tick since.
func TestLeaseReads(t *testing.T) {
	o := newReader(t)
	o.lead()
	o.at(1000)
	o.beat()
	if !o.ask(wire.Lease) {
		t.Error("no answer by lease")
	}
	if o.ask(wire.Linearizable) {
		t.Error("a linearizable read was answered without a round")
	}
	o.heartbeats()
	if !o.served() {
		t.Error("no answer after the round")
	}
	o.at(1479)
	if !o.ask(wire.Lease) {
		t.Error("no answer by lease in its last millisecond")
	}
	o.at(1480)
	if o.ask(wire.Lease) {
		t.Fatal("answered by a lease that was over")
	}
	o.heartbeats()
	if !o.served() {
		t.Error("no answer after the round that stood in for the lease")
	}
	if !o.ask(wire.Lease) {
		t.Error("that round gave no lease")
	}
}

// Scenarios 29, 32: a deposed leader that wakes serves nothing from its lease,
// also before it hears of the other one.
func TestLeaseOfTheDeposed(t *testing.T) {
	o := newReader(t)
	o.lead()
	o.beat()
	if !o.ask(wire.Lease) {
		t.Fatal("no answer by lease")
	}
	o.at(10_000)
	if o.ask(wire.Lease) {
		t.Fatal("answered by a lease that was over")
	}
	o.follow()
	if o.served() {
		t.Fatal("answered by a lease that was over")
	}
	for _, m := range o.messages {
		if m.Kind == raft.MsgRead { // the other leader is asked, and has no lease
			o.step(raft.Message{Kind: raft.MsgReadReply, From: 2, Term: m.Term, Round: m.Round, LogIndex: 2})
		}
	}
	if !o.served() {
		t.Error("no answer by the new leader's word")
	}
}

// Scenario 31: a follower asks for the leader's lease, and waits for the index.
func TestLeaseAtAFollower(t *testing.T) {
	o := newReader(t)
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: 2})
	if o.ask(wire.Lease) {
		t.Fatal("answered without the leader's word")
	}
	var asked []raft.Message
	for _, m := range o.messages {
		if m.Kind == raft.MsgRead {
			asked = append(asked, m)
		}
	}
	if len(asked) != 1 || !asked[0].Lease {
		t.Fatalf("questions %+v", asked)
	}
	o.step(raft.Message{Kind: raft.MsgReadReply, From: 2, Term: 2, Round: asked[0].Round, LogIndex: 2, Lease: true})
	if o.served() {
		t.Fatal("answered below the read index")
	}
	o.step(raft.Message{Kind: raft.MsgAppend, From: 2, Term: 2, LogIndex: 1, LogTerm: 1, Commit: 2,
		Entries: []raft.Entry{{Index: 2, Term: 2, Span: 1, Kind: raft.EntryNoop}}})
	if !o.served() {
		t.Error("no answer at the read index")
	}
}

// TestBoundedReads: within the bound of a round that was asked for, no other is
// needed, by the member's own monotonic clock. Without a leader the bound can't be
// met, and that is said.
func TestBoundedReads(t *testing.T) {
	const bound = 500
	bounded := wire.Bounded(bound * time.Millisecond)
	o := newReader(t)
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: 2})
	o.at(1000)
	if o.ask(bounded) {
		t.Fatal("answered without any word of a leader")
	}
	o.at(1300) // the answer is late: the bound counts from the question
	for _, m := range o.messages {
		if m.Kind == raft.MsgRead {
			o.step(raft.Message{Kind: raft.MsgReadReply, From: 2, Term: 2, Round: m.Round, LogIndex: 1})
		}
	}
	if !o.served() {
		t.Fatal("no answer after the round")
	}
	o.at(1499)
	if !o.ask(bounded) {
		t.Error("no answer within the bound")
	}
	if o.ask(wire.Bounded((bound - 1) * time.Millisecond)) {
		t.Error("answered behind the bound of another reader")
	}
	if o.ask(wire.Bounded(0)) {
		t.Error("answered without a round although nothing may be missing")
	}
	o.at(1500)
	if o.ask(bounded) {
		t.Error("answered behind the bound")
	}
	o.answers = nil
	o.r.LostPeer(2)
	o.take()
	if len(o.answers) == 0 {
		t.Error("reads whose bound can't be met wait without a leader")
	}
	for _, a := range o.answers {
		if a[len(a)-len("no_leader"):] != "no_leader" {
			t.Errorf("answer %q", a)
		}
	}
	if !o.ask(wire.Bounded(time.Hour)) {
		t.Error("no answer within a wide bound because the leader is gone")
	}
}

// TestLeaseIsNoBound: what a lease told says nothing to bounded reads, which ask
// nothing of other members' clocks.
func TestLeaseIsNoBound(t *testing.T) {
	o := newReader(t)
	o.lead()
	o.beat()
	if !o.ask(wire.Lease) {
		t.Fatal("no answer by lease")
	}
	if o.ask(wire.Bounded(time.Hour)) {
		t.Error("answered by what a lease told")
	}
}

// Scenario 28: an applier that lags stops the intake, and memory stays bounded;
// what was lost by that comes again.
func TestLaggingApplier(t *testing.T) {
	o := newOne(t, 3)
	index := raft.Index(1)
	send := func() raft.Index {
		e := raft.Entry{Index: index + 1, Term: 2, Span: 1, Kind: raft.EntryBatch, Data: make([]byte, 32<<20)}
		o.step(raft.Message{Kind: raft.MsgAppend, From: 2, Term: 2, LogIndex: index, LogTerm: min(raft.Term(index), 2), Commit: index + 1, Entries: []raft.Entry{e}})
		return o.r.Status().LastIndex
	}
	for send() == index+1 {
		if index++; index > 10 {
			t.Fatalf("%d entries of 32 MiB were taken, none is applied", index)
		}
	}
	if o.r.unapplied <= UnappliedBytesMax {
		t.Errorf("%d bytes are unapplied", o.r.unapplied)
	}
	o.r.Done(Done{Applied: Applied{Index: index}, Bytes: o.r.unapplied})
	if send() != index+1 {
		t.Error("nothing is taken although all is applied")
	}
	o = newOne(t, 3)
	o.lead()
	o.r.unapplied = UnappliedBytesMax + 1
	o.call(1)
	o.want("1 overloaded")
}

// Queries that wait for a read index are bounded by their bytes, and those that were
// let go make room.
func TestReadBytesAreBounded(t *testing.T) {
	o := newReader(t)
	o.lead()
	const size = ReadBytesMax/4 + 1
	submit := func(mode wire.Mode) {
		o.id++
		o.r.Submit(o, wire.Request{ID: o.id, Op: wire.OpQuery, Mode: mode, TimeoutMs: 100, Payload: make([]byte, size)})
	}
	fill := func() {
		o.answers = nil
		for range 4 {
			submit(wire.Linearizable)
		}
		o.take()
		if len(o.answers) != 1 || o.r.readBytes != 3*size {
			t.Fatalf("answers %v, %d bytes wait", o.answers, o.r.readBytes)
		}
	}
	fill()
	o.beat()
	if o.r.readBytes != 0 || o.r.readsOpen != 0 {
		t.Fatalf("answered: %d bytes of %d queries wait", o.r.readBytes, o.r.readsOpen)
	}
	fill()
	o.ticks(100 / TickMsDefault * 2)
	if o.r.readBytes != 0 || o.r.readsOpen != 0 {
		t.Fatalf("expired: %d bytes of %d queries wait", o.r.readBytes, o.r.readsOpen)
	}
}
