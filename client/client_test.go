package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/internal/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type handler = func(c *wiretest.Conn, r wire.Request, b []byte) []byte

// start runs a fake node that answers status questions itself.
func start(t *testing.T, n *wiretest.Node, status *NodeStatus, h handler) string {
	t.Helper()
	n.Handle = func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		if r.Op == wire.OpStatus {
			return answerStatus(b, r, status)
		}
		if opens(r) {
			return answerOK(b, r, 1)
		}
		return h(c, r, b)
	}
	addr, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return addr
}

// opens tells whether a request asks for a session.
func opens(r wire.Request) bool { return bytes.Equal(r.Payload, command.AppendOpen(nil)) }

func answerStatus(b []byte, r wire.Request, s *NodeStatus) []byte {
	if s == nil {
		s = &NodeStatus{}
	}
	p, err := wire.EncodeNodeStatus(s)
	if err != nil {
		panic(err)
	}
	return wire.AppendReply(b, r.ID, command.AppendOK(nil, 0, codec.AppendBytes(codec.AppendArrayLen(nil, 1), p)))
}

func answerOK(b []byte, r wire.Request, values ...any) []byte {
	v, err := EncodeArgs(values...)
	if err != nil {
		panic(err)
	}
	return wire.AppendReply(b, r.ID, command.AppendOK(nil, 7, v))
}

func answerCode(b []byte, r wire.Request, code Code, message string) []byte {
	return wire.AppendReply(b, r.ID, command.AppendError(nil, 0, code, message, "", nil))
}

func dial(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := Dial(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wantCode(t *testing.T, err error, code Code, text string) {
	t.Helper()
	if CodeOf(err) != code || !strings.Contains(fmt.Sprint(err), text) {
		t.Fatalf("got %v, want %v with %q", err, code, text)
	}
}

// echo answers a call with its object, method and arguments.
func echo(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
	d := codec.NewDecoder(r.Payload)
	if _, err := command.DecodeHead(&d); err != nil {
		panic(err)
	}
	object, _ := d.String()
	method, _ := d.String()
	args, err := DecodeValues(d.Rest())
	if err != nil {
		panic(err)
	}
	return answerOK(b, r, append([]any{object, method}, args...)...)
}

func TestCall(t *testing.T) {
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, echo)}})
	v, err := c.Call(context.Background(), "counter", "inc", 5, "x", nil, true, 1.5)
	if err != nil || fmt.Sprint(v) != "[counter inc 5 x <nil> true 1.5]" {
		t.Fatalf("%v, %v", v, err)
	}
	_, err = c.Call(context.Background(), "counter", "inc", func() {})
	wantCode(t, err, CodeBadArgument, "argument 1: a value of Go type func() can't be sent")
}

func TestScriptError(t *testing.T) {
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		return wire.AppendReply(b, r.ID, command.AppendError(nil, 9, CodeScript, "no", "a.lua:3", codec.AppendInt(nil, 4)))
	})}})
	_, err := c.Call(context.Background(), "a", "b")
	wantCode(t, err, CodeScript, "script: no")
	if e := err.(*Error); e.Traceback != "a.lua:3" || e.Index != 9 || len(e.Value) != 1 {
		t.Errorf("%+v", e)
	}
}

// Many goroutines share a connection, and a node may answer in any order.
func TestAnswersOutOfOrder(t *testing.T) {
	var held []wire.Request // by the one connection's goroutine
	n := &wiretest.Node{}
	addr := start(t, n, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		held = append(held, r)
		if len(held) < 50 {
			return b
		}
		for i := len(held) - 1; i >= 0; i-- {
			if err := c.Send(echo(c, held[i], nil)); err != nil {
				t.Error(err)
			}
		}
		held = nil
		return b
	})
	c := dial(t, Config{Addrs: []string{addr}})
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			v, err := c.Call(context.Background(), "o", "m", i)
			if err != nil || v[2] != int64(i) {
				t.Errorf("call %d: %v, %v", i, v, err)
			}
		})
	}
	all.Wait()
	if n.Accepted() != 1 {
		t.Errorf("%d connections", n.Accepted())
	}
}

