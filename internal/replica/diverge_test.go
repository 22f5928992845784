package replica

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// trio drives replicas on one goroutine, with disks and a network that never
// fail: what is tested here is what happens when a state is wrong.
type trio struct {
	t       *testing.T
	members []*member
	net     []sent
	now     int64
	calls   uint64
	every   uint64 // Config.SnapshotEntries
}

type sent struct {
	to  raft.ID
	msg wire.PeerMessage
}

type member struct {
	c       *trio
	id      raft.ID
	fs      *persist.MemFS
	store   *Store
	r       *Replica
	a       *Applier
	works   []Work
	dumped  []func()
	spoil   raft.Index // an entry from here on is applied wrongly, once
	hold    bool       // installations wait
	down    bool
	notes   []string
	answers map[uint64]command.Result

	changes  []luafsm.Change // what the applier reported
	replaced []raft.Index
}

const counterScript = `local Counter = object "counter"
function Counter:init() self.value = 0 end
function Counter.replicated:inc(by) self.value = self.value + (by or 1) return self.value end
function Counter.query:get() return self.value end
`

func newTrio(t *testing.T, voters, observers int) *trio {
	c := &trio{t: t, now: 1_800_000_000_000}
	var config raft.Configuration
	for i := 1; i <= voters+observers; i++ {
		role := raft.Voter
		if i > voters {
			role = raft.Observer
		}
		config.Members = append(config.Members, raft.Member{ID: raft.ID(i), Role: role})
	}
	for _, rm := range config.Members {
		m := &member{c: c, id: rm.ID, fs: persist.NewMemFS()}
		c.members = append(c.members, m)
		m.start(config)
	}
	c.members[0].campaign()
	c.do(1, wire.OpDeploy, command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "counter.lua", Source: counterScript}}))
	c.ticks(1) // all learn of its commit
	return c
}

// start boots a member from its disk, or founds the cluster.
func (m *member) start(config raft.Configuration) {
	t := m.c.t
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("member %d: %v", m.id, err)
		}
	}
	if m.store != nil {
		must(m.store.dir.Close())
	}
	dir, err := persist.Open("data", persist.Options{FS: m.fs})
	must(err)
	if dir.Identity().NodeID == 0 {
		must(dir.SetIdentity(persist.Identity{NodeID: m.id, Name: fmt.Sprint(m.id), Cluster: strings.Repeat("c", 32)}))
	}
	rec, err := dir.Load()
	must(err)
	if rec.Snapshot == nil && len(rec.Entries) == 0 {
		e := raft.Bootstrap(config)
		rec.HardState, rec.Entries = raft.HardState{Term: e.Term, Commit: e.Index}, []raft.Entry{e}
		must(dir.Append(raft.Save{HardState: &rec.HardState, Entries: rec.Entries}))
		must(dir.Sync())
	}
	init := raft.Initial{HardState: rec.HardState, Entries: rec.Entries}
	machine := luafsm.New(luafsm.Options{})
	m.store = NewStore(dir, Fsync, luafsm.Options{})
	if s := rec.Snapshot; s != nil {
		machine, err = m.store.Restore(*s)
		must(err)
		init.Snapshot, init.Applied = *s, s.Index
	}
	m.a = NewApplier(machine, m)
	m.works, m.dumped, m.down, m.answers = nil, nil, false, map[uint64]command.Result{}
	m.r, err = New(Config{
		Self: raft.Member{ID: m.id, Role: raft.Voter}, Seed: uint64(m.id) + m.c.calls, SnapshotEntries: m.c.every,
		Raft: raft.Config{ID: m.id, ElectionTicks: 30, HeartbeatTicks: 5, Seed: uint64(m.id) + m.c.calls,
			CompactKeepEntries: 2, CompactHoldBytes: 1, SnapshotChunkBytes: 256},
	}, init, m.a.State(), m.c.now)
	must(err)
}

func (m *member) campaign() {
	for m.r.Leader() == 0 {
		m.r.Tick(m.c.now)
		m.c.settle()
	}
}

