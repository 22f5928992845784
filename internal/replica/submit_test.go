package replica

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// one is a single replica, number 1 of three voters, whose peers and applier are
// played by the test. Saves are durable at once.
type one struct {
	t        *testing.T
	r        *Replica
	now      int64
	messages []raft.Message
	peer     []PeerSend
	works    []Work
	answers  []string // "id code" in the order given
}

const wallStart = 1_800_000_000_000

func newOne(t *testing.T, voters int) *one {
	return newOneWith(t, voters, raft.Config{})
}

// newOneWith has a core with more settings.
func newOneWith(t *testing.T, voters int, core raft.Config) *one {
	var config raft.Configuration
	for i := 1; i <= voters; i++ {
		config.Members = append(config.Members, raft.Member{ID: raft.ID(i), Role: raft.Voter})
	}
	e := raft.Bootstrap(config)
	o := &one{t: t, now: wallStart}
	var err error
	core.ID, core.ElectionTicks, core.HeartbeatTicks, core.UncommittedBytesMax = 1, 30, 5, 4<<20
	o.r, err = New(Config{Self: config.Members[0], Raft: core, Seed: 1 << 63},
		raft.Initial{HardState: raft.HardState{Term: e.Term, Commit: e.Index}, Entries: []raft.Entry{e}}, Applied{}, o.now)
	if err != nil {
		t.Fatal(err)
	}
	o.take()
	return o
}

// Reply implements Replier.
func (o *one) Reply(id uint64, result []byte) {
	d := codec.NewDecoder(result)
	res, err := command.DecodeResult(&d)
	if err != nil {
		o.t.Fatalf("answer to %d: %v", id, err)
	}
	o.answers = append(o.answers, fmt.Sprintf("%d %v", id, res.Code))
}

// take carries out what the replica asks for.
func (o *one) take() {
	for o.r.HasOutput() {
		out := o.r.Output()
		o.messages = append(o.messages, out.Messages...)
		o.peer = append(o.peer, out.Peer...)
		o.works = append(o.works, out.Work...)
		for _, a := range out.Replies {
			a.Ticket.To.Reply(a.Ticket.ID, a.Result)
		}
		if !out.Save.Empty() {
			o.r.Saved(out.Save.LSN)
		}
	}
}

// step passes a message of a peer's core.
func (o *one) step(m raft.Message) {
	o.t.Helper()
	m.To = 1
	if err := o.r.Step(wire.PeerMessage{From: m.From, Raft: &m}, nil); err != nil {
		o.t.Fatal(err)
	}
	o.take()
}

func (o *one) ticks(n int) {
	for range n {
		o.now += TickMsDefault
		o.r.Tick(o.now)
		o.take()
	}
}

// lead wins an election with the vote of 2 and has the first entry of the term
// committed.
func (o *one) lead() {
	o.t.Helper()
	for i := 0; o.r.State() != raft.Leader; i++ {
		if i > 200 {
			o.t.Fatalf("no leader after %d ticks", i)
		}
		o.ticks(1)
		for _, m := range o.messages {
			switch {
			case m.To == 2 && m.Kind == raft.MsgPreVote:
				o.step(raft.Message{Kind: raft.MsgPreVoteReply, From: 2, Term: m.Term})
			case m.To == 2 && m.Kind == raft.MsgVote:
				o.step(raft.Message{Kind: raft.MsgVoteReply, From: 2, Term: m.Term})
			}
		}
	}
	o.ackAll(2)
}

// ackAll lets a follower confirm what the leader has sent to it.
func (o *one) ackAll(from raft.ID) {
	o.t.Helper()
	for range 3 {
		messages := o.messages
		o.messages = nil
		for _, m := range messages {
			if m.To != from || m.Kind != raft.MsgAppend {
				continue
			}
			last := m.LogIndex
			if n := len(m.Entries); n > 0 {
				last = m.Entries[n-1].Index
			}
			o.step(raft.Message{Kind: raft.MsgAppendReply, From: from, Term: m.Term, Stream: m.Stream, LogIndex: last})
		}
	}
}

