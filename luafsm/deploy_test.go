package luafsm

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

func (r *rig) cmd(b []byte) string { r.t.Helper(); return show(r.apply(b)[0]) }

func (r *rig) expect(what, got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

const versioned = `local T = object("t", {version = %d})
function T:init() self.list = {} end
function T:migrate(from) self.list[#self.list + 1] = from %s end
function T.replicated:add(x) self.list[#self.list + 1] = x return #self.list end
function T.query:all() return self.list end
`

func TestDeployAndMigrate(t *testing.T) {
	r := newRig(t)
	src := func(v int, more string) string { return fmt.Sprintf(versioned, v, more) }
	r.expect("first", show(r.deploy("t.lua", src(1, ""))), "t: new, version 1 (t.lua)")
	r.expect("add", show(r.call("t", "add", "a")), "1")
	r.expect("same version", show(r.deploy("t.lua", src(1, ""))), "")
	before := r.m.Digest()
	d := r.m.DryRun(command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "t.lua", Source: src(2, "")}}), r.clock, nil)
	r.expect("dry run", show(decodeResult(t, d)), "t: version 1 to 2")
	if r.m.Digest() != before {
		t.Error("a dry run changed the state")
	}
	r.expect("after dry run", show(r.query(command.AppendQuery(nil, "t", "all", nil))), "{a}")
	r.expect("failing migrate", show(r.deploy("t.lua", src(2, "error('no')"))), "script: t.lua:3: no")
	r.expect("after failure", show(r.query(command.AppendQuery(nil, "t", "all", nil))), "{a}")
	r.expect("raise", show(r.deploy("t.lua", src(2, ""))), "t: version 1 to 2")
	r.expect("migrated", show(r.query(command.AppendQuery(nil, "t", "all", nil))), "{a,1}")
	r.expect("lower", show(r.deploy("t.lua", src(1, ""))), "bad_argument: t.lua:1:1: object t has version 2, the script says 1")
	r.expect("create", r.cmd(command.AppendCreate(nil, 0, 0, "u", "t")), "")
	r.expect("create twice", r.cmd(command.AppendCreate(nil, 0, 0, "u", "t")), "bad_argument: object u exists already")
	r.expect("create of nothing", r.cmd(command.AppendCreate(nil, 0, 0, "v", "x")), `not_found: no object "x"`)
	r.expect("bad name", r.cmd(command.AppendCreate(nil, 0, 0, "end", "t")), "bad_argument: 'end' is a name of the language")
	r.expect("own state", show(r.call("u", "add", 5)), "1")
	r.m = restored(t, r.m)
	r.expect("instance migrates", show(r.deploy("t.lua", src(3, ""))), "t: version 2 to 3 u: version 2 to 3")
	r.expect("drop prototype", r.cmd(command.AppendDrop(nil, 0, 0, "t")), "bad_argument: u has the methods of t; drop it first")
	r.expect("undefined", show(r.deploy("t.lua", "")), "t: not defined any more, its state is kept u: not defined any more, its state is kept")
	r.expect("call", show(r.call("t", "add", 1)), "not_found: no script defines the methods of t any more")
	r.expect("state kept", show(r.query(command.AppendGet(nil, "t", args("list")))), "{a,1,2}")
	r.expect("drop", r.cmd(command.AppendDrop(nil, 0, 0, "t")), "")
	r.expect("dropped", show(r.query(command.AppendGet(nil, "t", nil))), `not_found: no object "t"`)
	r.expect("two of a name", show(r.apply(command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "a.lua", Source: "local A = object 'a'"}, {Name: "b.lua", Source: "local A = object 'a'"}}))[0]),
		"script: b.lua:1: object a is already defined at a.lua:1")
	r.expect("path", show(r.deploy("../x.lua", "")), `bad_argument: script name "../x.lua": must be printable ASCII without spaces, slashes and colons`)
	r.expect("setting", r.cmd(command.AppendSetting(nil, 0, 0, "instructions", 5000)), "")
	r.expect("bad setting", r.cmd(command.AppendSetting(nil, 0, 0, "instructions", 1.5)), "bad_argument: setting instructions: must be an integer from 1000 to 1000000000")
	r.expect("no setting", r.cmd(command.AppendSetting(nil, 0, 0, "x", 1)), `bad_argument: no setting "x"`)
	m := restored(t, r.m)
	if m.limits.instructions != 5000 {
		t.Error("settings are not in the dump")
	}
}

