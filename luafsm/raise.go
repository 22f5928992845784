package luafsm

import (
	"errors"
	"fmt"
	"strings"

	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// raised carries an error value through gopher-lua, which knows strings only
// too well: it would add a position, and a message of ours couldn't be told
// from one of its own.
type raised struct {
	value lua.LValue
	fatal *failure
}

// throw raises a value as error() does.
func throw(L *lua.LState, v lua.LValue) {
	L.Error(&lua.LUserData{Value: &raised{value: v}, Metatable: lua.LNil}, 0)
}

// throwf raises a message with the position of the Lua code that runs.
func throwf(L *lua.LState, format string, args ...any) {
	throw(L, lua.LString(where(L, 1)+fmt.Sprintf(format, args...)))
}

// raise raises an error of a meter, of lib or of state.
func (x *exec) raise(err error) {
	var f *failure
	if errors.As(err, &f) {
		x.L.Error(&lua.LUserData{Value: &raised{fatal: x.kill(f)}, Metatable: lua.LNil}, 0)
	}
	if err == lib.ErrStringTooLarge {
		x.raise(errStringBytes)
	}
	if errors.Is(err, state.ErrBytes) {
		x.raise(errCallBytes)
	}
	throwf(x.L, "%s", err.Error())
}

// where is the position "script:line: " of the innermost Lua function at level
// or above it; empty if there is none.
func where(L *lua.LState, level int) string {
	for ; ; level++ {
		if _, ok := L.GetStack(level); !ok {
			return ""
		}
		if at := position(L, level); at != "" {
			return at
		}
	}
}

// position is that of the function at level; empty when it isn't Lua.
func position(L *lua.LState, level int) string {
	dbg, ok := L.GetStack(level)
	if !ok {
		return ""
	}
	if _, err := L.GetInfo("Sl", dbg, lua.LNil); err != nil || dbg.CurrentLine <= 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", dbg.Source, dbg.CurrentLine)
}

// traceback lists the Lua functions under way, innermost first.
func traceback(L *lua.LState) string {
	const linesMax = 20
	var b strings.Builder
	lines := 0
	for level := 0; lines < linesMax; level++ {
		dbg, ok := L.GetStack(level)
		if !ok {
			break
		}
		if _, err := L.GetInfo("Sln", dbg, lua.LNil); err != nil || dbg.CurrentLine <= 0 {
			continue
		}
		name := "function " + shown(dbg.Name)
		if dbg.Name == "" || dbg.Name[0] == '(' || dbg.Name[0] == '<' || dbg.Name == "?" || dbg.Name == "main chunk" {
			name = fmt.Sprintf("function at line %d", dbg.LineDefined)
			if dbg.LineDefined == 0 {
				name = "script"
			}
		}
		if lines++; lines > 1 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s:%d: in %s", dbg.Source, dbg.CurrentLine, name)
	}
	return b.String()
}

// onPanic is the Panic function of our Lua states: all errors pass here on
// their way up, as a value on the stack.
func onPanic(L *lua.LState) {
	x := execOf(L)
	v := L.Get(-1)
	if _, ok := v.(*lua.LUserData); !ok {
		v = x.own(v)
	}
	err := &lua.ApiError{Type: lua.ApiErrorRun, Object: v, StackTrace: " "}
	if x.depth == 0 || x.fatal != nil && x.trace == "" {
		x.trace = traceback(L)
	}
	panic(err)
}

// own turns an error of gopher-lua's into one of ours: no addresses, names of
// types as scripts know them, and the limits as errors that can't be caught.
func (x *exec) own(v lua.LValue) *lua.LUserData {
	r := &raised{value: v, fatal: x.fatal}
	if s, ok := v.(lua.LString); ok && r.fatal == nil {
		text := string(s)
		switch {
		case strings.HasSuffix(text, " stack overflow"), strings.HasSuffix(text, " registry overflow"):
			// The registry has grown by the place for this error: the state isn't
			// like that of other replicas any more.
			x.prog.broken = true
			r.fatal = x.kill(errStack)
		default:
			// The message begins with the position that gopher-lua found: where
			// names the script, which is no part of the text.
			at := where(x.L, 0)
			text = strings.TrimPrefix(strings.TrimPrefix(text, strings.TrimSuffix(at, " ")), " ")
			r.value = lua.LString(at + strings.ReplaceAll(text, "userdata", "table"))
		}
	}
	return &lua.LUserData{Value: r, Metatable: lua.LNil}
}

// pcall calls the function that lies under nargs arguments. Its results are left
// on the stack, or the error is returned.
func (x *exec) pcall(nargs int) *raised {
	L := x.L
	// An error closes all open upvalues, also those of the functions that called
	// pcall, whose closures would then see no more of their variables. So those
	// are put out of reach.
	open := openUpvalues(L)
	outer := *open
	*open = nil
	L.Insert(guardFunction, L.GetTop()-nargs)
	x.depth++
	err := L.PCall(nargs+1, lua.MultRet, nil)
	x.depth--
	*open = outer
	if err == nil {
		return nil
	}
	return x.failed(err)
}

// failed is the error that PCall returned.
func (x *exec) failed(err error) *raised {
	var a *lua.ApiError
	if errors.As(err, &a) {
		if ud, ok := a.Object.(*lua.LUserData); ok {
			if r, ok := ud.Value.(*raised); ok {
				return r
			}
		}
		if a.Type == lua.ApiErrorRun { // PCall had no frame left to put our Panic in place
			return x.own(a.Object).Value.(*raised)
		}
	}
	// A Go panic inside the interpreter. The state is in an unknown condition.
	return x.fault(err.Error())
}

// fault is what a Go panic inside the interpreter becomes. There is one that
// scripts can cause: when the stack is full as a function is entered,
// gopher-lua looks for the line of its instruction -1 and panics at that.
func (x *exec) fault(text string) *raised {
	const noLine = "index out of range [-1]"
	x.prog.broken = true
	if strings.Contains(text, noLine) {
		return &raised{fatal: x.kill(errStack)}
	}
	return &raised{fatal: x.kill(errInternal)}
}

// guardFunction runs below everything: PCall puts its own Panic function in
// place, this one puts ours back, then calls its first argument, or the body of
// exec when there is none.
var guardFunction = goFunction(func(L *lua.LState) int {
	L.Panic = onPanic
	n := L.GetTop()
	if n == 0 {
		execOf(L).body()
		return 0
	}
	L.Call(n-1, lua.MultRet)
	return L.GetTop()
})

// protect runs body in the Lua state, so that it may call Lua functions.
func (x *exec) protect(body func()) (r *raised) {
	outer := x.body
	x.body = body
	defer func() {
		x.body = outer
		if v := recover(); v != nil { // PCall itself panicked
			r = x.fault(fmt.Sprint(v))
		}
	}()
	x.L.Push(guardFunction)
	err := x.L.PCall(0, 0, nil)
	if err == nil {
		return nil
	}
	return x.failed(err)
}

// noEnv is the environment of Go functions, which have no use for it.
var noEnv = &lua.LTable{Metatable: lua.LNil}

// goFunction makes a function that all Lua states can share: nothing in it ever
// changes, so that scripts may keep it. What does change is an iterator.
func goFunction(f lua.LGFunction) *lua.LFunction {
	return &lua.LFunction{IsG: true, Env: noEnv, GFunction: f}
}

// iteratorEnv marks functions that keep their place between calls.
var iteratorEnv = &lua.LTable{Metatable: lua.LNil}

// iterator makes a function that a script may not keep: see freezer.
func iterator(f lua.LGFunction) *lua.LFunction {
	return &lua.LFunction{IsG: true, Env: iteratorEnv, GFunction: f}
}
