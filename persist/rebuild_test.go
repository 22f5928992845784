package persist

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

const (
	oldCluster = "0123456789abcdef0123456789abcdef"
	newCluster = "fedcba9876543210fedcba9876543210"
)

var oldConfig = raft.Configuration{Members: []raft.Member{
	{ID: 1, Role: raft.Voter, Name: "a"}, {ID: 2, Role: raft.Voter, Name: "b"}, {ID: 3, Role: raft.Voter, Name: "c"}}}

// makeOld makes a directory of member 1 with a snapshot at 10 and entries 11 to
// 20, 15 of them known to be committed.
func makeOld(t *testing.T, dir string) {
	t.Helper()
	d, err := Open(dir, Options{Sync: true})
	must(t, err)
	defer d.Close()
	must(t, d.SetIdentity(Identity{NodeID: 1, Name: "a", Cluster: oldCluster}))
	_, err = d.Load()
	must(t, err)
	w, err := d.CreateSnapshot(10, 2, oldConfig)
	must(t, err)
	_, err = w.Write([]byte("the state"))
	must(t, err)
	meta, err := w.Finish()
	must(t, err)
	must(t, d.Append(raft.Save{HardState: &raft.HardState{Term: 3, Vote: 2, Commit: 15}, Reset: &meta}))
	for i := raft.Index(11); i <= 20; i++ {
		must(t, d.Append(raft.Save{Entries: []raft.Entry{{Index: i, Term: 3, Span: 1, Kind: raft.EntryBatch, Data: []byte{byte(i)}}}}))
		must(t, d.Sync())
	}
	must(t, os.WriteFile(filepath.Join(dir, "async"), []byte("boot"), 0o600))
}

// checkNew checks that a directory is the new member's, with the old one's state.
func checkNew(t *testing.T, dir string, entries int, config raft.Configuration) {
	t.Helper()
	d, err := Open(dir, Options{Sync: true})
	must(t, err)
	defer d.Close()
	if id := d.Identity(); id.NodeID == 1 || id.Cluster != newCluster || id.Name != "a" {
		t.Fatalf("identity %+v", id)
	}
	rec, err := d.Load()
	must(t, err)
	if rec.Snapshot == nil || rec.Snapshot.Index != 10 || len(rec.Snapshot.Config.Members) != 1 || len(rec.Entries) != entries {
		t.Fatalf("snapshot %+v and %d entries", rec.Snapshot, len(rec.Entries))
	}
	r, err := d.OpenSnapshot(*rec.Snapshot)
	must(t, err)
	defer r.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(r); err != nil || b.String() != "the state" {
		t.Fatalf("state %q, %v", b.String(), err)
	}
	c, err := Inspect(dir, InspectOptions{Deep: true, Beside: true})
	must(t, err)
	if len(c.Damage) > 0 || len(c.Config().Members) != 1 || c.Config().Members[0].ID != d.Identity().NodeID || c.HardState.Commit != c.LastIndex() {
		t.Fatalf("damage %v, configuration %v, commit %d of %d", c.Damage, c.Config(), c.HardState.Commit, c.LastIndex())
	}
	if len(config.Members) > 0 && c.Config().String() != config.String() {
		t.Fatalf("configuration %v, want %v", c.Config(), config)
	}
}

// opsFS fails all changes from the one numbered fail on.
type opsFS struct {
	FS
	ops, fail int
}

var errStopped = errors.New("stopped here")

func (f *opsFS) op() error {
	if f.ops++; f.fail > 0 && f.ops >= f.fail {
		return errStopped
	}
	return nil
}

func (f *opsFS) Rename(from, to string) error {
	if err := f.op(); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *opsFS) Create(path string) (File, error) {
	if err := f.op(); err != nil {
		return nil, err
	}
	return f.FS.Create(path)
}

func (f *opsFS) Remove(path string) error {
	if err := f.op(); err != nil {
		return err
	}
	return f.FS.Remove(path)
}

func (f *opsFS) MkdirAll(path string) error {
	if err := f.op(); err != nil {
		return err
	}
	return f.FS.MkdirAll(path)
}

