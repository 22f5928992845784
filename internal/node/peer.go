package node

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

const (
	// peerBytesMax bounds what waits for a peer that does not read; beyond it
	// messages are dropped, which raft repairs.
	peerBytesMax = 64 << 20
	dialTimeout  = 2 * time.Second
	redialMin    = 20 * time.Millisecond
	redialMax    = time.Second
)

// peer is the connection to another member, one way: we send, its answers come
// on a connection that it dials.
type peer struct {
	node   *Node
	id     raft.ID
	out    outbox
	up     bool // connected; guarded by out.mu. While down nothing is kept
	cancel context.CancelFunc

	refusedWhy string // what the peer said last when it refused us; run's
}

func (n *Node) newPeer(id raft.ID) *peer {
	ctx, cancel := context.WithCancel(n.ctx)
	p := &peer{node: n, id: id, out: newOutbox(), cancel: cancel}
	n.group.Go(func() { p.run(ctx) })
	return p
}

// send adds a message; flush lets it leave. It tells whether there was a
// connection with room.
func (p *peer) send(m wire.PeerMessage) bool {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	ok := p.up && len(p.out.buf) < peerBytesMax
	if ok {
		var mark int
		p.out.buf, mark = wire.BeginFrame(p.out.buf)
		p.out.buf = wire.EndFrame(wire.AppendPeer(p.out.buf, m), mark)
	}
	return ok
}

func (p *peer) flush() { p.out.signal() }

// flushIfAny wakes the writer when there is something to write.
func (p *peer) flushIfAny() {
	p.out.mu.Lock()
	any := len(p.out.buf) > 0
	p.out.mu.Unlock()
	if any {
		p.out.signal()
	}
}

// Reply sends the answer to a request that this peer forwarded.
func (p *peer) Reply(id uint64, result []byte) {
	p.send(wire.PeerMessage{ForwardReply: &wire.ForwardReply{ID: id, Result: result}})
	p.flush()
}

// run keeps a connection to the peer until ctx ends.
func (p *peer) run(ctx context.Context) {
	wait := redialMin
	for ctx.Err() == nil {
		started := time.Now()
		err := p.connect(ctx)
		p.setUp(false)
		p.node.log.Debug("peer connection", "peer", p.node.nameOf(p.id), "err", err)
		if time.Since(started) > redialMax {
			wait = redialMin
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		wait = min(2*wait, redialMax)
	}
}

func (p *peer) setUp(up bool) {
	p.out.mu.Lock()
	p.up, p.out.buf, p.out.writing = up, p.out.buf[:0], 0 // what was on its way is gone
	p.out.mu.Unlock()
}

// connect dials, greets, and sends until the connection breaks.
func (p *peer) connect(ctx context.Context) error {
	n := p.node
	addr := n.book.addr(p.id)
	if addr == "" {
		return fmt.Errorf("no address known")
	}
	if n.cut(p.id) {
		return fmt.Errorf("link cut")
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetDeadline(time.Now().Add(helloTimeout)) //nolint:errcheck // the write below reports it
	hello, mark := wire.BeginFrame(wire.AppendPreamble(nil, wire.RolePeer))
	hello = wire.EndFrame(wire.AppendPeerHello(hello, wire.PeerHello{
		Version: wire.Version, Cluster: n.Cluster(), From: n.id, To: p.id, Name: n.cfg.Name, Addr: n.advertise,
	}), mark)
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	frame, err := wire.NewReader(conn, wire.HelloFrameBytesMax).Next()
	if err != nil {
		return err
	}
	if t, err := wire.FrameType(frame); err == nil && t == wire.FrameRefuse {
		why, err := wire.DecodeRefuse(frame)
		if err != nil {
			return err
		}
		if why != p.refusedWhy { // once, not at every try
			p.refusedWhy = why
			n.log.Warn("peer refuses us", "peer", n.nameOf(p.id), "addr", addr, "why", why)
		}
		return fmt.Errorf("refused: %s", why)
	}
	if err := wire.DecodePeerWelcome(frame); err != nil {
		return err
	}
	conn.SetDeadline(time.Time{}) //nolint:errcheck // as above
	p.setUp(true)
	gone := make(chan struct{})
	n.group.Go(func() { // the peer sends nothing more: a read ends when it is gone
		var b [1]byte
		conn.Read(b[:]) //nolint:errcheck
		close(gone)
	})
	err = p.out.write(conn, gone)
	// What was on its way may not have arrived.
	n.inbox.add(func(in *inputs) { in.lost = append(in.lost, p.id) })
	return err
}

// servePeer takes a peer's messages until the connection ends.
func (n *Node) servePeer(conn net.Conn) error {
	r := wire.NewReader(conn, wire.HelloFrameBytesMax)
	frame, err := r.Next()
	if err != nil {
		return err
	}
	hello, err := wire.DecodePeerHello(frame)
	if err == nil {
		err = n.checkHello(hello)
	}
	if err != nil {
		refuse(conn, err.Error())
		return err
	}
	n.book.heard(hello.From, hello.Name, hello.Addr)
	welcome, mark := wire.BeginFrame(nil)
	if _, err := conn.Write(wire.EndFrame(wire.AppendPeerWelcome(welcome), mark)); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return err
	}
	r.SetMax(wire.FrameBytesMax)
	err = n.readPeer(r, hello.From)
	n.inbox.add(func(in *inputs) { in.lost = append(in.lost, hello.From) })
	return err
}

// checkHello refuses strangers: nodes of another cluster or version, and those
// that look for somebody else at this address.
func (n *Node) checkHello(h wire.PeerHello) error {
	if err := wire.CheckVersion(h.Version); err != nil {
		return err
	}
	switch mine := n.Cluster(); {
	case mine == "":
		return fmt.Errorf("node %s has no cluster yet", n.cfg.Name)
	case h.Cluster != mine:
		return fmt.Errorf("node %s belongs to cluster %s, not to %s", n.cfg.Name, mine, h.Cluster)
	case h.To != n.id:
		return fmt.Errorf("this is node %s with id %016x, not %016x", n.cfg.Name, uint64(n.id), uint64(h.To))
	case h.From == n.id || h.From == 0:
		return fmt.Errorf("node %s can't be its own peer", n.cfg.Name)
	case n.book.wasRemoved(h.From):
		return fmt.Errorf("node %s (%s) was removed from the cluster; to come back it needs an empty data directory", h.Name, idString(h.From))
	}
	return nil
}

func (n *Node) readPeer(r *wire.Reader, from raft.ID) error {
	var burst []peerInput
	for {
		frame, err := r.Next()
		if err != nil {
			return err
		}
		m, err := wire.DecodePeer(frame)
		if err != nil {
			n.log.Warn("unreadable message of a peer", "peer", n.nameOf(from), "err", err)
			return err
		}
		m.From = from
		if !n.cut(from) {
			in := peerInput{msg: m}
			if m.Forward != nil && m.Forward.Mode == wire.Timed {
				in.at = time.Now()
			}
			burst = append(burst, in)
		}
		if r.Buffered() {
			continue
		}
		n.inbox.add(func(in *inputs) { in.peers = append(in.peers, burst...) })
		clear(burst)
		burst = burst[:0]
	}
}

// cut tells whether traffic with a peer is cut.
func (n *Node) cut(id raft.ID) bool { return n.cfg.Link != nil && !n.cfg.Link(id) }
