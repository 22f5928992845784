package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// stringFunctions is the string library. Everything is charged in lib.
var stringFunctions = map[string]lua.LGFunction{
	"byte": stringByte, "char": stringChar, "find": stringFind, "format": stringFormat,
	"gmatch": stringGmatch, "gsub": stringGsub, "len": stringLen, "lower": stringLower,
	"match": stringMatch, "rep": stringRep, "reverse": stringReverse, "sub": stringSub, "upper": stringUpper,
}

// pushString pushes what a function of lib returned.
func pushString(L *lua.LState, s string, err error) int {
	if err != nil {
		execOf(L).raise(err)
	}
	L.Push(lua.LString(s))
	return 1
}

func stringLen(L *lua.LState) int {
	L.Push(lua.LNumber(len(checkString(L, 1))))
	return 1
}

func stringSub(L *lua.LState) int {
	s, err := lib.Sub(execOf(L), checkString(L, 1), checkInt(L, 2), optInt(L, 3, -1))
	return pushString(L, s, err)
}

// checkText is the first argument, charged for as a loop goes through it.
func checkText(L *lua.LState) string {
	x := execOf(L)
	s := checkString(L, 1)
	x.must(x.Steps(len(s) / textBytes))
	return s
}

func stringUpper(L *lua.LState) int {
	s, err := lib.Upper(execOf(L), checkText(L))
	return pushString(L, s, err)
}

func stringLower(L *lua.LState) int {
	s, err := lib.Lower(execOf(L), checkText(L))
	return pushString(L, s, err)
}

func stringReverse(L *lua.LState) int {
	s, err := lib.Reverse(execOf(L), checkText(L))
	return pushString(L, s, err)
}

func stringRep(L *lua.LState) int {
	s, err := lib.Rep(execOf(L), checkString(L, 1), checkInt(L, 2))
	return pushString(L, s, err)
}

func stringByte(L *lua.LState) int {
	x := execOf(L)
	i := optInt(L, 2, 1)
	s, err := lib.Byte(checkString(L, 1), i, optInt(L, 3, i))
	x.must(err)
	x.must(x.Steps(len(s)))
	for k := range len(s) {
		L.Push(lua.LNumber(s[k]))
	}
	return len(s)
}

func stringChar(L *lua.LState) int {
	x := execOf(L)
	n := L.GetTop()
	x.must(x.Bytes(n))
	b := make([]byte, 0, n)
	for i := 1; i <= n; i++ {
		var err error
		if b, err = lib.Char(b, checkNumber(L, i)); err != nil {
			badArgument(L, i, err.Error())
		}
	}
	L.Push(lua.LString(b))
	return 1
}

// captureValue is a capture as a Lua value.
func (x *exec) captureValue(s string, c lib.Capture) lua.LValue {
	if c.IsPosition() {
		return lua.LNumber(c.Start + 1)
	}
	text, err := c.Copy(x, s)
	x.must(err)
	return lua.LString(text)
}

func (x *exec) pushCaptures(s string, list []lib.Capture) int {
	for _, c := range list {
		x.L.Push(x.captureValue(s, c))
	}
	return len(list)
}

func stringFind(L *lua.LState) int {
	x := execOf(L)
	s := checkString(L, 1)
	m, ok, err := lib.Find(x, s, checkString(L, 2), optInt(L, 3, 1), lua.LVAsBool(L.Get(4)))
	x.must(err)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	L.Push(lua.LNumber(m.Start + 1))
	L.Push(lua.LNumber(m.End))
	return 2 + x.pushCaptures(s, m.Captures)
}

func stringMatch(L *lua.LState) int {
	x := execOf(L)
	s := checkString(L, 1)
	m, ok, err := lib.Find(x, s, checkString(L, 2), optInt(L, 3, 1), false)
	x.must(err)
	if !ok {
		L.Push(lua.LNil)
		return 1
	}
	return x.pushCaptures(s, m.Values())
}

func stringGmatch(L *lua.LState) int {
	x := execOf(L)
	s, pattern := checkString(L, 1), checkString(L, 2)
	x.must(x.memory(gmatchBytes))
	x.must(x.Steps(writeSteps))
	g := lib.NewGmatch(s, pattern)
	L.Push(iterator(func(L *lua.LState) int {
		x := execOf(L)
		m, ok, err := g.Next(x)
		x.must(err)
		if !ok {
			L.Push(lua.LNil)
			return 1
		}
		return x.pushCaptures(g.Subject(), m.Values())
	}))
	return 1
}

func stringGsub(L *lua.LState) int {
	x := execOf(L)
	s, pattern := checkString(L, 1), checkString(L, 2)
	repl := L.Get(3)
	limit := int64(-1)
	if L.Get(4) != lua.LNil {
		limit = max(checkInt(L, 4), 0)
	}
	var with func(m lib.Match) (string, bool, error)
	t, isTable := state.TableOf(repl)
	switch r := repl.(type) {
	case lua.LString, lua.LNumber:
		text := checkString(L, 3)
		with = func(m lib.Match) (string, bool, error) {
			out, err := lib.Expand(x, s, text, m)
			return out, false, err
		}
	case *lua.LFunction:
		with = func(m lib.Match) (string, bool, error) {
			L.Push(r)
			L.Call(x.pushCaptures(s, m.Values()), 1)
			return x.replacement(popValue(L))
		}
	default:
		if !isTable {
			wrongType(L, 3, "string/function/table")
		}
		with = func(m lib.Match) (string, bool, error) {
			return x.replacement(x.index1(t, x.captureValue(s, m.Values()[0])))
		}
	}
	out, n, err := lib.Gsub(x, s, pattern, with, limit)
	x.must(err)
	L.Push(lua.LString(out))
	L.Push(lua.LNumber(n))
	return 2
}

func popValue(L *lua.LState) lua.LValue {
	v := L.Get(-1)
	L.Pop(1)
	return v
}

// replacement is what gsub puts in for a value of a table or function.
func (x *exec) replacement(v lua.LValue) (text string, keep bool, err error) {
	if !lua.LVAsBool(v) {
		return "", true, nil
	}
	s, ok := concatText(v)
	if !ok {
		throwf(x.L, "invalid replacement value (a %s)", typeName(v))
	}
	return s, false, nil
}

// formatArgs are the arguments of string.format.
type formatArgs struct{ L *lua.LState }

func (a formatArgs) Number(i int) (float64, error) { return checkNumber(a.L, i+1), nil }

func (a formatArgs) String(i int) (string, error) {
	return execOf(a.L).toString(checkAny(a.L, i+1)), nil
}

func stringFormat(L *lua.LState) int {
	x := execOf(L)
	s, err := lib.Format(x, checkString(L, 1), formatArgs{L})
	x.must(x.Steps(textSteps + len(s)/(textBytes/4)))
	return pushString(L, s, err)
}
