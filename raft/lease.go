package raft

import "github.com/syncsh/syncsh/internal/mutant"

// Leases (§6.4.1) answer a read at the leader without a round. The leader writes
// into each heartbeat what its clock showed, a follower that answers promises to
// help nobody else to lead for Config.PromiseMs of its own clock, and the leader
// relies on the promises of a majority for Config.LeaseMs from when it *sent* the
// heartbeat (scenario 72). What that asks of the clocks stands at Config.
//
// A promise is kept where a follower would otherwise be free: when the
// connection to the leader broke (scenario 83), when it learns of a higher term,
// and after a restart, which forgot whether there was one. It is not kept when
// the leader itself asks somebody to campaign. So a lease is void from the start
// of a transfer, and for the rest of the reign once that request has left: it may
// arrive at any time. A new leader begins with no lease (scenario 33), and with
// none before an entry of its term is committed.

// SetTime tells what the caller's monotonic clock shows: ms since the member was
// started, before New. It is called before other inputs, with a time that was
// read after they arrived, also of a process that stood still in between
// (scenario 32). Only leases look at it; ticks are counted apart.
func (r *Raft) SetTime(ms uint64) { r.time = max(r.time, ms) }

// promising tells whether this member must not help anybody to lead.
func (r *Raft) promising() bool { return r.time < r.promisedUntil && !mutant.On(mutant.PromiseIgnored) }

// promise takes a heartbeat's time and returns what goes into the answer: the
// same, which promises, or 0.
func (r *Raft) promise(sent uint64) uint64 {
	if sent == 0 || r.cfg.PromiseMs == 0 {
		return 0
	}
	r.promisedUntil = max(r.promisedUntil, r.time+r.cfg.PromiseMs)
	return sent
}

// promised takes a follower's promise.
func (r *Raft) promised(p *progress, sent uint64) {
	if sent > r.time {
		r.note("ignored %d's promise from %d ms on: it is %d", p.id, sent, r.time)
		return
	}
	lease := r.cfg.LeaseMs
	if mutant.On(mutant.LeaseTooLong) {
		lease += 2000
	}
	if sent != 0 {
		p.leasedUntil = max(p.leasedUntil, sent+lease)
	}
}

// leased tells whether nobody else can be leader at the present time.
func (r *Raft) leased() bool {
	handsOver := (r.transferee != 0 || r.toldToCampaign) && !mutant.On(mutant.LeaseInTransfer)
	return r.state == Leader && r.cfg.LeaseMs != 0 && r.commit >= r.termStart && !handsOver && r.time < r.quorumValue(r.leasedUntilOf)
}

func (r *Raft) leasedUntilOf(p *progress) uint64 {
	if p.id == r.id {
		return ^uint64(0)
	}
	return p.leasedUntil
}
