package luafsm

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// What one operation is charged at least: the loops of spenders would show too
// small a charge as time only, which no test looks at.
func TestCharges(t *testing.T) {
	for _, c := range []struct {
		name, body string
		steps      uint64
	}{
		{"add", `local x = ("0"):rep(16000) + 1`, 1000},
		{"add, right", `local x = 1 + ("0"):rep(16000)`, 1000},
		{"divide", `local x = ("0"):rep(16000) / 1`, 1000},
		{"power", `local x = 2 ^ ("0"):rep(16000)`, 1000},
		{"negate", `local x = -("0"):rep(16000)`, 1000},
		{"no number", `pcall(function() return ("x"):rep(16000) + 1 end)`, 1000},
		{"bound", `for i = 1, ("0"):rep(16000) do end`, 1000},
		{"step", `for i = 1, 2, ("0"):rep(16000) .. 1 do end`, 1000},
		{"argument", `math.floor(("0"):rep(16000))`, 1000},
		{"max", `math.max(1, ("0"):rep(16000))`, 1000},
		{"position", `local x = ("x"):sub(("0"):rep(16000) .. 1)`, 1000},
		{"format", `string.format("%d", ("0"):rep(16000))`, 1000},
		{"after", `after(("0"):rep(16000), "run")`, 1000},
		{"tonumber", `tonumber(("0"):rep(16000))`, 1000},
		{"tonumber with base", `tonumber(("0"):rep(16000), 8)`, 1000},
		{"json", `json.decode(("1"):rep(300) .. "." .. ("0"):rep(16000))`, 1500},
		{"smallest", `local x = "5e-324" * 1`, 400},
		{"long and small", `local x = ("1" .. ("7"):rep(800) .. "e-1120") * 1`, 1000},
		{"hole", `local t = {} for i = 1, 1000 do t[i] = 1 end t[1] = nil`, 4 * 1000},
		{"hole filled", `local t = {} for i = 2, 1000 do t[i] = 1 end t[1] = 1`, 4 * 1000},
		{"hole that insert makes", `local t = {} for i = 1, 1000 do t[i] = 1 end table.insert(t, 1, nil)`, 4 * 1000},
		{"concat of nothing", `local t = {} for i = 1, 1000 do t[i] = "" end table.concat(t)`, 7000},
		{"all digits", `string.format("%.99g", 5e-324)`, 200},
		{"all digits behind the point", `string.format("%.99f", 5e-324)`, 200},
		{"quotes", `string.format("%q", ("\0"):rep(1000))`, 2000},
		{"gsub of nothing", `(("a"):rep(1000)):gsub("", "")`, 4000},
		{"escapes", `json.encode(("\1"):rep(16000))`, 6000},
		{"key", `local k, t = ("x"):rep(250), {} for i = 1, 1000 do local x = t[k] end`, 9000},
		{"comparison", `local a, b = ("x"):rep(250) .. 1, ("x"):rep(250) .. 2 for i = 1, 1000 do local x = a < b end`, 11_000},
		{"tables put into the state", `local l = {} for i = 1, 1000 do l[i] = {} end self.l = l`, 1000 * (freshSteps + tableSteps + 5)},
		{"numbers that become text", `local n = 0.5 for i = 1, 1000 do local x = n .. n .. n .. n end`, 1000 * 4 * textSteps / 2},
		{"numbers as texts", `local n = 0.5 for i = 1, 1000 do string.len(n) end`, 1000 * (textSteps + 3)},
		{"metamethod", `local t = setmetatable({}, {__index = rawequal}) for i = 1, 1000 do local x = t[i] end`, 1000 * (callSteps + 2)},
		{"insert before long strings", longStrings(`for i = 1, 10 do table.insert(self, 1, 0) end`), 10 * 20 * 16000 / bytesPerStep},
		{"remove before long strings", longStrings(`table.insert(self, 1, 0) for i = 1, 10 do table.remove(self, 1) table.insert(self, 1, 0) end`), 20 * 20 * 16000 / bytesPerStep},
		{"hole before long strings", longStrings(`table.insert(self, 1, nil)`), 20 * 16000 / bytesPerStep},
		{"sort of long strings", longStrings(`table.sort(self, function() return false end)`), 20 * 2 * 16000 / bytesPerStep},
		{"error", `local s = ("x"):rep(16000) for i = 1, 100 do pcall(function() error(s) end) end`, 100 * (16000/bytesPerStep + pcallErrorSteps + 5)},
		{"refused argument", `local s = {("x"):rep(16000), print} for i = 1, 100 do pcall(emit, "x", s) end`, 100 * (16000/bytesPerStep + pcallErrorSteps + eventSteps)},
		{"lookups", `local t = {} for i = 1, 1000 do local x = t.a t.a = nil x = #t end`, 1000 * (4 + 3*lookupSteps)},
		{"tables as keys", `local t = {} for i = 1, 1000 do t[{}] = 1 end`, 1000 * (3 + tableSteps + lookupSteps + 4)},
		{"index chain", chain("__index", `for i = 1, 1000 do local x = t.a end`), 1000 * (14*metaSteps + 2)},
		{"newindex chain", chain("__newindex", `for i = 1, 1000 do t.a = nil end`), 1000 * (14*metaSteps + 2)},
		{"gsub chain", chain("__index", `(("a"):rep(1000)):gsub("a", t)`), 1000 * 14 * metaSteps},
		{"long key in a chain", chain("__index", `local k = ("x"):rep(3200) local x = t[k]`), 15 * 100},
		{"json of the smallest", `json.decode("5e-324")`, 400},
		{"long pattern of find", `local p = ("x"):rep(16000) .. "." for i = 1, 10 do (""):find(p) end`, 10 * 16000 / 8},
		{"long pattern of match", `local p = ("x"):rep(16000) .. "." for i = 1, 10 do (""):match(p) end`, 10 * 16000 / 8},
		{"patterns", `local s = "x" for i = 1, 1000 do s:find("^y") s:match("^y") s:gsub("^y", "") end`, 1000 * 3 * (12 + 5)},
		{"long key of a string", `local s, k = "x", ("x"):rep(16000) for i = 1, 10 do local f = s[k] end`, 10 * 16000 / compareBytes},
		{"long key of a definition", `local k = ("x"):rep(16000) for i = 1, 10 do local f = T[k] f = T.query[k] end`, 20 * 16000 / compareBytes},
		{"ipairs", `local t = {} for i = 1, 1000 do t[i] = i end for i, v in ipairs(t) do end`, 1000 * (5 + lookupSteps)},
		{"error in a function of many calls", `local f = rawget local function g() if false then ` + strings.Repeat("f() ", 6400) + `end f(1) end for i = 1, 10 do pcall(g) end`, 10 * (6400/callsPerStep + pcallErrorSteps)},
		{"call of nil in a function of many calls", `local f local function g() if false then ` + strings.Repeat("f() ", 6400) + `end f(1) end for i = 1, 10 do pcall(g) end`, 10 * (6400/callsPerStep + pcallErrorSteps)},
	} {
		if got := charged(t, c.name, c.body); got.Steps < c.steps {
			t.Errorf("%s: %d steps were charged, not %d", c.name, got.Steps, c.steps)
		}
	}
}