// follow makes 2 the leader of a later term.
func (o *one) follow() {
	o.t.Helper()
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: o.r.Term() + 1})
	if o.r.Leader() != 2 {
		o.t.Fatalf("follows %d", o.r.Leader())
	}
}

func (o *one) submit(id uint64, timeoutMs uint32, payload []byte) {
	o.r.Submit(o, wire.Request{ID: id, Op: wire.OpPropose, TimeoutMs: timeoutMs, Payload: payload})
}

func (o *one) call(id uint64) { o.submit(id, 1000, command.AppendCall(nil, 0, id, "o", "m", nil)) }

// want compares the answers given since the last time.
func (o *one) want(answers ...string) {
	o.t.Helper()
	o.take()
	if !slices.Equal(o.answers, answers) {
		o.t.Errorf("answers %q, want %q", o.answers, answers)
	}
	o.answers = nil
}

// waiting returns the ids of those who wait for the entries that were handed to
// the applier.
func (o *one) waiting() (ids []uint64) {
	for _, w := range o.works {
		for _, t := range w.Tickets {
			if t.To != nil {
				ids = append(ids, t.ID)
			}
		}
	}
	return ids
}

func TestCallsOfOneTurnShareAnEntry(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works = nil
	for id := range uint64(5) {
		o.call(id)
	}
	o.take()
	o.ackAll(2)
	if len(o.works) != 1 || o.works[0].Entry.Span != 5 || !slices.Equal(o.waiting(), []uint64{0, 1, 2, 3, 4}) {
		t.Errorf("works %+v", o.works)
	}
	o.want()
}

func TestLargeBatchesAreSplit(t *testing.T) {
	o := newOne(t, 1)
	o.works = nil
	for id := range uint64(BatchCallsMax + 1) {
		o.call(id)
	}
	o.take()
	if len(o.works) != 2 || o.works[0].Entry.Span != BatchCallsMax || o.works[1].Entry.Span != 1 {
		t.Errorf("%d entries", len(o.works))
	}
	o.works = nil
	big := codec.AppendString(codec.AppendArrayLen(nil, 1), strings.Repeat("x", BatchBytesMax/2+1))
	for id := range uint64(3) {
		o.submit(id, 1000, command.AppendCall(nil, 0, 0, "o", "m", big))
	}
	o.take()
	if len(o.works) != 2 || len(o.waiting()) != 3 {
		t.Errorf("%d entries for %d calls", len(o.works), len(o.waiting()))
	}
}

func TestWhatIsNoCallIsRefused(t *testing.T) {
	o := newOne(t, 1)
	o.submit(1, 1000, []byte("garbage"))
	o.submit(2, 1000, command.AppendDeploy(nil, 0, 0, nil))
	o.submit(3, 1000, command.AppendTick(nil))
	o.r.Submit(o, wire.Request{ID: 4, Op: 99})
	o.r.Submit(o, wire.Request{ID: 5, Op: wire.OpDeploy, Payload: command.AppendTick(nil)})
	o.r.Submit(o, wire.Request{ID: 6, Op: wire.OpMember, Payload: []byte{0xc0}})
	o.r.Submit(o, wire.Request{ID: 7, Op: wire.OpQuery, Mode: 9})
	o.want("1 bad_argument", "2 bad_argument", "3 bad_argument", "4 bad_argument", "5 bad_argument", "6 bad_argument", "7 bad_argument")
}

func TestUncommittedBytesAreBounded(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	big := codec.AppendString(codec.AppendArrayLen(nil, 1), strings.Repeat("x", 3<<20))
	for id := range uint64(3) {
		o.submit(id, 1000, command.AppendCall(nil, 0, 0, "o", "m", big))
		o.take()
	}
	o.want("1 overloaded", "2 overloaded")
}

