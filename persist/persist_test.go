package persist

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

const (
	testPath    = "/data"
	testNode    = raft.ID(0xfeed)
	testCluster = "00112233445566778899aabbccddeeff"
)

func testOptions(m *MemFS) Options {
	return Options{FS: m, SegmentBytes: 4096, Sync: true}
}

// mustOpen opens and loads the directory of a MemFS.
func mustOpen(t testing.TB, o Options) (*Dir, *Recovered) {
	t.Helper()
	d, rec, err := openLoad(o)
	if err != nil {
		t.Fatal(err)
	}
	return d, rec
}

func openLoad(o Options) (*Dir, *Recovered, error) {
	d, err := Open(testPath, o)
	if err != nil {
		return nil, nil, err
	}
	if d.Identity().NodeID == 0 {
		if err := d.SetIdentity(Identity{NodeID: testNode, Name: "n1"}); err != nil {
			return nil, nil, errors.Join(err, d.Close())
		}
	}
	rec, err := d.Load()
	if err != nil {
		return nil, nil, errors.Join(err, d.Close())
	}
	return d, rec, nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, err error, is error, text ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Fatalf("error %v, want %v", err, is)
	}
	for _, s := range text {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

// entry makes an entry whose data tells its index and term.
func entry(index raft.Index, term raft.Term, bytes int) raft.Entry {
	data := []byte(fmt.Sprintf("%d@%d:", index, term))
	for len(data) < bytes {
		data = append(data, byte(len(data)*7))
	}
	return raft.Entry{Index: index, Term: term, Span: 1, Kind: raft.EntryBatch, Data: data}
}

func save(entries ...raft.Entry) raft.Save { return raft.Save{Entries: entries} }

func sameEntries(a, b []raft.Entry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Index != y.Index || x.Term != y.Term || x.Span != y.Span || x.Kind != y.Kind || !bytes.Equal(x.Data, y.Data) {
			return false
		}
	}
	return true
}

func brief(entries []raft.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		fmt.Fprintf(&b, "%d@%d ", e.Index, e.Term)
	}
	return b.String()
}

// snapshot makes a snapshot with some content.
func snapshot(t testing.TB, d *Dir, index raft.Index, term raft.Term) raft.SnapshotMeta {
	t.Helper()
	w, err := d.CreateSnapshot(index, term, testConfig)
	must(t, err)
	_, err = w.Write([]byte(fmt.Sprintf("state at %d", index)))
	must(t, err)
	m, err := w.Finish()
	must(t, err)
	return m
}

var testConfig = raft.Configuration{
	Members: []raft.Member{{ID: testNode, Role: raft.Voter, Name: "n1", Addr: "127.0.0.1:1"}},
	Removed: []raft.ID{7},
}

func files(t testing.TB, m *MemFS, suffix string) []string {
	t.Helper()
	names, err := m.List(testPath)
	must(t, err)
	var out []string
	for _, n := range names {
		if strings.HasSuffix(n, suffix) {
			out = append(out, n)
		}
	}
	return out
}

func TestAppendReopen(t *testing.T) {
	m := NewMemFS()
	d, rec := mustOpen(t, testOptions(m))
	if len(rec.Entries) != 0 || rec.Snapshot != nil || rec.Torn != nil {
		t.Fatalf("new directory has %+v", rec)
	}
	hs := raft.HardState{Term: 3, Vote: 9, Commit: 2}
	must(t, d.Append(raft.Save{HardState: &hs, Entries: []raft.Entry{entry(1, 1, 10), entry(2, 1, 10), entry(3, 2, 10)}}))
	must(t, d.Append(raft.Save{Truncate: true, TruncateTo: 2, Entries: []raft.Entry{entry(3, 3, 10)}}))
	span := raft.Entry{Index: 8, Term: 3, Span: 5, Kind: raft.EntryBatch, Data: []byte("five")}
	must(t, d.Append(save(span)))
	must(t, d.Sync())
	must(t, d.Close())

	d, rec = mustOpen(t, testOptions(m))
	want := []raft.Entry{entry(1, 1, 10), entry(2, 1, 10), entry(3, 3, 10), span}
	if !sameEntries(rec.Entries, want) || rec.HardState != hs || rec.Torn != nil {
		t.Fatalf("recovered %s %+v torn %v", brief(rec.Entries), rec.HardState, rec.Torn)
	}
	must(t, d.Append(save(entry(9, 4, 5000)))) // larger than a segment
	must(t, d.Append(save(entry(10, 4, 5))))
	must(t, d.Sync())
	must(t, d.Close())
	_, rec = mustOpen(t, testOptions(m))
	if !sameEntries(rec.Entries, append(want, entry(9, 4, 5000), entry(10, 4, 5))) {
		t.Fatalf("recovered %s", brief(rec.Entries))
	}
}