func TestInstancesAndCallsBetweenObjects(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("counter.lua", script(t, "counter.lua"))
	r.mustDeploy("x.lua", `
object("hits", "counter")
local X = object "x"
function X:init() self.log = {} end
--- Moves n from hits to counter.
function X.replicated:move(n)
  hits:inc(-n) counter:inc(n)
  if counter.value > 10 then error("too much") end
  return hits.value, counter.value
end
function X.query:sum() return hits:get() + counter:get() end
function X.query:bad() return (pcall(counter.inc, counter)) end
function X.query:write() local h = {hits} h[1].value = 3 end
function X.query:scratch() local t = {1, hits.value} t[3] = "x" return t end
`)
	r.expect("move", show(r.call("x", "move", 4)), "-4 4")
	r.expect("fails as a whole", show(r.call("x", "move", 7)), "script: x.lua:8: too much")
	r.expect("sum", show(r.query(command.AppendQuery(nil, "x", "sum", nil))), "0")
	r.expect("hits", show(r.query(command.AppendQuery(nil, "hits", "get", nil))), "-4")
	r.expect("write", show(r.query(command.AppendQuery(nil, "x", "write", nil))), "script: x.lua:13: query methods can't change state")
	r.expect("call", show(r.query(command.AppendQuery(nil, "x", "bad", nil))), "script: x.lua:12: counter:inc is a replicated method: a query can't call it")
	r.expect("scratch", show(r.query(command.AppendQuery(nil, "x", "scratch", nil))), "{1,-4,x}")
	v := r.m.Publish()
	defer v.Release()
	d := codec.NewDecoder(decodeResult(t, NewQuerier().Query(v, command.AppendDescribe(nil), nil)).Values)
	d.ArrayLen()
	desc, err := command.DecodeDescription(&d)
	if err != nil || len(desc.Objects) != 3 || len(desc.Scripts) != 2 {
		t.Fatalf("%+v %v", desc, err)
	}
	x := desc.Objects[2]
	if x.Name != "x" || len(x.Methods) != 5 || x.Methods[1].Name != "move" || x.Methods[1].Doc != "Moves n from hits to counter." || strings.Join(x.Methods[1].Params, ",") != "n" || x.Methods[1].Line != 6 {
		t.Errorf("%+v", x)
	}
	if h := desc.Objects[1]; h.Prototype != "counter" || h.Script != "x.lua" || desc.Objects[0].Doc != "A counter that every node agrees on. Every method is O(1)." {
		t.Errorf("%+v", h)
	}
}

func TestSharedVariablesAreRefused(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{`local T = object "t"
local function make() local n = 0 return function() n = n + 1 return n end end
local id = make()
function T.replicated:x() return id() end`, "bad_argument: t.lua:2:1: the function changes n, a variable that would live on between calls; keep data in self"},
		{`local T = object "t"
local function make() local n = 0 return {f = function() local g = function() n = n + 1 end g() return n end} end
local o = make()
function T.replicated:x() return o.f() end`, "bad_argument: t.lua:2:1: the function changes n, a variable that would live on between calls; keep data in self"},
		{`local T = object "t"
local function make()
  local a, b, c, d, e = 0, 0, 0, 0, 0
  return function() e = e + 1 d = d + 1 c = c + 1 b = b + 1 a = a + 1 return a end
end
local id = make()
function T.replicated:x() return id() end`, "bad_argument: t.lua:4:1: the function changes e, a variable that would live on between calls; keep data in self"},
		{`local T = object "t"
local cache = {}
function T.replicated:x() cache.y = 1 end`, ""},
	} {
		r := newRig(t)
		got := show(r.deploy("t.lua", c.source))
		if c.want == "" {
			got, c.want = show(r.call("t", "x")), "script: t.lua:3: tables of the script can't be changed by methods; keep data in self"
		}
		r.expect(c.source, got, c.want)
	}
}

