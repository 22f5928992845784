package replica

import (
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

// handed counts what it is given, and what the applier holds at that time.
type handed struct {
	a              *Applier
	answers, bytes int
	held           int
}

func (h *handed) Reply(_ uint64, result []byte) {
	h.answers++
	h.bytes += len(result)
	h.held = max(h.held, len(h.a.results.Buf), cap(h.a.results.Buf))
}

// The answers of one entry may be more than the memory holds: the applier has
// one at a time, whether somebody waits for it or not.
func TestAnswersAreHandedOutOneByOne(t *testing.T) {
	const calls, size = 200, 2 << 20
	m := luafsm.New(luafsm.Options{})
	a := NewApplier(m, nil)
	entry := func(cmds ...[]byte) Work {
		d := command.AppendBatchHead(nil, command.BatchHead{Clock: 1, Seed: 1, Count: len(cmds)})
		for _, c := range cmds {
			d = codec.AppendBytes(d, c)
		}
		return Work{Kind: WorkApply, Entry: raft.Entry{Index: m.Index() + raft.Index(len(cmds)), Term: 1, Span: uint32(len(cmds)), Kind: raft.EntryBatch, Data: d}}
	}
	var done Done
	w := entry(command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "big.lua", Source: `local Big = object "big"
function Big:init() self.s = ("x"):rep(2^21) end
function Big.replicated:run() return self.s end`}}))
	a.Do(&w, &done)
	var cmds [][]byte
	for range calls {
		cmds = append(cmds, command.AppendCall(nil, 0, 0, "big", "run", nil))
	}
	w = entry(cmds...)
	h := &handed{a: a}
	for i := range calls {
		w.Tickets = append(w.Tickets, Ticket{To: h, ID: uint64(i)})
	}
	a.Do(&w, &done)
	if h.answers != calls || h.bytes < calls*size {
		t.Errorf("%d answers of %d bytes", h.answers, h.bytes)
	}
	w = entry(cmds...) // a follower: nobody waits
	a.Do(&w, &done)
	if n := max(h.held, cap(a.results.Buf)); n > 2*size {
		t.Errorf("the applier holds %d bytes", n)
	}
}
