package lab

import (
	"fmt"
	"slices"
	"time"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// Timeouts of elections and heartbeats are a node's. The ticks are coarser, as an
// hour of virtual time is to pass in a moment.
const (
	tickInterval   = 50 * time.Millisecond
	heartbeatTicks = 2
	electionTicks  = 12
)

const (
	dataDir      = "/data"
	segmentBytes = 64 << 10
	clusterID    = "6c61626c61626c61626c61626c61626c"
	// skewMax is how wrong a clock is at most. What expires does so by the clock of
	// the leader, and leaders change.
	skewMax = 200 * time.Millisecond
	// saveMax is how long a write with its sync takes at most.
	saveMax = 2 * time.Millisecond
	// turnsMax ends a loop that would never end.
	turnsMax = 10_000
)

// member is one replica with its disk, clock and driver. What is in running goes
// with the process.
type member struct {
	w        *World
	id       raft.ID
	name     string
	founding raft.Configuration
	disk     *persist.MemFS
	skew     time.Duration

	up   bool
	life int  // counts starts
	held bool // down until the spec starts it again
	running
}

// running is what a process has in memory.
type running struct {
	dir     *persist.Dir
	store   *replica.Store
	replica *replica.Replica
	applier *replica.Applier
	querier *luafsm.Querier

	in        inputs
	startedAt time.Duration
	awake     bool // a run of the loop is due
	saving    *save
	pausedTo  time.Duration // the process stands still until then

	leads    bool
	works    []replica.Work
	applying bool
	tries    []*try // of clients, that have no answer yet
	watches  []*Watch
	ledAt    time.Duration // when it knew of a leader
}

// save is a write that the disk was given, and what waits for it.
type save struct {
	out   replica.Output
	gated []raft.Message
}

// inputs is what the loop drains at once, as internal/node's.
type inputs struct {
	requests []*try
	watches  []*Watch
	peers    []wire.PeerMessage
	lost     []raft.ID
	done     []replica.Done
	dumped   []dumped
	tick     bool
}

type dumped struct {
	meta raft.SnapshotMeta
	err  error
}

func newMember(w *World, id raft.ID) *member {
	return &member{w: w, id: id, name: fmt.Sprintf("n%d", id), disk: persist.NewMemFS(), skew: w.between(-skewMax, skewMax)}
}

func (m *member) String() string { return m.name }

// wall is what the member's clock shows, in ms.
func (m *member) wall() int64 { return start + (m.w.now + m.skew).Milliseconds() }

// start boots the process.
func (m *member) start() {
	if m.up || m.held || m.w.err != nil {
		return
	}
	m.life++
	m.running = running{startedAt: m.w.now}
	m.up = true
	if err := m.boot(); err != nil {
		m.w.fail(fmt.Errorf("%v does not start: %w", m, err))
		return
	}
	m.w.Tell("%v starts", m)
	m.tickLater()
	m.wake()
}

// boot does what node.openDir, node.findCluster and node.startReplica do.
func (m *member) boot() error {
	dir, err := persist.Open(dataDir, persist.Options{FS: m.disk, Sync: true, SegmentBytes: segmentBytes})
	if err != nil {
		return err
	}
	m.dir = dir
	if dir.Identity().NodeID == 0 {
		if err := dir.SetIdentity(persist.Identity{NodeID: m.id, Name: m.name}); err != nil {
			return err
		}
	}
	rec, err := dir.Load()
	if err != nil {
		return err
	}
	if dir.Identity().Cluster == "" {
		if err := m.found(rec); err != nil {
			return err
		}
	}
	options := luafsm.Options{Memo: m.w.conf.Memo}
	m.store = replica.NewStore(dir, replica.Fsync, options)
	init := raft.Initial{HardState: rec.HardState, Entries: rec.Entries}
	machine := luafsm.New(options)
	if s := rec.Snapshot; s != nil {
		if machine, err = m.store.Restore(*s); err != nil {
			return fmt.Errorf("snapshot at index %d: %w", s.Index, err)
		}
		init.Snapshot, init.Applied = *s, s.Index
	}
	m.applier = replica.NewApplier(machine, hands{m})
	m.querier = luafsm.NewQuerier()
	m.replica, err = replica.New(replica.Config{
		Self:   raft.Member{ID: m.id, Role: raft.Voter, Name: m.name, Addr: m.name},
		Raft:   raft.Config{ID: m.id, ElectionTicks: electionTicks, HeartbeatTicks: heartbeatTicks, Seed: m.w.rng.Uint64(), CompactKeepEntries: compactKeep},
		Seed:   m.w.rng.Uint64(),
		TickMs: tickInterval.Milliseconds(), SnapshotEntries: m.w.faults.snapshots,
	}, init, m.applier.State(), m.wall())
	return err
}

// found writes the first entry of the log, equal at every founder. Without it a
// node that starts anew has no entry, as the power went before.
func (m *member) found(rec *persist.Recovered) error {
	if len(rec.Entries) == 0 {
		e := raft.Bootstrap(m.founding)
		rec.HardState = raft.HardState{Term: e.Term, Commit: e.Index}
		rec.Entries = []raft.Entry{e}
		if err := m.dir.Append(raft.Save{HardState: &rec.HardState, Entries: rec.Entries}); err != nil {
			return err
		}
		if err := m.dir.Sync(); err != nil {
			return err
		}
	}
	return m.dir.SetIdentity(persist.Identity{NodeID: m.id, Name: m.name, Cluster: clusterID})
}

// after makes something happen later if the process still runs then.
func (m *member) after(delay time.Duration, run func()) {
	life := m.life
	m.w.after(delay, func() {
		if !m.up || m.life != life {
			return
		}
		if wait := m.pausedTo - m.w.now; wait > 0 {
			m.after(wait, run)
			return
		}
		run()
	})
}

func (m *member) tickLater() {
	m.after(tickInterval, func() {
		m.in.tick = true
		m.wake()
		m.tickLater()
	})
}

// wake makes the loop run soon, unless it waits for the disk.
func (m *member) wake() {
	if m.awake || m.saving != nil || !m.up {
		return
	}
	m.awake = true
	m.after(m.w.between(0, 50*time.Microsecond), m.loop)
}

// loop is one turn of node.loop.
func (m *member) loop() {
	m.awake = false
	if m.saving != nil { // saved wakes it
		return
	}
	in := m.in
	m.in = inputs{}
	m.feed(&in)
	m.carryOut()
}

// feed is node.feed.
func (m *member) feed(in *inputs) {
	r := m.replica
	r.SetTime(m.wall())
	r.SetMonotonic(uint64((m.w.now - m.startedAt).Milliseconds()))
	for _, d := range in.done {
		r.Done(d)
	}
	for _, d := range in.dumped {
		r.Dumped(d.meta, d.err)
	}
	for _, msg := range in.peers {
		var back replica.Replier
		if msg.Forward != nil {
			back = forwardReplier{m, msg.From}
		}
		if err := r.Step(msg, back); err != nil {
			m.w.fail(fmt.Errorf("%v refuses a message of %v: %w", m, m.w.members[msg.From-1], err))
			return
		}
	}
	for _, id := range in.lost {
		r.LostPeer(id)
	}
	for _, t := range in.requests {
		r.Submit(t, t.request())
	}
	for _, x := range in.watches {
		if x.node == m && x.life == m.life {
			r.Submit(x, wire.Request{ID: x.number, Op: wire.OpQuery, TimeoutMs: uint32(tryTimeout.Milliseconds())})
		}
	}
	if in.tick {
		r.Tick(m.wall())
		if r.Leader() != 0 {
			m.ledAt = m.w.now
		} else if m.w.now-m.ledAt > leaderlessMax {
			m.loseWatches()
		}
	}
}

// carryOut is node.carryOut. Where that waits for the disk, this comes back when
// the write has been done.
func (m *member) carryOut() {
	for turns := 0; m.up && m.replica.HasOutput(); turns++ {
		if turns > turnsMax {
			m.w.fail(fmt.Errorf("%v has ever more output", m))
			return
		}
		out := m.replica.Output()
		if leads := m.replica.IsLeader(); leads != m.leads {
			m.leads = leads
			m.w.Tell("%v %s, term %d", m, map[bool]string{true: "leads", false: "leads no more"}[leads], m.replica.Term())
		}
		if err := m.store.Receive(out.Chunks, out.DropSnapshot); err != nil {
			m.w.fail(fmt.Errorf("%v can't store a part of a snapshot: %w", m, err))
			return
		}
		m.works = append(m.works, out.Work...)
		m.applyLater()
		gated := m.sendMessages(out.Messages)
		for i := range out.Peer {
			m.w.send(m, out.Peer[i].To, out.Peer[i].Msg)
		}
		for i := range out.Replies {
			out.Replies[i].Ticket.To.Reply(out.Replies[i].Ticket.ID, out.Replies[i].Result)
		}
		if !out.Save.Empty() {
			m.saving = &save{out, gated}
			m.after(m.w.between(50*time.Microsecond, saveMax), m.saved)
			return
		}
		m.finish(&out, gated)
	}
	if m.in.tick || len(m.in.peers)+len(m.in.requests)+len(m.in.watches)+len(m.in.done) > 0 {
		m.wake()
	}
}

// saved goes on when a write is done.
func (m *member) saved() {
	s := m.saving
	m.saving = nil
	if err := m.store.Save(s.out.Save); err != nil {
		m.w.fail(fmt.Errorf("%v can't write: %w", m, err))
		return
	}
	m.replica.Saved(s.out.Save.LSN)
	m.finish(&s.out, s.gated)
	m.carryOut()
	m.wake()
}

// finish carries out what comes after the Save.
func (m *member) finish(out *replica.Output, gated []raft.Message) {
	m.sendMessages(gated)
	if out.Compacted != 0 {
		if err := m.store.Compact(out.Compacted); err != nil {
			m.w.fail(fmt.Errorf("%v can't compact its log: %w", m, err))
		}
	}
}

// sendMessages sends what may leave and returns the rest, as node's does.
func (m *member) sendMessages(messages []raft.Message) (gated []raft.Message) {
	for i := range messages {
		msg := messages[i]
		if msg.After > m.store.Durable() {
			gated = append(gated, msg)
			continue
		}
		if msg.Kind == raft.MsgSnapshot {
			chunk := *msg.Snapshot
			if m.store.Fill(&chunk) != nil { // a newer one has taken its place
				continue
			}
			msg.Snapshot = &chunk
		}
		m.w.send(m, msg.To, wire.PeerMessage{Raft: &msg})
	}
	return gated
}

// crash ends the process. Power that goes takes along what was not synced.
func (m *member) crash(power bool) {
	w := m.w
	if !m.up {
		return
	}
	if s := m.saving; s != nil && w.rng.IntN(2) == 0 { // it came to its end, and nobody was told
		if err := m.store.Save(s.out.Save); err != nil {
			w.fail(fmt.Errorf("%v can't write: %w", m, err))
		}
	}
	if power {
		w.Tell("%v loses power", m)
		m.disk.Crash(int64(w.rng.Uint64() >> 1))
	} else {
		w.Tell("%v is killed", m)
		m.disk.Kill()
	}
	tries := m.tries
	m.up = false
	m.loseWatches()
	m.running = running{}
	for _, other := range w.members { // connections break, of clients too
		if other != m && other.up && w.rng.IntN(4) != 0 {
			other.after(w.between(0, 5*time.Millisecond), func() {
				other.in.lost = append(other.in.lost, m.id)
				other.wake()
			})
		}
	}
	for _, t := range tries {
		t.broken()
	}
}

// applyLater makes the applier, a goroutine of its own in a node, go on.
func (m *member) applyLater() {
	if m.applying || len(m.works) == 0 {
		return
	}
	m.applying = true
	m.after(m.w.between(0, 100*time.Microsecond), m.apply)
}

// apply does the works that wait, and reports.
func (m *member) apply() {
	m.applying = false
	works := m.works
	m.works = nil
	var done replica.Done
	for i := range works {
		m.applier.Do(&works[i], &done)
	}
	if err := m.applier.Err(); err != nil {
		m.w.fail(fmt.Errorf("%v: %w", m, err))
		return
	}
	done.Applied = m.applier.State()
	m.in.done = append(m.in.done, done)
	m.wake()
}

// hands is node.hands.
type hands struct{ m *member }

func (h hands) Read(v *luafsm.Version, queries []replica.Query) {
	m := h.m
	m.after(m.w.between(0, 100*time.Microsecond), func() {
		for _, q := range queries {
			if watch, ok := q.Ticket.To.(*Watch); ok {
				if watch.node == m && watch.life == m.life {
					watch.answer(m.querier, v)
				}
				continue
			}
			q.Ticket.To.Reply(q.Ticket.ID, m.querier.Query(v, q.Payload, nil))
		}
		v.Release()
	})
}

func (h hands) Dump(v *luafsm.Version, meta raft.SnapshotMeta) {
	m := h.m
	m.after(m.w.between(0, 20*time.Millisecond), func() {
		meta, err := m.store.Dump(v, meta)
		v.Release()
		m.in.dumped = append(m.in.dumped, dumped{meta, err})
		m.wake()
	})
}

func (h hands) Install(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	return h.m.store.Install(meta)
}

func (h hands) Changed(changes []luafsm.Change) {
	for _, w := range slices.Clone(h.m.watches) {
		w.changed(changes)
	}
}

func (h hands) Replaced(raft.Index) { h.m.loseWatches() }

// forwardReplier sends the answer to a forwarded request back to the member
// that forwarded it.
type forwardReplier struct {
	m  *member
	to raft.ID
}

func (f forwardReplier) Reply(id uint64, result []byte) {
	f.m.w.send(f.m, f.to, wire.PeerMessage{ForwardReply: &wire.ForwardReply{ID: id, Result: append([]byte(nil), result...)}})
}
