//go:build !unix

package node

// FilesMax is how many files the process may have open.
func FilesMax() int { return 1 << 30 }
