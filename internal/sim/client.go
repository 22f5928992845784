package main

import (
	_ "embed"
	"fmt"
	"strings"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
	"github.com/syncsh/syncsh/scripts"
)

//go:embed ledger.lua
var ledgerSource string

// opKind is what a client asks for.
type opKind uint8

const (
	opInc      opKind = iota + 1 // counter:inc(1)
	opAdd                        // ledger:add(id)
	opCounter                    // counter:get()
	opLedger                     // ledger:get()
	opCount                      // ledger:count(id of an earlier call)
	opDeploy                     // counter.lua and ledger.lua
	opSnapshot                   // take one now
	opTransfer                   // hand leadership to another member
	opMember                     // change the configuration
	opOpen                       // open a session
	opLater                      // ledger:later(id, seconds): ledger:ring(id), once, then
	opRevision                   // ledger:revision()
	opRings                      // ledger:rings(), when no timer waits any more
	opSetting                    // session_ttl or sessions
)

func (k opKind) String() string {
	return [...]string{"?", "counter:inc", "ledger:add", "counter:get", "ledger:get", "ledger:count", "deploy", "snapshot", "transfer", "member", "open",
		"ledger:later", "ledger:revision", "ledger:rings", "setting"}[k]
}

func (k opKind) writes() bool { return k == opInc || k == opAdd || k == opLater }
func (k opKind) reads() bool {
	return k == opCounter || k == opLedger || k == opCount || k == opRevision
}

// fate is what a client knows of its request.
type fate uint8

const (
	waiting fate = iota
	happened
	never   // the answer, or a refused connection, says that nothing happened
	unknown // no answer, or one that says so
)

// op is one request. A call of a session that got no answer is asked again, by
// an op of its own.
type op struct {
	id      uint64
	kind    opKind
	stale   bool
	mode    wire.Mode // of a read that is not stale
	about   *op       // opCount: whose id is looked up
	to      *member
	life    int
	took    bool // the member was given it
	answers int  // by the member
	fate    fate
	floor   raft.Index // the highest index that anybody had been told of when it began
	by      *client

	began, ended int64 // of a first try: when it was asked for, and when it was first answered
	known        bool  // of a first try: what it returned, in value
	value        int64
	revision     int64              // opDeploy
	change       *raft.ConfigChange // opMember
	setting      *setting           // opSetting

	session, serial, acked uint64
	first                  *op  // of a further try: the first one
	tries                  int  // of a first one
	settled                bool // of a first one: it happened, did not, or was given up
}

func (o *op) String() string {
	if o.first != nil {
		return fmt.Sprintf("#%d, another try of %v", o.id, o.first)
	}
	return fmt.Sprintf("#%d %v", o.id, o.kind)
}

// call is the first try.
func (o *op) call() *op {
	if o.first != nil {
		return o.first
	}
	return o
}

// laterMax is how long a timer waits at most, in 100 ms.
const laterMax = 15

// newDeploy deploys ledger.lua with a change: it knows its revision.
func (w *world) newDeploy() *op {
	w.revision++
	return &op{kind: opDeploy, revision: w.revision}
}

func ledgerOf(revision int64) string {
	return strings.Replace(ledgerSource, "return 0 -- revision", fmt.Sprintf("return %d", revision), 1)
}

// triesMax is after how many tries a client gives a call up.
const triesMax = 30

// client asks a few things at once, waits for the answers, thinks, and asks
// again.
type client struct {
	w        *world
	open     int
	once     bool   // it asks nothing of its own accord
	sessions bool   // it wants one
	session  uint64 // 0: none
	calls    []*op  // of the session, by serial-1
}

// acked is how far the calls of the session are settled.
func (c *client) acked() (n uint64) {
	for int(n) < len(c.calls) && c.calls[n].settled {
		n++
	}
	return n
}

func (w *world) makeClients() {
	for range w.profile.clients {
		c := &client{w: w, sessions: w.rng.IntN(2) == 0}
		w.clients = append(w.clients, c)
		w.after(w.between(second/2, second), c.next)
	}
}

