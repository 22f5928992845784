package main

import (
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/syncsh/syncsh/internal/tty"
	"github.com/syncsh/syncsh/persist"
)

// newBar is a bar on standard error; there is none without a terminal, and none
// for programs.
func newBar(json bool) *tty.Bar {
	if json {
		return nil
	}
	return tty.NewBar(os.Stderr)
}

// checkPasses is how often the check of a backup reads it: its blocks, the sum of
// its bytes, and the state in it.
const checkPasses = 3

// barFS shows how much of total bytes is read, in so many passes. It is the file
// system of an Options: nil without a bar.
func barFS(bar *tty.Bar, what string, total uint64, passes uint64) persist.FS {
	if bar == nil {
		return nil
	}
	var done atomic.Uint64
	return persist.Counted(persist.OSFS(), func(bytes int) {
		bar.Bytes(what, done.Add(uint64(bytes))/passes, total)
	})
}

// checkFS shows how much of what a verification of path has to read is read. It
// reads a file of the log twice, its records and what they hold, and a snapshot
// checkPasses times.
func checkFS(bar *tty.Bar, path string) persist.FS {
	if bar == nil {
		return nil
	}
	if isFile(path) {
		return barFS(bar, "verify", fileSize(path), checkPasses)
	}
	const logPasses = 2
	size, toRead := uint64(0), uint64(0)
	entries, err := os.ReadDir(path)
	if err != nil { // the verification says so
		return nil
	}
	for _, e := range entries {
		passes := map[string]uint64{".wal": logPasses, ".snap": checkPasses}[filepath.Ext(e.Name())]
		if passes > 0 {
			n := fileSize(filepath.Join(path, e.Name()))
			size, toRead = size+n, toRead+passes*n
		}
	}
	var done atomic.Uint64
	return persist.Counted(persist.OSFS(), func(bytes int) {
		share := float64(done.Add(uint64(bytes))) / float64(max(toRead, 1))
		bar.Bytes("verify", uint64(min(share, 1)*float64(size)), size)
	})
}

// fileSize is 0 if it can't be told; who opens the file says why.
func fileSize(path string) uint64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return uint64(st.Size())
}
