package node

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/replica"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// TestNewerMachineStops: a node whose program is older than the machine version
// that the log asks for stops instead of going on with another semantics.
func TestNewerMachineStops(t *testing.T) {
	upgrade := command.AppendBatchHead(nil, command.BatchHead{Clock: 1, Count: 1})
	upgrade = codec.AppendBytes(upgrade, command.AppendUpgrade(nil, luafsm.MachineVersion+1))
	n := startNode(t, Config{Name: "old", Single: true, Logger: slog.New(slog.DiscardHandler), onWork: func(w *replica.Work) {
		if w.Kind == replica.WorkApply && w.Entry.Kind == raft.EntryBatch {
			w.Entry.Data, w.Entry.Span, w.Tickets = upgrade, 1, nil
		}
	}})
	await(t, n)
	cl := dial(t, n)
	defer cl.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go cl.Deploy(ctx, []command.Script{{Name: "counter.lua", Source: counter}}) //nolint:errcheck // it never gets an answer
	select {
	case <-n.Done():
	case <-time.After(patience):
		n.Kill()
		t.Fatal("the node went on")
	}
	if !errors.Is(n.Err(), luafsm.ErrVersion) {
		t.Fatalf("the node stopped with %v", n.Err())
	}
}