// Scenario 25.
func TestForwardedOnce(t *testing.T) {
	o := newOne(t, 3)
	o.call(1)
	o.want("1 no_leader")
	o.follow()
	o.call(2)
	o.take()
	if len(o.peer) != 1 || o.peer[0].To != 2 || o.peer[0].Msg.Forward == nil {
		t.Fatalf("sent %+v", o.peer)
	}
	id := o.peer[0].Msg.Forward.ID
	ok := command.AppendOK(nil, 7, nil)
	answer := func(from raft.ID) {
		if err := o.r.Step(wire.PeerMessage{From: from, ForwardReply: &wire.ForwardReply{ID: id, Result: ok}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	answer(3) // it was not asked
	o.want()
	answer(2)
	answer(2)
	o.want("2 ok")
	// What another member forwarded is not passed on.
	o.peer = nil
	req := wire.Request{ID: 3, Op: wire.OpPropose, Payload: command.AppendCall(nil, 0, 3, "o", "m", nil)}
	if err := o.r.Step(wire.PeerMessage{From: 3, Forward: &req}, o); err != nil {
		t.Fatal(err)
	}
	o.want("3 no_leader")
	if len(o.peer) > 0 {
		t.Errorf("sent %+v", o.peer)
	}
}

// Answers come in the order in which the calls were forwarded, whatever the
// order of a Go map; the first ids are below the end of the numbers here, the
// later ones behind it.
func TestForwardsAreLostInOrder(t *testing.T) {
	o := newOne(t, 3)
	o.follow()
	var want []string
	for id := range uint64(40) {
		o.call(id)
		want = append(want, fmt.Sprintf("%d timeout", id))
	}
	o.take()
	o.r.LostPeer(3)
	o.want()
	o.r.LostPeer(2)
	o.want(want...)
}

// A transfer through a follower ends the reign of the leader that answers it:
// the new reign is no reason to call its outcome unknown.
func TestForwardedTransferOutlivesTheReign(t *testing.T) {
	o := newOne(t, 3)
	o.follow()
	o.r.Submit(o, wire.Request{ID: 1, Op: wire.OpTransfer, TimeoutMs: 1000, Payload: wire.AppendTransfer(nil, 3)})
	o.call(2)
	o.take()
	id := o.peer[0].Msg.Forward.ID
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 3, Term: o.r.Term() + 1})
	o.want("2 timeout")
	reply := wire.ForwardReply{ID: id, Result: command.AppendOK(nil, 1, nil)}
	if err := o.r.Step(wire.PeerMessage{From: 2, ForwardReply: &reply}, nil); err != nil {
		t.Fatal(err)
	}
	o.want("1 ok")
}

// Scenario 63: a clock that jumps back keeps nobody waiting, one that jumps
// forward ends nobody's wait.
func TestDeadlinesDoNotFollowTheWallClock(t *testing.T) {
	o := newOne(t, 3)
	o.follow()
	o.call(1)
	o.take()
	o.now += 3_600_000
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: o.r.Term()})
	o.ticks(20)
	o.want()
	o.now -= 7_200_000
	o.ticks(20)
	o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: o.r.Term()})
	o.ticks(20)
	o.want("1 timeout")
}

// Scenario 26: a leader that steps down does not know what becomes of its calls;
// the next leader commits them.
func TestCallsOutliveTheReign(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works = nil
	o.call(1)
	o.take()
	last, term := o.r.Status().LastIndex, o.r.Term()
	o.follow()
	o.want()
	o.step(raft.Message{Kind: raft.MsgAppend, From: 2, Term: term + 1, Stream: 1, LogIndex: last, LogTerm: term,
		Commit: last + 1, Entries: []raft.Entry{{Index: last + 1, Term: term + 1, Span: 1, Kind: raft.EntryNoop}}})
	if !slices.Equal(o.waiting(), []uint64{1}) {
		t.Errorf("%v wait for %+v", o.waiting(), o.works)
	}
	o.want()
}

func TestOverwrittenCallsDidNotHappen(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	before, term := o.r.Status().LastIndex, o.r.Term()
	o.works = nil
	o.call(1)
	o.take()
	o.follow()
	o.step(raft.Message{Kind: raft.MsgAppend, From: 2, Term: term + 1, Stream: 1, LogIndex: before, LogTerm: term,
		Commit: before + 1, Entries: []raft.Entry{{Index: before + 1, Term: term + 1, Span: 1, Kind: raft.EntryNoop}}})
	if ids := o.waiting(); len(ids) > 0 {
		t.Errorf("%v wait for another's entry", ids)
	}
	o.want("1 no_leader")
}

