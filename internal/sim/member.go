package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// As in internal/node.
const (
	tickInterval   = 20 * millisecond
	heartbeatTicks = 5
	electionTicks  = 30
	joinTicks      = 25
	flushTicks     = 50
)

const (
	dataDir = "/data"
	// wallStart is what the clocks show at the start, in ms since 1970.
	wallStart = 1_800_000_000_000
	// clusterID is the cluster of all worlds.
	clusterID = "00112233445566778899aabbccddeeff"
)

// member is one replica with its disk, clock and driver. What is in life goes
// with the process.
type member struct {
	w       *world
	id      raft.ID
	name    string
	host    string    // the name under which it joins: what starts in place of a member that forgot everything has the same
	role    raft.Role // Learner: is to be a voter; Observer
	founder bool
	disk    *disk
	durable onDisk

	skew, drift float64 // of the clock: ms, and how much faster it runs

	up   bool
	life int // counts starts
	// lossy: the log may lack what was acknowledged. A node leaves word of that in
	// its directory (node.trust.go).
	lossy bool
	// flipped: a bit of a stored file was inverted. The member may have to be
	// replaced.
	flipped bool
	broken  bool // it does not start again, and is to be removed
	gone    bool // it was switched off for good
	soon    bool // the next start comes at once
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
	startedAt int64
	awake     bool // a run of the loop is due
	saving    bool // the loop waits for the disk
	writing   bool // the disk is at saves[0]
	saves     []*save
	pausedTo  int64 // the process stands still until then
	ticks     int

	kept     []*raft.Save // found no room on the disk
	works    []replica.Work
	applying bool

	votedIn raft.Term // the last term with a vote that was given to the disk

	commit raft.Index // as last seen by history.check
	agreed raft.Index
	state  raft.State
	term   raft.Term
	config raft.Configuration
	change change // the last configuration that it appended as a leader
}

// inputs is what the loop drains at once, as internal/node's.
type inputs struct {
	requests []request
	peers    []wire.PeerMessage
	lost     []raft.ID
	done     []replica.Done
	dumped   []dumped
	tick     bool
}

type request struct {
	from   replica.Replier
	req    wire.Request
	change *raft.ConfigChange // if not nil: what an operator asks the leader for
}

type dumped struct {
	meta raft.SnapshotMeta
	err  error
}

func (in *inputs) empty() bool {
	return len(in.requests)+len(in.peers)+len(in.lost)+len(in.done)+len(in.dumped) == 0 && !in.tick
}

func (m *member) String() string { return m.name }

// wall is what the member's clock shows, in ms.
func (m *member) wall() int64 {
	return wallStart + int64(m.skew+float64(m.w.now)/float64(millisecond)*(1+m.drift))
}

// start boots the process; a disk that fails makes it try again later.
func (m *member) start() {
	if m.up || m.gone || m.broken {
		return
	}
	w := m.w
	m.disk.powerBack()
	m.life++
	m.running = running{startedAt: w.now}
	m.up = true
	err := m.boot()
	switch {
	case m.disk.dead:
		w.stats.crashedAtBoot++
		m.powerFailure("while it started")
	case errors.Is(err, errDisk), noRoom(err):
		m.stop(err)
	case err != nil && m.flipped:
		w.stats.refused++
		m.breaks(fmt.Sprintf("it refuses to start: %v", err))
	case err != nil:
		w.fail(startsAgain, "%v does not start: %v", m, err)
	default:
		m.flipped = false
		m.tickLater()
		m.wake()
	}
}

