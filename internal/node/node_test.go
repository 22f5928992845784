package node

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"go.uber.org/goleak"
)

const patience = 30 * time.Second

const counter = `local Counter = object "counter"
function Counter:init() self.value = 0 end
function Counter.replicated:inc(by) self.value = self.value + (by or 1) return self.value end
function Counter.query:get() return self.value end
`

func testLogger(t *testing.T) *slog.Logger {
	level := slog.LevelWarn
	if os.Getenv("SYNCSH_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: level}))
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

func startNode(t *testing.T, cfg Config) *Node {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = testLogger(t)
	}
	n, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// startThree starts three nodes with data directories, which found a cluster, and
// waits until they serve; they are killed at the end of the test. each, which may
// be nil, changes the configurations.
func startThree(t *testing.T, each func(i int, cfg *Config)) (nodes []*Node, addrs []string) {
	t.Helper()
	addrs = freeAddrs(t, 3)
	for i, addr := range addrs {
		cfg := Config{Name: fmt.Sprintf("n%d", i+1), Addr: addr, Data: t.TempDir(), Expect: 3, Join: []string{addrs[(i+1)%3]}}
		if each != nil {
			each(i, &cfg)
		}
		n := startNode(t, cfg)
		t.Cleanup(n.Kill)
		nodes = append(nodes, n)
	}
	for _, n := range nodes {
		await(t, n)
	}
	return nodes, addrs
}

func await(t *testing.T, n *Node) {
	t.Helper()
	select {
	case <-n.Ready():
	case <-n.Done():
		t.Fatalf("node stopped: %v", n.Err())
	case <-time.After(patience):
		t.Fatalf("node %s not ready", n.Name())
	}
}

func dial(t *testing.T, n *Node) *client.Client {
	t.Helper()
	cl, err := client.Dial(context.Background(), client.Config{
		Addrs:   []string{n.Name()},
		Timeout: patience,
		Dial:    func(ctx context.Context, _ string) (net.Conn, error) { return n.Dial(ctx) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func deploy(t *testing.T, cl *client.Client) {
	t.Helper()
	deployNamed(t, cl, "counter.lua", counter)
}

func deployNamed(t *testing.T, cl *client.Client, name, source string) {
	t.Helper()
	if _, _, err := cl.Deploy(context.Background(), []command.Script{{Name: name, Source: source}}); err != nil {
		t.Fatal(err)
	}
}

func one(t *testing.T, v []any, err error) any {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != 1 {
		t.Fatalf("%d values: %v", len(v), v)
	}
	return v[0]
}

func stop(t *testing.T, n *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestSingle: a node of its own serves, in memory and on disk, and finds its
// state again, from the log and from a snapshot.
func TestSingle(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent()) // what earlier tests leave behind is theirs
	ctx := context.Background()
	for _, durability := range []string{"memory", "fsync", "async"} {
		t.Run(durability, func(t *testing.T) {
			cfg := Config{Name: "solo", Single: true, Durability: durability, Data: t.TempDir()}
			n := startNode(t, cfg)
			await(t, n)
			cl := dial(t, n)
			deploy(t, cl)
			for i := range 10 {
				v, err := cl.Call(ctx, "counter", "inc", 2)
				if got := one(t, v, err); got != int64(2*i+2) {
					t.Fatalf("inc gave %v", got)
				}
			}
			v, err := cl.Query(ctx, "counter", "get")
			if got := one(t, v, err); got != int64(20) {
				t.Fatalf("get gave %v", got)
			}
			cl.Close()
			stop(t, n)
			if durability == "memory" {
				return
			}
			for round := range 3 {
				n := startNode(t, cfg)
				await(t, n)
				cl := dial(t, n)
				v, err := cl.Query(ctx, "counter", "get")
				if got := one(t, v, err); got != int64(20+round) {
					t.Fatalf("round %d: get gave %v", round, got)
				}
				if _, err := cl.Call(ctx, "counter", "inc"); err != nil {
					t.Fatal(err)
				}
				if round == 1 {
					if _, err := cl.Snapshot(ctx); err != nil {
						t.Fatal(err)
					}
				}
				cl.Close()
				if round == 0 {
					n.Kill()
				} else {
					stop(t, n)
				}
			}
		})
	}
}

// freeAddrs returns loopback addresses whose TCP and UDP ports are free.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for len(addrs) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		defer u.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

// TestThree: three nodes find each other by gossip and serve through each.
func TestThree(t *testing.T) {
	ctx := context.Background()
	nodes, _ := startThree(t, nil)
	cl := dial(t, nodes[0])
	deploy(t, cl)
	cl.Close()
	for i, n := range nodes {
		cl := dial(t, n)
		v, err := cl.Call(ctx, "counter", "inc")
		if got := one(t, v, err); got != int64(i+1) {
			t.Fatalf("inc through %s gave %v", n.Name(), got)
		}
		v, err = cl.Query(ctx, "counter", "get")
		if got := one(t, v, err); got != int64(i+1) {
			t.Fatalf("get through %s gave %v", n.Name(), got)
		}
		cl.Close()
	}
}

// roles keeps the roles that nodes logged.
type roles struct {
	slog.Handler
	mu   sync.Mutex
	seen []string
}

func (r *roles) Handle(_ context.Context, record slog.Record) error {
	if record.Message != "role" {
		return nil
	}
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == "role" {
			r.mu.Lock()
			r.seen = append(r.seen, a.Value.String())
			r.mu.Unlock()
		}
		return true
	})
	return nil
}

func (r *roles) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.seen) == 0 {
		return ""
	}
	return r.seen[len(r.seen)-1]
}

func (r *roles) Enabled(context.Context, slog.Level) bool { return true }
func (r *roles) WithAttrs([]slog.Attr) slog.Handler       { return r }

// TestStopHandsOver: a leader that is told to stop is a follower before it is
// gone (scenario 45), so that nobody waits for an election timeout. With leases
// that would take longer, and lease reads work meanwhile.
func TestStopHandsOver(t *testing.T) {
	var logs []*roles
	nodes, _ := startThree(t, func(_ int, cfg *Config) {
		r := &roles{}
		logs = append(logs, r)
		cfg.LeaseReads, cfg.Logger = true, slog.New(r)
	})
	ctx := context.Background()
	cl := dial(t, nodes[0])
	deploy(t, cl)
	for i := range 20 {
		if _, err := cl.Call(ctx, "counter", "inc"); err != nil {
			t.Fatal(err)
		}
		for _, mode := range []client.Mode{client.Lease, client.Bounded(time.Nanosecond), client.Linearizable} {
			v, err := cl.Reading(mode).Query(ctx, "counter", "get")
			if got := one(t, v, err); got != int64(i+1) {
				t.Fatalf("%v read gave %v, want %d", mode, got, i+1)
			}
		}
	}
	cl.Close()
	i := slices.IndexFunc(logs, func(r *roles) bool { return r.last() == "leader" })
	if i < 0 {
		t.Fatal("nobody leads")
	}
	stop(t, nodes[i])
	if last := logs[i].last(); last != "follower" {
		t.Errorf("the leader was stopped as %s", last)
	}
}

// TestRefusedStarts: what a node can't be started with changes nothing and is
// said in one line.
func TestRefusedStarts(t *testing.T) {
	data := t.TempDir()
	n := startNode(t, Config{Name: "a", Single: true, Data: data})
	await(t, n)
	quiet := slog.New(slog.DiscardHandler)
	if _, err := Start(Config{Name: "a", Single: true, Data: data, Logger: quiet}); err == nil || !strings.Contains(err.Error(), data) {
		t.Errorf("second process on one directory: %v", err)
	}
	stop(t, n)
	if _, err := Start(Config{Name: "a", Single: true, Data: data, Durability: "memory", Logger: quiet}); err == nil || !strings.Contains(err.Error(), data) {
		t.Errorf("a log with durability memory: %v", err)
	}
	if _, err := Start(Config{Name: "b", Single: true, Data: data, Logger: quiet}); err == nil || !strings.Contains(err.Error(), `"a"`) {
		t.Errorf("another node's directory: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Start(Config{Name: "c", Addr: l.Addr().String(), Logger: quiet}); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Errorf("port in use: %v", err)
	}
	for _, bad := range []Config{{}, {Name: "x"}, {Name: "x", Addr: "nonsense"}, {Name: "x", Addr: ":0", Durability: "maybe"},
		{Name: "x", Addr: "127.0.0.1:0", Key: []byte("short")}} {
		if _, err := Start(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

// TestNewAddresses: all nodes stop and come back in another order with new
// addresses; the log knows the old ones, gossip the new (scenario 64).
func TestNewAddresses(t *testing.T) {
	ctx := context.Background()
	var data []string
	for range 3 {
		data = append(data, t.TempDir())
	}
	for round, order := range [][]int{{0, 1, 2}, {2, 0, 1}} {
		addrs := freeAddrs(t, 3)
		nodes := make([]*Node, 3)
		for _, i := range order {
			nodes[i] = startNode(t, Config{
				Name: fmt.Sprintf("n%d", i+1), Addr: addrs[i], Data: data[i], Expect: 3, Join: []string{addrs[(i+1)%3]},
			})
		}
		for _, n := range nodes {
			await(t, n)
		}
		cl := dial(t, nodes[0])
		if round == 0 {
			deploy(t, cl)
		}
		v, err := cl.Call(ctx, "counter", "inc")
		if got := one(t, v, err); got != int64(round+1) {
			t.Errorf("inc in round %d gave %v", round, got)
		}
		cl.Close()
		for _, n := range nodes {
			n.Kill()
		}
	}
}