// longStrings is a body with 20 texts of 16000 bytes in the state.
func longStrings(body string) string {
	return `local a = ("x"):rep(16000) for i = 1, 20 do self[i] = a end ` + body
}

// chain is a body with 14 tables behind t.
func chain(event, body string) string {
	return "local t = {} for i = 1, 14 do t = setmetatable({}, {" + event + " = t}) end " + body
}

// charged is what a call with the body is charged.
func charged(t *testing.T, name, body string) Charges {
	t.Helper()
	r := newRig(t)
	r.mustDeploy("t.lua", wrap(body))
	before := r.m.Charged()
	if res := r.call("t", "run"); res.Code != command.CodeOK {
		t.Errorf("%s: %.200s", name, show(res))
	}
	after := r.m.Charged()
	return Charges{after.Steps - before.Steps, after.Bytes - before.Bytes}
}

// Functions are charged as memory, with each variable that they share, however
// they are written.
func TestClosuresAreCharged(t *testing.T) {
	const one = tableBytes + 3*slotBytes
	for _, c := range []struct {
		name, body string
		bytes      uint64
	}{
		{"expression", `local f = {} for i = 1, 10 do f[1] = function() return a, b, c end end`, 10*one + tableBytes + slotBytes},
		{"local", `for i = 1, 10 do local f = function() return a, b, c end end`, 10 * one},
		{"local function", `for i = 1, 10 do local function f() return a, b, c, f end end`, 10 * (one + slotBytes)},
		{"field", `local f = {} for i = 1, 10 do function f.f() return a, b, c end end`, 10*one + tableBytes + slotBytes},
		{"method", `local f = {} for i = 1, 10 do function f:f() return a, b, c, self end end`, 10*one + tableBytes + slotBytes},
		{"condition", `local n = 0 while n < 10 and (function() return a, b, c end) do n = n + 1 end`, 10 * one},
		{"until", `local n = 0 repeat local function f() return a, b, c end n = n + 1 until n == 10`, 10 * one},
		{"argument", `for i = 1, 10 do rawequal(1, function() return a, b, c end) end`, 10 * one},
		{"returned", `local function f() return function() return a, b, c end end for i = 1, 10 do f() end`, 10*one + one},
		{"within", `if a then else for i = 1, 10 do local function f() return a, b, c end end end`, 10 * one},
		{"gmatch", `for i = 1, 10 do ("x"):gmatch("y") end`, 10 * gmatchBytes},
		{"pairs", `local t = {} for i = 1, 10 do pairs(t) end`, 11 * tableBytes},
	} {
		if got := charged(t, c.name, "local a, b, c "+c.body); got.Bytes != c.bytes {
			t.Errorf("%s: %d bytes were charged, not %d", c.name, got.Bytes, c.bytes)
		}
	}
}

