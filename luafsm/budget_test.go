package luafsm

import (
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// Loops that go on until the budget of a call is spent: what a call may cost at
// most, whatever it does.
var spenders = []struct {
	name, body string
	ends       bool // within the budget
}{
	{"empty", `while true do end`, false},
	{"tables", `local t while true do t = {} end`, false},
	{"write", `while true do self.n = self.n + 1 end`, false},
	{"new entries", `local i = 0 while true do i = i + 1 self[i] = i end`, false},
	{"new keys", `local i = 0 while true do i = i + 1 self["k" .. i] = i end`, false},
	{"add and remove", `local i = 0 while true do i = i + 1 self["k" .. i] = i self["k" .. i] = nil end`, false},
	{"tables in the state", `local i = 0 while true do i = i + 1 self[i % 100 + 1] = {i} end`, false},
	{"local entries", `local t, i = {}, 0 while true do i = i + 1 t[i] = i end`, false},
	{"tostring", `local i = 0.5 while true do i = i + 1 tostring(i) end`, false},
	{"tonumber", `while true do tonumber("12345.678e3") end`, false},
	{"format", `while true do string.format("%d %s %g %q", 12, "x", 1.5, "y") end`, false},
	{"format wide", `while true do string.format("%99.99f", 1e300) end`, false},
	{"find", `while true do ("aaaaaaaab"):find("a-b") end`, false},
	{"gsub", `while true do ("hello world"):gsub("%w+", "<%0>") end`, false},
	{"gmatch", `while true do for w in ("one two three"):gmatch("%a+") do end end`, false},
	{"sub", `local s = ("x"):rep(1000) while true do s:sub(3, 900) end`, false},
	{"rep", `while true do ("x"):rep(1000) end`, false},
	{"upper", `local s = ("x"):rep(1000) while true do s:upper() end`, false},
	{"byte", `local s = ("x"):rep(200) while true do s:byte(1, -1) end`, false},
	{"concat long", `local s = ("x"):rep(1e6) while true do local t = s .. "y" end`, false},
	{"concat", `while true do local t = "a" .. 1 .. "b" end`, false},
	{"compare long", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) while true do local c = a == b end`, false},
	{"less long", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) while true do local c = a < b end`, false},
	{"long key", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) local t = {[a] = 1} while true do local c = t[b] end`, false},
	{"long value", `local a, b = ("x"):rep(16e6), ("y"):rep(16e6) while true do self.x = a self.x = b end`, false},
	{"long aliases", `local a, t, i = ("x"):rep(1e6), {}, 0 self.t = t while true do i = i + 1 t[i] = a end`, false},
	{"insert before long strings", `local a = ("x"):rep(1e6) for i = 1, 50 do self[i] = a end while true do table.insert(self, 1, 0) table.remove(self, 1) end`, false},
	{"sort of long strings", `local a, n = ("x"):rep(1e6), 0 for i = 1, 20 do self[i] = a .. i end while true do table.sort(self, function() n = n + 1 return n % 3 == 0 end) end`, false},
	{"sin", `while true do math.sin(12.5) end`, false},
	{"pow", `while true do local x = 1.7 ^ 3.3 end`, false},
	{"modulo", `local a, b = 1e308, 3e-320 while true do local x = a % b end`, false},
	{"fmod", `while true do math.fmod(1.7e308, 2.2250738585072019e-308) end`, false},
	{"exp", `while true do math.exp(1.5) math.log(2.5) end`, false},
	{"json encode", `local t = {1, "x", {a = 2}} while true do json.encode(t) end`, false},
	{"json decode", `while true do json.decode('{"a":[1,2,"x"],"b":{"c":null}}') end`, false},
	{"insert front", `local t = {} for i = 1, 1000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end`, false},
	{"insert front in state", `for i = 1, 1000 do self[i] = i end while true do table.insert(self, 1, 0) table.remove(self, 1) end`, false},
	{"sort", `local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1000 end while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end`, false},
	{"lookups", `local t = {a = 1} while true do local x = t.a x = t.a x = t.a x = t.a x = t.a x = t.a x = t.a x = t.a end`, false},
	{"lookups in the state", `for i = 1, 5000 do self["key" .. i] = i end local k = "key777" while true do local x = self[k] x = self[k] x = self[k] x = self[k] end`, false},
	{"keys with a common beginning", `local t = {} for i = 1, 8 do t[("x"):rep(30) .. i] = i end local k = ("x"):rep(30) .. 9 while true do local y = t[k] y = t[k] y = t[k] end`, false},
	{"lengths", `local t = {1} while true do local x = #t x = #t x = #t x = #t x = #t x = #t x = #t x = #t end`, false},
	{"tables as keys", `local t = {} while true do local k = {} t[k] = 1 t[k] = nil end`, false},
	{"table.concat of long strings", `local t, s = {}, ("x"):rep(1e6) for i = 1, 14 do t[i] = s end while true do local x = table.concat(t) end`, false},
	{"table.concat", `local t = {} for i = 1, 100 do t[i] = i end while true do table.concat(t, ",") end`, false},
	{"pcall", `local function f() end while true do pcall(f) end`, false},
	{"pcall error", `while true do pcall(error, "x") end`, false},
	{"pcall deep error", `local function f(n) if n == 0 then error("x") end return (f(n - 1)) end while true do pcall(f, 150) end`, false},
	{"error of a long text", `local s = ("x"):rep(1e6) while true do pcall(function() error(s) end) end`, false},
	{"error of a text", `local s = ("x"):rep(1e4) while true do pcall(function() error(s) end) end`, false},
	{"no method of a long name", `local s = ("x"):rep(1e6) while true do pcall(after, 1, s) end`, false},
	{"long key in the path of an error", `local s = ("x"):rep(1e6) local t = {[s] = print} while true do pcall(emit, "x", t) end`, false},
	{"long key in the path of an argument", `local s = ("x"):rep(1e6) local t = {[s] = print} while true do pcall(after, 1, "run", t) end`, false},
	{"path of many keys", `local t = print for i = 1, 95 do t = {[("k"):rep(64)] = t} end while true do pcall(emit, "x", t) end`, false},
	{"arguments that are refused", `local t = {("x"):rep(1e6), print} while true do pcall(after, 1, "run", t) end`, false},
	{"events that are refused", `local t = {} for i = 1, 3000 do t[i] = ("y"):rep(20) end t[3001] = print while true do pcall(emit, "x", t) end`, false},
	{"long name of a function", "local " + longName + " while true do pcall(function() " + longName + "() end) end", false},
	{"long name in the error of an argument", "local " + longName + " = rawget while true do pcall(function() " + longName + "(1) end) end", false},
	{"error in a function of many calls", `local f = rawget local function g() if false then ` + strings.Repeat("f() ", 15_000) + `end f(1) end while true do pcall(g) end`, false},
	{"find of nothing", `local s = "x" while true do s:find("^b") end`, false},
	{"gmatch of nothing", `local s = "x" while true do s:gmatch("b")() end`, false},
	{"gsub of the beginning", `local s = ("x"):rep(1e5) while true do s:gsub("^x", "y") end`, false},
	{"long pattern", `local p = ("x"):rep(16e6) .. "." while true do (""):find(p) end`, false},
	{"long separator", `local s = ("x"):rep(15e6) while true do table.concat({1}, s) end`, false},
	{"long key of a string", `local s, k = "x", ("x"):rep(16e6) while true do local f = s[k] end`, false},
	{"ipairs", `local t = {1, 2, 3, 4, 5, 6, 7, 8} while true do for i, v in ipairs(t) do end end`, false},
	{"index function", `local t = setmetatable({}, {__index = function(t, k) return k end}) while true do local x = t.a end`, false},
	{"index chain", chain("__index", `while true do local x = t.a end`), false},
	{"newindex chain", chain("__newindex", `while true do t.a = nil end`), false},
	{"gsub chain", chain("__index", `local s = ("a"):rep(1e5) while true do s:gsub("a", t) end`), false},
	{"setmetatable", `local m = {} while true do setmetatable({}, m) end`, false},
	{"unpack", `local t = {} for i = 1, 100 do t[i] = i end while true do local a = unpack(t) end`, false},
	{"varargs", `local function f(...) return ... end local t = {} for i = 1, 5000 do t[i] = i end while true do local a = f(f(f(unpack(t)))) end`, false},
	{"handed on", `local t = {} for i = 1, 5000 do t[i] = i end local function f(n) if n == 0 then return unpack(t) end return 1, f(n - 1) end while true do local a = f(90) end`, false},
	{"pcall chain", `local t = {} for i = 1, 5000 do t[i] = i end while true do local a = pcall(pcall, pcall, pcall, pcall, pcall, pcall, pcall, pcall, unpack, t) end`, false},
	{"random", `while true do random(100) end`, false},
	{"copy", `local t = {1, {2, 3}, x = {}} while true do copy(t) end`, false},
	{"pairs", `local t = {} for i = 1, 100 do t["k" .. i] = i end while true do for k, v in pairs(t) do end end`, false},
	{"pairs empty", `local t = {} while true do for k, v in pairs(t) do end end`, false},
	{"next", `local t = {a = 1} while true do next(t) end`, false},
	{"closures", `local n = 0 while true do local f = function() return n end end`, false},
	{"recursion", `local function f(n) if n > 0 then f(n - 1) end end while true do f(300) end`, false},
	{"after", `while true do after(1, "run") end`, false},
	{"cancel", `while true do cancel(1) end`, false},
	{"emit", `while true do emit("x", 1) end`, false},
	{"print", `while true do print("x", 1) end`, false},
	{"shared result", `local t = {} for i = 1, 90 do t = {t, t} end return t`, false},
	{"wide result", `local t = {} for i = 1, 100000 do t[i] = i end return t`, true},
	{"maxn", `local t = {} for i = 1, 1000 do t["k" .. i] = i end while true do table.maxn(t) end`, false},
	{"index of nil", `while true do pcall(function() local x = nil; return x.y end) end`, false},
	{"string index", `local s = "x" while true do local f = s.upper end`, false},
	{"rawset", `while true do rawset(self, "x", 1) rawset(self, "x", 2) end`, false},
	{"large results", `local s = ("x"):rep(16e6) return s, s, s, s:sub(1, 1e6)`, true},
	{"large result of a table", `local s = ("x"):rep(16e6) return {s, s, {s, s:sub(1, 1e6)}}`, true},
	{"results that are too large", `local s = ("x"):rep(16e6) return s, s, s, s, s`, false},
	{"result of a table that is too large", `local s = ("x"):rep(16e6) return {s, s, s, s, s}`, false},
	{"long numeral", `local s = ("0"):rep(15e6) .. "1" while true do local x = s + 0 end`, false},
	{"long numeral negated", `local s = (" "):rep(15e6) .. "1" while true do local x = -s end`, false},
	{"long numeral as argument", `local s = ("0"):rep(15e6) .. "1" while true do math.floor(s) end`, false},
	{"long numeral as bound", `local s = ("0"):rep(15e6) .. "1" while true do for i = 1, s do end end`, false},
	{"numerals as arguments", `local s, t = ("0"):rep(1000) .. "1", {} for i = 1, 7000 do t[i] = s end while true do math.max(unpack(t)) end`, false},
	{"many digits", `local s = "1." .. ("7"):rep(700) while true do local x = s + 0 end`, false},
	{"many digits, small", `local s = "2.4703282292062327208299439634110686182" .. ("7"):rep(760) .. "e-324" while true do local x = s + 0 end`, false},
	{"smallest number", `local s = "2.4703282292062327208299439634110686182e-324" while true do local x = s * 1 end`, false},
	{"tonumber of the smallest", `while true do tonumber("2.4703282292062327208299439634110686182e-324") end`, false},
	{"json of the smallest", `while true do json.decode("2.4703282292062327208299439634110686182e-320") end`, false},
	{"closures kept", `local last while true do local a, b, c, d, e, f, g, h, i, j = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 local p = last last = function() return p, a, b, c, d, e, f, g, h, i, j end end`, false},
	{"closures of many", manyShared(55, `while true do %s local p = last last = function() return p, %s end end`), false},
	{"closures below", manyShared(48, `local function deep(n) %s last = function() return %s end if n > 0 then deep(n - 1) return 1 end local function g() end while true do g() end end deep(3)`), false},
	{"closures in the depth", manyShared(48, `local function deep(n) %s last = function() return %s end if n > 0 then deep(n - 1) return 1 end while true do local x, y, z last = function() return x, y, z end end end deep(3)`), false},
	{"iterators kept", `local t, i = {}, 0 while true do i = i + 1 t[i] = ("x"):gmatch("y") end`, false},
	{"iterators of pairs kept", `local t, i = {}, 0 while true do i = i + 1 t[i] = pairs(t) end`, false},
	{"hole", `local t = {} for i = 1, 30000 do t[i] = 1 end while true do t[2] = nil t[2] = 1 end`, false},
	{"hole in the state", `for i = 1, 20000 do self[i] = 1 end while true do self[1] = nil self[1] = 1 end`, false},
	{"hole filled in the state", `for i = 2, 20000 do self[i] = 1 end while true do self[1] = 1 self[1] = nil end`, false},
	{"small holes", `local t = {} for i = 1, 20 do t[i] = 1 end while true do t[2] = nil t[2] = 1 end`, false},
	{"small holes in the state", `for i = 1, 20 do self[i] = 1 end while true do self[2] = nil self[2] = 1 end`, false},
	{"hole that insert makes", `for i = 1, 1000 do self[i] = 1 end while true do table.insert(self, 1, nil) self[1] = 1 table.remove(self) end`, false},
	{"concat of nothing", `local t = {} for i = 1, 10000 do t[i] = "" end while true do table.concat(t) end`, false},
	{"concat of fractions", `local t = {} for i = 1, 10000 do t[i] = 0.1 + i end while true do table.concat(t) end`, false},
	{"format of all digits", `while true do string.format("%.99g", 5e-324) end`, false},
	{"format of a small number", `while true do string.format("%.99f", 5e-324) end`, false},
	{"format of quotes", `local s = ("\0"):rep(1e6) while true do string.format("%q", s) end`, false},
	{"gsub of nothing", `local s = ("a"):rep(1000) while true do s:gsub("", "") end`, false},
	{"keys of 250 bytes", `local a = ("x"):rep(250) local t = {} while true do t[a .. 1] = nil local y = t[a] end`, false},
	{"texts of 250 bytes", `local a, b = ("x"):rep(250) .. 1, ("x"):rep(250) .. 2 while true do local c = a < b end`, false},
	{"json of escapes", `local s = ("\1"):rep(2e6) while true do json.encode(s) end`, false},
	{"many tables", `local a = {} for i = 1, 55000 do a[i] = {} end self.a = a while true do end`, false},
	{"many tables put", `local a = {} for i = 1, 40000 do a[i] = {} end self.a = a`, true},
	{"concat of numbers", `local n = 5e-324 while true do local x = n .. n .. n .. n .. n .. n .. n .. n end`, false},
	{"equal function", `local m = setmetatable({}, {__eq = rawequal}) local n = setmetatable({}, getmetatable(m)) while true do local x = m == n end`, false},
	{"length of a number", `local n = 5e-324 local f = string.len while true do f(n) end`, false},
	{"stack overflow", `local function f() return 1 + f() end return f()`, false},
}