// The asynchronous form keeps many calls in flight; callbacks issue the next.
func TestPipelining(t *testing.T) {
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, echo)}})
	const total, inFlight = 5000, 64
	payload := command.AppendCall(nil, 0, 0, "o", "m", nil)
	issued, answered := 0, 0 // touched by the reader goroutine, after the start
	end := make(chan struct{})
	var next func(command.Result, error)
	issue := func() {
		issued++
		c.Do(wire.OpPropose, Linearizable, 0, payload, next)
	}
	var mu sync.Mutex
	next = func(_ command.Result, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			t.Error(err)
		}
		if answered++; answered == total {
			close(end)
		}
		if issued < total {
			issue()
		}
	}
	mu.Lock()
	for range inFlight {
		issue()
	}
	mu.Unlock()
	<-end
}

// What was sent in no session and not answered is not sent again.
func TestConnectionLostIsUnknown(t *testing.T) {
	var calls atomic.Int32
	addr := start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		calls.Add(1)
		c.Close()
		return b
	})
	c := dial(t, Config{Addrs: []string{addr}, NoSession: true})
	_, err := c.Call(context.Background(), "o", "m")
	wantCode(t, err, CodeTimeout, "outcome unknown")
	wantCode(t, err, CodeTimeout, "connection to "+addr+" was lost")
	if calls.Load() != 1 {
		t.Errorf("sent %d times", calls.Load())
	}
}

// A query is asked again, at another node.
func TestQueryMovesOn(t *testing.T) {
	a := start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		c.Close()
		return b
	})
	b := start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte { return answerOK(b, r, "here") })
	c := dial(t, Config{Addrs: []string{a, b}})
	v, err := c.Query(context.Background(), "o", "q")
	if err != nil || v[0] != "here" {
		t.Fatalf("%v, %v", v, err)
	}
	if _, addr := c.Node(); addr != b {
		t.Errorf("connected to %s, want %s", addr, b)
	}
}

// blocked is a connection whose writes can be made to fail after some bytes.
type blocked struct {
	net.Conn
	left *atomic.Int64 // bytes that may still be written
}

func (b blocked) Write(p []byte) (int, error) {
	if n := b.left.Load(); int64(len(p)) > n {
		_, _ = b.Conn.Write(p[:n])
		b.left.Store(0)
		return int(n), fmt.Errorf("cable cut")
	}
	b.left.Add(-int64(len(p)))
	return b.Conn.Write(p)
}

// A call of which the socket took only a part can't have happened: it is sent
// again on the next connection.
func TestUnwrittenCallIsSentAgain(t *testing.T) {
	var calls atomic.Int32
	addr := start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		calls.Add(1)
		return echo(c, r, b)
	})
	left := new(atomic.Int64)
	first := true
	c := dial(t, Config{Addrs: []string{addr}, Dial: func(ctx context.Context, addr string) (net.Conn, error) {
		nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if first && err == nil {
			first = false
			left.Store(1 << 30)
			return blocked{nc, left}, nil
		}
		return nc, err
	}})
	if _, err := c.Call(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
	left.Store(9)
	v, err := c.Call(context.Background(), "o", "m", strings.Repeat("x", 1000))
	if err != nil || len(v) != 3 {
		t.Fatalf("%v, %v", v, err)
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls reached the node, want 2", calls.Load())
	}
}

func TestTimeout(t *testing.T) {
	silent := func(_ *wiretest.Conn, _ wire.Request, b []byte) []byte { return b }
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, silent)}, Timeout: 30 * time.Millisecond})
	_, err := c.Call(context.Background(), "o", "m")
	wantCode(t, err, CodeTimeout, "within 30ms; outcome unknown")
	_, err = c.Query(context.Background(), "o", "m")
	wantCode(t, err, CodeTimeout, "no answer from")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = c.Call(ctx, "o", "m")
	wantCode(t, err, CodeNoLeader, "not sent: context canceled")
}

func TestCancel(t *testing.T) {
	arrived := make(chan struct{})
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, _ wire.Request, b []byte) []byte {
		close(arrived)
		return b
	})}})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := c.Call(ctx, "o", "m")
	wantCode(t, err, CodeTimeout, "context canceled; outcome unknown")
}

