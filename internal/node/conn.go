package node

import (
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// helloTimeout bounds how long a connection may take to say who it is.
	helloTimeout = 10 * time.Second
	// writeTimeout bounds a write to a client or peer that does not read.
	writeTimeout = 30 * time.Second
	// arrivingBytesMax bounds the memory of requests that are larger than a chunk of
	// the stream and not complete, over all clients; beyond it the connection of one
	// more is closed. As many bytes as have come must come again within
	// arrivingTimeout: a client that stops in the middle would keep it for ever.
	arrivingBytesMax = 256 << 20
	arrivingTimeout  = time.Minute
	// connBytesMax bounds answers that a client does not fetch; beyond it the
	// connection is closed.
	connBytesMax = 256 << 20
	// unfetchedBytesMax bounds them for all clients together. Beyond it a large
	// answer is replaced by one that says so; small ones pass, so that a client
	// that fetches nothing is not in the way of the others.
	unfetchedBytesMax = 512 << 20
	// connShareBytes is what a client may have of them beyond unfetchedBytesMax, when
	// another answer comes, or its connection is closed: many small answers to many
	// clients are as much as large ones.
	connShareBytes = 1 << 20
	// largeBytes is the size from which on an answer is large, and leaves at once
	// instead of at the end of the batch.
	largeBytes = 64 << 10
	// keepBytesMax is how large an emptied output buffer may be to be kept.
	keepBytesMax = 1 << 20
	// directBytesMax is how much leaves by the hand of who wrote it, without its
	// connection's writer being woken: a wake costs a lone call more than the
	// write, and nothing beside a large one.
	directBytesMax = 16 << 10
)

// outbox collects bytes for one connection; a goroutine of its own writes all
// that waits in one call.
type outbox struct {
	mu      sync.Mutex
	buf     []byte
	writing int // bytes that the writer has taken and not written yet
	closed  bool
	wake    chan struct{}      // capacity 1
	direct  func(b []byte) int // see directWrite; nil without a connection
	// sent, if set, is told how many bytes have left.
	sent func(n int)
	// pull, if set, appends what waits elsewhere; it is called with the lock held.
	pull func([]byte) []byte
}

func newOutbox() outbox { return outbox{wake: make(chan struct{}, 1)} }

// waiting is how many bytes are not written yet. The caller holds mu.
func (o *outbox) waiting() int { return len(o.buf) + o.writing }

// signal wakes the writer.
func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// flush lets what waits leave: at once if that is little, the writer is idle and
// the kernel has room, else by the writer.
func (o *outbox) flush() {
	o.mu.Lock()
	n := 0
	if o.direct != nil && o.writing == 0 && len(o.buf) <= directBytesMax {
		if n = o.direct(o.buf); n > 0 {
			o.buf = o.buf[:copy(o.buf, o.buf[n:])]
		}
	}
	rest := len(o.buf) > 0
	o.mu.Unlock()
	if n > 0 && o.sent != nil {
		o.sent(n)
	}
	if rest {
		o.signal()
	}
}

// take empties the box: its bytes are the writer's until written is called.
func (o *outbox) take(spare []byte) []byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.buf
	if o.pull != nil {
		out = o.pull(out)
	}
	o.buf, o.writing = spare[:0], len(out)
	return out
}

// written ends what take began.
func (o *outbox) written() {
	o.mu.Lock()
	o.writing = 0
	o.mu.Unlock()
}

// use has flush write on a connection; nil ends that.
func (o *outbox) use(direct func([]byte) int) {
	o.mu.Lock()
	o.direct = direct
	o.mu.Unlock()
}

// write sends what was collected until done is closed or the connection breaks.
func (o *outbox) write(conn net.Conn, done <-chan struct{}) error {
	o.use(directWrite(conn))
	defer o.use(nil)
	var spare []byte
	for {
		select {
		case <-o.wake:
		case <-done:
			return nil
		}
		out := o.take(spare)
		if len(out) > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(out); err != nil {
				return err
			}
			o.written()
			if o.sent != nil {
				o.sent(len(out))
			}
		}
		if spare = out; cap(spare) > keepBytesMax {
			spare = nil
		}
	}
}