// TestOneWritePerSync: scenario 53: one write and one fsync for all of an output.
func TestOneWritePerSync(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	counts := map[Op]int{}
	m.SetFault(func(_ int, op Op, _ string) (int, error) { counts[op]++; return 0, nil })
	for i := raft.Index(1); i <= 20; i++ {
		must(t, d.Append(save(entry(i, 1, 20))))
	}
	must(t, d.Sync())
	must(t, d.Sync())
	if counts[OpWrite] != 1 || counts[OpSync] != 1 || len(counts) != 2 {
		t.Fatalf("operations %v, want one write and one sync", counts)
	}
}

func TestBadSave(t *testing.T) {
	d, _ := mustOpen(t, testOptions(NewMemFS()))
	must(t, d.Append(save(entry(1, 2, 1), entry(2, 2, 1))))
	for name, s := range map[string]raft.Save{
		"gap":          save(entry(4, 2, 1)),
		"again":        save(entry(2, 2, 1)),
		"falling term": save(entry(3, 1, 1)),
		"no span":      save(raft.Entry{Index: 3, Term: 2}),
		"gap inside":   save(entry(3, 2, 1), entry(5, 2, 1)),
		"after cut":    {Truncate: true, TruncateTo: 1, Entries: []raft.Entry{entry(3, 2, 1)}},
		"after reset":  {Reset: &raft.SnapshotMeta{Index: 10, Term: 2}, Entries: []raft.Entry{entry(3, 2, 1)}},
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, d.Append(s), ErrBadSave) })
	}
	must(t, d.Append(save(entry(3, 2, 1))))
	must(t, d.Sync())
}

// TestLock: lua-facts 55, two processes on one directory.
func TestLock(t *testing.T) {
	for name, o := range map[string]Options{"mem": {FS: NewMemFS()}, "os": {}} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "deep", "data")
			if o.FS != nil {
				path = testPath
			}
			d, err := Open(path, o)
			must(t, err)
			_, err = Open(path, o)
			wantErr(t, err, ErrLocked, path, "locked by another process")
			must(t, d.Close())
			d, err = Open(path, o)
			must(t, err)
			must(t, d.Close())
		})
	}
}

func TestIdentity(t *testing.T) {
	m := NewMemFS()
	d, err := Open(testPath, testOptions(m))
	must(t, err)
	_, err = d.Load()
	wantErr(t, err, ErrNoIdentity)
	wantErr(t, d.Append(save(entry(1, 1, 1))), ErrNotLoaded)
	must(t, d.SetIdentity(Identity{NodeID: testNode, Name: "n1"}))
	wantErr(t, d.SetIdentity(Identity{NodeID: 2, Name: "n1"}), ErrIdentity)
	wantErr(t, d.SetIdentity(Identity{NodeID: testNode, Cluster: "../x"}), ErrIdentity)
	wantErr(t, d.SetIdentity(Identity{NodeID: testNode, Name: strings.Repeat("x", 300)}), ErrTooLarge)
	must(t, d.SetIdentity(Identity{NodeID: testNode, Name: "n1", Cluster: testCluster}))
	wantErr(t, d.SetIdentity(Identity{NodeID: testNode, Name: "n1"}), ErrIdentity)
	must(t, d.Close())
	m.Crash(1)
	d, err = Open(testPath, testOptions(m))
	must(t, err)
	want := Identity{NodeID: testNode, Name: "n1", Cluster: testCluster, FormatVersion: FormatVersion}
	if d.Identity() != want {
		t.Fatalf("identity %+v", d.Identity())
	}
	id := d.Identity()
	must(t, id.Check(Identity{NodeID: testNode}))
	wantErr(t, id.Check(Identity{NodeID: 5}), ErrIdentity, "000000000000feed")
	wantErr(t, id.Check(Identity{Cluster: strings.Repeat("0", 32)}), ErrIdentity, testCluster)
	wantErr(t, id.Check(Identity{Name: "n2"}), ErrIdentity)
	must(t, d.Close())
}

