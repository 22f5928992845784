package shell

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// openMax bounds the asynchronous calls without an answer; one more fails with
// overloaded.
const openMax = 1 << 16

// timerMin is the shortest period of a repeating timer.
const timerMin = time.Millisecond

// openLibraries fills the globals.
func (s *Session) openLibraries() {
	l := s.lua
	s.errorMeta = errorMetatable(l)
	s.handleMeta = l.NewTable()
	s.handleMeta.RawSetString("__index", l.NewFunction(s.handleIndex))
	s.handleMeta.RawSetString("__tostring", l.NewFunction(proxyText))
	s.openProxies(l)
	for name, f := range map[string]lua.LGFunction{
		nameMethod: s.checkMethod, nameAssign: s.checkAssign, nameExplain: s.luaExplain,
		"print": s.luaPrint, "sleep": s.luaSleep, "every": s.luaEvery, "after": s.luaAfter, "watch": s.luaWatch, "await": s.luaAwait,
		"help": s.luaHelp, "object": s.createObject, "exit": s.luaExit, "pairs": s.luaPairs(l), "now": s.luaNow,
	} {
		l.SetGlobal(name, l.NewFunction(f))
	}
	if o, ok := l.GetGlobal("os").(*lua.LTable); ok {
		o.RawSetString("exit", l.NewFunction(s.luaExit))
	}
	openCoroutines(s, l)
	j := l.NewTable()
	j.RawSetString("encode", l.NewFunction(luaEncode))
	j.RawSetString("decode", l.NewFunction(luaDecode))
	l.SetGlobal("json", j)
	s.openHTTP(l)
	mt := l.NewTable()
	mt.RawSetString("__index", l.NewFunction(s.globalIndex))
	mt.RawSetString("__newindex", l.NewFunction(s.globalNewIndex))
	l.G.Global.Metatable = mt
}

// openCoroutines makes a coroutine end with the task that resumes it, not with
// the one that created it, so that one can be used by several inputs and Ctrl-C
// reaches it.
func openCoroutines(s *Session, l *lua.LState) {
	lib, ok := l.GetGlobal("coroutine").(*lua.LTable)
	if !ok {
		return
	}
	create, resume := lib.RawGetString("create"), lib.RawGetString("resume")
	run := func(l *lua.LState, thread *lua.LState, firstArg int) int {
		thread.SetContext(s.sched.current.ctx)
		top := l.GetTop()
		l.Push(resume)
		l.Push(thread)
		for i := firstArg; i <= top; i++ {
			l.Push(l.Get(i))
		}
		l.Call(top-firstArg+2, lua.MultRet)
		return l.GetTop() - top
	}
	lib.RawSetString("resume", l.NewFunction(func(l *lua.LState) int { return run(l, l.CheckThread(1), 2) }))
	lib.RawSetString("wrap", l.NewFunction(func(l *lua.LState) int {
		l.CheckFunction(1)
		l.Push(create)
		l.Push(l.Get(1))
		l.Call(1, 1)
		thread := l.CheckThread(l.GetTop())
		l.Push(l.NewFunction(func(l *lua.LState) int {
			n := run(l, thread, 1)
			if ok := l.Get(-n); ok == lua.LFalse {
				l.Error(l.Get(-n+1), 0)
			}
			return n - 1
		}))
		return 1
	}))
}

// setGlobal sets a global as an assignment in Lua does.
func (s *Session) setGlobal(name string, v lua.LValue) {
	s.declared[name] = true
	s.lua.G.Global.RawSetString(name, v)
}

// globalIndex finds a global that has no value: an object of the cluster, or a
// name that was used before.
func (s *Session) globalIndex(l *lua.LState) int {
	name, ok := l.Get(2).(lua.LString)
	if !ok || s.declared[string(name)] {
		l.Push(lua.LNil)
		return 1
	}
	if _, ok := object(s.Description(), string(name)); !ok {
		if err := s.refresh(l); err != nil {
			s.raise(l, err)
		}
		if _, ok := object(s.Description(), string(name)); !ok {
			if s.leaderless.Load() {
				s.raise(l, notKnown(fmt.Sprintf("no object or variable '%s'", string(name))))
			}
			l.RaiseError("no object or variable '%s'%s", string(name), suggestObject(string(name), s.globalNames()))
		}
	}
	l.Push(s.proxyOf(string(name)))
	return 1
}

