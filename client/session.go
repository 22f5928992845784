package client

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// windowMax bounds the calls of a session between the oldest that has no
	// answer and the newest; the cluster takes no more.
	windowMax = 1024
	// A call of a session is given to a node for a part of its time only, so that
	// another node can be tried: a third, but not less than tryMin.
	tryPart = 3
	tryMin  = time.Second
)

// A session makes further tries of a call safe: the cluster carries out a serial
// once and answers every try with the first result. All is guarded by the
// Client's mu.
type session struct {
	id     uint64 // 0 until it is open
	serial uint64 // given last
	// floor is the highest serial up to which all have ended. It goes with every
	// call, and the cluster forgets the results up to it; what was given up below
	// it can't happen any more.
	floor uint64
	// ended has a bit for each serial above the floor, at its place modulo
	// windowMax.
	ended   [windowMax / 64]uint64
	waiting []*request // for the session to be open, or for room in the window
}

// over notes that a serial needs no answer any more.
func (s *session) over(serial uint64) {
	i := serial % windowMax
	s.ended[i/64] |= 1 << (i % 64)
	for {
		i = (s.floor + 1) % windowMax
		if s.ended[i/64]&(1<<(i%64)) == 0 {
			return
		}
		s.ended[i/64] &^= 1 << (i % 64)
		s.floor++
	}
}

// inSession tells whether a request is to be one of a session.
func (c *Client) inSession(op wire.Op, payload []byte) bool {
	return !c.cfg.NoSession && (op == wire.OpPropose || op == wire.OpDeploy) && command.CanBeIn(payload)
}

// enter gives a request a place in the session and sends it, at once or when
// there is room.
func (c *Client) enter(r *request) {
	switch s := c.sess; {
	case c.closed:
		c.again(r)
	case s == nil:
		c.openSession()
		c.sess.waiting = append(c.sess.waiting, r)
	case s.room() && len(s.waiting) == 0:
		c.give(s, r)
	default:
		s.waiting = append(s.waiting, r)
	}
}

func (s *session) room() bool { return s.id != 0 && s.serial-s.floor < windowMax }

func (c *Client) give(s *session, r *request) {
	s.serial++
	r.sess, r.serial = s, s.serial
	c.again(r)
}

// admit sends what waits and has room now.
func (c *Client) admit(s *session) {
	for len(s.waiting) > 0 && s.room() {
		r := s.waiting[0]
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
		c.give(s, r)
	}
}

// openSession asks for a session. Those that wait for it fail with the request.
func (c *Client) openSession() {
	s := new(session)
	c.sess = s
	c.start(c.cur, request{op: wire.OpPropose, payload: command.AppendOpen(nil), opens: true, done: func(res command.Result, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if err == nil {
			d := codec.NewDecoder(res.Values)
			if err = d.FixedArray(1); err == nil {
				s.id, err = d.Uint()
			}
		}
		if err == nil && s.id != 0 {
			c.admit(s)
			return
		}
		if c.sess == s {
			c.sess = nil
		}
		code, why := CodeOf(err), "the node's answer can't be read"
		var e *Error
		if errors.As(err, &e) {
			why = e.Message // its code becomes that of the call
		} else if err != nil {
			why = err.Error()
		}
		if code == CodeTimeout || code == CodeOK {
			code = CodeNoLeader // the calls have not been sent
		}
		c.endAll(s, errorf(code, "no session could be opened: %s", why))
	}}, c.cfg.Timeout)
}

// endAll ends all that wait for a session.
func (c *Client) endAll(s *session, err error) {
	for _, r := range s.waiting {
		c.ended = append(c.ended, c.end(r, err))
	}
	s.waiting = nil
	c.kick()
}

// stamp is the request's payload as it goes over the wire, and for how long the
// node may keep it. The bytes are valid until the next call.
func (k *conn) stamp(r *request) (payload []byte, timeoutMs uint32) {
	if r.sess == nil {
		return r.payload, r.timeoutMs
	}
	c, now := k.c, k.c.now()
	left := time.Duration(r.limit - now)
	try := max(time.Duration(r.timeoutMs)*time.Millisecond/tryPart, tryMin)
	if left < try+try/2 {
		try = max(left, time.Millisecond)
	}
	r.tryEnd = min(now+int64(try+min(graceMax, try/10)), r.deadline)
	c.wakeAt(r.tryEnd)
	c.stamped = command.AppendIn(c.stamped[:0], r.payload, r.sess.id, r.serial, r.sess.floor)
	payload = c.stamped
	if cap(c.stamped) > outBytesKept {
		c.stamped = nil
	}
	return payload, millis(try)
}

// unsettled takes an answer to a call of a session that doesn't say what came of
// the call. It says true when there will be another try, else it may change the
// answer to what the caller is to know.
func (k *conn) unsettled(r *request, res *command.Result) bool {
	c := k.c
	switch res.Code {
	case CodeTimeout:
		r.maybe = true
	case CodeNoLeader, CodeOverloaded, CodeClosed, CodeDiverged:
		if !r.maybe {
			return false
		}
	case command.CodeSession:
		return c.sessionLost(r, res)
	default:
		return false
	}
	if res.Code != CodeOverloaded && c.cur == k {
		c.rotate = true
		c.kick()
	}
	if c.retry(r) {
		return true
	}
	if res.Code != CodeTimeout {
		*res = command.Result{Code: CodeTimeout, Message: "an earlier try was not answered, the last one with: " + res.Message + "; outcome unknown"}
	}
	return false
}

// sessionLost takes the answer that the cluster has no such session. A call that
// was not tried before certainly didn't happen and goes into a new one.
func (c *Client) sessionLost(r *request, res *command.Result) bool {
	s := r.sess
	if c.sess == s {
		c.sess = nil
	}
	waiting := s.waiting
	s.waiting = nil
	again := !r.maybe && !r.renewed
	if r.maybe {
		*res = command.Result{Code: CodeTimeout, Message: "the session expired before it was known what came of the call; outcome unknown"}
	} else if again {
		s.over(r.serial)
		r.sess, r.serial, r.renewed = nil, 0, true
		c.enter(r)
	}
	for _, w := range waiting {
		c.enter(w)
	}
	return again
}

// retry has a call tried again after a pause, if there is time.
func (c *Client) retry(r *request) bool {
	now := c.now()
	r.pause = min(max(2*r.pause, retryMin), retryMax)
	at := now + int64(r.pause/2+rand.N(r.pause))
	if c.closed || at+int64(retryMin) >= r.limit {
		return false
	}
	r.tryEnd = at
	c.later = append(c.later, r)
	c.wakeAt(at)
	return true
}

// resume sends the calls whose pause is over and returns when the next one is.
func (c *Client) resume(now, next int64) int64 {
	later := c.later
	c.later = nil
	for _, r := range later {
		if r.tryEnd > now {
			next = min(next, r.tryEnd)
			c.later = append(c.later, r)
			continue
		}
		c.again(r)
	}
	return next
}
