package replica

import (
	"fmt"
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
