package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	lua "github.com/yuin/gopher-lua"
)

// power is a ^ b and math.pow.
func power(L *lua.LState) int {
	x := execOf(L)
	a, b := L.Get(1), L.Get(2)
	m, okA := x.operand(a)
	n, okB := x.operand(b)
	if okA && okB {
		x.must(x.Steps(4))
		L.Push(lua.LNumber(lib.Pow(m, n)))
		return 1
	}
	for _, v := range [2]lua.LValue{a, b} {
		if h := x.metamethod(v, "__pow"); h != lua.LNil {
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
