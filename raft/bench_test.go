package raft

import "testing"

// bench is a cluster in one process whose disks are instant.
type bench struct {
	members []*Raft
	applied Index
	queue   []Message
}

func newBench(b *testing.B, voters int) *bench {
	var c Configuration
	for i := 1; i <= voters; i++ {
		c.Members = append(c.Members, Member{ID: ID(i), Role: Voter})
	}
	w := &bench{}
	for i := 1; i <= voters; i++ {
		r, err := New(Config{ID: ID(i)}, Initial{HardState: HardState{Term: 1, Commit: 1}, Entries: []Entry{Bootstrap(c)}})
		if err != nil {
			b.Fatal(err)
		}
		w.members = append(w.members, r)
	}
	for w.members[0].State() != Leader {
		w.members[0].Tick()
		w.settle()
	}
	return w
}

// settle carries everything out until nothing is left to do.
func (w *bench) settle() {
	for busy := true; busy; {
		busy = false
		for i, r := range w.members {
			if !r.HasOutput() {
				continue
			}
			busy = true
			out := r.Output()
			if !out.Save.Empty() {
				r.Stored(out.Save.LSN)
			}
			w.queue = append(w.queue, out.Messages...)
			if n := len(out.Committed); n > 0 {
				i0 := out.Committed[n-1].Index
				r.Applied(i0)
				if i == 0 {
					w.applied = i0
				}
			}
		}
		for _, m := range w.queue {
			_ = w.members[m.To-1].Step(m)
		}
		w.queue = w.queue[:0]
	}
}

// BenchmarkReplicate commits entries of 64 calls on three members, 16 entries an
// Output, compacting now and then.
func BenchmarkReplicate(b *testing.B) {
	const span, batch = 64, 16
	w := newBench(b, 3)
	data := make([]byte, span*32)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n++ {
		for range batch {
			if _, _, _, err := w.members[0].Propose(data, span); err != nil {
				b.Fatal(err)
			}
		}
		w.settle()
		if n%512 == 511 {
			for _, r := range w.members {
				c, t, _ := r.ConfigAt(r.applied)
				r.Compact(SnapshotMeta{Index: r.applied, Term: t, Config: c, Bytes: 1})
			}
		}
	}
	b.ReportMetric(float64(b.N*batch*span)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "entries/s")
}

// BenchmarkOneByOne commits one entry of one call at a time.
func BenchmarkOneByOne(b *testing.B) {
	w := newBench(b, 3)
	data := make([]byte, 32)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n++ {
		if _, _, _, err := w.members[0].Propose(data, 1); err != nil {
			b.Fatal(err)
		}
		w.settle()
		if n%8192 == 8191 {
			for _, r := range w.members {
				c, t, _ := r.ConfigAt(r.applied)
				r.Compact(SnapshotMeta{Index: r.applied, Term: t, Config: c, Bytes: 1})
			}
		}
	}
}
