package gossip

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// A ping is answered to whoever has the name and the key right, and leaves no
// trace among the members.
func TestPing(t *testing.T) {
	leaks(t)
	key := []byte(strings.Repeat("k", 32))
	open := startPeer(t, "n1", nil)
	locked := startPeer(t, "n2", func(c *Config) { c.Key = key })
	ping := func(p *peer, name string, key []byte, timeout time.Duration) error {
		_, err := Ping(t.Context(), name, p.addr, key, timeout)
		return err
	}
	if err := ping(open, "n1", nil, 30*time.Second); err != nil {
		t.Error(err)
	}
	if err := ping(locked, "n2", key, 30*time.Second); err != nil {
		t.Error(err)
	}
	const soon = 50 * time.Millisecond
	for _, err := range []error{
		ping(open, "n3", nil, soon),
		ping(locked, "n2", nil, soon),
		ping(locked, "n2", []byte(strings.Repeat("w", 32)), soon),
	} {
		if !errors.Is(err, ErrNoAnswer) {
			t.Errorf("%v, want %v", err, ErrNoAnswer)
		}
	}
	if names := open.alive() + " " + locked.alive(); names != "n1 n2" {
		t.Errorf("members: %s", names)
	}
}
