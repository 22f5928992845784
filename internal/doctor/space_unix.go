//go:build linux || darwin || freebsd

package doctor

import "golang.org/x/sys/unix"

// freeBytes is what is free for a user on the file system of a directory.
func freeBytes(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return uint64(max(st.Bavail, 0)) * uint64(st.Bsize), nil //nolint:unconvert // the types differ between systems
}
