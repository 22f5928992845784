package replica

import (
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

// applyTicks plays the applier of a machine on which timers are due, and says
// how many ticks came, entry by entry.
func (o *one) applyTicks(due *int, done Applied) (ticks []int) {
	o.t.Helper()
	for len(o.works) > 0 {
		w := o.works[0]
		o.works = o.works[1:]
		if w.Kind != WorkApply || w.Entry.Kind != raft.EntryBatch {
			continue
		}
		d := codec.NewDecoder(w.Entry.Data)
		head, err := command.DecodeBatchHead(&d)
		if err != nil {
			o.t.Fatal(err)
		}
		ticks = append(ticks, head.Count)
		*due -= min(head.Count, *due)
		done.Index = w.Entry.Index
		done.NextTimer = 0
		if *due > 0 {
			done.NextTimer = 1
		}
		o.r.Done(Done{Applied: done})
		o.take()
		o.ackAll(2)
	}
	return ticks
}

// A tick fires one timer. While timers are left each entry has twice as many;
// none is proposed once none is due.
func TestTicksFollowTheTimers(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works = nil
	due := 1000
	o.r.Done(Done{Applied: Applied{Index: o.r.Applied().Index, NextTimer: 1}})
	o.ticks(1)
	o.ackAll(2)
	got := o.applyTicks(&due, Applied{})
	want := []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256}
	if len(got) != len(want) {
		t.Fatalf("entries of %v ticks, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("entries of %v ticks, want %v", got, want)
		}
	}
	o.ticks(20)
	o.ackAll(2)
	if more := o.applyTicks(&due, Applied{}); len(more) > 0 {
		t.Errorf("ticks without a timer: %v", more)
	}
}

// A tick that could not enter the log is proposed again.
func TestTickIsNotLost(t *testing.T) {
	o := newOne(t, 3)
	o.lead()
	o.works = nil
	o.r.unapplied = UnappliedBytesMax + 1
	o.r.Done(Done{Applied: Applied{Index: o.r.Applied().Index, NextTimer: 1}})
	o.ticks(3)
	o.r.unapplied = 0
	o.ticks(1)
	o.ackAll(2)
	due := 1
	if got := o.applyTicks(&due, Applied{}); len(got) != 1 {
		t.Errorf("ticks after the overload: %v", got)
	}
}
