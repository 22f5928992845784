package shell

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
)

// Each input and what it prints; "! " starts an error.
func TestInputs(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"call", "counter:inc(5)", "5"},
		{"statement", "x = counter:inc(5)\nprint(x)", "5"},
		{"locals stay", "local a, b = 1\nprint(a, b)\nlocal function f() return a end\nf()", "1\tnil\n1"},
		{"query and field", "counter:inc()\ncounter:get()\ncounter.value", "1\n1\n1"},
		{"several values", "counter:two()", "1\n2"},
		{"nothing", "x = 1\n-- a comment\n", ""},
		{"nested field", "kv.data.x\nkv.data", "red\n{x = \"red\", y = {1, 2}}"},
		{"pairs", "for k, v in pairs(kv.data) do print(k, v) end\nfor k in pairs(counter) do print(k) end", "x\tred\ny\t{1, 2}\nvalue"},
		{"multi-line", "for i = 1, 2 do\n  counter:inc()\nend\ncounter.value", "2"},
		{"no object", "countr:inc()", "! stdin:1: no object or variable 'countr'; did you mean 'counter'?"},
		{"no method", "counter:icn()", "! not_found: no method 'icn' in counter; did you mean 'inc'?"},
		{"no method, nothing near", "counter:frobnicate()", "! not_found: no method 'frobnicate' in counter; it has get, inc, two"},
		{"assign", "counter.value = 3", "! stdin:1: counter.value can't be assigned from here: state changes only in replicated methods; call counter:inc(by) or counter:two()"},
		{"assign nested", "kv.data.x = 3", "! stdin:1: kv.data.x can't be assigned from here: state changes only in replicated methods; call kv:set(key, value)"},
		{"assign in own table", "kv = {data = {}}\nkv.data.x = 3\nkv.data.x", "3"},
		{"syntax", "x = = 3", "! stdin:1:5: syntax error near '='"},
		{"syntax in expression", "1 + + 2", "! stdin:1:5: syntax error near '+'"},
		{"line numbers", "x = 1\n\nerror('boom')", "! stdin:3: boom"},
		{"unfinished", "for i = 1, 2 do\nprint(i)", "! stdin:1: the input ends before this statement does"},
		{"unfinished string", "x = \"abc", "! stdin:2:0: unterminated string near 'abc'"},
		{"error object", "counter:inc({})", "! script: counter.lua:12: number expected"},
		{"caught", "local ok, e = pcall(counter.inc, counter, {})\nprint(ok, e, e.code, e.message, e.value, e.index)", "false\tscript: counter.lua:12: number expected\tscript\tcounter.lua:12: number expected\tbad\t9"},
		{"concatenated", "local _, e = pcall(counter.inc, counter, {})\nprint('got ' .. e)", "got script: counter.lua:12: number expected"},
		{"function as argument", "counter:inc(print)", "! stdin:1: argument 1: functions can't be replicated; for a callback use counter.async:inc(...)"},
		{"thread as argument", "counter:inc({coroutine.create(print)})", "! stdin:1: counter:inc: argument 1[1]: a thread can't be replicated: not data"},
		{"called with a dot", "counter.inc(5)", "! stdin:1: counter.inc(...) is not how a method is called; use counter:inc(...)"},
		{"create", "object('hits', 'counter'):inc(2)\nhits", "2\nobject hits"},
		{"define here", "object 'x'", "! stdin:1: an object is defined in a script: write it to a file and use `.load FILE` or `syncsh deploy FILE`; here object(\"x\", \"prototype\") makes another object with the methods of an existing one"},
		{"local method", "lock:where(3)", "\"here\"\nnil\n3"},
		{"local method's globals are its own", "lock:where()\npcall(function() return helper end)", "\"here\"\nnil\nnil\nfalse\n\"stdin:2: no object or variable 'helper'; did you mean 'help'?\""},
		{"local method fails", "lock:fail()", "! lock.lua:10: broken"},
		{"async", "counter.async:inc(1, function(res, err) print('counter =', res, err) end)\nprint(await(counter.async:inc()))", "answer"},
		{"async error", "counter.async:inc({}, function(res, err) print(res, err.code) end)", "nil\tscript"},
		{"async local", "local h = counter.async:inc()\nlock.async:where(1, function(a, err, b, c) print(a, err, b, c) end)\nprint(h:await())", ""},
		{"async, no method", "counter.async:icn()", "! not_found: no method 'icn' in counter; did you mean 'inc'?"},
		{"sleep", "sleep(0.001)\nprint('awake')", "awake"},
		{"after", "local t = after(0, function() print('later') end) print(t)", "timer\nlater"},
		{"stopped", "local t = after(100, print)\nt:stop()\nprint(t)", "timer, stopped"},
		{"yield across tasks", "local co = coroutine.wrap(function() sleep(0.001) coroutine.yield(1) sleep(0) return 2 end)\nprint(co(), co())", "1\t2"},
		{"error in callback", "counter.async:inc(1, function() error('in it') end)\nsleep(60)", "! stdin:1: in it"},
		{"exit", "exit(7)", "! exit 7"},
		{"exit in timer", "after(0, function() os.exit(3) end)\nsleep(60)", "! exit 3"},
		{"exit can't be caught", "pcall(exit, 4)\nprint('still here')", "! exit 4"},
		{"json", "json.encode({b = {1, 2}, a = 'x\"', [3] = true})\njson.decode('{\"k\":[1,null,2.5]}').k[3]", "{\"3\":true,\"a\":\"x\\\"\",\"b\":[1,2]}\n2.5"},
		{"json on", ".json on\ncounter:two()\nkv.data\nprint('x')", "[1,2]\n{\"x\":\"red\",\"y\":[1,2]}\nx"},
		{"help", "?counter", "counter: An object.\n  counter:get()    query\n  counter:inc(by)  replicated  Adds `by`.\n  counter:two()    replicated"},
		{"help of a method", "?counter.inc\nhelp('counter:inc')", "counter:inc(by)  (replicated)\n  Adds `by`.\ncounter:inc(by)  (replicated)\n  Adds `by`."},
		{"objects", ".objects", "OBJECT   SCRIPT       METHODS\ncounter  counter.lua  get inc two\nkv       kv.lua       set\nlock     lock.lua     acquire fail where"},
		{"unknown command", ".objcts", "! stdin:1: no command '.objcts'; did you mean '.objects'?"},
		{"quit", ".quit\nprint(1)", ""},
		{"recursion", "local function f() return 1 + f() end\nf()", "! stdin:1: stack overflow"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, out := newTestSession(t, newFake())
			con := NewConsole(s, newFake(), "stdin", nil)
			err := RunInput(context.Background(), con, strings.NewReader(c.in))
			got := out.take()
			if err != nil {
				got += "! " + err.Error()
			}
			want := c.want
			switch c.name {
			case "async": // the callback comes before the second call's answer, the handle's text at once
				want = "counter =\t1\tnil\n2"
			case "async local":
				// Nothing orders the two calls of the async local method and the await.
				if got != "here\tnil\tnil\t1\n1\n" && got != "1\nhere\tnil\tnil\t1\n" {
					t.Fatalf("got %q", got)
				}
				return
			case "recursion":
				if !strings.Contains(got, "stack overflow") {
					t.Fatalf("got %q", got)
				}
				return
			}
			if strings.TrimSpace(got) != want {
				t.Fatalf("got  %q\nwant %q", strings.TrimSpace(got), want)
			}
		})
	}
}

