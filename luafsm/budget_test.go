package luafsm

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// Loops that go on until the budget of a call is spent: what a call may cost at
// most, whatever it does.
var spenders = []struct{ name, body string }{
	{"empty", `while true do end`},
	{"tables", `local t while true do t = {} end`},
	{"write", `while true do self.n = self.n + 1 end`},
	{"new entries", `local i = 0 while true do i = i + 1 self[i] = i end`},
	{"new keys", `local i = 0 while true do i = i + 1 self["k" .. i] = i end`},
	{"add and remove", `local i = 0 while true do i = i + 1 self["k" .. i] = i self["k" .. i] = nil end`},
	{"tables in the state", `local i = 0 while true do i = i + 1 self[i % 100 + 1] = {i} end`},
	{"local entries", `local t, i = {}, 0 while true do i = i + 1 t[i] = i end`},
	{"tostring", `local i = 0.5 while true do i = i + 1 tostring(i) end`},
	{"tonumber", `while true do tonumber("12345.678e3") end`},
	{"format", `while true do string.format("%d %s %g %q", 12, "x", 1.5, "y") end`},
	{"format wide", `while true do string.format("%99.99f", 1e300) end`},
	{"find", `while true do ("aaaaaaaab"):find("a-b") end`},
	{"gsub", `while true do ("hello world"):gsub("%w+", "<%0>") end`},
	{"gmatch", `while true do for w in ("one two three"):gmatch("%a+") do end end`},
	{"sub", `local s = ("x"):rep(1000) while true do s:sub(3, 900) end`},
	{"rep", `while true do ("x"):rep(1000) end`},
	{"upper", `local s = ("x"):rep(1000) while true do s:upper() end`},
	{"byte", `local s = ("x"):rep(200) while true do s:byte(1, -1) end`},
	{"concat long", `local s = ("x"):rep(1e6) while true do local t = s .. "y" end`},
	{"concat", `while true do local t = "a" .. 1 .. "b" end`},
	{"compare long", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) while true do local c = a == b end`},
	{"less long", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) while true do local c = a < b end`},
	{"long key", `local a, b = ("x"):rep(16e6), ("x"):rep(16e6) local t = {[a] = 1} while true do local c = t[b] end`},
	{"long value", `local a, b = ("x"):rep(16e6), ("y"):rep(16e6) while true do self.x = a self.x = b end`},
	{"long aliases", `local a, t, i = ("x"):rep(1e6), {}, 0 self.t = t while true do i = i + 1 t[i] = a end`},
	{"sin", `while true do math.sin(12.5) end`},
	{"pow", `while true do local x = 1.7 ^ 3.3 end`},
	{"exp", `while true do math.exp(1.5) math.log(2.5) end`},
	{"json encode", `local t = {1, "x", {a = 2}} while true do json.encode(t) end`},
	{"json decode", `while true do json.decode('{"a":[1,2,"x"],"b":{"c":null}}') end`},
	{"insert front", `local t = {} for i = 1, 1000 do t[i] = i end while true do table.insert(t, 1, 0) table.remove(t, 1) end`},
	{"insert front in state", `for i = 1, 1000 do self[i] = i end while true do table.insert(self, 1, 0) table.remove(self, 1) end`},
	{"sort", `local t = {} for i = 1, 1000 do t[i] = (i * 7919) % 1000 end while true do table.sort(t) table.sort(t, function(a, b) return a > b end) end`},
	{"table.concat", `local t = {} for i = 1, 100 do t[i] = i end while true do table.concat(t, ",") end`},
	{"pcall", `local function f() end while true do pcall(f) end`},
	{"pcall error", `while true do pcall(error, "x") end`},
	{"pcall deep error", `local function f(n) if n == 0 then error("x") end return (f(n - 1)) end while true do pcall(f, 150) end`},
	{"index function", `local t = setmetatable({}, {__index = function(t, k) return k end}) while true do local x = t.a end`},
	{"setmetatable", `local m = {} while true do setmetatable({}, m) end`},
	{"unpack", `local t = {} for i = 1, 100 do t[i] = i end while true do local a = unpack(t) end`},
	{"varargs", `local function f(...) return ... end local t = {} for i = 1, 5000 do t[i] = i end while true do local a = f(f(f(unpack(t)))) end`},
	{"handed on", `local t = {} for i = 1, 5000 do t[i] = i end local function f(n) if n == 0 then return unpack(t) end return 1, f(n - 1) end while true do local a = f(90) end`},
	{"pcall chain", `local t = {} for i = 1, 5000 do t[i] = i end while true do local a = pcall(pcall, pcall, pcall, pcall, pcall, pcall, pcall, pcall, unpack, t) end`},
	{"random", `while true do random(100) end`},
	{"copy", `local t = {1, {2, 3}, x = {}} while true do copy(t) end`},
	{"pairs", `local t = {} for i = 1, 100 do t["k" .. i] = i end while true do for k, v in pairs(t) do end end`},
	{"pairs empty", `local t = {} while true do for k, v in pairs(t) do end end`},
	{"next", `local t = {a = 1} while true do next(t) end`},
	{"closures", `local n = 0 while true do local f = function() return n end end`},
	{"recursion", `local function f(n) if n > 0 then f(n - 1) end end while true do f(300) end`},
	{"after", `while true do after(1, "run") end`},
	{"cancel", `while true do cancel(1) end`},
	{"emit", `while true do emit("x", 1) end`},
	{"print", `while true do print("x", 1) end`},
	{"shared result", `local t = {} for i = 1, 90 do t = {t, t} end return t`},
	{"wide result", `local t = {} for i = 1, 100000 do t[i] = i end return t`},
	{"maxn", `local t = {} for i = 1, 1000 do t["k" .. i] = i end while true do table.maxn(t) end`},
	{"index of nil", `while true do pcall(function() local x = nil; return x.y end) end`},
	{"string index", `local s = "x" while true do local f = s.upper end`},
	{"rawset", `while true do rawset(self, "x", 1) rawset(self, "x", 2) end`},
	{"long numeral", `local s = ("0"):rep(15e6) .. "1" while true do local x = s + 0 end`},
	{"long numeral negated", `local s = (" "):rep(15e6) .. "1" while true do local x = -s end`},
	{"long numeral as argument", `local s = ("0"):rep(15e6) .. "1" while true do math.floor(s) end`},
	{"long numeral as bound", `local s = ("0"):rep(15e6) .. "1" while true do for i = 1, s do end end`},
	{"numerals as arguments", `local s, t = ("0"):rep(1000) .. "1", {} for i = 1, 7000 do t[i] = s end while true do math.max(unpack(t)) end`},
	{"many digits", `local s = "1." .. ("7"):rep(700) while true do local x = s + 0 end`},
	{"many digits, small", `local s = "2.4703282292062327208299439634110686182" .. ("7"):rep(760) .. "e-324" while true do local x = s + 0 end`},
	{"smallest number", `local s = "2.4703282292062327208299439634110686182e-324" while true do local x = s * 1 end`},
	{"tonumber of the smallest", `while true do tonumber("2.4703282292062327208299439634110686182e-324") end`},
	{"json of the smallest", `while true do json.decode("2.4703282292062327208299439634110686182e-320") end`},
	{"closures kept", `local last while true do local a, b, c, d, e, f, g, h, i, j = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 local p = last last = function() return p, a, b, c, d, e, f, g, h, i, j end end`},
	{"closures of many", manyShared(55, `while true do %s local p = last last = function() return p, %s end end`)},
	{"closures below", manyShared(48, `local function deep(n) %s last = function() return %s end if n > 0 then deep(n - 1) return 1 end local function g() end while true do g() end end deep(3)`)},
	{"closures in the depth", manyShared(48, `local function deep(n) %s last = function() return %s end if n > 0 then deep(n - 1) return 1 end while true do local x, y, z last = function() return x, y, z end end end deep(3)`)},
	{"iterators kept", `local t, i = {}, 0 while true do i = i + 1 t[i] = ("x"):gmatch("y") end`},
	{"iterators of pairs kept", `local t, i = {}, 0 while true do i = i + 1 t[i] = pairs(t) end`},
	{"hole", `local t = {} for i = 1, 30000 do t[i] = 1 end while true do t[2] = nil t[2] = 1 end`},
	{"hole in the state", `for i = 1, 20000 do self[i] = 1 end while true do self[1] = nil self[1] = 1 end`},
	{"hole filled in the state", `for i = 2, 20000 do self[i] = 1 end while true do self[1] = 1 self[1] = nil end`},
	{"small holes", `local t = {} for i = 1, 20 do t[i] = 1 end while true do t[2] = nil t[2] = 1 end`},
	{"small holes in the state", `for i = 1, 20 do self[i] = 1 end while true do self[2] = nil self[2] = 1 end`},
	{"hole that insert makes", `for i = 1, 1000 do self[i] = 1 end while true do table.insert(self, 1, nil) self[1] = 1 table.remove(self) end`},
	{"stack overflow", `local function f() return 1 + f() end return f()`},
}

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

// All of them end, and leave nothing behind but the index.
func TestSpendBudget(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of work")
	}
	for _, s := range spenders {
		r, twin := newRig(t), newRig(t)
		r.mustDeploy("t.lua", wrap(s.body))
		twin.mustDeploy("t.lua", wrap(s.body))
		if res := r.call("t", "run"); res.Code != command.CodeBudget && s.name != "wide result" {
			t.Errorf("%s: %.200s", s.name, show(res))
		}
		twin.call("t", "none")
		if r.m.Digest() != twin.m.Digest() {
			t.Errorf("%s: the state has changed", s.name)
		}
	}
}
