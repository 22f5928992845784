package luafsm

import (
	"reflect"
	"unsafe"

	lua "github.com/yuin/gopher-lua"
)

// closure is a function that was just made, charged for with its variables: each
// is an object of its own, found, or put, in the list of those that are open.
func closure(L *lua.LState) int {
	x := execOf(L)
	f := L.Get(1)
	n := len(f.(*lua.LFunction).Upvalues)
	x.must(x.memory(tableBytes + slotBytes*n))
	open := openCount(L)
	if open > openUpvaluesMax {
		x.raise(errUpvalues)
	}
	x.must(x.Steps(closureSteps + n + n*open/openPerStep))
	L.Push(f)
	return 1
}

const (
	closureSteps = 2
	openPerStep  = 64 // open variables that gopher-lua goes through for a step
	// openUpvaluesMax bounds variables of functions under way that closures share:
	// gopher-lua goes through all of them at the end of each function and block.
	openUpvaluesMax = 200
)

// openCount is how many variables are open, up to one more than there may be.
func openCount(L *lua.LState) (n int) {
	for uv := *openUpvalues(L); uv != nil && n <= openUpvaluesMax; uv = *nextUpvalue(uv) {
		n++
	}
	return n
}

// openUpvaluesAt is where a Lua state keeps the variables that closures share
// with running functions, and nextUpvalueAt where such a variable has the next
// one. gopher-lua has no functions to reach them.
var (
	openUpvaluesAt = fieldOffset[lua.LState]("uvcache")
	nextUpvalueAt  = fieldOffset[lua.Upvalue]("next")
)

// fieldOffset is the offset of a field of T that points to an Upvalue.
func fieldOffset[T any](name string) uintptr {
	f, ok := reflect.TypeFor[T]().FieldByName(name)
	if !ok || f.Type != reflect.TypeFor[*lua.Upvalue]() {
		panic("luafsm: this gopher-lua keeps its open upvalues elsewhere")
	}
	return f.Offset
}

func openUpvalues(L *lua.LState) **lua.Upvalue {
	return (**lua.Upvalue)(unsafe.Add(unsafe.Pointer(L), openUpvaluesAt))
}

func nextUpvalue(uv *lua.Upvalue) **lua.Upvalue {
	return (**lua.Upvalue)(unsafe.Add(unsafe.Pointer(uv), nextUpvalueAt))
}