// The answer to a call that was given up does not reach the next call.
func TestLateAnswer(t *testing.T) {
	var first *wire.Request
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		switch {
		case first == nil:
			first = &r
			return b
		case first.ID == r.ID:
			t.Error("the id of an unanswered call was used again")
		}
		if err := c.Send(answerOK(nil, *first, "late")); err != nil {
			t.Error(err)
		}
		return answerOK(b, r, "mine")
	})}})
	ended := make(chan error, 2)
	c.Do(wire.OpPropose, Linearizable, time.Millisecond, nil, func(_ command.Result, err error) { ended <- err })
	wantCode(t, <-ended, CodeTimeout, "unknown")
	v, err := c.Call(context.Background(), "o", "m")
	if err != nil || v[0] != "mine" || len(ended) != 0 {
		t.Errorf("%v, %v, %d more ends of the first call", v, err, len(ended))
	}
}

// no_leader says that nothing happened: the call goes to another node.
func TestNoLeaderMovesOn(t *testing.T) {
	a := start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		return answerCode(b, r, CodeNoLeader, "no leader")
	})
	b := start(t, &wiretest.Node{}, nil, echo)
	c := dial(t, Config{Addrs: []string{a, b}})
	if _, err := c.Call(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
}

func TestRetriesEnd(t *testing.T) {
	for _, code := range []Code{CodeNoLeader, CodeOverloaded, CodeClosed} {
		var calls atomic.Int32
		addr := start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
			calls.Add(1)
			return answerCode(b, r, code, "not now")
		})
		c := dial(t, Config{Addrs: []string{addr}, Timeout: 500 * time.Millisecond})
		_, err := c.Call(context.Background(), "o", "m")
		wantCode(t, err, code, "not now")
		if calls.Load() < 2 {
			t.Errorf("%v: tried %d times", code, calls.Load())
		}
	}
}

