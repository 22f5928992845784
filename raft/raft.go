package raft

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/mutant"
)

// Raft is one member.
type Raft struct {
	cfg  Config
	id   ID
	rand random
	now  uint64 // ticks
	time uint64 // ms of the caller's clock, see SetTime

	term   Term
	vote   ID
	state  State
	leader ID

	// Invariants: log.base <= commit <= log.last(); handed <= commit; applied <=
	// handed; snapshot.Index >= log.base.
	log      log
	commit   Index
	handed   Index // given to the caller in Committed
	applied  Index // the caller says it has applied
	snapshot SnapshotMeta
	configs  []configAt // by index; the first is at or before base, or the snapshot's

	// What must be saved, and what is. Saves are written in order.
	lsn      LSN        // of the last Save given out
	stored   LSN        // durable
	termLSN  LSN        // of the Save with the present term and vote
	saved    HardState  // as of lsn
	savedTo  Index      // entries up to here were given out in a Save
	durable  Index      // the log up to here is on disk, as it is
	marks    []saveMark // Saves with entries that are not durable yet
	cut      bool       // the next Save truncates to cutTo
	cutTo    Index
	reset    *SnapshotMeta // the next Save begins the log anew
	resetLSN LSN           // of the last Save that did
	distrust distrust

	// Elections.
	elapsed int // ticks since the timer was reset
	timeout int
	votes   []vote
	// Until then this member helps nobody to lead, unless the leader asks for it.
	promisedUntil uint64

	// Leader.
	progress       []*progress // sorted by id, this member included
	termStart      Index       // of the no-op that began the reign
	uncommitted    uint64
	streams        uint64
	round          uint64 // heartbeat rounds, for reads
	sinceHeartbeat int
	heartbeatDue   bool
	newsDue        bool // leader: commits are told without an append
	transferee     ID
	transferTicks  int
	toldToCampaign bool // a TimeoutNow has left in this reign
	dirty          bool // there may be something to send
	scratch        []uint64

	// Reads.
	reads    []pendingRead
	lastRead ReadID
	asked    ReadID // follower: the leader was asked up to here

	incoming incoming
	refetch  Index // if not 0: a snapshot from there on is wanted (Refetch)

	// Collected for the next Output.
	messages     []Message
	messagesCap  int
	ackAt        int // where the last ack is in messages
	answers      []ReadState
	lostReads    []ReadID
	chunks       []SnapshotChunk
	dropSnapshot bool
	compacted    Index
	changed      bool
	notes        []string
}

// saveMark says that the log up to last is durable when the Save is. A
// truncation lowers last, so what was overwritten counts only when its last
// write is durable (scenario 67).
type saveMark struct {
	lsn  LSN
	last Index
}

// Initial is what a member remembers when it starts.
type Initial struct {
	HardState HardState
	// Snapshot is the newest snapshot; Index 0: none.
	Snapshot SnapshotMeta
	// Entries as read back from the log. They may begin before the snapshot, and
	// may not fit it at all when a crash came between the installation of the
	// snapshot and the Reset of the log: then they are dropped and the first
	// Output asks for the Reset.
	Entries []Entry
	// Applied is how far the caller's state is; at least Snapshot.Index. Entries
	// after it are handed out again.
	Applied Index
	// Untrusted: the log may have less than was acknowledged (a durability mode
	// without fsync, and a crash). HardState must nevertheless be exact: it is
	// fsynced in every mode; a member that may have lost its vote must come back
	// under a new ID.
	//
	// An untrusted member neither campaigns nor votes. It asks the leader for a
	// new replication stream, after which no old acknowledgement of it can count
	// any more, and is trusted again when its durable log reaches the commit
	// index that the leader had then and an entry of the leader's term: everything
	// that was committed with its help is at or below that. When it stops before, it starts untrusted again. A cluster whose voters are all untrusted has no
	// leader until its operator decides. So a cluster of one must not set
	// it; its caller has to make sure that it is one, by an fsync of every Save
	// with an EntryConfig in all modes: otherwise the lost entries may be those
	// that let others in (seed 1760 of TestRandomWorlds).
	Untrusted bool
}

