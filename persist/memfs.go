package persist

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"path/filepath"
	"sort"
	"sync"
	"syscall"
)

// Op is a kind of operation of a MemFS, as a fault sees it.
type Op string

// The operations that a fault can hit.
const (
	OpCreate   Op = "create"
	OpOpen     Op = "open"
	OpRead     Op = "read"
	OpWrite    Op = "write"
	OpSync     Op = "sync"
	OpTruncate Op = "truncate"
	OpRename   Op = "rename"
	OpRemove   Op = "remove"
	OpSyncDir  Op = "syncdir"
	OpList     Op = "list"
)

// Fault decides about the n-th operation of a MemFS, counted from 1. An error
// makes it fail. A write that fails stores keep of its bytes first.
type Fault func(n int, op Op, path string) (keep int, err error)

// MemFS is a file system in memory that remembers what was not synced. Crash
// loses it, in whole or in parts, as a power failure may: a write keeps any
// subset of its sectors, a directory any subset of its changes. Directories
// themselves, once made, stay. It is for tests and for the simulator: the same
// calls and seeds give the same bytes. All methods may be called from several
// goroutines.
type MemFS struct {
	mu    sync.Mutex
	dirs  map[string]*memDir
	locks map[string]*memLock
	epoch int // raised by Kill and Crash: older files and locks are void
	ops   int
	fault Fault
	room  int64 // bytes left, if limited
	full  bool  // whether room counts
}

type memDir struct {
	names   map[string]*memNode // as seen
	durable map[string]*memNode // after a crash that loses everything
	changes []dirChange         // since the last SyncDir
}

// dirChange takes a name away from a node, gives it one, or both at once.
type dirChange struct {
	from, to string
	node     *memNode
}

type memNode struct {
	data    []byte // as seen
	durable []byte
	writes  []memWrite // since the last Sync
}

// memWrite is an unsynced write, or, with data nil, an unsynced Truncate.
type memWrite struct {
	off  int64
	data []byte
}

type memLock struct {
	m    *MemFS
	path string
}

// NewMemFS returns an empty file system.
func NewMemFS() *MemFS {
	return &MemFS{dirs: map[string]*memDir{}, locks: map[string]*memLock{}}
}

// SetFault makes f decide about every operation from now on; nil ends that. It
// restarts the count of operations.
func (m *MemFS) SetFault(f Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault, m.ops = f, 0
}

// Ops is the number of operations since the start or the last SetFault.
func (m *MemFS) Ops() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ops
}

// SetRoom limits the bytes by which files may still grow; then writes fail with
// ENOSPC after storing what had room. A negative number ends the limit.
func (m *MemFS) SetRoom(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.full, m.room = bytes >= 0, bytes
}

// Kill ends the process that uses the file system: open files become void and
// locks free, faults end, nothing is lost.
func (m *MemFS) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kill()
}

func (m *MemFS) kill() {
	m.epoch++
	m.locks = map[string]*memLock{}
	m.fault = nil
}

// Crash is Kill and a power failure. What was not synced is kept or lost as the
// seed decides: all, nothing, or each write and each of its sectors by itself.
func (m *MemFS) Crash(seed int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := rand.New(rand.NewSource(seed))
	m.crash(r, func() int { return r.Intn(3) })
}

// What a crash does with unsynced changes of a file or directory.
const (
	lossNone = iota
	lossAll
	lossSome // each change by itself, the last write torn
)

// crash is Crash with a mode for each file and directory.
func (m *MemFS) crash(r *rand.Rand, mode func() int) {
	m.kill()
	done := map[*memNode]bool{}
	for _, path := range sortedKeys(m.dirs) {
		d := m.dirs[path]
		for _, n := range d.nodes() {
			if !done[n] {
				n.crash(r, mode())
				done[n] = true
			}
		}
		d.crash(r, mode())
	}
}

// nodes returns every file that a crash may leave, in a fixed order.
func (d *memDir) nodes() []*memNode {
	var out []*memNode
	for _, name := range sortedKeys(d.durable) {
		out = append(out, d.durable[name])
	}
	for _, c := range d.changes {
		out = append(out, c.node)
	}
	return out
}

func (d *memDir) crash(r *rand.Rand, mode int) {
	for _, c := range d.changes {
		if keep(r, mode) {
			c.apply(d.durable)
		}
	}
	d.changes = nil
	d.names = make(map[string]*memNode, len(d.durable))
	for name, n := range d.durable {
		d.names[name] = n
	}
}

func (c dirChange) apply(names map[string]*memNode) {
	if names[c.from] == c.node {
		delete(names, c.from)
	}
	if c.to != "" {
		names[c.to] = c.node
	}
}

