package shell

import (
	"context"
	"sync"

	lua "github.com/yuin/gopher-lua"
)

// tasksMax bounds the tasks that exist at once, each with a Lua stack of its own.
const tasksMax = 4096

// scheduler lets tasks take turns on one Lua state. Events run one after the
// other on its goroutine; an event that starts or continues a task lasts until
// that task waits or ends, so exactly one of them touches the Lua state.
type scheduler struct {
	lua *lua.LState

	mu     sync.Mutex
	events []func()
	wake   chan struct{} // capacity 1: events is not empty

	parked  chan struct{} // the task that had its turn waits or ended
	current *task         // whose turn it is
	free    []*task       // ended, to be used again: a Lua stack takes 100 KB
	tasks   int           // running or waiting

	step func() bool // lets time pass that is not the machine's; nil: it passes by itself
	left *int        // instructions that may still be executed; nil: any number
}

// task is a piece of client code with a goroutine and a Lua thread of its own.
type task struct {
	sched   *scheduler
	thread  *lua.LState
	proc    *Process
	ctx     context.Context // ends the task; its Lua code stops at the next instruction
	job     func(*task)
	turn    chan struct{}
	waiting uint64 // number of the wait it is in; 0: none
	waits   uint64 // waits so far
	resume  func() // ends the wait
	ended   bool
	times   callTimes // of the calls it has made, while they are measured
}

func newScheduler(l *lua.LState) *scheduler {
	return &scheduler{lua: l, wake: make(chan struct{}, 1), parked: make(chan struct{})}
}

// post appends an event. It may be called from any goroutine.
func (s *scheduler) post(f func()) {
	s.mu.Lock()
	s.events = append(s.events, f)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run carries out events until ctx ends; then it ends the free tasks.
func (s *scheduler) run(ctx context.Context, after func()) {
	for {
		s.mu.Lock()
		events := s.events
		s.events = nil
		s.mu.Unlock()
		for _, f := range events {
			f()
		}
		after()
		if len(events) > 0 || s.step != nil && s.tasks > 0 && ctx.Err() == nil && s.step() {
			continue
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			if s.tasks == 0 {
				for _, t := range s.free {
					close(t.turn)
				}
				return
			}
			// What still waits was told by its context and is on its way here.
			<-s.wake
		}
	}
}

// start begins a task; to be called by an event. job runs on the task's
// goroutine, with the Lua state to itself until it waits.
func (s *scheduler) start(p *Process, ctx context.Context, job func(*task)) bool {
	if s.tasks >= tasksMax {
		return false
	}
	s.tasks++
	var t *task
	if n := len(s.free); n > 0 {
		t, s.free = s.free[n-1], s.free[:n-1]
	} else {
		thread, _ := s.lua.NewThread()
		t = &task{sched: s, thread: thread, turn: make(chan struct{})}
		go t.loop()
	}
	if s.left != nil {
		ctx = metered{ctx, s.left}
	}
	t.job, t.proc, t.ctx, t.ended = job, p, ctx, false
	p.began(t)
	t.thread.SetContext(ctx)
	s.give(t)
	return true
}

func (t *task) loop() {
	for range t.turn {
		t.sched.lua.G.CurrentThread = t.thread
		t.job(t)
		t.job, t.ended = nil, true
		t.sched.parked <- struct{}{}
	}
}

// give lets t go on until it waits or ends.
func (s *scheduler) give(t *task) {
	s.current = t
	t.turn <- struct{}{}
	<-s.parked
	s.current = nil
	if t.ended {
		s.tasks--
		t.proc.ended(t)
		s.free = append(s.free, t)
	}
}

// wait gives way to other tasks until the function that begin was given is
// called (from any goroutine; it may be during begin) or the task is ended.
func (t *task) wait(begin func(wake func())) error {
	if t.ctx.Err() != nil {
		return ErrInterrupted
	}
	t.waits++
	number := t.waits
	t.waiting = number
	resume := func() {
		t.sched.post(func() {
			if t.waiting == number {
				t.waiting = 0
				t.sched.give(t)
			}
		})
	}
	t.resume = resume
	begin(resume)
	stop := context.AfterFunc(t.ctx, resume)
	defer stop()
	// A coroutine may be what waits: the other tasks have their own.
	thread := t.sched.lua.G.CurrentThread
	t.sched.parked <- struct{}{}
	<-t.turn
	t.sched.lua.G.CurrentThread = thread
	if t.ctx.Err() != nil {
		return ErrInterrupted
	}
	return nil
}