// An address learned from a node's status serves when the given one is gone.
func TestLearnedAddress(t *testing.T) {
	one := func(_ *wiretest.Conn, r wire.Request, b []byte) []byte { return answerOK(b, r, 1) }
	b := start(t, &wiretest.Node{}, nil, one)
	n := &wiretest.Node{}
	a := start(t, n, &NodeStatus{Members: []Member{{Name: "n2", Addr: b}}}, one)
	c := dial(t, Config{Addrs: []string{a}})
	if _, err := c.NodeStatus(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	if _, err := c.Query(context.Background(), "o", "m"); err != nil && CodeOf(err) != CodeTimeout {
		t.Fatal(err)
	}
	if _, err := c.Call(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
}

// freeAddr is an address where nothing listens.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestUnreachable(t *testing.T) {
	a, b := freeAddr(t), freeAddr(t)
	_, err := Dial(context.Background(), Config{Addrs: []string{a, b}})
	wantCode(t, err, CodeNoLeader, fmt.Sprintf("no node reachable: %s: connection refused; %s: connection refused", a, b))
	_, err = Dial(context.Background(), Config{})
	wantCode(t, err, CodeBadArgument, "0 addresses")
}

// A call that waits for a connection had no effect when its time is over.
func TestNodeGone(t *testing.T) {
	n := &wiretest.Node{}
	addr := start(t, n, nil, echo)
	c := dial(t, Config{Addrs: []string{addr}, Timeout: 100 * time.Millisecond})
	if _, err := c.Call(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
	n.Stop()
	for {
		_, err := c.Call(context.Background(), "o", "m")
		if CodeOf(err) == CodeTimeout { // it was sent before the loss was seen
			continue
		}
		wantCode(t, err, CodeNoLeader, "no node reachable: "+addr+": connection refused")
		return
	}
}

// A node that restarts is found again.
func TestReconnect(t *testing.T) {
	n := &wiretest.Node{}
	addr := start(t, n, nil, echo)
	c := dial(t, Config{Addrs: []string{addr}})
	n.Stop()
	again := &wiretest.Node{Handle: func(c *wiretest.Conn, r wire.Request, b []byte) []byte {
		if r.Op == wire.OpStatus {
			return answerStatus(b, r, nil)
		}
		return answerOK(b, r, 1)
	}}
	if _, err := again.StartAt(addr); err != nil {
		t.Skip(err) // another process took the port
	}
	defer again.Stop()
	if _, err := c.Query(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
}

func TestRefused(t *testing.T) {
	addr := start(t, &wiretest.Node{Refuse: "this node is of another cluster"}, nil, echo)
	_, err := Dial(context.Background(), Config{Addrs: []string{addr}})
	wantCode(t, err, CodeDenied, "refused by "+addr+": this node is of another cluster")
	addr = start(t, &wiretest.Node{Welcome: wire.Welcome{Version: 9}}, nil, echo)
	_, err = Dial(context.Background(), Config{Addrs: []string{addr}})
	wantCode(t, err, CodeDenied, fmt.Sprintf("protocol version does not match: the other side has 9, this side has %d", wire.Version))
}

func TestNotSyncsh(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	defer all.Wait()
	defer l.Close()
	all.Go(func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			_, _ = c.Read(make([]byte, 100))
			c.Close()
		}
	})
	_, err = Dial(context.Background(), Config{Addrs: []string{l.Addr().String()}})
	wantCode(t, err, CodeNoLeader, "not a syncsh node")
}

// An address that was taken over by another cluster is not used.
func TestOtherCluster(t *testing.T) {
	n := &wiretest.Node{Welcome: wire.Welcome{Cluster: "aa"}}
	a := start(t, n, nil, echo)
	b := start(t, &wiretest.Node{Welcome: wire.Welcome{Cluster: "bb"}}, nil, echo)
	c := dial(t, Config{Addrs: []string{a, b}, Timeout: 100 * time.Millisecond})
	n.Stop()
	for {
		_, err := c.Call(context.Background(), "o", "m")
		if CodeOf(err) == CodeTimeout {
			continue
		}
		if CodeOf(err) == CodeNoLeader && strings.Contains(err.Error(), "it is of cluster bb, not aa") {
			return
		}
		if err == nil {
			t.Fatal("a node of another cluster was called")
		}
	}
}

func TestBadAnswerBreaksConnection(t *testing.T) {
	for name, body := range map[string][]byte{
		"not open": wire.AppendReply(nil, 77, command.AppendOK(nil, 1, nil)),
		"garbage":  {0xc1},
		"refused":  wire.AppendRefuse(nil, "go away"),
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(c *wiretest.Conn, _ wire.Request, b []byte) []byte {
				return append(b, body...)
			})}, NoSession: true})
			_, err := c.Call(context.Background(), "o", "m")
			wantCode(t, err, CodeTimeout, "was lost")
		})
	}
}

func TestClose(t *testing.T) {
	arrived := make(chan struct{})
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, _ wire.Request, b []byte) []byte {
		close(arrived)
		return b
	})}})
	ended := make(chan error, 2)
	c.Do(wire.OpPropose, Linearizable, 0, nil, func(_ command.Result, err error) { ended <- err })
	<-arrived
	c.Close()
	wantCode(t, <-ended, CodeTimeout, "the client was closed); outcome unknown")
	if c.open != 0 || c.openBytes != 0 {
		t.Errorf("%d requests of %d bytes are still open", c.open, c.openBytes)
	}
	c.Do(wire.OpPropose, Linearizable, 0, nil, func(_ command.Result, err error) { ended <- err })
	wantCode(t, <-ended, CodeClosed, "the client is closed")
	_, err := c.Call(context.Background(), "o", "m")
	wantCode(t, err, CodeClosed, "the client is closed")
	c.Close()
}

func TestTooMuch(t *testing.T) {
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, _ wire.Request, b []byte) []byte { return b })}})
	ended := make(chan error, InFlightMax+2)
	done := func(_ command.Result, err error) { ended <- err }
	c.Do(wire.OpPropose, Linearizable, 0, make([]byte, PayloadBytesMax+1), done)
	wantCode(t, <-ended, CodeBadArgument, "67108865 bytes")
	for range InFlightMax + 1 {
		c.Do(wire.OpPropose, Linearizable, 0, nil, done)
	}
	wantCode(t, <-ended, CodeOverloaded, "calls are open")
}

