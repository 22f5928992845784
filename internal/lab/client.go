package lab

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// callTimeout is how long a call is tried.
	callTimeout = 30 * time.Second
	// tryTimeout is how long a node has for an answer until another one is asked.
	tryTimeout = 2 * time.Second
	// Tries are this far apart, doubled each time.
	retryMin = 10 * time.Millisecond
	retryMax = 300 * time.Millisecond
	// windowMax bounds the calls of a session between the oldest without an answer
	// and the newest; the cluster takes no more.
	windowMax = 1024
)

// Client is a program with a connection to the cluster and a session of its own,
// as package client has them.
type Client struct {
	w    *World
	name string
	node *member // asked last
	dead bool

	session uint64 // 0 until it is open
	opening bool
	serial  uint64 // given last
	floor   uint64 // all serials up to it have ended
	ended   map[uint64]bool
	waiting []*call // for the session
	nextTry uint64
}

// call is one request of a client.
type call struct {
	c       *Client
	op      wire.Op
	mode    wire.Mode
	payload []byte
	done    func(command.Result, error)
	expiry  *Event // its time is over
	session uint64 // 0: of none
	serial  uint64
	try     *try // under way, nil between two
	pause   time.Duration
	maybe   bool // a try may have been carried out
	over    bool
}

// try is a call at one node.
type try struct {
	call  *call
	id    uint64
	to    *member
	taken bool // the node was given it
	over  bool
}

// NewClient returns a client; it opens its session with its first call.
func (w *World) NewClient(name string) *Client {
	return &Client{w: w, name: name, ended: map[uint64]bool{}}
}

// Name is what the client was called.
func (c *Client) Name() string { return c.name }

// Kill ends the client. What it asked for may still happen; nobody is told.
func (c *Client) Kill() {
	if !c.dead {
		c.w.Tell("client %s dies", c.name)
	}
	c.dead = true
}

// Do sends a request; done is called once, in a Step, unless the client is killed
// before. Answers that say that nothing happened are followed by another try
// until the time is over.
func (c *Client) Do(op wire.Op, mode wire.Mode, timeout time.Duration, payload []byte, done func(command.Result, error)) {
	if timeout <= 0 {
		timeout = callTimeout
	}
	a := &call{c: c, op: op, mode: mode, payload: payload, done: done, pause: retryMin}
	a.expiry = c.w.after(timeout, a.expire)
	c.w.provoke()
	c.enter(a)
}

// Exec sends a request and lets time pass until it has ended. It is not for
// functions that are called in a Step.
func (c *Client) Exec(ctx context.Context, op wire.Op, mode wire.Mode, payload []byte) (res command.Result, err error) {
	ended := false
	c.Do(op, mode, 0, payload, func(r command.Result, e error) { res, err, ended = r, e, true })
	for !ended {
		if ctx.Err() != nil {
			return res, &command.Error{Code: command.CodeTimeout, Message: ctx.Err().Error()}
		}
		if !c.w.Step() {
			return res, c.w.Err()
		}
	}
	return res, err
}

// enter gives a call its place in the session, if it is to have one, and begins.
func (c *Client) enter(a *call) {
	if a.op != wire.OpPropose && a.op != wire.OpDeploy || !command.CanBeIn(a.payload) {
		a.begin()
		return
	}
	if c.session == 0 || c.serial-c.floor >= windowMax {
		c.waiting = append(c.waiting, a)
		c.open()
		return
	}
	c.serial++
	a.session, a.serial = c.session, c.serial
	a.begin()
}

// open opens a session; those that wait for it end by their own time.
func (c *Client) open() {
	if c.opening || c.session != 0 {
		return
	}
	c.opening = true
	a := &call{c: c, op: wire.OpPropose, payload: command.AppendOpen(nil), pause: retryMin}
	a.expiry = c.w.after(callTimeout, a.expire)
	a.done = func(res command.Result, err error) {
		c.opening = false
		if err == nil {
			c.session = res.Index // the id is where the session was opened
			c.serial, c.floor = 0, 0
			clear(c.ended)
		}
		c.admit()
	}
	a.begin()
}

// admit gives those that wait a place in the session.
func (c *Client) admit() {
	waiting := slices.DeleteFunc(c.waiting, func(a *call) bool { return a.over })
	c.waiting = nil
	for _, a := range waiting {
		c.enter(a)
	}
}

// repeatable tells whether a call may be tried again after it may have been
// carried out.
func (a *call) repeatable() bool {
	return a.session != 0 || a.op == wire.OpQuery || a.op == wire.OpCheck || slices.Equal(a.payload, command.AppendOpen(nil))
}