// Reply implements Replier.
func (m *member) Reply(id uint64, result []byte) {
	d := codec.NewDecoder(slices.Clone(result))
	res, err := command.DecodeResult(&d)
	if err != nil {
		m.c.t.Fatal(err)
	}
	if old, ok := m.answers[id]; ok {
		m.c.t.Fatalf("request %d was answered twice: %+v, %+v", id, old, res)
	}
	m.answers[id] = res
}

// Read implements Hands.
func (m *member) Read(v *luafsm.Version, queries []Query) {
	for _, q := range queries {
		q.Ticket.To.Reply(q.Ticket.ID, luafsm.NewQuerier().Query(v, q.Payload, nil))
	}
	v.Release()
}

// Dump implements Hands. The file is written with the next tick.
func (m *member) Dump(v *luafsm.Version, meta raft.SnapshotMeta) {
	m.dumped = append(m.dumped, func() {
		meta, err := m.store.Dump(v, meta)
		v.Release()
		m.r.Dumped(meta, err)
	})
}

// Install implements Hands.
func (m *member) Install(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	return m.store.Install(meta)
}

// Changed implements Hands.
func (m *member) Changed(changes []luafsm.Change) { m.changes = append(m.changes, changes...) }

// Replaced implements Hands.
func (m *member) Replaced(index raft.Index) { m.replaced = append(m.replaced, index) }

// back answers a forwarded request.
type back struct {
	m  *member
	to raft.ID
}

func (b back) Reply(id uint64, result []byte) {
	b.m.c.net = append(b.m.c.net, sent{b.to, wire.PeerMessage{From: b.m.id, ForwardReply: &wire.ForwardReply{ID: id, Result: slices.Clone(result)}}})
}

func (c *trio) member(id raft.ID) *member { return c.members[id-1] }

// settle runs until nothing moves.
func (c *trio) settle() {
	c.t.Helper()
	for range 10_000 {
		moved := false
		for _, m := range c.members {
			moved = m.run() || moved
		}
		net := c.net
		c.net = nil
		for _, s := range net {
			moved = true
			if m := c.member(s.to); !m.down && !c.member(s.msg.From).down {
				if err := m.r.Step(s.msg, back{m, s.msg.From}); err != nil {
					c.t.Fatal(err)
				}
			}
		}
		if !moved {
			return
		}
	}
	c.t.Fatal("does not come to rest")
}

func (m *member) run() (moved bool) {
	if m.down {
		return false
	}
	for m.r.HasOutput() {
		moved = true
		out := m.r.Output()
		m.notes = append(m.notes, out.Notes...)
		if err := m.store.Receive(out.Chunks, out.DropSnapshot); err != nil {
			m.c.t.Fatal(err)
		}
		if !out.Save.Empty() {
			if err := m.store.Save(out.Save); err != nil {
				m.c.t.Fatal(err)
			}
			m.r.Saved(out.Save.LSN)
		}
		for _, msg := range out.Messages {
			if msg.Kind == raft.MsgSnapshot {
				chunk := *msg.Snapshot
				if err := m.store.Fill(&chunk); err != nil {
					m.c.t.Fatal(err)
				}
				msg.Snapshot = &chunk
			}
			m.c.net = append(m.c.net, sent{msg.To, wire.PeerMessage{From: m.id, Raft: &msg}})
		}
		for _, p := range out.Peer {
			p.Msg.From = m.id
			m.c.net = append(m.c.net, sent{p.To, p.Msg})
		}
		for _, a := range out.Replies {
			a.Ticket.To.Reply(a.Ticket.ID, a.Result)
		}
		if out.Compacted != 0 {
			if err := m.store.Compact(out.Compacted); err != nil {
				m.c.t.Fatal(err)
			}
		}
		m.works = append(m.works, out.Work...)
	}
	for len(m.works) > 0 && !(m.hold && m.works[0].Kind == WorkInstall) {
		moved = true
		w := m.works[0]
		m.works = m.works[1:]
		if w.Kind == WorkApply && m.spoil != 0 && w.Entry.Index >= m.spoil && w.Entry.Kind == raft.EntryBatch {
			m.spoil = 0
			w.Entry.Data = spoilt(w.Entry)
		}
		var done Done
		m.a.Do(&w, &done)
		done.Applied = m.a.State()
		m.r.Done(done)
	}
	return moved
}

