package node

import (
	"time"

	"golang.org/x/sys/unix"
)

// monotonic is a clock that never jumps and also counts the time that the machine
// was suspended, which Go's does not: a lease must not outlive a sleep.
func monotonic() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("node: no CLOCK_BOOTTIME: " + err.Error()) // there is one since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}