// clientConn is a client's connection. It is the Replier of its requests.
type clientConn struct {
	node  *Node
	conn  net.Conn
	out   outbox
	dirty bool // stands in node.dirty; guarded by out.mu
	own   ownRequests

	arriving int // bytes that an unfinished request takes; the reader's

	// Guarded by out.mu too:
	open    openCalls
	watches map[*watch]bool
	ready   []*watch // those with frames to send
}

// Reply adds an answer; Node.flushReplies lets it leave. Answers that are not
// fetched are bounded, here and over all clients.
func (c *clientConn) Reply(id uint64, result []byte) {
	large := len(result) > largeBytes
	if large && c.node.unfetched.Load()+int64(len(result)) > unfetchedBytesMax {
		result, large = tooMuchWaits, false
	}
	c.out.mu.Lock()
	if c.out.closed {
		c.out.mu.Unlock()
		return
	}
	if n := c.out.waiting(); n > 0 && n+len(result) > connBytesMax ||
		n > connShareBytes && c.node.unfetched.Load() > unfetchedBytesMax {
		c.leave()
		c.out.mu.Unlock()
		c.conn.Close() // its reader ends and cleans up
		return
	}
	before := len(c.out.buf)
	var mark int
	c.out.buf, mark = wire.BeginFrame(c.out.buf)
	c.out.buf = wire.EndFrame(wire.AppendReply(c.out.buf, id, result), mark)
	c.node.unfetched.Add(int64(len(c.out.buf) - before))
	first := !c.dirty
	c.dirty = true
	call := c.open.take(id)
	c.out.mu.Unlock()
	if !call.empty() {
		c.node.calls.end(&call, result, c.node.calls.now())
	}
	if first {
		c.node.markDirty(c)
	}
	if large {
		c.out.signal()
	}
}

// tooMuchWaits takes the place of an answer that there is no room for.
var tooMuchWaits = command.AppendError(nil, 0, command.CodeTimeout,
	"the answer was dropped: clients have not fetched too many others; outcome unknown", "", nil)

// leave makes later answers vanish. The caller holds out.mu.
func (c *clientConn) leave() {
	c.node.unfetched.Add(-int64(len(c.out.buf)))
	c.out.closed, c.out.buf = true, nil
}

// write sends answers until done is closed or the connection breaks.
func (c *clientConn) write(done <-chan struct{}) {
	c.out.write(c.conn, done) //nolint:errcheck // the reader sees the broken connection too
	c.conn.Close()
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.leave()
	c.node.unfetched.Add(-int64(c.out.writing)) // what the broken connection did not take
	c.out.writing = 0
}

// Gone tells whether the client has left.
func (c *clientConn) Gone() bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.closed
}

// dirtyConns are the connections that have answers to send.
type dirtyConns struct {
	mu    sync.Mutex
	conns []*clientConn
	spare []*clientConn
}

func (n *Node) markDirty(c *clientConn) {
	n.dirty.mu.Lock()
	n.dirty.conns = append(n.dirty.conns, c)
	n.dirty.mu.Unlock()
}

// flushReplies wakes the writers of all connections that were answered since the
// last call: once per batch, not once per answer.
func (n *Node) flushReplies() {
	n.dirty.mu.Lock()
	conns := n.dirty.conns
	n.dirty.conns, n.dirty.spare = n.dirty.spare[:0], nil
	n.dirty.mu.Unlock()
	for _, c := range conns {
		c.out.mu.Lock()
		c.dirty = false
		c.out.mu.Unlock()
		c.out.signal()
	}
	clear(conns)
	n.dirty.mu.Lock()
	n.dirty.spare = conns
	n.dirty.mu.Unlock()
}

