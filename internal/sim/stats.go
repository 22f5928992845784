package main

import (
	"fmt"
	"slices"
	"strings"
)

// stats counts what happened. A rare state that no seed reaches is not tested:
// see missing.
type stats struct {
	elections, transfers                           int
	leaseReads, boundedReads                       int
	added, observers, promotions, removed, joint   int
	removedLeaders, removedDead, replaced          int
	effects, acknowledged, reads, staleReads       int
	histories, undecided                           int
	noLeader, overloaded, timeouts, lostAnswers    int
	forwardReplies, deploys                        int
	snapshots, failedSnapshots                     int
	installs, failedInstalls, chunks, cutTransfers int
	droppedTransfers, compactions, truncations     int
	resets, tornTails                              int
	sent, dropped, doubled, slow, cutOff           int
	cutsOneWay, cutsBothWays, partitions           int
	sessions, repeats, expired                     int
	pushed, pushedCalls                            int
	kills, powerFailures, allCrashed, someCrashed  int
	crashedInSave, crashedAtDisk, crashedAtBoot    int
	stalls, slowApplies, diskErrors, stoppedByDisk int
	faultyDisks                                    int
	full, stoppedByFull, waitedForRoom, held       int
	flips, refused, harmless, lastHits, lostDisks  int
	pauses, jumps, rivals, traps                   int
	healed                                         int64 // µs from the last fault to agreement
	distrusted, trustedAgain, forgot               int
	compared                                       int
	events, seeds                                  int
	simulated                                      int64 // µs
}

type row struct {
	name  string
	count *int
	fault bool // a class of faults, or of what an operator does in their midst
	luck  bool // may be 0
	// ill is what the nemesis, the network and the disks do to a world, each thing
	// once: what faults counts. What clients and operators do, and what happens in a
	// world that nobody disturbs, as a snapshot that meets a disk error, is none.
	ill bool
}

func (s *stats) rows() []row { return slices.Concat(s.deeds(), s.wrongs()) }

// deeds is what was done and checked.
func (s *stats) deeds() []row {
	return []row{
		{name: "leaders elected", count: &s.elections},
		{name: "calls that took effect", count: &s.effects},
		{name: "calls acknowledged and checked", count: &s.acknowledged},
		{name: "linearizable reads checked", count: &s.reads},
		{name: "reads by lease checked, or by a round instead", count: &s.leaseReads},
		{name: "bounded reads checked", count: &s.boundedReads},
		{name: "stale reads checked", count: &s.staleReads},
		{name: "histories given to porcupine", count: &s.histories},
		{name: "histories that porcupine did not decide in time", count: &s.undecided, luck: true},
		{name: "sessions opened", count: &s.sessions},
		{name: "further tries of calls in the log", count: &s.repeats},
		{name: "calls of sessions that had expired, in the log", count: &s.expired},
		{name: "sessions that ended for their number", count: &s.pushed},
		{name: "calls of these, in the log", count: &s.pushedCalls},
		{name: "answers: no leader", count: &s.noLeader},
		{name: "answers: overloaded", count: &s.overloaded},
		{name: "answers: timeout", count: &s.timeouts},
		{name: "forwarded requests answered", count: &s.forwardReplies},
		{name: "snapshots written", count: &s.snapshots},
		{name: "snapshots that failed", count: &s.failedSnapshots},
		{name: "snapshots installed", count: &s.installs},
		{name: "snapshots that could not be installed", count: &s.failedInstalls},
		{name: "parts of snapshots sent", count: &s.chunks},
		{name: "snapshot transfers given up", count: &s.droppedTransfers},
		{name: "log compactions", count: &s.compactions},
		{name: "log truncations", count: &s.truncations},
		{name: "logs begun anew behind a snapshot", count: &s.resets},
		{name: "torn log tails repaired", count: &s.tornTails},
		{name: "joint configurations", count: &s.joint},
		{name: "removals asked for of the leader", count: &s.removedLeaders},
		{name: "removals asked for of members that were down", count: &s.removedDead},
		{name: "starts refused because of a flipped bit", count: &s.refused},
		{name: "flipped bits that changed nothing that is read", count: &s.harmless},
		{name: "flipped bits in the last record of a log, refused", count: &s.lastHits},
		{name: "processes stopped by a disk error", count: &s.stoppedByDisk},
		{name: "members that waited for room on their disk", count: &s.waitedForRoom},
		{name: "writes that found no room and were held", count: &s.held},
		{name: "processes stopped by a full disk", count: &s.stoppedByFull, luck: true},
		{name: "messages sent", count: &s.sent},
		{name: "messages stopped by a cut or a dead member", count: &s.cutOff},
		{name: "starts of members that may have lost entries", count: &s.distrusted},
		{name: "members that were trusted again", count: &s.trustedAgain},
		{name: "digests found equal by the members themselves", count: &s.compared},
		{name: "events", count: &s.events},
	}
}

