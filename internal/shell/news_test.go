package shell

import (
	"context"
	"iter"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// watched is a fake that tells what the test sends.
type watched struct {
	*fake
	told  chan client.WatchEvent
	asked chan client.WatchOptions
	ended chan error
}

func (w *watched) Watch(ctx context.Context, o client.WatchOptions) iter.Seq2[client.WatchEvent, error] {
	return func(yield func(client.WatchEvent, error) bool) {
		w.asked <- o
		o.Began(1)
		for {
			select {
			case e := <-w.told:
				if !yield(e, nil) {
					return
				}
			case err := <-w.ended:
				yield(client.WatchEvent{}, err)
				return
			case <-ctx.Done():
				return
			}
		}
	}
}

// TestNews: who waits is woken by what is told, told before the wait or during
// it, by stop, and by the end of the time; without a watch it looks from time to
// time.
func TestNews(t *testing.T) {
	w := &watched{newFake(), make(chan client.WatchEvent), make(chan client.WatchOptions, 9), make(chan error)}
	out := &buffer{written: make(chan struct{}, 1)}
	s := New(Config{Cluster: w, Out: out, Err: out})
	defer s.Close()
	ctx := context.Background()
	run := func(src, want string) {
		t.Helper()
		if err := s.Input(ctx, "input", 1, src); err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if got := out.take(); got != want {
			t.Errorf("%s: printed %q, want %q", src, got, want)
		}
	}
	run(`n = watch({object = kv, path = {"data", "a b", 3}})`, "")
	if o := <-w.asked; o.Object != "kv" || len(o.Path) != 3 || o.Path[1] != "a b" || o.Path[2] != int64(3) {
		t.Errorf("asked for %+v", o)
	}
	run("n:wait(0) print(n.value, n.stopped, n)", "nil\tfalse\twatch of kv.data[\"a b\"][3]\n")
	w.told <- client.WatchEvent{Kind: client.WatchPicture, Index: 4, Value: int64(7)}
	run("n:wait() print(n.value, n.index, n.blind)", "7\t4\tfalse\n")
	ended := make(chan error)
	go func() { ended <- s.Input(ctx, "input", 1, "waiting = true n:wait() print('woken', n.value)") }()
	w.told <- client.WatchEvent{Kind: client.WatchChanged, Index: 5, Changes: []client.Change{{Removed: true}}}
	if err := <-ended; err != nil || out.take() != "woken\tnil\n" {
		t.Errorf("not woken: %v", err)
	}
	go func() {
		ended <- s.Input(ctx, "input", 1, "after(0, function() n:stop() end) n:wait() print(n.stopped)")
	}()
	if err := <-ended; err != nil || out.take() != "true\n" {
		t.Errorf("not stopped: %v", err)
	}
	run("n:wait(math.huge) print('still')", "still\n")

	// A watch that fails, and a cluster that can't be watched.
	run(`n = watch("kv.data")`, "")
	<-w.asked
	go func() { ended <- s.Input(ctx, "input", 1, "n:wait(1000) n:wait(1000) print(n.stopped, n.blind)") }()
	w.ended <- ErrClosed
	if err := <-ended; err != nil || out.take() != "false\ttrue\n" {
		t.Errorf("a watch that failed: %v", err)
	}
	plain, pout := newTestSession(t, newFake())
	if err := plain.Input(ctx, "input", 1, `n = watch("kv.data") n:wait(1000) n:stop() n:wait() print(n.stopped)`); err != nil || pout.take() != "true\n" {
		t.Errorf("without watches: %v", err)
	}
	if err := plain.Input(ctx, "input", 1, `watch({object = 1, path = {}})`); err == nil {
		t.Error("no object, no error")
	}
}

// counted counts what is asked of a cluster.
type counted struct {
	*client.Client
	asked atomic.Int64
}

func (c *counted) Do(op wire.Op, mode wire.Mode, timeout time.Duration, payload []byte, done func(command.Result, error)) {
	c.asked.Add(1)
	c.Client.Do(op, mode, timeout, payload, done)
}

// TestWaitingAsksNothing: who waits for a job or a lock of the library asks for
// nothing while nothing happens, and goes on when it is its turn.
func TestWaitingAsksNothing(t *testing.T) {
	ctx := context.Background()
	c := &counted{Client: withLibrary(t)}
	out := &buffer{written: make(chan struct{}, 1)}
	s := New(Config{Cluster: c, Out: out, Err: out})
	defer s.Close()
	if err := s.Input(ctx, "input", 1, `semaphore:configure("s", 1) lock:acquire("l", "a", 60) rwlock:acquire("l", "a", "write", 60) semaphore:acquire("s", "a", 60)`); err != nil {
		t.Fatal(err)
	}
	for _, k := range []struct{ wait, turn string }{
		{`queue:take().value`, `queue:put(5)`},
		{`pqueue:take().value`, `pqueue:put(5)`},
		{`lock:hold("l", "b", 60, nil, 60).token > 0 and 5`, `lock:release("l", "a")`},
		{`rwlock:hold("l", "b", "read", 60, nil, 60).token > 0 and 5`, `rwlock:release("l", "a")`},
		{`semaphore:hold("s", "b", 60, nil, 60).token > 0 and 5`, `semaphore:release("s", "a")`},
		{`barrier:wait("b", "one", 2, 60) and 5`, `barrier:arrive("b", "two", 2, 60)`},
		{`(function()
			election:stand("o", "a", 60)
			local won = false
			local h = election:campaign("o", "b", 2, function() won = true end)
			while not won do sleep(0.01) end
			return h:resign() and 5
		end)()`, `election:resign("o", "a")`},
	} {
		ended := make(chan error)
		before := c.asked.Load()
		go func() { ended <- s.Input(ctx, "input", 1, k.wait) }()
		settled(t, func() bool { // the watch is there
			n := make(chan bool)
			s.sched.post(func() {
				told := false
				for w := range s.watches {
					told = told || len(w.news.waiting) > 0 && w.index > 0
				}
				n <- told
			})
			return <-n
		})
		asked := c.asked.Load() - before
		if err := s.Input(ctx, "input", 1, "sleep(0.6)"); err != nil {
			t.Fatal(err)
		}
		if more := c.asked.Load() - before - asked; more != 0 {
			t.Errorf("%s asked %d times, and %d times more while it waited", k.wait, asked, more)
		}
		out.take()
		if err := s.Input(ctx, "input", 1, k.turn+" nothing = nil"); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", k.wait, err)
		}
		if got := out.take(); !strings.Contains(got, "5") {
			t.Errorf("%s gave %q", k.wait, got)
		}
	}
}

