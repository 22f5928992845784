package doctor

import (
	"errors"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/persist"
)

func of(n int, most time.Duration, worst time.Duration) []time.Duration {
	took := make([]time.Duration, n)
	for i := range took {
		took[i] = most
	}
	took[0] = worst
	return took
}

func TestDiskIsJudged(t *testing.T) {
	for name, k := range map[string]struct {
		got  Check
		want Status
	}{
		"an SSD":              {judge("d", of(100, 200*time.Microsecond, 5*time.Millisecond)), OK},
		"a disk that turns":   {judge("d", of(100, 12*time.Millisecond, 20*time.Millisecond)), Warn},
		"a stall":             {judge("d", of(100, time.Millisecond, 400*time.Millisecond)), Warn},
		"slower than beats":   {judge("d", of(10, 150*time.Millisecond, 200*time.Millisecond)), Fail},
		"room":                {judgeRoom("d", 5<<30, 1<<20), OK},
		"less than the state": {judgeRoom("d", 5<<30, 6<<30), Warn},
		"little room":         {judgeRoom("d", 900<<20, 0), Warn},
		"no room":             {judgeRoom("d", 100<<20, 0), Fail},
		"many files":          {files("n", 1<<20), OK},
		"a shell's files":     {files("n", 1024), Warn},
		"no files":            {files("n", 128), Fail},
	} {
		if k.got.Status != k.want || (k.want == OK) != (k.got.Advice == "") {
			t.Errorf("%s: %+v, want %s", name, k.got, k.want)
		}
	}
}

// full is a file system without room.
type full struct{ persist.FS }

func (full) Create(string) (persist.File, error) { return nil, fs.ErrPermission }

func TestMeasureLeavesNothing(t *testing.T) {
	mem := persist.NewMemFS()
	if err := mem.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	took, err := measure(mem, "d")
	if err != nil || len(took) == 0 || len(took) > fsyncWrites {
		t.Fatalf("%d times, %v", len(took), err)
	}
	if names, err := mem.List("d"); err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
	if c := fsync(full{mem}, "d", "d"); c.Status != Fail || c.Advice == "" {
		t.Errorf("not writable: %+v", c)
	}
}

func at(name string, offset, trip float64) client.StatusNode {
	return client.StatusNode{Name: name, ID: name, Alive: true, ClockOffsetMs: &offset, RoundTripMs: trip, Version: "v1", Machine: 1, Arch: "linux/amd64"}
}

// What the round trip leaves open is never held against a clock.
func TestClocks(t *testing.T) {
	for name, k := range map[string]struct {
		nodes []client.StatusNode
		want  Status
		says  string
	}{
		"together":          {[]client.StatusNode{at("n1", 3, 2), at("n2", -4, 2)}, OK, "n1 +3 ms (±1), n2 -4 ms"},
		"rounds to none":    {[]client.StatusNode{at("n1", -0.3, 2)}, OK, "n1 +0 ms (±1)"},
		"a slow answer":     {[]client.StatusNode{at("n1", 0, 2), at("n2", 900, 1800)}, OK, "n2 +900 ms (±900)"},
		"apart":             {[]client.StatusNode{at("n1", 0, 2), at("n2", 700, 2)}, Warn, "the nodes differ"},
		"far apart":         {[]client.StatusNode{at("n1", -6000, 2), at("n2", 6000, 2)}, Fail, "the nodes differ"},
		"all far from here": {[]client.StatusNode{at("n1", 60000, 2), at("n2", 60010, 2)}, Warn, "this machine differs"},
		"an old node":       {[]client.StatusNode{{Name: "n1", Alive: true}}, Warn, "no node told its clock"},
	} {
		c := clocks(k.nodes)
		if c.Status != k.want || !strings.Contains(c.Seen+c.Advice, k.says) {
			t.Errorf("%s: %+v, want %s, %q", name, c, k.want, k.says)
		}
	}
	near := nearest(&client.Status{Nodes: []client.StatusNode{at("n1", 5, 1)}}, &client.Status{Nodes: []client.StatusNode{at("n1", 90, 400)}})
	if n := near.Nodes[0]; *n.ClockOffsetMs != 5 || n.RoundTripMs != 1 {
		t.Errorf("nearest: %v, %v", *n.ClockOffsetMs, n.RoundTripMs)
	}
}

func TestMixedMembers(t *testing.T) {
	n1, n2, n3 := at("n1", 0, 1), at("n2", 0, 1), at("n3", 0, 1)
	nodes := []client.StatusNode{n1, n2, n3}
	if v, a := versions(nodes), architectures(nodes); v.Status != OK || a.Status != OK {
		t.Errorf("equal: %+v, %+v", v, a)
	}
	nodes[1].Version, nodes[2].Arch = "v2", "linux/arm64"
	if v := versions(nodes); v.Status != Warn || v.Seen != "v1 on n1 n3, v2 on n2, machine version 1" {
		t.Errorf("versions: %+v", v)
	}
	if a := architectures(nodes); a.Status != Warn || a.Seen != "linux/amd64 on n1 n2, linux/arm64 on n3" {
		t.Errorf("architectures: %+v", a)
	}
	nodes[1].Version, nodes[1].Machine = "v1", 2
	if v := versions(nodes); v.Status != Warn {
		t.Errorf("machines: %+v", v)
	}
}

func TestHealth(t *testing.T) {
	for want, s := range map[Status]client.Status{
		OK:   {Leader: "n1", Healthy: true, Voters: 3, Tolerates: 1},
		Warn: {Leader: "n1", Healthy: true, Voters: 3},
		Fail: {Voters: 3},
	} {
		if c := health(&s); c.Status != want {
			t.Errorf("%+v, want %s", c, want)
		}
	}
	s := client.Status{Leader: "n1", Healthy: true, Voters: 3, Tolerates: 1, Nodes: []client.StatusNode{{Name: "n2", Diverged: true}}}
	if c := health(&s); c.Status != Fail {
		t.Errorf("diverged: %+v", c)
	}
	s.Nodes[0] = client.StatusNode{Name: "n2", DiskFull: "no space left"}
	if c := health(&s); c.Status != Fail || !strings.Contains(c.Seen, "no space left") {
		t.Errorf("a full disk: %+v", c)
	}
}

// A port that another program has is a failure, over TCP and UDP.
func TestPort(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close() //nolint:errcheck // it is no node
		}
	}()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Skip(err)
	}
	for _, c := range port(t.Context(), addr, 5*time.Second) {
		if c.Status != Fail || !strings.Contains(c.Seen, "no syncsh node") {
			t.Errorf("taken: %+v", c)
		}
	}
	if err := errors.Join(l.Close(), p.Close()); err != nil {
		t.Fatal(err)
	}
	for _, c := range port(t.Context(), addr, 5*time.Second) {
		if c.Status != OK {
			t.Errorf("free: %+v", c)
		}
	}
}