func (n *memNode) crash(r *rand.Rand, mode int) {
	for i, w := range n.writes {
		switch {
		case w.data == nil:
			if keep(r, mode) {
				n.durable = resize(n.durable, w.off)
			}
		case mode == lossSome && (i == len(n.writes)-1 || r.Intn(2) == 0):
			n.durable = writeTorn(n.durable, w, r)
		case keep(r, mode):
			n.durable = writeAt(n.durable, w.off, w.data)
		}
	}
	n.writes = nil
	n.data = append([]byte(nil), n.durable...)
}

// keep decides about one change.
func keep(r *rand.Rand, mode int) bool {
	return mode == lossNone || mode == lossSome && r.Intn(2) == 0
}

// writeTorn stores some of the sectors of a write, often only the first ones.
func writeTorn(b []byte, w memWrite, r *rand.Rand) []byte {
	prefix := r.Intn(2) == 0
	end := w.off + int64(len(w.data))
	for at := w.off; at < end; {
		next := min((at/sectorBytes+1)*sectorBytes, end)
		if r.Intn(2) == 0 {
			if prefix {
				break
			}
		} else {
			b = writeAt(b, at, w.data[at-w.off:next-w.off])
		}
		at = next
	}
	return b
}

func writeAt(b []byte, off int64, p []byte) []byte {
	if end := off + int64(len(p)); end > int64(len(b)) {
		b = resize(b, end)
	}
	copy(b[off:], p)
	return b
}

func resize(b []byte, size int64) []byte {
	if size <= int64(len(b)) {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// ReadFile returns a copy of a file's bytes as they are seen.
func (m *MemFS) ReadFile(path string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node("read", path)
	if err != nil {
		return nil, err
	}
	return append([]byte(nil), n.data...), nil
}

// WriteFile makes or replaces a file, durably and whatever the faults.
func (m *MemFS) WriteFile(path string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name := filepath.Split(filepath.Clean(path))
	d := m.mkdir(filepath.Clean(dir))
	n := &memNode{data: append([]byte(nil), data...), durable: append([]byte(nil), data...)}
	d.names[name], d.durable[name] = n, n
}

// FlipBit inverts one bit of a file, as a disk may.
func (m *MemFS) FlipBit(path string, bit int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.node("flip", path)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{n.data, n.durable} {
		if at := bit / 8; at < int64(len(b)) {
			b[at] ^= 1 << (bit % 8)
		}
	}
	return nil
}

// Clone returns a copy of what is seen, all of it durable, without locks,
// faults and limits.
func (m *MemFS) Clone() *MemFS {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := NewMemFS()
	for path, d := range m.dirs {
		c.mkdir(path)
		for name, n := range d.names {
			c.WriteFile(filepath.Join(path, name), n.data)
		}
	}
	return c
}

// do counts an operation and asks the fault.
func (m *MemFS) do(op Op, path string) (int, error) {
	m.ops++
	if m.fault == nil {
		return 0, nil
	}
	keep, err := m.fault(m.ops, op, path)
	if err != nil {
		err = &fs.PathError{Op: string(op), Path: path, Err: err}
	}
	return keep, err
}

func (m *MemFS) dir(path string) (d *memDir, name string, err error) {
	dir, name := filepath.Split(filepath.Clean(path))
	d = m.dirs[filepath.Clean(dir)]
	if d == nil {
		return nil, "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	return d, name, nil
}

func (m *MemFS) node(op, path string) (*memNode, error) {
	d, name, err := m.dir(path)
	if err != nil {
		return nil, err
	}
	n := d.names[name]
	if n == nil {
		return nil, &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return n, nil
}

func (m *MemFS) mkdir(path string) *memDir {
	d := m.dirs[path]
	if d == nil {
		d = &memDir{names: map[string]*memNode{}, durable: map[string]*memNode{}}
		m.dirs[path] = d
	}
	return d
}

// MkdirAll implements FS.
func (m *MemFS) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mkdir(filepath.Clean(path))
	return nil
}

// Open implements FS.
func (m *MemFS) Open(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpOpen, path); err != nil {
		return nil, err
	}
	n, err := m.node("open", path)
	if err != nil {
		return nil, err
	}
	return &memFile{m: m, n: n, path: path, epoch: m.epoch}, nil
}

// Create implements FS.
func (m *MemFS) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpCreate, path); err != nil {
		return nil, err
	}
	d, name, err := m.dir(path)
	if err != nil {
		return nil, err
	}
	if d.names[name] != nil {
		return nil, &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	n := &memNode{}
	d.change(dirChange{to: name, node: n})
	return &memFile{m: m, n: n, path: path, epoch: m.epoch}, nil
}

func (d *memDir) change(c dirChange) {
	c.apply(d.names)
	d.changes = append(d.changes, c)
}

// Rename implements FS, within one directory.
func (m *MemFS) Rename(oldpath, newpath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpRename, newpath); err != nil {
		return err
	}
	n, err := m.node("rename", oldpath)
	if err != nil {
		return err
	}
	d, from, err := m.dir(oldpath)
	if err != nil {
		return err
	}
	d2, to, err := m.dir(newpath)
	if err != nil {
		return err
	}
	if d != d2 {
		return &fs.PathError{Op: "rename", Path: newpath, Err: errors.ErrUnsupported}
	}
	d.change(dirChange{from: from, to: to, node: n})
	return nil
}

