package node

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// counted is what a report has for a method.
func counted(t *testing.T, r *wire.Calls, object, method string) (calls, failed, timed uint64) {
	t.Helper()
	for _, c := range r.Counts {
		if c.Object != object || c.Method != method {
			continue
		}
		var buckets [wire.LatencyBuckets]uint64
		if err := wire.AddLatency(&buckets, c.Latency); err != nil {
			t.Fatal(err)
		}
		for _, n := range buckets {
			timed += n
		}
		return c.Calls, c.Failed, timed
	}
	return 0, 0, 0
}

// Calls count at the node whose client made them, once, however they travelled.
func TestCallsAreCounted(t *testing.T) {
	ctx := context.Background()
	_, addrs := startThree(t, func(_ int, cfg *Config) { cfg.Data = "" })
	var clients []*client.Client
	for _, addr := range addrs {
		cl, err := client.Dial(ctx, client.Config{Addrs: []string{addr}, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		defer cl.Close()
		clients = append(clients, cl)
	}
	deployNamed(t, clients[0], "store.lua", store)
	for i, cl := range clients {
		for k := range 10 * (i + 1) {
			if _, err := cl.Call(ctx, "store", "set", "k", k); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			if _, err := cl.Query(ctx, "store", "get", "k"); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := cl.Get(ctx, "store", "data", "k"); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Call(ctx, "store", "nothing"); client.CodeOf(err) != client.CodeNotFound {
			t.Fatal(err)
		}
		if _, err := cl.Call(ctx, "store", "set", nil, 1); client.CodeOf(err) != client.CodeScript {
			t.Fatal(err)
		}
	}
	s, err := clients[1].CallStatus(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range s.Nodes {
		if n.Calls == nil {
			t.Fatalf("%s tells nothing of its calls", n.Name)
		}
		for _, want := range []struct {
			method        string
			calls, failed uint64
		}{{"set", uint64(10*(i+1) + 1), 1}, {"get", 3, 0}, {"", 1, 0}} {
			calls, failed, timed := counted(t, n.Calls, "store", want.method)
			if calls != want.calls || failed != want.failed || timed != calls {
				t.Errorf("%s store:%s: %d calls, %d failed, %d timed; want %d, %d", n.Name, want.method, calls, failed, timed, want.calls, want.failed)
			}
		}
		if calls, failed, _ := counted(t, n.Calls, "", ""); calls != 1 || failed != 1 {
			t.Errorf("%s: %d calls of what is not there, %d failed", n.Name, calls, failed)
		}
		if f := n.Calls.Failed; len(f) != 2 || f[0].Code != "script" || f[1].Code != "not_found" || f[1].Method != "nothing" || f[1].Message == "" {
			t.Errorf("%s: failed calls %+v", n.Name, f)
		}
		if l := len(n.Calls.Slowest); l != min(10*(i+1)+6, slowKept) {
			t.Errorf("%s: %d slowest calls", n.Name, l)
		}
	}
	if s, err := clients[0].Status(ctx); err != nil || s.Nodes[0].Calls != nil {
		t.Errorf("a status that did not ask has calls, %v", err)
	}
}

// A call is what arrived as a call request; a client is not there.
func request1(id uint64, object, method string) []request {
	return []request{{req: wire.Request{ID: id, Op: wire.OpPropose, Payload: command.AppendCall(nil, 1, id, object, method, nil)}}}
}

// happens has a call arrive and end.
func happens(c *calls, object, method string, began, took time.Duration, result []byte) {
	var open openCalls
	c.begin(&open, c.arrive(nil, request1(7, object, method), began))
	call := open.take(7)
	c.end(&call, result, began+took)
}

var (
	fine  = command.AppendOK(nil, 9, nil)
	wrong = command.AppendError(nil, 9, command.CodeScript, strings.Repeat("ä", 1000), "", nil)
	none  = command.AppendError(nil, 9, command.CodeNotFound, "no such method", "", nil)
)

// Only so many methods have counters, names that are not there get none, and
// one that is idle gives its counter away.
func TestCallCountersAreBounded(t *testing.T) {
	c := newCalls()
	for i := range 2 * callKeysMax {
		happens(c, "nobody", fmt.Sprintf("m%d", i), time.Second, time.Millisecond, none)
	}
	if r := c.report(time.Second); len(r.Counts) != 1 || r.Counts[0].Calls != 2*callKeysMax {
		t.Fatalf("names that are not there have %d counters", len(r.Counts))
	}
	for i := range callKeysMax + 10 {
		happens(c, "o", fmt.Sprintf("m%d", i), time.Second, time.Millisecond, fine)
	}
	r := c.report(time.Second)
	if others, _, _ := counted(t, r, "", ""); len(r.Counts) != callKeysMax+1 || others != 2*callKeysMax+10 {
		t.Fatalf("%d counters, %d others", len(r.Counts), others)
	}
	for minute := range time.Duration(3) { // the first sweep sees who is called before the next
		now := (minute + 2) * callSweep
		happens(c, "o", "m0", now, time.Millisecond, fine)
		happens(c, "o", "late", now, time.Millisecond, fine)
	}
	r = c.report(5 * callSweep)
	if late, _, _ := counted(t, r, "o", "late"); late != 2 {
		t.Errorf("a new method has %d calls, want those behind the sweep", late)
	}
	if first, _, _ := counted(t, r, "o", "m0"); first != 4 {
		t.Errorf("a method that is in use has %d calls", first)
	}
	if len(r.Counts) != 3 {
		t.Errorf("%d counters are left", len(r.Counts))
	}
}

// The slowest calls of the last minute are kept, and none longer than that.
func TestSlowestCalls(t *testing.T) {
	c := newCalls()
	for i := range 100 {
		took := time.Duration(i*37%100) * time.Millisecond
		happens(c, "o", "m", time.Duration(i)*time.Millisecond, took, fine)
	}
	r := c.report(time.Second)
	if len(r.Slowest) != slowKept {
		t.Fatalf("%d calls", len(r.Slowest))
	}
	for i, s := range r.Slowest {
		if s.Micros != int64(99-i)*1000 || s.Object != "o" || s.Method != "m" || s.Code != "ok" {
			t.Errorf("call %d: %+v", i, s)
		}
	}
	happens(c, "o", "quick", 2*time.Minute, time.Microsecond, fine)
	if r := c.report(2 * time.Minute); len(r.Slowest) != 1 || r.Slowest[0].Method != "quick" {
		t.Errorf("after two minutes: %+v", r.Slowest)
	}
}

// The last failed calls are kept, newest first, their messages cut between two
// characters.
func TestFailedCalls(t *testing.T) {
	c := newCalls()
	timed, err := command.AppendTimed(nil, wrong, command.Times{Queue: 1}) // .time on
	if err != nil {
		t.Fatal(err)
	}
	for i := range failedKept + 5 {
		result := wrong
		if i%2 == 1 {
			result = timed
		}
		happens(c, "o", fmt.Sprintf("m%d", i), time.Duration(i)*time.Second, time.Millisecond, result)
	}
	r := c.report(time.Hour)
	if len(r.Failed) != failedKept {
		t.Fatalf("%d calls", len(r.Failed))
	}
	for i, s := range r.Failed {
		if want := fmt.Sprintf("m%d", failedKept+4-i); s.Method != want || s.Code != "script" {
			t.Errorf("call %d: %+v, want %s", i, s, want)
		}
		if s.Message != strings.Repeat("ä", callTextMax/2)+"..." {
			t.Errorf("message %q", s.Message)
		}
	}
}

// Calls of one connection end in any order; those beyond the bound count
// without a latency.
func TestOpenCalls(t *testing.T) {
	c := newCalls()
	happens(c, "o", "m", 0, 0, fine)
	var open openCalls
	const n = openCallsMax + 100
	for id := range uint64(n) {
		c.begin(&open, c.arrive(nil, request1(id, "o", "m"), 0))
	}
	if len(open) > openCallsMax {
		t.Fatalf("%d calls are timed at once", len(open))
	}
	for i := range uint64(n) {
		id := i * 577 % n // 577 is prime to n
		if call := open.take(id); !call.empty() {
			if call.id != id {
				t.Fatalf("call %d is taken for %d", call.id, id)
			}
			c.end(&call, fine, time.Second)
		}
	}
	if calls, _, timed := counted(t, c.report(0), "o", "m"); calls != n+1 || timed != openCallsMax+1 {
		t.Errorf("%d calls, %d timed", calls, timed)
	}
	if call := open.take(n - 1); !call.empty() {
		t.Error("a call ends twice")
	}
}

// Counting a call allocates nothing.
func TestCountingAllocatesNothing(t *testing.T) {
	c, open, burst := quiet()
	if n := testing.AllocsPerRun(1000, func() { oneCall(c, open, burst) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// quiet has a method known and the list of the slowest calls full.
func quiet() (*calls, *openCalls, []request) {
	c := newCalls()
	for range slowKept + 1 {
		happens(c, "counter", "inc", 0, time.Hour, fine)
	}
	return c, &openCalls{}, request1(3, "counter", "inc")
}

func oneCall(c *calls, open *openCalls, burst []request) {
	var room [1]openCall
	arrived := room[:0]
	arrived = c.arrive(arrived[:0], burst, c.now())
	c.begin(open, arrived)
	call := open.take(3)
	c.end(&call, fine, c.now())
}

func BenchmarkCountCall(b *testing.B) {
	c, open, burst := quiet()
	b.ReportAllocs()
	for b.Loop() {
		oneCall(c, open, burst)
	}
}

// What is kept of a call that is open is its own, and not of any length.
func TestOpenCallsKeepLittle(t *testing.T) {
	c := newCalls()
	arrive := func(object string) (openCall, []byte) {
		req := wire.Request{ID: 1, Op: wire.OpPropose, Payload: command.AppendCall(nil, 0, 0, object, "m", nil)}
		return c.arrive(nil, []request{{nil, req}}, 0)[0], req.Payload
	}
	call, payload := arrive("object")
	clear(payload)
	if object, method := splitNames(call.names); object != "object" || method != "m" {
		t.Errorf("the names became %q and %q with the request's bytes", object, method)
	}
	call, _ = arrive(strings.Repeat("o", callNamesMax))
	if call.names != nil || call.count != &c.other {
		t.Errorf("%d bytes of names are kept", len(call.names))
	}
	c.end(&call, command.AppendError(nil, 0, command.CodeNotFound, "no", "", nil), 0)
	if c.other.failed.Load() != 1 {
		t.Error("not counted")
	}
}
