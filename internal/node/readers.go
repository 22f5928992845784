package node

import (
	"bytes"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/luafsm"
)

const (
	// readsQueuedMax bounds queries that wait for a reader, over all clients.
	readsQueuedMax = 1 << 16
	// readBytesMax bounds the bytes of queries that the loop has handed over and
	// nobody has answered; one is always let in.
	readBytesMax = 64 << 20
	// readCloneMax is up to which size the loop copies a query, which otherwise keeps
	// the chunk of its connection's stream that it came in, of 64 KiB.
	readCloneMax = 16 << 10
	// readsTurnMax and readsTurn bound one client's turn: what is left of it
	// waits until the others had theirs.
	readsTurnMax = 64
	readsTurn    = 5 * time.Millisecond
)

// read is a query that waits for a reader, and the version that it is to see.
type read struct {
	version *luafsm.Version
	query   replica.Query
}

// clientReads are the queries of one client that wait.
type clientReads struct {
	from  replica.Replier
	reads []read
}

// readers is the pool that runs queries beside the applier. Clients take turns,
// so that one that sends expensive queries in thousands delays itself and not
// the others.
type readers struct {
	node    *Node
	workers int
	bytes   atomic.Int64 // see readBytesMax

	mu      sync.Mutex
	wake    sync.Cond // a client is waiting, or closed
	clients map[replica.Replier]*clientReads
	waiting []*clientReads // whose turn it is, in order; not those a worker is at
	queued  int
	closed  bool
}

func newReaders(n *Node) *readers {
	r := &readers{node: n, workers: runtime.GOMAXPROCS(0), clients: map[replica.Replier]*clientReads{}}
	r.wake.L = &r.mu
	return r
}

// start begins to serve; the workers end with the node.
func (r *readers) start() {
	for range r.workers {
		r.node.group.Go(r.run)
	}
	r.node.group.Go(func() {
		<-r.node.ctx.Done()
		r.mu.Lock()
		r.closed = true
		r.mu.Unlock()
		r.wake.Broadcast()
	})
}

// admit takes a query into the loop, or refuses it: a client can send more bytes
// than readers, or an applier that is at a long call, work off.
func (r *readers) admit(q *request) bool {
	size := len(q.req.Payload)
	if waiting := r.bytes.Load(); waiting > 0 && waiting+int64(size) > readBytesMax {
		q.from.Reply(q.req.ID, readsBusy)
		return false
	}
	if size <= readCloneMax {
		q.req.Payload = bytes.Clone(q.req.Payload)
	}
	return true
}

var readsBusy = command.AppendError(nil, 0, command.CodeOverloaded, "too many queries wait for a reader", "", nil)

// handed counts the queries that the loop hands over; ended those that were
// answered.
func (r *readers) handed(works []replica.Work) {
	for i := range works {
		for j := range works[i].Queries {
			r.bytes.Add(int64(len(works[i].Queries[j].Payload)))
		}
	}
}

func (r *readers) ended(q *replica.Query) { r.bytes.Add(-int64(len(q.Payload))) }

// push queues queries on a version.
func (r *readers) push(v *luafsm.Version, queries []replica.Query) {
	refused := 0
	r.mu.Lock()
	for i, q := range queries {
		if r.queued >= readsQueuedMax {
			refused = len(queries) - i
			break
		}
		c := r.clients[q.Ticket.To]
		if c == nil {
			c = &clientReads{from: q.Ticket.To}
			r.clients[q.Ticket.To] = c
			r.waiting = append(r.waiting, c)
		}
		v.Retain()
		c.reads = append(c.reads, read{v, q})
		r.queued++
	}
	n := min(len(r.waiting), r.workers)
	r.mu.Unlock()
	for range n {
		r.wake.Signal()
	}
	if refused > 0 {
		for _, q := range queries[len(queries)-refused:] {
			r.ended(&q)
			q.Ticket.To.Reply(q.Ticket.ID, readsBusy)
		}
		r.node.flushReplies()
	}
}

// take waits for a client's turn and takes a part of its queries.
func (r *readers) take(turn []read) (*clientReads, []read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.waiting) == 0 && !r.closed {
		r.wake.Wait()
	}
	if r.closed {
		return nil, nil
	}
	c := r.waiting[0]
	r.waiting[0] = nil
	r.waiting = r.waiting[1:]
	n := min(len(c.reads), readsTurnMax)
	turn = append(turn[:0], c.reads[:n]...)
	clear(c.reads[:n])
	c.reads = c.reads[n:]
	return c, turn
}

// put gives back what is left of a turn and lines the client up again.
func (r *readers) put(c *clientReads, done int, left []read) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued -= done
	if len(left) > 0 {
		c.reads = append(append(make([]read, 0, len(left)+len(c.reads)), left...), c.reads...)
	}
	if len(c.reads) == 0 {
		delete(r.clients, c.from)
		return
	}
	r.waiting = append(r.waiting, c)
	r.wake.Signal()
}

func (r *readers) run() {
	querier := luafsm.NewQuerier()
	var buf []byte
	var turn []read
	for {
		var c *clientReads
		if c, turn = r.take(turn); c == nil {
			return
		}
		began := time.Now()
		querier.Clock = r.node.cfg.Now().UnixMilli()
		done := 0
		for done < len(turn) && (done == 0 || time.Since(began) < readsTurn) {
			buf = r.answer(querier, &turn[done], buf)
			done++
		}
		r.put(c, done, turn[done:])
		clear(turn)
		r.node.flushReplies()
	}
}

// gone tells whether nobody waits for answers any more.
type gone interface{ Gone() bool }

// answer runs one query, unless its time is over or its client has left.
func (r *readers) answer(querier *luafsm.Querier, d *read, buf []byte) []byte {
	t := d.query.Ticket
	defer d.version.Release()
	defer r.ended(&d.query)
	if g, ok := t.To.(gone); ok && g.Gone() {
		return buf
	}
	if t.Deadline <= r.node.clock.Load() {
		late := command.AppendError(nil, 0, command.CodeTimeout, "too many queries were ahead of this one", "", nil)
		t.To.Reply(t.ID, late)
		return buf
	}
	if w, ok := t.To.(*watch); ok {
		return w.answer(querier, d.version, buf[:0])
	}
	buf = querier.Query(d.version, d.query.Payload, buf[:0])
	t.To.Reply(t.ID, buf)
	if cap(buf) > keepBytesMax {
		return nil
	}
	return buf
}
