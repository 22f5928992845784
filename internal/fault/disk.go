package fault

import (
	"io/fs"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/syncsh/syncsh/persist"
)

// sectorBytes is what a disk writes whole.
const sectorBytes = 512

// Disk is a file system that fails on command.
type Disk struct {
	persist.FS

	mu       sync.Mutex // held for the whole of an operation: a power cut comes between two
	rng      *rand.Rand
	min, max time.Duration // of a sync, beside its own time
	failing  bool
	full     bool
	files    map[string]*unsynced
}

// unsynced is what a file would lose with the power.
type unsynced struct {
	writes []write
	size   int64 // at the last sync
}

// write is one that was not synced.
type write struct {
	at    int64
	old   []byte // what was there before, up to the old end of the file
	bytes int64
}

// NewDisk puts faults on top of a file system. The seed decides what is lost.
func NewDisk(under persist.FS, seed uint64) *Disk {
	return &Disk{FS: under, rng: rand.New(rand.NewPCG(seed, 0)), files: map[string]*unsynced{}}
}

// Heal ends the faults.
func (d *Disk) Heal() { d.set(0, 0, false, false) }

// Slow has each sync take a time between min and max longer.
func (d *Disk) Slow(min, max time.Duration) { d.set(min, max, false, false) }

// FailSyncs has each sync fail and lose what was written before it.
func (d *Disk) FailSyncs() { d.set(0, 0, true, false) }

// Fill lets no file grow.
func (d *Disk) Fill() { d.set(0, 0, false, true) }

func (d *Disk) set(min, max time.Duration, failing, full bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.min, d.max, d.failing, d.full = min, max, failing, full
}

// PowerCut loses what was not synced, then calls then. The Disk can't be used
// any more: nothing is written, or called durable, after the cut.
func (d *Disk) PowerCut(then func()) {
	d.mu.Lock()
	names := make([]string, 0, len(d.files))
	for name := range d.files {
		names = append(names, name)
	}
	slices.Sort(names) // the seed decides, not the map
	for _, name := range names {
		f, err := d.FS.Open(name)
		if err != nil {
			continue
		}
		d.lose(f, d.files[name]) //nolint:errcheck // what is not lost is kept, which a disk may do
		f.Close()
	}
	then()
}

// wait makes a sync slow. It holds no lock: a slow disk does not delay commands.
func (d *Disk) wait() {
	d.mu.Lock()
	min, max := d.min, d.max
	if max > min {
		min += time.Duration(d.rng.Int64N(int64(max - min)))
	}
	d.mu.Unlock()
	time.Sleep(min)
}

// lose undoes some of a file's writes, the last one first.
func (d *Disk) lose(f persist.File, u *unsynced) error {
	for _, w := range slices.Backward(u.writes) {
		kept := int64(0)
		switch d.rng.IntN(3) {
		case 0:
			continue
		case 1: // torn
			kept = d.rng.Int64N(w.bytes+1) / sectorBytes * sectorBytes
		}
		old := make([]byte, w.bytes)
		copy(old, w.old)
		if _, err := f.WriteAt(old[kept:], w.at+kept); err != nil {
			return err
		}
	}
	size, err := f.Size()
	if err == nil && size > u.size && d.rng.IntN(2) == 0 {
		err = f.Truncate(u.size) // the new size was not synced either
	}
	u.writes = nil
	return err
}

// Open is part of persist.FS.
func (d *Disk) Open(path string) (persist.File, error) {
	f, err := d.FS.Open(path)
	if err != nil {
		return nil, err
	}
	return d.watch(path, f)
}

// Create is part of persist.FS.
func (d *Disk) Create(path string) (persist.File, error) {
	d.mu.Lock()
	full := d.full
	d.mu.Unlock()
	if full {
		return nil, &fs.PathError{Op: "create", Path: path, Err: syscall.ENOSPC}
	}
	f, err := d.FS.Create(path)
	if err != nil {
		return nil, err
	}
	return d.watch(path, f)
}

func (d *Disk) watch(path string, f persist.File) (persist.File, error) {
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.files[path]
	if u == nil {
		u = &unsynced{size: size}
		d.files[path] = u
	}
	return &file{File: f, disk: d, path: path, lost: u}, nil
}

// Rename is part of persist.FS.
func (d *Disk) Rename(oldpath, newpath string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.FS.Rename(oldpath, newpath); err != nil {
		return err
	}
	delete(d.files, newpath)
	if u := d.files[oldpath]; u != nil {
		d.files[newpath] = u
		delete(d.files, oldpath)
	}
	return nil
}

// Remove is part of persist.FS.
func (d *Disk) Remove(path string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.files, path)
	return d.FS.Remove(path)
}

// SyncDir is part of persist.FS.
func (d *Disk) SyncDir(path string) error {
	d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing {
		return &fs.PathError{Op: "sync", Path: path, Err: syscall.EIO}
	}
	return d.FS.SyncDir(path)
}

// file is an open file of a Disk.
type file struct {
	persist.File
	disk *Disk
	path string
	lost *unsynced
}

// WriteAt is part of persist.File.
func (f *file) WriteAt(p []byte, at int64) (int, error) {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	size, err := f.File.Size()
	if err != nil {
		return 0, err
	}
	room := max(0, size-at)
	if d.full && int64(len(p)) > room {
		n := 0
		if room > 0 {
			n, _ = f.write(p[:room], at, room)
		}
		return n, &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
	}
	return f.write(p, at, room)
}

// write remembers what it overwrites; the file has room bytes behind at.
func (f *file) write(p []byte, at, room int64) (int, error) {
	w := write{at: at, old: make([]byte, min(room, int64(len(p)))), bytes: int64(len(p))}
	if len(w.old) > 0 {
		if _, err := f.File.ReadAt(w.old, at); err != nil {
			return 0, err
		}
	}
	f.lost.writes = append(f.lost.writes, w)
	return f.File.WriteAt(p, at)
}

// Sync is part of persist.File.
func (f *file) Sync() error {
	d := f.disk
	d.wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failing {
		if err := d.lose(f.File, f.lost); err != nil {
			return err
		}
		return &fs.PathError{Op: "sync", Path: f.path, Err: syscall.EIO}
	}
	if err := f.File.Sync(); err != nil {
		return err
	}
	size, err := f.File.Size()
	if err != nil {
		return err
	}
	f.lost.writes, f.lost.size = nil, size
	return nil
}

// Truncate is part of persist.File.
func (f *file) Truncate(size int64) error {
	d := f.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	now, err := f.File.Size()
	if err != nil {
		return err
	}
	if d.full && size > now {
		return &fs.PathError{Op: "truncate", Path: f.path, Err: syscall.ENOSPC}
	}
	return f.File.Truncate(size)
}
