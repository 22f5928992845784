package gossip

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/raft"
)

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// peer is a gossiping node: a service port that hands streams over.
type peer struct {
	*Gossip
	addr    string
	log     *logBuffer
	changes chan struct{} // capacity 1: something changed since the last look
}

// startPeer starts a node on a free port of loopback.
func startPeer(t *testing.T, name string, change func(*Config)) *peer {
	t.Helper()
	ln, g, p := (net.Listener)(nil), (*Gossip)(nil), &peer{log: &logBuffer{}, changes: make(chan struct{}, 1)}
	for range 20 { // the UDP port of a free TCP port's number may be taken
		var err error
		if ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
		cfg := Config{
			Name:   name,
			Bind:   ln.Addr().String(),
			Meta:   Meta{ID: raft.ID(name[len(name)-1]), Expect: 3},
			Logger: slog.New(slog.NewTextHandler(p.log, nil)),
			OnChange: func() {
				select {
				case p.changes <- struct{}{}:
				default:
				}
			},
		}
		if change != nil {
			change(&cfg)
		}
		if g, err = Start(cfg); err == nil {
			break
		}
		_ = ln.Close()
		if !errors.Is(err, ErrPortInUse) {
			t.Fatal(err)
		}
	}
	if g == nil {
		t.Fatal("no port is free for both TCP and UDP")
	}
	p.Gossip, p.addr = g, ln.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.accept(ln)
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		if err := g.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	})
	return p
}

// accept hands over streams as a node does.
func (p *peer) accept(ln net.Listener) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		if role, err := wire.ReadPreamble(conn); err != nil || role != wire.RoleGossip {
			_ = conn.Close()
			continue
		}
		p.HandleStream(conn)
	}
}

func joining(addrs ...string) func(*Config) {
	return func(c *Config) { c.Join = addrs }
}

// until waits until what holds; it looks after each change and now and then.
func until(t *testing.T, p *peer, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !holds() {
		select {
		case <-p.changes:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			p.log.mu.Lock()
			defer p.log.mu.Unlock()
			t.Fatalf("%s: not within 30 s; members %+v; log:\n%s", what, p.Members(), p.log.b.String())
		}
	}
}

// alive returns the names of the members that p holds for alive.
func (p *peer) alive() string {
	var list []Member
	for _, m := range p.Members() {
		if m.State == Alive {
			list = append(list, m)
		}
	}
	return names(list)
}

// leaks reports goroutines that outlive the test, memberlist's that sleep their
// interval out after a shutdown aside.
func leaks(t *testing.T) {
	t.Helper()
	opt := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, opt,
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).pushPullTrigger"),
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).triggerFunc"),
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
			goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).handleConn"))
	})
}

