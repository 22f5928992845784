package fault

import (
	"sync/atomic"
	"time"
)

// Clock is a wall clock that can be set wrong. The zero value is right.
type Clock struct{ offset atomic.Int64 }

// Now is the time on this clock.
func (c *Clock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// Set sets how far the clock is ahead of the right time.
func (c *Clock) Set(ahead time.Duration) { c.offset.Store(int64(ahead)) }