// Definitions that became assignments, and local functions that are charged for
// behind them, are what they were.
func TestFunctionDefinitions(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end return f(5)`, "5"},
		{`local t = {a = {}} function t.a.f(x) return x end function t.a:g(x) return self == t.a, x end return t.a.f(1), t.a:g(2)`, "1 true 2"},
		{`local t = {n = 3} function t:f(...) return self.n, select("#", ...) end return t:f(1, nil)`, "3 2"},
		{`local t = {} function t:f() end function t:f() return error("x") end t:f()`, "script: t.lua:4: x"},
		{`local n repeat local function f() return n end n = 1 until f() == 1 return n`, "1"},
		{`local s = 0 for i = 1, 3 do if i == 2 then goto next end local function f() return i end s = s + f() ::next:: end return s`, "4"},
		{`do local function f() return 7 end return f() end`, "7"},
		{`local self = 1 local t = {} function t:f() return self == t end function t.g() return self end return t:f(), t.g()`, "true 1"},
	} {
		r := newRig(t)
		r.mustDeploy("t.lua", wrap(c.body))
		if got := show(r.call("t", "run")); got != c.want {
			t.Errorf("%s: got %s, want %s", c.body, got, c.want)
		}
	}
}

// Functions under way share so many variables at most.
func TestOpenVariablesAreBounded(t *testing.T) {
	for _, c := range []struct {
		depth int
		want  string
	}{{3, "196"}, {4, "budget: t.lua:4: too many variables are shared with functions"}} {
		r := newRig(t)
		r.mustDeploy("t.lua", wrap(manyShared(49, `local deep deep = function(n) %s last = function() return %s end if n == 1 then return 49 end return 49 + deep(n - 1) end return deep(`)+strconv.Itoa(c.depth+1)+`)`))
		if got := show(r.call("t", "run")); got != c.want {
			t.Errorf("depth %d: %s", c.depth, got)
		}
	}
}

// What moves between a sequence and its map is paid for before it moves, in the
// state twice, as a call that fails moves it back.
func TestMovesAreCharged(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object 't'
function T.replicated:grow(from, to) for i = from, to do self[i] = i end return #self end
function T.replicated:set(i, v) self[i] = v return #self end
function T.replicated:insert(i, v) table.insert(self, i, v) return #self end`)
	for i := range 13 {
		r.call("t", "grow", i*10_000+1, (i+1)*10_000)
	}
	const n = 130_000
	for _, c := range []struct {
		name, method string
		i            int
		v            any
		want         string
		steps        uint64
	}{
		{"hole too far from the end", "set", 1, nil, "budget: t.lua:3: instruction limit reached", 0},
		{"the same by insert", "insert", 1, nil, "budget: t.lua:4: instruction limit reached", 0},
		{"hole", "set", 100_000, nil, "99999", 8 * 30_000},
		{"filled", "set", 100_000, 1, "130000", 8 * 30_000},
		{"last", "set", n, nil, "129999", 0},
		{"behind", "set", n, 1, "130000", 0},
		{"second to last", "set", n - 1, nil, "129998", 8},
		{"filled again", "insert", n - 1, 1, "130000", 8},
	} {
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		before := r.m.Charged().Steps
		got := show(r.call("t", c.method, c.i, c.v))
		runtime.ReadMemStats(&end)
		steps := r.m.Charged().Steps - before
		if got != c.want || c.steps > 0 && (steps < c.steps || steps > c.steps+200) {
			t.Errorf("%s: %s, %d steps, want %s, %d", c.name, got, steps, c.want, c.steps)
		}
		if n := end.Mallocs - start.Mallocs; strings.HasPrefix(c.want, "budget") && n > 1000 {
			t.Errorf("%s: entries have moved: %d allocations", c.name, n)
		}
	}
}

