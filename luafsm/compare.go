package luafsm

import (
	lua "github.com/yuin/gopher-lua"
)

// Comparisons, but those with a number, a short text, nil or a boolean in the
// script itself, which stay instructions: two equal strings of 16 MiB take a
// millisecond, and a loop compares them a million times.

// comparing charges for the comparison of a and b.
func (x *exec) comparing(a, b lua.LValue) {
	s, ok := a.(lua.LString)
	if !ok || len(s) < compareBytes {
		return
	}
	if t, ok := b.(lua.LString); ok {
		x.long(min(len(s), len(t)))
	}
}

// operands are the two arguments of a comparison.
func operands(L *lua.LState) (a, b lua.LValue) {
	a, b = L.Get(1), L.Get(2)
	if _, ok := a.(lua.LString); ok {
		execOf(L).comparing(a, b)
	}
	return a, b
}

func equal(L *lua.LState) int {
	a, b := operands(L)
	L.Push(lua.LBool(L.Equal(a, b)))
	return 1
}

func less(L *lua.LState) int {
	a, b := operands(L)
	L.Push(lua.LBool(L.LessThan(a, b)))
	return 1
}

func more(L *lua.LState) int {
	a, b := operands(L)
	L.Push(lua.LBool(L.LessThan(b, a)))
	return 1
}

func lessEqual(L *lua.LState) int {
	a, b := operands(L)
	L.Push(lua.LBool(notMore(L, a, b)))
	return 1
}

func moreEqual(L *lua.LState) int {
	a, b := operands(L)
	L.Push(lua.LBool(notMore(L, b, a)))
	return 1
}

// notMore is a <= b. gopher-lua has no function for it that scripts' NaNs and
// metatables agree with.
func notMore(L *lua.LState, a, b lua.LValue) bool {
	switch a := a.(type) {
	case lua.LNumber:
		if b, ok := b.(lua.LNumber); ok {
			return a <= b
		}
	case lua.LString:
		if b, ok := b.(lua.LString); ok {
			return a <= b
		}
	}
	if typeName(a) != typeName(b) {
		throwf(L, "attempt to compare %s with %s", typeName(a), typeName(b))
	}
	call(L, lessEqualMeta, 1, a, b)
	return lua.LVAsBool(popValue(L))
}

// lessEqualMeta is <= of values that are neither numbers nor strings.
var lessEqualMeta = goFunction(func(L *lua.LState) int { return compare(L, "__le") })
