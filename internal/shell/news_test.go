package shell

import (
	"context"
	"iter"
	"testing"

	"github.com/syncsh/syncsh/client"
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
	run("n:wait() print(n.value, n.index)", "7\t4\n")
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
	run("n:wait() print('still')", "still\n")

	// A watch that fails, and a cluster that can't be watched.
	run(`n = watch("kv.data")`, "")
	<-w.asked
	go func() { ended <- s.Input(ctx, "input", 1, "n:wait(1000) n:wait(1000) print(n.stopped)") }()
	w.ended <- ErrClosed
	if err := <-ended; err != nil || out.take() != "false\n" {
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
