package node

import (
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/persist"
)

// pacedFS is a real file system that takes its time to make data durable.
type pacedFS struct {
	persist.FS
	wait *atomic.Int64 // nanoseconds
}

type pacedFile struct {
	persist.File
	wait *atomic.Int64
}

func (f pacedFS) Create(path string) (persist.File, error) { return f.slow(f.FS.Create(path)) }
func (f pacedFS) Open(path string) (persist.File, error)   { return f.slow(f.FS.Open(path)) }

func (f pacedFS) slow(file persist.File, err error) (persist.File, error) {
	if err != nil {
		return nil, err
	}
	return pacedFile{file, f.wait}, nil
}

func (f pacedFile) Sync() error {
	time.Sleep(time.Duration(f.wait.Load()))
	return f.File.Sync()
}

// TestSlowDiskHandsOver, scenario 82: a leader whose disk is much slower than those
// of a majority of the others gives the lead to one of them.
func TestSlowDiskHandsOver(t *testing.T) {
	var clients []*client.Client
	disks := make([]*atomic.Int64, 3)
	nodes, _ := startThree(t, func(i int, cfg *Config) {
		disks[i] = &atomic.Int64{}
		cfg.FS, cfg.Logger = pacedFS{persist.OSFS(), disks[i]}, slog.New(slog.DiscardHandler)
	})
	for _, n := range nodes {
		cl := dial(t, n)
		t.Cleanup(func() { cl.Close() })
		clients = append(clients, cl)
	}
	deploy(t, clients[0])
	c := &tightCluster{clients: clients}
	slow := -1
	eventually(t, "a leader", func() bool { slow = c.leader(t); return slow >= 0 })
	// Far beyond paceFactor times what a busy machine makes of an fsync.
	disks[slow].Store(int64(400 * time.Millisecond))
	calls := int64(0)
	eventually(t, "another leader", func() bool {
		v, err := clients[(slow+1)%3].Call(t.Context(), "counter", "inc")
		calls++
		if got := one(t, v, err); got != calls {
			t.Fatalf("call %d gave %v", calls, got)
		}
		l := c.leader(t)
		return l >= 0 && l != slow
	})
}

func TestTooSlow(t *testing.T) {
	ms := func(n ...int) (d []time.Duration) {
		for _, v := range n {
			d = append(d, time.Duration(v)*time.Millisecond)
		}
		return d
	}
	for _, c := range []struct {
		own    int
		others []int
		want   bool
	}{
		{own: 128, others: []int{1, 16}, want: true},
		{own: 128, others: []int{1, 32}},                      // a majority without it needs both
		{own: 128, others: []int{1, 1, 16, 1000}, want: true}, // needs three of four
		{own: 128, others: []int{1, 1, 32, 1000}},
		{own: 8, others: []int{0, 0}}, // below the floor
		{own: 16, others: []int{0, 0}, want: true},
		{own: 1000, others: []int{0}}, // two members: each call needs both
		{own: 1000},
	} {
		others := ms(c.others...)
		slices.Reverse(others)
		if got := tooSlow(ms(c.own)[0], others); got != c.want {
			t.Errorf("own %d ms, others %v: %v", c.own, c.others, got)
		}
	}
}

func TestPaceLook(t *testing.T) {
	var p pace
	for range 40 { // a minority of outliers is none
		p.add(3 * time.Millisecond)
	}
	for range 20 {
		p.add(time.Second)
	}
	if got := p.look(); got != 2*time.Millisecond {
		t.Errorf("median of 3 ms and some outliers: %v", got)
	}
	if got := p.look(); got != 2*time.Millisecond {
		t.Errorf("without saves: %v", got)
	}
	for range 3 * paceSamples {
		p.add(time.Millisecond / 2)
	}
	if got := p.look(); got != 0 {
		t.Errorf("half a millisecond: %v", got)
	}
}
