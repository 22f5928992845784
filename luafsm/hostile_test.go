package luafsm

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// The hostile scripts of docs/DETERMINISM.md by their numbers: each is an error
// of a known code, or harmless, and changes nothing.
func TestHostileScripts(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"01 rep 3e9", `return #("x"):rep(3e9)`, "budget: t.lua:4: string too long"},
		{"02 rep 2^62", `return #("x"):rep(2^62)`, "budget: t.lua:4: string too long"},
		{"03 doubling", `local s = "xxxxxxxx" for i = 1, 40 do s = s .. s end`, "budget: t.lua:4: string too long"},
		{"03 many", `local t = {} local s = ("x"):rep(1e6) for i = 1, 1000 do t[i] = s .. i end`, "budget: t.lua:4: memory limit of a call reached"},
		{"04 far index", `local t = {} t[67108863] = 1 return #t`, "0"},
		{"05 insert far", `local t = {} table.insert(t, 6e7, 1)`, "script: t.lua:4: bad argument #2 to 'insert' (position out of bounds)"},
		{"06 .*b", `return (("a"):rep(1e5)):find(".*b")`, "budget: t.lua:4: instruction limit reached"},
		{"07 .-.-", `return (("a"):rep(300)):find(".-.-.-.-b")`, "budget: t.lua:4: instruction limit reached"},
		{"08 parentheses", `return (""):find(("("):rep(4e6))`, "script: t.lua:4: too many captures"},
		{"09 gsub", `local s, n = (("a"):rep(1e5)):gsub("a", "b") return n`, "100000"},
		{"10 widths", `return (("%1000000d"):rep(100)):format(1)`, "script: t.lua:4: invalid format (width or precision too long)"},
		{"11 format table", `return ("%s"):format({}), pcall(string.format, "%d", {}), pcall(string.format, "%p", {})`, "table false false t.lua:4: invalid option '%p' to 'format'"},
		{"12 unpack", `return unpack({}, 1, 1e7)`, "script: t.lua:4: too many results to unpack"},
		{"12 unpack far", `return pcall(unpack, {}, -2^60, 2^60)`, "false t.lua:4: too many results to unpack"},
		{"13 select", `return select(1e300, 1)`, ""},
		{"13 select back", `return select(-1e300, 1)`, "script: t.lua:4: bad argument #1 to 'select' (index out of range)"},
		{"14 find init", `return ("abc"):find("b", 100, true)`, "nil"},
		{"15 string metatable", `return getmetatable("")`, "nil"},
		{"15 setmetatable of a boolean", `return setmetatable(true, {})`, "script: t.lua:4: bad argument #1 to 'setmetatable' (table expected, got boolean)"},
		{"16 getfenv", `return getfenv(print)`, "bad_argument: t.lua:4:8: getfenv: not available in replicated code; leave it out"},
		{"16 setfenv", `setfenv(0, {})`, "bad_argument: t.lua:4:1: setfenv: not available in replicated code; leave it out"},
		{"17 braces", "return " + strings.Repeat("{", 120000), "bad_argument: t.lua:4:106: nested deeper than 100"},
		{"17 parentheses", "return " + strings.Repeat("(", 120000), "bad_argument: t.lua:4:106: nested deeper than 100"},
		{"17 not", "return " + strings.Repeat("not ", 60000) + "1", "bad_argument: t.lua:4:608: more than 150 operators in one expression"},
		{"17 minus", "return " + strings.Repeat("- ", 60000) + "1", "bad_argument: t.lua:4:308: more than 150 operators in one expression"},
		{"18 x+x", "return 1" + strings.Repeat("+self", 10000), "bad_argument: t.lua:4:759: more than 150 operators in one expression"},
		{"18 concat", "return 1" + strings.Repeat(" ..1", 10000), "bad_argument: t.lua:4:610: more than 150 operators in one expression"},
		{"18 power", "return 1" + strings.Repeat("^1", 10000), "bad_argument: t.lua:4:309: more than 150 operators in one expression"},
		{"18 index", "return self" + strings.Repeat(".a", 10000), "bad_argument: t.lua:4:312: more than 150 operators in one expression"},
		{"18 calls", "return self" + strings.Repeat("()", 10000), "bad_argument: t.lua:4:313: more than 150 operators in one expression"},
		{"18 elseif", "if 1 then " + strings.Repeat("elseif 1 then ", 10000) + "end", "bad_argument: t.lua:4:2111: more than 150 elseif in one if"},
		{"18 functions", strings.Repeat("return function() ", 1000) + strings.Repeat("end ", 1000), "bad_argument: t.lua:4:278: functions nested deeper than 16"},
		{"19 error with tostring", `error(setmetatable({}, {__tostring = function() while true do end end}))`, "script: (error object is a table value)"},
		{"20 self index", `local t = {} setmetatable(t, {__index = t}) return t.x`, "script: t.lua:4: '__index' chain too long; possibly a loop"},
		{"20 tostring", `local t t = setmetatable({}, {__tostring = function() return tostring(t) end}) return tostring(t)`, "budget: t.lua:4: stack overflow"},
		{"20 index function", `local t t = setmetatable({}, {__index = function(s, k) return s[k .. "x"] end}) return t.x`, "budget: t.lua:4: stack overflow"},
		{"21 endless pcall", `while true do pcall(function() while true do end end) end`, "budget: t.lua:4: instruction limit reached"},
		{"21 endless error", `while true do pcall(error, "x") end`, "budget: t.lua:4: instruction limit reached"},
		{"22 comparator removes", `local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function(a, b) table.remove(t) return a < b end) return #t`, "100"},
		{"22 comparator lies", `local t = {} for i = 1, 100 do t[i] = i end table.sort(t, function() return true end) return #t`, "100"},
		{"23 coroutines", `coroutine.wrap(function() end)()`, "bad_argument: t.lua:4:1: coroutine: not available in replicated code; write a function"},
		{"24 cyclic result", `local t = {} t.t = t return t`, "script: t:run: result: t.t.t.t.t.t.t.t: tables are nested too deep, or a table contains itself"},
		{"24 deep result", `local t = {} for i = 1, 3e4 do t = {t} end return t`, "script: t:run: result: [1][1][1][1][1][1][1][1]: tables are nested too deep, or a table contains itself"},
		{"24 shared result", `local t = {} for i = 1, 90 do t = {t, t} end return t`, "budget: t:run: result: instruction limit reached"},
		{"24 cyclic copy", `local t = {} t.t = t return copy(t)`, "script: t.lua:4: tables are nested too deep, or a table contains itself"},
		{"24 cyclic json", `local t = {} t.t = t return json.encode(t)`, "script: t.lua:4: json.encode: tables are nested too deep, or a table contains itself"},
		{"25 function", `self.x = {y = print}`, "script: t:run: t.x.y: functions can't be replicated"},
		{"25 function as key", `self.x = {[print] = 1}`, "script: t:run: t.x: functions can't be keys in replicated state"},
		{"loop of a long pattern", `local p = ("x"):rep(16e6) .. "." while true do (""):find(p) end`, "budget: t.lua:4: instruction limit reached"},
		{"loop of a long match", `local p = ("x"):rep(16e6) .. "." while true do (""):match(p) end`, "budget: t.lua:4: instruction limit reached"},
		{"loop of a long key of a string", `local s, k = "x", ("x"):rep(16e6) while true do local f = s[k] end`, "budget: t.lua:4: instruction limit reached"},
		{"loop of a long key of a definition", `local k = ("x"):rep(16e6) while true do local f = T[k] end` + manyMethods, "budget: t.lua:4: instruction limit reached"},
		{"loop of a long name of a method", `local k = ("x"):rep(16e6) while true do pcall(after, 1, k) end` + manyMethods, "budget: t.lua:4: instruction limit reached"},
		{"loop of a long name in an error", "local " + longName + " = rawget while true do pcall(function() " + longName + "(1) end) end", "budget: t.lua:4: instruction limit reached"},
		{"loop of a long separator", `local s = ("x"):rep(15e6) while true do table.concat({1}, s) end`, "budget: t.lua:4: instruction limit reached"},
		{"26 random 0", `return math.random(0)`, "script: t.lua:4: bad argument #1 to 'random' (interval is empty or too large)"},
		{"27 churn", `for i = 1, 20000 do self["k" .. i] = 1 self["k" .. i] = nil end`, ""},
		{"28 recursion", `local function f() return 1 + f() end return f()`, "budget: t.lua:4: stack overflow"},
		{"28 recursion in pcall", `local function f() pcall(f) end f()`, "budget: t.lua:4: stack overflow"},
		{"28 locals", strings.Repeat("local a ", 30000), "bad_argument: t.lua:4:199903: more than 50000 tokens in one script"},
		{"28 wide stack", `local function f(...) return f(1, ...) end return f()`, "budget: t.lua:4: instruction limit reached"},
		{"29 bytes", "return '\xff\x00', #'\xff'", "\xff\x00 1"},
		{"30 string.dump", `return string.dump(print)`, "bad_argument: t.lua:4:8: string.dump: not available in replicated code; leave it out"},
		{"28 locals of one function", strings.Repeat("local a ", 300), "bad_argument: t.lua:3:1: too many local variables"},
		{"28 parts of an expression", "local f return " + strings.Repeat("f(1, 2, 3, ", 60) + "1" + strings.Repeat(")", 60), "bad_argument: t.lua:3:1: too many local variables and parts of an expression in one function, at most 200 at a time"},
		{"28 locals and parts of an expression", strings.Repeat("local a = 7 ", 150) + "return 1" + strings.Repeat(" .. a", 90), "bad_argument: t.lua:3:1: too many local variables and parts of an expression in one function, at most 200 at a time"},
		{"18 modulo", "return 1" + strings.Repeat("%1", 10000), "bad_argument: t.lua:4:309: more than 150 operators in one expression"},
		{"18 long chains", "local a = 7 return a" + strings.Repeat("%a", 149) + ", #(a" + strings.Repeat("..a", 149) + ")", "0 150"},
		{"18 nested modulo", "local a = 7 return " + strings.Repeat("(a%", 90) + "4" + strings.Repeat(")", 90), "NaN"},
		{"17 blocks", strings.Repeat("do ", 10000) + strings.Repeat("end ", 10000), "bad_argument: t.lua:4:295: nested deeper than 100"},
		{"tokens", "local x " + manyConstants(30000), "bad_argument: t.lua:4:124267: more than 50000 tokens in one script"},
		{"constants", "local x " + manyConstants(2500), "bad_argument: t.lua:4:1: more than 2000 different constants and names in one function"},
		{"labels", strings.Repeat("::a:: ", 30000), "bad_argument: t.lua:4:601: more than 100 labels and gotos"},
		{"arguments", "print(" + strings.Repeat("1,", 300) + "1)", "bad_argument: t.lua:4:1: more than 100 expressions in a list"},
		{"big concat table", `local t = {} for i = 1, 60 do t[i] = ("x"):rep(1e6) end return #table.concat(t)`, "budget: t.lua:4: memory limit of a call reached"},
		{"emit", `for i = 1, 1e5 do emit("x", i) end`, "budget: t.lua:4: too many events in one call"},
		{"deep json", `return json.decode(("["):rep(1e5))`, "script: t.lua:4: JSON at byte 100: nested too deep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			bounded(t, func(r *rig) {
				got := r.deploy("t.lua", wrap(c.body))
				deployed := got.Code == command.CodeOK
				if deployed {
					got = r.call("t", "run")
				}
				if text := show(got); text != c.want {
					t.Errorf("got %.300s, want %s", text, c.want)
				}
				if got.Code == command.CodeOK {
					return
				}
				twin := newRig(t)
				if deployed {
					twin.mustDeploy("t.lua", wrap(c.body))
					twin.call("t", "nothing")
				} else {
					twin.deploy("", "")
				}
				if r.m.Digest() != twin.m.Digest() {
					t.Error("the state has changed")
				}
			})
		})
	}
}