// New starts a member, as a follower. One that is alone in its configuration
// begins its election at once, with leases as soon as no promise of an earlier
// life can bind it.
func New(cfg Config, initial Initial) (*Raft, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Raft{cfg: cfg, id: cfg.ID, state: Follower, rand: random(cfg.Seed ^ uint64(cfg.ID)*0x9e3779b97f4a7c15), changed: true}
	hs := initial.HardState
	r.term, r.vote, r.saved = hs.Term, hs.Vote, hs
	r.snapshot = initial.Snapshot
	if err := r.loadLog(initial); err != nil {
		return nil, err
	}
	r.durable, r.savedTo = r.log.last(), r.log.last()
	last := r.log.last()
	r.commit = max(hs.Commit, initial.Applied, r.snapshot.Index)
	if r.commit > last {
		if !initial.Untrusted || initial.Applied > last {
			return nil, fmt.Errorf("raft: the log ends at %d, but %d was committed and %d applied", last, hs.Commit, initial.Applied)
		}
		r.commit = last
	}
	r.commit = r.log.floor(r.commit)
	r.handed = max(initial.Applied, r.snapshot.Index)
	if mutant.On(mutant.AppliedOffByOne) && r.handed < r.commit {
		r.handed = r.log.between(r.handed, r.commit)[0].Index
	}
	r.applied = r.handed
	if r.handed != 0 && r.log.floor(r.handed) != r.handed {
		return nil, fmt.Errorf("raft: applied %d is not the end of an entry", r.handed)
	}
	if hs.Term < r.snapshot.Term {
		// A crash came after the snapshot of a new leader was installed and before
		// the Save with its term. A vote in that term was never sent either (seed
		// 2201 of TestRandomWorlds).
		r.setTerm(r.snapshot.Term, 0)
	}
	if last := r.log.lastTerm(); r.term < last {
		return nil, fmt.Errorf("raft: term %d with an entry of term %d", hs.Term, last)
	}
	r.distrust = distrust{active: initial.Untrusted, term: r.term}
	r.lastRead = ReadID(r.rand.next() >> 2) // room to grow
	r.asked = r.lastRead
	r.resetTimer()
	r.promisedUntil = cfg.PromiseMs // there may be a promise from before a restart
	if r.config().alone(r.id) && !r.untrusted() && !r.promising() {
		r.campaign()
	}
	return r, nil
}

// loadLog checks the entries that were read back and joins them to the
// snapshot.
func (r *Raft) loadLog(initial Initial) error {
	snap, entries := &r.snapshot, initial.Entries
	r.log = log{base: snap.Index, baseTerm: snap.Term}
	r.configs = []configAt{newConfigAt(snap.Index, snap.Config)}
	if snap.Index != 0 {
		if err := snap.Config.validate(); err != nil {
			return fmt.Errorf("raft: snapshot %d: %w", snap.Index, err)
		}
	}
	for i := range entries {
		e := &entries[i]
		if e.Span == 0 || e.Index < Index(e.Span) || e.Term == 0 {
			return fmt.Errorf("raft: log: entry %d/%d of span %d", e.Index, e.Term, e.Span)
		}
		if i > 0 && (e.First() != entries[i-1].Index+1 || e.Term < entries[i-1].Term) {
			return fmt.Errorf("raft: log: entry %d-%d/%d behind %d/%d", e.First(), e.Index, e.Term, entries[i-1].Index, entries[i-1].Term)
		}
	}
	if len(entries) == 0 {
		return nil
	}
	if first := entries[0].First(); first > snap.Index+1 {
		return fmt.Errorf("raft: log: begins at %d, the snapshot ends at %d", first, snap.Index)
	}
	whole := log{base: entries[0].First() - 1, entries: entries}
	if t, ok := whole.term(snap.Index); snap.Index != whole.base && (!ok || t != snap.Term) {
		r.reset, r.resetLSN = snap, 1 // the log is older than the snapshot, or not its
		return nil
	}
	if whole.base != snap.Index {
		// The term before the first entry is not known: it serves as base.
		whole.base, whole.baseTerm, entries = entries[0].Index, entries[0].Term, entries[1:]
	} else {
		whole.baseTerm = snap.Term
		if t := entries[0].Term; t < snap.Term {
			return fmt.Errorf("raft: log: entry %d/%d behind snapshot %d/%d", entries[0].Index, t, snap.Index, snap.Term)
		}
	}
	r.log = log{base: whole.base, baseTerm: whole.baseTerm, entries: make([]Entry, 0, len(entries))}
	for i := range entries {
		e := &entries[i]
		r.log.append(*e)
		if e.Kind == EntryConfig && e.Index > snap.Index {
			c, err := DecodeConfiguration(e.Data)
			if err != nil {
				return fmt.Errorf("raft: log: entry %d/%d: %w", e.Index, e.Term, err)
			}
			r.configs = append(r.configs, newConfigAt(e.Index, c))
		}
	}
	return nil
}

