package luafsm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// Timers are part of the state. In their section a timer sits under a string,
// when it is due and its id in digits of fixed width, so that the first string
// is the timer that is due first; under its id, a number, sits that string.

const dueDigits = 16

// timerKey is where a timer sits.
func timerKey(dueMs int64, id int64) string {
	return fmt.Sprintf("%0*d %0*d", dueDigits, dueMs, dueDigits, id)
}

// firstTimer is the timer that is due first.
func firstTimer(store *state.Store) (key string, due int64, t *state.Table, ok bool) {
	k, v, ok, err := store.Section(sectionTimers).Next(nil, lua.LString(""))
	s, isKey := k.(lua.LString)
	if err != nil || !ok || !isKey || len(s) != 2*dueDigits+1 {
		return "", 0, nil, false
	}
	due, err = strconv.ParseInt(string(s[:dueDigits]), 10, 64)
	t, isTable := state.TableOf(v)
	return string(s), due, t, err == nil && isTable
}

// NextTimer is when the next replicated timer is due, in milliseconds of the
// log clock. ok is false when none waits.
func (m *Machine) NextTimer() (clockMs int64, ok bool) {
	_, due, _, ok := firstTimer(m.store)
	return due, ok
}

// running is the object whose method runs: the innermost method under way.
func (x *exec) running() *object {
	for level := 0; ; level++ {
		dbg, ok := x.L.GetStack(level)
		if !ok {
			return x.roots.byName[x.object]
		}
		x.must(x.Steps(levelSteps + level)) // gopher-lua finds a level by going through those above it
		_, self := x.L.GetLocal(dbg, 1)
		t, ok := state.TableOf(self)
		if !ok {
			continue
		}
		o := x.roots.byTable[t]
		if o == nil {
			continue
		}
		fn, err := x.L.GetInfo("f", dbg, lua.LNil)
		f, isLua := fn.(*lua.LFunction)
		if d := x.prog.class(o); err == nil && isLua && d != nil && d.functions[f] {
			return o
		}
	}
}

// hasReplicated says whether o has a replicated method of that name. A long name
// is not looked up, which takes as long as it is.
func (x *exec) hasReplicated(o *object, name string) bool {
	d := x.prog.class(o)
	if d == nil || len(name) > nameBytesMax {
		return false
	}
	m := d.methods[name]
	return m != nil && m.kind == kindReplicated
}

// changing refuses what only replicated code may do.
func (x *exec) changing(name string) {
	switch x.mode {
	case modeQuery:
		throwf(x.L, "%s: not available in query methods", name)
	case modeLoad:
		throwf(x.L, "%s: not available while the script is loaded", name)
	}
}

// argument raises an error of appendValue: of the budget as it is, any other as
// one of an argument.
func (x *exec) argument(name string, i int, err error) {
	var f *failure
	if errors.As(err, &f) {
		x.raise(f)
	}
	throwf(x.L, "%s: argument #%d: %v", name, i, err)
}

// arguments is the arguments of a function from number first on as an array, of
// at most most bytes; what names them if they are more.
func (x *exec) arguments(name string, first, most int, what string) []byte {
	n := max(x.L.GetTop()-first+1, 0)
	b := codec.AppendArrayLen(x.scratch[:0], n)
	for i := first; i < first+n; i++ {
		var err error
		b, err = x.appendValue(b, x.view, x.L.Get(i), most)
		x.scratch = b // also if it is refused: a loop would make it again and again
		if err != nil {
			x.argument(name, i, err)
		}
		if len(b) > most {
			throwf(x.L, "%s: %s of more than %d bytes", name, what, most)
		}
	}
	x.must(x.Bytes(len(b)))
	return bytes.Clone(b)
}