func TestThreeFindEachOther(t *testing.T) {
	leaks(t)
	n1 := startPeer(t, "n1", nil)
	n2 := startPeer(t, "n2", joining(n1.addr))
	n3 := startPeer(t, "n3", joining(n1.addr))
	all := []*peer{n1, n2, n3}
	for _, p := range all {
		until(t, p, "three members", func() bool { return p.alive() == "n1 n2 n3" })
	}
	for i, m := range n3.Members() {
		if m.Name != all[i].name || m.Meta.Addr != all[i].addr || m.GossipAddr != all[i].addr || m.Meta.ID != raft.ID('1'+i) {
			t.Errorf("member %d: %+v", i, m)
		}
	}

	meta := n2.Meta()
	meta.Role, meta.Term, meta.View = "leader", 7, strings.Repeat("a", 32)
	if err := n2.SetMeta(meta); err != nil {
		t.Fatal(err)
	}
	if n2.Members()[1].Meta != meta {
		t.Error("a node does not see its own change at once")
	}
	for _, p := range all {
		until(t, p, "changed metadata", func() bool { return p.Members()[1].Meta == meta })
	}
	meta.Role = strings.Repeat("x", RoleBytesMax+1)
	if err := n2.SetMeta(meta); !errors.Is(err, ErrBadMeta) {
		t.Errorf("bad metadata: got %v", err)
	}

	if err := n3.Close(); err != nil { // as if killed: nobody is told
		t.Fatal(err)
	}
	until(t, n1, "n3 is gone", func() bool { return n1.alive() == "n1 n2" })
	if err := n2.Leave(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	until(t, n1, "n2 is gone", func() bool { return n1.alive() == "n1" })
	if got := len(n1.Members()); got != 3 {
		t.Errorf("%d members, want those that are gone too", got)
	}
	if err := n3.SetMeta(meta); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
	if err := n3.Leave(0); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
}

// A join address whose node is not there yet is tried until it is, and a node's
// own address among those to join does no harm.
func TestJoinIsRetried(t *testing.T) {
	leaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	late := ln.Addr().String()
	n1 := startPeer(t, "n1", func(c *Config) { c.Join = []string{c.Bind, late} })
	_ = ln.Close()
	until(t, n1, "a failed try is logged", func() bool { return n1.log.has("trying on") })
	if !n1.log.has(`err="failed to join `) {
		t.Error("the log does not say in one line why nobody was reached")
	}
	n2 := startPeer(t, "n2", func(c *Config) {
		ln, err = net.Listen("tcp", late)
		if err != nil {
			t.Skip("the port was taken meanwhile")
		}
		c.Bind = late
	})
	done := make(chan struct{})
	go func() { defer close(done); n2.accept(ln) }()
	t.Cleanup(func() { _ = ln.Close(); <-done })
	until(t, n1, "n2 is found", func() bool { return n1.alive() == "n1 n2" })
}

func cluster(c byte) string { return strings.Repeat(string(c), 32) }

func TestAnotherClusterIsRefused(t *testing.T) {
	leaks(t)
	in := func(cluster string, join ...string) func(*Config) {
		return func(c *Config) { c.Meta.Cluster, c.Join = cluster, join }
	}
	n1 := startPeer(t, "n1", in(cluster('a')))
	n2 := startPeer(t, "n2", in(cluster('b'), n1.addr))
	n3 := startPeer(t, "n3", in("", n1.addr, n2.addr)) // meets both
	for _, p := range []*peer{n1, n2} {
		until(t, p, "the refusal is logged", func() bool { return p.log.has("refused a node of another cluster") })
		if !p.log.has(cluster('a')) || !p.log.has(cluster('b')) {
			t.Error("the line does not name both clusters")
		}
	}
	until(t, n3, "n3 meets both", func() bool { return n3.alive() == "n1 n2 n3" })
	until(t, n1, "n3 is let in", func() bool { return n1.alive() == "n1 n3" })
	if got := n2.alive(); strings.Contains(got, "n1") {
		t.Errorf("n2 sees %s", got)
	}
	meta := n3.Meta()
	meta.Cluster = cluster('a')
	if err := n3.SetMeta(meta); err != nil {
		t.Fatal(err)
	}
	if got := n3.alive(); got != "n1 n3" {
		t.Errorf("after it joined a cluster n3 still sees %s", got)
	}
}

// Members of another cluster are also kept out when a third node tells of them.
func TestStrangersAreNotAdmitted(t *testing.T) {
	g := &Gossip{name: "n1", log: newNotices(slog.New(slog.DiscardHandler)), members: map[string]Member{}, meta: Meta{ID: 1, Addr: "x:1", Cluster: cluster('a')}}
	node := func(name, cluster string) *memberlist.Node {
		meta, err := Meta{ID: 2, Addr: "x:2", Cluster: cluster}.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return &memberlist.Node{Name: name, Meta: meta}
	}
	var wrong *foreignError
	if err := (delegate{g}).NotifyAlive(node("n2", cluster('b'))); !errors.As(err, &wrong) {
		t.Errorf("another cluster: got %v", err)
	}
	if err := (delegate{g}).NotifyAlive(&memberlist.Node{Name: "n2", Meta: []byte("lies")}); !errors.Is(err, ErrBadMeta) {
		t.Errorf("lies: got %v", err)
	}
	if err := (delegate{g}).NotifyAlive(node("n\x1b2", "")); !errors.Is(err, ErrBadMeta) {
		t.Errorf("bad name: got %v", err)
	}
	for i := range membersMax {
		g.seen(node(fmt.Sprint("m", i), ""), Alive)
	}
	if err := (delegate{g}).NotifyAlive(node("n2", "")); err == nil {
		t.Error("one more than membersMax was let in")
	}
	g.seen(node("m7", ""), Gone)
	if err := (delegate{g}).NotifyAlive(node("n2", "")); err != nil {
		t.Errorf("a gone member's room was not given away: %v", err)
	}
}

func TestKeysMustMatch(t *testing.T) {
	leaks(t)
	key := func(k string, join ...string) func(*Config) {
		return func(c *Config) { c.Key, c.Join = []byte(k), join }
	}
	right, wrong := strings.Repeat("k", 32), strings.Repeat("w", 32)
	n1 := startPeer(t, "n1", key(right))
	n2 := startPeer(t, "n2", key(right, n1.addr))
	n3 := startPeer(t, "n3", key(wrong, n1.addr))
	n4 := startPeer(t, "n4", key("", n1.addr))
	until(t, n1, "n2 is let in", func() bool { return n1.alive() == "n1 n2" })
	until(t, n3, "a wrong key is logged", func() bool {
		return n3.log.has("its key is not this node's") || n1.log.has("its key is not this node's")
	})
	until(t, n4, "no key is logged", func() bool {
		return n4.log.has("one side has a gossip key and the other has none")
	})
	until(t, n2, "n2 sees n1", func() bool { return n2.alive() == "n1 n2" })
	if n3.alive() != "n3" || n4.alive() != "n4" || n1.alive() != "n1 n2" {
		t.Errorf("n1 sees %s, n3 %s, n4 %s", n1.alive(), n3.alive(), n4.alive())
	}
}

func TestNamesMustBeUnique(t *testing.T) {
	leaks(t)
	n1 := startPeer(t, "n1", nil)
	n2 := startPeer(t, "n2", joining(n1.addr))
	until(t, n1, "n2 is let in", func() bool { return n1.alive() == "n1 n2" })
	other := startPeer(t, "n2", func(c *Config) { c.Join, c.Meta.ID = []string{n1.addr}, 99 })
	until(t, n1, "n1 logs the conflict", func() bool { return n1.log.has("two nodes have one name") })
	until(t, other, "the newcomer logs the conflict", func() bool { return other.log.has("another node has this node's name") })
	if got := n1.Members()[1]; got.GossipAddr != n2.addr {
		t.Errorf("n1 has the newcomer as n2: %+v", got)
	}
}

func TestStartRefuses(t *testing.T) {
	good := func() Config {
		return Config{Name: "n1", Bind: "127.0.0.1:7400", Meta: Meta{ID: 1}}
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   error
	}{
		"no name":        {func(c *Config) { c.Name = "" }, ErrBadConfig},
		"escape in name": {func(c *Config) { c.Name = "n\n1" }, ErrBadConfig},
		"short key":      {func(c *Config) { c.Key = []byte("short") }, ErrBadConfig},
		"port 0":         {func(c *Config) { c.Bind = "127.0.0.1:0" }, ErrBadConfig},
		"no port":        {func(c *Config) { c.Bind = "127.0.0.1" }, ErrBadConfig},
		"no id":          {func(c *Config) { c.Meta.ID = 0 }, ErrBadMeta},
		"advertises all": {func(c *Config) { c.Advertise = "0.0.0.0:7400" }, ErrBadConfig},
	} {
		cfg := good()
		c.change(&cfg)
		if g, err := Start(cfg); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
			if err == nil {
				_ = g.Close()
			}
		}
	}
	n1 := startPeer(t, "n1", nil)
	cfg := good()
	cfg.Bind = n1.addr
	if _, err := Start(cfg); !errors.Is(err, ErrPortInUse) || !strings.Contains(err.Error(), n1.addr) {
		t.Errorf("port in use: got %v", err)
	}
}

