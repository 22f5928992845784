package luafsm

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
)

const million = 1_000_000

// setBatches are entries of 1000 kv:set each that write keys of 12 bytes.
func setBatches(from int) (out [][]byte) {
	const n = 1000
	for i := 0; i < million; i += n {
		d := command.AppendBatchHead(nil, command.BatchHead{Clock: 1, Seed: 1, Count: n})
		for k := range n {
			d = codec.AppendBytes(d, command.AppendCall(nil, 0, 0, "kv", "set", args(fmt.Sprintf("key%09d", (i+k)*7919%million), from+i+k)))
		}
		out = append(out, d)
	}
	return out
}

// filledKV is a machine with a million keys of 12 bytes and numbers, the
// batches that overwrite them, and what an entry takes of memory.
func filledKV(b *testing.B) (r *rig, again [][]byte, bytesPerEntry float64) {
	b.Helper()
	r = newRig(b)
	r.mustDeploy("kv.lua", script(b, "kv.lua"))
	var before, after runtime.MemStats
	first := setBatches(million)
	runtime.GC()
	runtime.ReadMemStats(&before)
	r.run(first)
	runtime.GC()
	runtime.ReadMemStats(&after)
	return r, setBatches(2 * million), float64(after.HeapAlloc-before.HeapAlloc) / million
}

// run applies batches of 1000 and returns the longest time that one took.
func (r *rig) run(batches [][]byte) (longest time.Duration) {
	var res Results
	for _, d := range batches {
		res.Reset()
		start := time.Now()
		r.m.Apply(raft.Entry{Index: r.m.Index() + 1000, Span: 1000, Kind: raft.EntryBatch, Data: d}, &res)
		longest = max(longest, time.Since(start))
	}
	return longest
}

// cpu is the processor time that the process has used: on a machine that others
// use too, it says more than the clock.
func cpu() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMillion is the life of a million entries: memory, writes, dump and
// restore, and writes while a dump runs.
func BenchmarkMillion(b *testing.B) {
	r, again, size := filledKV(b)
	b.Run("set", func(b *testing.B) {
		start := cpu()
		n := 0
		for b.Loop() {
			r.run(again[:100])
			n += 100_000
		}
		b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(n), "cpu-ns/set")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/set")
		b.ReportMetric(size, "B/entry")
	})
	var dump bytes.Buffer
	b.Run("dump", func(b *testing.B) {
		v := r.m.Publish()
		defer v.Release()
		for b.Loop() {
			dump.Reset()
			if err := v.Dump(&dump); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	b.Run("restore", func(b *testing.B) {
		for b.Loop() {
			if _, err := Restore(bytes.NewReader(dump.Bytes()), Options{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
	})
	dump = bytes.Buffer{}
	single := make([][]byte, 300_000)
	for i := range single {
		single[i] = batch(1, 1, command.AppendCall(nil, 0, 0, "kv", "set", args(fmt.Sprintf("key%09d", i*104729%million), i)))
	}
	b.Run("setWhileDumping", func(b *testing.B) {
		for b.Loop() {
			whileDumping(b, r, single)
		}
	})
}

// whileDumping compares the rate of writes beside a dump with that of as many
// writes after it. Entries have one command here, as a stall is that of one call.
func whileDumping(b *testing.B, r *rig, single [][]byte) {
	const rounds = 15
	var res Results
	next := 0
	apply := func(on func(calls int) bool) (calls int, longest, took time.Duration) {
		begin := time.Now()
		last := begin
		for on(calls) {
			res.Reset()
			r.m.Apply(raft.Entry{Index: r.m.Index() + 1, Span: 1, Kind: raft.EntryBatch, Data: single[next%len(single)]}, &res)
			next++
			if calls++; calls%256 == 0 {
				runtime.Gosched() // as the node's applier does, every 16 KiB
			}
			now := time.Now()
			longest = max(longest, now.Sub(last))
			last = now
		}
		return calls, longest, last.Sub(begin)
	}
	var beside, alone, publish time.Duration
	var longest, longestAlone []float64 // µs, one of each round
	for range rounds {
		done := make(chan struct{})
		start := time.Now()
		v := r.m.Publish()
		publish = max(publish, time.Since(start))
		go func() {
			defer close(done)
			defer v.Release()
			if err := v.Dump(yielding{}); err != nil {
				b.Error(err)
			}
		}()
		n, most, took := apply(func(int) bool {
			select {
			case <-done:
				return false
			default:
				return true
			}
		})
		beside, longest = beside+took, append(longest, float64(most.Microseconds()))
		_, most, took = apply(func(calls int) bool { return calls < n })
		alone, longestAlone = alone+took, append(longestAlone, float64(most.Microseconds()))
	}
	b.ReportMetric(alone.Seconds()/beside.Seconds()*100, "%throughput")
	for name, of := range map[string][]float64{"µs-longest": longest, "µs-longest-alone": longestAlone} {
		slices.Sort(of)
		b.ReportMetric(of[rounds/2], name) // the median: of a round, which has one dump
		b.ReportMetric(of[rounds-1], name+"-max")
	}
	b.ReportMetric(float64(publish.Nanoseconds())/1000, "µs-publish")
}

// yielding discards what is written and lets others run, as the writer of a
// snapshot does.
type yielding struct{}

func (yielding) Write(p []byte) (int, error) {
	runtime.Gosched()
	return len(p), nil
}