// spoilt is another batch for the same indexes: each call counts 1000 more.
func spoilt(e raft.Entry) []byte {
	d := codec.NewDecoder(e.Data)
	h, err := command.DecodeBatchHead(&d)
	if err != nil {
		panic(err)
	}
	data := command.AppendBatchHead(nil, h)
	for range h.Count {
		data = codec.AppendBytes(data, command.AppendCall(nil, 0, 0, "counter", "inc", codec.AppendUint(codec.AppendArrayLen(nil, 1), 1000)))
	}
	return data
}

// ticks lets time pass for all.
func (c *trio) ticks(n int) {
	c.t.Helper()
	for range n {
		c.now += 20
		for _, m := range c.members {
			if m.down {
				continue
			}
			m.r.Tick(c.now)
			dumped := m.dumped
			m.dumped = nil
			for _, f := range dumped {
				f()
			}
		}
		c.settle()
	}
}

// ask submits a request and returns its answer, as soon as there is one.
func (c *trio) ask(id raft.ID, req wire.Request) (res command.Result, ok bool) {
	c.t.Helper()
	c.calls++
	m := c.member(id)
	req.ID = c.calls
	m.r.Submit(m, req)
	c.settle()
	res, ok = m.answers[req.ID]
	return res, ok
}

// do is a request that must succeed.
func (c *trio) do(id raft.ID, op wire.Op, payload []byte) command.Result {
	c.t.Helper()
	res, ok := c.ask(id, wire.Request{Op: op, Payload: payload})
	if !ok || res.Code != command.CodeOK {
		c.t.Fatalf("request through %d: answered %v, %+v", id, ok, res)
	}
	return res
}

func inc() []byte {
	return command.AppendCall(nil, 0, 0, "counter", "inc", codec.AppendArrayLen(nil, 0))
}

// inc makes a call and has all learn of its commit, which takes a tick.
func (c *trio) inc(id raft.ID) {
	c.t.Helper()
	c.do(id, wire.OpPropose, inc())
	c.ticks(1)
}

func getRequest(mode wire.Mode) wire.Request {
	return wire.Request{Op: wire.OpQuery, Mode: mode, Payload: command.AppendQuery(nil, "counter", "get", codec.AppendArrayLen(nil, 0))}
}

// wantGet checks what a member answers.
func (c *trio) wantGet(id raft.ID, mode wire.Mode, want uint64) {
	c.t.Helper()
	res, ok := c.ask(id, getRequest(mode))
	if !ok || res.Code != command.CodeOK {
		c.t.Fatalf("get through %d: answered %v, %+v", id, ok, res)
	}
	d := codec.NewDecoder(res.Values)
	if err := d.FixedArray(1); err != nil {
		c.t.Fatal(err)
	}
	if got, err := d.Uint(); err != nil || got != want {
		c.t.Fatalf("get through %d gave %d (%v), want %d", id, got, err, want)
	}
}

// wantRefused checks that a member refuses.
func (c *trio) wantRefused(id raft.ID) {
	c.t.Helper()
	for name, req := range map[string]wire.Request{
		"stale": getRequest(wire.Stale), "linearizable": getRequest(wire.Linearizable), "call": {Op: wire.OpPropose, Payload: inc()},
		"check": {Op: wire.OpCheck, Payload: inc()}, "snapshot": {Op: wire.OpSnapshot},
	} {
		if res, ok := c.ask(id, req); !ok || res.Code != command.CodeDiverged || !strings.Contains(res.Message, "nothing happened") {
			c.t.Errorf("%s through %d: answered %v, %+v", name, id, ok, res)
		}
	}
}

func (c *trio) leader() *member {
	for _, m := range c.members {
		if !m.down && m.r.IsLeader() {
			return m
		}
	}
	c.t.Fatal("no leader")
	return nil
}

// wantEqual checks that all have applied the same and have the same state.
func (c *trio) wantEqual() {
	c.t.Helper()
	for _, m := range c.members {
		if a, b := m.a.State(), c.members[0].a.State(); a != b || m.r.Applied() != a {
			c.t.Fatalf("member %d is at %+v (the replica says %+v), member 1 at %+v", m.id, a, m.r.Applied(), b)
		}
	}
}

