package replica

import (
	"errors"
	"fmt"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// Limits. Each bounds memory that a client or a slow part could make grow.
const (
	// BatchBytesMax closes a batch: an entry stays small enough to be sent and
	// written in one piece.
	BatchBytesMax = 1 << 20
	// BatchCallsMax bounds how long the applier is at one entry.
	BatchCallsMax = 4096
	// OpenBytesMax bounds calls that were accepted and are not in the log yet.
	OpenBytesMax = 64 << 20
	// ForwardedMax bounds calls that wait for the leader's answer.
	ForwardedMax = 1 << 16
	// ReadsMax bounds queries that wait for a read index.
	ReadsMax = 1 << 16
	// ReadBytesMax bounds their bytes; one is always let in.
	ReadBytesMax = 64 << 20
	// DryRunsMax bounds commands that wait to be tried out: each may keep the applier
	// for as long as the budgets of a deploy let it. DryRunBytesMax bounds their bytes;
	// one is always let in.
	DryRunsMax     = 32
	DryRunBytesMax = 64 << 20
	// DumpAsksMax bounds requests for a snapshot that wait for one to begin.
	DumpAsksMax = 1024
	// UnappliedBytesMax bounds committed data that the applier has not finished.
	UnappliedBytesMax = 128 << 20
	// TimeoutDefaultMs and TimeoutMaxMs bound how long a request may wait here.
	TimeoutDefaultMs = 10_000
	TimeoutMaxMs     = 600_000
	// TicksMax bounds the replicated timers that one entry fires.
	TicksMax = 256
	// TickMsDefault is what Config.TickMs is if it is 0.
	TickMsDefault = 20
	// dumpWaitMinMs, doubled at each failure up to dumpWaitMaxMs, is how long a
	// failed dump is not tried again: on a full disk each try writes the state.
	dumpWaitMinMs = 1_000
	dumpWaitMaxMs = 60_000
	// expireTicks is how often deadlines are looked at.
	expireTicks = 5
	// wantedEveryMs is how often at most a leader dumps because a follower wants a
	// newer snapshot.
	wantedEveryMs = 1000
)

// Config of a replica.
type Config struct {
	Self raft.Member
	Raft raft.Config
	// Seed starts the numbers that are given to batches and forwarded calls; it
	// must differ at every start.
	Seed uint64
	// TickMs is how long a tick is, TickMsDefault if 0. Deadlines and the interval
	// of snapshots are counted in ticks: the wall clock may jump.
	TickMs int64
	// SnapshotEntries, SnapshotBytes and SnapshotIntervalMs say when to dump:
	// after so many applied log indexes, so many bytes of log, or so much time
	// with anything new. 0 is never.
	SnapshotEntries    uint64
	SnapshotBytes      uint64
	SnapshotIntervalMs int64
	// Runs is the highest version of the machine that this program runs,
	// luafsm.MachineVersion if 0.
	Runs int
}

// Replier takes answers. result is an encoded command.Result and is only valid
// during the call.
type Replier interface {
	Reply(id uint64, result []byte)
}

// Ticket says who waits for an answer.
type Ticket struct {
	To       Replier
	ID       uint64
	Deadline int64 // ms of the replica's ticks; afterwards the answer is "timeout"
}

// Query is a read that waits.
type Query struct {
	Ticket  Ticket
	Payload []byte
}

// proposal is a command on its way into the log.
type proposal struct {
	ticket  Ticket
	payload []byte
	tick    bool
}

// Replica is one member. Its methods may be called by one goroutine at a time.
type Replica struct {
	cfg  Config
	raft *raft.Raft
	now  int64  // ms of the wall clock; never goes back
	ran  int64  // ms of ticks since the start
	mono uint64 // ms of the monotonic clock since the start
	rand uint64

	open      []proposal // accepted at the leader, in no entry yet
	openBytes int

	pending  []flight // proposed entries of the present reign, by index
	orphans  []flight // of earlier reigns: their fate is open until commit passes them
	wasTerm  raft.Term
	wasState raft.State

	forwards    map[uint64]forwarded
	nextForward uint64

	readsOpen  int                       // queries in the four that follow
	readBytes  int                       // of them
	readQueue  []Query                   // no round begun yet
	leaseQueue []Query                   // neither, and the leader's lease will do
	readRounds map[raft.ReadID]readRound // the core is asked
	readable   []readyRead               // index known, waits until the stream of work has passed it
	known      knownIndex                // for bounded reads

	dryRuns     int // handed to the applier and not reported done
	dryRunBytes int // of them

	emitted     raft.Index // last index handed to the applier
	emittedTerm raft.Term
	config      raft.Configuration // in force at emitted
	applied     Applied
	unapplied   uint64 // bytes handed to the applier and not reported done

	snapshot    raft.SnapshotMeta // newest known to be on disk
	dumpWait    int64             // ms to wait after failed dumps; 0 after a good one
	snapshotAt  int64             // ms of ticks at the last dump or attempt
	dumping     bool
	installing  int // snapshots that the applier is to install
	dumpWanted  bool
	dumpTickets []Ticket // wait for a dump that has not begun
	// dumpingTickets wait for the dump under way. Who asks later gets a later
	// one, with all that was acknowledged before.
	dumpingTickets []Ticket
	tickPending    bool       // Ticks were proposed and are not applied yet
	tickIndex      raft.Index // of the last of them; 0 until it is in the log
	ticks          int        // to propose next time; 0 counts as 1

	expireIn int
	out      Output

	room        Room
	consistency consistency
	upgrades    upgrades
}

// Applied is how far the machine is.
type Applied struct {
	Index     raft.Index
	Clock     int64 // ms, the log clock
	Digest    [16]byte
	Version   int   // of the machine's semantics, in force
	NextTimer int64 // ms of the log clock at which a replicated timer is due; 0 for none
}

// New returns a replica that goes on from what was stored. machine is where the
// restored machine stands.
func New(cfg Config, init raft.Initial, machine Applied, now int64) (*Replica, error) {
	if cfg.TickMs == 0 {
		cfg.TickMs = TickMsDefault
	}
	if cfg.Runs == 0 {
		cfg.Runs = luafsm.MachineVersion
	}
	core, err := raft.New(cfg.Raft, init)
	if err != nil {
		return nil, err
	}
	r := &Replica{
		cfg: cfg, raft: core, now: now, rand: cfg.Seed,
		forwards:    make(map[uint64]forwarded),
		nextForward: cfg.Seed,
		readRounds:  make(map[raft.ReadID]readRound),
		snapshot:    init.Snapshot,
		config:      init.Snapshot.Config,
		emitted:     init.Snapshot.Index,
		emittedTerm: init.Snapshot.Term,
		applied:     machine,
		expireIn:    expireTicks,
		consistency: consistency{restored: machine.Index, askIn: digestTicks},
	}
	return r, nil
}

// random is splitmix64 over the seed.
func (r *Replica) random() uint64 {
	r.rand += 0x9e3779b97f4a7c15
	z := r.rand
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}

// SetMonotonic tells what the driver's monotonic clock shows, ms since the start
// of the process. It is read after the inputs that follow have arrived, and
// never late: leases and bounded reads rest on it, not on ticks, of which a
// process that stood still sees one.
func (r *Replica) SetMonotonic(ms uint64) {
	r.mono = max(r.mono, ms)
	r.raft.SetTime(r.mono)
}

// SetTime tells the time between ticks, so that batches carry a fresh stamp.
func (r *Replica) SetTime(now int64) { r.now = max(r.now, now) }

// Tick passes one tick of the election clock. now is the wall clock in ms; it
// may jump, the replica's idea of it never goes back.
func (r *Replica) Tick(now int64) {
	r.SetTime(now)
	r.ran += r.cfg.TickMs
	r.raft.Tick()
	r.proposeTimerTick()
	r.tickDigests()
	r.tickUpgrades()
	r.considerDump()
	if r.expireIn--; r.expireIn <= 0 {
		r.expireIn = expireTicks
		r.expire()
	}
}

// proposeTimerTick lets the leader push the log clock when a replicated timer
// is due. A tick fires one timer, as each is to have a log index of its own. How
// many are due isn't known here: while some are left, twice as many are proposed
// as the last time; what finds no timer does nothing.
func (r *Replica) proposeTimerTick() {
	if !r.IsLeader() || r.consistency.diverged || r.room.Refuse != "" || r.tickPending {
		return
	}
	if r.applied.NextTimer == 0 || r.applied.NextTimer > r.now {
		r.ticks = 1
		return
	}
	r.tickPending, r.tickIndex = true, 0
	for range max(r.ticks, 1) {
		r.propose(proposal{payload: command.AppendTick(nil), tick: true})
	}
	r.ticks = min(2*max(r.ticks, 1), TicksMax)
}

// Step takes a message of a peer. back takes the answer to a forwarded request
// to that peer.
func (r *Replica) Step(m wire.PeerMessage, back Replier) error {
	switch {
	case m.Raft != nil && m.Raft.Kind == raft.MsgAppend && len(m.Raft.Entries) > 0 && r.unapplied > UnappliedBytesMax:
		// As if it were lost: the leader probes, slowly, until the applier has
		// caught up (scenario 28).
		return nil
	case m.Raft != nil:
		if m.Raft.From != m.From || m.Raft.To != r.cfg.Self.ID {
			return fmt.Errorf("message from %016x to %016x on the connection of %016x to %016x: %w",
				uint64(m.Raft.From), uint64(m.Raft.To), uint64(m.From), uint64(r.cfg.Self.ID), raft.ErrBadMessage)
		}
		if r.noRoomFor(m.Raft) {
			return nil
		}
		return r.raft.Step(*m.Raft)
	case m.Forward != nil:
		r.submit(r.ticket(back, *m.Forward), *m.Forward, true)
	case m.ForwardReply != nil:
		if f, ok := r.forwards[m.ForwardReply.ID]; ok && f.to == m.From {
			delete(r.forwards, m.ForwardReply.ID)
			r.reply(f.ticket, m.ForwardReply.Result)
		}
	case m.Join != nil:
		return r.join(m.From, *m.Join)
	case m.Digest != nil:
		r.stepDigest(m.From, m.Digest)
	case m.Runs != nil:
		r.stepRuns(m.From, m.Runs)
	}
	return nil
}

// WantsToJoin tells whether this member should ask to be let in: it is in no
// configuration, or it hears of no leader. In that case the configuration that
// it has may be one that was never committed: then nobody else knows of it, and
// nobody would ever send it anything (seed 1141 of internal/sim). A leader that
// knows it does nothing.
func (r *Replica) WantsToJoin() bool {
	_, in := r.raft.Config().Member(r.cfg.Self.ID)
	return !in || r.raft.Leader() == 0
}

// join lets a stranger in as a learner or observer. It asks again until it finds
// itself in a configuration, so every refusal for now is just not answered. Names
// are unique among those that answer: a stranger with the name of one is told so.
// It takes the place of a learner or observer of its name that does not answer, as
// after a restart without data; a voter counts until an operator removes it.
func (r *Replica) join(from raft.ID, m raft.Member) error {
	if m.ID != from || (m.Role != raft.Learner && m.Role != raft.Observer) {
		return fmt.Errorf("join of %016x as %d from %016x: %w", uint64(m.ID), m.Role, uint64(from), raft.ErrBadMessage)
	}
	if !r.IsLeader() {
		return nil
	}
	config := r.raft.Config()
	if _, in := config.Member(m.ID); in {
		return nil
	}
	change := raft.ConfigChange{Add: []raft.Member{m}}
	for _, known := range config.Members {
		switch {
		case m.Name == "" || known.Name != m.Name:
		case r.answers(known.ID):
			r.out.Peer = append(r.out.Peer, PeerSend{from, wire.PeerMessage{JoinRefused: &wire.JoinRefused{By: known.ID, Addr: known.Addr}}})
			return nil
		case known.Role != raft.Voter:
			change.Remove = append(change.Remove, known.ID)
		}
	}
	_, _, err := r.raft.ProposeConfig(change)
	if errors.Is(err, raft.ErrConfigPending) || errors.Is(err, raft.ErrNotLeader) {
		return nil
	}
	return err
}

// answers tells, at the leader, whether a member answered within an election
// timeout.
func (r *Replica) answers(id raft.ID) bool {
	if id == r.cfg.Self.ID {
		return true
	}
	for _, f := range r.raft.Status().Followers {
		if f.ID == id {
			return f.Alive
		}
	}
	return false
}

// LostPeer says that the connection to a peer broke: calls that it was to answer
// have an unknown outcome, and if it was the leader an election may be near
// (scenario 83).
func (r *Replica) LostPeer(id raft.ID) {
	r.dropForwards("the connection to the leader broke; outcome unknown", func(f *forwarded) bool { return f.to == id })
	r.raft.LostPeer(id)
}

// NotForwarded says that a forwarded request did not leave: nothing happened.
func (r *Replica) NotForwarded(id uint64) {
	if f, ok := r.forwards[id]; ok {
		delete(r.forwards, id)
		r.fail(f.ticket, command.CodeNoLeader, "there is no connection to the leader")
	}
}

// Saved says that all Saves up to lsn are durable.
func (r *Replica) Saved(lsn raft.LSN) { r.raft.Stored(lsn) }

// IsLeader tells whether this member leads and takes proposals.
func (r *Replica) IsLeader() bool { return r.raft.State() == raft.Leader }

// Clock is the replica's own time, which deadlines of tickets are measured by: ms
// of ticks.
func (r *Replica) Clock() int64 { return r.ran }

// Leader is the leader that this member knows of, 0 for none.
func (r *Replica) Leader() raft.ID { return r.raft.Leader() }

// State is what this member is.
func (r *Replica) State() raft.State { return r.raft.State() }

// Term is the present term.
func (r *Replica) Term() raft.Term { return r.raft.Term() }

// Commit is the highest index known to be committed.
func (r *Replica) Commit() raft.Index { return r.raft.Commit() }

// Untrusted tells whether this member takes no part in elections.
func (r *Replica) Untrusted() bool { return r.raft.Untrusted() }

// Applied is how far the machine is.
func (r *Replica) Applied() Applied { return r.applied }

// Config is the configuration in force.
func (r *Replica) Config() raft.Configuration { return r.raft.Config() }

// Status is what the core says of itself.
func (r *Replica) Status() raft.Status { return r.raft.Status() }

// Snapshot is the newest snapshot on disk.
func (r *Replica) Snapshot() raft.SnapshotMeta { return r.snapshot }

// Transfer hands leadership to another member, 0 to the one that is best prepared.
func (r *Replica) Transfer(to raft.ID) error { return r.raft.Transfer(to) }

// reply puts an answer out.
func (r *Replica) reply(t Ticket, result []byte) {
	r.out.Replies = append(r.out.Replies, Reply{t, result})
}

// fail answers with an error that no log entry stands behind.
func (r *Replica) fail(t Ticket, code command.Code, message string) {
	if t.To == nil {
		return
	}
	r.reply(t, command.AppendError(nil, 0, code, message, "", nil))
}
