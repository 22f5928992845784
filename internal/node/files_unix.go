//go:build unix

package node

import "golang.org/x/sys/unix"

// FilesMax is how many files the process may have open.
func FilesMax() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<30 {
		return 1 << 30
	}
	return int(limit.Cur)
}