// until ticks until something holds.
func (c *trio) until(what string, ok func() bool) {
	c.t.Helper()
	for range 500 {
		if ok() {
			return
		}
		c.ticks(1)
	}
	for _, m := range c.members {
		c.t.Logf("%d %v %+v %+v\n%s", m.id, m.r.State(), m.r.Applied(), m.r.Consistency(), strings.Join(m.notes, "\n"))
	}
	c.t.Fatalf("waited for %s", what)
}

// TestFollowerDiverges: a follower whose state is wrong is out of service within
// a second, is healed by a snapshot of the leader, and stays so after a restart,
// while the others serve.
func TestFollowerDiverges(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	for range 10 {
		c.inc(2)
	}
	c.ticks(2 * digestTicks)
	agreed := m.r.Consistency().Agreed
	if agreed != m.r.Applied().Index {
		t.Fatalf("agreed at %d, applied %d", agreed, m.r.Applied().Index)
	}
	m.spoil, m.hold = agreed+1, true
	c.inc(2)
	c.inc(2)
	c.wantGet(3, wire.Stale, 1011)
	c.ticks(digestTicks)
	s := m.r.Consistency()
	if d := s.Last; !s.Diverged || s.Count != 1 || d.After != agreed || d.At != agreed+2 || d.Own == d.Majority || d.Healed != 0 {
		t.Fatalf("%+v, agreed at %d", s, agreed)
	}
	if d := s.Last; d.Own != m.r.Applied().Digest || d.Majority != c.member(1).r.Applied().Digest {
		t.Fatalf("%+v, digests %x %x", d, m.r.Applied().Digest, c.member(1).r.Applied().Digest)
	}
	c.until("the snapshot", func() bool { return len(m.works) > 0 })
	c.wantRefused(3)
	for id := range raft.ID(2) {
		c.inc(id + 1)
		c.wantGet(id+1, wire.Linearizable, 13+uint64(id))
	}
	m.hold = false
	c.settle()
	if s := m.r.Consistency(); s.Diverged || s.Count != 1 || s.Last.Healed < s.Last.At {
		t.Fatalf("%+v", s)
	}
	c.wantEqual()
	c.wantGet(3, wire.Linearizable, 14)
	c.inc(3)
	c.ticks(2 * digestTicks)
	if s := m.r.Consistency(); s.Agreed != m.r.Applied().Index || s.Diverged || s.Count != 1 {
		t.Fatalf("%+v, applied %+v", s, m.r.Applied())
	}
	m.start(raft.Configuration{})
	c.ticks(2 * digestTicks)
	c.wantEqual()
	c.wantGet(3, wire.Stale, 15)
	for _, m := range c.members[:2] {
		if s := m.r.Consistency(); s.Count != 0 || s.Undecided {
			t.Errorf("member %d: %+v", m.id, s)
		}
	}
}

// TestLeaderDiverges: a leader whose state is wrong hands over, then heals.
func TestLeaderDiverges(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.leader()
	c.inc(2)
	c.ticks(2 * digestTicks)
	m.spoil, m.hold = m.r.Applied().Index+1, true
	c.inc(2)
	c.ticks(digestTicks)
	if !m.r.Consistency().Diverged {
		t.Fatalf("%+v", m.r.Consistency())
	}
	c.until("another leader", func() bool { return !m.r.IsLeader() && m.r.Leader() != 0 })
	c.wantRefused(m.id)
	c.inc(2)
	c.inc(3)
	c.wantGet(2, wire.Linearizable, 4)
	m.hold = false
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged })
	c.wantEqual()
	c.wantGet(m.id, wire.Linearizable, 4)
}

