package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestDamagedTail: a call that only n1 and n3 have is acknowledged, both are
// killed, and a bit flips in the last record of n3's log. n3 must not take that for
// a write that a crash interrupted: with n2, which was down, it would make a
// majority without the call. It refuses to start, and with n1 the call is there
// (scenarios 54 and 81).
func TestDamagedTail(t *testing.T) {
	c := newCluster(t, 3)
	n1, n2, n3 := c.nodes[0], c.nodes[1], c.nodes[2]
	c.startAll()
	c.awaitHealthy(3)
	c.syncsh("deploy", "-c", c.connect(), "kv")
	c.awaitEqual(3)
	n2.kill()
	c.awaitHealthy(2)
	c.syncsh("call", "-c", c.connect(), "kv", "set", "paid", "yes")
	n1.kill()
	n3.kill()

	var records []struct {
		Segment string
		Offset  int64
	}
	if err := json.Unmarshal([]byte(c.syncsh("inspect", n3.data, "--records", "--json")), &records); err != nil || len(records) == 0 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	last := records[len(records)-1]
	path := filepath.Join(n3.data, last.Segment)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head = 24 // docs/FORMATS.md
	b[last.Offset+head+5] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}

	n2.start(t)
	n3.start(t)
	select {
	case <-n3.ended:
	case <-time.After(patience):
		t.Fatal("a node with a damaged log runs")
	}
	if code := n3.cmd.ProcessState.ExitCode(); code != 2 || !strings.Contains(n3.logText(), "damaged record: all of it was written") {
		t.Fatalf("exit code %d", code)
	}
	n3.cmd = nil
	n1.start(t)
	c.awaitHealthy(2)
	if got := c.syncsh("call", "-c", c.connect(), "kv", "get", "paid"); got != `"yes"` && got != "yes" {
		t.Fatalf("kv:get(paid) is %s", got)
	}
}
