package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// baseFunctions are the basic functions that scripts see.
var baseFunctions = map[string]lua.LGFunction{
	"assert": baseAssert, "error": baseError, "getmetatable": baseGetMetatable, "ipairs": baseIpairs,
	"next": baseNext, "pairs": basePairs, "pcall": basePcall, "print": basePrint,
	"rawequal": baseRawEqual, "rawget": baseRawGet, "rawset": baseRawSet, "select": baseSelect,
	"setmetatable": baseSetMetatable, "tonumber": baseToNumber, "tostring": baseToString,
	"type": baseType, "unpack": baseUnpack, "xpcall": baseXpcall,
}

// badArgument raises Lua's error for argument n.
func badArgument(L *lua.LState, n int, format string) {
	name := "?"
	if s := execOf(L).calledAs(); s != "" {
		name = plainName(s)
	}
	throwf(L, "bad argument #%d to '%s' (%s)", n, name, format)
}

// callsPerStep: gopher-lua finds the name of a call by going through all calls
// of the function that makes it, of which a script may have 16,000.
const callsPerStep = 64

// calledAs is the name by which the library function that runs was called, as
// the script has it; empty if gopher-lua knows none.
func (x *exec) calledAs() string {
	if caller, ok := x.L.GetStack(1); ok {
		if v, err := x.L.GetInfo("f", caller, lua.LNil); err == nil {
			if f, ok := v.(*lua.LFunction); ok && !f.IsG {
				x.must(x.Steps(len(f.Proto.DbgCalls) / callsPerStep))
			}
		}
	}
	dbg, ok := x.L.GetStack(0)
	if !ok {
		return ""
	}
	if _, err := x.L.GetInfo("n", dbg, lua.LNil); err != nil || dbg.Name == "" || dbg.Name[0] == '(' {
		return ""
	}
	return dbg.Name
}

// checkAny refuses a missing argument.
func checkAny(L *lua.LState, n int) lua.LValue {
	if L.GetTop() < n {
		badArgument(L, n, "value expected")
	}
	return L.Get(n)
}

func wrongType(L *lua.LState, n int, want string) {
	got := "no value"
	if L.GetTop() >= n {
		got = typeName(L.Get(n))
	}
	badArgument(L, n, want+" expected, got "+got)
}

func checkTable(L *lua.LState, n int) *state.Table {
	t, ok := state.TableOf(L.Get(n))
	if !ok {
		wrongType(L, n, "table")
	}
	return t
}

func checkNumber(L *lua.LState, n int) float64 {
	v := L.Get(n)
	if f, ok := v.(lua.LNumber); ok {
		return float64(f)
	}
	f, ok := execOf(L).operand(v)
	if !ok {
		wrongType(L, n, "number")
	}
	return f
}

// checkInt is an argument that Lua would convert to an integer, cut off at the
// ends of int64 the same way on every architecture.
func checkInt(L *lua.LState, n int) int64 { return lib.ClampInt(checkNumber(L, n)) }

func optInt(L *lua.LState, n int, def int64) int64 {
	if L.Get(n) == lua.LNil {
		return def
	}
	return checkInt(L, n)
}

func checkString(L *lua.LState, n int) string {
	switch v := L.Get(n).(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		x := execOf(L)
		x.must(x.Steps(textSteps))
		return lib.FormatNumber(float64(v))
	}
	wrongType(L, n, "string")
	return ""
}

func optString(L *lua.LState, n int, def string) string {
	if L.Get(n) == lua.LNil {
		return def
	}
	return checkString(L, n)
}

func baseType(L *lua.LState) int {
	v := checkAny(L, 1)
	if _, ok := state.TableOf(v); ok {
		L.Push(typeNames[lua.LTTable])
	} else {
		L.Push(typeNames[v.Type()])
	}
	return 1
}

// typeNames are what type answers, by lua.LValueType: made once, as each string
// in a lua.LValue is an allocation.
var typeNames = func() (out [lua.LTChannel + 1]lua.LValue) {
	for t := range out {
		out[t] = lua.LString(lua.LValueType(t).String())
	}
	return out
}()

