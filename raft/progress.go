package raft

// ProgressState says how a leader sends to a follower.
type ProgressState uint8

const (
	Probe     ProgressState = iota + 1 // where do the logs agree? one append at a time
	Replicate                          // known to agree: appends follow each other without waiting
	Snapshot                           // what it needs was compacted away
)

func (s ProgressState) String() string {
	return [...]string{"?", "probe", "replicate", "snapshot"}[s&3]
}

// progress is what a leader knows of a member.
type progress struct {
	id    ID
	voter bool // in either half of the configuration
	state ProgressState

	// Stream numbers this member's replication. It is drawn anew whenever what
	// was known of the member is void: it was removed and added again, or lost
	// its log. Answers of another stream are of another life (scenario 66).
	stream uint64

	// Match is the highest position known to be durable there. Within a stream it
	// never falls. Invariant: Match < Next, Next-1 is a position.
	match Index
	// Next is the first index still to be sent. It may run ahead of what arrived;
	// a refusal pulls it back.
	next Index
	// SentMax is the highest position ever sent in this stream; who claims more
	// is wrong (scenario 18).
	sentMax Index

	probeSent bool // Probe: an append is under way

	inflight      []inflight // Replicate: appends not yet answered, oldest first
	inflightBytes uint64
	stalledTicks  int   // since an answer moved Match, with something under way
	seenLast      Index // the member's last index in its newest heartbeat reply

	commitSent Index // the highest commit that it was told
	awaited    Index // the highest commit that it is to be told at once
	roundSent  uint64
	roundAcked uint64
	heardAt    uint64 // tick of its last answer

	leasedUntil uint64 // ms: it promised to help nobody else to lead (lease.go)

	// Wants, if not 0, is from where on a snapshot would end a Refetch there. The
	// transfer then goes on beside the appends.
	wants    Index
	transfer transfer
}

type inflight struct {
	last  Index
	bytes uint64
}

// transfer is a snapshot on its way to a follower.
type transfer struct {
	meta  SnapshotMeta
	acked uint64 // the follower has everything before
	sent  uint64 // everything before is under way or there
	// rewound: the follower may have begun anew, so that it may want less than it
	// had.
	rewound bool
	// asked: the file is empty or complete there and one more chunk asks whether
	// it was installed.
	asked bool
	// silentTicks: since an answer moved it.
	silentTicks int
}

// transferring tells whether a snapshot is on its way.
func (p *progress) transferring() bool {
	return p.state == Snapshot || p.wants != 0 && p.transfer.meta.Index >= p.wants
}

func (p *progress) becomeProbe(next Index) {
	p.state, p.next, p.probeSent = Probe, next, false
	p.clearInflight()
}

func (p *progress) becomeReplicate() {
	p.state, p.next = Replicate, p.match+1
	p.clearInflight()
}

func (p *progress) becomeSnapshot(meta SnapshotMeta) {
	p.state, p.transfer = Snapshot, transfer{meta: meta}
	p.clearInflight()
}

func (p *progress) clearInflight() {
	p.inflight, p.inflightBytes, p.stalledTicks = p.inflight[:0], 0, 0
}

func (p *progress) windowFull(c *Config) bool {
	return len(p.inflight) >= c.InflightMessagesMax || p.inflightBytes >= c.InflightBytesMax
}

func (p *progress) addInflight(last Index, bytes uint64) {
	p.inflight = append(p.inflight, inflight{last, bytes})
	p.inflightBytes += bytes
}

// freeInflight forgets the appends that are covered by an answer for i.
func (p *progress) freeInflight(i Index) {
	n := 0
	for n < len(p.inflight) && p.inflight[n].last <= i {
		p.inflightBytes -= p.inflight[n].bytes
		n++
	}
	if n > 0 {
		p.inflight = p.inflight[:copy(p.inflight, p.inflight[n:])]
	}
}