// A recovery that stops anywhere leaves the old member, or a directory that is
// refused and that the next call carries to its end; what it makes is a new member
// (scenario 57).
func TestRecoverStopsAnywhere(t *testing.T) {
	stopped := 0
	for fail := 1; ; fail++ {
		dir := filepath.Join(t.TempDir(), "d")
		makeOld(t, dir)
		f := &opsFS{FS: OSFS(), fail: fail}
		_, err := Recover(dir, raft.Member{ID: 8, Role: raft.Voter, Name: "a"}, newCluster, Options{FS: f})
		if err == nil {
			checkNew(t, dir, 11, raft.Configuration{})
			break
		}
		if !errors.Is(err, errStopped) {
			t.Fatalf("stopped at operation %d: %v", fail, err)
		}
		stopped++
		begun, err := RecoveryBegun(dir, nil)
		must(t, err)
		d, err := Open(dir, Options{})
		must(t, err)
		id := d.Identity().NodeID
		switch {
		case begun && id != 0:
			t.Fatalf("stopped at operation %d: begun, and the directory is that of %d", fail, id)
		case begun: // a node draws a new id and is refused
			must(t, d.Close())
			refused(t, dir, fail)
		default:
			must(t, d.Close())
		}
		if id == 8 { // only leftovers
			checkNew(t, dir, 11, raft.Configuration{})
			continue
		}
		replaced, err := Recover(dir, raft.Member{ID: 9, Role: raft.Voter, Name: "a"}, newCluster, Options{})
		if err != nil {
			t.Fatalf("stopped at operation %d, and then: %v", fail, err)
		}
		checkNew(t, dir, 11, raft.Configuration{})
		for _, name := range []string{"identity", "async", "000001.wal"} {
			if _, err := os.Stat(filepath.Join(replaced, name)); err != nil {
				t.Fatalf("stopped at operation %d: the old %s is not kept: %v", fail, name, err)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "async")); err == nil {
			t.Fatalf("stopped at operation %d: a file of the old member is left", fail)
		}
	}
	if stopped < 20 {
		t.Errorf("stopped at %d operations only", stopped)
	}
}

// refused checks, in a copy, that no node starts on a directory in between.
func refused(t *testing.T, dir string, fail int) {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	must(t, os.CopyFS(copied, os.DirFS(dir)))
	if _, err := os.Stat(filepath.Join(copied, "000001.wal")); err != nil {
		return // nothing of a log: a new node
	}
	d, err := Open(copied, Options{})
	must(t, err)
	defer d.Close()
	must(t, d.SetIdentity(Identity{NodeID: 99}))
	if _, err := d.Load(); err == nil {
		t.Fatalf("stopped at operation %d: a new node takes the log over", fail)
	}
}

// TestRestoreIsNew: scenario 57: a restored backup is a new member of a new
// cluster.
func TestRestoreIsNew(t *testing.T) {
	old := filepath.Join(t.TempDir(), "old")
	makeOld(t, old)
	file := filepath.Join(old, snapshotName(raft.SnapshotMeta{Index: 10, Term: 2}))
	self := raft.Member{ID: 8, Role: raft.Voter, Name: "a", Addr: "x:1"}
	dir := filepath.Join(t.TempDir(), "new")
	meta, err := Restore(file, dir, self, newCluster, Options{})
	if err != nil || meta.Index != 10 {
		t.Fatal(meta, err)
	}
	checkNew(t, dir, 0, raft.Configuration{Members: []raft.Member{self}})
	if _, err := Restore(file, dir, self, newCluster, Options{}); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("into a directory that is there: %v", err)
	}
}