// receive lets a snapshot of another leader arrive in one piece.
func (o *one) receive(index raft.Index, term raft.Term) raft.SnapshotMeta {
	meta := raft.SnapshotMeta{Index: index, Term: term, Config: o.r.Config(), Bytes: 3, Sum: [16]byte{1}}
	o.step(raft.Message{Kind: raft.MsgSnapshot, From: 2, Term: o.r.Term(), Stream: 1,
		Snapshot: &raft.SnapshotChunk{Meta: meta, Data: []byte{1, 2, 3}, Length: 3}})
	if n := len(o.works); n == 0 || o.works[n-1].Kind != WorkInstall {
		o.t.Fatalf("works %+v", o.works)
	}
	return meta
}

// Scenario 26 again; seed 102 of internal/sim.
func TestCallsBehindASnapshotHaveAnUnknownOutcome(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.call(1)
	o.take()
	last := o.r.Status().LastIndex
	o.follow()
	meta := o.receive(last+10, o.r.Term())
	o.want()
	o.r.Done(Done{Applied: Applied{Index: meta.Index}, Installed: &Installed{Meta: meta}})
	o.want("1 timeout")
}

// Seed 29 of internal/sim: the machine is at another index behind the
// installation.
func TestNoDumpBehindAnInstallation(t *testing.T) {
	dumps := func(o *one) (n int) {
		for _, w := range o.works {
			if w.Kind == WorkDump {
				n++
			}
		}
		return n
	}
	o := newOne(t, 3)
	o.lead()
	o.r.Done(Done{Applied: Applied{Index: o.r.Status().Commit}})
	o.follow()
	o.receive(100, o.r.Term())
	o.r.Submit(o, wire.Request{ID: 1, Op: wire.OpSnapshot})
	o.take()
	if dumps(o) != 0 {
		t.Fatal("a dump is asked for behind the installation")
	}
	o.r.Done(Done{Applied: Applied{Index: 100}, Installed: &Installed{Meta: o.works[len(o.works)-1].Meta}})
	o.take()
	if n := len(o.works); dumps(o) != 1 || o.works[n-1].Meta.Index != 100 {
		t.Fatalf("works %+v", o.works)
	}
	o.r.Dumped(o.works[len(o.works)-1].Meta, nil)
	o.want("1 ok")
}

// Seed 1141 of internal/sim: a learner whose entry in the configuration was never
// committed has it in its own log all the same.
func TestAsksToJoinWithoutALeader(t *testing.T) {
	o := newOne(t, 3)
	if !o.r.WantsToJoin() {
		t.Error("a member without a leader does not ask")
	}
	o.follow()
	if o.r.WantsToJoin() {
		t.Error("a member that follows a leader asks")
	}
	o.lead()
	for _, id := range []raft.ID{2, 9, 9} {
		me := raft.Member{ID: id, Role: raft.Learner}
		if err := o.r.Step(wire.PeerMessage{From: id, Join: &me}, nil); err != nil {
			t.Fatal(err)
		}
		o.take()
	}
	if m, _ := o.r.Config().Member(2); m.Role != raft.Voter {
		t.Errorf("the voter that asked is a %v", m.Role)
	}
	if m, ok := o.r.Config().Member(9); !ok || m.Role != raft.Learner {
		t.Errorf("the stranger that asked is a %v", m.Role)
	}
}

// Names are unique among the members that answer, and a node that lost its data
// takes its place again.
func TestJoinUnderTheNameOfAMember(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	join := func(id raft.ID, name string) []PeerSend {
		t.Helper()
		o.peer = nil
		if err := o.r.Step(wire.PeerMessage{From: id, Join: &raft.Member{ID: id, Role: raft.Learner, Name: name}}, nil); err != nil {
			t.Fatal(err)
		}
		o.take()
		o.ackAll(2)
		return o.peer
	}
	member := func(id raft.ID) bool { _, in := o.r.Config().Member(id); return in }
	if join(8, "x"); !member(8) {
		t.Fatal("8 was not let in")
	}
	// 8 was let in just now, so it counts as one that answers.
	got := join(9, "x")
	if len(got) != 1 || got[0].To != 9 || got[0].Msg.JoinRefused == nil || got[0].Msg.JoinRefused.By != 8 || member(9) {
		t.Fatalf("9 with the name of 8: told %+v, config %v", got, o.r.Config())
	}
	for range 60 { // two election timeouts in which 2 answers and 8 does not
		o.messages = nil
		o.ticks(1)
		for _, m := range o.messages {
			if m.To == 2 && m.Kind == raft.MsgHeartbeat {
				o.step(raft.Message{Kind: raft.MsgHeartbeatReply, From: 2, Term: m.Term, Stream: m.Stream, Round: m.Round})
			}
		}
	}
	if got := join(9, "x"); len(got) != 0 || !member(9) || member(8) {
		t.Errorf("9 after 8 is gone: told %+v, config %v", got, o.r.Config())
	}
}

