package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
)

// load increments the counter from several clients until it is stopped.
type load struct {
	acked, unknown, refused atomic.Int64
	cancel                  context.CancelFunc
	workers                 sync.WaitGroup
}

func (c *cluster) startLoad(clients int) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{cancel: cancel}
	for range clients {
		cl := c.dial(context.Background())
		l.workers.Go(func() {
			defer cl.Close()
			for ctx.Err() == nil {
				_, err := cl.Call(context.Background(), "counter", "inc", 1)
				switch code := client.CodeOf(err); {
				case err == nil:
					l.acked.Add(1)
				case code == client.CodeTimeout:
					l.unknown.Add(1)
				default:
					l.refused.Add(1)
				}
			}
		})
	}
	return l
}

func (l *load) stop() {
	l.cancel()
	l.workers.Wait()
}

// TestKillLeaderAndPower is the main job: three nodes that found each other by
// gossip, the leader killed under load several times, then the power of all.
func TestKillLeaderAndPower(t *testing.T) {
	c := newCluster(t, 3, "--snapshot-entries", "500")
	c.startAll()
	c.awaitHealthy(3)
	c.syncsh("deploy", "-c", c.nodes[0].addr, "../../scripts/counter.lua")
	for i, p := range c.nodes {
		want := fmt.Sprint(i + 1)
		if got := c.syncsh("call", "-c", p.addr, "counter", "inc"); got != want {
			t.Fatalf("counter:inc() through %s: %s, want %s", p.name, got, want)
		}
		if got := c.syncsh("call", "-c", p.addr, "counter", "get"); got != want {
			t.Fatalf("counter:get() through %s: %s, want %s", p.name, got, want)
		}
	}
	l := c.startLoad(6)
	for round := range 3 {
		before := l.acked.Load()
		c.await("progress before a kill", func() bool { return l.acked.Load() > before+200 })
		s := c.awaitHealthy(3)
		leader := c.node(s.Leader)
		leader.kill()
		t.Logf("round %d: killed %s in term %d after %d acknowledged calls", round, leader.name, s.Term, l.acked.Load())
		before = l.acked.Load()
		c.await("progress without the killed leader", func() bool { return l.acked.Load() > before+100 })
		leader.start(t)
		c.awaitHealthy(3)
	}
	l.stop()
	value := c.counter()
	t.Logf("acknowledged %d, unknown %d, refused %d, counter %d", l.acked.Load(), l.unknown.Load(), l.refused.Load(), value)
	// Sessions: every call was answered, and happened once.
	if want := l.acked.Load() + int64(len(c.nodes)); value != want || l.unknown.Load() != 0 {
		t.Fatalf("counter is %d after %d acknowledged and %d unknown calls: want %d, and none unknown", value, l.acked.Load(), l.unknown.Load(), want)
	}
	c.awaitEqual(3)

	for _, p := range c.nodes {
		p.kill()
	}
	c.startAll()
	c.awaitHealthy(3)
	if again := c.counter(); again != value {
		t.Fatalf("counter is %d after the power was gone, was %d", again, value)
	}
	c.awaitEqual(3)
}

// counter reads the counter's value.
func (c *cluster) counter() int64 {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl := c.dial(ctx)
	defer cl.Close()
	v, err := cl.Query(ctx, "counter", "get")
	if err != nil {
		c.t.Fatal(err)
	}
	return v[0].(int64)
}

// lastIndex is the end of the log in the data directory of a node that does not
// run.
func (c *cluster) lastIndex(p *process) uint64 {
	c.t.Helper()
	var held struct {
		Log struct {
			Last uint64 `json:"last"`
		} `json:"log"`
	}
	if err := json.Unmarshal([]byte(c.syncsh("inspect", "--json", p.data)), &held); err != nil || held.Log.Last == 0 {
		c.t.Fatalf("inspect %s: last index %d, %v", p.data, held.Log.Last, err)
	}
	return held.Log.Last
}