// longName is about the longest that a script can have.
var longName = strings.Repeat("n", 60_000)

// manyShared puts n local variables, and their names, into body.
func manyShared(n int, body string) string {
	names := make([]string, n)
	for i := range names {
		names[i] = "a" + strconv.Itoa(i)
	}
	all := strings.Join(names, ", ")
	return "local last " + fmt.Sprintf(body, "local "+all, all)
}

// BenchmarkSpendBudget prints what each of them takes. docs/BENCHMARKS-machine.md
// has the worst.
func BenchmarkSpendBudget(b *testing.B) {
	for _, s := range spenders {
		b.Run(s.name, func(b *testing.B) {
			r := newRig(b)
			r.mustDeploy("t.lua", wrap(s.body))
			cmd := command.AppendCall(nil, 0, 0, "t", "run", nil)
			r.apply(cmd)
			for b.Loop() {
				r.apply(cmd)
			}
			b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/call")
		})
	}
}

// What a step may stand for, in memory. Time is not held by a test, as it is not
// the machine's alone; an allocation takes about as long as a step is meant to.
const (
	stepAllocs = 1  // allocations for a step
	stepBytes  = 64 // bytes of them for a step, beyond those of the result and twice those that are charged
)

// All of them end, and leave nothing behind but the index. What they allocate is
// bounded by what they are charged.
func TestSpendBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of work")
	}
	for _, s := range spenders {
		r, twin := newRig(t), newRig(t)
		r.mustDeploy("t.lua", wrap(s.body))
		twin.mustDeploy("t.lua", wrap(s.body))
		before := r.m.Charged()
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		res := r.call("t", "run")
		runtime.ReadMemStats(&end)
		if res.Code != command.CodeBudget && !s.ends {
			t.Errorf("%s: %.200s", s.name, show(res))
		}
		steps, paid := r.m.Charged().Steps-before.Steps, r.m.Charged().Bytes-before.Bytes
		allocs, bytes := end.Mallocs-start.Mallocs, end.TotalAlloc-start.TotalAlloc
		t.Logf("%s: %d steps, %d bytes charged; %.2f allocations and %.0f bytes a step", s.name, steps, paid, float64(allocs)/float64(steps), float64(bytes)/float64(steps))
		if allocs > stepAllocs*steps {
			t.Errorf("%s: %d allocations for %d steps", s.name, allocs, steps)
		}
		if bytes > stepBytes*steps+2*paid+uint64(len(res.Values)) {
			t.Errorf("%s: %d bytes for %d steps and %d bytes charged", s.name, bytes, steps, paid)
		}
		twin.call("t", "none")
		if res.Code == command.CodeBudget && r.m.Digest() != twin.m.Digest() {
			t.Errorf("%s: the state has changed", s.name)
		}
	}
}
