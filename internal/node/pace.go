package node

import (
	"math/bits"
	"slices"
	"time"

	"github.com/syncsh/syncsh/raft"
)

// A disk may be well and yet much slower than the others: every call then waits
// for it if its node leads, and for none of the slow ones if another does. So the
// leader compares its own pace with those that the others publish, and hands over
// (scenario 82). A disk that stalls needs nothing: its node's loop waits for it,
// sends no heartbeats, and another is elected.
const (
	// paceFloor is what no leader is replaced for: the disk of a machine that others
	// share has such moments.
	paceFloor = 16 * time.Millisecond
	// paceFactor is how many times slower than the slowest that a majority needs the
	// own disk is, before leadership is offered. An offer costs an election, and the
	// next leader must not be the one that hands over again.
	paceFactor = 8
	// paceEvery is how often the leader looks, and paceLooks how many looks in a row
	// must say so. Not in ticks: a loop that waits for its disk misses most of them.
	paceEvery = time.Second
	paceLooks = 3
	// paceOfferEvery is how often leadership is offered.
	paceOfferEvery = 10 * time.Second
	// paceSamples since the last look are kept; their median counts.
	paceSamples = 64
)

// pace is how long saves take. The loop's.
type pace struct {
	took    [paceSamples]time.Duration // the newest, in a ring
	n       int                        // since the last look
	typical time.Duration              // as published: 0 below a millisecond, else a power of two
	slow    int                        // looks in a row that found it too slow to lead
	looked  time.Duration              // when, by monotonic
	offered time.Duration              // when last; 0: never
}

// add takes the time of one save.
func (p *pace) add(d time.Duration) {
	p.took[p.n%paceSamples] = d
	p.n++
}

// look sums up the saves since the last look. Without any it stays as it was.
func (p *pace) look() time.Duration {
	if p.n == 0 {
		return p.typical
	}
	took := p.took[:min(p.n, paceSamples)]
	slices.Sort(took)
	p.n = 0
	p.typical = roundPace(took[len(took)/2])
	return p.typical
}

// roundPace cuts a time down to a power of two in milliseconds, so that what a
// member publishes changes seldom.
func roundPace(d time.Duration) time.Duration {
	ms := uint64(d / time.Millisecond)
	if ms == 0 {
		return 0
	}
	return time.Duration(uint64(1)<<(bits.Len64(ms)-1)) * time.Millisecond
}

// tooSlow tells whether a leader with a disk of pace own should hand over to
// members with disks of these paces, all voters but itself.
func tooSlow(own time.Duration, others []time.Duration) bool {
	if own < paceFloor || len(others) == 0 {
		return false
	}
	others = slices.Sorted(slices.Values(others))
	// Without the leader a majority takes this many of the others.
	need := (len(others)+1)/2 + 1
	if need > len(others) {
		return false // each call needs the own disk, whoever leads
	}
	return own >= paceFactor*max(others[need-1], time.Millisecond)
}

// watchPace looks, every paceEvery, how fast the disk is.
func (n *Node) watchPace() {
	now := monotonic()
	if now-n.pace.looked < paceEvery {
		return
	}
	n.pace.looked = now
	was := n.pace.typical
	if n.pace.look() != was {
		n.publishMeta()
	}
	if !n.replica.IsLeader() {
		n.pace.slow = 0
		return
	}
	var others []time.Duration
	best, bestPace := raft.ID(0), time.Duration(0)
	for _, m := range n.replica.Config().Members {
		if m.ID == n.id || m.Role != raft.Voter {
			continue
		}
		p, ok := n.book.pace(m.ID)
		if !ok {
			p = time.Hour // who is not there helps nobody
		} else if best == 0 || p < bestPace {
			best, bestPace = m.ID, p
		}
		others = append(others, p)
	}
	if best == 0 || !tooSlow(n.pace.typical, others) {
		n.pace.slow = 0
		return
	}
	if n.pace.slow++; n.pace.slow < paceLooks || n.pace.offered != 0 && now-n.pace.offered < paceOfferEvery {
		return
	}
	if err := n.replica.Transfer(best); err != nil {
		n.log.Debug("leadership not offered", "to", n.nameOf(best), "err", err)
		return
	}
	n.pace.offered, n.pace.slow = now, 0
	n.log.Warn("slow disk: leadership is handed over", "to", n.nameOf(best), "save", n.pace.typical, "theirs", bestPace)
}
