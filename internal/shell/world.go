package shell

import (
	"context"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
)

// World is where and when a session lives that does not live on this machine,
// now: a simulation. All its methods are called by the task whose turn it is, or
// by an event. A Cluster of such a session tries calls again itself, and calls
// back in a Step only.
type World interface {
	Now() time.Time
	// After calls f when d has passed, unless stop is called before.
	After(d time.Duration, f func()) (stop func())
	// Step lets the next thing happen; all tasks wait for one. It is false when
	// there is nothing more to come.
	Step() bool
	// Rand draws a number from 0 up to n-1, Float one from 0 up to 1.
	Rand(n int) int
	Float() float64
}

func (s *Session) now() time.Time {
	if w := s.conf.World; w != nil {
		return w.Now()
	}
	return time.Now()
}

// after has an event come later; f must only post.
func (s *Session) after(d time.Duration, f func()) (stop func()) {
	if w := s.conf.World; w != nil {
		return w.After(d, f)
	}
	t := time.AfterFunc(d, f)
	return func() { t.Stop() }
}

// openWorld takes away what would tell the world from another one with the same
// seed: this machine's clock, its random numbers and its network.
func (s *Session) openWorld() {
	l, w := s.lua, s.conf.World
	s.sched.step = w.Step
	if o, ok := l.GetGlobal("os").(*lua.LTable); ok {
		clock, date := o.RawGetString("time"), o.RawGetString("date")
		o.RawSetString("clock", l.NewFunction(s.luaNow))
		o.RawSetString("time", l.NewFunction(func(l *lua.LState) int {
			if l.GetTop() == 0 {
				l.Push(lua.LNumber(w.Now().Unix()))
				return 1
			}
			return pass(l, clock, l.Get(1))
		}))
		o.RawSetString("date", l.NewFunction(func(l *lua.LState) int {
			format, at := strings.TrimPrefix(l.OptString(1, "%c"), "!"), l.OptNumber(2, lua.LNumber(w.Now().Unix()))
			return pass(l, date, lua.LString("!"+format), at) // UTC: the machine's zone is not the world's
		}))
	}
	if m, ok := l.GetGlobal("math").(*lua.LTable); ok {
		m.RawSetString("random", l.NewFunction(s.luaRandom))
		m.RawSetString("randomseed", l.NewFunction(func(*lua.LState) int { return 0 }))
	}
	none := func(l *lua.LState) int {
		l.RaiseError("http: there is no network in a simulation; hand the function that calls it in, and another one here")
		return 0
	}
	if h, ok := l.GetGlobal("http").(*lua.LTable); ok {
		h.RawSetString("get", l.NewFunction(none))
		h.RawSetString("post", l.NewFunction(none))
	}
}

// pass calls a function and returns its first result.
func pass(l *lua.LState, f lua.LValue, args ...lua.LValue) int {
	l.Push(f)
	for _, a := range args {
		l.Push(a)
	}
	l.Call(len(args), 1)
	return 1
}

// luaRandom is math.random.
func (s *Session) luaRandom(l *lua.LState) int {
	low, high := 1, 0
	switch l.GetTop() {
	case 0:
		l.Push(lua.LNumber(s.conf.World.Float()))
		return 1
	case 1:
		high = l.CheckInt(1)
	default:
		low, high = l.CheckInt(1), l.CheckInt(2)
	}
	if high < low {
		l.ArgError(1, "interval is empty")
	}
	l.Push(lua.LNumber(low + s.conf.World.Rand(high-low+1)))
	return 1
}

// Process is client code with a connection to the cluster of its own. A task
// belongs to the process of the one that started it: a timer, a callback, a
// watch. Killing a process ends them all at their next instruction.
type Process struct {
	cluster Cluster
	ctx     context.Context
	cancel  context.CancelFunc
	tasks   []*task // of the session's main process they are not counted
	counts  bool

	changes  uint64             // asynchronous calls of replicated methods so far
	changing map[*handle]uint64 // those without an answer, numbered
}

