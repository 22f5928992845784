// Package mutant names bugs that can be planted into the code of production, so
// that the simulator can show that it finds them (make mutants).
//
// A place that can be broken asks On. Without the build tag "mutants" On is
// false for the compiler: the branch is not in the binary, and there is no
// Plant, so nothing that a user, a flag or the environment does can switch a bug
// on. With the tag, only internal/sim calls Plant (internal/arch holds that).
package mutant

// Bug is a bug that can be planted.
type Bug uint8

// The bugs, in the order of the rooms that they are in.
const (
	None Bug = iota

	// raft, elections
	VoteUnsynced      // a granted vote leaves before it is on disk
	VoteTwice         // a second candidate of a term gets the vote too
	VoteLogUnchecked  // a candidate whose log is behind gets the vote
	TermForgotten     // nor is the term, when nothing else is to be saved
	NoStepDown        // a leader ignores a higher term
	UntrustedVotes    // a member that lost entries takes part in elections
	LearnerCounts     // a learner is counted as a voter
	JointNewOnly      // a joint configuration counts the new majority only
	ConfigWhenApplied // a configuration counts only when it is committed
	CommitOldTerm     // an entry of an older term is committed by counting
	CommitUnverified  // a follower commits what its leader has, verified by the append or not
	CountUnsyncedOwn  // a leader counts its own log before it is on disk
	AckUnsynced       // a follower acknowledges before its log is on disk
	AckStale          // a durable position is not taken back by a truncation
	SuffixKept        // a conflicting suffix is not truncated
	TruncateCommitted // every append truncates, also what is committed
	ReadWithoutRound  // a leader answers reads without asking a majority
	ReadBeforeNoop    // a new leader answers reads before it knows what is committed
	DeposedReads      // a leader that steps down answers the reads that wait
	LeaseTooLong      // a leader relies on promises for two seconds more than it may
	PromiseIgnored    // a member that promised to help nobody else to lead helps
	LeaseInTransfer   // a leader relies on promises although it asked another member to campaign
	StaleSnapshot     // a snapshot older than what is committed is taken
	AppliedOffByOne   // a restarted member takes one entry too many for applied
	ResetForgotten    // the log is not begun anew behind an installed snapshot

	// internal/replica
	ReadUnapplied     // a query does not wait for its index to be applied
	BoundForgotten    // a bounded read takes any index that was told before
	ForwardTwice      // a forwarded call is sent to the leader twice
	StepDownFails     // who waits for a deposed leader is told that nothing happened
	SnapshotOldConfig // a snapshot carries the configuration of the one before
	RoomInvented      // what found no room on the disk is said to be durable
	MemoryComesBack   // a member that had only memory starts again under its old id

	// persist
	RecordSumUnchecked // the checksum of a record's payload is not compared
	SnapshotUnsynced   // a snapshot gets its name before its bytes are on disk
	RenameUnsynced     // a snapshot's name is not made durable
	DamageCut          // damage in the middle of the log is cut like a torn tail
	TailCut            // and so is damage of the last record

	// luafsm
	SerialUnchecked  // a further try of a call runs again
	ResultForgotten  // the result of a call is forgotten one serial too early
	SessionsShort    // a session ends after half of its time
	SessionsOwnTime  // a machine that was restored ends sessions by a time of its own
	SessionsPile     // the number of sessions is not bounded
	SessionsUndumped // sessions are not in the dump
	TimersUndumped   // timers are not in the dump
	DigestSkipped    // a removed key stays in the digest
	ClockBack        // the log clock follows the leader's, also backwards
	DryRunKept       // what a deploy changed in its dry run stays

	bugs // how many there are, None included
)

var names = [bugs]string{
	None:               "none",
	VoteUnsynced:       "vote-unsynced",
	VoteTwice:          "vote-twice",
	VoteLogUnchecked:   "vote-log-unchecked",
	TermForgotten:      "term-forgotten",
	NoStepDown:         "no-step-down",
	UntrustedVotes:     "untrusted-votes",
	LearnerCounts:      "learner-counts",
	JointNewOnly:       "joint-new-only",
	ConfigWhenApplied:  "config-when-applied",
	CommitOldTerm:      "commit-old-term",
	CommitUnverified:   "commit-unverified",
	CountUnsyncedOwn:   "count-unsynced-own",
	AckUnsynced:        "ack-unsynced",
	AckStale:           "ack-stale",
	SuffixKept:         "suffix-kept",
	TruncateCommitted:  "truncate-committed",
	ReadWithoutRound:   "read-without-round",
	ReadBeforeNoop:     "read-before-noop",
	DeposedReads:       "deposed-reads",
	LeaseTooLong:       "lease-too-long",
	PromiseIgnored:     "promise-ignored",
	LeaseInTransfer:    "lease-in-transfer",
	StaleSnapshot:      "stale-snapshot",
	AppliedOffByOne:    "applied-off-by-one",
	ResetForgotten:     "reset-forgotten",
	ReadUnapplied:      "read-unapplied",
	BoundForgotten:     "bound-forgotten",
	ForwardTwice:       "forward-twice",
	StepDownFails:      "step-down-fails",
	SnapshotOldConfig:  "snapshot-old-config",
	RoomInvented:       "room-invented",
	MemoryComesBack:    "memory-comes-back",
	RecordSumUnchecked: "record-sum-unchecked",
	SnapshotUnsynced:   "snapshot-unsynced",
	RenameUnsynced:     "rename-unsynced",
	DamageCut:          "damage-cut",
	TailCut:            "tail-cut",
	SerialUnchecked:    "serial-unchecked",
	ResultForgotten:    "result-forgotten",
	SessionsShort:      "sessions-short",
	SessionsOwnTime:    "sessions-own-time",
	SessionsPile:       "sessions-pile",
	SessionsUndumped:   "sessions-undumped",
	TimersUndumped:     "timers-undumped",
	DigestSkipped:      "digest-skipped",
	ClockBack:          "clock-back",
	DryRunKept:         "dry-run-kept",
}

// All lists the bugs.
func All() []Bug {
	list := make([]Bug, 0, bugs-1)
	for b := None + 1; b < bugs; b++ {
		list = append(list, b)
	}
	return list
}

// Named finds a bug by its name.
func Named(name string) (Bug, bool) {
	for b := None + 1; b < bugs; b++ {
		if names[b] == name {
			return b, true
		}
	}
	return None, false
}

// String is the name, as in the table of docs/SAFETY.md.
func (b Bug) String() string { return names[b] }
