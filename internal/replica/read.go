package replica

import (
	"maps"
	"slices"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// readyRead is a batch of queries whose read index is known.
type readyRead struct {
	index   raft.Index
	queries []Query
}

// readRound is a question to the core and those who wait for its answer.
type readRound struct {
	queries []Query
	asked   uint64 // ms of the monotonic clock
	lease   bool
}

// knownIndex is what a round told: all that was acknowledged before asked, by
// this member's monotonic clock, is at or below index.
type knownIndex struct {
	index raft.Index
	asked uint64 // 0: none has yet
}

// submitRead takes a query. A stale one goes into the stream of work at once, a
// bounded one behind an index that was learned within the bound; all others join
// the next round (§6.4), which serves all that waited before it began.
func (r *Replica) submitRead(q Query, mode wire.Mode) {
	within, bounded := mode.Within()
	switch {
	case mode == wire.Stale:
		r.emitReads([]Query{q})
	case r.readsOpen >= ReadsMax, r.readsOpen > 0 && r.readBytes+len(q.Payload) > ReadBytesMax:
		r.fail(q.Ticket, command.CodeOverloaded, "too many queries wait for the leader")
	case bounded && r.known.asked != 0 && (r.mono-r.known.asked < within || mutant.On(mutant.BoundForgotten)) && r.known.index <= r.emitted:
		r.emitReads([]Query{q})
	case mode == wire.Lease:
		r.readOpens(&q)
		r.leaseQueue = append(r.leaseQueue, q)
	case bounded, mode == wire.Linearizable:
		r.readOpens(&q)
		r.readQueue = append(r.readQueue, q)
	default:
		r.fail(q.Ticket, command.CodeBadArgument, "unknown read mode")
	}
}

// readOpens and readsEnd count the queries that wait for a read index.
func (r *Replica) readOpens(q *Query) {
	r.readsOpen++
	r.readBytes += len(q.Payload)
}

func (r *Replica) readsEnd(queries []Query) {
	r.readsOpen -= len(queries)
	for i := range queries {
		r.readBytes -= len(queries[i].Payload)
	}
}

// beginReads asks the core for a read index for all queries that wait.
func (r *Replica) beginReads() {
	for _, queue := range []*[]Query{&r.readQueue, &r.leaseQueue} {
		queries := *queue
		*queue = nil
		switch lease := queue == &r.leaseQueue; {
		case len(queries) == 0:
		case r.Leader() == 0:
			for _, q := range queries {
				r.fail(q.Ticket, command.CodeNoLeader, "no leader is known; an election may be under way")
			}
			r.readsEnd(queries)
		case lease:
			r.readRounds[r.raft.ReadByLease()] = readRound{queries, r.mono, true}
		default:
			r.readRounds[r.raft.Read()] = readRound{queries, r.mono, false}
		}
	}
}

// readsAnswered takes what the core says of reads. A read whose leader is gone
// is asked again under a new id, until its deadline (scenario 71). What a lease
// told is not kept for bounded reads: they ask nothing of other clocks.
func (r *Replica) readsAnswered(ready []raft.ReadState, lost []raft.ReadID) {
	for _, s := range ready {
		round, ok := r.readRounds[s.ID]
		if !ok {
			continue
		}
		delete(r.readRounds, s.ID)
		r.readable = append(r.readable, readyRead{s.Index, round.queries})
		if !round.lease && round.asked >= r.known.asked {
			r.known = knownIndex{max(s.Index, r.known.index), round.asked}
		}
	}
	for _, id := range lost {
		round := r.readRounds[id]
		delete(r.readRounds, id)
		if round.lease {
			r.leaseQueue = append(r.leaseQueue, round.queries...)
		} else {
			r.readQueue = append(r.readQueue, round.queries...)
		}
	}
}

// releaseReads puts queries into the stream of work behind the entries that they
// must see (scenario 31).
func (r *Replica) releaseReads() {
	waiting := r.readable[:0]
	for _, s := range r.readable {
		if s.index <= r.emitted || mutant.On(mutant.ReadUnapplied) {
			r.readsEnd(s.queries)
			r.emitReads(s.queries)
		} else {
			waiting = append(waiting, s)
		}
	}
	clear(r.readable[len(waiting):])
	r.readable = waiting
}

// emitReads adds to the last work if that is a read too: they see one version.
func (r *Replica) emitReads(queries []Query) {
	if r.consistency.diverged {
		for _, q := range queries {
			r.fail(q.Ticket, command.CodeDiverged, r.outOfService())
		}
		return
	}
	if n := len(r.out.Work); n > 0 && r.out.Work[n-1].Kind == WorkRead {
		r.out.Work[n-1].Queries = append(r.out.Work[n-1].Queries, queries...)
		return
	}
	r.out.Work = append(r.out.Work, Work{Kind: WorkRead, Queries: queries})
}

func (r *Replica) expireReads() {
	const late = "no leader confirmed the read in time"
	late1 := func(queries []Query) []Query {
		open := queries[:0]
		for i, q := range queries {
			if q.Ticket.Deadline <= r.ran {
				r.readsEnd(queries[i : i+1])
				r.fail(q.Ticket, command.CodeTimeout, late)
			} else {
				open = append(open, q)
			}
		}
		return open
	}
	r.readQueue = late1(r.readQueue)
	r.leaseQueue = late1(r.leaseQueue)
	for _, id := range slices.Sorted(maps.Keys(r.readRounds)) {
		round := r.readRounds[id]
		if round.queries = late1(round.queries); len(round.queries) == 0 {
			delete(r.readRounds, id)
		} else {
			r.readRounds[id] = round
		}
	}
	for i := range r.readable {
		r.readable[i].queries = late1(r.readable[i].queries)
	}
}