// boot does what node.openDir, node.findCluster and node.startReplica do.
func (m *member) boot() error {
	w := m.w
	if !w.profile.memory && w.chance(0.05) && m.mayLosePower() {
		m.disk.powerGoesAfter(w.rng.IntN(40))
	}
	dir, err := persist.Open(dataDir, persist.Options{FS: m.disk, Sync: true, SegmentBytes: w.profile.segment})
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
	if rec.Torn != nil {
		w.stats.tornTails++
		w.log("%v: %v", m, rec.Torn)
	}
	for _, note := range rec.Notes {
		w.log("%v: %s", m, note)
	}
	if dir.Identity().Cluster == "" {
		if m.founder && rec.Snapshot == nil && len(rec.Entries) == 0 {
			if err := m.found(rec); err != nil {
				return err
			}
		}
		if err := dir.SetIdentity(persist.Identity{NodeID: m.id, Name: m.name, Cluster: clusterID}); err != nil {
			return err
		}
	}
	m.recovered(rec)
	m.store = replica.NewStore(dir, w.profile.durability(), luafsm.Options{})
	return m.startReplica(rec)
}

// recovered notes what is durable.
func (m *member) recovered(rec *persist.Recovered) {
	prev := position{}
	m.durable = onDisk{}
	if s := rec.Snapshot; s != nil {
		prev = position{s.Index, s.Term}
		m.durable.base = s.Index
	}
	m.durable.save(&raft.Save{Entries: rec.Entries})
	m.w.history.taken(m, rec.Entries, prev)
}

// found writes the first entry of the log, equal at every founder.
func (m *member) found(rec *persist.Recovered) error {
	e := raft.Bootstrap(m.w.founding)
	rec.HardState = raft.HardState{Term: e.Term, Commit: e.Index}
	rec.Entries = []raft.Entry{e}
	if m.w.profile.memory {
		return nil
	}
	if err := m.dir.Append(raft.Save{HardState: &rec.HardState, Entries: rec.Entries}); err != nil {
		return err
	}
	return m.dir.Sync()
}

func (m *member) startReplica(rec *persist.Recovered) error {
	w := m.w
	init := raft.Initial{HardState: rec.HardState, Entries: rec.Entries, Untrusted: m.lossy}
	if m.lossy {
		w.stats.distrusted++
	}
	machine := luafsm.New(luafsm.Options{})
	if s := rec.Snapshot; s != nil {
		var err error
		if machine, err = m.store.Restore(*s); err != nil {
			return fmt.Errorf("snapshot at index %d: %w", s.Index, err)
		}
		w.history.restored(m, machine, *s)
		init.Snapshot, init.Applied = *s, s.Index
	}
	m.applier = replica.NewApplier(machine, hands{m})
	m.querier = luafsm.NewQuerier()
	config := w.profile.raft
	config.ID, config.Seed = m.id, w.rng.Uint64()
	r, err := replica.New(replica.Config{
		Self: raft.Member{ID: m.id, Role: m.role, Name: m.host, Addr: m.host},
		Raft: config, Seed: w.rng.Uint64(),
		SnapshotEntries: w.profile.snapshots, SnapshotIntervalMs: w.profile.snapshotsMs,
	}, init, m.applier.State(), m.wall())
	if err != nil {
		return err
	}
	m.replica = r
	w.log("%v starts: term %d, vote %d, snapshot %d, %d entries, commit %d, untrusted %v", m, rec.HardState.Term, rec.HardState.Vote,
		init.Snapshot.Index, len(init.Entries), rec.HardState.Commit, m.lossy)
	return nil
}

// after makes something happen later if the process still runs then.
func (m *member) after(delay int64, run func()) {
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
		m.settle()
	})
}

// settle ends what an event began: the power may have gone in it.
func (m *member) settle() {
	if m.up && m.disk.dead {
		m.w.stats.crashedAtDisk++
		m.powerFailure("in the middle of a disk operation")
	}
	if m.up {
		m.w.history.check(m)
	}
}

// tickLater keeps the ticks coming. A loop that is busy gets one for all that
// it missed, as from a time.Ticker.
func (m *member) tickLater() {
	m.after(int64(float64(tickInterval)/(1+m.drift)), func() {
		m.in.tick = true
		m.wake()
		m.tickLater()
	})
}

