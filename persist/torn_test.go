package persist

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// tail is a log of one segment whose last record is the one that a test is about.
type tail struct {
	fs   *MemFS
	opt  Options
	path string
	b    []byte
	at   int64 // of the last record
	end  int64
	next raft.Index // of the entry in it
}

// buildTail makes a log whose last record has an entry with the data, and begins
// shift times 8 bytes behind the first place that it can have.
func buildTail(t testing.TB, shift int, data []byte) *tail {
	t.Helper()
	x := &tail{fs: NewMemFS(), path: filepath.Join(testPath, segmentName(1)), next: 2}
	x.opt = Options{FS: x.fs, SegmentBytes: 16 << 10, Sync: true}
	d, _ := mustOpen(t, x.opt)
	must(t, d.Append(save(entry(1, 1, 8+8*shift))))
	must(t, d.Sync())
	x.at = d.log.offset
	must(t, d.Append(save(raft.Entry{Index: 2, Term: 1, Span: 1, Kind: raft.EntryBatch, Data: data})))
	must(t, d.Sync())
	x.end = d.log.offset
	must(t, d.Close())
	var err error
	x.b, err = x.fs.ReadFile(x.path)
	must(t, err)
	return x
}

// parts are the pieces of the last record that a disk writes whole or not.
func (x *tail) parts() (out [][2]int64) {
	for at := x.at; at < x.end; {
		next := min((at/sectorBytes+1)*sectorBytes, x.end)
		out = append(out, [2]int64{at, next})
		at = next
	}
	return out
}

// load reads a segment with these bytes and returns how many entries it has.
func (x *tail) load(b []byte) (entries int, torn *Torn, err error) {
	o := x.opt
	c := x.fs.Clone()
	c.WriteFile(x.path, b)
	o.FS = c
	d, rec, err := openLoad(o)
	if err != nil {
		return 0, nil, err
	}
	defer d.Close()
	// The repair holds: the same again, and nothing is torn any more.
	if err := d.Close(); err != nil {
		return 0, nil, err
	}
	again, rec2, err := openLoad(o)
	if err != nil || rec2.Torn != nil || len(rec2.Entries) != len(rec.Entries) {
		return 0, nil, fmt.Errorf("after the repair: %v, %v", rec2, err)
	}
	defer again.Close()
	return len(rec.Entries), rec.Torn, nil
}

// payloads are what a last record may be like: without zeros, with zeros at its
// end, with sectors of zeros in the middle, nothing but zeros, small.
func payloads() map[string][]byte {
	some := []byte(strings.Repeat("data", 500))
	zeros := make([]byte, 2000)
	return map[string][]byte{
		"small":       []byte("x"),
		"small zeros": make([]byte, 9),
		"letters":     some,
		"zeros":       zeros,
		"zeros last":  append(some[:900:900], zeros[:1100]...),
		"zeros first": append(zeros[:1100:1100], some[:900]...),
		"zeros within": append(append(some[:500:500], zeros[:1200]...),
			some[:300]...),
	}
}

// rarer is a step through cases: the larger one with -short, as under the race
// detector.
func rarer(step, short int) int {
	if testing.Short() {
		return short
	}
	return step
}

// TestTornTail: of the last record any of the pieces that a disk writes whole, or
// its bytes from anywhere on, are still zero: a write that did not come to its
// end, which is cut (scenario 54).
func TestTornTail(t *testing.T) {
	for name, data := range payloads() {
		t.Run(name, func(t *testing.T) {
			for shift := 0; shift < 64; shift += rarer(1, 13) {
				x := buildTail(t, shift, data)
				torn := func(b []byte, what string) {
					t.Helper()
					if string(b) == string(x.b) {
						return // only zeros are missing
					}
					n, cut, err := x.load(b)
					if err != nil || n != 1 || cut == nil != allZero(b[x.at:]) || cut != nil && cut.Offset != x.at {
						t.Fatalf("shift %d: %s: %d entries, torn %v, %v", shift, what, n, cut, err)
					}
				}
				parts := x.parts()
				for kept := range 1 << len(parts) {
					b := append([]byte(nil), x.b...)
					for i, p := range parts {
						if kept&(1<<i) == 0 {
							clear(b[p[0]:p[1]])
						}
					}
					torn(b, fmt.Sprintf("of the parts %v those of %b are there", parts, kept))
				}
				if shift%16 != 0 {
					continue
				}
				for from := x.at; from < x.end; from += 1 + int64(len(data))/200 {
					b := append([]byte(nil), x.b...)
					clear(b[from:x.end])
					torn(b, fmt.Sprintf("zeros from byte %d of %d to %d", from, x.at, x.end))
				}
			}
		})
	}
}

