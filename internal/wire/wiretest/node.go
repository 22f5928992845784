// Package wiretest has a node that speaks the client protocol and does nothing
// else: tests and benchmarks of clients give it its answers.
package wiretest

import (
	"net"
	"sync"

	"github.com/syncsh/syncsh/internal/wire"
)

// A Node listens on loopback. Its fields are set before Start.
type Node struct {
	Welcome wire.Welcome // Version 0 means the right one
	Refuse  string       // when not empty every hello is answered with it
	// Handle appends the answer to a request, a frame's body, or nothing when the
	// answer comes later or never. One goroutine per connection calls it.
	Handle func(c *Conn, r wire.Request, b []byte) []byte

	listener net.Listener
	all      sync.WaitGroup
	mu       sync.Mutex
	conns    map[net.Conn]bool
	stopped  bool
	accepted int
}

// Conn is one client's connection.
type Conn struct {
	net.Conn
	mu sync.Mutex
}

// Start listens and returns the address.
func (n *Node) Start() (addr string, err error) { return n.StartAt("127.0.0.1:0") }

// StartAt listens on an address.
func (n *Node) StartAt(addr string) (string, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", err
	}
	n.listener, n.conns = l, map[net.Conn]bool{}
	n.all.Go(n.accept)
	return l.Addr().String(), nil
}

// Stop closes the listener and all connections and waits for the goroutines.
func (n *Node) Stop() {
	n.listener.Close()
	n.mu.Lock()
	n.stopped = true
	n.mu.Unlock()
	n.Drop()
	n.all.Wait()
}

// Drop closes all connections.
func (n *Node) Drop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range n.conns {
		c.Close()
	}
}

// Accepted is how many connections there were.
func (n *Node) Accepted() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.accepted
}

func (n *Node) accept() {
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.mu.Lock()
		if n.stopped {
			c.Close()
		}
		n.conns[c] = true
		n.accepted++
		n.mu.Unlock()
		n.all.Go(func() {
			n.serve(&Conn{Conn: c})
			c.Close()
			n.mu.Lock()
			delete(n.conns, c)
			n.mu.Unlock()
		})
	}
}

func (n *Node) serve(c *Conn) {
	if role, err := wire.ReadPreamble(c); err != nil || role != wire.RoleClient {
		return
	}
	frames := wire.NewReader(c, wire.FrameBytesMax)
	hello, err := frames.Next()
	if err != nil {
		return
	}
	if _, _, err = wire.DecodeHello(hello); err != nil {
		return
	}
	if n.Refuse != "" {
		_ = c.Send(wire.AppendRefuse(nil, n.Refuse))
		return
	}
	w := n.Welcome
	if w.Version == 0 {
		w.Version = wire.Version
	}
	if err := c.Send(wire.AppendWelcome(nil, w)); err != nil {
		return
	}
	var out []byte
	for {
		frame, err := frames.Next()
		if err != nil {
			return
		}
		r, err := wire.DecodeRequest(frame)
		if err != nil {
			return
		}
		b, mark := wire.BeginFrame(out)
		if b = n.Handle(c, r, b); len(b) > mark+wire.FrameHeadBytes {
			out = wire.EndFrame(b, mark)
		} else {
			out = b[:mark]
		}
		if len(out) > 0 && !frames.Buffered() {
			c.mu.Lock()
			_, err := c.Write(out)
			c.mu.Unlock()
			if err != nil {
				return
			}
			out = out[:0]
		}
	}
}

// Send writes one frame; any goroutine may.
func (c *Conn) Send(body []byte) error {
	b, mark := wire.BeginFrame(nil)
	b = wire.EndFrame(append(b, body...), mark)
	c.mu.Lock()
	defer c.mu.Unlock()
	_, err := c.Write(b)
	return err
}
