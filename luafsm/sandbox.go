package luafsm

import (
	"maps"
	"math"
	"slices"

	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// library is one of the tables of functions that scripts see.
type library struct {
	functions map[string]lua.LGFunction
	numbers   map[string]float64
}

// libraries by name. Nothing else is there: the sandbox is built from empty.
var libraries = map[string]library{
	"json":   {functions: jsonFunctions},
	"math":   {mathFunctions, map[string]float64{"huge": math.Inf(1), "pi": math.Pi}},
	"string": {functions: stringFunctions},
	"table":  {functions: tableFunctions},
}

// ownFunctions are the global functions that Lua hasn't.
var ownFunctions = map[string]lua.LGFunction{
	"after": after, "caller": ownCaller, "cancel": cancel, "copy": ownCopy, "emit": emit,
	"index": ownIndex, "now": ownNow, "random": ownRandom,
}

// globalNames are the globals that methods and chunks may use. It is filled by
// init, as the functions refer back to it.
var globalNames map[string]bool

func init() {
	globalNames = map[string]bool{"object": true}
	for n := range baseFunctions {
		globalNames[n] = true
	}
	for n := range ownFunctions {
		globalNames[n] = true
	}
	for n := range libraries {
		globalNames[n] = true
	}
	for n := range globalNames {
		reserved[n] = true
	}
}

// isLibrary says whether a library has a function or number of that name.
func isLibrary(name, field string) bool {
	l, ok := libraries[name]
	return ok && (l.functions[field] != nil || l.numbers[field] != 0)
}

// plainName is the name of a function without that of its library, as errors
// show it. A name too long for that is no function of a library, and isn't gone
// through: a script may have one of 60,000 bytes, in each of its errors.
func plainName(name string) string {
	if len(name) > nameBytesMax {
		return shown(name)
	}
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return name[i+1:]
		}
	}
	return name
}

// hiddenFunctions are what rewrite makes calls of.
var hiddenFunctions = map[string]lua.LGFunction{
	hiddenTable: makeTable, hiddenBuild: buildTable, hiddenConcat: concat, hiddenPow: power, hiddenMod: arithmetic("mod"), hiddenRest: rest,
	hiddenFor: forBound, hiddenClosure: closure, hiddenEqual: equal, hiddenLess: less, hiddenLessEqual: lessEqual, hiddenMore: more, hiddenMoreEqual: moreEqual,
}

// The same functions serve all Lua states: they have no variables.
var sharedFunctions = func() map[string]*lua.LFunction {
	out := map[string]*lua.LFunction{}
	for _, m := range []map[string]lua.LGFunction{baseFunctions, ownFunctions, hiddenFunctions} {
		for n, f := range m {
			out[n] = goFunction(f)
		}
	}
	for l, lb := range libraries {
		for n, f := range lb.functions {
			out[l+"."+n] = goFunction(f)
		}
	}
	return out
}()

// stringMethods is what s:method() finds.
var stringMethods = func() map[string]*lua.LFunction {
	out := map[string]*lua.LFunction{}
	for n := range stringFunctions {
		out[n] = sharedFunctions["string."+n]
	}
	return out
}()

// stringIndex is s[k] of a string. It is no table, which gopher-lua would look k
// up in for one instruction, however long k is.
func stringIndex(L *lua.LState) int {
	x := execOf(L)
	k := L.Get(2)
	x.must(x.Steps(lookupSteps))
	x.key(k)
	if s, ok := k.(lua.LString); ok {
		if f := stringMethods[string(s)]; f != nil {
			L.Push(f)
			return 1
		}
	}
	L.Push(lua.LNil)
	return 1
}

// sandbox fills the empty Lua state of a program.
func (p *program) sandbox() {
	L := p.x.L
	env := L.G.Global
	for _, n := range slices.Sorted(maps.Keys(sharedFunctions)) {
		env.RawSetString(n, sharedFunctions[n])
	}
	env.RawSetString("object", goFunction(objectFunction))
	for _, n := range slices.Sorted(maps.Keys(libraries)) {
		l := libraries[n]
		t := p.x.store.NewTable(0, len(l.functions))
		for _, f := range slices.Sorted(maps.Keys(l.functions)) {
			p.set(t, f, sharedFunctions[n+"."+f])
		}
		for _, f := range slices.Sorted(maps.Keys(l.numbers)) {
			p.set(t, f, lua.LNumber(l.numbers[f]))
			env.RawSetString(n+"."+f, lua.LNumber(l.numbers[f]))
		}
		t.Freeze()
		env.RawSetString(n, t.UserData())
	}
	env.Metatable = globalMeta
	for _, v := range []lua.LValue{lua.LNil, lua.LTrue, lua.LNumber(0), sharedFunctions["type"]} {
		L.SetMetatable(v, otherMeta)
	}
	L.SetMetatable(lua.LString(""), stringMeta)
}

func (p *program) set(t *state.Table, name string, v lua.LValue) {
	if err := t.SetString(name, v); err != nil {
		panic("luafsm: library table: " + err.Error())
	}
}

