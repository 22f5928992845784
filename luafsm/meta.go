package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// What the operators do with values that aren't numbers. gopher-lua asks the
// metatable of a value; tables of ours all have state.Metatable, strings, nil and the
// other types have metatables of their own in every Lua state. Scripts can reach
// none of them: the metatables that setmetatable gives to tables are looked at in
// here.

// The metatable of all our tables.
func init() {
	t := operators()
	t.RawSetString("__index", goFunction(tableIndex))
	t.RawSetString("__newindex", goFunction(tableNewIndex))
	t.RawSetString("__len", goFunction(tableLen))
	t.RawSetString("__eq", goFunction(tableEqual))
	state.Metatable = t
}

// otherMeta is the metatable of nil, booleans, numbers and functions.
var otherMeta = func() *lua.LTable {
	t := operators()
	t.RawSetString("__index", goFunction(badIndex))
	t.RawSetString("__newindex", goFunction(badIndex))
	t.RawSetString("__len", goFunction(badLen))
	return t
}()

// stringMeta is the metatable of strings.
var stringMeta = func() *lua.LTable {
	t := operators()
	t.RawSetString("__index", goFunction(stringIndex))
	t.RawSetString("__newindex", goFunction(badIndex))
	return t
}()

// operators is a metatable with what all types have in common.
func operators() *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	for _, op := range []string{"add", "sub", "mul", "div"} {
		t.RawSetString("__"+op, goFunction(arithmetic(op)))
	}
	t.RawSetString("__unm", goFunction(negate))
	t.RawSetString("__lt", goFunction(func(L *lua.LState) int { return compare(L, "__lt") }))
	t.RawSetString("__le", goFunction(func(L *lua.LState) int { return compare(L, "__le") }))
	t.RawSetString("__call", goFunction(callValue))
	return t
}

// metamethod is what the metatable that a script gave v has for event; LNil if
// nothing.
func (x *exec) metamethod(v lua.LValue, event string) lua.LValue {
	if t, ok := state.TableOf(v); ok {
		if m := x.metatable(t); m != nil {
			return m.GetString(nil, event)
		}
	}
	return lua.LNil
}

// metatable that a script gave t. Tables of another store are in the state,
// where none has a metatable.
func (x *exec) metatable(t *state.Table) *state.Table {
	if t.Store() != x.store {
		return nil
	}
	return t.Metatable()
}

// call calls f with args and leaves n results on the stack.
func call(L *lua.LState, f lua.LValue, n int, args ...lua.LValue) {
	x := execOf(L)
	x.must(x.Steps(callSteps))
	invoke(L, f, n, args...)
}

// invoke is call, charged for by who calls it.
func invoke(L *lua.LState, f lua.LValue, n int, args ...lua.LValue) {
	L.Push(f)
	for _, a := range args {
		L.Push(a)
	}
	L.Call(len(args), n)
}

func tableIndex(L *lua.LState) int {
	x := execOf(L)
	t, _ := state.TableOf(L.Get(1))
	L.Push(x.index1(t, L.Get(2)))
	return 1
}

// level charges for a lookup of k in a table that metatables refer to, level
// tables behind the one that the instruction names.
func (x *exec) level(level int, k lua.LValue) {
	if level > 0 {
		x.must(x.Steps(metaSteps))
	}
	x.key(k)
}

// index1 is t[k] with what metatables and methods add.
func (x *exec) index1(t *state.Table, k lua.LValue) lua.LValue {
	x.must(x.Steps(lookupSteps))
	for level := range metaDepthMax {
		x.level(level, k)
		v := t.Get(x.view, k)
		if v != lua.LNil {
			return v
		}
		m := x.metatable(t)
		if m == nil {
			if s, ok := k.(lua.LString); ok && x.prog.names[string(s)] {
				return x.methodOf(t, string(s))
			}
			return lua.LNil
		}
		h := m.GetString(nil, "__index")
		if h == lua.LNil {
			return lua.LNil
		}
		next, ok := state.TableOf(h)
		if !ok {
			call(x.L, h, 1, t.UserData(), k)
			v := x.L.Get(-1)
			x.L.Pop(1)
			return v
		}
		t = next
	}
	throwf(x.L, "'__index' chain too long; possibly a loop")
	return lua.LNil
}

