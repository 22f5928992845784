//go:build unix

package e2e

import (
	"context"
	"net"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/client"
)

// TestLeaseOfAPausedLeader: a leader that is stopped by a signal while another one
// is elected and a call acknowledged, and that wakes with lease reads in its
// socket, answers none of them from before that call (scenario 32).
func TestLeaseOfAPausedLeader(t *testing.T) {
	c := newCluster(t, 3, "--lease-reads")
	c.startAll()
	c.syncsh("deploy", "-c", c.awaitHealthy(3).Nodes[0].Addr, "../../scripts/counter.lua")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for round := range 3 {
		leader := c.node(c.awaitHealthy(3).Leader)
		var others []string
		for _, p := range c.nodes {
			if p != leader {
				others = append(others, p.addr)
			}
		}
		at := func(addrs []string, dial func(context.Context, string) (net.Conn, error)) *client.Client {
			cl, err := client.Dial(ctx, client.Config{Addrs: addrs, Timeout: patience, Mode: client.Lease, Dial: dial})
			if err != nil {
				t.Fatal(err)
			}
			return cl
		}
		reader := at([]string{leader.addr}, func(ctx context.Context, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", leader.addr) // never another
		})
		writer := at(others, nil)
		if _, err := writer.Call(ctx, "counter", "inc"); err != nil {
			t.Fatal(err)
		}
		if v, err := reader.Query(ctx, "counter", "get"); err != nil || v[0] != int64(2*round+1) {
			t.Fatalf("read by lease: %v, %v", v, err)
		}
		if err := leader.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		v, err := writer.Call(ctx, "counter", "inc")
		if err != nil {
			t.Fatal(err)
		}
		const reads = 20
		got := make(chan any, reads)
		for range reads {
			go func() {
				v, err := reader.Query(ctx, "counter", "get")
				if err != nil {
					got <- err
					return
				}
				got <- v[0]
			}()
		}
		if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for range reads {
			if g := <-got; g != v[0] {
				t.Errorf("round %d: a read of the leader that was paused gave %v, %v was acknowledged before", round, g, v[0])
			}
		}
		reader.Close()
		writer.Close()
	}
}
