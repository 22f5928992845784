package node

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/persist"
)

// tightFS is a real file system on which no file can be made or grow while full.
type tightFS struct {
	persist.FS
	full atomic.Bool
}

func newTightFS() *tightFS { return &tightFS{FS: persist.OSFS()} }

func (f *tightFS) Create(path string) (persist.File, error) {
	if f.full.Load() {
		return nil, syscall.ENOSPC
	}
	return f.FS.Create(path)
}

func (f *tightFS) Free(path string) (int64, error) {
	if f.full.Load() {
		return 0, nil
	}
	return f.FS.Free(path)
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(TickInterval) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// diskFull is what a node says of its room.
func diskFull(t *testing.T, cl *client.Client) string {
	t.Helper()
	s, err := cl.NodeStatus(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return s.DiskFull
}

const pad = `local Pad = object "pad"
function Pad:init() self.calls = 0 end
function Pad.replicated:add(text) self.calls = self.calls + 1 return self.calls end
function Pad.query:get() return self.calls end
`

// addOnce makes a call and gives the answer as it comes: Call would try a refused
// one again until its timeout.
func addOnce(t *testing.T, cl *client.Client, text string) (int64, error) {
	t.Helper()
	args, err := client.EncodeArgs(text)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		calls int64
		err   error
	}
	ch := make(chan answer, 1)
	cl.Do(wire.OpPropose, client.Linearizable, 0, command.AppendCall(nil, 0, 0, "pad", "add", args), func(res command.Result, err error) {
		a := answer{err: err}
		if err == nil {
			var v []any
			if v, a.err = client.DecodeValues(res.Values); a.err == nil {
				a.calls = v[0].(int64)
			}
		}
		ch <- a
	})
	a := <-ch
	return a.calls, a.err
}

// fillUp calls until a call is refused for want of room, and returns the number
// of calls that were acknowledged.
func fillUp(t *testing.T, cl *client.Client, acked int64) int64 {
	t.Helper()
	text := strings.Repeat("x", 60<<10)
	for range 1000 {
		calls, err := addOnce(t, cl, text)
		if err == nil {
			if acked++; calls != acked {
				t.Fatalf("call %d gave %d", acked, calls)
			}
			continue
		}
		if client.CodeOf(err) != client.CodeOverloaded || !strings.Contains(err.Error(), "no space for the log") {
			t.Fatal(err)
		}
		return acked
	}
	t.Fatal("a full disk refuses nothing")
	return 0
}

// TestFullDiskAlone: a node whose disk is full refuses calls with a clear code,
// says so in its status, reads on, and goes on by itself; a restart in between
// has all that was acknowledged (scenario 55).
func TestFullDiskAlone(t *testing.T) {
	for _, durability := range []string{"fsync", "async"} {
		t.Run(durability, func(t *testing.T) {
			disk := newTightFS()
			cfg := Config{Name: "solo", Single: true, Data: t.TempDir(), Durability: durability, FS: disk, Logger: slog.New(slog.DiscardHandler)}
			n := startNode(t, cfg)
			await(t, n)
			cl := dial(t, n)
			deployNamed(t, cl, "pad.lua", pad)
			disk.full.Store(true)
			acked := fillUp(t, cl, 0)
			if acked < 3 {
				t.Fatalf("only %d calls found room in the first segment", acked)
			}
			for range 3 {
				v, err := cl.Query(context.Background(), "pad", "get")
				if got := one(t, v, err); got != acked {
					t.Fatalf("reads %v calls, %d were acknowledged", got, acked)
				}
			}
			if text := diskFull(t, cl); !strings.Contains(text, "disk of solo") {
				t.Fatalf("status says %q", text)
			}
			short, cancel := context.WithTimeout(context.Background(), time.Second)
			if _, err := cl.Snapshot(short); err == nil {
				t.Fatal("a snapshot was written to a full disk")
			}
			cancel()
			cl.Close()
			n.Kill()

			n = startNode(t, cfg) // on the full disk
			await(t, n)
			cl = dial(t, n)
			defer cl.Close()
			if again := fillUp(t, cl, acked); again < acked {
				t.Fatalf("%d calls after the restart, %d were acknowledged", again, acked)
			} else {
				acked = again
			}
			disk.full.Store(false)
			eventually(t, "calls to be taken again", func() bool { return diskFull(t, cl) == "" })
			v, err := cl.Call(context.Background(), "pad", "add", "x")
			if got := one(t, v, err); got != acked+1 {
				t.Fatalf("%v calls, %d were acknowledged before", got, acked)
			}
			stop(t, n)
		})
	}
}

// tightCluster is three nodes whose disks can be filled.
type tightCluster struct {
	nodes   []*Node
	disks   []*tightFS
	clients []*client.Client
}

func startTight(t *testing.T) *tightCluster {
	c := &tightCluster{}
	c.nodes, _ = startThree(t, func(_ int, cfg *Config) {
		disk := newTightFS()
		c.disks = append(c.disks, disk)
		cfg.FS, cfg.Logger = disk, slog.New(slog.DiscardHandler)
	})
	for _, n := range c.nodes {
		cl := dial(t, n)
		c.clients = append(c.clients, cl)
		t.Cleanup(func() { cl.Close() })
	}
	deployNamed(t, c.clients[0], "pad.lua", pad)
	return c
}

// leader is the number of the node that leads; -1 if there is none.
func (c *tightCluster) leader(t *testing.T) int {
	t.Helper()
	for i, cl := range c.clients {
		s, err := cl.NodeStatus(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if s.Role == "leader" {
			return i
		}
	}
	return -1
}

// equal waits until all nodes have applied the same.
func (c *tightCluster) equal(t *testing.T) {
	t.Helper()
	eventually(t, "equal nodes", func() bool {
		var seen []string
		for _, cl := range c.clients {
			s, err := cl.NodeStatus(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			seen = append(seen, s.Digest)
		}
		return seen[0] == seen[1] && seen[1] == seen[2]
	})
}

// add makes a call that may be refused while leadership is on its way.
func (c *tightCluster) add(t *testing.T, via int, text string) int64 {
	t.Helper()
	var got int64
	eventually(t, "a call to be taken", func() bool {
		var err error
		got, err = addOnce(t, c.clients[via], text)
		switch client.CodeOf(err) {
		case client.CodeOverloaded, client.CodeNoLeader:
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		return true
	})
	return got
}

// TestFullDiskOfLeader: a leader whose disk is full hands over, the cluster
// serves on through every node, and the full one, which is left behind, is
// brought up to date when it has space (scenario 55).
func TestFullDiskOfLeader(t *testing.T) {
	c := startTight(t)
	full := c.leader(t)
	c.disks[full].full.Store(true)
	text := strings.Repeat("x", 60<<10)
	calls := int64(0)
	eventually(t, "leadership to be handed over", func() bool {
		calls = c.add(t, (full+1)%3, text)
		l := c.leader(t)
		return l >= 0 && l != full
	})
	if text := diskFull(t, c.clients[full]); text == "" {
		t.Fatal("the status of the full node says nothing")
	}
	for range 20 { // more than its segment has room for
		for via := range c.nodes {
			calls++
			if got := c.add(t, via, text); got != calls {
				t.Fatalf("call %d gave %d", calls, got)
			}
		}
	}
	if c.leader(t) == full {
		t.Fatal("the full node leads again")
	}
	c.disks[full].full.Store(false)
	eventually(t, "room", func() bool { return diskFull(t, c.clients[full]) == "" })
	c.equal(t)
}

// TestFullDiskOfMajority: when no majority could store a call it is refused at
// once and not left to its timeout; reads go on; and so do calls, when one disk
// of the majority has space again (scenario 55).
func TestFullDiskOfMajority(t *testing.T) {
	c := startTight(t)
	for _, disk := range c.disks {
		disk.full.Store(true)
	}
	acked, unknown := int64(0), int64(0)
	eventually(t, "refusal", func() bool {
		calls, err := addOnce(t, c.clients[0], strings.Repeat("x", 60<<10))
		if err == nil {
			acked = calls
			return false
		}
		switch client.CodeOf(err) {
		case client.CodeOverloaded, client.CodeNoLeader:
		case client.CodeTimeout: // it was in the log before the nodes noticed: it may count later
			unknown++
		default:
			t.Fatal(err)
		}
		l := c.leader(t)
		return l >= 0 && diskFull(t, c.clients[l]) != ""
	})
	// Through the leader: a follower may be left behind, and waits. The leader may
	// change meanwhile.
	l := -1
	eventually(t, "a read", func() bool {
		if l = c.leader(t); l < 0 {
			return false
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		v, err := c.clients[l].Query(ctx, "pad", "get")
		if err != nil {
			return false
		}
		if got, _ := one(t, v, nil).(int64); got < acked || got > acked+unknown {
			t.Fatalf("reads %v calls, %d were acknowledged, %d are unknown", got, acked, unknown)
		}
		return true
	})
	c.disks[l].full.Store(false)
	c.disks[(l+1)%3].full.Store(false)
	if got := c.add(t, 0, "x"); got < acked+1 || got > acked+unknown+1 {
		t.Fatalf("%d calls, %d were acknowledged before, %d are unknown", got, acked, unknown)
	}
	c.disks[(l+2)%3].full.Store(false)
	c.equal(t)
}