// While one task waits for its answer others run: the timer fires although the
// call that was made first has no answer yet.
func TestOthersRunWhileOneWaits(t *testing.T) {
	f := newFake()
	f.held = make(chan func(), 16)
	s, out := newTestSession(t, f)
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Run(context.Background(), "main.lua", `
			after(0, function() print("timer"); counter:inc(10); print("second") end)
			print("first", counter:inc())`, nil)
	}()
	answerFirst := <-f.held  // of the chunk
	answerSecond := <-f.held // of the timer, made while the chunk waits
	answerSecond()
	// The timer's function goes on and ends although the chunk, which was there
	// before it, still waits.
	for seen := ""; !strings.Contains(seen, "second\n"); {
		<-out.written
		seen += out.take()
	}
	answerFirst()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := out.take(); got != "first\t11\n" {
		t.Fatalf("got %q", got)
	}
}

// Answers reach callbacks in the order in which they came.
func TestCallbackOrder(t *testing.T) {
	f := newFake()
	f.held = make(chan func(), 16)
	s, out := newTestSession(t, f)
	if err := s.Run(context.Background(), "main.lua", `for i = 1, 3 do counter.async:inc(i, function(r) print(i, r) end) end`, nil); err != nil {
		t.Fatal(err)
	}
	a, b, c := <-f.held, <-f.held, <-f.held
	c()
	a()
	b()
	if err := s.Drain(context.Background(), true); err != nil {
		t.Fatal(err)
	}
	if got := out.take(); got != "3\t3\n1\t4\n2\t6\n" {
		t.Fatalf("got %q", got)
	}
}