// next asks again, if the world has not come to its end.
func (c *client) next() {
	w := c.w
	if !w.faults {
		return
	}
	if !w.history.deployed {
		if c == w.clients[0] {
			c.ask(w.newDeploy(), w.anyMember())
		} else {
			w.after(w.between(50*millisecond, 200*millisecond), c.next)
		}
		return
	}
	to := w.anyMember()
	if s := w.unset(); s != nil && c == w.clients[0] {
		c.ask(&op{kind: opSetting, setting: s}, to)
		return
	}
	if c.sessions && c.session == 0 {
		c.ask(&op{kind: opOpen}, to)
		return
	}
	for range 1 + w.rng.IntN(4) {
		c.ask(c.draw(), to)
		if w.rng.IntN(2) == 0 {
			to = w.anyMember()
		}
	}
}

func (c *client) draw() *op {
	w := c.w
	switch w.rng.IntN(15) {
	case 0, 1, 2:
		return &op{kind: opInc}
	case 3, 4, 5:
		return &op{kind: opAdd}
	case 6:
		return &op{kind: opCounter, mode: pick(w.rng, wire.Linearizable, wire.Lease)}
	case 7:
		return &op{kind: opLedger, mode: pick(w.rng, wire.Lease, wire.Bounded(500*time.Millisecond), wire.Bounded(3*time.Second))}
	case 8:
		return &op{kind: opLedger, stale: true}
	case 9:
		return &op{kind: opRevision}
	case 10:
		return &op{kind: opLater}
	}
	return &op{kind: opCount, about: w.history.anyAdd(), stale: w.rng.IntN(4) == 0}
}

// request is what goes to the member.
func (o *op) request(timeoutMs uint32) wire.Request {
	req := wire.Request{ID: o.id, Op: wire.OpPropose, TimeoutMs: timeoutMs}
	one := func(v uint64) []byte { return codec.AppendUint(codec.AppendArrayLen(nil, 1), v) }
	switch o.kind {
	case opInc: // the serial says in the log whose call it is; session 0 is none
		req.Payload = o.inSession(command.AppendCall(nil, 0, o.id, "counter", "inc", one(1)))
	case opAdd:
		req.Payload = o.inSession(command.AppendCall(nil, 0, o.id, "ledger", "add", one(o.call().id)))
	case opLater:
		req.Payload = o.inSession(command.AppendCall(nil, 0, o.id, "ledger", "later", one(o.call().id%laterMax)))
	case opOpen:
		req.Payload = command.AppendOpen(nil)
	case opSetting:
		req.Payload = command.AppendSetting(nil, 0, o.id, o.setting.name, float64(o.setting.value))
	case opCounter:
		req.Op, req.Payload = wire.OpQuery, command.AppendQuery(nil, "counter", "get", nil)
	case opLedger:
		req.Op, req.Payload = wire.OpQuery, command.AppendQuery(nil, "ledger", "get", nil)
	case opCount:
		req.Op, req.Payload = wire.OpQuery, command.AppendQuery(nil, "ledger", "count", one(o.about.id))
	case opRevision:
		req.Op, req.Payload = wire.OpQuery, command.AppendQuery(nil, "ledger", "revision", nil)
	case opRings:
		req.Op, req.Payload = wire.OpQuery, command.AppendQuery(nil, "ledger", "rings", nil)
	case opDeploy:
		counter, _ := scripts.Get("counter.lua")
		req.Op = wire.OpDeploy
		req.Payload = command.AppendDeploy(nil, 0, o.id, []command.Script{counter, {Name: "ledger.lua", Source: ledgerOf(o.revision)}})
	case opSnapshot:
		req.Op = wire.OpSnapshot
	}
	req.Mode = o.mode
	if o.stale {
		req.Mode = wire.Stale
	}
	return req
}

// inSession makes a command one of the op's session.
func (o *op) inSession(cmd []byte) []byte {
	if o.session == 0 {
		return cmd
	}
	return command.AppendIn(nil, cmd, o.session, o.serial, o.acked)
}

// enter gives an op its place in the client's session. A further try stays in
// the session of the first.
func (c *client) enter(o *op) {
	if o.first == nil {
		if c.session == 0 || !o.kind.writes() {
			return
		}
		c.calls = append(c.calls, o)
		o.session, o.serial = c.session, uint64(len(c.calls))
	}
	o.call().tries++
	if o.session == c.session {
		o.acked = c.acked()
	}
}

