package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// tableFunctions is the table library.
var tableFunctions = map[string]lua.LGFunction{
	"concat": tableConcat, "getn": tableGetn, "insert": tableInsert, "maxn": tableMaxn,
	"remove": tableRemove, "sort": tableSort,
}

func tableGetn(L *lua.LState) int {
	L.Push(lua.LNumber(checkTable(L, 1).Len(execOf(L).view)))
	return 1
}

func tableMaxn(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.must(x.Steps(iterSteps * t.Count(x.view)))
	most := 0.0
	t.Each(x.view, func(k, _ lua.LValue) bool {
		if n, ok := k.(lua.LNumber); ok {
			most = max(most, float64(n))
		}
		return true
	})
	L.Push(lua.LNumber(most))
	return 1
}

func tableInsert(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.writable(t)
	n := int64(t.Len(x.view))
	pos, v := n+1, L.Get(2)
	switch L.GetTop() {
	case 2:
	case 3:
		pos, v = checkInt(L, 2), L.Get(3)
		if pos < 1 || pos > n+1 {
			badArgument(L, 2, "position out of bounds")
		}
	default:
		throwf(L, "wrong number of arguments to 'insert'")
	}
	x.shifting(t, int(pos), int(n))
	if v == lua.LNil { // moves what is behind it into the map
		x.moving(t, lua.LNumber(pos), v)
	} else {
		x.moving(t, lua.LNumber(n+1), v)
	}
	x.must(t.Insert(int(pos), v))
	x.must(x.settle())
	return 0
}

// shifting charges for the n-pos+1 values of a sequence that an insert or a remove
// moves, and for the strings that are hashed for it.
func (x *exec) shifting(t *state.Table, pos, n int) {
	x.must(x.Steps((n - pos + 1) / movedPerStep))
	x.must(x.Steps(int(t.Rehash(pos) / bytesPerStep)))
}

func tableRemove(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.writable(t)
	n := int64(t.Len(x.view))
	pos := optInt(L, 2, n)
	if pos < 1 || pos > n {
		L.Push(lua.LNil)
		return 1
	}
	x.shifting(t, int(pos), int(n))
	v, err := t.Remove(int(pos))
	x.must(err)
	x.must(x.settle())
	L.Push(v)
	return 1
}

func tableConcat(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	sep := optString(L, 2, "")
	i, j := optInt(L, 3, 1), optInt(L, 4, int64(t.Len(x.view)))
	out := make([]byte, 0, x.concatSize(t, i, j, len(sep)))
	for ; i <= j; i++ {
		s, _ := concatText(t.GetIndex(x.view, int(i)))
		if i == j {
			sep = ""
		}
		x.must(x.Bytes(len(s) + len(sep)))
		if len(out)+len(s)+len(sep) > x.limits.stringBytes {
			x.raise(errStringBytes)
		}
		out = append(append(out, s...), sep...)
		if i == j {
			break // lest i overflow
		}
	}
	L.Push(lua.LString(out))
	return 1
}

// concatSize is how much room concat takes for the values i to j, numbers counted
// as the longest: a text that grew as it is built would take several times that.
// Room that concat doesn't fill, such as that for a separator behind the last
// value, would be charged by nobody.
func (x *exec) concatSize(t *state.Table, i, j int64, sep int) int {
	size := 0
	for ; i <= j; i++ {
		x.must(x.Steps(concatSteps))
		if i == j {
			sep = 0
		}
		switch v := t.GetIndex(x.view, int(i)).(type) {
		case lua.LString:
			size += len(v) + sep
		case lua.LNumber:
			size += numberTextMax + sep
		default:
			throwf(x.L, "invalid value (%s) at index %d in table for 'concat'", typeName(v), i)
		}
		if i == j {
			break
		}
	}
	return min(size, x.limits.stringBytes)
}

func tableSort(L *lua.LState) int {
	x := execOf(L)
	t := checkTable(L, 1)
	x.writable(t)
	n := t.Len(x.view)
	x.must(x.memory(n * 16))
	x.must(x.Steps(n))
	list := make([]lua.LValue, n)
	for i := range list {
		list[i] = t.GetIndex(x.view, i+1)
	}
	before := L.Get(2)
	less := func(a, b lua.LValue) (bool, error) {
		if err := x.Steps(2); err != nil {
			return false, err
		}
		x.comparing(a, b)
		return L.LessThan(a, b), nil
	}
	if before != lua.LNil {
		if before.Type() != lua.LTFunction {
			wrongType(L, 2, "function")
		}
		less = func(a, b lua.LValue) (bool, error) {
			invoke(L, before, 1, a, b) // MergeSort charges
			return lua.LVAsBool(popValue(L)), nil
		}
	}
	x.must(lib.MergeSort(x, list, less))
	for i, v := range list {
		x.must(t.SetIndex(i+1, v))
		x.must(x.settle()) // each may be a long string
	}
	return 0
}

// ownCopy is copy(t): a deep copy, without metatables.
func ownCopy(L *lua.LState) int {
	x := execOf(L)
	v, err := x.store.Copy(x.view, checkAny(L, 1), state.Limits{Depth: x.limits.nesting}, func(n int) error {
		if err := x.memory(tableBytes); err != nil {
			return err
		}
		return x.Steps(iterSteps*n + 2*tableSteps)
	})
	x.must(err)
	x.must(x.settle())
	L.Push(v)
	return 1
}