// methodOf is the method name of the object whose state t is.
func (x *exec) methodOf(t *state.Table, name string) lua.LValue {
	o := x.roots.byTable[t]
	if o == nil {
		return lua.LNil
	}
	d := x.prog.class(o)
	if d == nil {
		return lua.LNil
	}
	m := d.methods[name]
	switch {
	case m == nil:
		return lua.LNil
	case m.kind == kindLocal:
		throwf(x.L, "%s:%s is a local method: it runs where it is called from, not in replicated code", o.name, name)
	case m.kind == kindReplicated && x.mode == modeQuery:
		throwf(x.L, "%s:%s is a replicated method: a query can't call it", o.name, name)
	}
	return m.fn
}

func tableNewIndex(L *lua.LState) int {
	x := execOf(L)
	t, _ := state.TableOf(L.Get(1))
	x.setIndex(t, L.Get(2), L.Get(3))
	return 0
}

// setIndex is t[k] = v with what metatables and methods add.
func (x *exec) setIndex(t *state.Table, k, v lua.LValue) {
	for level := range metaDepthMax {
		x.level(level, k)
		m := x.metatable(t)
		if m == nil || t.Get(nil, k) != lua.LNil {
			x.rawSet(t, k, v)
			return
		}
		h := m.GetString(nil, "__newindex")
		if h == lua.LNil {
			x.rawSet(t, k, v)
			return
		}
		next, ok := state.TableOf(h)
		if !ok {
			call(x.L, h, 0, t.UserData(), k, v)
			return
		}
		t = next
	}
	throwf(x.L, "'__newindex' chain too long; possibly a loop")
}

func (x *exec) rawSet(t *state.Table, k, v lua.LValue) {
	x.writable(t)
	if t.InState() {
		x.must(x.Steps(writeSteps))
	} else {
		x.must(x.Steps(lookupSteps))
	}
	if s, ok := k.(lua.LString); ok && x.prog.names[string(s)] && v != lua.LNil {
		x.checkField(t, string(s))
	}
	x.moving(t, k, v)
	if err := t.Set(k, v); err != nil {
		x.raise(err)
	}
	if err := x.settle(); err != nil {
		x.raise(err)
	}
}

// writable refuses tables that the running code may only read.
func (x *exec) writable(t *state.Table) {
	if t.Store() != x.store {
		throwf(x.L, "query methods can't change state")
	}
}

// checkField refuses a field of an object's state that would hide a method.
func (x *exec) checkField(t *state.Table, name string) {
	o := x.roots.byTable[t]
	if o == nil {
		return
	}
	if d := x.prog.class(o); d != nil && d.methods[name] != nil {
		throwf(x.L, "%s.%s can't be assigned: %s has a method of that name", o.name, name, o.name)
	}
}

func tableLen(L *lua.LState) int {
	x := execOf(L)
	t, _ := state.TableOf(L.Get(1))
	x.must(x.Steps(lookupSteps))
	L.Push(lua.LNumber(t.Len(x.view)))
	return 1
}

func tableEqual(L *lua.LState) int {
	x := execOf(L)
	a, b := L.Get(1), L.Get(2)
	h := x.metamethod(a, "__eq")
	if h == lua.LNil || h != x.metamethod(b, "__eq") {
		L.Push(lua.LFalse)
		return 1
	}
	call(L, h, 1, a, b)
	return 1
}