// Inspect finds what Load finds, whatever byte is changed, and changes nothing.
func TestInspectSeesWhatLoadSees(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	makeOld(t, dir)
	c, err := Inspect(dir, InspectOptions{Deep: true})
	must(t, err)
	if len(c.Damage) > 0 || c.HardState.Commit != 15 || len(c.Entries) != 10 || c.LastIndex() != 20 {
		t.Fatalf("%+v", c)
	}
	wal := filepath.Join(dir, segmentName(1))
	whole, err := os.ReadFile(wal)
	must(t, err)
	damaged, torn := 0, 0
	for at := int64(0); at < c.Segments[0].End; at += 11 {
		b := bytes.Clone(whole)
		b[at] ^= 0x10
		if at > c.Segments[0].End-100 {
			clear(b[at:])
		}
		must(t, os.WriteFile(wal, b, 0o600))
		c, err := Inspect(dir, InspectOptions{})
		must(t, err)
		if got, err := os.ReadFile(wal); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("byte %d: the file was changed (%v)", at, err)
		}
		d, err := Open(dir, Options{})
		must(t, err)
		rec, err := d.Load()
		must(t, d.Close())
		if (err != nil) != (len(c.Damage) > 0) {
			t.Fatalf("byte %d: Load says %v, Inspect %v", at, err, c.Damage)
		}
		if err != nil {
			damaged++
			var e *DamageError
			if errors.Is(c.Damage[0], ErrFormat) {
				continue // a damaged version number looks like a newer one
			}
			if !errors.As(c.Damage[0], &e) || e.File != segmentName(1) || e.Offset > at {
				t.Fatalf("byte %d: %v", at, c.Damage)
			}
			continue
		}
		if fmt.Sprint(rec.Torn) != fmt.Sprint(c.Torn) || len(rec.Entries) != len(c.Entries) || rec.HardState != c.HardState {
			t.Fatalf("byte %d: Load says %v and %d entries, Inspect %v and %d", at, rec.Torn, len(rec.Entries), c.Torn, len(c.Entries))
		}
		if c.Torn != nil {
			torn++
		}
	}
	if damaged == 0 || torn == 0 {
		t.Errorf("%d damaged, %d torn", damaged, torn)
	}
}

func TestReadOnlyChangesNothing(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	must(t, os.WriteFile(file, []byte("x"), 0o400))
	ro := ReadOnly(OSFS())
	f, err := ro.Open(file)
	must(t, err)
	defer f.Close()
	_, werr := f.WriteAt([]byte("y"), 0)
	_, cerr := ro.Create(file + "2")
	for i, err := range []error{werr, cerr, f.Truncate(0), f.Sync(), ro.Remove(file), ro.Rename(file, file+"2"), ro.MkdirAll(file + "3"), ro.SyncDir(dir)} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("change %d: %v", i, err)
		}
	}
	if l, err := ro.Lock(filepath.Join(dir, lockName)); err != nil {
		t.Error(err)
	} else if err := l.Close(); err != nil {
		t.Error(err)
	}
	if names, err := ro.List(dir); err != nil || len(names) != 1 {
		t.Errorf("%v, %v", names, err)
	}
}

// A damaged snapshot does not stop a recovery where it does not stop a node, and
// stops it where it does: the log must go on from an older snapshot.
func TestRecoverPassesOverSnapshots(t *testing.T) {
	for _, older := range []bool{true, false} {
		dir := t.TempDir()
		makeOld(t, dir)
		name := snapshotName(raft.SnapshotMeta{Index: 10, Term: 2})
		good, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		bad := bytes.Clone(good)
		bad[len(bad)-snapshotEndBytes-blockHeadBytes-1] ^= 1 // in the content: the head is good
		if older {
			name = snapshotName(raft.SnapshotMeta{Index: 15, Term: 3})
		}
		must(t, os.WriteFile(filepath.Join(dir, name), bad, 0o600))
		_, err = Recover(dir, raft.Member{ID: 9, Role: raft.Voter, Name: "a"}, newCluster, Options{})
		if older {
			must(t, err)
			checkNew(t, dir, 11, raft.Configuration{})
		} else if !errors.Is(err, ErrDamage) {
			t.Fatalf("recovered from a log without its snapshot: %v", err)
		}
		d, err := Open(dir, Options{})
		must(t, err)
		_, err = d.Load()
		if d.Close(); (err == nil) != older {
			t.Fatalf("a node's start, with an older snapshot %v: %v", older, err)
		}
	}
}