func TestIdentityDamage(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	must(t, d.Close())
	path := filepath.Join(testPath, IdentityFile)
	b, err := m.ReadFile(path)
	must(t, err)
	for bit := range int64(len(b) * 8) {
		c := m.Clone()
		must(t, c.FlipBit(path, bit))
		d, err := Open(testPath, testOptions(c))
		if err == nil {
			t.Fatalf("bit %d flipped: opened as %+v", bit, d.Identity())
		}
	}
	for n := range b {
		c := m.Clone()
		c.WriteFile(path, b[:n])
		_, err := Open(testPath, testOptions(c))
		wantErr(t, err, ErrDamage, IdentityFile)
	}
	b[8] = FormatVersion + 1
	m.WriteFile(path, b)
	_, err = Open(testPath, testOptions(m))
	wantErr(t, err, ErrFormat, "format 2")
}

// TestOtherNode: lua-facts 55.
func TestOtherNode(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	must(t, d.Close())
	seg, err := m.ReadFile(testPath + "/000001.wal")
	must(t, err)
	other := NewMemFS()
	d, err = Open(testPath, testOptions(other))
	must(t, err)
	must(t, d.SetIdentity(Identity{NodeID: 5}))
	other.WriteFile(testPath+"/000001.wal", seg)
	_, err = d.Load()
	wantErr(t, err, ErrIdentity, "000001.wal", "000000000000feed")
}

// TestNewerSegment: lua-facts 56, like the end of TestIdentityDamage.
func TestNewerSegment(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	must(t, d.Close())
	seg, err := m.ReadFile(testPath + "/000001.wal")
	must(t, err)
	seg[8]++
	m.WriteFile(testPath+"/000001.wal", seg)
	_, _, err = openLoad(testOptions(m))
	wantErr(t, err, ErrFormat, "000001.wal")
}

// fill appends entries from index on and syncs each, over several segments.
func fill(t testing.TB, d *Dir, from, to raft.Index, term raft.Term, bytes int) {
	t.Helper()
	for i := from; i <= to; i++ {
		must(t, d.Append(save(entry(i, term, bytes))))
		must(t, d.Sync())
	}
}

func TestCompactReopen(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	hs := raft.HardState{Term: 5, Vote: 3}
	must(t, d.Append(raft.Save{HardState: &hs}))
	fill(t, d, 1, 60, 1, 300)
	wantErr(t, d.Compact(30), ErrNoSnapshot)
	before := files(t, m, segmentSuffix)
	meta := snapshot(t, d, 40, 1)
	must(t, d.Compact(40))
	if after := files(t, m, segmentSuffix); len(after) >= len(before) {
		t.Fatalf("segments %v, then %v", before, after)
	}
	fill(t, d, 61, 120, 1, 300)
	must(t, d.Close())
	_, rec := mustOpen(t, testOptions(m))
	if rec.HardState.Term != 5 || rec.HardState.Vote != 3 {
		t.Fatalf("hard state %+v did not survive", rec.HardState)
	}
	if rec.Torn != nil || !sameSnapshot(*rec.Snapshot, meta) || len(rec.Entries) != 80 || rec.Entries[0].Index != 41 || !sameEntries(rec.Entries[79:], []raft.Entry{entry(120, 1, 300)}) {
		t.Fatalf("torn %v, %s", rec.Torn, brief(rec.Entries))
	}
}

func TestReset(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 60, 1, 300)
	meta := snapshot(t, d, 50, 2)
	must(t, d.ResetLog(meta))
	must(t, d.Append(save(entry(51, 2, 10))))
	must(t, d.Sync())
	must(t, d.Compact(50))
	if n := len(files(t, m, segmentSuffix)); n != 1 {
		t.Fatalf("%d segments left after a reset", n)
	}
	must(t, d.Close())
	_, rec := mustOpen(t, testOptions(m))
	if !sameEntries(rec.Entries, []raft.Entry{entry(51, 2, 10)}) || len(rec.Notes) != 0 {
		t.Fatalf("%s %v", brief(rec.Entries), rec.Notes)
	}
}

