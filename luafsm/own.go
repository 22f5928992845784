package luafsm

import (
	"fmt"

	"github.com/syncsh/syncsh/luafsm/internal/lib"
	lua "github.com/yuin/gopher-lua"
)

// inMethod refuses a function while a script is loaded: its chunk runs again on
// every machine that restores, at another time.
func (x *exec) inMethod(name string) {
	if x.mode == modeLoad {
		throwf(x.L, "%s: not available while the script is loaded", name)
	}
}

// ownNow is now(): the log clock in seconds.
func ownNow(L *lua.LState) int {
	x := execOf(L)
	x.inMethod("now")
	L.Push(lua.LNumber(float64(x.clock) / 1000))
	return 1
}

// ownIndex is index(): the log index of this call.
func ownIndex(L *lua.LState) int {
	x := execOf(L)
	x.inMethod("index")
	L.Push(lua.LNumber(x.index))
	return 1
}

// ownCaller is caller(): the session that called, as a text because numbers of
// Lua hold 53 bits; nil without a session.
func ownCaller(L *lua.LState) int {
	x := execOf(L)
	x.inMethod("caller")
	if x.caller == 0 {
		L.Push(lua.LNil)
	} else {
		L.Push(lua.LString(fmt.Sprintf("%016x", x.caller)))
	}
	return 1
}

// ownRandom is random([m [, n]]) and math.random.
func ownRandom(L *lua.LState) int {
	x := execOf(L)
	if x.mode == modeLoad {
		throwf(L, "random: not available while the script is loaded")
	}
	if !x.seeded {
		x.rand, x.seeded = lib.NewRand(x.seed, x.index), true
	}
	r := &x.rand
	switch L.GetTop() {
	case 0:
		L.Push(lua.LNumber(r.Float64()))
		return 1
	case 1, 2:
	default:
		throwf(L, "wrong number of arguments")
	}
	low, high, last := int64(1), checkInt(L, 1), 1
	if L.GetTop() == 2 {
		low, high, last = high, checkInt(L, 2), 2
	}
	const exact = 1 << 53
	if low > high || low < -exact || high > exact {
		badArgument(L, last, "interval is empty or too large")
	}
	L.Push(lua.LNumber(r.Int(low, high)))
	return 1
}
