package main

import (
	"fmt"
	"strings"
)

// stats counts what happened. A rare state that no seed reaches is not tested:
// see missing.
type stats struct {
	elections, transfers, promotions               int
	leaseReads, boundedReads                       int
	effects, acknowledged, reads, staleReads       int
	noLeader, overloaded, timeouts, lostAnswers    int
	forwardReplies                                 int
	snapshots, failedSnapshots                     int
	installs, failedInstalls, chunks               int
	droppedTransfers, compactions, truncations     int
	resets, tornTails                              int
	sent, dropped, doubled, slow, cutOff           int
	cutsOneWay, cutsBothWays, partitions           int
	sessions, repeats                              int
	kills, powerFailures, allCrashed, someCrashed  int
	crashedInSave, crashedAtDisk, crashedAtBoot    int
	stalls, slowApplies, diskErrors, stoppedByDisk int
	pauses, jumps                                  int
	healed                                         int64 // µs from the last fault to agreement
	distrusted, trustedAgain                       int
	compared                                       int
	events, seeds                                  int
	simulated                                      int64 // µs
}

type row struct {
	name  string
	count *int
}

func (s *stats) rows() []row {
	return []row{
		{"leaders elected", &s.elections},
		{"transfers of leadership begun", &s.transfers},
		{"learners promoted", &s.promotions},
		{"calls that took effect", &s.effects},
		{"calls acknowledged", &s.acknowledged},
		{"sessions opened", &s.sessions},
		{"further tries of calls in the log", &s.repeats},
		{"linearizable reads", &s.reads},
		{"reads by lease, or the round instead", &s.leaseReads},
		{"bounded reads", &s.boundedReads},
		{"stale reads", &s.staleReads},
		{"answers: no leader", &s.noLeader},
		{"answers: overloaded", &s.overloaded},
		{"answers: timeout", &s.timeouts},
		{"answers lost on the way to the client", &s.lostAnswers},
		{"forwarded requests answered", &s.forwardReplies},
		{"snapshots written", &s.snapshots},
		{"snapshots that failed", &s.failedSnapshots},
		{"snapshots installed", &s.installs},
		{"snapshots that could not be installed", &s.failedInstalls},
		{"parts of snapshots sent", &s.chunks},
		{"snapshot transfers given up", &s.droppedTransfers},
		{"log compactions", &s.compactions},
		{"log truncations", &s.truncations},
		{"logs begun anew behind a snapshot", &s.resets},
		{"torn log tails repaired", &s.tornTails},
		{"messages sent", &s.sent},
		{"messages lost", &s.dropped},
		{"messages doubled", &s.doubled},
		{"messages delayed for long", &s.slow},
		{"messages stopped by a cut or a dead member", &s.cutOff},
		{"links cut one way", &s.cutsOneWay},
		{"links cut both ways", &s.cutsBothWays},
		{"groups cut off", &s.partitions},
		{"processes killed", &s.kills},
		{"power failures", &s.powerFailures},
		{"power failures of all at once", &s.allCrashed},
		{"power failures of the leader and others", &s.someCrashed},
		{"crashes with a write under way", &s.crashedInSave},
		{"power failures within a disk operation", &s.crashedAtDisk},
		{"power failures during a start", &s.crashedAtBoot},
		{"writes that stalled", &s.stalls},
		{"appliers that fell behind", &s.slowApplies},
		{"disk errors", &s.diskErrors},
		{"processes stopped by a disk error", &s.stoppedByDisk},
		{"processes paused", &s.pauses},
		{"clock jumps", &s.jumps},
		{"starts of members that may have lost entries", &s.distrusted},
		{"members that were trusted again", &s.trustedAgain},
		{"digests found equal by the members themselves", &s.compared},
		{"events", &s.events},
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
		if *r.count == 0 {
			out = append(out, r.name)
		}
	}
	return out
}

// String is a table.
func (s *stats) String() string {
	var b strings.Builder
	line := func(name string, v any) { fmt.Fprintf(&b, "%-48s %v\n", name, v) }
	line("seeds", s.seeds)
	line("simulated", stamp(s.simulated))
	if s.seeds > 0 {
		line("from the last fault to agreement, mean", stamp(s.healed/int64(s.seeds)))
	}
	for _, r := range s.rows() {
		line(r.name, *r.count)
	}
	return b.String()
}
