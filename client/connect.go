package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// connectTimeout bounds one attempt, so that a node that is cut off costs
	// little when others answer.
	connectTimeout = 3 * time.Second
	// After a round of attempts the next one waits this long, doubled each time
	// until a connection has lasted.
	reconnectMin = 20 * time.Millisecond
	reconnectMax = time.Second
	// addrsMax bounds the addresses given and learned.
	addrsMax = 64
)

// A refusal is what a node answers that does not want the connection.
type refusal struct{ message string }

func (r *refusal) Error() string { return r.message }

// openConn connects to one node: preamble, hello, welcome.
func (c *Client) openConn(ctx context.Context, addr string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	nc, err := c.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	k, err := c.greet(nc, addr)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, err
	}
	return k, nil
}

func (c *Client) greet(nc net.Conn, addr string) (*conn, error) {
	b, mark := wire.BeginFrame(wire.AppendPreamble(nil, wire.RoleClient))
	b = wire.EndFrame(wire.AppendHello(b, c.cfg.Name), mark)
	if _, err := nc.Write(b); err != nil {
		return nil, err
	}
	frames := wire.NewReader(nc, wire.HelloFrameBytesMax)
	frame, err := frames.Next()
	if errors.Is(err, wire.ErrFrameLength) {
		return nil, errors.New("not a syncsh node")
	}
	if err != nil {
		return nil, err
	}
	if message, err := wire.DecodeRefuse(frame); err == nil {
		return nil, &refusal{message}
	}
	w, err := wire.DecodeWelcome(frame)
	if err != nil {
		return nil, fmt.Errorf("not a syncsh node: %w", err)
	}
	if err := wire.CheckVersion(w.Version); err != nil {
		return nil, &refusal{err.Error()}
	}
	frames.SetMax(wire.FrameBytesMax)
	return &conn{c: c, nc: nc, frames: frames, addr: addr, node: w, wake: make(chan struct{}, 1)}, nil
}

// checkCluster refuses a node of another cluster than the one first met: an
// address may have been taken over by it.
func (c *Client) checkCluster(w wire.Welcome) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cluster != "" && w.Cluster != "" && c.cluster != w.Cluster {
		return &refusal{fmt.Sprintf("it is of cluster %s, not %s", w.Cluster, c.cluster)}
	}
	return nil
}

// connect tries the addresses once, in turn, and returns the first connection.
func (c *Client) connect(ctx context.Context, addrs []string) (*conn, error) {
	var failed []string
	refused := 0
	for _, addr := range addrs {
		k, err := c.openConn(ctx, addr)
		if err == nil {
			if err = c.checkCluster(k.node); err == nil {
				return k, nil
			}
			k.nc.Close()
		}
		if r := (*refusal)(nil); errors.As(err, &r) {
			refused++
		}
		failed = append(failed, addr+": "+cause(err))
		if ctx.Err() != nil {
			break
		}
	}
	if refused == len(addrs) {
		return nil, errorf(CodeDenied, "refused by %s", strings.Join(failed, "; "))
	}
	return nil, errorf(CodeNoLeader, "no node reachable: %s", strings.Join(failed, "; "))
}

// unreachable is the error of a request that found no connection in its time.
func (c *Client) unreachable() *Error {
	if c.lastErr == "" {
		return errorf(CodeNoLeader, "no node reachable")
	}
	return errorf(CodeNoLeader, "no node reachable: %s", c.lastErr)
}

// use makes k the connection of all new requests; c.mu is held.
func (c *Client) use(k *conn) {
	old := c.cur
	c.cur, k.since = k, c.now()
	c.generation++
	c.rotate = false
	c.conns = append(c.conns, k)
	if k.node.Cluster != "" {
		c.cluster = k.node.Cluster
	}
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		k.run()
	}()
	if old != nil {
		old.retire()
	}
	waiting := c.waiting
	c.waiting = nil
	for _, r := range waiting {
		k.send(r)
	}
}

// forget drops a broken connection; c.mu is held.
func (c *Client) forget(k *conn) {
	if i := slices.Index(c.conns, k); i >= 0 {
		c.conns = slices.Delete(c.conns, i, i+1)
	}
	if c.cur == k {
		c.cur = nil
		c.generation++
	}
	// A node that takes connections and drops them must not be asked in a loop.
	if c.now()-k.since > int64(reconnectMax) {
		c.backoff, c.retryAt = reconnectMin, 0
	}
}

// keep is the goroutine that keeps the client alive: it delivers what ended
// without an answer, watches the deadlines with one timer, and has lost
// connections replaced.
func (c *Client) keep() {
	defer c.running.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return
		}
		now := c.now()
		if c.nextDeadline <= now {
			c.expire()
		}
		ended := c.ended
		c.ended = nil
		wake := c.nextDeadline
		if (c.cur == nil || c.rotate) && !c.dialing {
			if now >= c.retryAt {
				c.redial()
				// Clients of a node that died don't all come at once.
				c.retryAt = now + int64(c.backoff/2+rand.N(c.backoff))
				c.backoff = min(2*c.backoff, reconnectMax)
			} else {
				wake = min(wake, c.retryAt)
			}
		}
		c.mu.Unlock()
		for i := range ended {
			ended[i].call()
		}
		timer.Reset(min(time.Duration(wake-c.now()), time.Hour))
		select {
		case <-c.kicked:
		case <-timer.C:
		}
	}
}

// redial looks for another connection in the background; c.mu is held.
func (c *Client) redial() {
	addrs := c.candidates()
	if len(addrs) == 0 { // the only node is the one in use
		c.rotate = false
		return
	}
	c.dialing = true
	c.running.Add(1)
	go func() {
		defer c.running.Done()
		k, err := c.connect(c.ctx, addrs)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dialing = false
		c.kick()
		if err != nil {
			c.rotate = false
			c.lastErr = strings.TrimPrefix(err.(*Error).Message, "no node reachable: ")
			return
		}
		if c.closed {
			k.nc.Close()
			return
		}
		c.use(k)
		c.learn(k)
	}()
}

// candidates are the addresses to try next: all others than the one in use,
// beginning behind the one tried last.
func (c *Client) candidates() []string {
	i := 0
	if c.cur != nil {
		c.last = c.cur.addr
	}
	if at := slices.Index(c.addrs, c.last); at >= 0 {
		i = at + 1
	}
	out := append(slices.Clone(c.addrs[i:]), c.addrs[:i]...)
	if c.cur != nil {
		out = slices.DeleteFunc(out, func(a string) bool { return a == c.cur.addr })
	}
	return out
}

// learn asks a node for the addresses of the members; c.mu is held. The answer
// is not needed, so nobody waits for it.
func (c *Client) learn(k *conn) {
	c.last = k.addr
	c.start(k, request{op: wire.OpStatus, mode: Stale, done: func(res command.Result, err error) {
		if err != nil {
			return
		}
		if s, err := decodeStatus(res); err == nil {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.learned(s)
		}
	}}, c.cfg.Timeout)
}

// learned adds the members' addresses behind those that were given.
func (c *Client) learned(s *NodeStatus) {
	addrs := slices.Clone(c.cfg.Addrs)
	for _, m := range s.Members {
		if m.Addr != "" && len(addrs) < addrsMax && !slices.Contains(addrs, m.Addr) {
			addrs = append(addrs, m.Addr)
		}
	}
	c.addrs = addrs
}

// elsewhere asks for a connection to another node, unless that has happened
// since the generation was read.
func (c *Client) elsewhere(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation == generation && c.cur != nil {
		c.rotate = true
		c.kick()
	}
}