func baseToString(L *lua.LState) int {
	x := execOf(L)
	x.must(x.Steps(textSteps))
	L.Push(lua.LString(x.toString(checkAny(L, 1))))
	return 1
}

// toString is tostring(v). Tables and functions have no address to show.
func (x *exec) toString(v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case lua.LNumber:
		return lib.FormatNumber(float64(v))
	case lua.LBool:
		if v {
			return "true"
		}
		return "false"
	case *lua.LNilType:
		return "nil"
	}
	h := x.metamethod(v, "__tostring")
	if h == lua.LNil {
		return typeName(v)
	}
	call(x.L, h, 1, v)
	r := x.L.Get(-1)
	x.L.Pop(1)
	s, ok := r.(lua.LString)
	if !ok {
		throwf(x.L, "'tostring' must return a string")
	}
	return string(s)
}

func baseToNumber(L *lua.LState) int {
	v := checkAny(L, 1)
	x := execOf(L)
	base := optInt(L, 2, 10)
	if base < 2 || base > 36 {
		badArgument(L, 2, "base out of range")
	}
	var n float64
	var ok bool
	if base == 10 {
		n, ok = x.operand(v)
	} else {
		s := checkString(L, 1)
		x.must(x.Steps(textSteps + len(s)/textBytes))
		n, ok = lib.ParseBase(s, int(base))
	}
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(n))
	return 1
}

func baseAssert(L *lua.LState) int {
	if lua.LVAsBool(checkAny(L, 1)) {
		x := execOf(L)
		x.must(x.Steps(L.GetTop()))
		return L.GetTop()
	}
	if L.GetTop() < 2 {
		throw(L, lua.LString(where(L, 1)+"assertion failed!"))
	}
	throw(L, L.Get(2))
	return 0
}

func baseError(L *lua.LState) int {
	v := L.Get(1)
	level := optInt(L, 2, 1)
	if s, ok := v.(lua.LString); ok && level > 0 && level <= callDepthMax {
		at := position(L, int(level))
		x := execOf(L)
		x.must(x.Bytes(len(at) + len(s)))
		v = lua.LString(at) + s
	}
	throw(L, v)
	return 0
}

// Steps charged for an error that is caught: unwinding costs that of about as
// many instructions.
const pcallErrorSteps = 100