// wrongs is what went wrong, and what an operator did in the midst of it.
func (s *stats) wrongs() []row {
	return []row{
		{name: "messages lost", count: &s.dropped, fault: true, ill: true},
		{name: "messages doubled", count: &s.doubled, fault: true, ill: true},
		{name: "messages delayed for long (and so reordered)", count: &s.slow, fault: true, ill: true},
		{name: "links cut one way", count: &s.cutsOneWay, fault: true, ill: true},
		{name: "links cut both ways", count: &s.cutsBothWays, fault: true, ill: true},
		{name: "groups cut off", count: &s.partitions, fault: true, ill: true},
		{name: "snapshot transfers cut in the middle", count: &s.cutTransfers, fault: true, ill: true},
		{name: "answers lost on the way to the client", count: &s.lostAnswers, fault: true},
		{name: "processes killed", count: &s.kills, fault: true, ill: true},
		{name: "power failures", count: &s.powerFailures, fault: true, ill: true},
		{name: "power failures of all at once", count: &s.allCrashed, fault: true},
		{name: "power failures of the leader and others", count: &s.someCrashed, fault: true},
		{name: "crashes with a write under way", count: &s.crashedInSave, fault: true},
		{name: "power failures within a disk operation", count: &s.crashedAtDisk, fault: true},
		{name: "power failures during a start", count: &s.crashedAtBoot, fault: true},
		{name: "writes that stalled", count: &s.stalls, fault: true, ill: true},
		{name: "appliers that fell behind", count: &s.slowApplies, fault: true},
		{name: "disks that failed now and then", count: &s.faultyDisks, fault: true, ill: true},
		{name: "disk errors", count: &s.diskErrors, fault: true},
		{name: "disks that filled up", count: &s.full, fault: true, ill: true},
		{name: "bits flipped at rest", count: &s.flips, fault: true, ill: true},
		{name: "disks lost", count: &s.lostDisks, fault: true, ill: true},
		{name: "machines replaced", count: &s.replaced, fault: true},
		{name: "members that forgot everything", count: &s.forgot, fault: true, ill: true},
		{name: "processes paused", count: &s.pauses, fault: true, ill: true},
		{name: "leaders that lost all their connections", count: &s.rivals, fault: true, ill: true},
		{name: "leaders kept from hearing of the next one", count: &s.traps, fault: true},
		{name: "clock jumps", count: &s.jumps, fault: true, ill: true},
		{name: "transfers of leadership begun", count: &s.transfers, fault: true},
		{name: "learners added", count: &s.added, fault: true},
		{name: "observers added", count: &s.observers, fault: true},
		{name: "learners promoted", count: &s.promotions, fault: true},
		{name: "members removed", count: &s.removed, fault: true},
		{name: "deploys of changed scripts", count: &s.deploys, fault: true},
	}
}

// add adds the counts of one world.
func (s *stats) add(o *stats) {
	mine, theirs := s.rows(), o.rows()
	for i := range mine {
		*mine[i].count += *theirs[i].count
	}
	s.healed += o.healed
	s.simulated += o.simulated
	s.seeds += o.seeds
}

// missing names what never happened.
func (s *stats) missing() []string {
	var out []string
	for _, r := range s.rows() {
		if *r.count == 0 && !r.luck {
			out = append(out, r.name)
		}
	}
	return out
}

// rare names the classes of faults that happened less often.
func (s *stats) rare(than int) []string {
	var out []string
	for _, r := range s.rows() {
		if r.fault && *r.count < than {
			out = append(out, fmt.Sprintf("%s (%d)", r.name, *r.count))
		}
	}
	return out
}

// faults is how often the world was disturbed.
func (s *stats) faults() (n int) {
	for _, r := range s.rows() {
		if r.ill {
			n += *r.count
		}
	}
	return n
}

// String is a table: what was done and checked, then the faults by class.
func (s *stats) String() string {
	var b strings.Builder
	line := func(name string, v any) { fmt.Fprintf(&b, "%-50s %v\n", name, v) }
	line("seeds", s.seeds)
	line("simulated hours", fmt.Sprintf("%.1f", float64(s.simulated)/float64(3600*second)))
	if s.seeds > 0 {
		line("from the last fault to agreement, mean", stamp(s.healed/int64(s.seeds)))
	}
	for _, faults := range []bool{false, true} {
		if faults {
			fmt.Fprintln(&b, "\nfaults by class")
		}
		for _, r := range s.rows() {
			if r.fault == faults {
				line(r.name, *r.count)
			}
		}
	}
	return b.String()
}
