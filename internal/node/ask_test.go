package node

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/wire"
)

// files is what a directory holds, by name.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		held[e.Name()] = string(b)
	}
	return held
}

func sameFiles(a, b map[string]string) bool {
	for name, text := range a {
		if b[name] != text {
			return false
		}
	}
	return len(a) == len(b)
}

// reach connects a client to nodes by their addresses, as status asks each.
func reach(t *testing.T, addrs ...string) *client.Client {
	t.Helper()
	cl, err := client.Dial(context.Background(), client.Config{Addrs: addrs, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() })
	return cl
}

// founded starts a cluster of one on addr.
func founded(t *testing.T, name, addr string) *Node {
	t.Helper()
	n := startNode(t, Config{Name: name, Addr: addr, Data: t.TempDir(), Expect: 1})
	t.Cleanup(n.Kill)
	await(t, n)
	return n
}

// TestRefusedStartLeavesNothing: the directory is made when nothing can be
// refused any more.
func TestRefusedStartLeavesNothing(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for name, cfg := range map[string]Config{
		"TCP port in use":    {Addr: tcp.Addr().String()},
		"UDP port in use":    {Addr: udp.LocalAddr().String()},
		"port out of range":  {Addr: "127.0.0.1:99999"},
		"advertised no port": {Addr: "127.0.0.1:0", Advertise: "foo"},
		"advertised nowhere": {Addr: "127.0.0.1:0", Advertise: "0.0.0.0:7400"},
		"join without port":  {Addr: "127.0.0.1:0", Join: []string{"foo"}},
		"blank in the name":  {Addr: "127.0.0.1:0", Name: "a b"},
		"slash in the name":  {Addr: "127.0.0.1:0", Name: "a/b"},
		"negative entries":   {Addr: "127.0.0.1:0", SnapshotEntries: -1},
		"negative interval":  {Addr: "127.0.0.1:0", SnapshotInterval: -1},
		"negative flush":     {Addr: "127.0.0.1:0", FlushInterval: -1},
	} {
		cfg.Data = filepath.Join(t.TempDir(), "new")
		if cfg.Name == "" {
			cfg.Name = "typo"
		}
		if n, err := Start(cfg); err == nil {
			n.Kill()
			t.Errorf("%s: started", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", name, err)
		}
		if _, err := os.Stat(cfg.Data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the directory was made: %v", name, err)
		}
	}
}

// TestAnotherClusterRefused: a node whose data is of another cluster than the one
// that it is told to join ends before it changes or serves anything; one that
// finds its own cluster too goes on.
func TestAnotherClusterRefused(t *testing.T) {
	addrs := freeAddrs(t, 3)
	other := founded(t, "m1", addrs[0])
	own := founded(t, "n1", addrs[1])
	cfg := Config{Name: "n2", Addr: addrs[2], Data: t.TempDir(), Join: []string{addrs[1]}}
	n2 := startNode(t, cfg)
	await(t, n2)
	stop(t, n2)

	before := files(t, cfg.Data)
	cfg.Join = []string{addrs[0]}
	_, err := Start(cfg)
	if !errors.Is(err, ErrRefused) {
		t.Fatalf("started with the data of another cluster: %v", err)
	}
	for _, want := range []string{cfg.Data, own.Cluster(), other.Cluster(), addrs[0]} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not name %s", err, want)
		}
	}
	if !sameFiles(before, files(t, cfg.Data)) {
		t.Error("the refused start changed the directory")
	}

	cfg.Join = addrs[:2] // one address is stale
	n2 = startNode(t, cfg)
	defer n2.Kill()
	await(t, n2)
	own.Kill() // what another cluster says later ends nobody
	awaitStatus(t, reach(t, addrs[2]), "the leader gone", func(s *client.Status) bool { return s.Leader == "" })
	select {
	case <-n2.Done():
		t.Fatalf("ended by a stale address: %v", n2.Err())
	default:
	}
}

