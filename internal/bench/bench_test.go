package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/internal/wire/wiretest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// counter is a node with one counter that counts in an atomic. answer, if set,
// may take over the answer to the n-th inc.
type counter struct {
	value  atomic.Int64
	calls  atomic.Int64
	answer func(n int64, r wire.Request, b []byte) ([]byte, bool)
}

var described = command.AppendDescription(codec.AppendArrayLen(nil, 1), command.Description{Objects: []command.Object{{
	Name: "counter", Methods: []command.Method{{Name: "get", Kind: command.QueryOnly}, {Name: "hold", Kind: command.Local}, {Name: "inc", Kind: command.Replicated}, {Name: "reset", Kind: command.Replicated}},
}}})

func (k *counter) start(t testing.TB) string {
	n := &wiretest.Node{Handle: k.handle}
	addr, err := n.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return addr
}

func (k *counter) handle(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
	switch {
	case r.Op == wire.OpPropose && bytes.Equal(r.Payload, command.AppendOpen(nil)):
		return appendNumber(b, r.ID, 1)
	case r.Op == wire.OpPropose:
		n := k.calls.Add(1)
		if k.answer != nil {
			if b, ok := k.answer(n, r, b); ok {
				return b
			}
		}
		return appendNumber(b, r.ID, k.value.Add(1))
	case r.Op == wire.OpQuery && len(r.Payload) == 2:
		return wire.AppendReply(b, r.ID, command.AppendOK(nil, 1, described))
	case r.Op == wire.OpQuery:
		return appendNumber(b, r.ID, k.value.Load())
	}
	return wire.AppendReply(b, r.ID, command.AppendError(nil, 0, client.CodeDenied, "", "", nil))
}

// appendNumber appends a whole reply without allocating.
func appendNumber(b []byte, id uint64, n int64) []byte {
	b = wire.AppendReply(b, id, nil)
	b = command.AppendOKHead(b, uint64(n))
	return codec.AppendInt(codec.AppendArrayLen(b, 1), n)
}

