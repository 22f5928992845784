package main

import (
	"os"
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

// fileSize is 0 if it can't be told; who opens the file says why.
func fileSize(path string) uint64 {
	st, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return uint64(st.Size())
}