// manyMethods ends a method and defines more than Go compares one by one when it
// looks a name up.
const manyMethods = ` end function T.query:a() end function T.query:b() end function T.query:c() end function T.query:d() end function T.query:e() end
function T.query:f() end function T.query:g() end function T.query:h() end function T.query:i() end function T.query:j() `

// What a hostile script may cost. That an error comes within 100 ms rests on what
// is charged; work that isn't shows as processor time alone, which is held against
// that of an endless loop on the same machine, 12 to 20 ms. The best of some tries
// counts.
const (
	hostileStepsMax = 1_200_000 // a call, and deploying it
	hostileBytesMax = 256 << 20
	hostileLoopsMax = 15 // times what an endless loop takes until its budget ends
	hostileTries    = 4
)

// measureEndless finds endless.
func measureEndless(t *testing.T) {
	for range hostileTries {
		r := newRig(t)
		r.mustDeploy("t.lua", wrap("while true do end"))
		start := cpu()
		r.call("t", "run")
		if took := cpu() - start; endless == 0 || took < endless {
			endless = took
		}
	}
}

// endless is what an endless loop takes, 0 before it was measured.
var endless time.Duration

// bounded holds what run does with a new rig to bounds.
func bounded(t *testing.T, run func(r *rig)) {
	t.Helper()
	if endless == 0 {
		measureEndless(t)
	}
	most := hostileLoopsMax * endless
	var took time.Duration
	for try := range hostileTries {
		r := newRig(t)
		start := cpu()
		bytes := allocated(func() { run(r) })
		took = cpu() - start
		t.Logf("%d steps, %d MB, %v", r.m.Charged().Steps, bytes>>20, took)
		if steps := r.m.Charged().Steps; steps > hostileStepsMax {
			t.Errorf("%d steps were charged", steps)
		}
		if bytes > hostileBytesMax {
			t.Errorf("%d bytes were allocated", bytes)
		}
		if took <= most || try == 0 && t.Failed() {
			return
		}
	}
	t.Errorf("%v of processor time, %d times as much as an endless loop", took, took/endless)
}