// arithmetic is the operator op for values that aren't both numbers.
func arithmetic(op string) lua.LGFunction {
	return func(L *lua.LState) int {
		x := execOf(L)
		a, b := L.Get(1), L.Get(2)
		m, okA := x.operand(a)
		n, okB := x.operand(b)
		if okA && okB {
			L.Push(calculate(op, m, n))
			return 1
		}
		for _, v := range [2]lua.LValue{a, b} {
			if h := x.metamethod(v, "__"+op); h != lua.LNil {
				call(L, h, 1, a, b)
				return 1
			}
		}
		if okA {
			a = b
		}
		throwf(L, "attempt to perform arithmetic on a %s value", typeName(a))
		return 0
	}
}

// operand is the number that v is or, as a string, spells; reading a string is
// charged, however the number is used.
func (x *exec) operand(v lua.LValue) (float64, bool) {
	switch v := v.(type) {
	case lua.LNumber:
		return float64(v), true
	case lua.LString:
		f, ok, err := lib.ReadNumber(x, string(v))
		x.must(err)
		return f, ok
	}
	return 0, false
}

func calculate(op string, a, b float64) lua.LValue {
	switch op {
	case "add":
		a += b
	case "sub":
		a -= b
	case "mul":
		a *= b
	case "div":
		a /= b
	default:
		a = lib.Modulo(a, b)
	}
	return lua.LNumber(a)
}

func negate(L *lua.LState) int {
	x := execOf(L)
	a := L.Get(1)
	if n, ok := x.operand(a); ok {
		L.Push(lua.LNumber(-n))
		return 1
	}
	h := x.metamethod(a, "__unm")
	if h == lua.LNil {
		throwf(L, "attempt to perform arithmetic on a %s value", typeName(a))
	}
	call(L, h, 1, a, a)
	return 1
}

// compare is < or <= of two values of one type that are no numbers or strings.
func compare(L *lua.LState, event string) int {
	x := execOf(L)
	a, b := L.Get(1), L.Get(2)
	if h := x.metamethod(a, event); h != lua.LNil && h == x.metamethod(b, event) {
		call(L, h, 1, a, b)
		return 1
	}
	if event == "__le" {
		if h := x.metamethod(a, "__lt"); h != lua.LNil && h == x.metamethod(b, "__lt") {
			call(L, h, 1, b, a)
			v := lua.LBool(!lua.LVAsBool(L.Get(-1)))
			L.Pop(1)
			L.Push(v)
			return 1
		}
	}
	throwf(L, "attempt to compare two %s values", typeName(a))
	return 0
}

// callValue is a call of a value that isn't a function.
func callValue(L *lua.LState) int {
	x := execOf(L)
	v := L.Get(1)
	h := x.metamethod(v, "__call")
	if h == lua.LNil {
		name := x.calledAs()
		if name == "" || name == "?" || name[0] == hidden[0] {
			throwf(L, "attempt to call a %s value", typeName(v))
		}
		throwf(L, "attempt to call '%s' (a %s value)", shown(name), typeName(v))
	}
	n := L.GetTop()
	x.must(x.Steps(n))
	L.Insert(h, 1)
	L.Call(n, lua.MultRet)
	x.must(x.Steps(L.GetTop()))
	return L.GetTop()
}

func badIndex(L *lua.LState) int {
	throwf(L, "attempt to index a %s value%s", typeName(L.Get(1)), keyText(L.Get(2)))
	return 0
}

func badLen(L *lua.LState) int {
	throwf(L, "attempt to get length of a %s value", typeName(L.Get(1)))
	return 0
}

// keyText names the key of a failed access in its error.
func keyText(k lua.LValue) string {
	const keyTextMax = 60
	switch k := k.(type) {
	case lua.LString:
		if len(k) <= keyTextMax {
			return " (field '" + string(k) + "')"
		}
	case lua.LNumber:
		return " (field [" + lib.FormatNumber(float64(k)) + "])"
	}
	return ""
}

// typeName is what type() says of v.
func typeName(v lua.LValue) string {
	if _, ok := state.TableOf(v); ok {
		return "table"
	}
	return v.Type().String()
}
