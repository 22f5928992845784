package persist

import (
	"errors"
	"fmt"
	"math/rand"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// These tests go through storage exhaustively. In full, with -everything, they
// are `make storage`; `make test` takes every 101st byte and bit, and every
// prefix of one workload.

// fullLog is a log of one segment of 64 KiB, full of records that were all
// synced one by one.
type fullLog struct {
	fs      *MemFS
	opt     Options
	path    string
	bytes   []byte
	entries []raft.Entry // one a record
	at      []int64      // offset of each record
	end     int64        // behind the last one
}

const fullLogBytes = 64 << 10

func buildFullLog(t testing.TB) *fullLog {
	t.Helper()
	x := &fullLog{fs: NewMemFS(), path: filepath.Join(testPath, segmentName(1))}
	x.opt = Options{FS: x.fs, SegmentBytes: fullLogBytes, Sync: true}
	d, _ := mustOpen(t, x.opt)
	for i := raft.Index(1); ; i++ {
		e := entry(i, 1, 100+int(i*37%500))
		hs := raft.HardState{Term: raft.Term(i), Vote: 1}
		s := raft.Save{HardState: &hs, Entries: []raft.Entry{e}}
		if d.log.offset+recordHeadBytes+int64(len(e.Data))+2*itemHeadMax+sealBytes > d.log.size {
			break
		}
		x.at = append(x.at, d.log.offset)
		must(t, d.Append(s))
		must(t, d.Sync())
		x.entries = append(x.entries, e)
	}
	x.end = d.log.offset
	if len(d.log.segments) != 1 || d.log.size != fullLogBytes || x.end < fullLogBytes*95/100 {
		t.Fatalf("%d segments, %d bytes, used to %d", len(d.log.segments), d.log.size, x.end)
	}
	must(t, d.Close())
	var err error
	x.bytes, err = x.fs.ReadFile(x.path)
	must(t, err)
	return x
}

// verdict is how a load of damaged storage ended.
type verdict string

const (
	isRefused verdict = "refused" // with file and offset
	isWhole   verdict = "whole"   // nothing is missing
	isCut     verdict = "cut"     // the end is missing, and it is said what was cut
	isSilent  verdict = "silent"  // the end is missing, and nothing says so
)

// load opens the damaged copy and says how it ended; an error is what must never
// be: an entry that was never written, or a refusal without a place.
func (x *fullLog) load(c *MemFS) (verdict, int, error) {
	o := x.opt
	o.FS = c
	d, rec, err := openLoad(o)
	if err != nil {
		var at *DamageError
		if !errors.As(err, &at) && !errors.Is(err, ErrFormat) || at != nil && at.File != segmentName(1) {
			return "", 0, fmt.Errorf("refused without a place: %w", err)
		}
		return isRefused, 0, nil
	}
	defer d.Close()
	n := len(rec.Entries)
	if n > len(x.entries) || !sameEntries(rec.Entries, x.entries[:n]) {
		return "", n, fmt.Errorf("invented: %s", brief(rec.Entries))
	}
	if n > 0 && rec.HardState.Term != raft.Term(rec.Entries[n-1].Index) {
		return "", n, fmt.Errorf("hard state %+v behind entry %d", rec.HardState, rec.Entries[n-1].Index)
	}
	switch {
	case rec.Torn != nil && (rec.Torn.File != segmentName(1) || n < len(x.at) && rec.Torn.Offset != x.at[n]):
		return "", n, fmt.Errorf("%d entries are left, but said to be cut: %v", n, rec.Torn)
	case n == len(x.entries):
		return isWhole, n, nil
	case rec.Torn != nil:
		return isCut, n, nil
	}
	return isSilent, n, nil
}

// stride is how far apart the damaged places lie: 1 for all of them.
func stride() int {
	if *everything {
		return 1
	}
	return 101
}

// shards spreads the places 0 to n-1 over as many parallel tests.
func shards(t *testing.T, n int, each func(t *testing.T, places func(visit func(i int)))) {
	const count = 8
	t.Run("shards", func(t *testing.T) {
		for s := range count {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				t.Parallel()
				each(t, func(visit func(int)) {
					for i := s * stride(); i < n && !t.Failed(); i += count * stride() {
						visit(i)
					}
				})
			})
		}
	})
}