// TestSnapshotCatchUpAndJoin: a node whose log was compacted away on the others
// catches up from a snapshot, and a new one with an empty directory joins.
func TestSnapshotCatchUpAndJoin(t *testing.T) {
	c := newCluster(t, 3, "--snapshot-entries", "100")
	c.startAll()
	c.awaitHealthy(3)
	c.syncsh("deploy", "-c", c.nodes[0].addr, "../../scripts/kv.lua")
	away := c.nodes[2]
	away.kill()
	last := c.lastIndex(away)
	c.awaitHealthy(2)

	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	cl := c.dial(ctx)
	defer cl.Close()
	// More than the tail of the log that a leader keeps for slow followers.
	text := strings.Repeat("x", 64<<10)
	const keys = 400
	for i := range keys {
		if _, err := cl.Call(ctx, "kv", "set", fmt.Sprintf("k%d", i%50), fmt.Sprintf("%d%s", i, text)); err != nil {
			t.Fatal(err)
		}
	}
	c.await("the log to be compacted", func() bool {
		// A leader that believed the killed node alive at its last dump keeps the
		// tail for it until the next one.
		for range 20 {
			if _, err := cl.Call(ctx, "kv", "set", "more", text); err != nil {
				t.Fatal(err)
			}
		}
		s := c.status()
		if s == nil {
			return false
		}
		compacted := 0
		for _, n := range s.Nodes {
			if n.Alive && n.LogFirst > last+1 { // the entry that away needs next is gone
				compacted++
			}
		}
		return compacted == 2
	})
	away.start(t)
	c.awaitEqual(3)
	const installed = "snapshot of the leader installed"
	if !strings.Contains(away.logText(), installed) {
		t.Fatalf("%s caught up without a snapshot", away.name)
	}

	joined := c.add(ports(t, 1)[0], "--join", c.nodes[0].addr)
	joined.start(t)
	s := c.awaitEqual(4)
	for _, n := range s.Nodes {
		if n.Name == joined.name && n.Role != "learner" {
			t.Fatalf("%s joined as %s, want learner", n.Name, n.Role)
		}
	}
	if !strings.Contains(joined.logText(), installed) {
		t.Fatalf("%s was filled up without a snapshot", joined.name)
	}
	want := fmt.Sprintf("%d%s", keys-1, text)
	if got := c.syncsh("call", "-c", joined.addr, "kv", "get", "k49"); got != want {
		t.Fatalf("kv:get through the new node: %.20s..., want %.20s...", got, want)
	}
	if got := c.syncsh("call", "-c", joined.addr, "kv", "set", "from", "n4"); got != "" && got != "nil" {
		t.Fatalf("kv:set through the new node printed %q", got)
	}
	c.awaitEqual(4)

	c.syncsh("member", "promote", joined.name, "-c", c.nodes[0].addr)
	if s := c.awaitEqual(4); s.Voters != 4 {
		t.Fatalf("%d voters after the promotion, want 4", s.Voters)
	}
	c.syncsh("transfer", joined.name, "-c", c.nodes[0].addr)
	c.await("the new node to lead", func() bool { s := c.status(); return s != nil && s.Leader == joined.name })
	c.syncsh("member", "remove", away.name, "-c", c.nodes[0].addr)
	away.kill()
	c.await("three voters", func() bool { s := c.status(); return s != nil && s.Healthy && s.Voters == 3 && len(s.Nodes) == 3 })
}

// TestPlannedStop: SIGTERM hands leadership over and ends with 0 (scenario 45).
func TestPlannedStop(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	s := c.awaitHealthy(3)
	leader := c.node(s.Leader)
	if code := leader.stop(t); code != 0 {
		t.Fatalf("exit code %d after SIGTERM, want 0", code)
	}
	after := c.awaitHealthy(2)
	if after.Leader == leader.name {
		t.Fatalf("%s leads after it was stopped", leader.name)
	}
	leader.start(t)
	c.awaitHealthy(3)
	c.awaitEqual(3)
}