func basePcall(L *lua.LState) int {
	x := execOf(L)
	checkAny(L, 1)
	if r := x.pcall(L.GetTop() - 1); r != nil {
		x.caught(r)
		L.Push(lua.LFalse)
		L.Push(r.value)
		return 2
	}
	x.must(x.Steps(L.GetTop()))
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

// caught lets through what can't be caught.
func (x *exec) caught(r *raised) {
	if r.fatal == nil && x.fatal != nil {
		r.fatal = x.fatal
	}
	if r.fatal != nil {
		x.raise(r.fatal)
	}
	x.must(x.Steps(pcallErrorSteps))
}

func baseXpcall(L *lua.LState) int {
	x := execOf(L)
	checkAny(L, 2)
	h := L.Get(2)
	L.SetTop(1)
	if r := x.pcall(0); r != nil {
		x.caught(r)
		L.SetTop(0)
		L.Push(h)
		L.Push(r.value)
		value := lua.LValue(lua.LString("error in error handling"))
		if r := x.pcall(1); r != nil {
			x.caught(r)
		} else if value = lua.LNil; L.GetTop() > 0 {
			value = L.Get(1)
		}
		L.SetTop(0)
		L.Push(lua.LFalse)
		L.Push(value)
		return 2
	}
	x.must(x.Steps(L.GetTop()))
	L.Insert(lua.LTrue, 1)
	return L.GetTop()
}

func baseSelect(L *lua.LState) int {
	n := L.GetTop()
	if s, ok := L.Get(1).(lua.LString); ok && s == "#" {
		L.Push(lua.LNumber(n - 1))
		return 1
	}
	i := checkInt(L, 1)
	if i < 0 {
		i = int64(n) + i
	}
	if i < 1 {
		badArgument(L, 1, "index out of range")
	}
	if i >= int64(n) {
		return 0
	}
	x := execOf(L)
	x.must(x.Steps(n - int(i)))
	return n - int(i)
}

func baseUnpack(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	i, j := optInt(L, 2, 1), optInt(L, 3, int64(t.Len(x.view)))
	if i > j {
		return 0
	}
	const unpackMax = 8000
	if j-i < 0 || j-i >= unpackMax {
		throwf(L, "too many results to unpack")
	}
	n := int(j - i + 1)
	x.must(x.Steps(n))
	for k := range n {
		L.Push(t.Get(x.view, lua.LNumber(i+int64(k))))
	}
	return n
}

func baseRawEqual(L *lua.LState) int {
	a, b := checkAny(L, 1), checkAny(L, 2)
	execOf(L).comparing(a, b)
	L.Push(lua.LBool(L.RawEqual(a, b)))
	return 1
}

func baseRawGet(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.key(L.Get(2))
	L.Push(t.Get(x.view, checkAny(L, 2)))
	return 1
}

func baseRawSet(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.rawSet(t, checkAny(L, 2), checkAny(L, 3))
	L.SetTop(1)
	return 1
}

func baseGetMetatable(L *lua.LState) int {
	x := execOf(L)
	if t, ok := state.TableOf(checkAny(L, 1)); ok {
		if m := x.metatable(t); m != nil {
			if p := m.GetString(nil, "__metatable"); p != lua.LNil {
				L.Push(p)
			} else {
				L.Push(m.UserData())
			}
			return 1
		}
	}
	L.Push(lua.LNil)
	return 1
}

func baseSetMetatable(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	var m *state.Table
	if checkAny(L, 2) != lua.LNil {
		m = checkTable(L, 2)
	}
	x.writable(t)
	if old := x.metatable(t); old != nil && old.GetString(nil, "__metatable") != lua.LNil {
		throwf(L, "cannot change a protected metatable")
	}
	x.must(t.SetMetatable(m))
	L.SetTop(1)
	return 1
}

func baseNext(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.key(L.Get(2))
	x.must(x.Steps(iterSteps))
	k, v, ok, err := t.Next(x.view, L.Get(2))
	x.must(err)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(k)
	L.Push(v)
	return 2
}

// basePairs returns an iterator of its own for each loop, as next can't say
// where it is when what it stands on was removed.
func basePairs(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.must(x.memory(tableBytes))
	x.must(x.Steps(writeSteps))
	it := t.Iter(x.view)
	L.Push(iterator(func(L *lua.LState) int {
		x.must(x.Steps(iterSteps))
		k, v, ok := it.Next()
		if !ok {
			L.Push(lua.LNil)
			return 1
		}
		L.Push(k)
		L.Push(v)
		return 2
	}))
	L.Push(t.UserData())
	L.Push(lua.LNil)
	return 3
}

var ipairsNext = goFunction(func(L *lua.LState) int {
	x := execOf(L)
	x.must(x.Steps(lookupSteps))
	t := checkTable(L, 1)
	i := checkNumber(L, 2) + 1
	v := t.Get(x.view, lua.LNumber(i))
	if v == lua.LNil {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(i))
	L.Push(v)
	return 2
})

func baseIpairs(L *lua.LState) int {
	t := checkTable(L, 1)
	L.Push(ipairsNext)
	L.Push(t.UserData())
	L.Push(lua.LNumber(0))
	return 3
}

func basePrint(L *lua.LState) int {
	x := execOf(L)
	var text []byte
	for i := 1; i <= L.GetTop(); i++ {
		if i > 1 {
			text = append(text, '\t')
		}
		s := x.toString(L.Get(i))
		x.must(x.Steps(len(s)/bytesPerStep + 1))
		if room := printBytesMax - len(text); room > 0 {
			text = append(text, s[:min(len(s), room)]...)
		}
	}
	if x.print != nil {
		x.print(x.object, string(text))
	}
	return 0
}

// forBound is a value of a numeric for.
func forBound(L *lua.LState) int {
	n, ok := execOf(L).operand(L.Get(2))
	if !ok {
		throwf(L, "'for' %s must be a number", L.Get(1).String())
	}
	L.Push(lua.LNumber(n))
	return 1
}