func manyConstants(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("x=")
		for v := i + 1000; v > 0; v /= 10 {
			b.WriteByte(byte('0' + v%10))
		}
		b.WriteByte(' ')
	}
	return b.String()
}

func TestHostileScriptFiles(t *testing.T) {
	for _, c := range []struct{ name, source, want string }{
		{"bytecode", "\x1bLua\x51\x00", "bad_argument: t.lua:1:1: bytecode is not accepted"},
		{"bom", "\ufeffreturn", ""},
		{"shebang", "#!/usr/bin/env syncsh\nlocal X = object 'x'", "x: new, version 1 (t.lua)"},
		{"nul", "return '\x00'", ""},
		{"garbage", "\xff\xfe\x00", "bad_argument: t.lua:1:1: Invalid token near '\ufffd'"},
		{"empty", "", ""},
		{"too large", strings.Repeat(" ", 300<<10), "bad_argument: t.lua:1:1: script of 307200 bytes, at most 262144 are allowed"},
		{"upvalues", manyUpvalues(), "bad_argument: t.lua:151:1: function with more than 60 variables of outer functions"},
		{"many calls in a helper of many methods", helperOfMany("a:m() "), "bad_argument: " + manyFindings(3, "a:m is a replicated method: a query can't call it; a:x0 does so through this function")},
		{"endless chunk", "while true do end", "budget: t.lua:1: instruction limit reached"},
		{"long name of a method", `local X = object "x" local k = ("x"):rep(16e6) while true do pcall(function() X[k] = pcall end) pcall(function() X[k] = function() end end) end`, "budget: t.lua:1: instruction limit reached"},
		{"long prototype", `local o = object o("x", ("y"):rep(16e6))`, `bad_argument: t.lua:1:1: object "x": no script defines methods of "` + strings.Repeat("y", 64) + `..."`},
		{"chunk error", "error('x')", "script: t.lua:1: x"},
		{"chunk state", "local X = object 'x' X.y = 1", "script: t.lua:1: x: only methods can be defined here; keep data in self"},
	} {
		bounded(t, func(r *rig) {
			if got := show(r.deploy("t.lua", c.source)); got != c.want {
				t.Errorf("%s: got %.200s, want %s", c.name, got, c.want)
			}
		})
	}
}