// TestDamagedTail: a bit of the last record flips, wherever it begins and whatever
// zeros it has. All of it was written, so it is damage: it may have been
// acknowledged (scenario 54).
func TestDamagedTail(t *testing.T) {
	for name, data := range payloads() {
		t.Run(name, func(t *testing.T) {
			for shift := 0; shift < 64; shift += rarer(9, 31) {
				x := buildTail(t, shift, data)
				apart := int64(1)
				if len(data) > 100 {
					apart = 41
				}
				// The head and the end bit by bit, what is between here and there.
				for bit := x.at * 8; bit < x.end*8; bit += int64(rarer(1, 5)) {
					if at := bit / 8; at > x.at+40 && at < x.end-16 && bit%apart != 0 {
						continue
					}
					b := append([]byte(nil), x.b...)
					b[bit/8] ^= 1 << (bit % 8)
					_, torn, err := x.load(b)
					if !errors.Is(err, ErrDamage) {
						t.Fatalf("shift %d, bit %d of byte %d of the record: torn %v, %v", shift, bit%8, bit/8-x.at, torn, err)
					}
					wantErr(t, err, ErrDamage, fmt.Sprintf("wal 000001.wal@%d: damaged record: all of it was written", x.at))
				}
			}
		})
	}
}

// TestWipeInterrupted: a start that takes a torn tail off and is interrupted at any
// of its operations, after any of their bytes, with or without the power, leaves a
// log that the next one starts on.
func TestWipeInterrupted(t *testing.T) {
	for shift := 0; shift < 64; shift += rarer(7, 31) {
		x := buildTail(t, shift, payloads()["letters"])
		parts := x.parts()
		torn := append([]byte(nil), x.b...)
		clear(torn[parts[1][0]:parts[1][1]])
		for op, ended := 1, false; !ended; op++ {
			for _, keep := range []int{0, 1, 2, 3, 4, 5, 8, 15, 16, 20, 22, 23, 24, 40, 100, 600, 1 << 20} {
				for seed := range int64(4) {
					c := x.fs.Clone()
					c.WriteFile(x.path, torn)
					o := x.opt
					o.FS = c
					c.SetFault(func(n int, _ Op, _ string) (int, error) {
						if n >= op {
							return keep, syscall.EIO
						}
						return 0, nil
					})
					d, _, err := openLoad(o)
					if ended = err == nil; ended {
						must(t, d.Close())
					}
					if seed == 0 {
						c.Kill()
					} else {
						c.Crash(seed)
					}
					d, rec, err := openLoad(o)
					if err != nil || len(rec.Entries) != 1 {
						t.Fatalf("shift %d, interrupted at operation %d after %d bytes, seed %d: %v", shift, op, keep, seed, err)
					}
					must(t, d.Close())
				}
			}
		}
	}
}

// TestZerosCounted: the head says how many sectors of its record are zeros, or a
// flipped bit of such a record would pass for a torn write.
func TestZerosCounted(t *testing.T) {
	x := buildTail(t, 0, make([]byte, 2000))
	h, _, ok := parseRecordHead(x.b, place{node: testNode, segment: 1, offset: x.at})
	if !ok || h.zeros != 3 {
		t.Fatalf("head %+v, good %v", h, ok)
	}
}