// globalMeta makes objects globals.
var globalMeta = func() *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	t.RawSetString("__index", goFunction(func(L *lua.LState) int {
		x := execOf(L)
		if o := x.roots.byName[L.Get(2).String()]; o != nil {
			L.Push(o.table.UserData())
		} else {
			L.Push(lua.LNil)
		}
		return 1
	}))
	t.RawSetString("__newindex", goFunction(func(L *lua.LState) int {
		throwf(L, "assignment to global '%s'; keep data in self", shown(L.Get(2).String()))
		return 0
	}))
	return t
}()

// rest is the ... of a list.
func rest(L *lua.LState) int {
	x := execOf(L)
	n := L.GetTop()
	x.must(x.Steps(n))
	return n
}

// makeTable is a table constructor: the layout of its fields, then their values.
func makeTable(L *lua.LState) int {
	x := execOf(L)
	layout := string(L.Get(1).(lua.LString))
	t := x.newTable(len(layout), 0)
	x.fillTable(t, layout, 0)
	L.Push(t.UserData())
	return 1
}

// fillTable sets the fields whose layout and values are on the stack and
// returns the last index it gave.
func (x *exec) fillTable(t *state.Table, layout string, last int) int {
	L := x.L
	arg := 2
	for i := range len(layout) {
		switch layout[i] {
		case fieldPair:
			x.must(t.Set(L.Get(arg), L.Get(arg+1)))
			arg += 2
		case fieldItem:
			last++
			x.must(t.SetIndex(last, L.Get(arg)))
			arg++
		case fieldRest:
			for n := L.GetTop(); arg <= n; arg++ {
				last++
				x.must(t.SetIndex(last, L.Get(arg)))
			}
		}
	}
	x.must(x.Steps(arg))
	x.must(x.settle())
	return last
}

// builder is a long constructor on its way.
type builder struct {
	t    *state.Table
	last int
}

// builderMeta is the metatable of builders. init fills it, as its function
// refers to it.
var builderMeta = &lua.LTable{Metatable: lua.LNil}

func init() { builderMeta.RawSetString("__call", goFunction(buildMore)) }

// buildMore is the call of a builder with more fields.
func buildMore(L *lua.LState) int {
	self := L.Get(1).(*lua.LUserData)
	b := self.Value.(*builder)
	L.Remove(1)
	layout := string(L.Get(1).(lua.LString))
	b.last = execOf(L).fillTable(b.t, layout, b.last)
	if layout[len(layout)-1] == fieldsDone {
		L.Push(b.t.UserData())
	} else {
		L.Push(self)
	}
	return 1
}

// buildTable begins a long table constructor.
func buildTable(L *lua.LState) int {
	x := execOf(L)
	b := &builder{t: x.newTable(constructorMax, 0)}
	b.last = x.fillTable(b.t, string(L.Get(1).(lua.LString)), 0)
	L.Push(&lua.LUserData{Value: b, Metatable: builderMeta})
	return 1
}

// concat is the operator .. over all its operands, from right to left.
func concat(L *lua.LState) int {
	x := execOf(L)
	n := L.GetTop()
	total, numbers := 0, 0
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			total += len(v)
		case lua.LNumber:
			total += numberTextMax
			numbers++
		default:
			return x.concatValues(n)
		}
	}
	x.must(x.Steps(textSteps / 2 * numbers)) // no call, and no text of its own
	x.must(x.Bytes(total))
	buf := make([]byte, 0, total)
	for i := 1; i <= n; i++ {
		switch v := L.Get(i).(type) {
		case lua.LString:
			buf = append(buf, v...)
		case lua.LNumber:
			buf = lib.AppendNumber(buf, float64(v))
		}
	}
	L.Push(lua.LString(buf))
	return 1
}

// numberTextMax is how long a number's text is at most.
const numberTextMax = 24

// concatValues is concat of values that may have __concat.
func (x *exec) concatValues(n int) int {
	L := x.L
	right := L.Get(n)
	for i := n - 1; i >= 1; i-- {
		left := L.Get(i)
		x.must(x.Steps(2 * textSteps))
		a, okA := concatText(left)
		b, okB := concatText(right)
		if okA && okB {
			x.must(x.Bytes(len(a) + len(b)))
			right = lua.LString(a + b)
			continue
		}
		h := x.metamethod(left, "__concat")
		if h == lua.LNil {
			h = x.metamethod(right, "__concat")
		}
		if h == lua.LNil {
			if okA {
				left = right
			}
			throwf(L, "attempt to concatenate a %s value", typeName(left))
		}
		call(L, h, 1, left, right)
		right = L.Get(-1)
		L.Pop(1)
	}
	L.Push(right)
	return 1
}

func concatText(v lua.LValue) (string, bool) {
	switch v := v.(type) {
	case lua.LString:
		return string(v), true
	case lua.LNumber:
		return lib.FormatNumber(float64(v)), true
	}
	return "", false
}