// after(seconds, method, ...) sets a timer and returns its id.
func after(L *lua.LState) int {
	x := execOf(L)
	x.changing("after")
	seconds := checkNumber(L, 1)
	if !(seconds >= 0 && seconds <= timerSecondsMax) {
		badArgument(L, 1, "seconds out of range")
	}
	o := x.running()
	name, ok := L.Get(2).(lua.LString)
	if !ok {
		wrongType(L, 2, "method name")
	}
	if o == nil {
		throwf(L, "after: no object's method is running")
	}
	if !x.hasReplicated(o, string(name)) {
		throwf(L, "after: %s has no replicated method '%s'", o.name, shown(string(name)))
	}
	timers, machine := x.store.Section(sectionTimers), x.store.Section(sectionMachine)
	if timers.Count(nil) >= 2*timersMax {
		x.raise(errTimers)
	}
	x.must(x.Steps(timerSteps))
	args := x.arguments("after", 3, timerBytesMax, "arguments")
	last, _ := machine.GetString(nil, "timer").(lua.LNumber)
	id := int64(last) + 1
	due := x.clock + int64(math.Ceil(seconds*1000))
	key := timerKey(due, id)
	t := x.newTable(0, 4)
	x.must(firstError(t.SetString("object", lua.LString(o.name)), t.SetString("born", lua.LNumber(o.born)), t.SetString("method", name), t.SetString("args", lua.LString(args)),
		timers.SetString(key, t.UserData()), timers.SetIndex(int(id), lua.LString(key)), machine.SetString("timer", lua.LNumber(id))))
	x.must(x.settle())
	L.Push(lua.LNumber(id))
	return 1
}

// cancel(id) takes a timer back and says whether it was still waiting.
func cancel(L *lua.LState) int {
	x := execOf(L)
	x.changing("cancel")
	timers := x.store.Section(sectionTimers)
	id := lua.LNumber(checkNumber(L, 1))
	key, ok := timers.Get(nil, id).(lua.LString)
	x.must(x.Steps(timerSteps))
	if ok {
		x.must(firstError(timers.Set(key, lua.LNil), timers.Set(id, lua.LNil)))
	}
	L.Push(lua.LBool(ok))
	return 1
}

// tick fires the timer that is due first. Each has a tick of its own, and with it
// a log index and the budget of a call; one that fails is gone all the same.
func (m *Machine) tick(b []byte) []byte {
	fired := 0
	if key, due, t, ok := firstTimer(m.store); ok && due <= m.clock {
		m.prog.x.fold()
		m.fire(key, t)
		fired++
	}
	b = command.AppendOKHead(b, m.current.index)
	b = codec.AppendArrayLen(b, 1)
	return codec.AppendInt(b, int64(fired))
}

// fire removes a timer and calls its method, unless the object is another one of
// the same name by now.
func (m *Machine) fire(key string, t *state.Table) {
	text := func(k string) string { s, _ := t.GetString(nil, k).(lua.LString); return string(s) }
	object, method, args := text("object"), text("method"), text("args")
	born, _ := t.GetString(nil, "born").(lua.LNumber)
	id, _ := strconv.ParseInt(key[dueDigits+1:], 10, 64)
	timers := m.store.Section(sectionTimers)
	m.begin()
	if err := firstError(timers.SetString(key, lua.LNil), timers.SetIndex(int(id), lua.LNil)); err != nil {
		panic(fmt.Sprintf("luafsm: timer %q: %v", key, err))
	}
	m.commit()
	if o := m.roots.byName[object]; o == nil || lua.LNumber(o.born) != born {
		return
	}
	var result []byte
	cmd := command.AppendCall(nil, 0, 0, object, method, []byte(args))
	outer := m.dec
	r := m.prog.x.protect(func() {
		d := &m.dec
		d.Reset(cmd)
		if _, err := command.DecodeHead(d); err == nil {
			result = m.call(nil, d)
		}
	})
	m.dec = outer
	if r != nil {
		result = m.failed(nil, m.prog.x, r)
	}
	d := codec.NewDecoder(result)
	if res, err := command.DecodeResult(&d); err == nil && res.Code != command.CodeOK && m.opts.Print != nil {
		m.opts.Print(object, "timer "+method+": "+res.Message)
	}
}

// emit(topic, ...) makes an event, delivered once the call is committed.
func emit(L *lua.LState) int {
	x := execOf(L)
	x.changing("emit")
	topic := checkString(L, 1)
	if len(x.events) >= eventsCallMax {
		x.raise(errEvents)
	}
	if len(topic) > nameBytesMax {
		throwf(L, "emit: topic of more than %d bytes", nameBytesMax)
	}
	x.must(x.Steps(eventSteps))
	b := x.arguments("emit", 2, eventBytesMax, "event")
	name := x.object
	if o := x.running(); o != nil {
		name = o.name
	}
	x.events = append(x.events, Event{Index: raft.Index(x.index), Object: name, Topic: topic, Values: b})
	return 0
}