// TestForeign: one answer of the own cluster outweighs what others say, whoever
// is first.
func TestForeign(t *testing.T) {
	own, other := answer{welcome: wire.Welcome{Cluster: "a"}}, answer{welcome: wire.Welcome{Cluster: "b"}}
	fresh := answer{}
	for name, k := range map[string]struct {
		cluster string
		answers []answer
		refused bool
	}{
		"nobody":            {"a", nil, false},
		"own":               {"a", []answer{own}, false},
		"other":             {"a", []answer{other}, true},
		"other, then own":   {"a", []answer{other, own}, false},
		"own, then other":   {"a", []answer{own, other}, false},
		"without a cluster": {"a", []answer{fresh}, false},
		"new here":          {"", []answer{other}, false},
	} {
		n := &Node{}
		n.cluster.Store(&k.cluster)
		if err := n.foreign(k.answers); errors.Is(err, ErrRefused) != k.refused {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNameOfAMember: a name is used once among the nodes that answer, and is free
// again for a node that lost its data.
func TestNameOfAMember(t *testing.T) {
	addrs := freeAddrs(t, 4)
	n1 := startNode(t, Config{Name: "n1", Addr: addrs[0], Data: t.TempDir(), Expect: 1, Join: []string{addrs[3]}})
	defer n1.Kill()
	await(t, n1)
	n2 := startNode(t, Config{Name: "n2", Addr: addrs[1], Data: t.TempDir(), Join: addrs[:1]})
	defer n2.Kill()
	await(t, n2)
	cl := reach(t, addrs[0])

	quiet := slog.New(slog.DiscardHandler)
	cfg := Config{Name: "n2", Addr: addrs[2], Data: filepath.Join(t.TempDir(), "new"), Join: addrs[:1], Logger: quiet}
	for name, taken := range map[string]string{"n1": addrs[0], "n2": addrs[1]} {
		cfg.Name = name
		if _, err := Start(cfg); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), taken) {
			t.Errorf("a second %s was started: %v", name, err)
		}
		if _, err := os.Stat(cfg.Data); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a second %s: the directory was made: %v", name, err)
		}
	}

	// Whom it could not ask at the start finds the newcomer: then the leader refuses.
	late := startNode(t, Config{Name: "n2", Addr: addrs[3], Data: t.TempDir(), Logger: quiet})
	select {
	case <-late.Done():
		if err := late.Err(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), addrs[1]) {
			t.Errorf("the second n2 ended with %v", err)
		}
	case <-late.Ready():
		late.Kill()
		t.Error("a second n2 was let in")
	case <-time.After(patience):
		late.Kill()
		t.Fatal("the second n2 waits for ever")
	}
	if m, err := cl.Members(context.Background()); err != nil || len(m) != 2 {
		t.Fatalf("members %+v, %v", m, err)
	}

	n2.Kill() // and its data is lost
	again := startNode(t, Config{Name: "n2", Addr: addrs[1], Data: t.TempDir(), Join: addrs[:1]})
	defer again.Kill()
	await(t, again)
	awaitStatus(t, cl, "the new n2 in the place of the old", func(s *client.Status) bool {
		return len(s.Nodes) == 2 && s.Nodes[1].ID == idString(again.ID()) && s.Nodes[1].Alive
	})
}

// TestNameOfALostVoter: a voter that came back without its data is a learner, and
// what it was counts until an operator removes it.
func TestNameOfALostVoter(t *testing.T) {
	ctx := context.Background()
	nodes, addrs := startThree(t, func(_ int, cfg *Config) { cfg.Data = "" })
	old := idString(nodes[2].ID())
	nodes[2].Kill()
	again := startNode(t, Config{Name: "n3", Addr: addrs[2], Expect: 3, Join: addrs[:1]})
	defer again.Kill()
	await(t, again)
	cl := reach(t, addrs[0], addrs[1])
	count := func(s *client.Status) (voters, alive int) {
		for _, n := range s.Nodes {
			if n.Name == "n3" && n.ID == old && !n.Alive {
				voters++
			}
			if n.Name == "n3" && n.ID == idString(again.ID()) && n.Alive && n.Role == "learner" {
				alive++
			}
		}
		return voters, alive
	}
	awaitStatus(t, cl, "the new n3 beside the old", func(s *client.Status) bool {
		voters, alive := count(s)
		return s.Healthy && len(s.Nodes) == 4 && s.Voters == 3 && voters == 1 && alive == 1
	})
	if err := cl.Remove(ctx, old); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, cl, "the old n3 gone", func(s *client.Status) bool { return len(s.Nodes) == 3 && s.Voters == 2 })
	if err := cl.Promote(ctx, idString(again.ID())); err != nil {
		t.Fatal(err)
	}
	awaitStatus(t, cl, "three voters", func(s *client.Status) bool { return s.Voters == 3 && s.Healthy })
}
