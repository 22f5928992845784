package replica

import (
	"errors"
	"testing"
)

// dumper is a leader that has just dumped: nothing is new.
type dumper struct {
	*one
	calls uint64
}

func newDumper(t *testing.T, when Config) *dumper {
	d := &dumper{one: newOne(t, 3)}
	d.lead()
	d.r.cfg.SnapshotEntries = 1
	d.applied()
	d.wantDumps("at the first entries", 1)
	d.dumped(nil)
	d.r.cfg.SnapshotEntries, d.r.cfg.SnapshotBytes, d.r.cfg.SnapshotIntervalMs = when.SnapshotEntries, when.SnapshotBytes, when.SnapshotIntervalMs
	return d
}

// call has a call committed and applied.
func (d *dumper) call() {
	d.calls++
	d.one.call(d.calls)
	d.take()
	d.ackAll(2)
	d.applied()
}

func (d *dumper) applied() {
	d.r.Done(Done{Applied: Applied{Index: d.r.Status().Commit}})
	d.take()
}

// dumped ends the dump under way.
func (d *dumper) dumped(err error) {
	d.r.Dumped(d.works[len(d.works)-1].Meta, err)
	d.works = nil
	d.take()
}

// wantDumps compares how many dumps were asked for since the last one ended.
func (d *dumper) wantDumps(when string, want int) {
	d.t.Helper()
	n := 0
	for _, w := range d.works {
		if w.Kind == WorkDump {
			n++
		}
	}
	if n != want {
		d.t.Fatalf("%s: %d dumps, want %d", when, n, want)
	}
}

func TestDumpAfterEntries(t *testing.T) {
	d := newDumper(t, Config{SnapshotEntries: 3})
	d.call()
	d.call()
	d.wantDumps("after two calls", 0)
	d.call()
	d.wantDumps("after three calls", 1)
	for range 4 {
		d.call()
	}
	d.wantDumps("while one is under way", 1)
	d.dumped(nil)
	d.call()
	d.wantDumps("after five calls beyond the dump", 1)
}

func TestDumpAfterBytes(t *testing.T) {
	d := newDumper(t, Config{})
	d.r.cfg.SnapshotBytes = d.r.raft.LogBytes() + 1
	d.ticks(1)
	d.wantDumps("one byte short", 0)
	d.call()
	d.wantDumps("after a call", 1)
}

// Periodically: a state that changes is dumped, one that does not is not again.
func TestDumpAfterTime(t *testing.T) {
	const ticks = 20
	d := newDumper(t, Config{SnapshotIntervalMs: ticks * TickMsDefault})
	d.call()
	d.ticks(ticks - 1)
	d.wantDumps("before the time", 0)
	d.ticks(1)
	d.wantDumps("at the time", 1)
	d.dumped(nil)
	d.ticks(5 * ticks)
	d.wantDumps("with nothing new", 0)
}

// A dump that failed, on a full disk say, is not tried again at once.
func TestDumpFails(t *testing.T) {
	d := newDumper(t, Config{SnapshotEntries: 1})
	d.call()
	d.wantDumps("after a call", 1)
	d.dumped(errors.New("no space"))
	d.call()
	d.ticks(dumpWaitMinMs/TickMsDefault - 1)
	d.wantDumps("before the pause is over", 0)
	d.ticks(1)
	d.wantDumps("after the pause", 1)
}
