package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	lua "github.com/yuin/gopher-lua"
)

// mathFunctions is the math library. What Go's math package computes with
// different instructions on different machines is not used.
var mathFunctions = map[string]lua.LGFunction{
	"abs":    math1(lib.Abs),
	"acos":   math1(lib.Acos),
	"asin":   math1(lib.Asin),
	"atan":   math1(lib.Atan),
	"atan2":  math2(lib.Atan2),
	"ceil":   math1(lib.Ceil),
	"cos":    math1(lib.Cos),
	"cosh":   math1(lib.Cosh),
	"deg":    math1(lib.Deg),
	"exp":    math1(lib.Exp),
	"floor":  math1(lib.Floor),
	"fmod":   math2(lib.Fmod),
	"ldexp":  math2(lib.Ldexp),
	"log":    math1(lib.Log),
	"log10":  math1(lib.Log10),
	"mod":    math2(lib.Fmod),
	"rad":    math1(lib.Rad),
	"sin":    math1(lib.Sin),
	"sinh":   math1(lib.Sinh),
	"sqrt":   math1(lib.Sqrt),
	"tan":    math1(lib.Tan),
	"tanh":   math1(lib.Tanh),
	"frexp":  mathFrexp,
	"pow":    power,
	"max":    mathMax,
	"min":    mathMin,
	"modf":   mathModf,
	"random": ownRandom,
}

// mathSteps is charged for a function of a number: some take a microsecond.
const mathSteps = 10

func math1(f func(float64) float64) lua.LGFunction {
	return func(L *lua.LState) int {
		x := execOf(L)
		x.must(x.Steps(mathSteps))
		L.Push(lua.LNumber(f(checkNumber(L, 1))))
		return 1
	}
}

func math2(f func(a, b float64) float64) lua.LGFunction {
	return func(L *lua.LState) int {
		x := execOf(L)
		x.must(x.Steps(mathSteps))
		L.Push(lua.LNumber(f(checkNumber(L, 1), checkNumber(L, 2))))
		return 1
	}
}

func mathMax(L *lua.LState) int {
	most := checkNumber(L, 1)
	for i := 2; i <= L.GetTop(); i++ {
		most = lib.Max(most, checkNumber(L, i))
	}
	L.Push(lua.LNumber(most))
	return 1
}

func mathMin(L *lua.LState) int {
	least := checkNumber(L, 1)
	for i := 2; i <= L.GetTop(); i++ {
		least = lib.Min(least, checkNumber(L, i))
	}
	L.Push(lua.LNumber(least))
	return 1
}

func mathModf(L *lua.LState) int {
	whole, part := lib.Modf(checkNumber(L, 1))
	L.Push(lua.LNumber(whole))
	L.Push(lua.LNumber(part))
	return 2
}

func mathFrexp(L *lua.LState) int {
	m, e := lib.Frexp(checkNumber(L, 1))
	L.Push(lua.LNumber(m))
	L.Push(lua.LNumber(e))
	return 2
}