// TestAsyncAndMemory: the other durability modes form a cluster and serve.
func TestAsyncAndMemory(t *testing.T) {
	for _, mode := range []string{"async", "memory"} {
		t.Run(mode, func(t *testing.T) {
			c := newCluster(t, 3, "--durability", mode)
			c.startAll()
			c.awaitHealthy(3)
			c.syncsh("deploy", "-c", c.nodes[1].addr, "../../scripts/counter.lua")
			l := c.startLoad(2)
			c.await("progress", func() bool { return l.acked.Load() > 100 })
			l.stop()
			if got := c.counter(); got != l.acked.Load()+l.unknown.Load() {
				t.Fatalf("counter is %d after %d calls", got, l.acked.Load())
			}
			c.awaitEqual(3)
			if mode == "memory" {
				c.comesBackAsAnother(c.nodes[0])
				if got := c.counter(); got != l.acked.Load()+l.unknown.Load() {
					t.Fatalf("counter is %d after a restart, %d calls were acknowledged", got, l.acked.Load())
				}
				return
			}
			for _, p := range c.nodes {
				p.kill() // the machine stays up, so nothing that was written is lost
			}
			c.startAll()
			c.awaitHealthy(3)
			if got := c.counter(); got != l.acked.Load() {
				t.Fatalf("counter is %d after a restart, was %d", got, l.acked.Load())
			}
		})
	}
}

// comesBackAsAnother ends a node that has only memory and starts it again: it has
// another id and is a learner, the old id is a voter that is down until an operator
// removes it.
func (c *cluster) comesBackAsAnother(p *process) {
	c.t.Helper()
	old := ""
	for _, n := range c.awaitEqual(3).Nodes {
		if n.Name == p.name {
			old = n.ID
		}
	}
	p.kill()
	p.start(c.t)
	c.await("the node under another id", func() bool {
		s := c.status()
		if s == nil || !s.Healthy || s.Voters != 3 || len(s.Nodes) != 4 {
			return false
		}
		for _, n := range s.Nodes {
			if n.Name == p.name && n.ID != old {
				if n.Role != "learner" {
					c.t.Fatalf("%s came back as %s, want learner", p.name, n.Role)
				}
				return n.Alive && n.Applied == s.Index.Applied
			}
		}
		return false
	})
	c.syncsh("member", "remove", old, "-c", c.nodes[1].addr)
	c.syncsh("member", "promote", p.name, "-c", c.nodes[1].addr)
	c.await("three voters", func() bool { s := c.status(); return s != nil && s.Healthy && s.Voters == 3 && len(s.Nodes) == 3 })
	c.awaitEqual(3)
}

// TestFailover reports how long a cluster is without a leader after kill -9. The
// time is logged, not asserted.
func TestFailover(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	c.awaitHealthy(3)
	c.syncsh("deploy", "-c", c.nodes[0].addr, "../../scripts/counter.lua")
	s := c.awaitHealthy(3)
	leader := c.node(s.Leader)
	var others []string
	for _, p := range c.nodes {
		if p != leader {
			others = append(others, p.addr)
		}
	}
	ctx := context.Background()
	cl, err := client.Dial(ctx, client.Config{Addrs: others, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, err := cl.Call(ctx, "counter", "inc"); err != nil {
		t.Fatal(err)
	}
	leader.kill()
	killed := time.Now()
	for {
		_, err := cl.Call(ctx, "counter", "inc")
		if err == nil {
			break
		}
		if client.CodeOf(err) != client.CodeTimeout {
			t.Fatal(err)
		}
	}
	t.Logf("first acknowledged call %v after kill -9 of the leader", time.Since(killed).Round(time.Millisecond))
}

// TestStatusWithoutLeader: what tells of a cluster needs no leader and exits with
// 0; what needs one exits with 3.
func TestStatusWithoutLeader(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll()
	c.awaitHealthy(3)
	c.syncsh("deploy", "-c", c.connect(), "counter")
	c.awaitEqual(3) // the node that is left has the deploy
	for _, p := range c.nodes[1:] {
		p.kill()
	}
	last := c.nodes[0]
	c.await("no leader", func() bool {
		return strings.Contains(c.syncsh("status", "--timeout", "2s", "-c", last.addr), "NOT HEALTHY: no leader")
	})
	if out := c.syncsh("members", "-c", last.addr); strings.Count(out, "voter") != 3 {
		t.Errorf("members: %s", out)
	}
	err := exec.Command(binary, "call", "--timeout", "1s", "-c", last.addr, "counter", "inc").Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 3 {
		t.Errorf("a call: %v, want exit code 3", err)
	}
}