// wake makes the loop run soon, unless it waits for the disk.
func (m *member) wake() {
	if m.awake || m.saving || !m.up {
		return
	}
	m.awake = true
	m.after(m.w.between(0, 100*microsecond), m.loop)
}

// loop is one turn of node.loop.
func (m *member) loop() {
	m.awake = false
	if m.saving || m.in.empty() && !m.replica.HasOutput() {
		return
	}
	in := m.in
	m.in = inputs{}
	m.feed(&in)
	m.carryOut()
}

// feed is node.feed.
func (m *member) feed(in *inputs) {
	r, w := m.replica, m.w
	r.SetTime(m.wall())
	r.SetMonotonic(uint64(float64(w.now-m.startedAt) / float64(millisecond) * (1 + m.drift)))
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
			if msg.Join != nil && errors.Is(err, raft.ErrBadConfig) {
				continue // it was removed and does not know yet
			}
			w.fail(messagesAccepted, "%v refuses a message of %016x: %v", m, uint64(msg.From), err)
		}
	}
	for _, id := range in.lost {
		r.LostPeer(id)
	}
	for _, q := range in.requests {
		if q.change != nil {
			r.ChangeMembers(q.from, q.req, *q.change)
			continue
		}
		r.Submit(q.from, q.req)
	}
	if in.tick {
		r.Tick(m.wall())
		if m.ticks++; m.ticks%joinTicks == 0 {
			m.askToJoin()
		}
		if m.ticks%flushTicks == 0 {
			if err := m.store.Sync(); err != nil && !errors.Is(err, persist.ErrNoRoom) {
				m.stop(err)
				return
			}
		}
		if m.ticks%roomTicks == 0 {
			if err := m.watchRoom(); err != nil {
				m.stop(err)
			}
		}
	}
}

// turnsMax ends a loop that would never end.
const turnsMax = 10_000

// carryOut is node.carryOut. Where that waits for the disk, this comes back
// when the write has been done. In some worlds it does not wait: raft allows
// several Saves to be under way (§10.2.1).
func (m *member) carryOut() {
	for turns := 0; m.up && m.replica.HasOutput(); turns++ {
		if turns > turnsMax {
			m.w.fail(ownInvariant, "%v has ever more output", m)
		}
		out := m.replica.Output()
		m.observe(&out)
		if err := m.store.Receive(out.Chunks, out.DropSnapshot); err != nil {
			m.w.log("%v: part of a snapshot not stored: %v", m, err)
		}
		if m.disk.dead {
			return
		}
		m.works = append(m.works, out.Work...)
		m.applyLater()
		gated := m.sendMessages(out.Messages)
		for i := range out.Peer {
			m.w.net.send(m, out.Peer[i].To, out.Peer[i].Msg)
		}
		for i := range out.Replies {
			out.Replies[i].Ticket.To.Reply(out.Replies[i].Ticket.ID, out.Replies[i].Result)
		}
		switch {
		case !out.Save.Empty():
			m.saves = append(m.saves, &save{out, gated})
			m.write()
			if !m.w.profile.overlap {
				m.saving = true
				return
			}
		case len(m.saves) > 0: // what waits for a write goes with the last one
			last := m.saves[len(m.saves)-1]
			last.gated = append(last.gated, gated...)
			last.out.Compacted = max(last.out.Compacted, out.Compacted)
		default:
			m.finish(&out, gated)
		}
	}
	if !m.in.empty() {
		m.wake()
	}
}

// save is a write that the disk was given, and what waits for it.
type save struct {
	out   replica.Output
	gated []raft.Message
}

// write lets the disk do the next write.
func (m *member) write() {
	if m.writing || len(m.saves) == 0 {
		return
	}
	m.writing = true
	wait := m.w.saveTime()
	m.after(wait, m.saved)
	m.maybeCrashWithin(wait)
}