// begin gives the call to a node.
func (a *call) begin() {
	c, w := a.c, a.c.w
	if a.over || c.dead {
		return
	}
	if c.node == nil {
		c.node = w.anyMember()
	}
	c.nextTry++
	t := &try{call: a, id: c.nextTry, to: c.node}
	a.try = t
	w.after(w.between(delayMin, delayMax), func() {
		switch {
		case t.over:
		case !t.to.up:
			t.end(false)
		case w.chance(unheardChance):
			w.stats.Unheard++
			t.end(false) // the connection breaks before
		default:
			t.taken = true
			t.to.tries = append(t.to.tries, t)
			t.to.in.requests = append(t.to.in.requests, t)
			t.to.wake()
		}
	})
	w.after(tryTimeout+w.between(0, retryMax), func() {
		if !t.over {
			t.end(t.taken)
		}
	})
}

// request is what goes to the node.
func (t *try) request() wire.Request {
	a := t.call
	req := wire.Request{ID: t.id, Op: a.op, Mode: a.mode, TimeoutMs: uint32(tryTimeout.Milliseconds()), Payload: a.payload}
	if a.session != 0 {
		req.Payload = command.AppendIn(nil, a.payload, a.session, a.serial, a.c.floor)
	}
	return req
}

// Reply implements replica.Replier: the answer sets out for the client.
func (t *try) Reply(id uint64, result []byte) {
	w := t.call.c.w
	if id != t.id {
		w.fail(fmt.Errorf("%v answers request %d under id %d", t.to, t.id, id))
		return
	}
	t.to.tries = slices.DeleteFunc(t.to.tries, func(x *try) bool { return x == t })
	if w.chance(unheardChance) {
		w.stats.Unheard++
		t.broken()
		return
	}
	answer := slices.Clone(result)
	w.after(w.between(delayMin, delayMax), func() { t.answered(answer) })
}

// broken: the connection to the node broke before the answer came.
func (t *try) broken() {
	w := t.call.c.w
	w.after(w.between(0, 10*time.Millisecond), func() {
		if !t.over {
			t.end(true)
		}
	})
}

// end ends a try without an answer; maybe says that it may have been carried out.
func (t *try) end(maybe bool) {
	t.over = true
	a := t.call
	a.try = nil
	a.maybe = a.maybe || maybe
	a.again(true)
}

// answered takes an answer.
func (t *try) answered(answer []byte) {
	if t.over || t.call.over || t.call.c.dead {
		return
	}
	t.over = true
	a := t.call
	a.try = nil
	d := codec.NewDecoder(answer)
	res, err := command.DecodeResult(&d)
	if err != nil {
		a.c.w.fail(fmt.Errorf("%v answers with %x: %w", t.to, answer, err))
		return
	}
	switch res.Code {
	case command.CodeTimeout:
		a.maybe = true
		a.again(true)
	case command.CodeNoLeader, command.CodeClosed, command.CodeDiverged:
		a.again(true)
	case command.CodeOverloaded:
		a.again(false)
	case command.CodeSession:
		a.sessionLost()
	default:
		a.end(res, res.Err())
	}
}

// sessionLost takes the answer that the cluster has no such session. A call that
// certainly did not happen goes into a new one.
func (a *call) sessionLost() {
	c := a.c
	if c.session == a.session {
		c.session = 0
	}
	if a.maybe {
		a.end(command.Result{}, &command.Error{Code: command.CodeTimeout, Message: "the session expired before it was known what came of the call; outcome unknown"})
		return
	}
	a.session, a.serial = 0, 0
	c.enter(a)
}

// again tries a call once more after a pause, at another node where that may help.
func (a *call) again(elsewhere bool) {
	c, w := a.c, a.c.w
	if a.over || c.dead {
		return
	}
	if a.maybe && !a.repeatable() {
		a.end(command.Result{}, unknown())
		return
	}
	if elsewhere {
		c.node = w.anyMember()
	}
	w.stats.Retries++
	w.after(w.between(a.pause/2, a.pause), a.begin)
	a.pause = min(2*a.pause, retryMax)
}

func unknown() error {
	return &command.Error{Code: command.CodeTimeout, Message: "no answer in time; outcome unknown"}
}

// expire ends a call whose time is over.
func (a *call) expire() {
	if a.maybe || a.try != nil && a.try.taken {
		a.end(command.Result{}, unknown())
		return
	}
	a.end(command.Result{}, &command.Error{Code: command.CodeNoLeader, Message: "no leader could be asked in time; nothing happened"})
}

// end ends a call.
func (a *call) end(res command.Result, err error) {
	if a.over {
		return
	}
	a.over = true
	a.expiry.Stop()
	if c := a.c; a.session != 0 && a.session == c.session {
		c.ended[a.serial] = true
		for c.ended[c.floor+1] {
			c.floor++
			delete(c.ended, c.floor)
		}
		if len(c.waiting) > 0 {
			c.admit()
		}
	}
	if !a.c.dead {
		a.done(res, err)
	}
}
