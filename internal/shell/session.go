package shell

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// Config of a session.
type Config struct {
	Cluster Cluster
	Timeout time.Duration // of each call; 0: the node's default
	Mode    wire.Mode     // of reads
	JSON    bool          // results are printed as JSON
	Out     io.Writer     // results and print
	Err     io.Writer     // errors of timers and callbacks at the REPL
	// KeepGoing says that an error which a timer or callback raises is printed
	// and no more, as at the REPL; else it ends the session.
	KeepGoing bool
	// Pretty is how results are shown on a terminal; nil: one line per value.
	Pretty *Pretty
	// World is where and when the session lives; nil: on this machine, now.
	World World
	// Instructions bounds what all Lua code of the session may execute; 0: no bound.
	Instructions int
	// Open, if set, adds to the globals before any code runs.
	Open func(s *Session, l *lua.LState)
}

// Session is client-side Lua with a cluster's objects as globals.
type Session struct {
	conf  Config
	sched *scheduler
	lua   *lua.LState
	errorMeta, proxyMeta,
	asyncMeta, handleMeta *lua.LTable

	ctx    context.Context
	cancel context.CancelFunc
	main   *Process
	done   chan struct{} // the scheduler ended
	exit   atomic.Pointer[ExitError]
	failed atomic.Pointer[error] // what a timer or callback raised, unless KeepGoing

	stale, json, timing atomic.Bool
	out                 sync.Mutex // one line is written at a time

	// description is the last one read; it is replaced, never changed.
	description atomic.Pointer[command.Description]
	leaderless  atomic.Bool // description is what the asked node had, for want of a leader

	// The rest belongs to the task whose turn it is.
	proxies  map[string]*lua.LUserData
	scripts  map[string]*localScript // by name
	declared map[string]bool         // globals that were assigned once: reading them gives nil, not an error
	timers   map[*timer]bool
	watches  map[*subscription]bool
	results  []lua.LValue // of the last input that had any, for .all; kept with Pretty only
	open     int          // asynchronous calls without an answer and one-shot timers
	idle     []idleWaiter
}

type idleWaiter struct {
	timers bool // repeating timers and watches are waited for too
	done   chan struct{}
}

// New starts a session. Close ends it.
func New(conf Config) *Session {
	l := lua.NewState(lua.Options{CallStackSize: 1024, RegistrySize: 1024, RegistryMaxSize: 1 << 20, RegistryGrowStep: 4096, MinimizeStackMemory: true})
	ctx, cancel := context.WithCancel(context.Background())
	s := &Session{
		conf: conf, lua: l, sched: newScheduler(l), ctx: ctx, cancel: cancel, done: make(chan struct{}),
		proxies: map[string]*lua.LUserData{}, scripts: map[string]*localScript{},
		declared: map[string]bool{}, timers: map[*timer]bool{}, watches: map[*subscription]bool{},
	}
	s.json.Store(conf.JSON)
	if conf.Mode == wire.Stale { // which .stale off ends
		s.stale.Store(true)
		s.conf.Mode = wire.Linearizable
	}
	s.main = &Process{cluster: conf.Cluster, ctx: ctx, cancel: cancel, changing: map[*handle]uint64{}}
	s.description.Store(&command.Description{})
	s.openLibraries()
	if conf.World != nil {
		s.openWorld()
	}
	if conf.Instructions > 0 {
		s.sched.left = &s.conf.Instructions
	}
	if conf.Open != nil {
		conf.Open(s, l)
	}
	go func() {
		defer close(s.done)
		s.sched.run(ctx, s.checkIdle)
		l.Close()
	}()
	return s
}

// Close ends what runs and waits until it has ended.
func (s *Session) Close() {
	s.cancel()
	<-s.done
}

// Done is closed when the session has ended: closed, or by exit in client code.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err says what ended the session from within: *ExitError, or the error of a
// timer or callback.
func (s *Session) Err() error {
	if e := s.exit.Load(); e != nil {
		return e
	}
	if e := s.failed.Load(); e != nil {
		return *e
	}
	return nil
}

// do runs f as a task and waits for its end.
func (s *Session) do(ctx context.Context, f func(t *task) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	result := make(chan error, 1)
	s.sched.post(func() {
		ok := s.sched.start(s.main, ctx, func(t *task) { result <- s.failure(t.ctx, f(t)) })
		if !ok {
			result <- &LuaError{Text: fmt.Sprintf("more than %d tasks wait", tasksMax)}
		}
	})
	select {
	case err := <-result:
		return err
	case <-s.done:
		select {
		case err := <-result:
			return err
		default:
			if err := s.Err(); err != nil {
				return err
			}
			return ErrClosed
		}
	}
}

