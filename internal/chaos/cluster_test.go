//go:build linux

package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/fault"
)

// patience bounds every wait. It is no measure of speed: a shared machine may
// take seconds for what is done in milliseconds.
const patience = 2 * time.Minute

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "syncsh-chaos")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "syncsh")
	build := exec.Command("go", "build", "-tags", "chaos", "-o", binary, "../../cmd/syncsh")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if os.Getenv("CHAOS_RACE") != "" { // wants a C compiler
		build = exec.Command("go", "build", "-race", "-tags", "chaos", "-o", binary, "../../cmd/syncsh")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// node is a `syncsh node` that is started again and again on its directory.
type node struct {
	cluster *cluster
	name    string
	args    []string
	seed    uint64

	mu       sync.Mutex
	cmd      *exec.Cmd // nil while it does not run
	commands io.WriteCloser
	ended    chan struct{} // closed when cmd has ended
	excused  bool          // this life may end by itself
	down     bool          // it is not to be started
	failed   bool          // it ended for no reason that there is, and is left so
	lives    uint64
	log      bytes.Buffer // of all lives
}

// Write collects standard error.
func (n *node) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(b)
}

func (n *node) logText() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// start starts the node unless it runs, or is to be down.
func (n *node) start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil || n.down || n.failed {
		return
	}
	cmd := exec.Command(binary, n.args...)
	cmd.Stderr = n
	cmd.Env = append(os.Environ(), fmt.Sprintf("SYNCSH_CHAOS=%d", n.seed+n.lives))
	// The end of its input ends a node, but not one that is paused.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	commands, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		n.cluster.problem("%s can't be started: %v", n.name, err)
		return
	}
	n.cmd, n.commands, n.ended, n.excused = cmd, commands, make(chan struct{}), false
	n.lives++
	go n.watch(cmd, n.ended)
}

// watch waits for the end of a life. One that nobody caused is a problem.
func (n *node) watch(cmd *exec.Cmd, ended chan struct{}) {
	err := cmd.Wait()
	n.mu.Lock()
	n.cmd = nil
	if n.failed = !n.excused; n.failed {
		n.cluster.problem("%s has ended by itself: %v: %s", n.name, err, tail(n.log.String(), 3))
	}
	n.mu.Unlock()
	close(ended)
}

// signal sends a signal; false when the node does not run. After an ending one
// the node may end.
func (n *node) signal(s syscall.Signal, ending bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	n.excused = n.excused || ending
	return n.cmd.Process.Signal(s) == nil
}

// wait waits until the node does not run. One that does not end, although it was
// told to, is a problem; its stacks go to the log.
func (n *node) wait() {
	n.mu.Lock()
	ended, running := n.ended, n.cmd != nil
	n.mu.Unlock()
	if !running {
		return
	}
	select {
	case <-ended:
	case <-time.After(patience):
		n.cluster.problem("%s does not end", n.name)
		n.signal(syscall.SIGQUIT, true)
		<-ended
	}
}

// keepDown has the node not started, or lets it be.
func (n *node) keepDown(down bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = down
}

// kill is kill -9; false when the node does not run.
func (n *node) kill() bool {
	ok := n.signal(syscall.SIGKILL, true)
	n.wait()
	return ok
}

// command has the node's faults changed; false when it does not run. After an
// ending one the node may end.
func (n *node) command(line string, ending bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	n.excused = n.excused || ending
	_, err := fmt.Fprintln(n.commands, line)
	return err == nil
}

func (n *node) hasFailed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.failed
}

// pid is 0 while the node does not run.
func (n *node) pid() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return 0
	}
	return n.cmd.Process.Pid
}

// cluster is a set of nodes behind links.
type cluster struct {
	t     *testing.T
	nodes []*node
	links *links

	mu       sync.Mutex
	problems []string
}

// servicePort is the port of all nodes and fronts. Each has an address of its
// own in 127/8, from which nobody else draws a port while a node is down.
const servicePort = 7400

// hosts are the first three bytes of a network of loopback addresses that no
// other cluster of this machine has.
var hosts struct {
	sync.Mutex
	used byte
}

func network() [3]byte {
	hosts.Lock()
	defer hosts.Unlock()
	hosts.used++
	return [3]byte{127, 64 + byte(os.Getpid()%128), hosts.used}
}

// newCluster prepares and starts n nodes that find each other.
func newCluster(t *testing.T, n int, seed uint64, extra ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, links: newLinks()}
	c.links.owner = func(from, to netip.AddrPort) int {
		pids := make([]int, len(c.nodes))
		for i, n := range c.nodes {
			pids[i] = n.pid()
		}
		return socketOwner(from, to, pids)
	}
	net, dir := network(), t.TempDir()
	at := func(last int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{net[0], net[1], net[2], byte(last)}), servicePort)
	}
	for i := range n {
		if err := c.links.add(at(101+i), at(1+i)); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range c.links.fronts {
		name := fmt.Sprintf("n%d", i+1)
		args := []string{"node", "--name", name, "--addr", f.real.String(), "--advertise", f.addr.String(), "--expect", fmt.Sprint(n),
			"--join", c.links.fronts[(i+1)%n].addr.String(), "--data", filepath.Join(dir, name)}
		c.nodes = append(c.nodes, &node{cluster: c, name: name, args: append(args, extra...), seed: seed + uint64(i)<<32})
	}
	c.links.run()
	t.Cleanup(c.end)
	for _, n := range c.nodes {
		n.start()
	}
	return c
}