// TestLogDoesNotLeadToSnapshot: a crash between the snapshot and the reset.
func TestLogDoesNotLeadToSnapshot(t *testing.T) {
	for name, c := range map[string]struct {
		index raft.Index
		term  raft.Term
		want  int
	}{
		"behind":      {50, 1, 0},
		"conflicting": {10, 2, 0},
		"matching":    {10, 1, 10},
		"at the end":  {20, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			fill(t, d, 1, 20, 1, 100)
			snapshot(t, d, c.index, c.term)
			must(t, d.Close())
			d, rec := mustOpen(t, testOptions(m))
			if len(rec.Entries) != c.want || rec.HardState.Commit != c.index {
				t.Fatalf("%s, commit %d", brief(rec.Entries), rec.HardState.Commit)
			}
			next := c.index + 1 + raft.Index(c.want)
			must(t, d.Append(save(entry(next, 3, 10))))
			must(t, d.Sync())
			must(t, d.Close())
			_, rec = mustOpen(t, testOptions(m))
			if len(rec.Entries) != c.want+1 || rec.Entries[c.want].Index != next {
				t.Fatalf("after reopening %s", brief(rec.Entries))
			}
		})
	}
}

// TestMissingPieces: lua-facts 49, 50, 57.
func TestMissingPieces(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 60, 1, 300)
	meta := snapshot(t, d, 40, 1)
	must(t, d.Compact(40))
	must(t, d.Close())
	segs := files(t, m, segmentSuffix)
	if len(segs) < 3 {
		t.Fatalf("segments %v", segs)
	}
	at := func(i int) string { return filepath.Join(testPath, segs[(i+len(segs))%len(segs)]) }
	copyFile := func(c *MemFS, from, to string) {
		b, err := m.ReadFile(from)
		must(t, err)
		c.WriteFile(to, b)
	}
	for name, k := range map[string]struct {
		do   func(c *MemFS)
		text string
	}{
		"no snapshot":      {func(c *MemFS) { must(t, c.Remove(filepath.Join(testPath, snapshotName(meta)))) }, "there is no snapshot"},
		"middle missing":   {func(c *MemFS) { must(t, c.Remove(at(1))) }, "are missing"},
		"last missing":     {func(c *MemFS) { must(t, c.Remove(at(-1))) }, "is missing, which was begun here"},
		"all missing":      {func(c *MemFS) { removeAll(t, c, segs) }, "the log is missing"},
		"swapped":          {func(c *MemFS) { copyFile(c, at(0), at(1)); copyFile(c, at(1), at(0)) }, "under the name of segment"},
		"doubled":          {func(c *MemFS) { copyFile(c, at(-1), filepath.Join(testPath, segmentName(99))) }, "under the name of segment 99"},
		"doubled at end":   {func(c *MemFS) { copyFile(c, at(0), at(-1)) }, "under the name of segment"},
		"cut":              {func(c *MemFS) { c.WriteFile(at(-1), nil) }, "not a log segment"},
		"snapshot, no log": {func(c *MemFS) { removeAll(t, c, segs); must(t, c.Remove(testPath+"/"+IdentityFile)) }, "the log is missing"},
		"identity is gone": {func(c *MemFS) { must(t, c.Remove(testPath+"/"+IdentityFile)) }, ""},
		"snapshot renamed": {func(c *MemFS) {
			must(t, c.Rename(filepath.Join(testPath, snapshotName(meta)), filepath.Join(testPath, snapshotName(raft.SnapshotMeta{Index: 60, Term: 1}))))
		}, "under another name"},
		"snapshot with cut": {func(c *MemFS) { c.WriteFile(filepath.Join(testPath, snapshotName(meta)), []byte("SYNCSHSN")) }, "there is no snapshot"},
	} {
		t.Run(name, func(t *testing.T) {
			c := m.Clone()
			k.do(c)
			_, _, err := openLoad(testOptions(c))
			if k.text == "" { // the test's identity is the right one again
				must(t, err)
				return
			}
			wantErr(t, err, ErrDamage, k.text)
		})
	}
}