// leave ends a session for the client, who was told that it has expired: what is
// still unknown of its calls stays so.
func (c *client) leave(session uint64) {
	if c.session == session {
		c.session, c.calls = 0, nil
	}
}

// again asks for the outcome of a call that is still unknown. It tells whether
// it will.
func (c *client) again(o *op, f fate) bool {
	first := o.call()
	if o.session == 0 || first.settled {
		return false
	}
	if f == happened || f == never || first.tries >= triesMax || o.session != c.session {
		first.settled = true
		return false
	}
	w := c.w
	w.after(w.between(10*millisecond, 300*millisecond), func() {
		c.open--
		if first.settled { // by a late answer
			c.idle()
			return
		}
		c.ask(&op{kind: o.kind, session: o.session, serial: o.serial, first: first}, w.anyMember())
	})
	return true
}

// idle goes on when nothing is open.
func (c *client) idle() {
	if w := c.w; c.open == 0 && !c.once {
		w.after(w.between(0, 100*millisecond), c.next)
	}
}

// ask sends a request to a member.
func (c *client) ask(o *op, to *member) { c.askWith(o, to, nil) }

// askWith sends a request whose kind needs a payload made by the caller.
func (c *client) askWith(o *op, to *member, change func(*wire.Request)) {
	w := c.w
	c.enter(o)
	w.history.begin(o)
	o.by, o.to = c, to
	timeout := uint32(pick(w.rng, 300, 1000, 4000))
	if !w.faults {
		timeout = 4000
	}
	req := o.request(timeout)
	if change != nil {
		change(&req)
	}
	c.open++
	w.after(w.between(50*microsecond, 2*millisecond), func() {
		if !to.up {
			c.end(o, never)
			return
		}
		o.took, o.life = true, to.life
		w.log("client -> %v: %v, %d ms", to, o, timeout)
		to.in.requests = append(to.in.requests, request{o, req, o.change})
		to.wake()
	})
	w.after(int64(timeout)*millisecond+w.between(second, 2*second), func() { c.end(o, unknown) })
}

// Reply implements replica.Replier: the answer sets out for the client.
func (o *op) Reply(id uint64, result []byte) {
	w := o.by.w
	if id != o.id {
		w.fail(answersRight, "%v is answered under id %d", o, id)
	}
	if o.answers++; o.answers > 1 {
		w.fail(answersRight, "%v is answered twice by %v", o, o.to)
	}
	answer := append([]byte(nil), result...)
	if w.chance(0.01) {
		w.stats.lostAnswers++
		w.log("client <- %v: the answer to %v is lost", o.to, o)
		return
	}
	w.after(w.between(50*microsecond, 2*millisecond), func() { o.by.answered(o, answer) })
}

// answered takes an answer, perhaps one that comes after the client gave up.
func (c *client) answered(o *op, answer []byte) {
	w := c.w
	d := codec.NewDecoder(answer)
	res, err := command.DecodeResult(&d)
	if err != nil {
		w.fail(answersRight, "%v is answered with %x: %v", o, answer, err)
	}
	if res.Code == command.CodeOK {
		w.log("client <- %v: %v at %d", o.to, o, res.Index)
	} else {
		w.log("client <- %v: %v: %v: %s", o.to, o, res.Code, res.Message)
	}
	f := w.history.answered(o, res)
	if res.Code == command.CodeSession {
		c.leave(o.session)
	}
	if o.kind == opOpen && f == happened {
		c.session = res.Index
	}
	c.end(o, f)
}

// end closes a request for its client; the first word counts.
func (c *client) end(o *op, f fate) {
	w := c.w
	if o.fate == waiting || o.fate == unknown {
		if f == never && o.session != 0 && (o.call().tries > 1 || o.fate == unknown) {
			f = unknown // this try did nothing, another one has or may
		}
		was := o.fate
		o.fate = f
		w.history.ended(o)
		if was == unknown {
			if f == happened {
				o.call().settled = true
			}
			return
		}
		if !c.again(o, f) {
			c.open--
			c.idle()
		}
	}
}

// clientsLose tells clients that their connection to a member broke.
func (w *world) clientsLose(m *member) {
	for _, o := range w.history.ops {
		if o.to == m && o.fate == waiting && o.took {
			w.after(w.between(0, 10*millisecond), func() { o.by.end(o, unknown) })
		}
	}
}
