package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/raft"
)

// profile is what kind of world a seed makes: the size of the cluster, its
// limits and how often what goes wrong. Worlds differ much from each other, as
// a single mix of faults hides what another one shows.
type profile struct {
	async   bool // durability async: only one member at a time may lose power
	memory  bool // durability memory: only one member at a time may end
	overlap bool // a member goes on while it writes
	voters  int  // at the founding
	joiners int  // that ask to be let in later
	clients int

	// The network: probabilities per message.
	drop, double, slow float64
	delayMax           int64

	// Means between faults of the whole cluster, 0 for never.
	crashEvery, cutEvery, pauseEvery, jumpEvery, transferEvery, diskEvery int64
	fullEvery, damageEvery, removeEvery, deployEvery, rivalEvery          int64
	trapEvery                                                             int64

	voteCrash    float64 // probability that the power goes while a vote is written
	cutSnapshots float64 // probability per part that the transfer is cut

	saveMax     int64   // the usual longest time of a write with its sync
	stall       float64 // probability that a write takes much longer
	saveCrash   float64 // probability that the power goes while a write is under way
	diskErrors  float64 // probability per disk operation while a disk is faulty
	drift       float64 // the most that a clock runs fast or slow
	segment     int64
	snapshots   uint64 // SnapshotEntries
	snapshotsMs int64  // SnapshotIntervalMs
	raft        raft.Config

	// The settings session_ttl, in seconds, and sessions; 0: the default, which no
	// world lasts for or reaches.
	sessionTTL, sessionsMost int64
}

// pick draws one of the values.
func pick[T any](r *rand.Rand, values ...T) T { return values[r.IntN(len(values))] }

func drawProfile(r *rand.Rand) profile {
	p := profile{
		async:   r.IntN(5) == 0,
		overlap: r.IntN(3) == 0,
		voters:  pick(r, 1, 2, 3, 3, 3, 3, 3, 3, 4, 5, 5, 6, 7),
		joiners: pick(r, 0, 0, 0, 1, 1, 2),
		clients: 3 + r.IntN(6),

		drop:     pick(r, 0, 0.005, 0.02, 0.1),
		double:   pick(r, 0, 0.01, 0.1),
		slow:     pick(r, 0, 0.001, 0.01),
		delayMax: pick[int64](r, 1, 2, 10, 40) * millisecond,

		crashEvery:    pick[int64](r, 0, 1, 3, 3, 8) * second,
		cutEvery:      pick[int64](r, 0, 2, 3, 5) * second,
		pauseEvery:    pick[int64](r, 0, 0, 3, 6) * second,
		jumpEvery:     pick[int64](r, 0, 0, 5) * second,
		transferEvery: pick[int64](r, 0, 2, 5) * second,
		diskEvery:     pick[int64](r, 0, 0, 2, 4) * second,
		fullEvery:     pick[int64](r, 0, 0, 3, 6) * second,
		deployEvery:   pick[int64](r, 0, 0, 5, 10) * second,

		rivalEvery:   pick[int64](r, 0, 2, 4) * second,
		voteCrash:    pick(r, 0, 0.05, 0.15),
		cutSnapshots: pick(r, 0, 0.02, 0.2),

		saveMax:     pick[int64](r, 1, 3, 10, 80) * millisecond,
		stall:       pick(r, 0, 0.001, 0.01),
		saveCrash:   pick(r, 0, 0, 0.001, 0.01),
		diskErrors:  pick(r, 0.02, 0.1, 0.4),
		drift:       pick(r, 0, 0.01, 0.1),
		segment:     pick[int64](r, 4<<10, 16<<10, 64<<10),
		snapshots:   pick[uint64](r, 0, 20, 60, 300),
		snapshotsMs: pick[int64](r, 0, 0, 1500),

		sessionTTL:   pick[int64](r, 0, 0, 1, 3, 10),
		sessionsMost: pick[int64](r, 0, 0, 0, 0, 1, 2, 4),
		raft: raft.Config{
			ElectionTicks:             electionTicks,
			HeartbeatTicks:            heartbeatTicks,
			AppendBytesMax:            pick[uint64](r, 300, 2000, 1<<20),
			InflightMessagesMax:       pick(r, 2, 8, 256),
			InflightBytesMax:          pick[uint64](r, 1000, 1<<20),
			UncommittedBytesMax:       pick[uint64](r, 600, 1<<20, 1<<20),
			SnapshotChunkBytes:        pick[uint32](r, 100, 300, 1<<16),
			SnapshotChunksInflightMax: pick(r, 1, 2, 16),
			CompactKeepEntries:        pick(r, 1, 4, 30),
			CompactKeepBytes:          pick[uint64](r, 500, 1<<20),
			CompactHoldBytes:          pick[uint64](r, 500, 5000, 1<<20),
		},
	}
	if r.IntN(2) == 0 { // as internal/node's; drift keeps clocks less than a quarter apart
		p.raft.PromiseMs, p.raft.LeaseMs = 600, 480
		p.trapEvery = pick[int64](r, 0, 2, 4) * second
	}
	if !p.async && r.IntN(6) == 0 {
		p.onlyMemory(r)
	}
	p.fit(r)
	return p
}

