package shell

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// hourglass is a World in which nothing happens but timers.
type hourglass struct {
	now    time.Duration
	timers []*grain
}

type grain struct {
	at time.Duration
	f  func()
}

func (h *hourglass) Now() time.Time { return time.Unix(1_800_000_000, 0).UTC().Add(h.now) }

func (h *hourglass) After(d time.Duration, f func()) (stop func()) {
	g := &grain{h.now + d, f}
	h.timers = append(h.timers, g)
	return func() { g.f = func() {} }
}

func (h *hourglass) Step() bool {
	if len(h.timers) == 0 {
		return false
	}
	first := 0
	for i, g := range h.timers {
		if g.at < h.timers[first].at {
			first = i
		}
	}
	g := h.timers[first]
	h.timers = append(h.timers[:first], h.timers[first+1:]...)
	h.now = g.at
	g.f()
	return true
}

func (h *hourglass) Rand(n int) int { return n - 1 }

func (h *hourglass) Float() float64 { return 0.25 }

func inWorld(t *testing.T, conf Config) (*Session, *hourglass, *buffer) {
	t.Helper()
	h, out := &hourglass{}, &buffer{written: make(chan struct{}, 1)}
	conf.World, conf.Cluster, conf.Out, conf.Err = h, newFake(), out, out
	s := New(conf)
	t.Cleanup(s.Close)
	return s, h, out
}

// TestWorldTime: an hour of sleeping and ticking passes at once, and tasks take
// turns in the order of the world's clock.
func TestWorldTime(t *testing.T) {
	s, h, out := inWorld(t, Config{})
	const src = `
local began, seconds = now(), os.time()
local ticks = 0
local beat = every(600, function() ticks = ticks + 1 end)
after(10, function() print("ten") end)
after(5, function() print("five") end)
sleep(3590)
print(now() - began, os.time() - seconds, ticks, math.random(6), math.random(), os.date("%H:%M"))
beat:stop()
print(pcall(http.get, "http://127.0.0.1:1/"))
`
	if err := s.Run(context.Background(), "t.lua", src, nil); err != nil {
		t.Fatal(err)
	}
	want := "five\nten\n3590\t3590\t5\t6\t0.25\t08:59\nfalse\t"
	if got := out.take(); !strings.HasPrefix(got, want) || !strings.Contains(got, "there is no network") {
		t.Errorf("got %q", got)
	}
	if h.now != 3590*time.Second {
		t.Errorf("%v have passed", h.now)
	}
}

// TestProcessDies: with a process end its tasks and timers, also what waits, and
// nothing else.
func TestProcessDies(t *testing.T) {
	var p *Process
	conf := Config{Open: func(s *Session, l *lua.LState) {
		l.SetGlobal("spawn", l.NewFunction(func(l *lua.LState) int {
			f := l.CheckFunction(1)
			p = s.NewProcess(s.conf.Cluster)
			s.Spawn(p, "process", func(l *lua.LState) error {
				_, err := Call(l, f)
				return err
			})
			return 0
		}))
		l.SetGlobal("kill", l.NewFunction(func(*lua.LState) int {
			p.Kill()
			return 0
		}))
	}}
	s, _, out := inWorld(t, conf)
	const src = `
spawn(function()
  every(1, function() print("beat") end)
  after(3.2, function() print("once") end)
  pcall(function() sleep(100) print("slept") end)
  print("went on")
end)
every(2, function() print("main") end)
sleep(2.5)
kill()
sleep(2)
`
	if err := s.Run(context.Background(), "t.lua", src, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := out.take(), "beat\nbeat\nmain\nmain\n"; got != want && got != "beat\nmain\nbeat\nmain\n" {
		t.Errorf("got %q, want %q", got, want)
	}
	if !p.Dead() || len(p.tasks) != 0 {
		t.Errorf("dead %v, %d tasks left", p.Dead(), len(p.tasks))
	}
}

// TestInstructions: a loop without an end is stopped, whoever catches errors.
func TestInstructions(t *testing.T) {
	s, _, _ := inWorld(t, Config{Instructions: 10_000})
	err := s.Run(context.Background(), "t.lua", `while true do pcall(function() while true do end end) end`, nil)
	if !errors.Is(err, ErrInstructions) {
		t.Errorf("got %v", err)
	}
}
