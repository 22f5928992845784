package replica

import (
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// upgradesProposed are the versions that entries since the last time ask for.
func (o *one) upgradesProposed() (out []int) {
	o.t.Helper()
	o.ackAll(2)
	for _, w := range o.works {
		if w.Kind != WorkApply || w.Entry.Kind != raft.EntryBatch {
			continue
		}
		d := codec.NewDecoder(w.Entry.Data)
		head, err := command.DecodeBatchHead(&d)
		if err != nil {
			o.t.Fatal(err)
		}
		for range head.Count {
			b, err := d.Bytes()
			if err != nil {
				o.t.Fatal(err)
			}
			if to, ok := command.DecodeUpgrade(b); ok {
				out = append(out, to)
			}
		}
	}
	o.works = nil
	return out
}

// reignOn passes a tick in which 2 goes on following.
func (o *one) reignOn() {
	o.t.Helper()
	o.ticks(1)
	for _, m := range o.messages {
		if m.To == 2 && m.Kind == raft.MsgHeartbeat {
			o.step(raft.Message{Kind: raft.MsgHeartbeatReply, From: 2, Term: m.Term, Stream: m.Stream, Round: m.Round})
		}
	}
	o.ackAll(2)
}

func (o *one) runs(from raft.ID, version int) {
	o.t.Helper()
	if err := o.r.Step(wire.PeerMessage{From: from, Runs: &wire.Runs{Machine: version}}, nil); err != nil {
		o.t.Fatal(err)
	}
}

func (o *one) wantUpgrades(what string, ticks int, want ...int) {
	o.t.Helper()
	for range ticks {
		o.reignOn()
	}
	got := o.upgradesProposed()
	for _, v := range got {
		if len(want) == 0 || v != want[0] {
			o.t.Errorf("%s: proposed %v, want %v", what, got, want)
			return
		}
	}
	if len(got) == 0 && len(want) > 0 {
		o.t.Errorf("%s: proposed none, want %v", what, want)
	}
}

// The leader raises the machine's version when every member has said lately
// that its program runs it, and not before.
func TestUpgradeWhenAllRunIt(t *testing.T) {
	o := newOne(t, 3)
	o.r.cfg.Runs = 3
	o.lead()
	o.r.Done(Done{Applied: Applied{Index: o.r.Applied().Index, Version: 1}})
	o.upgradesProposed()

	o.wantUpgrades("nobody has said anything", 2*runsTicks)
	o.runs(2, 3)
	o.wantUpgrades("one is silent", runsTicks)
	o.runs(9, 3) // a stranger
	o.wantUpgrades("a stranger", runsTicks)
	o.runs(2, 3)
	o.runs(3, 1)
	o.wantUpgrades("one runs an old program", runsTicks)
	o.runs(2, 3)
	o.runs(3, 2)
	o.wantUpgrades("all run 2", runsTicks, 2)
	o.r.Done(Done{Applied: Applied{Index: o.r.Applied().Index, Version: 2}})
	o.runs(2, 3)
	o.runs(3, 2)
	o.wantUpgrades("2 is in force", runsTicks)
	o.runs(3, 3)
	for range runsFreshTicks + 1 {
		o.runs(2, 3)
		o.reignOn()
	}
	o.upgradesProposed()
	o.runs(2, 3)
	o.wantUpgrades("a word is old", runsTicks)
}

// A follower tells the leader, and only the leader.
func TestFollowerTellsWhatItRuns(t *testing.T) {
	o := newOne(t, 3)
	o.r.cfg.Runs = 7
	o.follow()
	o.peer = nil
	for range runsTicks {
		o.step(raft.Message{Kind: raft.MsgHeartbeat, From: 2, Term: o.r.Term()})
		o.ticks(1)
	}
	told := 0
	for _, p := range o.peer {
		if p.Msg.Runs == nil {
			continue
		}
		if told++; p.To != 2 || p.Msg.Runs.Machine != 7 {
			t.Errorf("told %d that it runs %d", p.To, p.Msg.Runs.Machine)
		}
	}
	if told == 0 {
		t.Error("told nobody")
	}
	o.runs(2, 9) // it is no leader: of no use
	if len(o.r.upgrades.heard) != 0 {
		t.Error("a follower keeps what others run")
	}
}
