//go:build unix

package node

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// directWrite returns a function that writes what the kernel takes at once and
// tells how many bytes that were; nil if the connection can't.
func directWrite(conn net.Conn) func(b []byte) int {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	return func(b []byte) (n int) {
		if len(b) == 0 {
			return 0
		}
		// An error is the writer's to find: it writes the same bytes.
		raw.Write(func(fd uintptr) bool { //nolint:errcheck
			n, _ = unix.Write(int(fd), b)
			return true
		})
		return max(n, 0)
	}
}
