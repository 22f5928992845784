package raft

import "errors"

// ID names a member. It is drawn at random when a data directory is created and
// never used again after the member was removed. 0 means none.
type ID uint64

// Index is a position in the log. The first call of a cluster has a small
// index above 0; 0 is before the log.
type Index uint64

// Term numbers the reigns of leaders (§3.3).
type Term uint64

// LSN numbers Saves, from 1. 0 depends on nothing.
type LSN uint64

// EntryKind says what an entry carries.
type EntryKind uint8

const (
	EntryNoop   EntryKind = 1 // first entry of a leader's term (§6.4)
	EntryBatch  EntryKind = 2 // the caller's data
	EntryConfig EntryKind = 3 // a Configuration, in force from its append on (§4.1)
)

// Entry is one record of the log. It is a value: Data is shared and must not be
// written to.
type Entry struct {
	Index Index // the last index that it covers
	Term  Term
	Span  uint32 // how many indexes it covers, at least 1
	Kind  EntryKind
	Data  []byte
}

// First is the first index that the entry covers.
func (e Entry) First() Index { return e.Index - Index(e.Span) + 1 }

// HardState is what a member must remember to be safe (§3.8). Commit is only a
// hint that shortens the replay after a restart.
type HardState struct {
	Term   Term
	Vote   ID
	Commit Index
}

// Role of a member in a Configuration.
type Role uint8

const (
	Voter    Role = 1
	Learner  Role = 2 // receives the log, does not vote, is to become a voter (§4.2.1)
	Observer Role = 3 // receives the log and never votes
)

// Member is one line of a Configuration. Name and Addr are hints for people and
// for finding the member; gossip may know a newer address.
type Member struct {
	ID   ID
	Role Role
	Name string
	Addr string
}

// Configuration says who votes. While Outgoing is not empty the configuration
// is joint: elections and commitment need a majority of the Voters in Members
// and a majority of Outgoing (§4.3). Members are sorted by ID.
type Configuration struct {
	Members  []Member
	Outgoing []ID
	// Removed are the ids that were members once: they are never let in again
	// (scenario 41). Sorted; bounded by MaxRemoved, oldest ids are not dropped:
	// a configuration that would pass the bound is refused.
	Removed []ID
}

// SnapshotMeta describes a snapshot: the state after all entries up to Index,
// and the configuration in force there.
type SnapshotMeta struct {
	Index  Index
	Term   Term
	Config Configuration
	Bytes  uint64   // size of the snapshot's file
	Sum    [16]byte // hash of the file's bytes; two snapshots with equal meta are the same file
}

// SnapshotChunk is a part of a snapshot's file on its way to a follower.
type SnapshotChunk struct {
	Meta   SnapshotMeta
	Offset uint64
	Data   []byte // in an outgoing message empty: the caller reads Length bytes at Offset from the file into it
	Length uint32
}

// MessageKind says what a Message is.
type MessageKind uint8

const (
	MsgPreVote MessageKind = iota + 1
	MsgPreVoteReply
	MsgVote
	MsgVoteReply
	MsgAppend
	MsgAppendReply
	MsgHeartbeat
	MsgHeartbeatReply
	MsgSnapshot
	MsgSnapshotReply
	MsgRead
	MsgReadReply
	MsgTimeoutNow
)

// Message is what members say to each other. Which fields count depends on
// Kind; message.go has the table.
type Message struct {
	Kind     MessageKind
	From, To ID
	Term     Term
	LogIndex Index // Append: index before Entries; Vote: candidate's last; AppendReply: matched or refused index; ReadReply: read index
	LogTerm  Term  // term at LogIndex
	Commit   Index
	Entries  []Entry
	Reject   bool
	Hint     Index  // AppendReply that refuses: where the leader may look next
	HintTerm Term   // term at Hint
	Stream   uint64 // replication stream: answers of an older stream don't count (scenario 66)
	Round    uint64 // Heartbeat: read round, echoed by the reply; Read: the asker's ReadID
	Transfer bool   // Vote: allowed to depose a leader, because the leader asked for it (§3.10)
	Sent     uint64 // Heartbeat: the leader's clock, ms, 0 if it wants no promise; its reply: echoed, a promise, or 0 (lease.go)
	Lease    bool   // Read: an answer by the leader's lease will do; ReadReply: is one
	Snapshot *SnapshotChunk
	After    LSN // must not leave before this Save is durable; never sent
}