func (s *Session) globalNewIndex(l *lua.LState) int {
	if name, ok := l.Get(2).(lua.LString); ok {
		s.declared[string(name)] = true
	}
	s.lua.G.Global.RawSet(l.Get(2), l.Get(3))
	return 0
}

// globalNames are the objects and the globals that have a value.
func (s *Session) globalNames() []string {
	names := objectNames(s.Description())
	s.lua.G.Global.ForEach(func(k, _ lua.LValue) {
		if name, ok := k.(lua.LString); ok && isName(string(name)) && !strings.HasPrefix(string(name), "_") {
			names = append(names, string(name))
		}
	})
	return names
}

// text is a value as print and error messages show it.
func (s *Session) text(v lua.LValue) string {
	switch v := v.(type) {
	case lua.LString:
		return string(v)
	case *lua.LTable:
		if e, ok := s.callError(v); ok {
			return e.Error()
		}
	}
	return Format(v)
}

func (s *Session) luaPrint(l *lua.LState) int {
	var b strings.Builder
	for i := 1; i <= l.GetTop(); i++ {
		if i > 1 {
			b.WriteByte('\t')
		}
		v := l.Get(i)
		if t, ok := v.(*lua.LTable); ok && l.GetMetaField(t, "__tostring") != lua.LNil {
			b.WriteString(l.ToStringMeta(v).String())
		} else {
			b.WriteString(s.text(v))
		}
	}
	s.writeLine(b.String())
	return 0
}

// seconds reads a duration.
func seconds(l *lua.LState, n int) time.Duration {
	f := float64(l.CheckNumber(n))
	if !(f >= 0 && f <= math.MaxInt64/float64(time.Second)/2) {
		l.ArgError(n, "seconds expected, 0 or more")
	}
	return time.Duration(f * float64(time.Second))
}

// luaSleep is sleep(seconds): others go on meanwhile.
func (s *Session) luaSleep(l *lua.LState) int {
	d := seconds(l, 1)
	if err := s.Sleep(d); err != nil {
		s.raise(l, err)
	}
	return 0
}

func (s *Session) luaNow(l *lua.LState) int {
	l.Push(lua.LNumber(float64(s.now().UnixMicro()) / 1e6))
	return 1
}

// timer calls a function once or repeatedly.
type timer struct {
	s       *Session
	proc    *Process
	fn      *lua.LFunction
	period  time.Duration // 0: once
	unset   func()        // keeps it from firing
	running bool          // its function has not returned yet
	ended   bool
}

// stop ends a timer; to be called by a task or an event.
func (t *timer) stop() {
	if t.ended {
		return
	}
	t.ended = true
	t.unset()
	if t.period == 0 {
		t.s.open--
	}
	delete(t.s.timers, t)
}

func (s *Session) newTimer(l *lua.LState, repeat bool) int {
	d, fn := seconds(l, 1), l.CheckFunction(2)
	t := &timer{s: s, proc: s.sched.current.proc, fn: fn}
	if repeat {
		t.period = max(d, timerMin)
		d = t.period
	} else {
		s.open++
	}
	s.timers[t] = true
	t.set(d)
	l.Push(s.newHandle(&handle{timer: t}))
	return 1
}

func (t *timer) set(d time.Duration) { t.unset = t.s.after(d, func() { t.s.sched.post(t.fire) }) }

// fire runs the timer's function, unless its last run still goes on: periods
// that it missed are left out.
func (t *timer) fire() {
	if t.ended {
		return
	}
	if t.period == 0 || t.proc.ctx.Err() != nil {
		t.stop()
	} else {
		t.set(t.period)
		if t.running {
			return
		}
	}
	t.running = true
	t.s.background(t.proc, "timer", func(k *task) error {
		defer func() { t.running = false }()
		_, err := call(k.thread, t.fn)
		return err
	})
}

// background starts a task that nobody waits for; to be called by an event.
func (s *Session) background(p *Process, where string, f func(*task) error) {
	ok := s.sched.start(p, p.ctx, func(k *task) { s.uncaught(k.ctx, where, f(k)) })
	if !ok {
		s.uncaught(p.ctx, where, &LuaError{Text: fmt.Sprintf("more than %d tasks wait", tasksMax)})
	}
}

func (s *Session) luaEvery(l *lua.LState) int { return s.newTimer(l, true) }
func (s *Session) luaAfter(l *lua.LState) int { return s.newTimer(l, false) }

