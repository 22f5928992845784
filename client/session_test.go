package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/internal/wire/wiretest"
)

// A machine is what the fake nodes of a test have in common: it opens sessions
// and carries out each serial once.
type machine struct {
	mu       sync.Mutex
	sessions map[uint64]map[uint64]int64 // results by serial
	opened   uint64
	value    int64
	tries    []string // "session/serial/acked" of every command
}

// run carries out a command and gives its encoded result.
func (m *machine) run(payload []byte) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := codec.NewDecoder(payload)
	h, err := command.DecodeHead(&d)
	if err != nil {
		panic(err)
	}
	one := func(n int64) []byte { return codec.AppendInt(codec.AppendArrayLen(nil, 1), n) }
	if h.Kind == command.Open {
		if m.sessions == nil {
			m.sessions = map[uint64]map[uint64]int64{}
		}
		m.opened++
		m.sessions[m.opened] = map[uint64]int64{}
		return command.AppendOK(nil, m.opened, one(int64(m.opened)))
	}
	if !h.In {
		panic(fmt.Sprintf("%x is in no session", payload))
	}
	m.tries = append(m.tries, fmt.Sprintf("%d/%d/%d", h.Session, h.Serial, h.Acked))
	results, ok := m.sessions[h.Session]
	if !ok {
		return command.AppendError(nil, 1, command.CodeSession, "expired", "", nil)
	}
	if h.Serial <= h.Acked {
		panic("an acknowledged call is asked again")
	}
	if _, again := results[h.Serial]; !again {
		m.value++
		results[h.Serial] = m.value
	}
	return command.AppendOK(nil, h.Serial, one(results[h.Serial]))
}

func (m *machine) expire() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions = map[uint64]map[uint64]int64{}
}

func (m *machine) log() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.tries)
}

// node is a fake node before the machine. spoil may keep an answer back or give
// another one; it is not asked about the opening of sessions.
func (m *machine) node(t *testing.T, spoil func(c *wiretest.Conn, r wire.Request, result []byte) []byte) string {
	n := &wiretest.Node{Handle: func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		if r.Op == wire.OpStatus {
			return answerStatus(b, r, nil)
		}
		result := m.run(r.Payload)
		if spoil != nil && !opens(r) {
			if result = spoil(c, r, result); result == nil {
				return b
			}
		}
		return wire.AppendReply(b, r.ID, result)
	}}
	addr, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return addr
}

func failing(code Code) []byte { return command.AppendError(nil, 0, code, "not now", "", nil) }

// The first answer is lost or says nothing: the call is asked again, through
// the other node where that may help, and has happened once.
func TestLostAnswerIsAskedFor(t *testing.T) {
	for name, spoil := range map[string]func(c *wiretest.Conn) []byte{
		"connection lost": func(c *wiretest.Conn) []byte { c.Close(); return nil },
		"timeout":         func(*wiretest.Conn) []byte { return failing(CodeTimeout) },
	} {
		t.Run(name, func(t *testing.T) {
			m := new(machine)
			var calls atomic.Int32
			lossy := func(c *wiretest.Conn, _ wire.Request, result []byte) []byte {
				switch calls.Add(1) {
				case 2:
					return spoil(c)
				case 3: // what is no_leader for the second try is not for the first
					return failing(CodeNoLeader)
				}
				return result
			}
			c := dial(t, Config{Addrs: []string{m.node(t, lossy), m.node(t, lossy)}})
			for i := range 4 {
				v, err := c.Call(context.Background(), "o", "m")
				if err != nil || v[0] != int64(i+1) {
					t.Fatalf("%v, %v, want %d", v, err, i+1)
				}
			}
			if got, want := m.log(), "[1/1/0 1/2/1 1/2/1 1/2/1 1/3/2 1/4/3]"; got != want {
				t.Errorf("%s, want %s", got, want)
			}
		})
	}
}

// A node that keeps a call for too long is not the only one that is asked.
func TestSilentTry(t *testing.T) {
	m := new(machine)
	arrived := make(chan struct{})
	var calls atomic.Int32
	silent := func(_ *wiretest.Conn, _ wire.Request, result []byte) []byte {
		if calls.Add(1) == 1 {
			close(arrived)
			return nil
		}
		return result
	}
	c := dial(t, Config{Addrs: []string{m.node(t, silent), m.node(t, silent)}})
	end := make(chan outcome, 1)
	c.Do(wire.OpPropose, Linearizable, 0, command.AppendCall(nil, 0, 0, "o", "m", nil), func(r command.Result, err error) { end <- outcome{r, err} })
	<-arrived
	c.mu.Lock()
	for _, r := range c.cur.slots {
		if r != nil && r.sess != nil {
			r.tryEnd = 0
		}
	}
	c.wakeAt(0)
	c.mu.Unlock()
	if o := <-end; o.err != nil || m.log() != "[1/1/0 1/1/0]" {
		t.Errorf("%v, %s", o.err, m.log())
	}
}

