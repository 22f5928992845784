//go:build !linux

package node

import "time"

var processStart = time.Now()

// monotonic is a clock that never jumps. On some systems it does not count the
// time that the machine was suspended.
func monotonic() time.Duration { return time.Since(processStart) }