// A read shows what the script has asked for before it, also without waiting.
func TestReadAfterAsync(t *testing.T) {
	f := newFake()
	f.held = make(chan func(), 16)
	s, out := newTestSession(t, f)
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- s.Run(context.Background(), "main.lua", `
			counter.async:inc(1, function(r) print("answer", r) end)
			counter.async:get()
			counter.async:inc(1)
			print("read", counter.value)`, nil)
	}()
	first, get, second := <-f.held, <-f.held, <-f.held
	for _, answer := range []func(){second, first} {
		parked := make(chan struct{})
		s.sched.post(func() { close(parked) })
		<-parked // the chunk waits
		if n := len(f.held); n != 0 {
			t.Fatal("the read was sent while a call had no answer")
		}
		answer()
	}
	(<-f.held)() // a query that has no answer is not waited for
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	get()
	if got := out.take(); got != "answer\t2\nread\t2\n" {
		t.Fatalf("got %q", got)
	}
}

// Without a leader nothing is said to be missing: the node may not know of it.
func TestMissingWithoutLeader(t *testing.T) {
	f := newFake()
	f.alone = true
	s, _ := newTestSession(t, f)
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, src := range []string{"news:inc()", "counter:new()", "counter.async:new()"} {
		if err := s.Run(context.Background(), "main.lua", "return "+src, nil); client.CodeOf(err) != command.CodeNoLeader {
			t.Errorf("%s: %v", src, err)
		}
	}
	f.alone = false
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := s.Run(context.Background(), "main.lua", "counter:new()", nil); client.CodeOf(err) != command.CodeNotFound {
		t.Errorf("with a leader: %v", err)
	}
}

func TestInterrupt(t *testing.T) {
	f := newFake()
	f.held = make(chan func(), 16)
	for _, src := range []string{"while true do end", "while true do pcall(function() while true do end end) end", "counter:inc()", "sleep(1000)", "counter.value"} {
		s, _ := newTestSession(t, f)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- s.Input(ctx, "input", 1, src) }()
		cancel()
		if err := <-done; !errors.Is(err, ErrInterrupted) {
			t.Fatalf("%s: %v", src, err)
		}
		if err := s.Input(context.Background(), "input", 1, "x = 1"); err != nil {
			t.Fatalf("after %s: %v", src, err)
		}
	}
}