func TestSnapshotRequestsExpire(t *testing.T) {
	o := newOne(t, 3)
	o.r.Submit(o, wire.Request{ID: 1, Op: wire.OpSnapshot, TimeoutMs: 100})
	o.want() // nothing was applied yet
	o.ticks(10)
	o.want("1 timeout")
}

func TestReadsWithoutALeader(t *testing.T) {
	o := newOne(t, 3)
	o.works = nil
	o.r.Submit(o, wire.Request{ID: 1, Op: wire.OpQuery, Mode: wire.Linearizable})
	o.want("1 no_leader")
	o.r.Submit(o, wire.Request{ID: 2, Op: wire.OpQuery, Mode: wire.Stale})
	o.r.Submit(o, wire.Request{ID: 3, Op: wire.OpQuery, Mode: wire.Stale})
	o.take()
	if len(o.works) != 1 || o.works[0].Kind != WorkRead || len(o.works[0].Queries) != 2 {
		t.Errorf("works %+v", o.works)
	}
}

// Scenarios 29, 30: one round serves all reads that came before it, and nothing
// is read before a majority has answered it.
func TestReadsWaitForARound(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works, o.messages = nil, nil
	for id := range uint64(3) {
		o.r.Submit(o, wire.Request{ID: id, Op: wire.OpQuery})
	}
	o.take()
	if len(o.works) != 0 {
		t.Fatalf("read without a round: %+v", o.works)
	}
	for _, m := range o.messages {
		if m.Kind == raft.MsgHeartbeat && m.To == 3 && m.Round != 0 {
			o.step(raft.Message{Kind: raft.MsgHeartbeatReply, From: 3, Term: m.Term, Stream: m.Stream, Round: m.Round})
		}
	}
	if len(o.works) != 1 || len(o.works[0].Queries) != 3 {
		t.Fatalf("works %+v", o.works)
	}
	// A deposed leader answers none; the reads wait for the next round.
	o.works, o.messages = nil, nil
	o.r.Submit(o, wire.Request{ID: 4, Op: wire.OpQuery, TimeoutMs: 200})
	o.take()
	o.follow()
	if len(o.works) != 0 {
		t.Fatalf("read at a deposed leader: %+v", o.works)
	}
	o.ticks(15)
	o.want("4 timeout")
}

// Scenario 45: a transfer to nobody in particular goes to the voter that is best
// prepared, and calls are refused from then on.
func TestTransferToAny(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.messages = nil
	o.r.Submit(o, wire.Request{ID: 1, Op: wire.OpTransfer, Payload: wire.AppendTransfer(nil, 0)})
	o.want("1 ok")
	var told []raft.ID
	for _, m := range o.messages {
		if m.Kind == raft.MsgTimeoutNow {
			told = append(told, m.To)
		}
	}
	if !slices.Equal(told, []raft.ID{2}) { // 3 has acknowledged nothing
		t.Errorf("told to campaign: %v", told)
	}
	o.call(2)
	o.want("2 no_leader")
}

