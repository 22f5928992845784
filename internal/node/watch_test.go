package node

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"go.uber.org/goleak"
)

const telling = `local T = object "tally"
function T:init() self.value, self.data = 0, {colour = "red"} end
function T.replicated:inc() self.value = self.value + 1; emit("inc", self.value) return self.value end
function T.replicated:put(k, v) self.data[k] = v end
function T.replicated:fail() self.value = -1; emit("inc", -1); error("no") end
function T.replicated:shout(n, text) emit("shout", n, text) end
`

// watcher collects what a client's watch tells.
type watcher struct {
	t      *testing.T
	events chan client.WatchEvent
	failed chan error // why it ended by itself
	cancel context.CancelFunc
	ended  chan struct{}
}

func watchAt(t *testing.T, cl *client.Client, o client.WatchOptions) *watcher {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{t, make(chan client.WatchEvent), make(chan error, 1), cancel, make(chan struct{})}
	go func() {
		defer close(w.ended)
		for e, err := range cl.Watch(ctx, o) {
			if err != nil {
				w.failed <- err
				return
			}
			select {
			case w.events <- e:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *watcher) stop() { w.cancel(); <-w.ended }

func (w *watcher) next() client.WatchEvent {
	w.t.Helper()
	select {
	case e := <-w.events:
		return e
	case err := <-w.failed:
		w.t.Fatalf("the watch ended: %v", err)
	case <-time.After(patience):
		w.t.Fatalf("nothing told for %v", patience)
	}
	return client.WatchEvent{}
}

func (w *watcher) picture() client.WatchEvent {
	w.t.Helper()
	e := w.next()
	if e.Kind != client.WatchPicture {
		w.t.Fatalf("%v at %d, want a picture", e.Kind, e.Index)
	}
	return e
}

// failure is why the watch ended by itself.
func (w *watcher) failure() error {
	w.t.Helper()
	select {
	case e := <-w.events:
		w.t.Fatalf("%v at %d, want an error", e.Kind, e.Index)
	case err := <-w.failed:
		return err
	case <-time.After(patience):
		w.t.Fatalf("nothing told for %v", patience)
	}
	return nil
}

func deployTally(t *testing.T, cl *client.Client) {
	t.Helper()
	if _, _, err := cl.Deploy(context.Background(), []command.Script{{Name: "tally.lua", Source: telling}}); err != nil {
		t.Fatal(err)
	}
}

// solo is a node of its own with the tally.
func solo(t *testing.T, cfg Config) (*Node, *client.Client) {
	t.Helper()
	cfg.Name, cfg.Single = "solo", true
	n := startNode(t, cfg)
	await(t, n)
	cl := dial(t, n)
	deployTally(t, cl)
	t.Cleanup(func() { cl.Close(); n.Kill() })
	return n, cl
}

// counts reads "inc" events or changes of the value and checks that they come
// one by one up to n.
func (w *watcher) counts(from, n int64) {
	index, lagged := uint64(0), 0
	for v := from; v < n; {
		e := w.next()
		var got any
		switch e.Kind {
		case client.WatchEmitted:
			got = e.Event.Values[0]
		case client.WatchChanged:
			if got = e.Changes[0].Value; len(e.Changes) != 1 {
				w.t.Errorf("%d changes of one call", len(e.Changes))
			}
		case client.WatchLagged:
			lagged++
			continue
		default:
			w.t.Errorf("%v at %d", e.Kind, e.Index)
			return
		}
		if v++; got != v || e.Index <= index {
			w.t.Errorf("%v at %d after %d at %d", got, e.Index, v-1, index)
			return
		}
		index = e.Index
	}
}

func sameEnd(e client.WatchEvent, want int64) bool {
	return e.Kind == client.WatchPicture && e.Value == want || e.Kind == client.WatchChanged && e.Changes[0].Value == want
}

// TestWatchCluster: while clients count, the leader dies. One that watches a
// follower sees every step once and in order, and so does one that watches events
// at the leader and goes on at another node. One that watches a place at the
// leader gets a picture there and never goes back.
func TestWatchCluster(t *testing.T) {
	const clients, each = 4, 60
	ctx := context.Background()
	nodes, addrs := startThree(t, func(_ int, cfg *Config) { cfg.Data, cfg.Durability = "", "memory" })
	cl, err := client.Dial(ctx, client.Config{Addrs: addrs, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	deployTally(t, cl)
	s, err := cl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	leader, follower := 0, 0
	for i, n := range s.Nodes {
		if n.Role == "leader" {
			leader = i
		} else {
			follower = i
		}
	}
	at := func(i int) *client.Client { // the others come behind it
		cl, err := client.Dial(ctx, client.Config{Addrs: []string{addrs[i], addrs[(i+1)%3], addrs[(i+2)%3]}, Timeout: patience})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { cl.Close() })
		return cl
	}
	value := client.WatchOptions{Object: "tally", Path: []any{"value"}}
	onFollower := watchAt(t, at(follower), value)
	onLeader := watchAt(t, at(leader), value)
	events := watchAt(t, at(leader), client.WatchOptions{Topic: "inc", Resume: true})
	if e := onFollower.picture(); e.Value != int64(0) || e.Index == 0 {
		t.Fatalf("picture %v at %d", e.Value, e.Index)
	}
	onLeader.picture()

	var load, watching sync.WaitGroup
	half := make(chan struct{}, clients)
	for range clients {
		load.Go(func() {
			cl := at(follower)
			for i := range each {
				if i == each/2 {
					half <- struct{}{}
				}
				if _, err := cl.Call(ctx, "tally", "inc"); err != nil {
					t.Error(err)
				}
				if _, err := cl.Call(ctx, "tally", "fail"); client.CodeOf(err) != client.CodeScript {
					t.Errorf("fail: %v", err)
				}
			}
		})
	}
	watching.Go(func() { onFollower.counts(0, clients*each) })
	watching.Go(func() { events.counts(0, clients*each) })
	watching.Go(func() {
		last, pictures := int64(0), 0
		for last < clients*each {
			e := onLeader.next()
			switch {
			case e.Kind == client.WatchPicture && e.Value.(int64) >= last:
				pictures++
				last = e.Value.(int64)
			case e.Kind == client.WatchChanged && sameEnd(e, last+1):
				last++
			default:
				t.Errorf("%v %+v after %d", e.Kind, e, last)
				return
			}
		}
		if pictures == 0 {
			t.Error("no picture at another node")
		}
	})
	for range clients {
		<-half
	}
	nodes[leader].Kill()
	load.Wait()
	watching.Wait()
	// Another node still has all events, and refuses to make up those it has not.
	again := watchAt(t, at(follower), client.WatchOptions{Topic: client.TopicAll, Resume: true})
	again.counts(0, clients*each)
}

// TestWatchPlaces: a path, what is not there, removals, an object that comes.
func TestWatchPlaces(t *testing.T) {
	_, cl := solo(t, Config{})
	ctx := context.Background()
	colour := watchAt(t, cl, client.WatchOptions{Object: "tally", Path: []any{"data", "colour"}})
	none := watchAt(t, cl, client.WatchOptions{Object: "tally", Path: []any{"none", 1, "x"}})
	all := watchAt(t, cl, client.WatchOptions{Object: "tally"})
	if e := colour.picture(); e.Value != "red" {
		t.Errorf("picture %v", e.Value)
	}
	if e := none.picture(); e.Value != nil {
		t.Errorf("picture %v", e.Value)
	}
	if e := all.picture(); fmt.Sprint(e.Value) != "map[data:map[colour:red] value:0]" {
		t.Errorf("picture %v", e.Value)
	}
	for _, v := range []any{"blue", nil} {
		if _, err := cl.Call(ctx, "tally", "put", "colour", v); err != nil {
			t.Fatal(err)
		}
		for w, path := range map[*watcher]string{colour: "[]", all: "[data colour]"} {
			e := w.next()
			if c := e.Changes[0]; e.Kind != client.WatchChanged || len(e.Changes) != 1 || fmt.Sprint(c.Path) != path || c.Value != v || c.Removed != (v == nil) {
				t.Errorf("%v %+v", e.Kind, e)
			}
		}
	}
	if err := cl.Drop(ctx, "tally"); err != nil {
		t.Fatal(err)
	}
	if e := all.next(); len(e.Changes) != 1 || !e.Changes[0].Removed || len(e.Changes[0].Path) != 0 {
		t.Errorf("%+v", e)
	}
	deployTally(t, cl)
	if e := all.next(); len(e.Changes) != 1 || fmt.Sprint(e.Changes[0].Value) != "map[data:map[colour:red] value:0]" {
		t.Errorf("%+v", e)
	}
	for _, k := range []struct {
		o    client.WatchOptions
		code client.Code
		text string
	}{
		{client.WatchOptions{}, client.CodeBadArgument, "an object or a topic"},
		{client.WatchOptions{Object: "a", Topic: "b"}, client.CodeBadArgument, "an object or a topic"},
		{client.WatchOptions{Object: "nobody"}, client.CodeNotFound, `no object "nobody"`},
		{client.WatchOptions{Object: "tally", Path: []any{[]any{1}}}, client.CodeBadArgument, "a key is a string, a number or a boolean"},
		{client.WatchOptions{Object: "tally", Path: make([]any, 101)}, client.CodeBadArgument, "101 keys"},
		{client.WatchOptions{Object: "tally", Resume: true, From: 1 << 40}, client.CodeBadArgument, "no index 1099511627776 yet"},
		{client.WatchOptions{Topic: "inc", Resume: true, From: 1 << 40}, client.CodeBadArgument, "no index 1099511627776 yet"},
	} {
		if err := watchAt(t, cl, k.o).failure(); client.CodeOf(err) != k.code || !strings.Contains(err.Error(), k.text) {
			t.Errorf("%+v: %v", k.o, err)
		}
	}
}

// TestWatchLagged: one who does not read holds up no call, is told that it
// lagged, and goes on: at a place with a picture, with events where it was.
func TestWatchLagged(t *testing.T) {
	n, cl := solo(t, Config{})
	ctx := context.Background()
	place := watchAt(t, cl, client.WatchOptions{Object: "tally", Path: []any{"data", "x"}})
	topic := watchAt(t, cl, client.WatchOptions{Topic: "shout", Resume: true})
	place.picture()
	const calls, size = 120, 60_000
	text := strings.Repeat("x", size)
	for i := range calls {
		if _, err := cl.Call(ctx, "tally", "put", "x", fmt.Sprint(i, text)); err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Call(ctx, "tally", "shout", i, text); err != nil {
			t.Fatal(err)
		}
	}
	if b := n.watches.bytes.Load(); b > 2*(watchQueueBytesMax+2*size) {
		t.Errorf("%d bytes wait for two clients", b)
	}
	next, lagged := 0, false
	for want := func() string { return fmt.Sprint(next, text) }; ; next++ {
		e := place.next()
		if lagged = e.Kind == client.WatchLagged; lagged {
			break
		}
		if e.Kind != client.WatchChanged || e.Changes[0].Value != want() {
			t.Fatalf("%v at %d, want change %d", e.Kind, e.Index, next)
		}
	}
	if next == 0 || next >= calls {
		t.Errorf("lagged at change %d of %d", next, calls)
	}
	if e := place.picture(); e.Value != fmt.Sprint(calls-1, text) {
		t.Errorf("another picture: %.10v", e.Value)
	}
	lagged = false
	for i := int64(0); i < calls; {
		e := topic.next()
		if e.Kind == client.WatchLagged {
			lagged = true
			continue
		}
		if e.Kind != client.WatchEmitted || e.Event.Values[0] != i {
			t.Fatalf("%v at %d, want event %d", e.Kind, e.Index, i)
		}
		i++
	}
	if !lagged {
		t.Error("the watch of the topic was not told that it lagged")
	}
	// What is too large to be told is not told in part.
	if _, err := cl.Call(ctx, "tally", "put", "x", strings.Repeat("x", 2<<20)); err != nil {
		t.Fatal(err)
	}
	if e := place.next(); e.Kind != client.WatchLagged {
		t.Errorf("%v at %d, want lagged", e.Kind, e.Index)
	}
	if e := place.picture(); len(e.Value.(string)) != 2<<20 {
		t.Error("another picture")
	}
}

// TestWatchBehind: when the distributor itself is behind, all who watch are told.
func TestWatchBehind(t *testing.T) {
	hold := make(chan struct{})
	n, cl := solo(t, Config{onNews: func() { <-hold }})
	release := sync.OnceFunc(func() { close(hold) })
	t.Cleanup(release)
	place := watchAt(t, cl, client.WatchOptions{Object: "tally", Path: []any{"data", "x"}})
	place.picture()
	n.watches.mu.Lock()
	n.watches.newsMax = 10_000
	n.watches.mu.Unlock()
	text := strings.Repeat("x", 1000)
	for i := range 15 {
		if _, err := cl.Call(context.Background(), "tally", "put", "x", fmt.Sprint(i, text)); err != nil {
			t.Fatal(err)
		}
	}
	n.watches.mu.Lock()
	if n.watches.newsBytes > n.watches.newsMax || n.watches.lost == 0 {
		t.Errorf("%d bytes of news, lost at %d", n.watches.newsBytes, n.watches.lost)
	}
	n.watches.mu.Unlock()
	release()
	for next := 0; ; next++ {
		e := place.next()
		if e.Kind == client.WatchLagged {
			break
		}
		if e.Kind != client.WatchChanged || e.Changes[0].Value != fmt.Sprint(next, text) {
			t.Fatalf("%v at %d, want change %d", e.Kind, e.Index, next)
		}
	}
	place.picture()
}

// TestWatchEvents: from now, behind an index, and refused when the ring no
// longer reaches there.
func TestWatchEvents(t *testing.T) {
	_, cl := solo(t, Config{})
	ctx := context.Background()
	const kept = 2500 // more than one answer has
	if err := cl.Set(ctx, "events", kept); err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for range (kept + 500) / 8 {
				if _, err := cl.Call(ctx, "tally", "inc"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	calls.Wait()
	w := watchAt(t, cl, client.WatchOptions{Topic: "inc", Resume: true})
	err := w.failure()
	var lost uint64
	_, text, _ := strings.Cut(err.Error(), "all after index ")
	if _, serr := fmt.Sscan(text, &lost); serr != nil || client.CodeOf(err) != client.CodeNotFound {
		t.Fatalf("a watch that begins too early: %v", err)
	}
	w = watchAt(t, cl, client.WatchOptions{Topic: "inc", Resume: true, From: lost})
	first := w.next()
	if first.Index <= lost {
		t.Errorf("event at %d, asked for those behind %d", first.Index, lost)
	}
	now := watchAt(t, cl, client.WatchOptions{Topic: "inc"})
	other := watchAt(t, cl, client.WatchOptions{Topic: "other", Resume: true, From: lost})
	w.counts(first.Event.Values[0].(int64), (kept+500)/8*8)
	// now has no picture to wait for: it has begun once it tells something.
	var e client.WatchEvent
	for told := false; !told; {
		if _, err := cl.Call(ctx, "tally", "inc"); err != nil {
			t.Fatal(err)
		}
		select {
		case e = <-now.events:
			told = true
		case <-time.After(TickInterval):
		}
	}
	if v := e.Event.Values[0].(int64); v <= (kept+500)/8*8 || e.Event.Object != "tally" || e.Event.Topic != "inc" {
		t.Errorf("first event from now on: %+v", e)
	}
	select {
	case e := <-other.events:
		t.Errorf("event of another topic: %+v", e)
	default:
	}
}

// TestWatchOpens: watches that begin in the midst of calls have no gap behind the
// picture, and nothing comes before it.
func TestWatchOpens(t *testing.T) {
	const opened = 150
	n, cl := solo(t, Config{})
	var dials atomic.Int64
	watching, err := client.Dial(context.Background(), client.Config{Addrs: []string{"solo"}, Timeout: patience,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { dials.Add(1); return n.Dial(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	defer watching.Close()
	stop := make(chan struct{})
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := cl.Call(context.Background(), "tally", "inc"); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for range opened {
		w := watchAt(t, watching, client.WatchOptions{Object: "tally"})
		e := w.picture()
		last, ok := e.Value.(map[string]any)["value"].(int64)
		for range 3 {
			e := w.next()
			if last++; !ok || !sameEnd(e, last) {
				t.Fatalf("%+v, want %d", e, last)
			}
		}
		w.stop()
	}
	close(stop)
	calls.Wait()
	if d := dials.Load(); d != 1+opened { // a node that breaks the rules would be asked again
		t.Errorf("%d connections for %d watches", d, opened)
	}
}

// TestWatchReplaced: the state of the watched node becomes wrong and is replaced
// by a snapshot. Its watchers get another picture and see all that follows.
func TestWatchReplaced(t *testing.T) {
	ctx := context.Background()
	nodes, spoilers, cl := startSpoiled(t, "memory")
	s, err := cl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	bad := 0
	for i, n := range s.Nodes {
		if n.Role == "follower" {
			bad = i
		}
	}
	direct := dial(t, nodes[bad])
	defer direct.Close()
	w := watchAt(t, direct, client.WatchOptions{Object: "counter", Path: []any{"value"}})
	w.picture()
	spoilers[bad].armed.Store(true)
	calls := int64(0)
	inc := func() {
		calls++
		if _, err := cl.Call(ctx, "counter", "inc"); err != nil {
			t.Fatal(err)
		}
	}
	inc()
	if e := w.next(); !sameEnd(e, 1000) {
		t.Fatalf("%+v, want the wrong value", e)
	}
	close(spoilers[bad].release)
	e := w.picture()
	if e.Value != calls {
		t.Fatalf("picture %v after %d calls", e.Value, calls)
	}
	inc()
	if e := w.next(); !sameEnd(e, calls) {
		t.Errorf("%+v, want %d", e, calls)
	}
}

// TestWatchLeaks: a watch that ends leaves nothing behind, at the node either.
func TestWatchLeaks(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // what earlier tests leave behind is theirs
	n := startNode(t, Config{Name: "solo", Single: true})
	await(t, n)
	cl := dial(t, n)
	deployTally(t, cl)
	for range 20 {
		for e, err := range cl.Watch(context.Background(), client.WatchOptions{Object: "tally"}) {
			if err != nil || e.Kind != client.WatchPicture {
				t.Fatal(e, err)
			}
			break
		}
	}
	deadline := time.Now().Add(patience)
	for n.watches.open.Load() != 0 && time.Now().Before(deadline) {
		time.Sleep(TickInterval)
	}
	if n.watches.open.Load() != 0 || n.watches.bytes.Load() != 0 {
		t.Errorf("%d watches and %d bytes are left", n.watches.open.Load(), n.watches.bytes.Load())
	}
	cl.Close()
	stop(t, n)
}