// A repeating timer keeps a script running until it is stopped, and its missed
// periods are left out while its function waits.
func TestEvery(t *testing.T) {
	s, out := newTestSession(t, newFake())
	err := s.Run(context.Background(), "main.lua", `
		local n = 0
		local h
		h = every(0.001, function()
			n = n + 1
			print(n, arg[0], arg[1], ...)
			sleep(0.01)
			if n == 3 then h:stop() end
		end)`, []string{"a"})
	if err == nil {
		err = s.Drain(context.Background(), true)
	}
	if err == nil {
		t.Fatal("... outside a vararg function must not compile")
	}
	err = s.Run(context.Background(), "main.lua", `
		local n, first = 0, ...
		local h
		h = every(0.001, function()
			n = n + 1
			print(n, arg[0], arg[1], first)
			sleep(0.01)
			if n == 3 then h:stop() end
		end)`, []string{"a"})
	if err == nil {
		err = s.Drain(context.Background(), true)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := out.take(); got != "1\tmain.lua\ta\ta\n2\tmain.lua\ta\ta\n3\tmain.lua\ta\ta\n" {
		t.Fatalf("got %q", got)
	}
}

// What others deploy is seen without being told.
func TestDeployedMeanwhile(t *testing.T) {
	f := newFake()
	s, out := newTestSession(t, f)
	if err := s.Input(context.Background(), "input", 1, "counter:inc()"); err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	f.objects["late"] = "counter"
	f.mu.Unlock()
	if err := s.Input(context.Background(), "input", 1, "late:inc()"); err != nil {
		t.Fatal(err)
	}
	if got := out.take(); got != "1\n2\n" {
		t.Fatalf("got %q", got)
	}
}

func TestExitCodes(t *testing.T) {
	for code, want := range map[command.Code]int{
		command.CodeScript: 1, command.CodeBudget: 1, command.CodeNotFound: 1, command.CodeBadArgument: 1,
		command.CodeNoLeader: 3, command.CodeTimeout: 4, command.CodeDenied: 5,
	} {
		if got := ExitCode(&command.Error{Code: code}); got != want {
			t.Errorf("%v: %d, want %d", code, got, want)
		}
	}
	if got := ExitCode(&UsageError{"x"}); got != 2 {
		t.Errorf("usage: %d", got)
	}
}

func TestCompletion(t *testing.T) {
	f := newFake()
	s, _ := newTestSession(t, f)
	if err := s.Refresh(context.Background()); err != nil {
		t.Fatal(err)
	}
	c := NewConsole(s, f, "input", nil)
	for _, tc := range []struct{ in, want string }{
		{"cou", "nter"},
		{"counter:", "get( inc( two("},
		{"print(counter:i", "nc("},
		{"counter.async:t", "wo("},
		{"counter.", "async value"},
		{"kv.data.", "x y"},
		{"string.up", "per"},
		{"nosuch.", ""},
		{".st", "ale atus op"},
		{".json o", "ff n"},
		{".edit ", "counter kv lock"},
		{".watch counter.v", "alue"},
		{"?lo", "ck"},
		{"whil", "e"},
	} {
		var got []string
		suffixes, _ := c.Do([]rune(tc.in), len([]rune(tc.in)))
		for _, s := range suffixes {
			got = append(got, string(s))
		}
		if g := strings.Join(got, " "); g != tc.want {
			t.Errorf("%q: got %q, want %q", tc.in, g, tc.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for _, k := range []struct {
		text  string
		whole bool
		want  string
	}{
		{"short", false, "short"},
		{strings.Repeat("x", errorTextMax), false, strings.Repeat("x", errorTextMax)},
		{strings.Repeat("x", errorTextMax+1), false, strings.Repeat("x", errorTextMax) + "... (1 bytes more; --json shows all)"},
		{strings.Repeat("x", errorTextMax+1), true, strings.Repeat("x", errorTextMax+1)},
		{strings.Repeat("x", errorTextMax-1) + "\u20ac", false, strings.Repeat("x", errorTextMax-1) + "... (3 bytes more; --json shows all)"},
		{strings.Repeat("\x80", errorTextMax+5), false, strings.Repeat("\x80", errorTextMax-4) + "... (9 bytes more; --json shows all)"},
	} {
		if got := ErrorText(errors.New(k.text), k.whole); got != k.want {
			t.Errorf("%d bytes, whole %v: %d bytes, %q at the end", len(k.text), k.whole, len(got), got[max(0, len(got)-50):])
		}
	}
}