func removeAll(t *testing.T, m *MemFS, names []string) {
	for _, n := range names {
		must(t, m.Remove(filepath.Join(testPath, n)))
	}
}

// TestOlderSnapshot: the newest one is damaged, the log reaches back to the one
// before it.
func TestOlderSnapshot(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 60, 1, 300)
	first := snapshot(t, d, 20, 1)
	must(t, d.Compact(20))
	second := snapshot(t, d, 40, 1)
	must(t, d.Close())
	must(t, m.FlipBit(filepath.Join(testPath, snapshotName(second)), 8*100))
	d, rec := mustOpen(t, testOptions(m))
	if !sameSnapshot(*rec.Snapshot, first) || len(rec.Entries) != 40 || len(rec.Notes) != 1 {
		t.Fatalf("%v %s %v", rec.Snapshot, brief(rec.Entries), rec.Notes)
	}
	wantErr(t, d.Compact(40), ErrNoSnapshot)
	snapshot(t, d, 50, 1)
	if n := files(t, m, snapshotSuffix); len(n) != 2 || n[0] != snapshotName(first) {
		t.Fatalf("snapshots %v", n)
	}
	must(t, d.Compact(50))
}

// TestDamagedSnapshotBehindTheLog: the newest snapshot is damaged, and the log does
// not lead to it, as a crash came between its installation and the log's reset. Its
// index was acknowledged: going on from the older one would be less, in silence.
func TestDamagedSnapshotBehindTheLog(t *testing.T) {
	for name, at := range map[string]raft.SnapshotMeta{
		"behind": {Index: 90, Term: 1}, "next": {Index: 61, Term: 1}, "conflicting": {Index: 50, Term: 2},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			fill(t, d, 1, 60, 1, 300)
			snapshot(t, d, 20, 1)
			bad := snapshotName(snapshot(t, d, at.Index, at.Term))
			must(t, d.Close())
			must(t, m.FlipBit(filepath.Join(testPath, bad), 8*100))
			_, _, err := openLoad(testOptions(m))
			wantErr(t, err, ErrDamage, bad+"@0: the log (up to index 60) does not lead to this snapshot: what it held is lost")
			c, err := Inspect(testPath, InspectOptions{FS: m, Deep: true})
			must(t, err)
			if len(c.Stops()) != 1 {
				t.Errorf("Inspect says that a start is refused for %v", c.Stops())
			}
		})
	}
}

// TestStaleTmpFiles: lua-facts 51.
func TestStaleTmpFiles(t *testing.T) {
	m := NewMemFS()
	m.WriteFile(testPath+"/000001.wal.tmp", []byte("x"))
	m.WriteFile(testPath+"/snapshot-1.tmp", []byte("x"))
	m.WriteFile(testPath+"/notes.txt", []byte("x"))
	m.WriteFile(testPath+"/000001"+spareSuffix, []byte("x"))
	// Whoever opens another's directory by mistake changes nothing.
	d, err := Open(testPath, testOptions(m))
	must(t, err)
	must(t, d.Close())
	if n := files(t, m, tmpSuffix); len(n) != 2 || len(files(t, m, spareSuffix)) != 1 {
		t.Fatalf("after Open: %v", n)
	}
	_, rec := mustOpen(t, testOptions(m))
	if n := files(t, m, tmpSuffix); len(n) != 0 {
		t.Fatalf("left: %v", n)
	}
	if len(rec.Notes) != 2 || len(files(t, m, ".txt")) != 1 {
		t.Fatalf("notes %v", rec.Notes)
	}
}