const timed = `local T = object "t"
function T:init() self.log = {} end
function T.replicated:set(s, x) return after(s, "fire", x, s) end
function T.replicated:fire(x, s)
  if x == "bad" then self.log[#self.log + 1] = "lost" error("bad") end
  self.log[#self.log + 1] = x
  emit("fired", x)
end
function T.replicated:cancel(id) return cancel(id) end
function T.query:all() return table.concat(self.log, " ") end
`

func TestTimers(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", timed)
	for i, c := range []struct {
		s any
		x string
	}{{2, "b"}, {1, "a"}, {2, "c"}, {1.5, "bad"}, {30, "never"}} {
		r.expect("set", show(r.call("t", "set", c.s, c.x)), fmt.Sprint(i+1))
	}
	r.expect("wrong method", show(r.apply(command.AppendCall(nil, 0, 0, "t", "set", args(-1, "x")))[0]), "script: t.lua:3: bad argument #1 to 'after' (seconds out of range)")
	if due, ok := r.m.NextTimer(); !ok || due != r.clock+1000 {
		t.Errorf("next timer at %d %v", due, ok)
	}
	r.expect("nothing due", r.cmd(command.AppendTick(nil)), "0")
	r.m = restored(t, r.m)
	r.expect("cancel", show(r.call("t", "cancel", 5)), "true")
	r.expect("cancel again", show(r.call("t", "cancel", 5)), "false")
	r.clock += 1000
	r.expect("one", r.cmd(command.AppendTick(nil)), "1")
	r.clock += 1000
	for _, left := range []string{"1", "1", "1", "0"} {
		r.expect("three, one a tick", r.cmd(command.AppendTick(nil)), left)
	}
	r.expect("order", show(r.query(command.AppendQuery(nil, "t", "all", nil))), "a b c")
	if _, ok := r.m.NextTimer(); ok {
		t.Error("a timer is left")
	}
	v := r.m.Publish()
	defer v.Release()
	ev, complete := v.EventsFrom(0, 10)
	if !complete || len(ev) != 3 || ev[0].Topic != "fired" || ev[0].Object != "t" || showValues(ev[1].Values) != "b" || ev[0].Index >= ev[1].Index || v.LastEvent() != 3 {
		t.Errorf("%+v", ev)
	}
}

// Queries read their version while the writer goes on.
func TestQueriesBesideTheWriter(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("c.lua", `local C = object "c"
function C:init() self.a = 0 self.b = {x = 0} end
function C.replicated:inc() self.a = self.a + 1 self.b.x = self.b.x + 1 self[self.a % 50] = {self.a} return self.a end
function C.query:both() local n = 0 for k, v in pairs(self) do n = n + 1 end return self.a, self.b.x, n > 0 end
`)
	var wg sync.WaitGroup
	versions := make(chan *Version, 8)
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			q := NewQuerier()
			for v := range versions {
				res := decodeResult(t, q.Query(v, command.AppendQuery(nil, "c", "both", nil), nil))
				var want string
				if n := int(v.Index()) - 1; n >= 0 {
					want = fmt.Sprintf("%d %d true", n, n)
				}
				if got := show(res); got != want {
					t.Errorf("at %d: %s, want %s", v.Index(), got, want)
				}
				v.Release()
			}
		}()
	}
	for range 300 {
		r.call("c", "inc")
		versions <- r.m.Publish()
	}
	close(versions)
	wg.Wait()
}