func TestCommands(t *testing.T) {
	var last wire.Request
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		last = r
		switch {
		case r.Op == wire.OpDeploy || r.Op == wire.OpCheck:
			return answerOK(b, r, "counter: new", "kv: unchanged")
		case r.Op == wire.OpSnapshot:
			return answerOK(b, r, 120)
		case r.Op == wire.OpQuery && r.Payload[1] == byte(command.Describe):
			v := command.AppendDescription(codec.AppendArrayLen(nil, 1), command.Description{Objects: []command.Object{{Name: "counter"}}})
			return wire.AppendReply(b, r.ID, command.AppendOK(nil, 7, v))
		}
		return answerOK(b, r, 42)
	})}, Mode: Stale})
	ctx := context.Background()
	report, index, err := c.Deploy(ctx, []Script{{Name: "a.lua", Source: "x"}})
	if err != nil || fmt.Sprint(report) != "[counter: new kv: unchanged]" || index != 7 || last.Op != wire.OpDeploy {
		t.Errorf("%v %v %v", report, index, err)
	}
	if report, err = c.Check(ctx, nil); err != nil || len(report) != 2 || last.Op != wire.OpCheck {
		t.Errorf("%v %v", report, err)
	}
	if v, err := c.Get(ctx, "counter", "value", 1); err != nil || v != int64(42) || last.Mode != Stale {
		t.Errorf("%v %v", v, err)
	}
	if d, err := c.Describe(ctx); err != nil || d.Objects[0].Name != "counter" {
		t.Errorf("%v %v", d, err)
	}
	if i, err := c.Snapshot(ctx); err != nil || i != 120 {
		t.Errorf("%v %v", i, err)
	}
	for name, err := range map[string]error{
		"create": c.Create(ctx, "a", "b"), "drop": c.Drop(ctx, "a"), "set": c.Set(ctx, "budget", 5),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMembers(t *testing.T) {
	var got []string
	c := dial(t, Config{Addrs: []string{start(t, &wiretest.Node{}, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		got = append(got, fmt.Sprintf("%d %x", r.Op, r.Payload))
		return answerOK(b, r)
	})}})
	ctx := context.Background()
	for name, err := range map[string]error{"promote": c.Promote(ctx, "000000000000000a"), "remove": c.Remove(ctx, "b")} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Transfer(ctx, "c"); err != nil {
		t.Error(err)
	}
	if fmt.Sprint(got) != "[7 92010a 7 92020b 8 910c]" {
		t.Errorf("%v", got)
	}
	for _, id := range []string{"n1", "0", "10000000000000000"} {
		wantCode(t, c.Remove(ctx, id), CodeBadArgument, "is not the id of a member")
	}
	wantCode(t, c.Transfer(ctx, "n1"), CodeBadArgument, "is not the id of a member")
}

