package persist

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// damaged is a small log of which every record was synced.
type damaged struct {
	fs      *MemFS
	opt     Options
	entries []raft.Entry // one a record
	files   []string
	at      []int64 // offset in the last file of each of the last records
}

// buildDamaged makes a log of several segments. compacted lets it begin
// behind a snapshot.
func buildDamaged(t *testing.T, compacted bool) *damaged {
	x := &damaged{fs: NewMemFS()}
	x.opt = testOptions(x.fs)
	d, _ := mustOpen(t, x.opt)
	from, to := raft.Index(1), raft.Index(29)
	if compacted {
		fill(t, d, 1, 60, 1, 150)
		snapshot(t, d, 60, 1)
		must(t, d.Compact(60))
		from, to = 61, 76
	}
	for i := from; i <= to; i++ {
		e := entry(i, 1, 400)
		hs := raft.HardState{Term: raft.Term(i), Vote: 1}
		must(t, d.Append(raft.Save{HardState: &hs, Entries: []raft.Entry{e}}))
		start, n, m := d.log.offset, len(d.log.segments), d.log.at
		must(t, d.Sync())
		if len(d.log.segments) > n {
			head, _ := encodeStart(segmentHead{}, m)
			start, x.at = int64(len(head)), nil
		}
		x.at = append(x.at, start)
		x.entries = append(x.entries, e)
	}
	x.files = files(t, x.fs, segmentSuffix)
	must(t, d.Close())
	return x
}

// check loads and wants: all, or an error that says where. A bit behind the last
// record looks like a write that was under way; nothing is missing then.
func (x *damaged) check(c *MemFS, what string) error {
	o := x.opt
	o.FS = c
	d, rec, err := openLoad(o)
	if err != nil {
		if !errors.Is(err, ErrDamage) && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrIdentity) {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !strings.Contains(err.Error(), "wal 0") {
			return fmt.Errorf("%s: no place in %w", what, err)
		}
		return nil
	}
	defer d.Close()
	got := rec.Entries
	for len(got) > 0 && got[0].Index < x.entries[0].Index { // before the snapshot of a compacted log
		got = got[1:]
	}
	want := x.entries
	if !sameEntries(got, want) || rec.HardState.Term != raft.Term(want[len(want)-1].Index) {
		return fmt.Errorf("%s: %d entries of %d, term %d, torn %v", what, len(got), len(x.entries), rec.HardState.Term, rec.Torn)
	}
	return nil
}

// each calls f with a copy of the file system for every damage.
func (x *damaged) each(t *testing.T, f func(c *MemFS, path string, b []byte)) {
	base := x.fs.Clone()
	for _, name := range x.files {
		path := filepath.Join(testPath, name)
		b, err := base.ReadFile(path)
		must(t, err)
		f(base, path, b)
	}
}

var everything = flag.Bool("everything", false, "damage every bit and byte: half a minute instead of some seconds")

// step is how far apart the damaged bits or bytes lie. It has no common factor
// with 8, so every bit of a byte is hit.
func step() int {
	switch {
	case *everything:
		return 1
	case testing.Short():
		return 101
	}
	return 7
}

func TestFlipEveryBit(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		t.Run(fmt.Sprintf("compacted=%v", compacted), func(t *testing.T) {
			x := buildDamaged(t, compacted)
			x.each(t, func(c *MemFS, path string, b []byte) {
				for bit := 0; bit < len(b)*8; bit += step() {
					must(t, c.FlipBit(path, int64(bit)))
					if err := x.check(c, fmt.Sprintf("%s byte %d bit %d", path, bit/8, bit%8)); err != nil {
						t.Fatal(err)
					}
					c.restore(x.fs)
				}
			})
		})
	}
}

