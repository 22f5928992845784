package client

import (
	"math"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// Limits of a Client.
const (
	// InFlightMax bounds the open requests; one more fails with CodeOverloaded.
	InFlightMax = 1 << 16
	// PayloadBytesMax bounds one request: a node takes no larger frame.
	PayloadBytesMax = 64 << 20
	// openBytesMax bounds the payloads of all open requests, of which the client
	// holds copies until they are on the socket.
	openBytesMax = 256 << 20
	// A node answers CodeTimeout itself when the time of a request is over. The
	// client gives up a little later, as that answer knows more.
	graceMax = 200 * time.Millisecond
	// silenceMax is for how long a connection with open requests may bring
	// nothing, once one of them is overdue, before it is given up.
	silenceMax = 3 * time.Second
)

// A request is open from Do until its done was called.
type request struct {
	op        wire.Op
	mode      wire.Mode
	timeoutMs uint32
	deadline  int64
	// end is the position in the connection's stream behind the request's frame:
	// while the connection has written less, no node can have seen it.
	end     uint64
	payload []byte
	done    func(command.Result, error)

	opens bool  // a session
	limit int64 // the time of the call, without the grace
	// Of a call of a session, see session.go:
	sess    *session // nil: none, or not yet
	serial  uint64
	tryEnd  int64 // this try is given up then; of one that pauses: the pause ends
	pause   time.Duration
	maybe   bool // a try may have been carried out
	renewed bool // it was in a session that had expired
}

// abandoned stands in the slot of a request that ended before its answer came,
// so that its id is not given to another.
var abandoned = new(request)

// repeatable tells whether a request may be sent again after it may have been
// carried out.
func (r *request) repeatable() bool {
	return r.opens || r.op == wire.OpQuery || r.op == wire.OpStatus || r.op == wire.OpCheck
}

// A finished request and how it ended.
type finished struct {
	done   func(command.Result, error)
	result command.Result
	err    error
}

func (f *finished) call() {
	if f.err == nil {
		f.err = f.result.Err()
	}
	f.done(f.result, f.err)
}

// Do sends a request and returns at once. done is called exactly once, on a
// goroutine of the client that reads answers: it may call Do, but must not wait
// for anything. Its error is an *Error, nil when the result's code is OK. The
// result's bytes stay valid; payload must not change until done was called.
//
// timeout 0 is the Config's. Commands in payload are in no session; the client
// makes them ones of its own session unless the Config says otherwise. An answer
// that is lost then is asked for again until the time is over. Answers by which
// nothing happened, such as overloaded and no_leader, are given as they come.
func (c *Client) Do(op wire.Op, mode wire.Mode, timeout time.Duration, payload []byte, done func(command.Result, error)) {
	if timeout <= 0 {
		timeout = c.cfg.Timeout
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var refused *Error
	switch {
	case c.closed:
		refused = errorf(CodeClosed, "the client is closed")
	case len(payload) > PayloadBytesMax:
		refused = badArgument("a request of %d bytes, the limit is %d", len(payload), PayloadBytesMax)
	case c.open >= InFlightMax || c.openBytes+len(payload) > openBytesMax:
		refused = errorf(CodeOverloaded, "%d calls are open on this client", c.open)
	}
	if refused != nil {
		c.endLater(done, refused)
		return
	}
	c.start(c.cur, request{op: op, mode: mode, payload: payload, done: done}, timeout)
}

// start opens a request on a connection, nil for the next there will be; c.mu is
// held, as in all below.
func (c *Client) start(k *conn, want request, timeout time.Duration) {
	r := c.newRequest()
	*r = want
	r.timeoutMs = millis(timeout)
	r.limit = c.now() + int64(timeout)
	r.deadline = r.limit + int64(min(graceMax, timeout/10))
	c.open++
	c.openBytes += len(r.payload)
	c.wakeAt(r.deadline)
	switch {
	case c.inSession(r.op, r.payload):
		c.enter(r)
	case k != nil:
		k.send(r)
	default:
		c.waiting = append(c.waiting, r)
	}
}

// millis is a timeout as the wire has it.
func millis(d time.Duration) uint32 {
	return uint32(min(max((d+time.Millisecond-1).Milliseconds(), 1), math.MaxUint32))
}

// wakeAt has the keeper look at the deadlines then at the latest.
func (c *Client) wakeAt(at int64) {
	if at < c.nextDeadline {
		c.nextDeadline = at
		c.kick()
	}
}

// newRequest takes a request from the free list.
func (c *Client) newRequest() *request {
	if n := len(c.free); n > 0 {
		r := c.free[n-1]
		c.free = c.free[:n-1]
		return r
	}
	return new(request)
}

// end takes an open request out of the accounts and says how it ended.
func (c *Client) end(r *request, err error) finished {
	c.open--
	c.openBytes -= len(r.payload)
	f := finished{done: r.done, err: err}
	s, serial := r.sess, r.serial
	*r = request{}
	c.free = append(c.free, r)
	if s != nil {
		s.over(serial)
		if len(s.waiting) > 0 {
			c.admit(s)
		}
	}
	return f
}

// endLater has done called by the keeper: a caller of Do must not find itself
// inside its own callback.
func (c *Client) endLater(done func(command.Result, error), err error) {
	f := finished{done: done, err: err}
	if c.closed { // the keeper is gone
		go f.call()
		return
	}
	c.ended = append(c.ended, f)
	c.kick()
}

// expire ends the requests that are overdue and finds the next deadline.
func (c *Client) expire() {
	now := c.now()
	next := c.resume(now, math.MaxInt64)
	waiting := c.waiting
	c.waiting = nil // what ends may let others in
	for _, r := range waiting {
		switch {
		case r.deadline > now:
			next = min(next, r.deadline)
			c.waiting = append(c.waiting, r)
		case r.maybe && !r.repeatable():
			c.ended = append(c.ended, c.end(r, errorf(CodeTimeout, "%s; outcome unknown", c.unreachable().Message)))
		default:
			c.ended = append(c.ended, c.end(r, c.unreachable()))
		}
	}
	if s := c.sess; s != nil {
		waiting := s.waiting
		s.waiting = nil
		for _, r := range waiting {
			if r.deadline > now {
				next = min(next, r.deadline)
				s.waiting = append(s.waiting, r)
				continue
			}
			c.ended = append(c.ended, c.end(r, c.notEntered(s)))
		}
	}
	for _, k := range c.conns {
		next = min(next, c.expireOn(k, now))
	}
	for _, r := range c.later {
		next = min(next, r.tryEnd)
	}
	c.nextDeadline = next
}

// notEntered is the error of a call that found no place in the session.
func (c *Client) notEntered(s *session) *Error {
	switch {
	case s.id != 0:
		return errorf(CodeOverloaded, "%d calls of the session wait for answers; nothing happened", windowMax)
	case c.cur == nil:
		return c.unreachable()
	}
	return errorf(CodeNoLeader, "no session could be opened in time; nothing happened")
}

// expireOn ends what is overdue on a connection, or tries it elsewhere, and
// returns when the next request there is due.
func (c *Client) expireOn(k *conn, now int64) (next int64) {
	next = math.MaxInt64
	overdue := false
	for i := range k.slots { // what is sent meanwhile comes behind
		r := k.slots[i]
		if r == nil || r == abandoned {
			continue
		}
		due := r.deadline
		if r.sess != nil {
			due = r.tryEnd
		}
		if due > now {
			next = min(next, due)
			continue
		}
		overdue = true
		k.slots[i] = abandoned
		k.abandoned++
		if r.sess != nil {
			if r.maybe = true; c.retry(r) {
				c.rotate = c.rotate || c.cur == k
				continue
			}
		}
		c.ended = append(c.ended, c.end(r, overdueError(r, k.addr)))
	}
	if overdue && now-k.heard > int64(silenceMax) {
		k.fail(errorf(CodeTimeout, "no answer for %v", silenceMax))
	}
	return next
}

func overdueError(r *request, addr string) *Error {
	timeout := time.Duration(r.timeoutMs) * time.Millisecond
	if r.repeatable() {
		return errorf(CodeTimeout, "no answer from %s within %v", addr, timeout)
	}
	return errorf(CodeTimeout, "no answer from %s within %v; outcome unknown", addr, timeout)
}
