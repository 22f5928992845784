package main

import (
	"errors"
	"io"

	"github.com/syncsh/syncsh/persist"
)

// errPower is what a disk answers after the power has gone. Nobody sees it: the
// member is down by the end of the event.
var errPower = errors.New("power failure")

// errDisk is what a faulty disk answers.
var errDisk = errors.New("input/output error")

// disk is a member's file system. It can lose its power between any two
// operations, also in the middle of a write, and MemFS.Crash then decides what
// is left of what was not synced.
type disk struct {
	*persist.MemFS
	left int  // changing operations until the power goes, if armed
	arm  bool // left counts
	dead bool // the power has gone
}

// arm lets the power go at the nth changing operation from now.
func (d *disk) powerGoesAfter(n int) { d.arm, d.left = true, n }

// powerBack readies the disk for another start.
func (d *disk) powerBack() { d.arm, d.left, d.dead = false, 0, false }

// change counts an operation that changes the disk.
func (d *disk) change() error {
	if d.dead {
		return errPower
	}
	if d.arm {
		if d.left--; d.left < 0 {
			d.dead = true
			return errPower
		}
	}
	return nil
}

func (d *disk) Open(path string) (persist.File, error) {
	if d.dead {
		return nil, errPower
	}
	f, err := d.MemFS.Open(path)
	return d.file(f), err
}

func (d *disk) Create(path string) (persist.File, error) {
	if err := d.change(); err != nil {
		return nil, err
	}
	f, err := d.MemFS.Create(path)
	return d.file(f), err
}

func (d *disk) Rename(oldpath, newpath string) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.MemFS.Rename(oldpath, newpath)
}

func (d *disk) Remove(path string) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.MemFS.Remove(path)
}

func (d *disk) SyncDir(path string) error {
	if err := d.change(); err != nil {
		return err
	}
	return d.MemFS.SyncDir(path)
}

func (d *disk) Lock(path string) (io.Closer, error) {
	if err := d.change(); err != nil {
		return nil, err
	}
	return d.MemFS.Lock(path)
}

func (d *disk) file(f persist.File) persist.File {
	if f == nil {
		return nil
	}
	return &diskFile{f, d}
}

type diskFile struct {
	persist.File
	d *disk
}

func (f *diskFile) ReadAt(p []byte, off int64) (int, error) {
	if f.d.dead {
		return 0, errPower
	}
	return f.File.ReadAt(p, off)
}

// WriteAt is written when the power goes in its middle: what is left of it is
// for MemFS.Crash to say.
func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if f.d.dead {
		return 0, errPower
	}
	n, err := f.File.WriteAt(p, off)
	if power := f.d.change(); power != nil {
		return 0, power
	}
	return n, err
}

func (f *diskFile) Sync() error {
	if err := f.d.change(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *diskFile) Truncate(size int64) error {
	if err := f.d.change(); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