// fit makes what was drawn fit together.
func (p *profile) fit(r *rand.Rand) {
	p.voters = min(p.voters, membersMax)
	p.joiners = min(p.joiners, membersMax-p.voters)
	// An operator who takes members out does not do so while another one is
	// broken, and not where a restart may lose what was acknowledged.
	switch every := pick[int64](r, 0, 2, 4) * second; {
	case p.async, p.memory:
	case r.IntN(2) == 0:
		p.damageEvery = every
	default:
		p.removeEvery = every
	}
	if p.voters == 2 || p.voters == 4 { // a fault stops the cluster more often: leave it time to work
		p.crashEvery, p.cutEvery, p.pauseEvery = 3*p.crashEvery, 3*p.cutEvery, 2*p.pauseEvery
	}
	cuts := p.cutEvery
	if p.voters+p.joiners == 1 {
		cuts = 0 // there is nobody to be cut off from
	}
	if p.crashEvery+cuts+p.pauseEvery == 0 { // a world without faults tests little
		p.crashEvery = 3 * second
	}
}

// onlyMemory makes a world in which nothing is written: no disk fails, and enough
// voters are there that one can be lost.
func (p *profile) onlyMemory(r *rand.Rand) {
	p.memory, p.voters = true, max(p.voters, 3)
	p.crashEvery = pick[int64](r, 1, 1, 2, 3) * second
	p.diskEvery, p.fullEvery, p.saveMax, p.stall = 0, 0, 100*microsecond, 0
}

func (p profile) String() string {
	return fmt.Sprintf("async %v, memory %v, overlap %v; %d voters, %d joiners, %d clients; drop %g, double %g, slow %g, delay %s; every: crash %s, cut %s, pause %s, jump %s, "+
		"transfer %s, disk %s, full %s, damage %s, removal %s, deploy %s, rivals %s, traps %s; snapshots cut %g; votes lost %g; write %s, stall %g, crash %g, disk errors %g, drift %g, segment %d; snapshot after %d entries, %d ms; sessions end after %d s, %d at most; %+v",
		p.async, p.memory, p.overlap, p.voters, p.joiners, p.clients, p.drop, p.double, p.slow, stamp(p.delayMax), stamp(p.crashEvery), stamp(p.cutEvery), stamp(p.pauseEvery),
		stamp(p.jumpEvery), stamp(p.transferEvery), stamp(p.diskEvery), stamp(p.fullEvery), stamp(p.damageEvery), stamp(p.removeEvery), stamp(p.deployEvery),
		stamp(p.rivalEvery), stamp(p.trapEvery), p.cutSnapshots, p.voteCrash, stamp(p.saveMax), p.stall, p.saveCrash, p.diskErrors, p.drift, p.segment,
		p.snapshots, p.snapshotsMs, p.sessionTTL, p.sessionsMost, p.raft)
}

func (p *profile) durability() replica.Durability {
	switch {
	case p.async:
		return replica.Async
	case p.memory:
		return replica.Memory
	}
	return replica.Fsync
}