// Input evaluates one complete input as the REPL does: an expression's values
// are printed. Names that it declares local at its top stay for later inputs.
func (s *Session) Input(ctx context.Context, name string, line int, src string) error {
	proto, err := compileInput(src, name, line)
	if err != nil {
		return err
	}
	began := time.Now()
	var times callTimes
	err = s.do(ctx, func(t *task) error {
		t.times = callTimes{}
		values, err := s.callProto(t, proto)
		times = t.times
		if err != nil {
			return err
		}
		return s.printResults(values)
	})
	if s.timing.Load() {
		s.writeLine(times.text(time.Since(began)))
	}
	return err
}

// Run runs a script: its top-level locals are its own, args are its ... and the
// global arg.
func (s *Session) Run(ctx context.Context, name, src string, args []string) error {
	proto, err := CompileScript(name, src)
	if err != nil {
		return err
	}
	return s.do(ctx, func(t *task) error {
		table := &lua.LTable{Metatable: lua.LNil}
		table.RawSetInt(0, lua.LString(name))
		values := make([]lua.LValue, len(args))
		for i, a := range args {
			values[i] = lua.LString(a)
			table.RawSetInt(i+1, values[i])
		}
		s.setGlobal("arg", table)
		s.setGlobal("args", table)
		returned, err := s.callProto(t, proto, values...)
		if err != nil || !s.json.Load() {
			return err
		}
		return s.printResults(returned)
	})
}

// callProto calls a compiled chunk in t and returns its values.
func (s *Session) callProto(t *task, proto *lua.FunctionProto, args ...lua.LValue) ([]lua.LValue, error) {
	values, err := call(t.thread, t.thread.NewFunctionFromProto(proto), args...)
	if err == nil && t.ctx.Err() != nil {
		err = ErrInterrupted // it ended before its next instruction could see that
	}
	return values, err
}

// call calls a Lua function and returns its values.
func call(l *lua.LState, fn lua.LValue, args ...lua.LValue) ([]lua.LValue, error) {
	top := l.GetTop()
	if err := l.CallByParam(lua.P{Fn: fn, NRet: lua.MultRet, Protect: true}, args...); err != nil {
		l.SetTop(top)
		return nil, err
	}
	values := make([]lua.LValue, 0, l.GetTop()-top)
	for i := top + 1; i <= l.GetTop(); i++ {
		values = append(values, l.Get(i))
	}
	l.SetTop(top)
	return values, nil
}

func (s *Session) printResults(values []lua.LValue) error {
	if len(values) == 1 { // a timer or an open call: nothing to read yet
		if u, ok := values[0].(*lua.LUserData); ok && u.Metatable == s.handleMeta {
			return nil
		}
	}
	if s.json.Load() {
		text, err := ResultsJSON(values)
		if err != nil {
			return &LuaError{Text: err.Error()}
		}
		if len(values) > 0 {
			s.writeLine(text)
		}
		return nil
	}
	for i, v := range values { // an error object is for code; people read its text
		if e, ok := s.callError(v); ok {
			values[i] = &lua.LUserData{Value: e}
		}
	}
	lines := FormatResults
	if p := s.conf.Pretty; p != nil && len(values) > 0 {
		s.results = values
		lines = func(values []lua.LValue) []string { return p.results(values, false) }
	}
	// In one piece: readline redraws its line after each.
	if out := lines(values); len(out) > 0 {
		s.writeLine(strings.Join(out, "\n"))
	}
	return nil
}

// PrintAll prints the results of the last input again, uncut.
func (s *Session) PrintAll(ctx context.Context) error {
	return s.do(ctx, func(*task) error {
		p := s.conf.Pretty
		switch {
		case p == nil: // nothing was cut
			return &UsageError{".all is for a terminal: elsewhere results are not cut"}
		case len(s.results) == 0:
			return &UsageError{"no input had a result yet"}
		}
		s.writeLine(strings.Join(p.results(s.results, true), "\n"))
		return nil
	})
}

// width of the terminal, 0 without one.
func (s *Session) width() int {
	if s.conf.Pretty == nil {
		return 0
	}
	return s.conf.Pretty.width()
}

func (s *Session) writeLine(line string) { s.writeText(line + "\n") }

func (s *Session) writeText(text string) {
	s.out.Lock()
	defer s.out.Unlock()
	io.WriteString(s.conf.Out, text)
}

// Drain waits until no asynchronous call is open, no one-shot timer is due and,
// if timers is set, no repeating timer or watch runs. It returns what ended the session
// meanwhile.
func (s *Session) Drain(ctx context.Context, timers bool) error {
	w := idleWaiter{timers, make(chan struct{})}
	s.sched.post(func() { s.idle = append(s.idle, w) })
	select {
	case <-w.done:
	case <-s.done:
	case <-ctx.Done():
		return ErrInterrupted
	}
	return s.Err()
}

// checkIdle tells those who wait for it that nothing is going on any more.
func (s *Session) checkIdle() {
	if len(s.idle) == 0 || s.open > 0 || s.sched.tasks > 0 {
		return
	}
	keep := s.idle[:0]
	for _, w := range s.idle {
		if w.timers && len(s.timers)+len(s.watches) > 0 {
			keep = append(keep, w)
		} else {
			close(w.done)
		}
	}
	s.idle = keep
}

