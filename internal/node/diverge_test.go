package node

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/raft"
)

// spoiler makes the state of one node wrong: the next calls that it applies
// count 1000 more. It holds back the snapshot that would heal it until told.
type spoiler struct {
	armed   atomic.Bool
	arrived chan struct{} // an installation waits
	release chan struct{}
}

func newSpoiler() *spoiler {
	return &spoiler{arrived: make(chan struct{}), release: make(chan struct{})}
}

func (s *spoiler) onWork(w *replica.Work) {
	switch {
	case w.Kind == replica.WorkInstall:
		close(s.arrived)
		<-s.release
	case w.Kind == replica.WorkApply && w.Entry.Kind == raft.EntryBatch && s.armed.CompareAndSwap(true, false):
		d := codec.NewDecoder(w.Entry.Data)
		h, err := command.DecodeBatchHead(&d)
		if err != nil {
			panic(err)
		}
		data := command.AppendBatchHead(nil, h)
		for range h.Count {
			data = codec.AppendBytes(data, command.AppendCall(nil, 0, 0, "counter", "inc", codec.AppendUint(codec.AppendArrayLen(nil, 1), 1000)))
		}
		w.Entry.Data = data
	}
}

// startSpoiled starts three nodes with a spoiler each, and the counter, and waits
// until they have compared their states.
func startSpoiled(t *testing.T, durability string) (nodes []*Node, spoilers []*spoiler, cl *client.Client) {
	t.Helper()
	nodes, addrs := startThree(t, func(_ int, cfg *Config) {
		s := newSpoiler()
		spoilers = append(spoilers, s)
		cfg.Durability, cfg.onWork = durability, s.onWork
	})
	t.Cleanup(func() { // before the nodes are killed
		for _, s := range spoilers {
			select {
			case <-s.release:
			default:
				close(s.release)
			}
		}
	})
	cl, err := client.Dial(context.Background(), client.Config{Addrs: addrs, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	deploy(t, cl)
	awaitStatus(t, cl, "a comparison", func(s *client.Status) bool {
		for _, n := range s.Nodes {
			if n.AgreedIndex == 0 {
				return false
			}
		}
		return converged(3)(s)
	})
	return nodes, spoilers, cl
}

// TestDivergence: the state of one node of three becomes wrong, that of a
// follower or that of the leader. It is found, the node serves nothing and says
// why, it heals, and calls through the others succeed all the while.
func TestDivergence(t *testing.T) {
	for _, role := range []string{"follower", "leader"} {
		t.Run(role, func(t *testing.T) { testDivergence(t, role) })
	}
}

func testDivergence(t *testing.T, role string) {
	ctx := context.Background()
	nodes, spoilers, cl := startSpoiled(t, "")
	bad := 0
	s, err := cl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range s.Nodes { // sorted by name, as nodes are
		if n.Role == role {
			bad = i
		}
	}
	direct := dial(t, nodes[bad])
	defer direct.Close()

	// Calls go through the others from now to the end. Values are those of the
	// leader's machine, so that they are looked at only where that is right.
	var others []string
	for i, n := range nodes {
		if i != bad {
			others = append(others, n.cfg.Addr)
		}
	}
	stop := keepCalling(t, others, role)
	spoilers[bad].armed.Store(true)
	select {
	case <-spoilers[bad].arrived:
	case <-time.After(patience):
		stop()
		t.Fatalf("%s has not asked for a snapshot: %+v", nodes[bad].Name(), statusOf(t, direct))
	}
	st := statusOf(t, direct)
	if d := st.Divergence; !st.Diverged || d == nil || d.OwnDigest == d.MajorityDigest || d.HealedBy != 0 || d.After >= d.At || d.Count != 1 {
		t.Errorf("status of the diverged node: %+v %+v", st, st.Divergence)
	}
	once, err := client.Dial(ctx, client.Config{Addrs: []string{nodes[bad].cfg.Addr}, Timeout: time.Second,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return nodes[bad].Dial(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	defer once.Close()
	if v, err := once.Query(ctx, "counter", "get"); client.CodeOf(err) != client.CodeDiverged {
		t.Errorf("query of the diverged node gave %v, %v", v, err)
	}
	if v, err := once.Call(ctx, "counter", "inc"); client.CodeOf(err) != client.CodeDiverged {
		t.Errorf("call through the diverged node gave %v, %v", v, err)
	}
	close(spoilers[bad].release)
	awaitStatus(t, cl, "health", func(s *client.Status) bool {
		n := s.Nodes[bad]
		return !n.Diverged && n.Divergence != nil && n.Divergence.HealedBy >= n.Divergence.At
	})
	calls := stop()
	if calls == 0 {
		t.Error("no calls")
	}
	awaitStatus(t, cl, "equal nodes", converged(3))
	v, err := direct.Query(ctx, "counter", "get")
	if got := one(t, v, err).(int64); got > int64(calls) || role == "follower" && got != int64(calls) {
		t.Errorf("%d after %d calls", got, calls)
	}
}

// keepCalling counts up through nodes until stop is called, which returns how many
// calls were made. While the leader diverges their outcome may be unknown.
func keepCalling(t *testing.T, addrs []string, diverges string) (stop func() int) {
	ctx := context.Background()
	enough, calls := make(chan struct{}), 0
	var caller sync.WaitGroup
	caller.Go(func() {
		cl, err := client.Dial(ctx, client.Config{Addrs: addrs, Timeout: patience})
		if err != nil {
			t.Error(err)
			return
		}
		defer cl.Close()
		for {
			select {
			case <-enough:
				return
			default:
			}
			calls++
			if _, err := cl.Call(ctx, "counter", "inc"); err != nil && (diverges == "follower" || client.CodeOf(err) != client.CodeTimeout) {
				t.Errorf("call %d: %v", calls, err)
				return
			}
		}
	})
	return func() int {
		close(enough)
		caller.Wait()
		return calls
	}
}

func statusOf(t *testing.T, cl *client.Client) *client.NodeStatus {
	t.Helper()
	s, err := cl.NodeStatus(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
