package shell

import (
	"fmt"
	"time"

	"github.com/syncsh/syncsh/internal/command"
)

// callTimes are the times of the calls of one input, added up.
type callTimes struct {
	calls int
	sum   command.Times
}

func (c *callTimes) add(t *command.Times) {
	if t != nil {
		c.calls++
		c.sum.Add(*t)
	}
}

// text is what .time prints of an input that took so long.
func (c *callTimes) text(took time.Duration) string {
	text := took.Round(time.Microsecond).String()
	if c.calls == 0 {
		return "(" + text + ")"
	}
	if c.calls > 1 {
		text += fmt.Sprintf(" with %d calls", c.calls)
	}
	us := func(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
	t := c.sum
	text += fmt.Sprintf(": queue %v, replicate %v (fsync %v), apply %v", us(t.Queue), us(t.Replicate), us(t.Fsync), us(t.Apply))
	if t.Forward > 0 {
		text += fmt.Sprintf(", forward %v", us(t.Forward))
	}
	return fmt.Sprintf("(%s, rest %v)", text, max(took-us(t.Total()), 0).Round(time.Microsecond))
}