func TestSessionExpired(t *testing.T) {
	m := new(machine)
	lose := new(atomic.Bool)
	c := dial(t, Config{Addrs: []string{m.node(t, func(c *wiretest.Conn, _ wire.Request, result []byte) []byte {
		if lose.Swap(false) {
			m.expire()
			c.Close()
			return nil
		}
		return result
	})}})
	ctx := context.Background()
	if _, err := c.Call(ctx, "o", "m"); err != nil {
		t.Fatal(err)
	}
	m.expire() // a call that was not tried goes into a new session
	if v, err := c.Call(ctx, "o", "m"); err != nil || v[0] != int64(2) {
		t.Fatalf("%v, %v", v, err)
	}
	lose.Store(true) // of one that was, nobody knows
	_, err := c.Call(ctx, "o", "m")
	wantCode(t, err, CodeTimeout, "the session expired before it was known what came of the call; outcome unknown")
	if v, err := c.Call(ctx, "o", "m"); err != nil || v[0] != int64(4) {
		t.Fatalf("%v, %v", v, err)
	}
	if got, want := m.log(), "[1/1/0 1/2/1 2/1/0 2/2/1 2/2/1 3/1/0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A cluster that knows no session at all is not asked for ever.
func TestSessionNeverAccepted(t *testing.T) {
	m := new(machine)
	c := dial(t, Config{Addrs: []string{m.node(t, func(*wiretest.Conn, wire.Request, []byte) []byte { return failing(command.CodeSession) })}})
	_, err := c.Call(context.Background(), "o", "m")
	wantCode(t, err, CodeSession, "not now")
}

// The opening of a session is tried again like a call that had no effect.
func TestSessionOpening(t *testing.T) {
	m := new(machine)
	var asked atomic.Int32
	n := &wiretest.Node{Handle: func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		switch {
		case r.Op == wire.OpStatus:
			return answerStatus(b, r, nil)
		case opens(r) && asked.Add(1) == 1:
			return wire.AppendReply(b, r.ID, failing(CodeNoLeader))
		case opens(r) && asked.Load() == 2:
			c.Close()
			return b
		}
		return wire.AppendReply(b, r.ID, m.run(r.Payload))
	}}
	addr, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Stop()
	c := dial(t, Config{Addrs: []string{addr}})
	if v, err := c.Call(context.Background(), "o", "m"); err != nil || v[0] != int64(1) {
		t.Fatalf("%v, %v", v, err)
	}
	if got, want := m.log(), "[1/1/0]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// More calls than the window takes wait in the client, in order; answers may
// come in any order.
func TestSessionWindow(t *testing.T) {
	const total = 3000
	var mu sync.Mutex
	var held []wire.Request
	var open []uint64 // their serials
	full := make(chan struct{}, 1)
	h := func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		d := codec.NewDecoder(r.Payload)
		head, err := command.DecodeHead(&d)
		if err != nil || head.Serial-head.Acked > windowMax {
			t.Errorf("%+v, %v", head, err)
		}
		mu.Lock()
		defer mu.Unlock()
		open = append(open, head.Serial)
		if head.Acked >= slices.Min(open) {
			t.Errorf("%d are acknowledged, %d is not answered", head.Acked, slices.Min(open))
		}
		if held = append(held, r); len(held) == windowMax || head.Serial == total {
			select {
			case full <- struct{}{}:
			default:
			}
		}
		return b
	}
	conns := make(chan *wiretest.Conn, 1)
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		select {
		case conns <- c:
		default:
		}
		return h(c, r, b)
	})}})
	var ended sync.WaitGroup
	ended.Add(total)
	for range total {
		c.Do(wire.OpPropose, Linearizable, 0, command.AppendCall(nil, 0, 0, "o", "m", nil), func(_ command.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			ended.Done()
		})
	}
	nc := <-conns
	for left := total; left > 0; {
		<-full
		mu.Lock()
		rand.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		var b []byte
		for _, r := range held {
			if err := nc.Send(answerOK(b, r)); err != nil {
				t.Error(err)
			}
		}
		left -= len(held)
		held, open = held[:0], open[:0]
		mu.Unlock()
	}
	ended.Wait()
	if c.sess.floor != total {
		t.Errorf("the floor is %d", c.sess.floor)
	}
}

// The floor is what is below the first serial that has not ended.
func TestSessionFloor(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s session
	open := map[uint64]bool{}
	for range 100_000 {
		if s.serial-s.floor < windowMax && rng.IntN(2) == 0 {
			s.serial++
			open[s.serial] = true
		} else if s.serial > s.floor {
			serial := s.floor + 1 + rng.Uint64N(s.serial-s.floor)
			if open[serial] {
				delete(open, serial)
				s.over(serial)
			}
		}
		if s.serial > s.floor && !open[s.floor+1] {
			t.Fatalf("the floor is %d, and %d has ended", s.floor, s.floor+1)
		}
	}
	for serial := range open {
		if serial <= s.floor {
			t.Fatalf("the floor is %d, and %d is open", s.floor, serial)
		}
	}
}

// A closed client answers all that waits for a session or between two tries.
func TestCloseInSession(t *testing.T) {
	m := new(machine)
	tried := make(chan struct{}, 100)
	c := dial(t, Config{Addrs: []string{m.node(t, func(*wiretest.Conn, wire.Request, []byte) []byte {
		select {
		case tried <- struct{}{}:
		default:
		}
		return failing(CodeTimeout)
	})}})
	ended := make(chan error, 10)
	for range cap(ended) {
		c.Do(wire.OpPropose, Linearizable, 0, command.AppendCall(nil, 0, 0, "o", "m", nil), func(_ command.Result, err error) { ended <- err })
	}
	<-tried
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for range cap(ended) {
		err := <-ended
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeTimeout && e.Code != CodeClosed {
			t.Error(err)
		}
	}
}