// Tick lets time pass.
func (r *Raft) Tick() {
	r.now++
	if r.state == Leader {
		r.tickLeader()
		return
	}
	r.tickReads()
	r.tickElection()
}

// Step takes a message. An error says that no correct member sends this; it has
// changed nothing.
func (r *Raft) Step(m Message) error {
	if err := r.check(&m); err != nil {
		return err
	}
	if r.removed(m.From) && (m.From != r.leader || m.Term != r.term) || !r.admit(&m) {
		// Scenario 8: a removed member disturbs nobody. But one that still leads
		// hands over.
		return nil
	}
	switch m.Kind {
	case MsgPreVote, MsgVote:
		r.handleVote(&m)
	case MsgPreVoteReply:
		r.handlePreVoteReply(&m)
	case MsgVoteReply:
		r.handleVoteReply(&m)
	case MsgAppend:
		r.handleAppend(&m)
	case MsgAppendReply:
		r.handleAppendReply(&m)
	case MsgHeartbeat:
		r.handleHeartbeat(&m)
	case MsgHeartbeatReply:
		r.handleHeartbeatReply(&m)
	case MsgSnapshot:
		r.handleSnapshot(&m)
	case MsgSnapshotReply:
		r.handleSnapshotReply(&m)
	case MsgRead:
		r.handleRead(&m)
	case MsgReadReply:
		r.handleReadReply(&m)
	case MsgTimeoutNow:
		r.handleTimeoutNow(&m)
	}
	return nil
}

// admit compares terms: a higher one makes this member a follower of it, a lower
// one is answered with the higher. It tells whether the message counts.
func (r *Raft) admit(m *Message) bool {
	fromLeader := m.Kind == MsgAppend || m.Kind == MsgHeartbeat || m.Kind == MsgSnapshot
	switch {
	case m.Term == r.term:
		return true
	case m.Term < r.term:
		if fromLeader {
			// It is not the leader any more. Without an answer a member with a
			// higher term, which a working leader can't reach, would stay outside.
			r.send(Message{Kind: MsgHeartbeatReply, To: m.From, Term: r.term})
		}
		return m.Kind == MsgPreVote || m.Kind == MsgVote || m.Kind == MsgPreVoteReply && m.Reject
	case m.Kind == MsgPreVote, m.Kind == MsgPreVoteReply && !m.Reject:
		return true // about a term that nobody has yet
	case mutant.On(mutant.NoStepDown) && r.state == Leader:
		return true
	case m.Kind == MsgVote && r.loyal() && !m.Transfer:
		return false
	case fromLeader:
		r.becomeFollower(m.Term, m.From)
	default:
		r.becomeFollower(m.Term, 0)
	}
	return true
}

// Applied says that the caller has applied everything up to an index.
func (r *Raft) Applied(i Index) {
	if i > r.handed {
		r.invariant("applied %d, handed out %d", i, r.handed)
	}
	r.applied = max(r.applied, i)
}

// Stored says that all Saves up to an LSN are durable.
func (r *Raft) Stored(lsn LSN) {
	if lsn > r.lsn {
		r.invariant("stored %d, saved %d", lsn, r.lsn)
	}
	if lsn <= r.stored {
		return
	}
	r.stored = lsn
	n := 0
	for n < len(r.marks) && r.marks[n].lsn <= lsn {
		r.durable = max(r.durable, r.marks[n].last)
		n++
	}
	r.marks = r.marks[:copy(r.marks, r.marks[n:])]
	r.regainTrust()
	r.voteStored()
	if r.state == Leader && n > 0 {
		r.maybeCommit()
	}
}