// restore makes c what from is.
func (m *MemFS) restore(from *MemFS) {
	for path, d := range from.dirs {
		for name := range m.dirs[path].names {
			if d.names[name] == nil {
				_ = m.Remove(filepath.Join(path, name))
			}
		}
		for name, n := range d.names {
			if o := m.dirs[path].names[name]; o == nil || string(o.data) != string(n.data) {
				m.WriteFile(filepath.Join(path, name), n.data)
			}
		}
	}
}

func TestCutEveryByte(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		x := buildDamaged(t, compacted)
		x.each(t, func(c *MemFS, path string, b []byte) {
			for n := 0; n < len(b); n += step() {
				c.WriteFile(path, b[:n])
				o := x.opt
				o.FS = c
				_, _, err := openLoad(o)
				wantErr(t, err, ErrDamage, filepath.Base(path))
				c.restore(x.fs)
			}
		})
	}
}

// TestZeroedRecords: scenario 78. Zeros from any record on, for a while: damage
// while a good record is left behind them; at the very end a torn tail.
func TestZeroedRecords(t *testing.T) {
	for _, compacted := range []bool{false, true} {
		x := buildDamaged(t, compacted)
		path := filepath.Join(testPath, x.files[len(x.files)-1])
		b, err := x.fs.ReadFile(path)
		must(t, err)
		last := len(x.at) - 1
		if last < 3 {
			t.Fatalf("%d records in the last segment", len(x.at))
		}
		for i := range last {
			for _, n := range []int64{8, 24, 100, x.at[i+1] - x.at[i]} {
				c := x.fs.Clone()
				z := append([]byte(nil), b...)
				clear(z[x.at[i] : x.at[i]+n])
				c.WriteFile(path, z)
				o := x.opt
				o.FS = c
				_, _, err := openLoad(o)
				wantErr(t, err, ErrDamage, fmt.Sprintf("wal %s@%d: damaged record", filepath.Base(path), x.at[i]))
			}
		}
		// The last record: torn if a sector's worth of it or its end is missing.
		z := append([]byte(nil), b...)
		clear(z[x.at[last]+64:])
		c := x.fs.Clone()
		c.WriteFile(path, z)
		o := x.opt
		o.FS = c
		d, rec, err := openLoad(o)
		must(t, err)
		if rec.Torn == nil || rec.Torn.Offset != x.at[last] || rec.Torn.File != filepath.Base(path) {
			t.Fatalf("torn: %v", rec.Torn)
		}
		// What was torn is gone for good, whatever is written before it.
		next := x.entries[len(x.entries)-1]
		must(t, d.Append(raft.Save{Entries: []raft.Entry{entry(next.Index, 2, 8)}}))
		must(t, d.Sync())
		must(t, d.Close())
		_, rec, err = openLoad(o)
		must(t, err)
		if rec.Torn != nil || rec.Entries[len(rec.Entries)-1].Term != 2 {
			t.Fatalf("after the repair: torn %v, %s", rec.Torn, brief(rec.Entries))
		}
	}
}

// TestFirstRecord: the first record of a segment can't be torn. In a log that
// begins with it, as one does that was compacted, it alone has the vote; here it
// is also the last record (scenarios 54 and 78).
func TestFirstRecord(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	hs := raft.HardState{Term: 7, Vote: 3}
	must(t, d.Append(raft.Save{HardState: &hs}))
	must(t, d.Sync())
	must(t, d.rotate(d.log, 8))
	must(t, d.Close())
	names := files(t, m, segmentSuffix)
	path := filepath.Join(testPath, names[len(names)-1])
	b, err := m.ReadFile(path)
	must(t, err)
	for _, to := range []int64{1, 8, 24, 40, 4032} {
		c := m.Clone()
		z := append([]byte(nil), b...)
		clear(z[segmentHeadBytes : segmentHeadBytes+to])
		c.WriteFile(path, z)
		_, _, err := openLoad(testOptions(c))
		wantErr(t, err, ErrDamage, fmt.Sprintf("wal %s@64: damaged record", filepath.Base(path)))
	}
}

