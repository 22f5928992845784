//go:build !unix

package node

// filesMax is how many files the process may have open.
func filesMax() int { return 1 << 30 }