// Commands that wait to be tried out are bounded, in number and bytes, and what was
// tried makes room: the applier works them off one after the other.
func TestDryRunsAreBounded(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works, o.answers = nil, nil
	deploy := command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "a.lua"}})
	submit := func(op wire.Op, payload []byte) {
		o.r.Submit(o, wire.Request{ID: 1, Op: op, Payload: payload})
		o.take()
	}
	for i := range DryRunsMax {
		submit([]wire.Op{wire.OpCheck, wire.OpDeploy}[i%2], deploy)
	}
	if len(o.works) != DryRunsMax || len(o.answers) != 0 {
		t.Fatalf("%d works, answers %v", len(o.works), o.answers)
	}
	submit(wire.OpDeploy, deploy)
	submit(wire.OpCheck, deploy)
	if want := []string{"1 overloaded", "1 overloaded"}; len(o.works) != DryRunsMax || !slices.Equal(o.answers, want) {
		t.Fatalf("%d works, answers %v, want %v", len(o.works), o.answers, want)
	}
	for _, w := range o.works {
		w.DryRun.Propose = false
		w.DryRun.Result = command.AppendOK(nil, 1, nil)
		o.r.Done(Done{Applied: Applied{Index: 1}, DryRuns: []DryRun{w.DryRun}})
	}
	o.take()
	o.works, o.answers = nil, nil
	large := append(deploy, make([]byte, DryRunBytesMax)...)
	submit(wire.OpCheck, large)
	submit(wire.OpCheck, deploy)
	if want := []string{"1 overloaded"}; len(o.works) != 1 || !slices.Equal(o.answers, want) {
		t.Errorf("beside one of %d bytes: %d works, answers %v, want %v", len(large), len(o.works), o.answers, want)
	}
	o.r.Done(Done{Applied: Applied{Index: 1}, DryRuns: []DryRun{{Ticket: Ticket{To: o}, Payload: large, Result: command.AppendOK(nil, 1, nil)}}})
	if o.r.dryRuns != 0 || o.r.dryRunBytes != 0 {
		t.Errorf("%d dry runs of %d bytes are left", o.r.dryRuns, o.r.dryRunBytes)
	}
}

// A command that would never find room is refused as what it is, by a follower too:
// as the leader's frame, under a longer id, one at the limit of frames would break the
// connection to it.
func TestTooLargeToForward(t *testing.T) {
	o := newOne(t, 3)
	o.follow()
	o.peer, o.answers = nil, nil
	call := func(n int) []byte {
		return append(command.AppendCall(nil, 0, 0, "a", "b", nil), make([]byte, n)...)
	}
	for _, op := range []wire.Op{wire.OpPropose, wire.OpDeploy} {
		o.r.Submit(o, wire.Request{ID: 1, Op: op, Payload: call(OpenBytesMax)})
	}
	o.take()
	if want := []string{"1 bad_argument", "1 bad_argument"}; len(o.peer) != 0 || !slices.Equal(o.answers, want) {
		t.Errorf("%d forwarded, answers %v, want %v", len(o.peer), o.answers, want)
	}
	o.r.Submit(o, wire.Request{ID: 2, Op: wire.OpPropose, Payload: call(OpenBytesMax)[:OpenBytesMax]})
	o.take()
	if len(o.peer) != 1 {
		t.Fatalf("%d forwarded", len(o.peer))
	}
	if n := len(wire.AppendPeer(nil, o.peer[0].Msg)); n > wire.FrameBytesMax {
		t.Errorf("a forwarded frame of %d bytes, the other side takes %d", n, wire.FrameBytesMax)
	}
	l := newOne(t, 3)
	l.lead()
	l.answers = nil
	l.r.Submit(l, wire.Request{ID: 1, Op: wire.OpPropose, Payload: call(OpenBytesMax)})
	l.take()
	if want := []string{"1 bad_argument"}; !slices.Equal(l.answers, want) {
		t.Errorf("at the leader: answers %v, want %v", l.answers, want)
	}
}

// Requests for a snapshot that wait for one to begin are bounded.
func TestDumpAsksAreBounded(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.r.Done(Done{Applied: Applied{Index: o.r.emitted}})
	o.answers = nil
	for i := range uint64(DumpAsksMax + 3) { // the first has its dump begun
		o.r.Submit(o, wire.Request{ID: i, Op: wire.OpSnapshot})
	}
	o.take()
	if want := []string{"1025 overloaded", "1026 overloaded"}; !slices.Equal(o.answers, want) {
		t.Errorf("answers %v, want %v", o.answers, want)
	}
}