// savedBy returns the LSN that must be durable for the log up to position i to
// be: that of the last Save that wrote it. 0 when it is durable.
func (r *Raft) savedBy(i Index) LSN {
	if i <= r.durable {
		return 0
	}
	if i > r.savedTo {
		return r.lsn + 1
	}
	for _, m := range r.marks {
		if m.last >= i {
			return m.lsn
		}
	}
	return r.lsn
}

// unsave forgets what was known of writes behind position to.
func (r *Raft) unsave(to Index) {
	for i := range r.marks {
		r.marks[i].last = min(r.marks[i].last, to)
	}
	if !mutant.On(mutant.AckStale) {
		r.durable = min(r.durable, to)
	}
}

// send queues a message.
func (r *Raft) send(m Message) { r.messages = append(r.messages, r.stamp(m)) }

// stamp makes a message wait for the term and vote that it follows from.
func (r *Raft) stamp(m Message) Message {
	m.From = r.id
	if r.termLSN > r.stored && !(mutant.On(mutant.VoteUnsynced) && m.Kind == MsgVoteReply) {
		m.After = max(m.After, r.termLSN)
	}
	return m
}

func (r *Raft) note(format string, args ...any) {
	if len(r.notes) < maxNotes {
		r.notes = append(r.notes, fmt.Sprintf(format, args...))
	}
}

// invariant stops the process: going on could lose what was promised.
func (r *Raft) invariant(format string, args ...any) {
	panic(fmt.Sprintf("raft: member %d term %d: ", r.id, r.term) + fmt.Sprintf(format, args...))
}

// HasOutput tells whether Output has something to carry out.
func (r *Raft) HasOutput() bool {
	return r.dirty || len(r.messages) > 0 || r.changed || r.toSave() || r.handed < r.commit && !r.incoming.complete ||
		len(r.answers) > 0 || len(r.lostReads) > 0 || len(r.chunks) > 0 || r.dropSnapshot || r.compactable() || len(r.notes) > 0
}

func (r *Raft) toSave() bool {
	return r.term != r.saved.Term || r.vote != r.saved.Vote || r.cut || r.reset != nil || r.savedTo < r.log.last()
}

// Output takes what is to be carried out since the last call.
func (r *Raft) Output() Output {
	if r.state == Leader {
		if r.dirty {
			r.replicate()
		}
	} else {
		r.askLeader()
		r.dirty = false
	}
	out := Output{
		Save: r.save(), Messages: r.messages, Reads: r.answers, LostReads: r.lostReads, Chunks: r.chunks,
		DropSnapshot: r.dropSnapshot, Compacted: r.takeCompacted(), Changed: r.changed, Notes: r.notes,
	}
	for i := range out.Messages { // what a message waited for may have become void
		if m := &out.Messages[i]; m.After > r.lsn {
			m.After = r.lsn
		}
	}
	r.messagesCap = min(len(out.Messages), 64)
	r.messages = nil
	if r.messagesCap > 0 {
		r.messages = make([]Message, 0, r.messagesCap)
	}
	r.ackAt = 0
	r.answers, r.lostReads, r.chunks, r.notes = nil, nil, nil, nil
	r.dropSnapshot, r.changed = false, false
	if !r.incoming.complete {
		out.Committed = r.log.between(r.handed, r.commit)
		r.handed = r.commit
	}
	return out
}

// save takes what is to be written.
func (r *Raft) save() Save {
	if !r.toSave() {
		return Save{}
	}
	r.lsn++
	s := Save{LSN: r.lsn, Reset: r.reset, Truncate: r.cut, TruncateTo: r.cutTo, Entries: r.log.after(r.savedTo)}
	// Commit is written along when something is. Not above what is durable, so
	// that a log that ends below it after a restart has lost something.
	hs := HardState{Term: r.term, Vote: r.vote, Commit: min(r.commit, r.durable)}
	if hs != r.saved {
		r.saved = hs
		s.HardState = &hs
		if mutant.On(mutant.TermForgotten) && len(s.Entries) == 0 {
			s.HardState = nil
		}
	}
	r.cut, r.cutTo, r.reset = false, 0, nil
	if len(s.Entries) > 0 {
		r.savedTo = r.log.last()
		r.marks = append(r.marks, saveMark{r.lsn, r.savedTo})
	}
	return s
}