func TestAdvertiseAddr(t *testing.T) {
	for _, c := range []struct{ bind, advertise, want string }{
		{"127.0.0.1:7400", "", "127.0.0.1:7400"},
		{"0.0.0.0:7400", "db1.example:7400", "db1.example:7400"},
		{"[::1]:7400", "", "[::1]:7400"},
	} {
		if got, err := AdvertiseAddr(c.bind, c.advertise); err != nil || got != c.want {
			t.Errorf("%+v: got %q, %v", c, got, err)
		}
	}
	for _, bind := range []string{"0.0.0.0:7400", ":7400"} {
		got, err := AdvertiseAddr(bind, "")
		if host, port, _ := net.SplitHostPort(got); err != nil || port != "7400" || net.ParseIP(host).IsUnspecified() {
			t.Errorf("%s: got %q, %v", bind, got, err)
		}
	}
	if _, err := AdvertiseAddr("127.0.0.1:7400", "no-port"); !errors.Is(err, ErrBadConfig) {
		t.Errorf("got %v", err)
	}
}

// More streams than streamsMax are closed at once instead of piling up.
func TestStreamsAreBounded(t *testing.T) {
	tr := &transport{slots: make(chan struct{}, streamsMax), streams: make(chan net.Conn, streamsMax+1)}
	tr.ctx = t.Context()
	for range streamsMax {
		a, b := net.Pipe()
		defer b.Close()
		tr.handleStream(a)
	}
	a, b := net.Pipe()
	tr.handleStream(a)
	if _, err := b.Read(make([]byte, 1)); err == nil {
		t.Error("one too many was taken")
	}
	_ = (<-tr.streams).Close()
	a, b = net.Pipe()
	defer b.Close()
	tr.handleStream(a)
	if len(tr.slots) != streamsMax {
		t.Error("a closed stream did not free its slot")
	}
}
