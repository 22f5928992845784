package replica

import (
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// The version of the machine's semantics is raised by an entry of the log, so
// that all replicas change at one index. A program that doesn't run the version
// has to stop there. So every member, voter or not, tells the leader once a
// second what its program runs, and the leader proposes a version once each of
// them has said lately that it runs it.

const (
	// runsTicks is how often members tell: each second of the drivers' 20 ms.
	runsTicks = 50
	// runsFreshTicks is for how long a word counts. A member that was restarted
	// with an older program, or is down, is not upgraded over on its old word.
	runsFreshTicks = 3 * runsTicks
)

// upgrades is the part of a replica that raises the machine's version.
type upgrades struct {
	tellIn int                  // ticks
	heard  map[raft.ID]runsWord // of this reign
}

type runsWord struct {
	version int
	age     int // ticks
}

// tickUpgrades tells the leader what this program runs, or as the leader
// proposes what all run.
func (r *Replica) tickUpgrades() {
	u := &r.upgrades
	for id, w := range u.heard {
		w.age++
		u.heard[id] = w
	}
	if u.tellIn--; u.tellIn > 0 {
		return
	}
	u.tellIn = runsTicks
	if !r.IsLeader() {
		if leader := r.raft.Leader(); leader != 0 {
			r.out.Peer = append(r.out.Peer, PeerSend{leader, wire.PeerMessage{Runs: &wire.Runs{Machine: r.cfg.Runs}}})
		}
		return
	}
	if to := r.allRun(); to > r.applied.Version && r.applied.Version > 0 && !r.consistency.diverged {
		r.propose(proposal{payload: command.AppendUpgrade(nil, to)})
	}
}

// stepRuns takes a member's word.
func (r *Replica) stepRuns(from raft.ID, w *wire.Runs) {
	if _, member := r.raft.Config().Member(from); !member || !r.IsLeader() {
		return
	}
	if r.upgrades.heard == nil {
		r.upgrades.heard = map[raft.ID]runsWord{}
	}
	r.upgrades.heard[from] = runsWord{version: w.Machine}
}

// allRun is the highest version that every member runs, 0 while not all have
// said so. A member that is on its way in or out counts.
func (r *Replica) allRun() int {
	least := r.cfg.Runs
	for _, m := range r.raft.Config().Members {
		if m.ID == r.cfg.Self.ID {
			continue
		}
		w, ok := r.upgrades.heard[m.ID]
		if !ok || w.age > runsFreshTicks {
			return 0
		}
		least = min(least, w.version)
	}
	return least
}
