package luafsm

import (
	"testing"

	"github.com/syncsh/syncsh/internal/command"
)

// eval deploys a script whose replicated method run has this body, and calls it.
func eval(t testing.TB, body string) (*rig, command.Result) {
	t.Helper()
	r := newRig(t)
	if res := r.deploy("t.lua", wrap(body)); res.Code != command.CodeOK {
		return r, res
	}
	return r, r.call("t", "run")
}

func wrap(body string) string {
	return "local T = object 't'\nfunction T:init() self.n = 0 end\nfunction T.replicated:run()\n" + body + "\nend"
}

// What Lua 5.1 does, and where we differ on purpose.
func TestLanguage(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		// values and operators
		{`return 1, 1.5, "a", true, nil, {1,2}`, "1 1.5 a true nil {1,2}"},
		{`return 7 % 3, -7 % 3, 7 % -3, 5.5 % 2`, "1 2 -2 1.5"},
		{`return 5 % math.huge, 5 % 0, 1e308 % 3e-300, "7" % "4", 1 % 2 % 3`, "NaN NaN -Inf 3 1"},
		{`return 2^10, 2^0.5, (-2)^2, -2^2, 2^3^2`, "1024 1.4142135623731 4 -4 512"},
		{`return "10" + 5, "3" * "4", 10 .. 20, -"2"`, "15 12 1020 -2"},
		{`return "0x10" + 0, tonumber("1e3"), tonumber("nan"), tonumber("0b11"), tonumber("1_000")`, "16 1000 nil nil nil"},
		{`return 010, 0010, 0xff, 1e999 == math.huge`, "10 10 255 true"},
		{`return 1 .. "", 1.5 .. "", 1e15 .. "", 2^53 .. "", -0 .. "", 1/0 .. ""`, "1 1.5 1e+15 9.007199254741e+15 0 inf"},
		{`return 1 < 2, "a" < "b", "a" <= "a", not nil, 1 == "1"`, "true true true true false"},
		{`return nil and 1, false or 2, 1 and 2, nil or false`, "nil 2 2 false"},
		{`return #"abc", #{1,2,3}, #{}, #{n=1}`, "3 3 0 0"},
		{`return tostring(nil), tostring(true), tostring(12), tostring({}), tostring(print), type(print), type({})`, "nil true 12 table function function table"},
		{`return tonumber("z", 36), tonumber("ff", 16), tonumber("8", 8), tonumber(" 5 ")`, "35 255 nil 5"},
		// control
		{`local s = 0 for i = 1, 10 do s = s + i end return s`, "55"},
		{`local s = 0 for i = 10, 1, -3 do s = s + i end return s`, "22"},
		{`local s = 0 for i = "1", "0x3" do s = s + i end for i = 3, (function() return "1", 9 end)(), -1 do s = s + i end return s`, "12"},
		{`for i = 1, {} do end`, "script: t.lua:4: 'for' limit must be a number"},
		{`for i = nil, 1 do end`, "script: t.lua:4: 'for' initial value must be a number"},
		{`for i = 1, 2, "x" do end`, "script: t.lua:4: 'for' step must be a number"},
		{`local a, b = "x", {} return a == "x", a ~= b, a < "y", "b" >= a, b == b, a == a, a <= a, pcall(function() return b <= a end)`,
			"true true true false true true true false t.lua:4: attempt to compare table with string"},
		{`local a, b, n = 1, 2, 0/0 return a < b, a <= b, a > b, a >= b, a ~= b, n == n, n <= n, n >= a`, "true true false false true false false false"},
		{`local i = 0 repeat local done = i == 3 i = i + 1 until done return i`, "4"},
		{`local n = 0 while true do n = n + 1 if n > 4 then break end end return n`, "5"},
		{`for i = 1, 3 do if i == 2 then goto next end self.n = self.n + i ::next:: end return self.n`, "4"},
		// functions and closures
		{`local function f(...) return select("#", ...), ... end return f(1, nil, 3)`, "3 1 nil 3"},
		{`local function f(a, ...) local b, c = ... return a, b, c end return f(1, 2)`, "1 2 nil"},
		{`local function f(...) return {...} end return f(1, 2, 3), #f()`, "{1,2,3} 0"},
		{`local function f(...) local x = {n = 0, ...} return x[2], x.n end return f(1, 2)`, "2 0"},
		{`local fs = {} for i = 1, 3 do fs[i] = function() i = i + 1 return i end end return fs[1](), fs[1](), fs[2]()`, "2 3 3"},
		{`local function fib(n) if n < 2 then return n end return fib(n-1) + fib(n-2) end return fib(15)`, "610"},
		{`local function loop(n) if n == 0 then return "done" end return loop(n - 1) end return loop(5000)`, "done"},
		{`return (select(2, "a", "b", "c")), select(-1, 1, 2, 3)`, "b 3"},
		{`local a, b = (function() return 1, 2 end)() return b, (function() return 1, 2 end)()`, "2 1 2"},
		// evaluation order
		{`local s = "" local function f(x) s = s .. x return x end local t = {f(1), f(2), x = f(3), f(4)} local a = f(5) + f(6) * f(7) return s`, "1234567"},
		{`local s = "" local function f(x) s = s .. x return x end local function g() end g(f(1), f(2), f(3)) local x = f(4) .. f(5) .. f(6) return s`, "123456"},
		{`local s = "" local function f(x) s = s .. tostring(x) return x end local a = f(false) and f(1) or f(nil) or f(2) return s, a`, "falsenil2 2"},
		{`local s = "" local function f(x) s = s .. x return x end for i = f(1), f(3), f(2) do s = s .. "i" .. i end return s`, "132i1i3"},
		// mixed constructors
		{`local t = {1, x = "a", 2, [10] = "b", 3, [2] = "c"} return t[1], t[2], t[3], t.x, t[10], #t`, "1 c 3 a b 3"}, // left to right, which Lua leaves open
		{`local function f() return 1, 2, 3 end local t, u, v = {f(), f()}, {f(), x = 1}, {(f())} return t, u[1], u[2], u.x, v`, "{1,1,2,3} 1 nil 1 {1}"},
		{`local t = {n = 1; 2, [1 + 1] = 3, {4; 5}, [true] = 6,} return t.n, t[1], t[2], t[true]`, "1 2 {4,5} 6"},
		{`return #{nil, nil, 3}, #{n = nil}, select("#", unpack({1, nil, 3}, 1, 3))`, "0 0 3"},
		// varargs in the middle
		{`local function f(...) return ..., "end" end return f(1, 2, 3), (f(1, 2))`, "1 1"},
		{`local function f(...) return {..., 9}, {9, ...}, select("#", ..., ...) end return f(1, 2, 3)`, "{1,9} {9,1,2,3} 4"},
		{`local function f(...) local a, b = ..., 10 local c, d = 10, ... return a, b, c, d, (...) end return f(1, 2)`, "1 10 10 1 1"},
		{`local function f(...) return select("#", ...) end return f(), f(nil), f(nil, nil), f((f())), f(unpack({})), f(f, unpack({}, 1, 3))`, "0 1 2 1 0 4"},
		// nested pcall
		{`return pcall(pcall, error, "x")`, "true false x"},
		{`return pcall(function() local ok, e = pcall(error, "in", 0) error(e .. "+out", 0) end)`, "false in+out"},
		{`local n = 0 local function f(d) if d == 0 then error("deep", 0) end local ok, e = pcall(f, d - 1) n = n + 1 error(e .. d, 0) end local ok, e = pcall(f, 4) return e, n`, "deep1234 4"},
		{`local ok, e = pcall(function() return pcall(function() error({1}) end) end) return ok, e`, "true false"},
		{`return xpcall(function() return pcall(error, "a") end, function() return "no" end)`, "true false a"},
		// numeric for
		{`local n = 0 for i = 1, 0 do n = n + 1 end for i = 0, 1, -1 do n = n + 1 end for i = 1, 1 do n = n + 10 end return n`, "10"},
		{`local s = "" for i = 1, 2, 0.25 do s = s .. i .. " " end return s`, "1 1.25 1.5 1.75 2 "},
		{`local n = 0 for i = 1, 3 do local j = i i = 10 n = n + j end return n`, "6"},
		{`local n = 0 for i = 3, math.huge do n = n + 1 if i >= 5 then break end end for i = 1, 0/0 do n = 100 end for i = math.huge, 1 do n = 100 end return n`, "3"},
		{`local last for i = 2^53 - 1, 2^53 do last = i if i == 2^53 then break end end return last == 2^53`, "true"},
		{`local n, top = 0, 3 for i = 1, top do top = 10 n = n + 1 end return n`, "3"},
		// escapes and long strings
		{`return "\65\066\0067", #"\0\n\\\"\'", "a\
b", '\'', "\z" == "z", #"\255"`, "AB\x067 5 a\nb ' true 1"},
		{`return [[a]b]], [==[x]]y]=]z]==], #[[
]], [[
first]], [[a\n]]`, "a]b x]]y]=]z 0 first a\\n"},
		{`return #[[

]], ("%q"):format("\0\r\n\"")`, "1 \"\\000\\r\\\n\\\"\""},
		// keys that are equal
		{`local t = {} t[1] = "a" t[1.0] = "b" t["1"] = "c" t[2^0] = "d" t[-0] = "z" return t[1], #t, t["1"], t[0], t[0.0]`, "d 1 c z z"},
		{`local t = {[1] = 1, [1.5] = 2, [2^53] = 3} local n = 0 for _ in pairs(t) do n = n + 1 end return n, t[3/2], t[9007199254740992], t[3 - 2]`, "3 2 3 1"},
		// closures in loops
		{`local fs = {} for i = 1, 3 do local j = i * 10 fs[i] = function() j = j + i return j end end return fs[1](), fs[2](), fs[3](), fs[1]()`, "11 22 33 12"},
		{`local fs, i = {}, 0 while i < 3 do i = i + 1 local k = i fs[i] = function() k = k + i return k end end return fs[1](), fs[2](), fs[1]()`, "4 5 7"},
		{`local fs = {} for k, v in pairs({a = 1, b = 2}) do fs[k] = function() v = v + 1 return k .. v end end return fs.a(), fs.b(), fs.a()`, "a2 b3 a3"},
		{`local fs = {} for i = 1, 2 do local n = 0 fs[i] = {function() n = n + 1 end, function() return n end} end fs[1][1]() fs[1][1]() fs[2][1]() return fs[1][2](), fs[2][2]()`, "2 1"},
		{`local f repeat local x = 1 f = function() x = x + 1 return x end until x == 1 return f(), f()`, "2 3"},
		// errors
		{`return pcall(error, "x")`, "false x"},
		{`return pcall(error, {code = 5})`, "false {code=5}"},
		{`return pcall(function() error("x") end)`, "false t.lua:4: x"},
		{`return pcall(function() error("x", 0) end)`, "false x"},
		{`return pcall(function() local x = nil; return x.y end)`, "false t.lua:4: attempt to index a nil value (field 'y')"},
		{`return pcall(function() return nothere_() end)`, "bad_argument: t.lua:4:32: unknown name 'nothere_'"},
		{`return pcall(function() local f; f() end)`, "false t.lua:4: attempt to call 'f' (a nil value)"},
		{`return pcall(function() return {} < {} end)`, "false t.lua:4: attempt to compare two table values"},
		{`return pcall(function() return {} < 1 end)`, "false t.lua:4: attempt to compare table with number"},
		{`return pcall(function() return {} .. "x" end)`, "false t.lua:4: attempt to concatenate a table value"},
		{`return pcall(function() return {} + 1 end)`, "false t.lua:4: attempt to perform arithmetic on a table value"},
		{`return pcall(function() return #5 end)`, "false t.lua:4: attempt to get length of a number value"},
		{`return pcall(function() local t = {} t[nil] = 1 end)`, "false t.lua:4: table index is nil"},
		{`return pcall(function() local t = {} t[0/0] = 1 end)`, "false t.lua:4: table index is NaN"},
		{`return select("#", pcall(error))`, "2"},
		{`return xpcall(function() error("x", 0) end, function(e) return "h:" .. e end)`, "false h:x"},
		{`return xpcall(function() error("x", 0) end, function(e) return e, 2 end)`, "false x"},
		{`local a, b = 1, 2 a, b = b, a return a, b`, "2 1"},
		{`local a, b = 48, 18 while b ~= 0 do a, b = b, a % b end return a`, "6"},
		{`local a, b = 0, 1 for i = 1, 10 do a, b = b, a + b end return a`, "55"},
		{`local a, b, c = 1, 2, 3 a, b, c = a + b, a + c, a return a, b, c`, "3 4 1"},
		{`local h, t = {1}, {} h, t.x = nil, h return t.x[1], h`, "1 nil"},
		{`local a = {} local b = a a, a.x = 1, 2 return a, b.x`, "1 2"},
		{`local i, t = 1, {10, 20, 30} i, t[i] = i + 1, 99 return i, t[1], t[2]`, "2 99 20"},
		{`local i, t = 1, {10, 20, 30} t[i], t[i + 1], i = t[i + 1], t[i], 3 return t[1], t[2], i`, "20 10 3"},
		{`local a a, a = 1, 2 return a`, "1"},
		{`local function f() return 1, 2, 3 end local a, b, c, d = 9, 9, 9, 9 a, b, c, d = 0, f() return a, b, c, d`, "0 1 2 3"},
		{`local function f() return 1, 2, 3 end local a, b, c = 9, 9, 9 a, b, c = f(), 7 return a, b, c`, "1 7 nil"},
		{`local function f(...) local a, b, c = 9, 9, 9 a, b, c = ..., b return a, b, c end return f(1, 2)`, "1 9 nil"},
		{`local a, n = 1, 0 local function f() n = n + 1 return n end a, a = f(), f(), f() return a, n`, "1 3"},
		{`local a, b = 1, 2 local function swap() a, b = b, a end swap() return a, b`, "2 1"},
		{`local a, b = 1, 2 a, b = function() return b end, function() return a end return a() == b, b() == a`, "true true"},
		{`local t = {x = {y = 1}} local v v, t.x.y, t.x = t.x.y, 5, nil return v, t.x`, "1 nil"},
		{`local x = 5 local x = function() return x end return x()`, "5"},
		{`local x = 5 local function x() return x end return x() == x`, "true"},
		{`return xpcall(function() error("x", 0) end, function() end)`, "false nil"},
		{`return xpcall(function() error("x", 0) end, function(e) error(e) end)`, "false error in error handling"},
		{`return xpcall(function() error("x", 0) end, 1)`, "false error in error handling"},
		{`return pcall(string.rep)`, "false t.lua:4: bad argument #1 to '?' (string expected, got no value)"},
		{`return pcall(function() string.rep() end)`, "false t.lua:4: bad argument #1 to 'rep' (string expected, got no value)"},
		{`error("boom")`, "script: t.lua:4: boom"},
		{`error({message = "structured", code = 7})`, "script: structured"},
		{`error()`, "script: (error object is a nil value)"},
		{`assert(false, "no")`, "script: no"},
		{`assert(nil)`, "script: t.lua:4: assertion failed!"},
		// variables that closures share live on after a pcall that failed
		{`local n = 0 local function try() n = n + 1 if n < 3 then error("x") end end
		  local k = 0 repeat k = k + 1 until pcall(try) return n, k`, "3 3"},
		{`local x = 0 local function g() return x end pcall(error, "a") x = 1 return g()`, "1"},
		{`local f pcall(function() local v = 5 f = function() v = v + 1 return v end error("x") end) return f(), f()`, "6 7"},
		// tables
		{`local t = {10, 20, x = 1, [5] = 2, [2.5] = 3, [true] = 4} local s = "" for k, v in pairs(t) do s = s .. tostring(k) .. "=" .. v .. " " end return s`,
			"1=10 2=20 true=4 2.5=3 5=2 x=1 "},
		{`local t = {} for i = 1, 100 do t[i] = i end return #t, t[100], table.remove(t), #t, table.remove(t, 1), t[1]`, "100 100 100 99 1 2"},
		{`local t = {3, 1, 2} table.sort(t) return t`, "{1,2,3}"},
		{`local t = {3, 1, 2} table.sort(t, function(a, b) return a > b end) return t`, "{3,2,1}"},
		{`local t = {1, 3} table.insert(t, 2, 2) table.insert(t, 4) return t, table.concat(t, ","), unpack(t, 2, 3)`, "{1,2,3,4} 1,2,3,4 2 3"},
		{`local t = {1,2,3} for k in pairs(t) do t[k] = nil end return next(t)`, "nil"},
		{`local s = 0 for i, v in ipairs({1, 2, nil, 4}) do s = s + v end return s`, "3"},
		{`local t = {} t[1] = 1 t["1"] = 2 return t[1], t["1"], t[1.0]`, "1 2 1"},
		{`local a = {} local b = a b.x = 1 return a.x, a == b, {} == {}`, "1 true false"},
		{`local t = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
		  41, 42, 43, 44, 45, 46, 47, 48, 49, 50, x = 5, 51, unpack({52, 53})} return #t, t[41], t[53], t.x`, "53 41 53 5"},
		// metatables
		{`local t = setmetatable({}, {__index = function(t, k) return k .. "!" end}) return t.a, rawget(t, "a")`, "a! nil"},
		{`local base = {hello = "hi"} local t = setmetatable({}, {__index = base}) return t.hello, getmetatable(t).__index == base`, "hi true"},
		{`local log = {} local t = setmetatable({}, {__newindex = function(t, k, v) rawset(t, k, v * 2) end}) t.a = 1 return t.a`, "2"},
		{`local mt = {} mt.__add = function(a, b) return a.v + b.v end mt.__eq = function(a, b) return a.v == b.v end mt.__lt = function(a, b) return a.v < b.v end
		  mt.__le = function(a, b) return a.v <= b.v end mt.__call = function(self, x) return self.v + x end mt.__tostring = function(self) return "V" .. self.v end
		  mt.__concat = function(a, b) return "cat" end mt.__unm = function(a) return -a.v end
		  local a, b = setmetatable({v = 1}, mt), setmetatable({v = 2}, mt)
		  return a + b, a == b, a < b, a >= b, a(5), tostring(a), a .. "x", "x" .. a, -b`, "3 false true false 6 V1 cat cat -2"},
		{`local t = setmetatable({}, {__metatable = "locked"}) return getmetatable(t), pcall(setmetatable, t, {})`, "locked false t.lua:4: cannot change a protected metatable"},
		// strings
		{`return ("x"):rep(3), ("abc"):upper(), #("abc"):sub(2), ("abc"):byte(1, -1)`, "xxx ABC 2 97 98 99"},
		{`return ("hello world"):find("o w"), ("hello"):match("l+"), ("a,b,c"):gsub(",", ";")`, "5 ll a;b;c 2"},
		{`local s = "" for w in ("one two"):gmatch("%a+") do s = s .. "<" .. w .. ">" end return s`, "<one><two>"},
		{`return string.format("%5.2f|%d|%s|%q|%x", 3.14159, 42, {}, "a\n", 255)`, " 3.14|42|table|\"a\\\n\"|ff"},
		{`return ("k=v"):gsub("(%w)=(%w)", "%2=%1"), ("abc"):gsub("%w", {a = "1"}), ("abc"):gsub("b", function(c) return c:upper() end)`, "v=k 1bc aBc 1"},
		{`return math.floor(2.7), math.max(1, 5, 3), math.huge, math.abs(-2), math.fmod(7, 3), math.pi`, "2 5 +Inf 2 1 3.1415926535898"},
		// ours
		{`return pcall(json.encode, {[1] = 1, ["1"] = 2, a = 1})`, `false t.lua:4: json.encode: two keys are "1" as texts`},
		{`return pcall(json.encode, {[0.1] = 1, [0.1 + 2^-55] = 2})`, `false t.lua:4: json.encode: two keys are "0.1" as texts`},
		{`return json.encode({b = 1, a = {1, 2, "x"}}), json.decode('{"a":[1,2,null],"b":true}')`, `{"a":[1,2,"x"],"b":1} {a={1,2},b=true}`},
		{`local t = {1, {2}} local c = copy(t) c[2][1] = 9 return t, c`, "{1,{2}} {1,{9}}"},
		{`return now(), index(), caller()`, "1000 2 nil"},
		{`local a, b = random(10), random() return a >= 1 and a <= 10, b >= 0 and b < 1, pcall(random, 0)`, "true true false t.lua:4: bad argument #1 to '?' (interval is empty or too large)"},
		{`return string, 1`, "script: t:run: result: byte: functions are not data"},
		// state
		{`self.f = function() end`, "script: t:run: t.f: functions can't be replicated"},
		{`self.a = {} self.b = self.a`, "script: t:run: a table sits in two places: t.a and t.b; use copy(t)"},
		{`self.a = {} self.a.x = self.a`, "script: t:run: a table sits inside itself: t.a and t.a.x; use copy(t)"},
		{`self.a = setmetatable({}, {})`, "script: t:run: t.a: tables with a metatable can't be replicated"},
		{`self.run = 1`, "bad_argument: t.lua:4:6: t.run can't be assigned: t has a method of that name"},
		{`local k = "run" self[k] = 1`, "script: t.lua:4: t.run can't be assigned: t has a method of that name"},
		{`self.x = 5 return t.x, t == self`, "5 true"},
		{`local ok = pcall(function() self.n = 7 error("x") end) return ok, self.n`, "false 7"},
		{`return ({pcall(next, {}, "nokey")})[1], next({}), type(next)`, "true nil function"},
		{`local function f(...) return arg end return f(1)`, "bad_argument: t.lua:4:30: unknown name 'arg'"},
	} {
		_, res := eval(t, c.body)
		if got := show(res); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.body, got, c.want)
		}
	}
}
