package shell

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/command"
)

func TestExplainShows(t *testing.T) {
	f := newFake()
	s, out := newTestSession(t, f)
	c := NewConsole(s, f, "input", nil)
	ctx := context.Background()
	if err := s.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct{ line, want, fault string }{
		{line: ".explain counter:inc(2 + 3)", want: `result   6
charged  12 of 100 steps, 3 of 200 bytes
changes  counter.value  1 -> 6
         counter.value  (too large to show) -> nil
         and 2 more
event    full by counter: 6
timer    counter:inc(1) in 2.5s
timers   1 cancelled
nothing was changed
`},
		{line: ".explain counter:two()", want: "error    script: counter.lua:3: no\ncharged  0 of 0 steps, 0 of 0 bytes\nchanges  none\nnothing was changed\n"},
		{line: ".explain", fault: errNoCall.Text},
		{line: ".explain counter", fault: errNoCall.Text},
		{line: ".explain counter.value", fault: errNoCall.Text},
		{line: ".explain counter:inc(1), 2", fault: errNoCall.Text},
		{line: ".explain counter:inc(", fault: errNoCall.Text},
		{line: ".explain counter:ink(1)", fault: "no method 'ink' in counter; did you mean 'inc'?"},
		{line: ".explain ('x'):rep(2)", fault: ".explain needs an object of the cluster, not a string"},
		{line: ".explain lock:where(1)", fault: "lock:where is a local method"},
		{line: ".explain counter:inc(print)", fault: "function"},
	} {
		_, err := c.Line(ctx, k.line)
		if got := out.take(); got != k.want {
			t.Errorf("%s: got\n%s\nwant\n%s", k.line, got, k.want)
		}
		if (err == nil) != (k.fault == "") || err != nil && !strings.Contains(err.Error(), k.fault) {
			t.Errorf("%s: %v, want %q", k.line, err, k.fault)
		}
	}
	s.jsonFlag().Store(true)
	if _, err := c.Line(ctx, ".explain counter:inc(5)"); err != nil {
		t.Fatal(err)
	}
	const want = `{"index":10,"clock_ms":1000,"results":[6],"steps":12,"steps_max":100,"bytes":3,"bytes_max":200,` +
		`"changes":[{"path":"counter.value","old":1,"new":6},{"path":"counter.value","new":null}],"changes_left_out":2,` +
		`"events":[{"object":"counter","topic":"full","values":[6]}],"timers":[{"id":3,"object":"counter","method":"inc","args":[1],"due_ms":3500}],"timers_cancelled":1}`
	if got := strings.TrimSpace(out.take()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if f.value != 0 {
		t.Errorf("the counter is at %v", f.value)
	}
}

func TestCallTimesText(t *testing.T) {
	ms := func(n int64) int64 { return n * 1000 }
	for _, c := range []struct {
		calls []*command.Times
		want  string
	}{
		{nil, "(20ms)"},
		{[]*command.Times{nil}, "(20ms)"},
		{[]*command.Times{{Queue: ms(1), Replicate: ms(5), Fsync: ms(3), Apply: ms(2)}}, "(20ms: queue 1ms, replicate 5ms (fsync 3ms), apply 2ms, rest 12ms)"},
		{[]*command.Times{{Queue: ms(1), Forward: ms(2)}, {Queue: ms(1), Forward: ms(3)}},
			"(20ms with 2 calls: queue 2ms, replicate 0s (fsync 0s), apply 0s, forward 5ms, rest 13ms)"},
	} {
		var sum callTimes
		for _, t := range c.calls {
			sum.add(t)
		}
		if got := sum.text(20 * time.Millisecond); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestTracebacks(t *testing.T) {
	const script = `
local function inner(x)
  error("boom")
end
local function call(...)
  local r = counter:two(...)
  return counter:nix(...)
end
local co = coroutine.wrap(function() inner() end)
local which = ...
if which == "lua" then inner(1) end
if which == "call" then call(1) end
if which == "table" then error({code = 1}) end
if which == "one" then error("here") end
if which == "caught" then local ok = pcall(inner) error("after", 0) end
`
	for which, want := range map[string]string{
		"lua":    "work.lua:3: boom\n  work.lua:3: in function 'inner'\n  work.lua:11: in main chunk",
		"call":   "not_found: no method 'nix' in counter; it has get, inc, two\n  work.lua:7: in function 'call'\n  work.lua:12: in main chunk",
		"one":    "work.lua:14: here",
		"caught": "after\n  work.lua:15: in main chunk",
	} {
		s, _ := newTestSession(t, newFake())
		err := s.Run(context.Background(), "work.lua", script, []string{which})
		if err == nil || ErrorText(err, false)+TracebackLines(err) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", which, ErrorText(err, false)+TracebackLines(err), want)
		}
		if ExitCode(err) != ExitScript {
			t.Errorf("%s: exit code %d", which, ExitCode(err))
		}
	}
	s, _ := newTestSession(t, newFake())
	for input, want := range map[string]string{
		"error('x')":   "",
		"counter:ni()": "",
		"local function f() error('x') end local function g() f() end g()": "\n  input:1: in function 'f'\n  input:1: in function 'g'",
		"lock:fail()": "",
	} {
		err := s.Input(context.Background(), "input", 1, input)
		if got := TracebackLines(err); got != want {
			t.Errorf("%s: got %q, want %q", input, got, want)
		}
	}
	err := &TracedError{&command.Error{Code: command.CodeTimeout, Traceback: "counter.lua:2: in function inc"}, "work.lua:1: in main chunk"}
	if got := Traceback(err); got != "counter.lua:2: in function inc\nwork.lua:1: in main chunk" {
		t.Error(got)
	}
	var call *command.Error
	if !errors.As(err, &call) || ExitCode(err) != ExitTimeout {
		t.Errorf("exit code %d", ExitCode(err))
	}
}

// TestTabIsBounded: Tab asks for names only, and waits for nothing that goes on.
func TestTabIsBounded(t *testing.T) {
	f := newFake()
	s, out := newTestSession(t, f)
	c := NewConsole(s, f, "input", nil)
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if _, names := c.candidates("kv.data."); strings.Join(names, " ") != "x y" {
		t.Errorf("fields of kv.data: %v", names)
	}
	f.mu.Lock()
	asked := strings.Join(f.asked, "; ")
	f.mu.Unlock()
	if asked != "keys kv.data" {
		t.Errorf("asked %q", asked)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- s.Input(ctx, "input", 1, "print('begun') while true do end") }()
	<-out.written
	tabbed := make(chan struct{})
	go func() { c.candidates("co"); close(tabbed) }()
	select {
	case <-tabbed:
	case err := <-ended:
		t.Errorf("the loop ended: %v", err)
	}
	cancel()
	<-ended
}

func TestOverdraw(t *testing.T) {
	for _, c := range []struct {
		lines                []string
		drawn, width, height int
		want                 string
	}{
		{[]string{"a", "b"}, 0, 80, 24, "\r\x1b[Ja\nb\n"},
		{[]string{"c"}, 2, 80, 24, "\x1b[2A\r\x1b[Jc\n"},
		{[]string{"abcdef", "2", "3", "4"}, 0, 4, 4, "\r\x1b[Jabc\n2\n...\n"},
	} {
		if got := overdraw(c.lines, c.drawn, c.width, c.height); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestWatchArguments(t *testing.T) {
	f := newFake()
	s, _ := newTestSession(t, f)
	c := NewConsole(s, f, "input", nil)
	for line, want := range map[string]string{
		".watch":                   errWatchArgs.Text,
		".watch 1s":                errWatchArgs.Text,
		".watch 1ms counter.value": "the shortest period is 100ms",
		".watch 1s counter.":       "syntax error",
	} {
		if _, err := c.Line(context.Background(), line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func TestTopics(t *testing.T) {
	d := command.Description{
		Objects: []command.Object{{Name: "a", Script: "a.lua"}, {Name: "b", Script: "b.lua"}},
		Scripts: []command.Script{{Name: "a.lua", Source: `emit("ready") emit ( 'done', 1) emit(name) remit("no")`}, {Name: "b.lua", Source: `emit("ready")`}},
	}
	var got []string
	for _, topic := range Topics(&d) {
		got = append(got, topic.Name+" "+strings.Join(topic.Objects, ","))
	}
	if text := strings.Join(got, "; "); text != "done a; ready a,b" {
		t.Error(text)
	}
}