func TestStatus(t *testing.T) {
	gone := freeAddr(t)
	member := func(name, addr, role string) Member {
		return Member{Name: name, ID: "id-" + name, Addr: addr, Role: role}
	}
	n1, n2 := &wiretest.Node{}, &wiretest.Node{}
	s1 := &NodeStatus{Cluster: "c1", Name: "n1", ID: "id-n1", Role: "follower", Term: 7, Leader: "n2", Commit: 118, Applied: 110, Version: "v"}
	s2 := &NodeStatus{Cluster: "c1", Name: "n2", ID: "id-n2", Role: "leader", Term: 7, Leader: "n2", Commit: 120, Applied: 120, Digest: "d", DigestIndex: 120}
	a1, a2 := start(t, n1, s1, echo), start(t, n2, s2, echo)
	s1.Members = []Member{member("n3", gone, "voter"), member("n1", a1, "voter"), member("n2", a2, "voter"), member("o", gone, "observer")}
	c := dial(t, Config{Addrs: []string{a1}})
	s, err := c.Status(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Alive != (n.RoundTripMs > 0) || n.ClockOffsetMs != nil {
			t.Errorf("%+v", n) // who answered took time, and nobody told a clock
		}
		s.Nodes[i].RoundTripMs = 0
	}
	got, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"healthy":true,"cluster":"c1","leader":"n2","term":7,"voters":3,"tolerates":0,"index":{"commit":120,"applied":120},"nodes":[` +
		strings.Join([]string{
			`{"name":"n1","id":"id-n1","addr":"` + a1 + `","role":"follower","term":7,"commit":118,"applied":110,"digest":"","digest_index":0,"alive":true,"diverged":false,"version":"v","durability":"","snapshot_index":0,"log_first":0,"log_bytes":0,"uptime_seconds":0,"leader":"n2"}`,
			`{"name":"n2","id":"id-n2","addr":"` + a2 + `","role":"leader","term":7,"commit":120,"applied":120,"digest":"d","digest_index":120,"alive":true,"diverged":false,"version":"","durability":"","snapshot_index":0,"log_first":0,"log_bytes":0,"uptime_seconds":0,"leader":"n2"}`,
			`{"name":"n3","id":"id-n3","addr":"` + gone + `","role":"follower","term":0,"commit":0,"applied":0,"digest":"","digest_index":0,"alive":false,"diverged":false,"version":"","durability":"","snapshot_index":0,"log_first":0,"log_bytes":0,"uptime_seconds":0}`,
			`{"name":"o","id":"id-o","addr":"` + gone + `","role":"observer","term":0,"commit":0,"applied":0,"digest":"","digest_index":0,"alive":false,"diverged":false,"version":"","durability":"","snapshot_index":0,"log_first":0,"log_bytes":0,"uptime_seconds":0}`,
		}, ",") + `]}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	n2.Stop() // the leader is gone: nobody's word counts for it
	if s, err = c.Status(context.Background()); err != nil || s.Healthy || s.Leader != "" || s.Voters != 3 {
		t.Errorf("%+v, %v", s, err)
	}
	s1.Members = append(s1.Members, Member{Name: "n1", ID: "id-a"})
	m, err := c.Members(context.Background())
	var order []string
	for _, m := range m {
		order = append(order, m.Name+" "+m.ID)
	}
	if want := "n1 id-a, n1 id-n1, n2 id-n2, n3 id-n3, o id-o"; err != nil || strings.Join(order, ", ") != want {
		t.Errorf("members in the order %q, want %q; %v", order, want, err)
	}
	s1.Members = nil // no cluster yet
	if m, err = c.Members(context.Background()); err != nil || m == nil || len(m) != 0 {
		t.Errorf("members without a cluster: %#v, %v", m, err)
	}
}

// BenchmarkCall is one goroutine that waits for each call.
func BenchmarkCall(b *testing.B) {
	n := &wiretest.Node{Handle: func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		if r.Op == wire.OpStatus {
			return answerStatus(b, r, nil)
		}
		return append(wire.AppendReply(b, r.ID, nil), 0x93, 1, 0, 0x91, 1)
	}}
	addr, err := n.Start()
	if err != nil {
		b.Fatal(err)
	}
	defer n.Stop()
	c, err := Dial(context.Background(), Config{Addrs: []string{addr}})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(context.Background(), "counter", "inc"); err != nil {
			b.Fatal(err)
		}
	}
}

// A connection on which nothing comes any more is replaced once a call is
// overdue: a cable that was pulled gives no error.
func TestSilentConnection(t *testing.T) {
	n := &wiretest.Node{}
	var calls atomic.Int32
	c := dial(t, Config{Addrs: []string{start(t, n, nil, func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		if calls.Add(1) == 1 {
			return b
		}
		return answerOK(b, r)
	})}})
	if _, err := c.NodeStatus(context.Background()); err != nil { // the client's own question is answered
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	c.Do(wire.OpPropose, Linearizable, 20*time.Millisecond, nil, func(_ command.Result, err error) { ended <- err })
	c.mu.Lock()
	c.cur.heard -= int64(2 * silenceMax)
	c.mu.Unlock()
	wantCode(t, <-ended, CodeTimeout, "outcome unknown")
	if _, err := c.Call(context.Background(), "o", "m"); err != nil {
		t.Fatal(err)
	}
	if n.Accepted() != 2 {
		t.Errorf("%d connections, want 2", n.Accepted())
	}
}
