package persist

import (
	"os"
	"syscall"
)

func datasync(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		// A signal before anything was done is not a failed sync.
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
