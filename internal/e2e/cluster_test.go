package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
)

// patience bounds every wait. It is no measure of speed: a shared machine may
// take seconds for what is done in milliseconds.
const patience = 60 * time.Second

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "syncsh-e2e")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "syncsh")
	build := exec.Command("go", "build", "-o", binary, "../../cmd/syncsh")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// process is a running `syncsh node`.
type process struct {
	name, addr, data string
	args             []string
	cmd              *exec.Cmd     // nil while it should not run
	ended            chan struct{} // closed when cmd has ended
	mu               sync.Mutex
	log              bytes.Buffer
}

// Write collects standard error over all lives of the node.
func (p *process) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.Write(b)
}

func (p *process) logText() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

// cluster is a set of processes on loopback.
type cluster struct {
	t     *testing.T
	dir   string
	nodes []*process
	extra []string // flags of every node
}

// Ports of nodes lie below those that the system gives to connections (32768 on
// Linux): else one of a client may have the port of a killed node when that starts
// again.
const portMin, portMax = 20000, 32000

// ports returns loopback addresses whose TCP and UDP ports are free.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	var held []func() error
	const triesMax = 1000
	for tries := 0; len(addrs) < n; tries++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", portMin+rand.IntN(portMax-portMin)))
		if err != nil {
			if tries == triesMax {
				t.Fatal(err)
			}
			continue
		}
		held = append(held, l.Close)
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue
		}
		held = append(held, u.Close)
		addrs = append(addrs, l.Addr().String())
	}
	for _, free := range held {
		free()
	}
	return addrs
}

// newCluster prepares nodes n1, n2, ... that find each other through --join.
func newCluster(t *testing.T, n int, extra ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), extra: extra}
	addrs := ports(t, n)
	for i, addr := range addrs {
		c.add(addr, "--expect", fmt.Sprint(n), "--join", addrs[(i+1)%n])
	}
	t.Cleanup(func() {
		for _, p := range c.nodes {
			p.kill()
		}
		if t.Failed() {
			for _, p := range c.nodes {
				t.Logf("log of %s:\n%s", p.name, tail(p.logText(), 60))
			}
		}
	})
	return c
}

// add prepares one more node; it is not started.
func (c *cluster) add(addr string, args ...string) *process {
	name := fmt.Sprintf("n%d", len(c.nodes)+1)
	p := &process{name: name, addr: addr, data: filepath.Join(c.dir, name)}
	p.args = append([]string{"node", "--name", name, "--addr", addr, "--data", p.data}, args...)
	p.args = append(p.args, c.extra...)
	c.nodes = append(c.nodes, p)
	return p
}

func (p *process) start(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(binary, p.args...)
	p.cmd.Stderr = p
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cmd, ended := p.cmd, make(chan struct{})
	p.ended = ended
	go func() {
		cmd.Wait()
		close(ended)
	}()
}

// kill is kill -9.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.ended
	p.cmd = nil
}

// stop is SIGTERM; it returns the exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.cmd.Process.Signal(syscall.SIGQUIT) // its stacks go to the log
		<-p.ended
		t.Errorf("%s did not stop within %v of SIGTERM:\n%s", p.name, patience, p.logText())
	}
	code := p.cmd.ProcessState.ExitCode()
	p.cmd = nil
	return code
}

func (c *cluster) startAll() {
	for _, p := range c.nodes {
		p.start(c.t)
	}
}

// connect is the flag that names all nodes.
func (c *cluster) connect() string {
	var addrs []string
	for _, p := range c.nodes {
		addrs = append(addrs, p.addr)
	}
	return strings.Join(addrs, ",")
}

// syncsh runs a command and returns what it prints.
func (c *cluster) syncsh(args ...string) string {
	c.t.Helper()
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("syncsh %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSuffix(string(out), "\n")
}

// status is nil when no node answers.
func (c *cluster) status() *client.Status {
	out, err := exec.Command(binary, "status", "--json", "--timeout", "2s", "-c", c.connect()).Output()
	var s client.Status
	if err != nil || json.Unmarshal(out, &s) != nil {
		return nil
	}
	return &s
}

// await waits until ok; what names it in a failure.
func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		for _, p := range c.nodes {
			if p.cmd == nil {
				continue
			}
			select {
			case <-p.ended:
				c.t.Fatalf("waiting for %s: %s has ended: %s", what, p.name, tail(p.logText(), 3))
			default:
			}
		}
		if time.Now().After(deadline) {
			s, _ := json.Marshal(c.status())
			c.t.Fatalf("waited %v for %s; status %s", patience, what, s)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// awaitHealthy waits for a leader and for so many live nodes.
func (c *cluster) awaitHealthy(alive int) *client.Status {
	c.t.Helper()
	var s *client.Status
	c.await(fmt.Sprintf("a leader and %d nodes", alive), func() bool {
		s = c.status()
		return s != nil && s.Healthy && countAlive(s) == alive
	})
	return s
}

// awaitEqual waits until all nodes of the configuration are at the same index
// with the same digest.
func (c *cluster) awaitEqual(nodes int) *client.Status {
	c.t.Helper()
	var s *client.Status
	c.await("equal digests", func() bool {
		s = c.status()
		if s == nil || !s.Healthy || countAlive(s) != nodes {
			return false
		}
		for _, n := range s.Nodes {
			if n.Applied != s.Nodes[0].Applied || n.DigestIndex != s.Nodes[0].DigestIndex {
				return false
			}
		}
		return true
	})
	for _, n := range s.Nodes {
		if n.Digest != s.Nodes[0].Digest {
			c.t.Fatalf("at index %d %s has digest %s, %s has %s", n.Applied, n.Name, n.Digest, s.Nodes[0].Name, s.Nodes[0].Digest)
		}
	}
	return s
}

func countAlive(s *client.Status) int {
	n := 0
	for _, node := range s.Nodes {
		if node.Alive {
			n++
		}
	}
	return n
}

// node finds a process by its node's name.
func (c *cluster) node(name string) *process {
	c.t.Helper()
	for _, p := range c.nodes {
		if p.name == name {
			return p
		}
	}
	c.t.Fatalf("no node %q", name)
	return nil
}

// dial connects a client to all nodes.
func (c *cluster) dial(ctx context.Context) *client.Client {
	c.t.Helper()
	cl, err := client.Dial(ctx, client.Config{Addrs: strings.Split(c.connect(), ","), Timeout: patience})
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

func tail(s string, lines int) string {
	all := strings.Split(s, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
