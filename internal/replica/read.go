package replica

import (
	"maps"
	"slices"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// readyRead is a batch of queries whose read index is known.
type readyRead struct {
	index   raft.Index
	queries []Query
}

// submitRead takes a query. A stale one goes into the stream of work at once; a
// linearizable one joins the next round (§6.4): one round serves all that waited
// before it began.
func (r *Replica) submitRead(q Query, mode wire.Mode) {
	switch {
	case mode == wire.Stale:
		r.emitReads([]Query{q})
	case mode != wire.Linearizable:
		r.fail(q.Ticket, command.CodeBadArgument, "unknown read mode")
	case r.readsOpen >= ReadsMax:
		r.fail(q.Ticket, command.CodeOverloaded, "too many queries wait for the leader")
	default:
		r.readsOpen++
		r.readQueue = append(r.readQueue, q)
	}
}

// beginReads asks the core for a read index for all queries that wait.
func (r *Replica) beginReads() {
	if len(r.readQueue) == 0 {
		return
	}
	if r.Leader() == 0 {
		for _, q := range r.readQueue {
			r.fail(q.Ticket, command.CodeNoLeader, "no leader is known; an election may be under way")
		}
		r.readsOpen -= len(r.readQueue)
		r.readQueue = nil
		return
	}
	r.readRounds[r.raft.Read()] = r.readQueue
	r.readQueue = nil
}

// readsAnswered takes what the core says of reads. A read whose leader is gone
// is asked again under a new id, until its deadline (scenario 71).
func (r *Replica) readsAnswered(ready []raft.ReadState, lost []raft.ReadID) {
	for _, s := range ready {
		if queries, ok := r.readRounds[s.ID]; ok {
			delete(r.readRounds, s.ID)
			r.readable = append(r.readable, readyRead{s.Index, queries})
		}
	}
	for _, id := range lost {
		r.readQueue = append(r.readQueue, r.readRounds[id]...)
		delete(r.readRounds, id)
	}
}

// releaseReads puts queries into the stream of work behind the entries that they
// must see (scenario 31).
func (r *Replica) releaseReads() {
	waiting := r.readable[:0]
	for _, s := range r.readable {
		if s.index <= r.emitted {
			r.readsOpen -= len(s.queries)
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
		for _, q := range queries {
			if q.Ticket.Deadline <= r.ran {
				r.readsOpen--
				r.fail(q.Ticket, command.CodeTimeout, late)
			} else {
				open = append(open, q)
			}
		}
		return open
	}
	r.readQueue = late1(r.readQueue)
	for _, id := range slices.Sorted(maps.Keys(r.readRounds)) {
		if queries := late1(r.readRounds[id]); len(queries) == 0 {
			delete(r.readRounds, id)
		} else {
			r.readRounds[id] = queries
		}
	}
	for i := range r.readable {
		r.readable[i].queries = late1(r.readable[i].queries)
	}
}
