package persist

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrReadOnly is returned for every attempt to change something through what
// ReadOnly gave.
var ErrReadOnly = errors.New("opened to be read only")

// ReadOnly returns a file system that can't change anything: what looks into a
// directory is kept from repairing it, whatever code it shares with Open.
// With OSFS files are opened without the right to write to them.
func ReadOnly(f FS) FS {
	if c, ok := f.(countedFS); ok {
		return countedFS{ReadOnly(c.FS), c.read}
	}
	return readOnlyFS{f}
}

type readOnlyFS struct{ fs FS }

func (r readOnlyFS) MkdirAll(string) error           { return ErrReadOnly }
func (r readOnlyFS) Create(string) (File, error)     { return nil, ErrReadOnly }
func (r readOnlyFS) Rename(string, string) error     { return ErrReadOnly }
func (r readOnlyFS) Remove(string) error             { return ErrReadOnly }
func (r readOnlyFS) SyncDir(string) error            { return ErrReadOnly }
func (r readOnlyFS) Free(p string) (int64, error)    { return r.fs.Free(p) }
func (r readOnlyFS) List(p string) ([]string, error) { return r.fs.List(p) }

func (r readOnlyFS) Open(path string) (File, error) {
	if _, ok := r.fs.(osFS); ok {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		return readOnlyFile{osFile{f}}, nil
	}
	f, err := r.fs.Open(path)
	if err != nil {
		return nil, err
	}
	return readOnlyFile{f}, nil
}

// Lock takes the lock of a directory if there is a file for it; without one no
// node has used the directory since it was copied, and nothing is made.
func (r readOnlyFS) Lock(path string) (io.Closer, error) {
	if _, ok := r.fs.(osFS); !ok {
		return r.fs.Lock(path)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return io.NopCloser(nil), nil
	}
	if err != nil {
		return nil, err
	}
	if err := lockFile(f); err != nil {
		f.Close()
		return nil, &fs.PathError{Op: "lock", Path: filepath.Clean(path), Err: err}
	}
	return f, nil
}

// readOnlyFile is a file that can't be changed.
type readOnlyFile struct{ File }

func (readOnlyFile) WriteAt([]byte, int64) (int, error) { return 0, ErrReadOnly }
func (readOnlyFile) Truncate(int64) error               { return ErrReadOnly }
func (readOnlyFile) Sync() error                        { return ErrReadOnly }