// Remove implements FS.
func (m *MemFS) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpRemove, path); err != nil {
		return err
	}
	n, err := m.node("remove", path)
	if err != nil {
		return err
	}
	if m.full {
		m.room += int64(len(n.data))
	}
	d, name, err := m.dir(path)
	if err != nil {
		return err
	}
	d.change(dirChange{from: name, node: n})
	return nil
}

// List implements FS.
func (m *MemFS) List(path string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpList, path); err != nil {
		return nil, err
	}
	d := m.dirs[filepath.Clean(path)]
	if d == nil {
		return nil, &fs.PathError{Op: "list", Path: path, Err: fs.ErrNotExist}
	}
	return sortedKeys(d.names), nil
}

// Free implements FS.
func (m *MemFS) Free(string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.full {
		return -1, nil
	}
	return m.room, nil
}

// SyncDir implements FS.
func (m *MemFS) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.do(OpSyncDir, path); err != nil {
		return err
	}
	d := m.dirs[filepath.Clean(path)]
	if d == nil {
		return nil // the parent of the first directory
	}
	for _, c := range d.changes {
		c.apply(d.durable)
	}
	d.changes = nil
	return nil
}

// Lock implements FS.
func (m *MemFS) Lock(path string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[path] != nil {
		return nil, &fs.PathError{Op: "lock", Path: path, Err: ErrLocked}
	}
	d, name, err := m.dir(path)
	if err != nil {
		return nil, err
	}
	if d.names[name] == nil {
		d.change(dirChange{to: name, node: &memNode{}})
	}
	l := &memLock{m: m, path: path}
	m.locks[path] = l
	return l, nil
}

// Close frees the lock.
func (l *memLock) Close() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.m.locks[l.path] == l {
		delete(l.m.locks, l.path)
	}
	return nil
}

// memFile is an open file of a MemFS.
type memFile struct {
	m      *MemFS
	n      *memNode
	path   string
	epoch  int
	closed bool
}

func (f *memFile) begin(op Op) (int, error) {
	if f.closed || f.epoch != f.m.epoch {
		return 0, &fs.PathError{Op: string(op), Path: f.path, Err: fs.ErrClosed}
	}
	return f.m.do(op, f.path)
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if _, err := f.begin(OpRead); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("read %s: offset %d", f.path, off)
	}
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	keep, err := f.begin(OpWrite)
	if err != nil {
		if errors.Is(err, fs.ErrClosed) {
			return 0, err
		}
		keep = min(keep, len(p))
		f.write(p[:keep], off)
		return keep, err
	}
	n := len(p)
	if grow := off + int64(n) - int64(len(f.n.data)); f.m.full && grow > 0 {
		if grow > f.m.room {
			n = int(max(int64(n)-(grow-f.m.room), 0))
			grow = f.m.room
			err = &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
		}
		f.m.room -= grow
	}
	f.write(p[:n], off)
	return n, err
}

func (f *memFile) write(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	f.n.data = writeAt(f.n.data, off, p)
	f.n.writes = append(f.n.writes, memWrite{off: off, data: append([]byte(nil), p...)})
}

// Sync makes what was written durable. If it fails, what was not synced is as
// it is with Linux: still seen, and never written by any later Sync.
func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	_, err := f.begin(OpSync)
	if errors.Is(err, fs.ErrClosed) {
		return err
	}
	if err == nil {
		for _, w := range f.n.writes {
			if w.data == nil {
				f.n.durable = resize(f.n.durable, w.off)
			} else {
				f.n.durable = writeAt(f.n.durable, w.off, w.data)
			}
		}
	}
	f.n.writes = nil
	return err
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if _, err := f.begin(OpTruncate); err != nil {
		return err
	}
	f.n.data = resize(f.n.data, size)
	f.n.writes = append(f.n.writes, memWrite{off: size})
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.closed || f.epoch != f.m.epoch {
		return 0, &fs.PathError{Op: "size", Path: f.path, Err: fs.ErrClosed}
	}
	return int64(len(f.n.data)), nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	f.closed = true
	return nil
}