func TestUnreadableInput(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("counter.lua", script(t, "counter.lua"))
	good := command.AppendCall(nil, 1, 2, "counter", "inc", args(1))
	for i := range good {
		if got := r.cmd(good[:i]); !strings.HasPrefix(got, "bad_argument") {
			t.Errorf("cut at %d: %s", i, got)
		}
		d := command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "x.lua", Source: "local X = object 'x'"}})
		if got := r.cmd(d[:len(d)-1-i]); !strings.HasPrefix(got, "bad_argument") {
			t.Errorf("deploy cut by %d: %s", i, got)
		}
	}
	var res Results
	r.m.Apply(raft.Entry{Index: r.m.Index() + 3, Span: 3, Kind: raft.EntryBatch, Data: []byte{0xc1}}, &res)
	if res.Len() != 3 || r.m.Index() == 0 {
		t.Error("an unreadable batch needs a result for each index")
	}
	before := r.m.Index()
	res.Reset()
	r.m.Apply(raft.Entry{Index: before + 1, Span: 1, Kind: raft.EntryNoop}, &res)
	if res.Len() != 0 || r.m.Index() != before+1 {
		t.Error("a noop moves the index and has no results")
	}
	q := NewQuerier()
	v := r.m.Publish()
	defer v.Release()
	for _, b := range [][]byte{nil, {0x90}, {0x91, 9}, {0xc1}, {0x94, 1, 0xa1}, args(1, "counter", "get")} {
		if got := show(decodeResult(t, q.Query(v, b, nil))); !strings.HasPrefix(got, "bad_argument") {
			t.Errorf("% x: %s", b, got)
		}
	}
	if _, err := Restore(bytes.NewReader([]byte("junk")), Options{}); err == nil {
		t.Error("junk was restored")
	}
}

// Every timer has an index and a budget of its own, also of those that are due
// together, and whoever else fails.
func TestTimersDueTogether(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object "t"
function T:init() self.fired = {} end
function T.replicated:set(n) for i = 1, n do after(1, "burn", i) end end
function T.replicated:burn(i)
  if i == 3 then while true do end end
  for k = 1, 100000 do end
  self.fired[#self.fired + 1] = i .. "@" .. index() .. "#" .. random(1000000)
end
function T.query:all() return table.concat(self.fired, " ") end
`)
	r.call("t", "set", 45)
	r.clock += 1000
	first := int(r.m.Index()) + 1
	for range 9 {
		r.apply(slices.Repeat([][]byte{command.AppendTick(nil)}, 5)...)
		r.m = restored(t, r.m)
	}
	r.expect("none is left", r.cmd(command.AppendTick(nil)), "0")
	seen := map[string]bool{}
	var got, want []string
	for _, f := range strings.Fields(show(r.query(command.AppendQuery(nil, "t", "all", nil)))) {
		at, drawn, _ := strings.Cut(f, "#")
		if got = append(got, at); seen[drawn] {
			t.Errorf("%s was drawn twice", drawn)
		}
		seen[drawn] = true
	}
	for i := range 45 {
		if i != 2 {
			want = append(want, fmt.Sprintf("%d@%d", i+1, first+i))
		}
	}
	r.expect("order", strings.Join(got, " "), strings.Join(want, " "))
}

// A timer does not outlive its object.
func TestTimersOfDroppedObject(t *testing.T) {
	const source = `local T = object "t"
function T.replicated:later(s) after(s, "add") end
function T.replicated:add() self.n = (self.n or 0) + 1 return self.n end
function T.query:get() return self.n or 0 end
`
	r := newRig(t)
	r.mustDeploy("t.lua", source)
	r.call("t", "later", 10)
	r.call("t", "later", 20)
	r.cmd(command.AppendDrop(nil, 0, 0, "t"))
	r.clock += 10_000
	r.expect("of an object that is gone", r.cmd(command.AppendTick(nil)), "1")
	r.mustDeploy("t.lua", source)
	r.m = restored(t, r.m)
	r.call("t", "later", 10)
	r.clock += 10_000
	r.expect("of an earlier one of the name", r.cmd(command.AppendTick(nil)), "1")
	r.expect("nothing has happened", show(r.query(command.AppendQuery(nil, "t", "get", nil))), "0")
	r.expect("its own", r.cmd(command.AppendTick(nil)), "1")
	r.expect("has happened", show(r.query(command.AppendQuery(nil, "t", "get", nil))), "1")
}

// A deploy can't bring a method that a field of the state would hide.
func TestDeployOfHiddenMethod(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object "t"
function T:init() self.val = 1 end
function T.query:get() return self.val end
`)
	const later = `local T = object("t", {version = 2})
function T:migrate() %s end
function T.replicated:val() return 2 end
`
	r.expect("hidden", show(r.deploy("t.lua", fmt.Sprintf(later, ""))),
		"bad_argument: t.lua:3:1: t has a field val, which a method can't be named like; raise the version and rename it in migrate")
	r.expect("nothing has changed", show(r.query(command.AppendQuery(nil, "t", "get", nil))), "1")
	r.mustDeploy("t.lua", fmt.Sprintf(later, "self.value, self.val = self.val, nil"))
	r.expect("renamed", show(r.call("t", "val")), "2")
}

