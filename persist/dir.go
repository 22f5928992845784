package persist

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/syncsh/syncsh/raft"
)

const lockName = "lock"

// Limits and their defaults.
const (
	defaultSegmentBytes = 64 << 20
	segmentBytesMin     = 4096
	segmentBytesMax     = 1 << 30
	// firstSegmentBytes keeps a new directory from starting with a long write of
	// zeros; each segment is segmentGrowth times the one before, up to
	// Options.SegmentBytes.
	firstSegmentBytes = 1 << 20
	segmentGrowth     = 4
	// sparesMax is how many prepared segments are kept.
	sparesMax = 2
	// saveBytesMax bounds one Save, and so one record.
	saveBytesMax = 512 << 20
	// recordBytesTarget is the payload from which on the next Save begins another
	// record, in the same write: a damaged record then costs no more than needed.
	recordBytesTarget = 1 << 20
	// keepBufferBytes is how large a write buffer may be to be used again.
	keepBufferBytes = 8 << 20
	// zeroBytes is how much is zeroed by one write.
	zeroBytes = 256 << 10
	// sectorBytes is what a disk writes whole or not at all, and the unit in which a
	// crash of a MemFS keeps or loses unsynced writes.
	sectorBytes = 512

	defaultKeepSnapshots = 2
)

// Options say how a directory is used. The zero value is good but for Sync.
type Options struct {
	// FS is the file system; nil means OSFS().
	FS FS
	// SegmentBytes is the size of a log segment, 64 MiB if 0. The first segments
	// are smaller, and one with a large Save is larger.
	SegmentBytes int64
	// Sync makes Sync sync. Without it nothing waits for the disk: the end of the
	// process loses nothing, that of the machine what it likes, and Load then
	// returns what is left up to the first gap.
	Sync bool
	// KeepSnapshots is how many snapshots are kept, 2 if 0.
	KeepSnapshots int
	// Go, if not nil, runs f on another goroutine: segments are then prepared
	// ahead of need. If nil they are prepared when needed, by the caller of Sync
	// or Flush. Close waits for what Go runs.
	Go func(f func())
}

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = OSFS()
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = defaultSegmentBytes
	}
	o.SegmentBytes = roundUp(min(max(o.SegmentBytes, segmentBytesMin), segmentBytesMax))
	if o.KeepSnapshots <= 0 {
		o.KeepSnapshots = defaultKeepSnapshots
	}
	return o
}

func roundUp(n int64) int64 {
	return (n + segmentRoundBytes - 1) / segmentRoundBytes * segmentRoundBytes
}

// Dir is an open data directory. See the package doc for who may call what.
type Dir struct {
	path string
	fs   FS
	opt  Options
	lock io.Closer

	identity Identity
	begun    bool // the log was begun: its absence is a loss
	closed   bool
	log      *log // nil before Load
	loaded   bool // Load was called

	background sync.WaitGroup

	publishing sync.Mutex // held while a snapshot gets its name and old ones go

	mu        sync.Mutex          // of what follows: the log and the snapshots have goroutines of their own
	snapshots []raft.SnapshotMeta // verified ones, ascending
	broken    map[string]bool     // names of snapshots that are not good
	tmpNext   int
	spares    []string // names of prepared segments
	spareNext uint64   // number for the next one
	preparing bool
	noRoom    error // why there was no space for another segment; nil: there was
	notes     []string
}

// Open opens a data directory, which is made if need be, takes its lock and reads
// its identity. The log is read by Load, which also removes what an interrupted
// process left half made: who opens another's directory by mistake changes nothing.
func Open(path string, o Options) (*Dir, error) {
	o = o.withDefaults()
	d := &Dir{path: filepath.Clean(path), fs: o.FS, opt: o}
	if err := d.open(); err != nil {
		d.Close()
		return nil, fmt.Errorf("data directory %s: %w", d.path, err)
	}
	return d, nil
}

func (d *Dir) open() error {
	if err := d.fs.MkdirAll(d.path); err != nil {
		return err
	}
	if err := d.fs.SyncDir(filepath.Dir(d.path)); err != nil {
		return err
	}
	lock, err := d.fs.Lock(d.file(lockName))
	if err != nil {
		return err
	}
	d.lock = lock
	return d.readIdentity()
}

// tidy removes half-made files and finds the prepared segments. Nothing
// refers to the former, and the latter are only room.
func (d *Dir) tidy(names []string) error {
	for _, name := range names {
		if strings.HasSuffix(name, tmpSuffix) {
			if err := d.fs.Remove(d.file(name)); err != nil {
				return err
			}
			d.note("removed %s, left by an interrupted process", name)
			continue
		}
		n, ok := parseNumber(name, spareSuffix)
		if !ok {
			continue
		}
		d.spareNext = max(d.spareNext, n)
		if len(d.spares) < sparesMax && d.fileSize(name) == d.opt.SegmentBytes {
			d.spares = append(d.spares, name)
		} else if err := d.fs.Remove(d.file(name)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) fileSize(name string) int64 {
	f, err := d.fs.Open(d.file(name))
	if err != nil {
		return -1
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return -1
	}
	return size
}

// file is the path of a file of the directory.
func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

func (d *Dir) note(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.notes) < notesMax {
		d.notes = append(d.notes, fmt.Sprintf(format, args...))
	}
}

// notesMax bounds the notes that wait for Notes.
const notesMax = 100

// Notes returns what was noticed since the last call and stops nothing: a
// snapshot that could not be removed, a segment that could not be prepared.
func (d *Dir) Notes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.notes
	d.notes = nil
	return n
}

// Close frees the directory. What was appended and not flushed is lost.
func (d *Dir) Close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	d.background.Wait()
	var err error
	if d.log != nil && d.log.file != nil {
		err = d.log.file.Close()
	}
	if d.lock != nil {
		err = errors.Join(err, d.lock.Close())
	}
	return err
}

// readFull reads len(p) bytes at off; fewer are io.ErrUnexpectedEOF.
func readFull(f io.ReaderAt, p []byte, off int64) error {
	n, err := f.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
