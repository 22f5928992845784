package persist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/raft"
)

// A restored or recovered directory is another member of another cluster: never
// the old voter again, which may have promised what the copy does not know
// (scenario 57). It is built in a directory of its own below the one that is
// meant, and moved out of it when it is whole, its identity last: whatever was
// interrupted, a directory without an identity and with the log of a node is
// refused by Load.
const (
	buildingDir = "building" // begun anew, unless the identity above it is gone: then it is whole
	builtDir    = "built"    // whole, and nothing of the old directory is left: only moving in is to be done
	// replacedPrefix and the new member's id name the directory that keeps what a
	// recovery replaced.
	replacedPrefix = "replaced-by-"
)

// rebuildSaveBytes is about how much goes into one Save.
const rebuildSaveBytes = 4 << 20

var (
	// ErrNotEmpty is returned by Restore for a directory that has anything in it.
	ErrNotEmpty = errors.New("directory is not empty")
	// ErrNothing is returned by Recover for a directory that holds no state.
	ErrNothing = errors.New("there is nothing to recover")
)

// Restore makes a data directory, which must be empty or not there, from a
// snapshot's file: of a new member that is the only voter of a new cluster. self
// and cluster must be new. The state and its index are those of the file.
func Restore(file, dir string, self raft.Member, cluster string, o Options) (raft.SnapshotMeta, error) {
	o = o.withDefaults()
	if err := o.FS.MkdirAll(dir); err != nil {
		return raft.SnapshotMeta{}, err
	}
	names, err := o.FS.List(dir)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == "lost+found" })
	if len(names) > 0 {
		return raft.SnapshotMeta{}, fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	r, err := OpenSnapshotFile(file, o.FS)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	defer r.Close()
	meta := r.Meta()
	b := builder{dir: dir, self: self, cluster: cluster, opt: o}
	err = b.build(r, &meta, raft.HardState{Term: meta.Term, Commit: meta.Index}, nil)
	if err == nil {
		err = b.finish()
	}
	if err == nil {
		err = b.moveIn()
	}
	if err != nil {
		return raft.SnapshotMeta{}, errors.Join(fmt.Errorf("restore into %s: %w", dir, err), b.remove(buildingDir))
	}
	return meta, nil
}

// Recover makes the member of a data directory the only voter of a new cluster,
// with a new id. It keeps every entry that the directory has, committed or not,
// up to a torn write. self and cluster must be new. It returns where it put the
// files it replaced. Damage is refused, but for that of a snapshot that Load would
// do without (Contents.Stops). No node may use the directory.
//
// Interrupted, it is called again and goes on; until then the directory is
// refused by Load.
func Recover(dir string, self raft.Member, cluster string, o Options) (replaced string, err error) {
	o = o.withDefaults()
	o.Sync = true
	b := builder{dir: dir, self: self, cluster: cluster, opt: o}
	lock, err := o.FS.Lock(b.file(lockName))
	if err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	defer lock.Close()
	if err := b.recover(); err != nil {
		return "", fmt.Errorf("data directory %s: %w", dir, err)
	}
	return b.replaced, nil
}

// recover does what is left to do.
func (b *builder) recover() error {
	built, building, err := b.begun()
	if err != nil {
		return err
	}
	if !built && !building {
		if err := b.prepare(); err != nil {
			return err
		}
	}
	if err := b.nameReplaced(built); err != nil {
		return err
	}
	if !built {
		if err := b.moveAway(); err != nil {
			return err
		}
	}
	return b.moveIn()
}

// begun tells how far an interrupted recovery got: to moving in, or to moving
// away.
func (b *builder) begun() (built, building bool, err error) {
	if built, err = b.exists(builtDir, IdentityFile); err != nil || built {
		return built, false, err
	}
	old, err := b.exists(IdentityFile)
	if err != nil || old {
		return false, false, err
	}
	building, err = b.exists(buildingDir, IdentityFile)
	return false, building, err
}

// RecoveryBegun tells whether a Recover of the directory was interrupted: what
// is left to do is to call it again.
func RecoveryBegun(dir string, f FS) (bool, error) {
	if f == nil {
		f = OSFS()
	}
	b := builder{dir: dir, opt: Options{FS: ReadOnly(f)}}
	built, building, err := b.begun()
	return built || building, err
}

// nameReplaced names the place of the old files after the new member, which an
// interrupted recovery may have named.
func (b *builder) nameReplaced(built bool) error {
	d := &Dir{path: b.file(buildingDir), fs: b.opt.FS}
	if built {
		d.path = b.file(builtDir)
	}
	if err := d.readIdentity(); err != nil {
		return err
	}
	b.replaced = b.file(fmt.Sprintf("%s%016x", replacedPrefix, uint64(d.identity.NodeID)))
	return nil
}

// builder makes a data directory inside another one.
type builder struct {
	dir      string
	self     raft.Member
	cluster  string
	opt      Options
	replaced string
}

func (b *builder) file(name ...string) string {
	return filepath.Join(append([]string{b.dir}, name...)...)
}

// exists tells whether there is a file.
func (b *builder) exists(name ...string) (bool, error) {
	f, err := b.opt.FS.Open(b.file(name...))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, f.Close()
}

// prepare builds the new directory from the old one.
func (b *builder) prepare() error {
	for _, name := range []string{buildingDir, builtDir} {
		if err := b.remove(name); err != nil {
			return err
		}
	}
	c := &Contents{Path: filepath.Clean(b.dir), fs: ReadOnly(b.opt.FS)}
	if err := c.read(true); err != nil {
		return err
	}
	if stops := c.Stops(); len(stops) > 0 {
		return errors.Join(stops...)
	}
	entries, hard, err := c.lastResort(b.self)
	if err != nil {
		return err
	}
	var r *SnapshotReader
	if c.Snapshot != nil {
		if r, err = c.OpenSnapshot(*c.Snapshot); err != nil {
			return err
		}
		defer r.Close()
	}
	return b.build(r, c.Snapshot, hard, entries)
}