// handle is what every, after, watch and asynchronous calls return.
type handle struct {
	timer   *timer        // of every and after
	watch   *subscription // of watch
	proc    *Process      // of a call, as the name
	name    string
	done    bool
	values  []lua.LValue
	err     error
	waiters []func()
}

func (h *handle) String() string {
	switch {
	case h.watch != nil && h.watch.ended:
		return "watch of " + h.watch.name + ", stopped"
	case h.watch != nil:
		return "watch of " + h.watch.name
	case h.timer != nil && h.timer.ended:
		return "timer, stopped"
	case h.timer != nil:
		return "timer"
	case h.done:
		return "answer of " + h.name
	}
	return "open call of " + h.name
}

func (s *Session) newHandle(h *handle) lua.LValue {
	return &lua.LUserData{Value: h, Metatable: s.handleMeta}
}

func checkHandle(l *lua.LState) *handle {
	h, ok := l.CheckUserData(1).Value.(*handle)
	if !ok {
		l.ArgError(1, "a timer or an asynchronous call expected")
	}
	return h
}

func (s *Session) handleIndex(l *lua.LState) int {
	h := checkHandle(l)
	switch name := l.CheckString(2); {
	case name == "stop" && h.timer != nil:
		l.Push(l.NewFunction(func(l *lua.LState) int {
			checkHandle(l).timer.stop()
			return 0
		}))
	case name == "stop" && h.watch != nil:
		l.Push(l.NewFunction(func(l *lua.LState) int {
			if w := checkHandle(l).watch; w != nil {
				w.news.over = true
				w.stop()
			}
			return 0
		}))
	case name == "stopped" && h.watch != nil:
		l.Push(lua.LBool(h.watch.ended && !h.watch.news.blind || h.watch.news.over))
	case name == "blind" && h.watch != nil && h.watch.fn == nil:
		l.Push(lua.LBool(h.watch.news.blind))
	case name == "wait" && h.watch != nil && h.watch.fn == nil:
		l.Push(l.NewFunction(s.luaWait))
	case name == "value" && h.watch != nil && h.watch.fn == nil:
		l.Push(orNil(h.watch.news.value))
	case name == "index" && h.watch != nil:
		l.Push(lua.LNumber(h.watch.index))
	case name == "lagged" && h.watch != nil:
		l.Push(lua.LNumber(h.watch.lagged))
	case name == "await" && h.timer == nil && h.watch == nil:
		l.Push(l.NewFunction(s.luaAwait))
	default:
		l.Push(lua.LNil)
	}
	return 1
}

// luaAwait is await(call): its results, or its error.
func (s *Session) luaAwait(l *lua.LState) int {
	h := checkHandle(l)
	if h.timer != nil || h.watch != nil {
		l.ArgError(1, "an asynchronous call expected, not a timer or a watch")
	}
	if !h.done {
		err := s.sched.current.wait(func(wake func()) { h.waiters = append(h.waiters, wake) })
		if err != nil {
			s.raise(l, err)
		}
	}
	if h.err != nil {
		s.raise(l, h.err)
	}
	for _, v := range h.values {
		l.Push(v)
	}
	return len(h.values)
}

// invokeAsync calls a method without waiting: obj.async:method(..., callback).
// The callback gets the first result, an error or nil, and the other results.
func (s *Session) invokeAsync(l *lua.LState, object, name string) int {
	args := arguments(l, object+"."+asyncField, name)
	var callback *lua.LFunction
	if n := len(args); n > 0 {
		if f, ok := args[n-1].(*lua.LFunction); ok {
			callback, args = f, args[:n-1]
		}
	}
	m, err := s.findMethod(object, name)
	if err != nil {
		s.raise(l, err)
	}
	if s.open >= openMax {
		s.raise(l, &command.Error{Code: command.CodeOverloaded, Message: fmt.Sprintf("%d calls have no answer yet", s.open)})
	}
	h := &handle{proc: s.sched.current.proc, name: object + ":" + name}
	if m.Kind == command.Local {
		s.open++
		s.sched.post(func() { s.startLocal(h, object, name, args, callback) })
		l.Push(s.newHandle(h))
		return 1
	}
	op, mode, payload, err := s.callPayload(object, m, args)
	if err != nil {
		s.raise(l, err)
	}
	s.open++
	if op == wire.OpPropose {
		h.proc.changes++
		h.proc.changing[h] = h.proc.changes
	}
	s.send(h.proc.ctx, h.proc.cluster, op, mode, s.conf.Timeout, payload, func(r command.Result, err error) {
		s.sched.post(func() {
			v, err := errorOf(r, err)
			s.answered(h, v, err, callback)
		})
	})
	l.Push(s.newHandle(h))
	return 1
}