// end ends the session from within.
func (s *Session) end() { s.cancel() }

// uncaught deals with an error that a timer or callback raised.
func (s *Session) uncaught(ctx context.Context, where string, err error) {
	err = s.failure(ctx, err)
	if err == nil || errors.Is(err, ErrInterrupted) || errors.Is(err, ErrClosed) || s.exit.Load() != nil {
		return
	}
	if s.conf.KeepGoing {
		s.out.Lock()
		defer s.out.Unlock()
		fmt.Fprintf(s.conf.Err, "%s: %s%s\n", where, ErrorText(err, s.json.Load()), TracebackLines(err))
		return
	}
	s.failed.CompareAndSwap(nil, &err)
	s.end()
}

// afterChanges waits for the asynchronous calls that change something and have
// no answer yet: what a script reads shows what it has asked for before, in the
// order in which it stands there.
func (s *Session) afterChanges() error {
	changing := s.sched.current.proc.changing
	inOrder := func(a, b *handle) int { return cmp.Compare(changing[a], changing[b]) }
	for _, h := range slices.SortedFunc(maps.Keys(changing), inOrder) { // later ones are not waited for
		if h.done {
			continue
		}
		if err := s.sched.current.wait(func(wake func()) { h.waiters = append(h.waiters, wake) }); err != nil {
			return err
		}
	}
	return nil
}

// request sends one request and waits for its answer, giving way meanwhile.
func (s *Session) request(l *lua.LState, op wire.Op, mode wire.Mode, payload []byte) (command.Result, error) {
	var r command.Result
	var err error
	if op == wire.OpPropose && s.timing.Load() {
		mode = wire.Timed
	}
	if op == wire.OpQuery && mode != wire.Stale {
		if err := s.afterChanges(); err != nil {
			return command.Result{}, err
		}
	}
	werr := s.sched.current.wait(func(wake func()) {
		s.send(s.sched.current.ctx, s.sched.current.proc.cluster, op, mode, s.conf.Timeout, payload, func(got command.Result, gotErr error) {
			r, err = got, gotErr
			wake()
		})
	})
	if werr != nil {
		// Its variables may still be written: nothing of them is read.
		return command.Result{}, werr
	}
	if err == nil {
		err = r.Err()
	}
	s.sched.current.times.add(r.Times)
	return r, err
}

func (s *Session) mode() wire.Mode {
	if s.stale.Load() {
		return wire.Stale
	}
	return s.conf.Mode
}

// refresh reads the description of the objects again. When there is no leader
// to ask, what the node itself has is better than nothing.
func (s *Session) refresh(l *lua.LState) error {
	r, err := s.request(l, wire.OpQuery, s.mode(), command.AppendDescribe(nil))
	var failed *command.Error
	leaderless := errors.As(err, &failed) && failed.Code == command.CodeNoLeader && s.mode() != wire.Stale
	if leaderless {
		r, err = s.request(l, wire.OpQuery, wire.Stale, command.AppendDescribe(nil))
	}
	if err != nil {
		return err
	}
	s.leaderless.Store(leaderless)
	d, err := decodeDescription(r)
	if err != nil {
		return err
	}
	s.description.Store(&d)
	return nil
}

// Refresh reads the description of the objects again, as after a deploy.
func (s *Session) Refresh(ctx context.Context) error {
	return s.do(ctx, func(t *task) error { return s.refresh(t.thread) })
}

// Description is what is known of the objects.
func (s *Session) Description() *command.Description { return s.description.Load() }

// staleFlag says whether reads are answered by the asked node alone; if not, they
// have the Config's mode, linearizable if that is stale.
func (s *Session) staleFlag() *atomic.Bool { return &s.stale }

// jsonFlag says whether results are printed as JSON.
func (s *Session) jsonFlag() *atomic.Bool { return &s.json }

// timingFlag says whether the time that an input took is printed.
func (s *Session) timingFlag() *atomic.Bool { return &s.timing }

// StopTimers ends all timers and watches and says how many there were.
func (s *Session) StopTimers(ctx context.Context) (n int, err error) {
	err = s.do(ctx, func(*task) error {
		for t := range s.timers {
			t.stop()
			n++
		}
		for w := range s.watches {
			w.stop()
			n++
		}
		return nil
	})
	return n, err
}

// values reads the results of an OK answer.
func values(r command.Result) ([]lua.LValue, error) {
	v, err := decodeValues(r.Values)
	if err != nil {
		return nil, fmt.Errorf("answer of the cluster: %w", err)
	}
	return v, nil
}

// first reads the first result of an OK answer.
func first(r command.Result) (lua.LValue, error) {
	d := codec.NewDecoder(r.Values)
	n, err := d.ArrayLen()
	if err != nil || n == 0 {
		return lua.LNil, err
	}
	return decodeValue(&d, 0)
}