// NewProcess returns a process with a connection.
func (s *Session) NewProcess(c Cluster) *Process {
	ctx, cancel := context.WithCancel(s.ctx)
	return &Process{cluster: c, ctx: ctx, cancel: cancel, counts: true, changing: map[*handle]uint64{}}
}

// Kill ends the process. Its tasks get their turn in the order in which they
// began.
func (p *Process) Kill() {
	p.cancel()
	for _, t := range p.tasks {
		if t.waiting != 0 {
			t.resume()
		}
	}
}

// Dead tells whether it was killed.
func (p *Process) Dead() bool { return p.ctx.Err() != nil }

func (p *Process) began(t *task) {
	if p.counts {
		p.tasks = append(p.tasks, t)
	}
}

func (p *Process) ended(t *task) {
	if p.counts {
		p.tasks = slices.DeleteFunc(p.tasks, func(x *task) bool { return x == t })
	}
}

// metered is the context of code whose instructions are counted: the interpreter
// calls Done before each.
type metered struct {
	context.Context
	left *int
}

// spent is what Done returns once all is used up.
var spent = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func (c metered) Done() <-chan struct{} {
	if *c.left--; *c.left < 0 {
		return spent
	}
	return c.Context.Done()
}

func (c metered) Err() error {
	if *c.left < 0 {
		return ErrInstructions
	}
	return c.Context.Err()
}

// Task runs f as a task and waits for its end. It is not for functions that Lua
// calls.
func (s *Session) Task(ctx context.Context, f func(l *lua.LState) error) error {
	return s.do(ctx, func(t *task) error { return f(t.thread) })
}

// As runs f as a task of a process and waits for its end; it is for functions
// that Lua calls. The error is ErrInterrupted if the process was killed.
func (s *Session) As(p *Process, f func(l *lua.LState) error) error {
	var err error
	werr := s.Wait(func(wake func()) {
		s.sched.post(func() {
			ok := s.sched.start(p, p.ctx, func(t *task) {
				if err = f(t.thread); p.Dead() {
					err = ErrInterrupted
				}
				wake()
			})
			if !ok {
				err = &LuaError{Text: "too many tasks wait"}
				wake()
			}
		})
	})
	if werr != nil {
		return werr
	}
	return err
}

// Spawn runs f as a task of a process that nobody waits for: its error is that of
// the session. It is for functions that Lua calls.
func (s *Session) Spawn(p *Process, where string, f func(l *lua.LState) error) {
	s.sched.post(func() { s.background(p, where, func(t *task) error { return f(t.thread) }) })
}

// Wait gives way until wake is called; it is for functions that Lua calls.
func (s *Session) Wait(begin func(wake func())) error { return s.sched.current.wait(begin) }

// Sleep gives way for a time; it is for functions that Lua calls.
func (s *Session) Sleep(d time.Duration) error {
	return s.Wait(func(wake func()) { s.after(d, wake) })
}

// Raise raises a Go error in Lua code: a failed call as an error object.
func (s *Session) Raise(l *lua.LState, err error) { s.raise(l, err) }

// CallError is the failed call that a value raised by Lua code stands for.
func (s *Session) CallError(v lua.LValue) (*command.Error, bool) { return s.callError(v) }

// Text is a value as print and error messages show it.
func (s *Session) Text(v lua.LValue) string { return s.text(v) }

// Call calls a Lua function and returns its values. An error that Lua code raised
// is a *lua.ApiError.
func Call(l *lua.LState, fn lua.LValue, args ...lua.LValue) ([]lua.LValue, error) {
	return call(l, fn, args...)
}

// CompileScript compiles a script for use as client code.
func CompileScript(name, source string) (*lua.FunctionProto, error) {
	return compileChunk(strings.TrimPrefix(source, "\xef\xbb\xbf"), name, chunkScript)
}