// TestMisplaced: a record of the same segment at another place, and one of
// another segment at the same place, are not records (scenario 79).
func TestMisplaced(t *testing.T) {
	x := buildDamaged(t, false)
	path := filepath.Join(testPath, x.files[len(x.files)-1])
	b, err := x.fs.ReadFile(path)
	must(t, err)
	n := x.at[1] - x.at[0]
	z := append([]byte(nil), b...)
	copy(z[x.at[0]:x.at[0]+n], b[x.at[1]:x.at[1]+n])
	c := x.fs.Clone()
	c.WriteFile(path, z)
	o := x.opt
	o.FS = c
	_, _, err = openLoad(o)
	wantErr(t, err, ErrDamage, fmt.Sprintf("@%d:", x.at[0]))

	first, err := x.fs.ReadFile(filepath.Join(testPath, x.files[len(x.files)-2]))
	must(t, err)
	copy(z, b)
	copy(z[segmentHeadBytes:], first[segmentHeadBytes:segmentHeadBytes+512])
	c.WriteFile(path, z)
	_, _, err = openLoad(o)
	wantErr(t, err, ErrDamage, "@64:")
}

// TestValidButWrong: records with good checksums that can't be (lua-facts 48, 52).
func TestValidButWrong(t *testing.T) {
	e := func(index raft.Index, term raft.Term) []byte {
		x := entry(index, term, 4)
		return appendEntry(nil, &x)
	}
	for name, c := range map[string]struct {
		payload []byte
		text    string
	}{
		"gap":             {e(12, 1), "entry 12 to 12 of term 1 behind index 10"},
		"again":           {e(10, 1), "entry 10 to 10"},
		"falling term":    {e(11, 0), "of term 0 behind"},
		"not an item":     {[]byte{0xc1}, "msgpack"},
		"unknown item":    {appendItem(nil, 9, 1), "item of kind 9"},
		"head":            {appendHead(nil, 10, 1), "in the wrong place"},
		"truncate entry":  {appendItem(nil, itemTruncate, 7), "in the middle of an entry"},
		"truncate before": {append(appendItem(nil, itemReset, 10), appendItem(nil, itemTruncate, 9)...), "log begins behind 10"},
		"seal":            {appendItem(nil, itemSeal, 2), "000002.wal is missing"},
		"half an item":    {e(11, 1)[:5], "truncated"},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			must(t, d.Append(save(raft.Entry{Index: 5, Span: 5, Term: 1}, raft.Entry{Index: 10, Span: 5, Term: 1})))
			must(t, d.Sync())
			at := d.log.offset
			d.log.openRecord()
			d.log.buf = append(d.log.buf, c.payload...)
			p := &d.log.pending[0]
			p.end = len(d.log.buf)
			must(t, d.Sync())
			must(t, d.Close())
			_, _, err := openLoad(testOptions(m))
			wantErr(t, err, ErrDamage, fmt.Sprintf("wal 000001.wal@%d", at), c.text)
		})
	}
}

// TestRecordPlace: a record's bytes are a record of one node, in one segment, at
// one offset, and of one version of their head.
func TestRecordPlace(t *testing.T) {
	seg := make([]byte, 4096)
	h := recordHead{length: 5, sum: 1, prev: 2, synced: 64}
	for at := int64(128); at < 1024; at += 24 { // 24: the heads do not overlap
		h.put(seg[at:], place{node: 1, segment: 2, offset: 128})
	}
	for name, c := range map[string]struct {
		at   place
		good bool
	}{
		"its place":       {place{1, 2, 128}, true},
		"another node":    {place{3, 2, 128}, false},
		"another segment": {place{1, 3, 128}, false},
		"another offset":  {place{1, 2, 128 + 240}, false},
	} {
		if _, _, ok := parseRecordHead(seg, c.at); ok != c.good {
			t.Errorf("%s: a record: %v", name, ok)
		}
	}
}