// withLibrary is a client of a node with objects of the library.
func withLibrary(t *testing.T) *client.Client {
	t.Helper()
	ctx := context.Background()
	e, err := StartEmbedded(ctx, "", "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	given, err := ReadScripts([]string{"queue", "pqueue", "lock", "rwlock", "semaphore", "barrier", "election"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Deploy(ctx, e.Client, given); err != nil {
		t.Fatal(err)
	}
	return e.Client
}

// TestWaitersInherit: what a dead holder had goes to who waits, at its ttl.
func TestWaitersInherit(t *testing.T) {
	ctx := context.Background()
	out := &buffer{written: make(chan struct{}, 1)}
	s := New(Config{Cluster: withLibrary(t), Out: out, Err: out})
	defer s.Close()
	for _, src := range []string{
		`lock:acquire("l", "dead", 0.5) rwlock:acquire("l", "dead", "write", 0.5) semaphore:configure("s", 1) semaphore:acquire("s", "dead", 0.5)`,
		`queue:put("job") queue:reserve(0.5) pqueue:put("job") pqueue:reserve(0.5)`,
		`print(lock:hold("l", "b", 60, nil, 60).token > 0, rwlock:hold("l", "b", "read", 60, nil, 60).token > 0, semaphore:hold("s", "b", 60, nil, 60).token > 0)`,
		`print(queue:take().value, pqueue:take(60).value)`,
		`print(barrier:wait("b", "one", 2, 0.5))`,
	} {
		if err := s.Input(ctx, "input", 1, src); err != nil {
			t.Fatalf("%s: %v", src, err)
		}
	}
	if got := out.take(); !strings.HasPrefix(got, "true\ttrue\ttrue\njob\tjob\nfalse\t") {
		t.Errorf("printed %q", got)
	}
}

// settled waits for a condition.
func settled(t *testing.T, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal("not settled in 30 s")
		}
	}
}
