package node

import (
	"errors"
	"runtime"
	"sync"

	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// workQueue hands work from the loop to the applier's goroutine. Its length is
// bounded by the replica, which stops taking proposals and reads before.
type workQueue struct {
	mu    sync.Mutex
	works []replica.Work
	wake  chan struct{} // capacity 1
}

func newWorkQueue() *workQueue { return &workQueue{wake: make(chan struct{}, 1)} }

func (q *workQueue) push(works []replica.Work) {
	if len(works) == 0 {
		return
	}
	q.mu.Lock()
	q.works = append(q.works, works...)
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *workQueue) take(spare []replica.Work) []replica.Work {
	clear(spare)
	q.mu.Lock()
	defer q.mu.Unlock()
	works := q.works
	q.works = spare[:0]
	return works
}

// doneBytes is after how much applied data the applier reports in the middle of
// a long queue, so that the replica's bound on unapplied data is given back.
const doneBytes = 4 << 20

// yieldBytes is after how much applied data the applier, in the middle of a long
// queue, lets others run. On two processors the runtime's collector takes its
// share in slices that grow with those of the others: up to 8 ms, in which nothing
// is applied, beside an applier that runs for 10 ms at a time.
const yieldBytes = 16 << 10

// apply is the applier's goroutine.
func (n *Node) apply(a *replica.Applier) {
	var works []replica.Work
	for {
		select {
		case <-n.works.wake:
		case <-n.ctx.Done():
			return
		}
		works = n.works.take(works)
		var done replica.Done
		var yielded uint64 // done.Bytes when it last did
		for i := range works {
			if n.cfg.onWork != nil {
				n.cfg.onWork(&works[i])
			}
			a.Do(&works[i], &done)
			if err := a.Err(); err != nil {
				n.inbox.add(func(in *inputs) { in.failed = err })
				return
			}
			if works[i].Tickets != nil {
				n.flushReplies()
			}
			if done.Bytes >= yielded+yieldBytes {
				yielded = done.Bytes
				runtime.Gosched()
			}
			if done.Bytes > doneBytes || done.Installed != nil || n.ctx.Err() != nil {
				n.report(a, done)
				done, yielded = replica.Done{}, 0
			}
		}
		n.report(a, done)
	}
}

func (n *Node) report(a *replica.Applier, done replica.Done) {
	done.Applied = a.State()
	n.inbox.add(func(in *inputs) { in.done = append(in.done, done) })
}

// hands does for the applier what needs goroutines and disks.
type hands struct{ n *Node }

// Read gives the queries to the pool.
func (h hands) Read(v *luafsm.Version, queries []replica.Query) {
	h.n.readers.push(v, queries)
	v.Release()
}

// Dump writes a snapshot on a goroutine of its own while calls go on.
func (h hands) Dump(v *luafsm.Version, meta raft.SnapshotMeta) {
	n := h.n
	n.group.Go(func() {
		meta, err := n.store.Dump(v, meta)
		v.Release()
		if err == nil {
			n.log.Info("snapshot written", "index", meta.Index, "bytes", meta.Bytes)
		}
		n.inbox.add(func(in *inputs) { in.dumped = append(in.dumped, dumped{meta, err}) })
	})
}

// Changed gives what is watched to the distributor.
func (h hands) Changed(changes []luafsm.Change) { h.n.watches.add(news{changes: changes}) }

// Replaced tells those who watch that what they have seen is no beginning any
// more.
func (h hands) Replaced(index raft.Index) { h.n.watches.add(news{replaced: index}) }

func (h hands) Install(meta raft.SnapshotMeta) (*luafsm.Machine, error) {
	m, err := h.n.store.Install(meta)
	if err != nil {
		if errors.Is(err, luafsm.ErrVersion) { // another try would end the same
			h.n.inbox.add(func(in *inputs) { in.failed = err })
		}
		h.n.log.Warn("snapshot of the leader not installed", "index", meta.Index, "err", err)
		return nil, err
	}
	h.n.log.Info("snapshot of the leader installed", "index", meta.Index, "bytes", meta.Bytes)
	return m, nil
}
