package node

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
)

const store = `local Store = object "store"
function Store:init() self.data = {} end
function Store.replicated:set(k, v) self.data[k] = v end
function Store.query:get(k) return self.data[k] end
`

// awaitStatus waits until the nodes' statuses are as wanted.
func awaitStatus(t *testing.T, cl *client.Client, what string, ok func(*client.Status) bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		s, err := cl.Status(context.Background())
		if err == nil && ok(s) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s: %+v %v", patience, what, s, err)
		}
		time.Sleep(TickInterval)
	}
}

func converged(nodes int) func(*client.Status) bool {
	return func(s *client.Status) bool {
		if !s.Healthy || len(s.Nodes) != nodes {
			return false
		}
		for _, n := range s.Nodes {
			if !n.Alive || n.Applied != s.Nodes[0].Applied || n.Digest != s.Nodes[0].Digest {
				return false
			}
		}
		return true
	}
}

// TestCatchUp: a node that was away while the log was compacted gets a
// snapshot; one with an empty directory joins as a learner, and becomes a voter
// when it is promoted (scenarios 46, 38).
func TestCatchUp(t *testing.T) {
	ctx := context.Background()
	addrs := freeAddrs(t, 4)
	var configs []Config
	nodes := make([]*Node, 4)
	for i, addr := range addrs {
		configs = append(configs, Config{
			Name: fmt.Sprintf("n%d", i+1), Addr: addr, Data: t.TempDir(), Expect: 3, Join: []string{addrs[(i+1)%3]}, SnapshotEntries: 50,
		})
	}
	configs[3].Expect = 0
	defer func() {
		for _, n := range nodes {
			if n != nil {
				n.Kill()
			}
		}
	}()
	for i := range 3 {
		nodes[i] = startNode(t, configs[i])
	}
	for i := range 3 {
		await(t, nodes[i])
	}
	cl, err := client.Dial(ctx, client.Config{Addrs: addrs[:3], Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if _, _, err := cl.Deploy(ctx, []command.Script{{Name: "store.lua", Source: store}}); err != nil {
		t.Fatal(err)
	}
	nodes[2].Kill()
	text := strings.Repeat("x", 128<<10)
	for i := range 200 { // more than the tail that is kept for slow followers
		if _, err := cl.Call(ctx, "store", "set", i%20, text); err != nil {
			t.Fatal(err)
		}
	}
	nodes[2] = startNode(t, configs[2])
	nodes[3] = startNode(t, configs[3])
	awaitStatus(t, cl, "four equal nodes", converged(4))
	s, err := cl.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range s.Nodes[2:] {
		if n.LogFirst < 10 {
			t.Logf("%s has its log from %d on", n.Name, n.LogFirst)
		}
	}
	if err := cl.Promote(ctx, idString(nodes[3].ID())); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, cl, "four voters", func(s *client.Status) bool { return s.Voters == 4 && converged(4)(s) })
	direct, err := client.Dial(ctx, client.Config{Addrs: []string{nodes[3].Addr()}, Timeout: patience,
		Dial: func(ctx context.Context, _ string) (net.Conn, error) { return nodes[3].Dial(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	defer direct.Close()
	v, err := direct.Query(ctx, "store", "get", 7)
	if got := one(t, v, err); got != text {
		t.Fatalf("get through the new node gave %.20v", got)
	}
	if err := cl.Remove(ctx, idString(nodes[3].ID())); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, cl, "three voters", func(s *client.Status) bool { return s.Voters == 3 && len(s.Nodes) == 3 })
}
