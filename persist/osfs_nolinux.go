//go:build !linux

package persist

import "os"

func datasync(f *os.File) error { return f.Sync() }