// Tables that come into the state are paid for before it is looked at whether
// they may.
func TestFreshTablesAreCharged(t *testing.T) {
	r, twin := newRig(t), newRig(t)
	for _, r := range []*rig{r, twin} {
		r.mustDeploy("t.lua", wrap(`local a = {} for i = 1, 60000 do a[i] = {} end self.a = a`))
	}
	if got := show(r.call("t", "run")); got != "budget: t:run: instruction limit reached" {
		t.Errorf("got %s", got)
	}
	twin.call("t", "none")
	if r.m.Digest() != twin.m.Digest() {
		t.Error("the state has changed")
	}
}

// What a sort puts back into the state is charged one by one: a call that can't
// pay for all of it has not hashed all of it.
func TestSortIsChargedAsItGoes(t *testing.T) {
	r := newRig(t)
	r.mustDeploy("t.lua", `local T = object 't'
function T.replicated:fill() local a = ("x"):rep(1e6) for i = 1, 20 do self[#self + 1] = a .. i end end
function T.replicated:sort() local n = 0 table.sort(self, function() n = n + 1 return n % 3 == 0 end) end`)
	for range 5 {
		if got := show(r.call("t", "fill")); got != "" {
			t.Fatalf("got %s", got)
		}
	}
	before := r.m.Charged().Bytes
	if got := show(r.call("t", "sort")); got != "budget: t.lua:3: memory limit of a call reached" {
		t.Errorf("got %s", got)
	}
	if paid := int(r.m.Charged().Bytes - before); paid < defaultLimits().callBytes-3e6 {
		t.Errorf("%d bytes were charged before the end", paid)
	}
}
