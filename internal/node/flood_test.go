package node

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const spin = `local Spin = object "spin"
function Spin:init() end
function Spin.query:loop() while true do end end
`

// TestFloodDelaysItself: a client that sends queries without end in thousands
// does not keep others from being served, and is forgotten when it leaves.
func TestFloodDelaysItself(t *testing.T) {
	ctx := context.Background()
	n := startNode(t, Config{Name: "solo", Single: true})
	defer n.Kill()
	await(t, n)
	cl := dial(t, n)
	defer cl.Close()
	deploy(t, cl)
	if _, _, err := cl.Deploy(ctx, []command.Script{{Name: "spin.lua", Source: spin}}); err != nil {
		t.Fatal(err)
	}
	flood := dial(t, n)
	const queries = 5000 // minutes of work
	var ended atomic.Int64
	for range queries {
		flood.Do(wire.OpQuery, client.Stale, patience, command.AppendQuery(nil, "spin", "loop", nil),
			func(command.Result, error) { ended.Add(1) })
	}
	for queued := 0; queued < queries/2; {
		n.readers.mu.Lock()
		queued = n.readers.queued
		n.readers.mu.Unlock()
		runtime.Gosched()
	}
	for i := range 20 {
		if _, err := cl.Call(ctx, "counter", "inc"); err != nil {
			t.Fatal(err)
		}
		v, err := cl.Query(ctx, "counter", "get")
		if got := one(t, v, err); got != int64(i+1) {
			t.Fatalf("get gave %v", got)
		}
	}
	if ended.Load() == queries {
		t.Fatal("the flood was over before the others were served")
	}
	flood.Close()
	v, err := cl.Query(ctx, "counter", "get")
	if got := one(t, v, err); got != int64(20) {
		t.Fatalf("get gave %v", got)
	}
	n.readers.mu.Lock()
	defer n.readers.mu.Unlock()
	for from, c := range n.readers.clients {
		if len(c.reads) > readsTurnMax && !from.(gone).Gone() {
			t.Errorf("%d queries wait for a client that is here", len(c.reads))
		}
	}
}