// TestDivergedLeaderRefuses: while no other voter can lead, a leader with a wrong
// state refuses what is forwarded, answers calls under way with "unknown", and
// dumps and sends nothing.
func TestDivergedLeaderRefuses(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.leader()
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	// The votes of the others arrive, but no leadership can be handed over.
	x := m.r.Applied()
	right := c.member(2).r.Applied().Digest
	m.r.Submit(m, wire.Request{ID: 1000, Op: wire.OpPropose, Payload: inc()})
	m.run() // in the log
	m.r.Submit(m, wire.Request{ID: 1001, Op: wire.OpPropose, Payload: inc()})
	for _, id := range []raft.ID{2, 3} {
		c.member(id).down = true
		if err := m.r.Step(wire.PeerMessage{From: id, Digest: &wire.Digest{Index: x.Index, Sum: right}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	m.r.cfg.SnapshotEntries = 1
	m.r.consistency.askIn = 0
	m.r.Tick(c.now)
	m.run()
	if len(m.dumped) > 0 {
		t.Error("dumps its wrong state")
	}
	c.member(2).down, c.member(3).down = false, false
	if err := m.r.Step(wire.PeerMessage{From: 2, Forward: &wire.Request{ID: 7, Op: wire.OpPropose, Payload: inc()}}, m); err != nil {
		t.Fatal(err)
	}
	c.settle()
	for id, want := range map[uint64]command.Code{1000: command.CodeTimeout, 1001: command.CodeNoLeader, 7: command.CodeNoLeader} {
		if got, ok := m.answers[id]; !ok || got.Code != want {
			t.Errorf("request %d: answered %v, %+v", id, ok, got)
		}
	}
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged && !m.r.IsLeader() })
	c.wantEqual()
	c.wantGet(1, wire.Linearizable, 2)
}

// TestObserverDiverges: who does not vote compares with those who do.
func TestObserverDiverges(t *testing.T) {
	c := newTrio(t, 1, 1)
	m := c.member(2)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.until("divergence", func() bool { return m.r.Consistency().Count == 1 })
	c.until("the end of it", func() bool { return !m.r.Consistency().Diverged })
	c.wantEqual()
	if s := c.member(1).r.Consistency(); s.Count != 0 || s.Agreed == 0 {
		t.Errorf("the only voter: %+v", s)
	}
	for _, x := range c.member(1).r.consistency.checks {
		if len(x.heard) > 0 {
			t.Errorf("the observer said what its digest at %d is", x.index)
		}
	}
}

// TestUndecided: two voters that differ: nobody is in the minority. Both say so
// and serve.
func TestUndecided(t *testing.T) {
	for _, voters := range []int{2, 3} {
		c := newTrio(t, voters, 0)
		c.ticks(2 * digestTicks)
		if voters == 3 {
			c.member(3).down = true
		}
		c.member(2).spoil = c.member(2).r.Applied().Index + 1
		c.inc(1)
		c.ticks(5 * digestTicks)
		for id := raft.ID(1); id <= 2; id++ {
			if s := c.member(id).r.Consistency(); !s.Undecided || s.Diverged {
				t.Errorf("%d voters, member %d: %+v", voters, id, s)
			}
			if notes := strings.Join(c.member(id).notes, "\n"); strings.Count(notes, "an operator has to decide") != 1 {
				t.Errorf("%d voters, member %d says: %s", voters, id, notes)
			}
		}
		c.wantGet(1, wire.Linearizable, 1)
		c.wantGet(2, wire.Linearizable, 1000)
		if voters == 2 {
			continue
		}
		c.member(3).down = false // now there is a majority
		c.until("the end of it", func() bool { return c.member(2).r.Consistency().Last.Healed != 0 })
		c.ticks(3 * digestTicks)
		c.wantEqual()
		for _, m := range c.members {
			if s := m.r.Consistency(); s.Undecided || s.Diverged || s.Agreed != m.r.Applied().Index {
				t.Errorf("member %d: %+v", m.id, s)
			}
		}
	}
}

// TestMajorityIsRight: two of three that are wrong in the same way are right by
// definition; the third takes their state over.
func TestMajorityIsRight(t *testing.T) {
	c := newTrio(t, 3, 0)
	c.ticks(2 * digestTicks)
	for _, m := range c.members[1:] {
		m.spoil = m.r.Applied().Index + 1
	}
	c.inc(2)
	c.until("the end of it", func() bool { return c.member(1).r.Consistency().Last.Healed != 0 })
	c.until("a leader", func() bool { return c.member(1).r.Leader() != 0 })
	c.wantEqual()
	c.wantGet(1, wire.Linearizable, 1000)
}

// TestRestartDiverged: snapshots of the wrong state, on the disk before it was
// found out or under way then, don't bring it back.
func TestRestartDiverged(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.ask(3, wire.Request{Op: wire.OpSnapshot})
	m.hold = true
	c.ticks(digestTicks)
	if !m.r.Consistency().Diverged || m.r.Snapshot().Index == 0 {
		t.Fatalf("%+v, snapshot %+v", m.r.Consistency(), m.r.Snapshot())
	}
	m.start(raft.Configuration{}) // from the wrong snapshot
	c.until("divergence again", func() bool { return m.r.Consistency().Diverged })
	m.hold = false
	c.until("the end of it", func() bool { return m.r.Consistency().Last.Healed != 0 })
	c.wantEqual()

	// Once more, with a dump under way that is slower than the comparison, and no
	// later entry: the two snapshots have one index.
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	c.ask(3, wire.Request{Op: wire.OpSnapshot})
	slow := m.dumped
	if m.dumped = nil; len(slow) != 1 {
		t.Fatal("no dump")
	}
	c.ticks(2 * digestTicks)
	if s := m.r.Consistency(); !s.Diverged || m.r.raft.Refetching() {
		t.Fatalf("%+v: refetching %v beside a dump", s, m.r.raft.Refetching())
	}
	slow[0]()
	c.until("the end of it", func() bool { return m.r.Consistency().Last.Healed != 0 && !m.r.Consistency().Diverged })
	c.wantEqual()
	m.start(raft.Configuration{})
	c.ticks(2 * digestTicks)
	c.wantEqual()
	if s := m.r.Consistency(); s.Count != 0 {
		t.Errorf("after the restart: %+v", s)
	}
}

// TestDigestMarks: at every multiple of digestEvery the digests are compared
// without being asked for.
func TestDigestMarks(t *testing.T) {
	c := newTrio(t, 3, 0)
	for i := range 3 * digestEvery {
		c.member(1).r.Submit(c.member(1), wire.Request{ID: uint64(i + 1000), Op: wire.OpPropose, Payload: inc()})
		if i%1000 == 999 {
			c.settle()
		}
	}
	c.settle()
	c.ticks(1) // the followers learn of the last commit
	for _, m := range c.members {
		if s := m.r.Consistency(); s.Agreed < 3*digestEvery {
			t.Errorf("member %d: %+v", m.id, s)
		}
	}
}

// TestDigestRing: the last digests are found, and nothing else is.
func TestDigestRing(t *testing.T) {
	var d digests
	for i := raft.Index(1); i <= 3*digestsKept; i += 2 {
		d.add(i, [16]byte{byte(i), byte(i >> 8)})
	}
	for i := raft.Index(0); i < 3*digestsKept+5; i++ {
		got := d.find(i)
		if want := i%2 == 1 && i > digestsKept && i <= 3*digestsKept; got.Found != want || want && got.Sum != [16]byte{byte(i), byte(i >> 8)} {
			t.Fatalf("at %d: %+v", i, got)
		}
	}
}

// TestOldDigests: what can't be compared any more is forgotten; the number of
// comparisons is bounded.
func TestOldDigests(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(2)
	for i := range raft.Index(10 * checksMax) {
		if err := m.r.Step(wire.PeerMessage{From: 3, Digest: &wire.Digest{Index: 1000 + i*7%512}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := &m.r.consistency
	if len(s.checks) != checksMax || s.floor == 0 || s.diverged {
		t.Errorf("%d checks, floor %d", len(s.checks), s.floor)
	}
	if !slices.IsSortedFunc(s.checks, func(a, b digestCheck) int { return int(a.index) - int(b.index) }) || s.checks[0].index <= s.floor {
		t.Error("not in order")
	}
}

// TestReadsUnderWay: queries that wait for an index when the state is found
// wrong are refused.
func TestReadsUnderWay(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	c.ticks(2 * digestTicks)
	m.spoil = m.r.Applied().Index + 1
	c.inc(1)
	right := c.member(1).r.Applied()
	submit := func(id uint64) {
		req := getRequest(wire.Linearizable)
		req.ID = id
		m.r.Submit(m, req)
	}
	submit(1000)
	m.run() // the leader is asked
	m.r.readable = []readyRead{{right.Index + 100, []Query{{Ticket: Ticket{To: m, ID: 1001}}}}}
	m.r.Submit(m, wire.Request{ID: 1002, Op: wire.OpQuery, Mode: wire.Stale, Payload: getRequest(wire.Stale).Payload})
	m.run() // in time
	submit(1003)
	for _, id := range []raft.ID{1, 2} {
		if err := m.r.Step(wire.PeerMessage{From: id, Digest: &wire.Digest{Index: right.Index, Sum: right.Digest}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	c.settle()
	for id, want := range map[uint64]command.Code{1000: command.CodeDiverged, 1001: command.CodeDiverged, 1002: command.CodeOK, 1003: command.CodeDiverged} {
		if got, ok := m.answers[id]; !ok || got.Code != want {
			t.Errorf("query %d: answered %v, %+v", id, ok, got)
		}
	}
}

// TestDigestOfLater: a replica that is behind compares when it gets there.
func TestDigestOfLater(t *testing.T) {
	c := newTrio(t, 3, 0)
	m := c.member(3)
	at := m.r.Applied().Index + 1
	if err := m.r.Step(wire.PeerMessage{From: 1, Digest: &wire.Digest{Index: at}}, nil); err != nil {
		t.Fatal(err)
	}
	c.inc(1)
	x := m.r.check(at)
	if !x.known || x.own != m.r.Applied().Digest || m.r.Applied().Index != at {
		t.Errorf("%+v, applied %+v", x, m.r.Applied())
	}
	if y := c.member(2).r.check(at); !slices.Contains(y.heard, digestVote{3, x.own}) {
		t.Errorf("not told to member 2: %+v", y)
	}
}

// TestRandomDivergence: one state at a time becomes wrong, while members go down
// and come back, restart, dump and change leadership. In the end all are equal
// and in service.
func TestRandomDivergence(t *testing.T) {
	healed := uint64(0)
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newTrio(t, []int{3, 3, 5}[seed%3], int(seed%2))
		c.every = 10
		for range 60 {
			c.randomEvent(rng)
		}
		for _, m := range c.members {
			m.down, m.spoil = false, 0
		}
		c.until(fmt.Sprintf("agreement, seed %d", seed), c.agree)
		for _, m := range c.members {
			healed += m.r.Consistency().Count
		}
	}
	if t.Logf("%d divergences", healed); healed < 10 {
		t.Errorf("only %d divergences", healed)
	}
}

func (c *trio) randomEvent(rng *rand.Rand) {
	m := c.members[rng.IntN(len(c.members))]
	down := slices.ContainsFunc(c.members, func(m *member) bool { return m.down })
	switch x := rng.IntN(20); {
	case x < 8:
		c.ask(m.id, wire.Request{Op: wire.OpPropose, Payload: inc(), TimeoutMs: 100})
	case x < 13:
		c.ticks(rng.IntN(2 * digestTicks))
	case x == 13 && !down:
		m.down = true
	case x <= 14:
		for _, m := range c.members {
			m.down = false
		}
	case x == 15 && !m.down:
		m.start(raft.Configuration{})
	case x == 16 && !m.down:
		c.ask(m.id, wire.Request{Op: wire.OpSnapshot})
	case x == 17 && !m.down:
		c.ask(m.id, wire.Request{Op: wire.OpTransfer, Payload: wire.AppendTransfer(nil, c.members[rng.IntN(len(c.members))].id)})
	case !m.down && c.right():
		m.spoil = m.a.State().Index + 1
	}
}

// right tells whether no state is wrong, or about to be.
func (c *trio) right() bool {
	for _, m := range c.members {
		if m.down || m.spoil != 0 || m.a.State() != c.members[0].a.State() {
			return false
		}
	}
	return true
}

func (c *trio) agree() bool {
	for _, m := range c.members {
		s := m.r.Consistency()
		if s.Diverged || s.Undecided || s.Agreed != m.r.Applied().Index || m.a.State() != c.members[0].a.State() || m.r.Leader() == 0 {
			return false
		}
	}
	return true
}
