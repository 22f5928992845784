package persist

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// tally counts how an exhaustive test ended; it is logged for docs/SAFETY.md.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally(t *testing.T, what string) *tally {
	c, begun := &tally{counts: map[string]int{}}, time.Now()
	t.Cleanup(func() {
		var parts []string
		total := 0
		for k, n := range c.counts {
			parts = append(parts, fmt.Sprintf("%s %d", k, n))
			total += n
		}
		sort.Strings(parts)
		t.Logf("%d %s (%s) in %v", total, what, strings.Join(parts, ", "), time.Since(begun).Round(100*time.Millisecond))
	})
	return c
}

func (c *tally) add(how string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[how]++
}
