package shell

import (
	"math"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/client"
)

// Where nothing can be watched, who waits for news looks after pauses between
// these.
const (
	lookMin = 10 * time.Millisecond
	lookMax = 500 * time.Millisecond
)

// waitMax is how long a wait may take that is to last for ever, as math.huge says.
const waitMax = 100 * 365 * 24 * time.Hour

// news is what a watch without a function keeps for those who wait: whether
// something was told since the last wait. All that was told before counts once.
type news struct {
	told    bool
	value   lua.LValue    // at the place; nil: not known
	waiting []waiter      // woken in the order in which they came
	blind   bool          // nothing is told (any more)
	over    bool          // client code has stopped it
	pause   time.Duration // between two looks, then
}

// waiter is a task that waits, and what wakes it.
type waiter struct {
	task *task
	wake func()
}

func (n *news) tell(e client.WatchEvent) {
	switch e.Kind {
	case client.WatchPicture:
		n.value = toldValue(e.Value)
	case client.WatchChanged:
		for _, c := range e.Changes {
			if len(c.Path) == 0 {
				n.value = toldValue(c.Value)
			}
		}
	}
	n.told = true
	n.wake()
}

func toldValue(v any) lua.LValue {
	out, err := luaValue(v)
	if err != nil {
		return nil
	}
	return out
}

func (n *news) wake() {
	for _, w := range n.waiting {
		w.wake()
	}
}

// luaWait is w:wait(seconds): it returns when something was told since the last
// wait, at once if so already, or when the time is over. It may return for no
// reason: who calls it looks again.
func (s *Session) luaWait(l *lua.LState) int {
	w := checkHandle(l).watch
	if w == nil || w.fn != nil {
		l.ArgError(1, "a watch without a function expected")
	}
	d := waitMax
	if f := l.OptNumber(2, lua.LNumber(math.Inf(1))); !(f >= lua.LNumber(waitMax.Seconds())) {
		d = seconds(l, 2)
	}
	switch n := &w.news; {
	case n.told || n.over:
	case n.blind:
		n.pause = min(max(2*n.pause, lookMin), lookMax)
		l.SetTop(0)
		l.Push(lua.LNumber(min(d, n.pause).Seconds()))
		s.luaSleep(l)
	default:
		if err := n.wait(s, d); err != nil {
			s.raise(l, err)
		}
	}
	w.news.told = false
	return 0
}

func (n *news) wait(s *Session, d time.Duration) error {
	t, unset := s.sched.current, func() {}
	err := t.wait(func(wake func()) {
		n.waiting = append(n.waiting, waiter{t, wake})
		unset = s.after(d, wake)
	})
	n.waiting = slices.DeleteFunc(n.waiting, func(w waiter) bool { return w.task == t })
	unset()
	return err
}

func orNil(v lua.LValue) lua.LValue {
	if v == nil {
		return lua.LNil
	}
	return v
}