// TestDead: after a failed write or sync the log stays dead, and what a failed
// sync lost is not reported as durable by the next process (scenarios 55 and 80;
// lua-facts 53: EIO and short writes, 54: a failed fsync).
func TestDead(t *testing.T) {
	for _, op := range []Op{OpWrite, OpSync} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s %v", op, cause), func(t *testing.T) {
				m := NewMemFS()
				d, _ := mustOpen(t, testOptions(m))
				fill(t, d, 1, 3, 1, 10)
				m.SetFault(func(_ int, o Op, _ string) (int, error) {
					if o == op {
						return 7, cause
					}
					return 0, nil
				})
				must(t, d.Append(save(entry(4, 1, 10))))
				err := d.Sync()
				wantErr(t, err, cause, "wal 000001.wal@")
				wantErr(t, err, ErrDead)
				m.SetFault(nil)
				wantErr(t, d.Sync(), ErrDead)
				wantErr(t, d.Flush(), cause)
				wantErr(t, d.Append(save(entry(5, 1, 1))), ErrDead)
				wantErr(t, d.Compact(0), ErrDead)
				must(t, d.Close())
				m.Crash(3)
				_, rec := mustOpen(t, testOptions(m))
				if n := len(rec.Entries); n != 3 {
					t.Fatalf("%d entries", n)
				}
			})
		}
	}
}

// TestFailedSyncStillSeen: a failed sync leaves bytes that are read and are not
// on disk. The next process may tell others that it has them only after writing
// them again (scenario 80).
func TestFailedSyncStillSeen(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 3, 1, 10)
	m.SetFault(func(_ int, op Op, _ string) (int, error) {
		if op == OpSync {
			return 0, syscall.EIO
		}
		return 0, nil
	})
	must(t, d.Append(save(entry(4, 1, 10))))
	wantErr(t, d.Sync(), ErrDead)
	must(t, d.Close())
	m.Kill()
	_, rec := mustOpen(t, testOptions(m))
	if len(rec.Entries) != 4 {
		t.Fatalf("%d entries", len(rec.Entries))
	}
	m.Crash(1)
	_, rec = mustOpen(t, testOptions(m))
	if len(rec.Entries) != 4 {
		t.Fatalf("%d entries after the crash, the process before had 4", len(rec.Entries))
	}
}

// TestFullDiskKeepsSnapshots: a full disk while a snapshot is written leaves the
// snapshots before it, and the log alive (scenario 55, lua-facts 53).
func TestFullDiskKeepsSnapshots(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	fill(t, d, 1, 20, 1, 300)
	first := snapshot(t, d, 5, 1)
	m.SetRoom(100)
	w, err := d.CreateSnapshot(15, 1, testConfig)
	must(t, err)
	_, werr := io.CopyN(w, rand.New(rand.NewSource(1)), snapshotBlockBytes+1)
	wantErr(t, werr, syscall.ENOSPC)
	_, err = w.Finish()
	wantErr(t, err, syscall.ENOSPC)
	if n := files(t, m, tmpSuffix); len(n) != 0 {
		t.Fatalf("left: %v", n)
	}
	if got := readSnapshot(t, d, first); string(got) != "state at 5" {
		t.Fatalf("the snapshot before reads %q", got)
	}
	m.SetRoom(-1)
	fill(t, d, 21, 40, 1, 300)
	snapshot(t, d, 30, 1)
}

func TestOSFS(t *testing.T) {
	path := t.TempDir()
	o := Options{SegmentBytes: 8192, Sync: true, Go: func(f func()) { go f() }}
	d, err := Open(path, o)
	must(t, err)
	must(t, d.SetIdentity(Identity{NodeID: testNode}))
	_, err = d.Load()
	must(t, err)
	fill(t, d, 1, 100, 1, 500)
	snapshot(t, d, 90, 1)
	must(t, d.Compact(90))
	fill(t, d, 101, 150, 1, 500)
	must(t, d.Close())
	d, err = Open(path, o)
	must(t, err)
	defer d.Close()
	rec, err := d.Load()
	must(t, err)
	if len(rec.Entries) != 60 || rec.Torn != nil || rec.Snapshot.Index != 90 {
		t.Fatalf("%s torn %v", brief(rec.Entries), rec.Torn)
	}
	f, err := OSFS().Create(filepath.Join(path, "x"))
	must(t, err)
	defer f.Close()
	_, err = OSFS().Create(filepath.Join(path, "x"))
	wantErr(t, err, fs.ErrExist)
	_, err = OSFS().Open(filepath.Join(path, "y"))
	wantErr(t, err, fs.ErrNotExist)
}