// startLocal runs a local method as a task of its own.
func (s *Session) startLocal(h *handle, object, name string, args []lua.LValue, callback *lua.LFunction) {
	s.background(h.proc, h.name, func(t *task) error {
		var v []lua.LValue
		f, err := s.localMethod(t.thread, object, name)
		if err == nil {
			v, err = call(t.thread, f, append([]lua.LValue{s.proxyOf(object)}, args...)...)
		}
		s.sched.post(func() { s.answered(h, v, s.failure(t.ctx, err), callback) })
		return nil
	})
}

// answered completes an asynchronous call; it is an event.
func (s *Session) answered(h *handle, v []lua.LValue, err error, callback *lua.LFunction) {
	s.open--
	delete(h.proc.changing, h)
	h.done, h.values, h.err = true, v, err
	for _, wake := range h.waiters {
		wake()
	}
	h.waiters = nil
	if callback == nil {
		return
	}
	s.background(h.proc, "callback of "+h.name, func(t *task) error {
		_, err := call(t.thread, callback, s.callbackArgs(h)...)
		return err
	})
}

// callbackArgs are result, error and further results.
func (s *Session) callbackArgs(h *handle) []lua.LValue {
	args := []lua.LValue{lua.LNil, lua.LNil}
	if h.err != nil {
		var failed *command.Error
		if errors.As(h.err, &failed) {
			args[1] = s.errorObject(failed)
		} else {
			args[1] = lua.LString(h.err.Error())
		}
		return args
	}
	if len(h.values) > 0 {
		args[0] = h.values[0]
		args = append(args, h.values[1:]...)
	}
	return args
}

// luaPairs is pairs, for objects too: their state is read first.
func (s *Session) luaPairs(l *lua.LState) lua.LGFunction {
	plain := l.GetGlobal("pairs")
	return func(l *lua.LState) int {
		v := l.Get(1)
		if u, ok := v.(*lua.LUserData); ok {
			if p, ok := u.Value.(*proxy); ok {
				state, err := s.read(l, p.name)
				if err != nil {
					s.raise(l, err)
				}
				v = state
			}
		}
		top := l.GetTop()
		l.Push(plain)
		l.Push(v)
		l.Call(1, lua.MultRet)
		return l.GetTop() - top
	}
}

// luaExit is exit(code).
func (s *Session) luaExit(l *lua.LState) int {
	s.exit.CompareAndSwap(nil, &ExitError{l.OptInt(1, 0)})
	s.end()
	<-s.sched.current.ctx.Done() // so that a pcall around it can't go on
	l.RaiseError("exit")
	return 0
}

func (s *Session) luaHelp(l *lua.LState) int {
	if l.GetTop() == 0 {
		s.writeLine(strings.TrimSuffix(helpText, "\n"))
		return 0
	}
	name := ""
	switch v := l.Get(1).(type) {
	case lua.LString:
		name = string(v)
	case *lua.LUserData:
		if p, ok := v.Value.(*proxy); ok {
			name = p.name
		}
	case *lua.LFunction:
		name = s.methodName(v)
	}
	if name == "" {
		l.ArgError(1, "an object or a method expected, such as help(counter) or help(counter.inc)")
	}
	if err := s.refresh(l); err != nil {
		s.raise(l, err)
	}
	text, err := helpFor(s.Description(), name, s.width())
	if err != nil {
		s.raise(l, err)
	}
	s.writeLine(text)
	return 0
}

func luaEncode(l *lua.LState) int {
	text, err := JSON(l.Get(1))
	if err != nil {
		l.RaiseError("json.encode: %s", err.Error())
	}
	l.Push(lua.LString(text))
	return 1
}

func luaDecode(l *lua.LState) int {
	v, err := ParseJSON(l.CheckString(1))
	if err != nil {
		l.RaiseError("json.decode: %s", err.Error())
	}
	l.Push(v)
	return 1
}