func TestRun(t *testing.T) {
	k := &counter{}
	addr := k.start(t)
	k.value.Store(7)
	r, err := Run(context.Background(), Options{Addrs: []string{addr}, Object: "counter", Method: "inc", Clients: 3, Pipeline: 4, Duration: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if r.Check != CheckOK || r.Acknowledged == 0 || r.Grew != float64(r.Acknowledged) || r.Unknown != 0 || len(r.Errors) != 0 || r.CallsPerSecond <= 0 {
		t.Errorf("%+v", r)
	}
	if l := r.Latency; l.P50 <= 0 || l.P50 > l.P90 || l.P90 > l.P99 || l.P99 > l.P999 || l.P999 > l.Max {
		t.Errorf("%+v", l)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "3 clients x 4 in flight") || !strings.Contains(text.String(), "check    ok: "+strconv.FormatUint(r.Acknowledged, 10)+" acknowledged") {
		t.Errorf("%v\n%s", err, text.String())
	}
	b, err := json.Marshal(r)
	if err != nil || !strings.Contains(string(b), `"check":"ok","acknowledged":`) || !strings.Contains(string(b), `"p99_9":`) {
		t.Errorf("%s, %v", b, err)
	}
}

// A counter that lost one acknowledged call, or did one twice, is found.
func TestCheckFails(t *testing.T) {
	for name, by := range map[string]int64{"lost": -1, "doubled": +1} {
		t.Run(name, func(t *testing.T) {
			k := &counter{}
			k.answer = func(n int64, r wire.Request, b []byte) ([]byte, bool) {
				if n == 50 {
					k.value.Add(by)
				}
				return nil, false
			}
			r, err := Run(context.Background(), Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 2, Pipeline: 2, Duration: 100 * time.Millisecond})
			if !errors.Is(err, ErrCheck) || r.Check != CheckFailed || r.Grew != float64(r.Acknowledged)+float64(by) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// From a million calls on the growth is still a number to compare with the calls.
func TestReportOfMillions(t *testing.T) {
	r := Report{Acknowledged: 1521949, Unknown: 1}
	for grew, want := range map[float64]string{1521950: "ok: 1521949 acknowledged, grew by 1521950, 1 unknown", 2521949: "failed: 1521949 acknowledged, grew by 2521949, 1 unknown"} {
		r.compare(7, 7+2*grew, 2)
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), want) {
			t.Errorf("%v, want %q in\n%s", err, want, text.String())
		}
		if r.Check == CheckFailed && !strings.Contains(r.CheckDetail, "the value grew by 2521949;") {
			t.Error(r.CheckDetail)
		}
	}
}

// A call without an answer may have happened or not: both pass.
func TestUnknownIsAllowed(t *testing.T) {
	for name, happens := range map[string]bool{"happened": true, "did not": false} {
		t.Run(name, func(t *testing.T) {
			k := &counter{}
			k.answer = func(n int64, r wire.Request, b []byte) ([]byte, bool) {
				if n%1000 != 10 {
					return nil, false
				}
				if happens {
					k.value.Add(1)
				}
				return b, true
			}
			r, err := Run(context.Background(), Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 2, Pipeline: 2, Duration: 150 * time.Millisecond, Timeout: 60 * time.Millisecond})
			if err != nil || r.Check != CheckOK || r.Unknown == 0 || r.Errors["timeout"] != r.Unknown {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestErrorsAreCounted(t *testing.T) {
	k := &counter{}
	k.answer = func(n int64, r wire.Request, b []byte) ([]byte, bool) {
		if n%3 != 0 {
			return nil, false
		}
		return wire.AppendReply(b, r.ID, command.AppendError(nil, 0, client.CodeOverloaded, "full", "", nil)), true
	}
	r, err := Run(context.Background(), Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 2, Pipeline: 2, Duration: 100 * time.Millisecond})
	if err != nil || r.Check != CheckOK || r.Errors["overloaded"] == 0 || r.Unknown != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if text := r.errorsText(); !strings.HasPrefix(text, "overloaded ") {
		t.Error(text)
	}
}

// A run in which nothing worked is no measurement.
func TestNothingSucceeded(t *testing.T) {
	k := &counter{answer: func(_ int64, r wire.Request, b []byte) ([]byte, bool) {
		return wire.AppendReply(b, r.ID, command.AppendError(nil, 0, client.CodeScript, "boom", "", nil)), true
	}}
	report, err := Run(t.Context(), Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 2, Pipeline: 2, Duration: 20 * time.Millisecond})
	if !errors.Is(err, ErrNothing) || client.CodeOf(err) != client.CodeScript {
		t.Fatal(err)
	}
	var text strings.Builder
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "p50      -\n") {
		t.Errorf("latencies of no call:\n%s", text.String())
	}
}

func TestCheckSkipped(t *testing.T) {
	k := &counter{}
	addr := k.start(t)
	for _, o := range []Options{{Method: "get"}, {Method: "reset"}, {Method: "inc", Args: []any{"x"}}, {Method: "inc", Args: []any{1, 2}}, {Method: "inc", Args: []any{-1}}, {Method: "inc", Args: []any{0.1}}} {
		o.Addrs, o.Object, o.Duration = []string{addr}, "counter", 20*time.Millisecond
		o.Clients, o.Pipeline = ClientsDefault, PipelineDefault
		r, err := Run(context.Background(), o)
		if err != nil || r.Check != CheckSkipped || !strings.Contains(r.CheckDetail, "is not inc with a positive whole step") || r.Acknowledged == 0 {
			t.Errorf("%s%v: %+v, %v", o.Method, o.Args, r, err)
		}
	}
}

// A counter whose growth is rounded can't be compared with the calls.
func TestCheckSkippedWhereRounded(t *testing.T) {
	k := &counter{}
	k.value.Store(1<<53 + 2)
	r, err := Run(context.Background(), Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 1, Pipeline: 1, Duration: 20 * time.Millisecond})
	if err != nil || r.Check != CheckSkipped || !strings.Contains(r.CheckDetail, "which is rounded as it grows") {
		t.Errorf("%+v, %v", r, err)
	}
	for n, want := range map[float64]bool{0: true, -3: true, 1 << 53: true, 0.1: false, 1259369.2: false, 1<<53 + 2: false, math.Inf(1): false} {
		if exact(n) != want {
			t.Errorf("%v: want %v", n, want)
		}
	}
}

func TestBadOptions(t *testing.T) {
	addr := (&counter{}).start(t)
	for _, c := range []struct {
		o    Options
		code client.Code
		want string
	}{
		{Options{Addrs: []string{addr}, Object: "nobody", Method: "inc"}, client.CodeNotFound, `no object "nobody"`},
		{Options{Addrs: []string{addr}, Object: "counter", Method: "nothing"}, client.CodeNotFound, `counter has no method "nothing"`},
		{Options{Addrs: []string{addr}, Object: "counter", Method: "hold"}, client.CodeBadArgument, "local method"},
		{Options{Addrs: []string{addr}, Object: "counter", Method: "inc", Args: []any{func() {}}}, client.CodeBadArgument, "argument 1"},
		{Options{Addrs: []string{"127.0.0.1:1"}}, client.CodeNoLeader, "127.0.0.1:1: connection refused"},
	} {
		c.o.Clients, c.o.Pipeline, c.o.Duration = 1, 1, time.Second
		_, err := Run(context.Background(), c.o)
		if client.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.o, err)
		}
	}
}

// What no run is possible with is said, and not replaced by a default.
func TestOptions(t *testing.T) {
	for want, change := range map[string]func(o *Options){
		"0 clients":       func(o *Options) { o.Clients = 0 },
		"-1 clients":      func(o *Options) { o.Clients = -1 },
		"4097 clients":    func(o *Options) { o.Clients = ClientsMax + 1 },
		"0 calls":         func(o *Options) { o.Pipeline = 0 },
		"-1 calls":        func(o *Options) { o.Pipeline = -1 },
		"4097 calls":      func(o *Options) { o.Pipeline = PipelineMax + 1 },
		"duration of 0s":  func(o *Options) { o.Duration = 0 },
		"duration of -1s": func(o *Options) { o.Duration = -time.Second },
		"timeout of -1s":  func(o *Options) { o.Timeout = -time.Second },
		"no address":      func(o *Options) { o.Addrs = nil },
	} {
		o := Options{Addrs: []string{"127.0.0.1:1"}, Clients: 1, Pipeline: 1, Duration: time.Second}
		change(&o)
		if _, err := Run(context.Background(), o); !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// An interrupt ends the run early, and what was acknowledged is still checked.
func TestInterrupt(t *testing.T) {
	k := &counter{}
	ctx, cancel := context.WithCancel(context.Background())
	k.answer = func(n int64, _ wire.Request, _ []byte) ([]byte, bool) {
		if n == 100 {
			cancel()
		}
		return nil, false
	}
	r, err := Run(ctx, Options{Addrs: []string{k.start(t)}, Object: "counter", Method: "inc", Clients: 1, Pipeline: PipelineDefault, Duration: time.Hour})
	if err != nil || r.Check != CheckOK || r.Acknowledged < 100 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestProgress(t *testing.T) {
	var told []Progress
	r, err := Run(context.Background(), Options{Addrs: []string{(&counter{}).start(t)}, Object: "counter", Method: "inc", Clients: 1, Pipeline: 1, Duration: 1100 * time.Millisecond, Progress: func(p Progress) { told = append(told, p) }})
	if err != nil || len(told) == 0 {
		t.Fatalf("%v, %+v", err, told)
	}
	for i, p := range told {
		if p.Elapsed <= 0 || p.Acknowledged > r.Acknowledged || p.Errors != 0 || i > 0 && p.Acknowledged < told[i-1].Acknowledged {
			t.Errorf("%d: %+v", i, p)
		}
	}
}

// BenchmarkRun measures the client against a node in the same process that does
// nothing but count.
func BenchmarkRun(b *testing.B) {
	k := &counter{}
	addr := k.start(b)
	for b.Loop() {
		r, err := Run(context.Background(), Options{Addrs: []string{addr}, Object: "counter", Method: "inc", Clients: ClientsDefault, Pipeline: PipelineDefault, Duration: 2 * time.Second})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(r.CallsPerSecond, "calls/s")
		b.ReportMetric(float64(r.Latency.P99), "p99-us")
		if testing.Verbose() {
			if err := r.WriteText(os.Stdout); err != nil {
				b.Fatal(err)
			}
		}
	}
}