// Definitions one after the other are no expression.
func TestManyMethods(t *testing.T) {
	var b strings.Builder
	b.WriteString("local X = object 'x'\n")
	for i := range 400 {
		fmt.Fprintf(&b, "function X.query:get%d() return self.n end\n", i)
	}
	newRig(t).mustDeploy("x.lua", b.String())
}

// Arguments and results of a call are bounded together.
func TestMessageBytes(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object "t"
function T.replicated:echo(s) return s end
`)
	r.apply(command.AppendSetting(nil, 0, 0, "message_bytes", 10000))
	r.expect("half of it", show(r.call("t", "echo", strings.Repeat("x", 4900)))[:3], "xxx")
	for _, n := range []int{6000, 9990, 20000} {
		if res := r.call("t", "echo", strings.Repeat("x", n)); res.Code == command.CodeOK {
			t.Errorf("%d bytes went in and out", n)
		}
	}
}

// A dry run of any command, whether it succeeds or fails and whatever the clock
// is by which it is tried, leaves the machine as it was.
func TestDryRunChangesNothing(t *testing.T) {
	r := newRig(t)
	const src = `local T = object("t", {version = %d})
function T:init() self.n = 0 end
function T:migrate(from) self.from = from after(1, "later") emit("migrated") %s end
function T.replicated:later() self.n = self.n + 1 end
function T.replicated:all() self.n = self.n + 1 self.at = now() emit("x", 1) return after(0.5, "later"), random(100) end
function T.replicated:fail() self:all() error("no") end
function T.replicated:spin() self:all() while true do end end
`
	r.mustDeploy("t.lua", fmt.Sprintf(src, 1, ""))
	r.call("t", "all")
	r.cmd(command.AppendCreate(nil, 0, 0, "u", "t"))
	session := r.apply(command.AppendOpen(nil))[0].Index
	call := func(method string) []byte { return command.AppendCall(nil, 0, 0, "t", method, nil) }
	deploy := func(source string) []byte {
		return command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "t.lua", Source: source}})
	}
	dump := func() string {
		v := r.m.Publish()
		defer v.Release()
		var b bytes.Buffer
		if err := v.Dump(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	for _, c := range []struct {
		name string
		cmd  []byte
		want string // beginning of the result
	}{
		{"call", call("all"), "2 "},
		{"call that fails", call("fail"), "script: "},
		{"call that never ends", call("spin"), "budget: "},
		{"call in a session", command.AppendIn(nil, call("all"), session, 1, 0), "2 "},
		{"deploy", deploy(fmt.Sprintf(src, 2, "")), "t: version 1 to 2"},
		{"deploy that fails", deploy(fmt.Sprintf(src, 2, "error('no')")), "script: "},
		{"deploy that is refused", deploy("local = 1"), "bad_argument: "},
		{"create", command.AppendCreate(nil, 0, 0, "w", "t"), ""},
		{"drop", command.AppendDrop(nil, 0, 0, "u"), ""},
		{"setting", command.AppendSetting(nil, 0, 0, "instructions", 5000), ""},
		{"open", command.AppendOpen(nil), ""},
		{"tick", command.AppendTick(nil), ""},
		{"upgrade", command.AppendUpgrade(nil, 9), ""},
		{"garbage", []byte{0xc1}, "bad_argument: "},
	} {
		for _, ahead := range []int64{0, 10_000_000, -10_000_000} {
			before, state := wholeMachine(r.m), dump()
			got := show(decodeResult(t, r.m.DryRun(c.cmd, r.clock+ahead, nil)))
			if !strings.HasPrefix(got, c.want) {
				t.Errorf("%s, %d ms ahead: %s, want %s", c.name, ahead, got, c.want)
			}
			if after := wholeMachine(r.m); after != before {
				t.Errorf("%s, %d ms ahead:\nbefore %s\nafter  %s", c.name, ahead, before, after)
			}
			if dump() != state {
				t.Errorf("%s, %d ms ahead: another dump", c.name, ahead)
			}
		}
	}
}
