package client

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// batchMax is how many answers are taken before their callbacks run.
	batchMax = 256
	// outBytesKept bounds the buffer that a connection keeps for its next writes.
	outBytesKept = 1 << 20
)

// A conn is one connection to a node. A reader goroutine takes answers and runs
// callbacks, a writer goroutine sends all that waits in one write.
type conn struct {
	c      *Client
	nc     net.Conn
	frames *wire.Reader
	addr   string
	node   wire.Welcome
	since  int64 // when it was put to use

	wake chan struct{} // of the writer: out is not empty, or err is set

	// Guarded by c.mu.
	slots     []*request // by request id; nil is free
	freeSlots []uint32
	abandoned int // slots whose request has ended before its answer
	out, idle []byte
	queued    uint64 // bytes of the stream that ever went into out
	written   uint64 // bytes of the stream that the socket has taken
	heard     int64  // when bytes came last, or requests began to be open
	corked    bool   // the reader runs callbacks and wakes the writer after them
	retired   bool   // another connection is in use: close when nothing is open
	err       error  // why it is broken
}

// send puts a request on the connection.
func (k *conn) send(r *request) {
	var id uint32
	if n := len(k.freeSlots); n > 0 {
		id = k.freeSlots[n-1]
		k.freeSlots = k.freeSlots[:n-1]
	} else {
		id = uint32(len(k.slots))
		k.slots = append(k.slots, nil)
	}
	if len(k.slots) == len(k.freeSlots)+1 { // the first that is open
		k.heard = k.c.now()
	}
	k.slots[id] = r
	before := len(k.out)
	payload, timeoutMs := k.stamp(r)
	b, mark := wire.BeginFrame(k.out)
	b = wire.AppendRequest(b, wire.Request{ID: uint64(id), Op: r.op, Mode: r.mode, TimeoutMs: timeoutMs, Payload: payload})
	k.out = wire.EndFrame(b, mark)
	k.queued += uint64(len(k.out) - before)
	r.end = k.queued
	if !k.corked && before == 0 {
		k.wakeWriter()
	}
}

func (k *conn) wakeWriter() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// fail breaks the connection: reader and writer end, and the reader settles what
// was open.
func (k *conn) fail(err error) {
	if k.err == nil {
		k.err = err
		k.nc.Close()
		k.wakeWriter()
	}
}

// retire has the connection closed when its open requests have ended.
func (k *conn) retire() {
	k.retired = true
	k.closeIfDone()
}

var errRetired = errors.New("no longer used")

func (k *conn) closeIfDone() {
	if k.retired && len(k.freeSlots)+k.abandoned == len(k.slots) {
		k.fail(errRetired)
	}
}

// write sends what waits until the connection is broken.
func (k *conn) write() {
	for range k.wake {
		for {
			k.c.mu.Lock()
			if k.err != nil {
				k.c.mu.Unlock()
				return
			}
			b := k.out
			if len(b) == 0 {
				k.c.mu.Unlock()
				break
			}
			k.out, k.idle = k.idle[:0], nil
			k.c.mu.Unlock()
			n, err := k.nc.Write(b)
			k.giveBack(b, n, err)
		}
	}
}

// giveBack accounts for a write and keeps its buffer for a next one.
func (k *conn) giveBack(b []byte, n int, err error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.written += uint64(n)
	if cap(b) <= outBytesKept {
		k.idle = b[:0]
	}
	if err != nil {
		k.fail(err)
	}
}

// run reads answers until the connection is broken, then settles.
func (k *conn) run() {
	written := make(chan struct{})
	go func() {
		k.write()
		close(written)
	}()
	batch := make([]finished, 0, batchMax)
	for {
		var err error
		if batch, err = k.read(batch[:0]); err != nil {
			k.c.mu.Lock()
			k.fail(err)
			k.c.mu.Unlock()
			break
		}
		for i := range batch {
			batch[i].call()
		}
		clear(batch)
		k.c.mu.Lock()
		k.corked = false
		if len(k.out) > 0 {
			k.wakeWriter()
		}
		k.c.mu.Unlock()
	}
	<-written // how much was written is final
	k.settle()
}

// read waits for answers and takes all that are here. It corks the connection:
// what the callbacks send leaves in one write.
func (k *conn) read(batch []finished) ([]finished, error) {
	frame, err := k.frames.Next()
	if err != nil {
		return batch, err
	}
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	k.heard = k.c.now()
	k.corked = true
	for {
		if batch, err = k.answer(batch, frame); err != nil {
			return k.giveUp(batch), err
		}
		if len(batch) == batchMax || !k.frames.Buffered() {
			break
		}
		if frame, err = k.frames.Next(); err != nil {
			return k.giveUp(batch), err
		}
	}
	k.closeIfDone()
	return batch, nil
}

// giveUp has the answers that came before a broken frame delivered by the keeper.
func (k *conn) giveUp(batch []finished) []finished {
	k.c.ended = append(k.c.ended, batch...)
	k.c.kick()
	return batch[:0]
}

// answer takes one frame.
func (k *conn) answer(batch []finished, frame []byte) ([]finished, error) {
	id, result, err := wire.DecodeReply(frame)
	if err != nil {
		if message, refused := wire.DecodeRefuse(frame); refused == nil {
			return batch, errors.New(message)
		}
		return batch, fmt.Errorf("bad answer: %w", err)
	}
	if id >= uint64(len(k.slots)) || k.slots[id] == nil {
		return batch, fmt.Errorf("an answer to request %d, which is not open", id)
	}
	r := k.slots[id]
	k.slots[id] = nil
	k.freeSlots = append(k.freeSlots, uint32(id))
	if r == abandoned {
		k.abandoned--
		return batch, nil
	}
	if r.sess != nil && k.unsettled(r, &result) {
		return batch, nil
	}
	f := k.c.end(r, nil)
	f.result = result
	return append(batch, f), nil
}

// settle ends what was open on a broken connection, or hands it to the next one
// when it certainly had no effect, may have it twice, or is of a session.
func (k *conn) settle() {
	c := k.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(k)
	why := k.err
	if errors.Is(why, io.EOF) {
		why = errors.New("closed by the node")
	}
	if !k.retired {
		c.lastErr = fmt.Sprintf("%s: %s", k.addr, cause(why))
	}
	open := make([]*request, 0, len(k.slots))
	for _, r := range k.slots {
		if r != nil && r != abandoned {
			open = append(open, r)
		}
	}
	// What is sent again keeps its order.
	slices.SortFunc(open, func(x, y *request) int { return cmp.Compare(x.end, y.end) })
	for _, r := range open {
		r.maybe = r.maybe || r.end <= k.written
		if !r.maybe || r.repeatable() || r.sess != nil && !c.closed {
			c.again(r)
			continue
		}
		c.ended = append(c.ended, c.end(r, errorf(CodeTimeout, "the connection to %s was lost (%s); outcome unknown", k.addr, cause(why))))
	}
	k.slots = nil
	c.kick()
}

// again puts a request on the connection in use, or has it wait for one.
func (c *Client) again(r *request) {
	switch {
	case c.closed && r.maybe && !r.repeatable():
		c.ended = append(c.ended, c.end(r, errorf(CodeTimeout, "the client is closed; outcome unknown")))
	case c.closed:
		c.ended = append(c.ended, c.end(r, errorf(CodeClosed, "the client is closed")))
	case c.cur != nil:
		c.cur.send(r)
	default:
		c.waiting = append(c.waiting, r)
	}
}
