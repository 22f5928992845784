package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/wire"
)

// Long work shows how far it is, on a terminal and not to programs.
func TestBars(t *testing.T) {
	data := t.TempDir()
	nodes := nodesIn(t, 1, func(c *node.Config) { c.Data = filepath.Join(data, "n1") })
	cl := dialNode(t, nodes[0])
	if _, err := cl.Call(context.Background(), "kv", "set", "k", strings.Repeat("x", 100_000)); err != nil {
		t.Fatal(err)
	}
	addr, file := nodes[0].Addr(), filepath.Join(data, "b.snap")

	p, cmd := sit(t, "backup", "-c", addr, file)
	p.sees("backup  the node takes a dump")
	p.sees("backup  [########################]  100%  ")
	p.sees("b.snap: the state after index")
	p.leaves(cmd)
	p, cmd = sit(t, "bench", "-c", addr, "--clients", "1", "--pipeline", "1", "--duration", "1s")
	p.sees("bench  [")
	p.sees(" of 1 s  ")
	p.sees("calls/s")
	p.leaves(cmd)
	p, cmd = sit(t, "restore", file, "--data", filepath.Join(data, "r1"), "--name", "r1")
	p.sees("check  [########################]  100%  ")
	p.sees("restore  [########################]  100%  ")
	p.sees("/r1: the state after index")
	p.leaves(cmd)
	p, cmd = sit(t, "verify", file)
	p.sees("verify  [########################]  100%  ")
	p.sees("b.snap: ok\n")
	p.leaves(cmd)
	nodes[0].Kill()
	p, cmd = sit(t, "verify", filepath.Join(data, "n1"))
	p.sees("verify  [########################]  100%  ")
	p.sees("/n1: ok, ")
	p.leaves(cmd)
	p, cmd = sit(t, "recover", "--data", filepath.Join(data, "n1"), "--force-new-cluster", "--yes")
	p.sees("look  ")
	p.sees("recover  [")
	p.sees("new cluster ")
	p.leaves(cmd)

	p, cmd = sit(t, "restore", file, "--data", filepath.Join(data, "r2"), "--name", "r2", "--json")
	if all := p.leaves(cmd); !strings.HasPrefix(all, "{") || strings.Contains(all, "%") {
		t.Errorf("--json writes %q", all)
	}
	p, cmd = sit(t, "verify", file, "--json")
	if all := p.leaves(cmd); !strings.HasPrefix(all, "{") || strings.Contains(all, "%") {
		t.Errorf("--json writes %q", all)
	}
}

// A node that joins shows how much of the leader's snapshot has arrived.
func TestBarOfJoin(t *testing.T) {
	nodes := nodesIn(t, 1, func(c *node.Config) { c.SnapshotEntries = 4 })
	cl := dialNode(t, nodes[0])
	for i := range 24 { // more than the log keeps behind a snapshot
		if _, err := cl.Call(context.Background(), "kv", "set", fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 500_000)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cl.Exec(context.Background(), wire.OpSnapshot, client.Stale, nil); err != nil {
		t.Fatal(err)
	}
	p, cmd := sit(t, "node", "--name", "n2", "--addr", "127.0.0.1:0", "--join", nodes[0].Addr())
	p.sees("snapshot of the leader  [")
	p.sees("100%")
	p.sees("msg=ready")
	cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // it runs
	p.leaves(cmd)
}