// serveClient speaks with a client until the connection ends.
func (n *Node) serveClient(conn net.Conn) error {
	r := wire.NewReader(conn, wire.HelloFrameBytesMax)
	frame, err := r.Next()
	if err != nil {
		return err
	}
	version, _, err := wire.DecodeHello(frame)
	if err == nil {
		err = wire.CheckVersion(version)
	}
	if err != nil {
		refuse(conn, err.Error())
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	c := &clientConn{node: n, conn: conn, out: newOutbox()}
	c.out.pull = c.pull
	c.out.sent = func(n int) { c.node.unfetched.Add(-int64(n)) }
	head, mark := wire.BeginFrame(nil)
	c.out.buf = wire.EndFrame(wire.AppendWelcome(head, wire.Welcome{
		Version: wire.Version, Cluster: n.Cluster(), NodeName: n.cfg.Name, NodeID: n.id, Build: n.cfg.Build,
	}), mark)
	c.out.signal()
	n.unfetched.Add(int64(len(c.out.buf)))
	done := make(chan struct{})
	n.group.Go(func() { c.write(done) })
	defer close(done)
	defer n.watches.dropAll(c)
	defer func() {
		c.out.mu.Lock()
		c.leave()
		c.out.mu.Unlock()
	}()
	r.SetMax(wire.FrameBytesMax)
	r.SetHold(c.hold)
	defer func() { n.arriving.Add(-int64(c.arriving)) }()
	return c.readRequests(r)
}

// hold accounts for n bytes that an unfinished request takes.
func (c *clientConn) hold(n int) error {
	more := int64(n - c.arriving)
	if all := c.node.arriving.Add(more); more > 0 && all > arrivingBytesMax {
		c.node.arriving.Add(-more)
		err := fmt.Errorf("node %s is receiving too many large requests", c.node.cfg.Name)
		refuse(c.conn, err.Error())
		return err
	}
	c.arriving = n
	by := time.Time{}
	if n > 0 {
		by = time.Now().Add(arrivingTimeout)
	}
	return c.conn.SetReadDeadline(by)
}

// readRequests hands requests to the loop, a burst at a time.
func (c *clientConn) readRequests(r *wire.Reader) error {
	var burst []request
	var arrived []openCall
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		req, err := wire.DecodeRequest(frame)
		if err != nil {
			refuse(c.conn, fmt.Sprintf("unreadable request: %v", err))
			return err
		}
		burst = append(burst, request{c.node.measured(c, &req), req})
		if r.Buffered() {
			continue
		}
		arrived = c.node.calls.arrive(arrived[:0], burst, c.node.calls.now())
		if len(arrived) > 0 {
			c.out.mu.Lock() // which an answer may want: nothing is read under it
			c.node.calls.begin(&c.open, arrived)
			c.out.mu.Unlock()
		}
		taken, full := c.node.inbox.addRequests(burst, &c.own)
		for _, q := range burst[taken:] {
			c.Reply(q.req.ID, command.AppendError(nil, 0, command.CodeOverloaded, "the node has too many requests waiting", "", nil))
		}
		if taken < len(burst) {
			c.node.flushReplies()
		}
		clear(burst)
		clear(arrived)
		burst = burst[:0]
		if full {
			if err := c.awaitDrain(); err != nil {
				return err
			}
		}
	}
}

// awaitDrain waits until the loop has taken what the connection has asked.
func (c *clientConn) awaitDrain() error {
	taken := c.node.inbox.drained(&c.own)
	if taken == nil {
		return nil
	}
	select {
	case <-taken:
		return nil
	case <-c.node.ctx.Done():
		return c.node.ctx.Err()
	}
}

// refuse tells the other side why the connection is closed. It is the last
// thing written, on a connection whose writer may be gone: errors don't matter.
func refuse(conn net.Conn, message string) {
	b, mark := wire.BeginFrame(nil)
	conn.SetWriteDeadline(time.Now().Add(time.Second))             //nolint:errcheck
	conn.Write(wire.EndFrame(wire.AppendRefuse(b, message), mark)) //nolint:errcheck
}