// Arguments that are far larger in memory than as bytes: an empty table is one.
func TestHostileArguments(t *testing.T) {
	array := func(n int, element ...byte) []byte {
		return append(codec.AppendArrayLen(nil, n), bytes.Repeat(element, n)...)
	}
	for _, c := range []struct {
		name  string
		count int
		args  []byte
		want  string // %s: the method
	}{
		{"empty arrays", 1, array(800_000, 0x90), "budget: t:%s: arguments: instruction limit reached"},
		{"empty maps", 1, array(800_000, 0x80), "budget: t:%s: arguments: instruction limit reached"},
		{"many of them", 12, bytes.Repeat(array(30_000, 0x90), 12), "budget: t:%s: arguments: instruction limit reached"},
		{"numbers", 1, array(2_000_000, 0x05), "budget: t:%s: arguments: memory limit of a call reached"},
		{"nils", 1, array(2_000_000, 0xc0), "budget: t:%s: arguments: memory limit of a call reached"},
		{"small maps", 1, array(300_000, 0x81, 0x01, 0x90), "budget: t:%s: arguments: instruction limit reached"},
		{"an array that claims more", 1, []byte{0xdd, 0xff, 0xff, 0xff, 0xff}, "bad_argument: t:%s: arguments: msgpack at byte "},
	} {
		list := append(codec.AppendArrayLen(nil, c.count), c.args...)
		bounded(t, func(r *rig) {
			r.mustDeploy("t.lua", wrap("")+"\nfunction T.query:ask() end")
			call := show(r.apply(command.AppendCall(nil, 0, 0, "t", "run", list))[0])
			ask := show(r.query(command.AppendQuery(nil, "t", "ask", list)))
			if !strings.HasPrefix(call, fmt.Sprintf(c.want, "run")) || !strings.HasPrefix(ask, fmt.Sprintf(c.want, "ask")) {
				t.Errorf("%s: %s, %s", c.name, call, ask)
			}
		})
	}
}

// helperOfMany is a script in which 1000 queries use a function with 3000 calls.
func helperOfMany(call string) string {
	var b strings.Builder
	b.WriteString("local A = object 'a'\nfunction A.replicated:m() end\nlocal function h()\n" + strings.Repeat(call, 3000) + "\nend\n")
	for i := range 1000 {
		b.WriteString("function A.query:x" + strconv.Itoa(i) + "() h() end\n")
	}
	return b.String()
}

// manyFindings is as many as are reported, 6 bytes apart in line 4.
func manyFindings(col int, text string) string {
	var all []string
	for i := range findingsMax {
		all = append(all, Finding{"t.lua", 4, col + 6*i, text}.String())
	}
	return strings.Join(all, "\n")
}

func manyUpvalues() string {
	var b strings.Builder
	for i := range 150 {
		b.WriteString("local v" + strings.Repeat("x", i+1) + " = 1\n")
	}
	b.WriteString("local function f() return 1")
	for i := range 140 {
		b.WriteString(" + v" + strings.Repeat("x", i+1))
	}
	return b.String() + " end\n"
}