// TestStorageFlips: each bit of a full log of 64 KiB. In a record, the last one
// too, it is refused; a bit that is no part of a record changes nothing (scenarios
// 54 and 78, lua-facts 47).
func TestStorageFlips(t *testing.T) {
	x := buildFullLog(t)
	counts := newTally(t, "bits flipped")
	shards(t, fullLogBytes*8, func(t *testing.T, places func(func(int))) {
		c := x.fs.Clone()
		places(func(bit int) {
			must(t, c.FlipBit(x.path, int64(bit)))
			got, n, err := x.load(c)
			at := int64(bit / 8)
			switch {
			case err != nil:
				t.Errorf("bit %d: %v", bit, err)
			case got == isSilent, got == isCut, got == isWhole && at < x.end:
				t.Errorf("bit %d of byte %d: %s with %d of %d entries", bit%8, at, got, n, len(x.entries))
			}
			counts.add(string(got))
			if got == isRefused { // nothing was repaired
				must(t, c.FlipBit(x.path, int64(bit)))
			} else {
				c.WriteFile(x.path, x.bytes)
			}
		})
	})
}

// TestStorageCuts: the file ends at each byte: refused. The same with zeros in
// place of what is cut, as a disk that lost its end: a first part of the log is
// found, and what is cut is said unless only zeros follow (lua-facts 45 and 46).
// FORMATS.md has the rule.
func TestStorageCuts(t *testing.T) {
	x := buildFullLog(t)
	counts, zeroed := newTally(t, "file cut at byte"), newTally(t, "zeros from byte on")
	shards(t, fullLogBytes, func(t *testing.T, places func(func(int))) {
		c := x.fs.Clone()
		places(func(n int) {
			c.WriteFile(x.path, x.bytes[:n])
			got, _, err := x.load(c)
			if err != nil || got != isRefused {
				t.Errorf("cut at byte %d: %s, %v", n, got, err)
			}
			counts.add(string(got))

			z := make([]byte, fullLogBytes)
			copy(z, x.bytes[:n])
			c.WriteFile(x.path, z)
			got, left, err := x.load(c)
			if err != nil {
				t.Errorf("zeros from byte %d: %v", n, err)
			}
			if got == isSilent && !allZero(z[x.at[left]:]) {
				t.Errorf("zeros from byte %d: %d entries and not a word", n, left)
			}
			zeroed.add(string(got))
		})
	})
}

// TestStoragePrefixes: a workload that stops at each operation on its files, and
// then loses nothing, all, or some of what was not synced: what was acknowledged
// is found and nothing else (scenarios 49, 53, 54, 76; lua-facts 46, 51, 57).
// The workload saves, truncates, rotates, dumps, compacts, installs and reuses.
func TestStoragePrefixes(t *testing.T) {
	seeds, torn, step := int64(1), 1, 1
	switch {
	case *everything:
		seeds, torn = 6, 5
	case testing.Short():
		step = 5
	}
	counts := newTally(t, "prefixes of operations")
	for seed := int64(1); seed <= seeds; seed++ {
		t.Run(fmt.Sprintf("workload %d", seed), func(t *testing.T) {
			t.Parallel()
			ops := prefix(t, seed, 1<<30, lossNone, 0)
			for n := 1; n <= ops && !t.Failed(); n += step {
				for mode := lossNone; mode <= lossSome; mode++ {
					again := 1
					if mode == lossSome {
						again = torn
					}
					for i := range again {
						prefix(t, seed, n, mode, int64(i))
						counts.add([]string{"kept", "dropped", "torn"}[mode])
					}
				}
			}
		})
	}
}

// prefix runs a workload until its operation n fails, then crashes and checks.
// It returns the number of operations.
func prefix(t *testing.T, seed int64, n, mode int, torn int64) int {
	c := &crashRun{t: t, seed: seed, terms: 1, r: rand.New(rand.NewSource(seed)), fs: NewMemFS(), seen: map[string]int{},
		again: fmt.Sprintf("TestStoragePrefixes -everything, stopped at operation %d, loss %d, torn %d", n, mode, torn)}
	c.opt = Options{FS: c.fs, SegmentBytes: 4096, Sync: true}
	c.m = model{states: []modelState{{}}}
	r := rand.New(rand.NewSource(seed<<32 + int64(n)<<8 + torn))
	c.fs.SetFault(func(i int, _ Op, _ string) (int, error) {
		if i < n {
			return 0, nil
		}
		return []int{1 << 30, 0, r.Intn(2000)}[mode], syscall.EIO
	})
	c.work()
	ops := c.fs.Ops()
	c.fs.SetRoom(-1)
	c.fs.crash(r, func() int { return mode })
	c.recover()
	c.recover() // the repair holds
	return ops
}
