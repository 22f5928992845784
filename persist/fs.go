package persist

import (
	"errors"
	"io"
)

// ErrLocked is returned by Open, and by FS.Lock, when another Dir or process
// holds the lock of the data directory.
var ErrLocked = errors.New("locked by another process")

// FS is all that this package asks of a file system. Paths are those of the
// operating system. Errors can be told apart with errors.Is against fs.ErrNotExist,
// fs.ErrExist and syscall.ENOSPC.
type FS interface {
	// MkdirAll creates a directory and its parents.
	MkdirAll(path string) error
	// Open opens a file for reading and writing.
	Open(path string) (File, error)
	// Create creates a file that must not exist, for reading and writing.
	Create(path string) (File, error)
	// Rename replaces newpath atomically.
	Rename(oldpath, newpath string) error
	Remove(path string) error
	// List returns the names in a directory, sorted.
	List(path string) ([]string, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(path string) error
	// Free is how many bytes files below a directory may still grow by; -1 when
	// that can't be told.
	Free(path string) (int64, error)
	// Lock takes an exclusive lock on a file, created if need be, until the
	// Closer is closed or the process ends. ErrLocked when another holds it.
	Lock(path string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes written data, and the size, durable (fdatasync).
	Sync() error
	Truncate(size int64) error
	Size() (int64, error)
}