// ReadID names a linearizable read under way. It only grows while a member runs,
// from a random start.
type ReadID uint64

// ReadState answers a Read: once the caller has applied Index, the state may be
// read.
type ReadState struct {
	ID    ReadID
	Index Index
}

// Save is what must be written to stable storage, in this order: HardState if
// not nil, then Reset if not nil, then the log cut behind TruncateTo (all
// entries with an index above it go) if Truncate is set, then Entries.
//
// Reset says that all entries written so far are void: the log starts anew
// after this snapshot, which is durable already (scenario 76). A crash before
// the Reset is durable leaves a snapshot with a log that does not fit it; New
// notices that and asks for the Reset again.
type Save struct {
	LSN        LSN
	HardState  *HardState
	Reset      *SnapshotMeta
	Truncate   bool
	TruncateTo Index
	Entries    []Entry
}

// Empty tells whether there is nothing to write.
func (s Save) Empty() bool {
	return s.HardState == nil && s.Reset == nil && !s.Truncate && len(s.Entries) == 0
}

// State is what a member is at the moment.
type State uint8

const (
	Follower State = iota + 1
	PreCandidate
	Candidate
	Leader
)

// Output is what the caller has to carry out. Its slices belong to the caller,
// but the entries in them (Save.Entries, Committed, Message.Entries) are shared
// with the log: they may be kept for as long as one likes and must not be
// written to.
type Output struct {
	Save      Save
	Messages  []Message
	Committed []Entry // newly committed, in order; durable here or not
	Reads     []ReadState
	LostReads []ReadID // the read found no leader that would answer it: ask again with a new one
	// Chunks of a snapshot that arrived in order: store them. After the chunk
	// that completes Meta.Bytes the caller checks and restores the snapshot and
	// calls SnapshotInstalled.
	Chunks []SnapshotChunk
	// DropSnapshot: the transfer under way was given up; what was stored of it
	// can be deleted.
	DropSnapshot bool
	// Compacted, if not 0, says that log records up to this index may be deleted
	// from stable storage, at once. (What was written before a Save with a Reset
	// may be deleted when that Save is durable.)
	Compacted Index
	// Changed says that State, Term, Leader or the configuration is not what it
	// was at the last Output.
	Changed bool
	// Notes are facts for the log that do not stop anything (a message that
	// claims the impossible, a bounded term jump).
	Notes []string
}

// Errors that inputs return. None of them changes anything.
var (
	// ErrNotLeader is returned when a proposal reaches a member that is not the
	// leader, or a leader that is handing over.
	ErrNotLeader = errors.New("raft: not the leader")
	// ErrOverloaded is returned when the uncommitted bytes have reached
	// Config.UncommittedBytesMax.
	ErrOverloaded = errors.New("raft: too many uncommitted bytes")
	// ErrTooLarge is returned when one entry is above Config.EntryBytesMax.
	ErrTooLarge = errors.New("raft: entry too large")
	// ErrConfigPending is returned when a configuration change is under way, or
	// no entry of the present term has been committed yet (scenario 35).
	ErrConfigPending = errors.New("raft: a configuration change is under way")
	// ErrBadConfig is returned for a configuration that must not be: empty, a
	// removed id, an id twice, too many members (scenarios 41, 42).
	ErrBadConfig = errors.New("raft: bad configuration")
	// ErrBadMessage is returned for a message that no correct member sends:
	// another term's entries, an index gap, a stranger's vote.
	ErrBadMessage = errors.New("raft: bad message")
)