// maybeCrashWithin lets the power go before a write is reported done. Votes are
// rare among the writes, and so meet this more often.
func (m *member) maybeCrashWithin(wait int64) {
	p := m.w.profile.saveCrash
	if hs := m.saves[0].out.Save.HardState; hs != nil && hs.Vote != 0 && hs.Term != m.votedIn {
		m.votedIn = hs.Term
		p = m.w.profile.voteCrash
	}
	if m.w.chance(p/float64(m.w.calm)) && m.mayLosePower() {
		m.after(m.w.between(0, wait), func() {
			m.soon = true // while the same candidates still ask
			m.powerFailure("while it wrote")
		})
	}
}

// saved goes on when a write is done.
func (m *member) saved() {
	s := m.saves[0]
	m.saves, m.writing, m.saving = m.saves[1:], false, false
	if err := m.save(&s.out.Save); err != nil {
		m.stop(err)
		return
	}
	m.finish(&s.out, s.gated)
	m.carryOut()
	if m.up {
		m.write()
	}
}

// finish carries out what comes after the Save.
func (m *member) finish(out *replica.Output, gated []raft.Message) {
	m.sendMessages(gated)
	if out.Compacted != 0 {
		if err := m.store.Compact(out.Compacted); err != nil {
			m.stop(err)
		}
	}
}

// saveTime draws how long a write with its sync takes.
func (w *world) saveTime() int64 {
	if w.chance(w.profile.stall) {
		w.stats.stalls++
		return w.between(w.profile.saveMax, 30*w.profile.saveMax)
	}
	return w.between(50*microsecond, w.profile.saveMax)
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
			m.sendChunk(msg)
			continue
		}
		m.w.net.send(m, msg.To, wire.PeerMessage{Raft: &msg})
	}
	return gated
}

// sendChunk reads a part of a snapshot beside the loop.
func (m *member) sendChunk(msg raft.Message) {
	chunk := *msg.Snapshot
	m.after(m.w.between(0, 2*millisecond), func() {
		if err := m.store.Fill(&chunk); err != nil {
			m.w.log("%v can't read a snapshot for %016x: %v", m, uint64(msg.To), err)
			return
		}
		msg.Snapshot = &chunk
		m.w.stats.chunks++
		m.maybeCutTransfer(msg.To, &chunk)
		m.w.net.send(m, msg.To, wire.PeerMessage{Raft: &msg})
	})
}

// askToJoin is node.askToJoin; every other member is known from gossip.
func (m *member) askToJoin() {
	if !m.replica.WantsToJoin() {
		return
	}
	if slices.Contains(m.w.history.config().Removed, m.id) {
		return // a node is told so when it connects
	}
	role := m.role
	if role == raft.Voter {
		role = raft.Learner // a founder, which the others know
	}
	me := raft.Member{ID: m.id, Role: role, Name: m.host, Addr: m.host}
	for _, other := range m.w.members {
		if other != m {
			m.w.net.send(m, other.id, wire.PeerMessage{Join: &me})
		}
	}
}

// observe counts and tells what an output has.
func (m *member) observe(out *replica.Output) {
	s, w := &m.w.stats, m.w
	w.history.saves(m, &out.Save)
	w.history.commits(m, out)
	w.history.changes(m, &out.Save)
	if out.Save.Truncate {
		s.truncations++
		w.log("%v truncates its log to %d", m, out.Save.TruncateTo)
	}
	if out.Save.Reset != nil {
		s.resets++
		w.log("%v begins its log anew behind the snapshot at %d", m, out.Save.Reset.Index)
	}
	if hs := out.Save.HardState; hs != nil && (hs.Term != m.term || hs.Vote != 0) {
		w.log("%v saves term %d, vote %d", m, hs.Term, hs.Vote)
	}
	if out.Compacted != 0 {
		s.compactions++
	}
	if out.DropSnapshot {
		s.droppedTransfers++
	}
	for _, note := range out.Notes {
		w.log("%v notes: %s", m, note)
	}
}

