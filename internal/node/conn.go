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
	// connBytesMax bounds answers that a client does not fetch; beyond it the
	// connection is closed.
	connBytesMax = 256 << 20
	// keepBytesMax is how large an emptied output buffer may be to be kept.
	keepBytesMax = 1 << 20
)

// outbox collects bytes for one connection; a goroutine of its own writes all
// that waits in one call.
type outbox struct {
	mu     sync.Mutex
	buf    []byte
	closed bool
	wake   chan struct{} // capacity 1
	// pull, if set, appends what waits elsewhere; it is called with the lock held.
	pull func([]byte) []byte
}

func newOutbox() outbox { return outbox{wake: make(chan struct{}, 1)} }

// signal wakes the writer.
func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// close makes later appends vanish.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed, o.buf = true, nil
	o.mu.Unlock()
}

// write sends what was collected until done is closed or the connection breaks.
func (o *outbox) write(conn net.Conn, done <-chan struct{}) error {
	var spare []byte
	for {
		select {
		case <-o.wake:
		case <-done:
			return nil
		}
		o.mu.Lock()
		out := o.buf
		o.buf = spare[:0]
		if o.pull != nil {
			out = o.pull(out)
		}
		o.mu.Unlock()
		if len(out) > 0 {
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(out); err != nil {
				return err
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

	// Guarded by out.mu too:
	watches map[*watch]bool
	ready   []*watch // those with frames to send
}

// Reply adds an answer; Node.flushReplies lets it leave.
func (c *clientConn) Reply(id uint64, result []byte) {
	c.out.mu.Lock()
	if c.out.closed {
		c.out.mu.Unlock()
		return
	}
	var mark int
	c.out.buf, mark = wire.BeginFrame(c.out.buf)
	c.out.buf = wire.EndFrame(wire.AppendReply(c.out.buf, id, result), mark)
	over := len(c.out.buf) > connBytesMax
	first := !c.dirty
	c.dirty = true
	c.out.mu.Unlock()
	if over {
		c.conn.Close() // its reader ends and cleans up
	}
	if first {
		c.node.markDirty(c)
	}
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
	head, mark := wire.BeginFrame(nil)
	c.out.buf = wire.EndFrame(wire.AppendWelcome(head, wire.Welcome{
		Version: wire.Version, Cluster: n.Cluster(), NodeName: n.cfg.Name, NodeID: n.id, Build: n.cfg.Build,
	}), mark)
	c.out.signal()
	done := make(chan struct{})
	n.group.Go(func() {
		c.out.write(conn, done) //nolint:errcheck // the reader sees the broken connection too
		conn.Close()
	})
	defer close(done)
	defer n.watches.dropAll(c)
	defer c.out.close()
	r.SetMax(wire.FrameBytesMax)
	return c.readRequests(r)
}

// readRequests hands requests to the loop, a burst at a time.
func (c *clientConn) readRequests(r *wire.Reader) error {
	var burst []request
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
		burst = append(burst, request{c, req})
		if r.Buffered() {
			continue
		}
		taken := c.node.inbox.addRequests(burst)
		for _, q := range burst[taken:] {
			c.Reply(q.req.ID, command.AppendError(nil, 0, command.CodeOverloaded, "the node has too many requests waiting", "", nil))
		}
		if taken < len(burst) {
			c.node.flushReplies()
		}
		clear(burst)
		burst = burst[:0]
	}
}

// refuse tells the other side why the connection is closed. It is the last
// thing written, on a connection whose writer may be gone: errors don't matter.
func refuse(conn net.Conn, message string) {
	b, mark := wire.BeginFrame(nil)
	conn.SetWriteDeadline(time.Now().Add(time.Second))             //nolint:errcheck
	conn.Write(wire.EndFrame(wire.AppendRefuse(b, message), mark)) //nolint:errcheck
}