// end ends all processes.
func (c *cluster) end() {
	for _, n := range c.nodes {
		n.kill()
	}
	c.links.close()
	for _, p := range c.problems {
		c.t.Error(p)
	}
	for _, n := range c.nodes {
		if log := n.logText(); strings.Contains(log, "panic:") || strings.Contains(log, "fatal error:") || strings.Contains(log, "DATA RACE") {
			c.t.Errorf("%s panicked, or has a data race:\n%s", n.name, log)
		}
	}
	if c.t.Failed() {
		for _, n := range c.nodes {
			c.t.Logf("log of %s:\n%s", n.name, tail(n.logText(), 40))
		}
	}
}

// problem notes what must not be; the test fails at its end.
func (c *cluster) problem(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

// addrs are the addresses of all nodes, that of one first.
func (c *cluster) addrs(first int) []string {
	var list []string
	for i := range c.links.fronts {
		list = append(list, c.links.fronts[(first+i)%len(c.links.fronts)].addr.String())
	}
	return list
}

// dial connects a client to all nodes, to one of them at first.
func (c *cluster) dial(first int, conf client.Config) *client.Client {
	c.t.Helper()
	conf.Addrs = c.addrs(first % len(c.nodes))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cl, err := client.Dial(ctx, conf)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl
}

// status is what `syncsh status --json` prints; nil when no node answers.
func (c *cluster) status() *client.Status {
	out, err := exec.Command(binary, "status", "--json", "--timeout", "3s", "-c", strings.Join(c.addrs(0), ",")).Output()
	var s client.Status
	if err != nil || json.Unmarshal(out, &s) != nil {
		return nil
	}
	return &s
}

// await waits until ok; what names it in a failure. Nodes whose disk failed are
// started again.
func (c *cluster) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		for _, n := range c.nodes {
			n.start()
			if n.hasFailed() {
				c.t.Fatalf("waiting for %s: %s has ended by itself", what, n.name)
			}
		}
		if time.Now().After(deadline) {
			s, _ := json.Marshal(c.status())
			c.t.Fatalf("waited %v for %s; status %s", patience, what, s)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// awaitEqual waits until there is one leader and all nodes are at the same index;
// there they must have the same state.
func (c *cluster) awaitEqual() *client.Status {
	c.t.Helper()
	var s *client.Status
	c.await("one leader and equal indexes", func() bool {
		s = c.status()
		if s == nil || !s.Healthy || len(s.Nodes) != len(c.nodes) {
			return false
		}
		leaders := 0
		for _, n := range s.Nodes {
			if !n.Alive || n.Applied != s.Nodes[0].Applied || n.DigestIndex != s.Nodes[0].DigestIndex {
				return false
			}
			if n.Role == "leader" {
				leaders++
			}
		}
		return leaders == 1
	})
	for _, n := range s.Nodes {
		if n.Digest != s.Nodes[0].Digest || n.Diverged {
			c.t.Errorf("at index %d %s has digest %s (diverged: %v), %s has %s", n.Applied, n.Name, n.Digest, n.Diverged, s.Nodes[0].Name, s.Nodes[0].Digest)
		}
	}
	return s
}

// leader asks every node at its own address, past the links; -1 when none says
// that it leads.
func (c *cluster) leader() int {
	const wait = 500 * time.Millisecond
	terms := make([]uint64, len(c.nodes))
	var asked sync.WaitGroup
	for i, f := range c.links.fronts {
		asked.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), wait)
			defer cancel()
			cl, err := client.Dial(ctx, client.Config{Addrs: []string{f.real.String()}, Timeout: wait})
			if err != nil {
				return
			}
			defer cl.Close()
			if s, err := cl.NodeStatus(ctx); err == nil && s.Role == "leader" && s.Name == c.nodes[i].name {
				terms[i] = s.Term
			}
		})
	}
	asked.Wait()
	best := -1
	for i, term := range terms {
		if term > 0 && (best < 0 || term > terms[best]) {
			best = i
		}
	}
	return best
}

func tail(s string, lines int) string {
	all := strings.Split(strings.TrimSuffix(s, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// A binary without the tag takes no commands.
func TestProductionHasNoFaults(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", "../../cmd/syncsh").Output()
	if err != nil || len(out) == 0 {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "internal/fault") {
		t.Error("a production binary contains internal/fault")
	}
	cmd := exec.Command(binary, "node", "--name", "n1", "--addr", "127.0.0.1:0", "--expect", "1")
	cmd.Env = append(os.Environ(), "SYNCSH_CHAOS=1")
	cmd.Stdin = strings.NewReader("")
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != fault.ExitCode {
		t.Errorf("a node of the test build whose input has ended: %v, want exit code %d", err, fault.ExitCode)
	}
}