// lastResort returns the entries that the new log begins with: those of the old
// one and a configuration of one voter behind them, all committed.
func (c *Contents) lastResort(self raft.Member) ([]raft.Entry, raft.HardState, error) {
	hard := raft.HardState{Term: c.HardState.Term, Vote: self.ID}
	if c.Snapshot != nil {
		hard.Commit, hard.Term = c.Snapshot.Index, max(hard.Term, c.Snapshot.Term)
	}
	if n := len(c.Entries); n > 0 {
		hard.Commit, hard.Term = c.Entries[n-1].Index, max(hard.Term, c.Entries[n-1].Term)
	}
	if hard.Commit == 0 {
		return nil, hard, ErrNothing
	}
	hard.Term++
	hard.Commit++
	only := raft.Entry{
		Index: hard.Commit, Term: hard.Term, Span: 1, Kind: raft.EntryConfig,
		Data: raft.AppendConfiguration(nil, raft.Configuration{Members: []raft.Member{self}}),
	}
	return append(slices.Clip(c.Entries), only), hard, nil
}

// build makes a whole and durable data directory in buildingDir, with the content
// of a snapshot, which may be nil, and entries behind it.
func (b *builder) build(r *SnapshotReader, meta *raft.SnapshotMeta, hard raft.HardState, entries []raft.Entry) error {
	o := b.opt
	o.Sync, o.Go = true, nil
	d, err := Open(b.file(buildingDir), o)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.SetIdentity(Identity{NodeID: b.self.ID, Name: b.self.Name, Cluster: b.cluster}); err != nil {
		return err
	}
	if _, err := d.Load(); err != nil {
		return err
	}
	save := raft.Save{HardState: &hard}
	if meta != nil {
		fresh, err := d.copySnapshot(r, *meta, raft.Configuration{Members: []raft.Member{b.self}})
		if err != nil {
			return err
		}
		save.Reset = &fresh
	}
	for {
		n, bytes := 0, 0
		for n < len(entries) && bytes < rebuildSaveBytes {
			bytes += len(entries[n].Data) + itemHeadMax
			n++
		}
		save.Entries = entries[:n]
		if err := d.Append(save); err != nil {
			return err
		}
		if err := d.Sync(); err != nil {
			return err
		}
		if entries, save = entries[n:], (raft.Save{}); len(entries) == 0 {
			break
		}
	}
	return d.Close()
}

// copySnapshot writes a snapshot with the content of another, for another
// configuration.
func (d *Dir) copySnapshot(r *SnapshotReader, meta raft.SnapshotMeta, c raft.Configuration) (raft.SnapshotMeta, error) {
	w, err := d.CreateSnapshot(meta.Index, meta.Term, c)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	if _, err := io.Copy(w, r); err != nil {
		w.Abort()
		return raft.SnapshotMeta{}, err
	}
	return w.Finish()
}

// moveAway puts the old directory's files aside, the identity first: without it
// Load refuses the rest, and buildingDir is known to be whole.
func (b *builder) moveAway() error {
	o := b.opt.FS
	if err := o.MkdirAll(b.replaced); err != nil {
		return err
	}
	if err := o.SyncDir(b.dir); err != nil {
		return err
	}
	names, err := o.List(b.dir)
	if err != nil {
		return err
	}
	if i := slices.Index(names, IdentityFile); i > 0 {
		names[0], names[i] = names[i], names[0]
	}
	for _, name := range names {
		if name == lockName || name == buildingDir || name == "lost+found" || strings.HasPrefix(name, replacedPrefix) {
			continue
		}
		if err := o.Rename(b.file(name), filepath.Join(b.replaced, name)); err != nil {
			return err
		}
		if name != IdentityFile {
			continue
		}
		if err := errors.Join(o.SyncDir(b.replaced), o.SyncDir(b.dir)); err != nil {
			return err
		}
	}
	if err := errors.Join(o.SyncDir(b.replaced), o.SyncDir(b.dir)); err != nil {
		return err
	}
	return b.finish()
}

// finish says that nothing but moving in is left.
func (b *builder) finish() error {
	if err := b.opt.FS.Rename(b.file(buildingDir), b.file(builtDir)); err != nil {
		return err
	}
	return b.opt.FS.SyncDir(b.dir)
}

// moveIn moves the files of builtDir to where they belong, the identity last.
func (b *builder) moveIn() error {
	o := b.opt.FS
	names, err := o.List(b.file(builtDir))
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return n == IdentityFile || n == lockName })
	for _, name := range names {
		if err := o.Rename(b.file(builtDir, name), b.file(name)); err != nil {
			return err
		}
	}
	if err := o.SyncDir(b.dir); err != nil {
		return err
	}
	if err := o.Rename(b.file(builtDir, IdentityFile), b.file(IdentityFile)); err != nil {
		return err
	}
	if err := o.SyncDir(b.dir); err != nil {
		return err
	}
	return b.remove(builtDir)
}

// remove removes a directory that was made here, if it is there.
func (b *builder) remove(name string) error {
	names, err := b.opt.FS.List(b.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := b.opt.FS.Remove(b.file(name, n)); err != nil {
			return err
		}
	}
	return b.opt.FS.Remove(b.file(name))
}