// stop ends the process because of an error that it must not survive. What it
// wrote stays with the operating system.
func (m *member) stop(err error) {
	if !m.up || m.disk.dead {
		return // settle sees to it
	}
	if m.w.profile.memory {
		m.w.fail(simulatorItself, "%v has no disk and stops: %v", m, err)
	}
	m.w.stats.stoppedByDisk++
	if noRoom(err) {
		m.w.stats.stoppedByFull++
	}
	m.w.log("%v stops: %v", m, err)
	m.disk.Kill()
	m.down()
}

// kill ends the process; what it wrote stays with the operating system.
func (m *member) kill() {
	if !m.up || m.w.profile.memory && !m.mayLosePower() {
		return
	}
	m.w.stats.kills++
	if m.w.profile.memory {
		m.forget("it is killed")
		return
	}
	m.writeUnsynced()
	m.w.log("%v is killed", m)
	m.disk.Kill()
	m.down()
}

// mayLosePower tells whether a member can lose power without the loss of what
// was acknowledged. With durability async that holds as long as all others have
// what they acknowledged, and not for a member that is alone. With durability memory
// the same holds, also for the end of the process only.
func (m *member) mayLosePower() bool {
	w := m.w
	switch {
	case w.profile.memory:
		if w.atRisk != nil && w.atRisk != m || !w.settled() {
			return false
		}
		w.atRisk = m
		return true
	case !w.profile.async:
		return true
	}
	if voters(w.history.config()) < 3 || w.atRisk != nil && w.atRisk != m {
		return false
	}
	w.atRisk = m
	return true
}

// trustedAgain is looked at after every event.
func (m *member) trustedAgain(untrusted bool) {
	if m.lossy && !untrusted {
		m.w.log("%v is trusted again", m)
		m.w.stats.trustedAgain++
		m.lossy = false
	}
	if w := m.w; w.atRisk == m && !m.lossy && !m.flipped && !m.broken && !m.disk.arm && len(m.saves) == 0 {
		w.atRisk = nil
	}
}

// powerFailure ends the machine; what was not synced may be gone.
func (m *member) powerFailure(when string) {
	if !m.up || !m.mayLosePower() {
		return
	}
	m.w.stats.powerFailures++
	if m.w.profile.memory {
		m.forget("it loses power " + when)
		return
	}
	m.lossy = m.w.profile.async
	if !m.disk.dead {
		m.writeUnsynced()
	}
	m.w.log("%v loses power %s", m, when)
	m.disk.Crash(int64(m.w.rng.Uint64() >> 1))
	m.down()
}

// writeUnsynced lets the writes that were under way have come any part of their
// way: not begun, handed to the operating system, or all of it.
func (m *member) writeUnsynced() {
	if len(m.saves) == 0 {
		return
	}
	m.w.stats.crashedInSave++
	for _, s := range m.saves {
		var err error
		switch m.w.rng.IntN(3) {
		case 0:
			return
		case 1:
			if err = m.dir.Append(s.out.Save); err == nil {
				err = m.dir.Flush()
			}
		default:
			err = m.store.Save(s.out.Save)
		}
		if err != nil {
			m.w.log("%v: the last write failed: %v", m, err)
			return
		}
	}
}

// down forgets the process and has it start again. Its peers may notice.
func (m *member) down() {
	w := m.w
	m.up = false
	m.running = running{}
	m.disk.powerBack()
	for _, other := range w.members {
		if other != m && w.rng.IntN(4) != 0 {
			other.losePeerLater(m.id)
		}
	}
	w.clientsLose(m)
	if m.broken || m.gone {
		return
	}
	wait := w.between(10*millisecond, 500*millisecond)
	if w.chance(0.2) {
		wait = w.between(500*millisecond, 8*second)
	}
	if m.soon {
		m.soon, wait = false, w.between(millisecond, 60*millisecond)
	}
	w.after(wait, m.start)
}

// losePeerLater breaks the connection to a peer.
func (m *member) losePeerLater(id raft.ID) {
	if !m.up {
		return
	}
	m.after(m.w.between(0, 5*millisecond), func() {
		m.in.lost = append(m.in.lost, id)
		m.wake()
	})
}
