package shell

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/raft"
	"github.com/syncsh/syncsh/scripts"
)

// stopTimeout bounds how long a node that is stopped may take to say goodbye.
const stopTimeout = 3 * time.Second

// Embedded is a cluster of one within this process, without a port.
type Embedded struct {
	Client *client.Client
	node   *node.Node
}

// StartEmbedded starts it, in memory when data is empty.
func StartEmbedded(ctx context.Context, data, build string) (*Embedded, error) {
	n, err := node.Start(node.Config{Name: "local", Data: data, Single: true, Build: build})
	if err != nil {
		return nil, err
	}
	e := &Embedded{node: n}
	if err = awaitReady(ctx, n); err == nil {
		e.Client, err = client.Dial(ctx, client.Config{Addrs: []string{"local"}, Name: "shell", Dial: inProcess(n)})
	}
	if err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// inProcess connects to a node of this process, whatever the address.
func inProcess(n *node.Node) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, _ string) (net.Conn, error) { return n.Dial(ctx) }
}

// Close ends it.
func (e *Embedded) Close() {
	if e.Client != nil {
		e.Client.Close() //nolint:errcheck // always nil
	}
	stopNode(e.node)
}

func stopNode(n *node.Node) {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	n.Stop(ctx) //nolint:errcheck // the process ends; what was acknowledged is on disk
}

func awaitReady(ctx context.Context, n *node.Node) error {
	select {
	case <-n.Ready():
		return nil
	case <-n.Done():
		return fmt.Errorf("node %s stopped: %w", n.Name(), n.Err())
	case <-ctx.Done():
		return ErrInterrupted
	}
}

// DeployMissing deploys scripts unless the very same are deployed already. With
// none given it deploys fallback, if nothing is deployed at all.
func DeployMissing(ctx context.Context, c Cluster, scripts, fallback []command.Script) ([]string, error) {
	d, err := Describe(ctx, c, client.Linearizable)
	if err != nil {
		return nil, err
	}
	if len(scripts) == 0 {
		if len(d.Scripts) > 0 {
			return nil, nil
		}
		scripts = fallback
	}
	missing := slices.ContainsFunc(scripts, func(s command.Script) bool { return !slices.Contains(d.Scripts, s) })
	if !missing {
		return nil, nil
	}
	return Deploy(ctx, c, scripts)
}

// ReadScripts reads script files; the name of a script is that of its file. Where
// there is no such file, queue is queue.lua of the library.
func ReadScripts(files []string) ([]command.Script, error) {
	out := make([]command.Script, 0, len(files))
	for _, f := range files {
		source, err := os.ReadFile(f)
		read := command.Script{Name: filepath.Base(f), Source: string(source)}
		if errors.Is(err, os.ErrNotExist) {
			s, ok := scripts.Get(f + ".lua")
			if !ok {
				return nil, &UsageError{err.Error() + suggestScript(f)}
			}
			read, err = s, nil
		}
		if err != nil {
			return nil, &UsageError{err.Error()}
		}
		if slices.ContainsFunc(out, func(s command.Script) bool { return s.Name == read.Name }) {
			return nil, &UsageError{fmt.Sprintf("two scripts are named %s", read.Name)}
		}
		out = append(out, read)
	}
	return out, nil
}

// DeployWhenReady deploys the scripts that a node was started with once there is
// a leader. Other nodes may have been started with the same: the leader goes
// first, and what it deployed is not deployed again.
func DeployWhenReady(ctx context.Context, n *node.Node, scripts []command.Script) ([]string, error) {
	if err := awaitReady(ctx, n); err != nil {
		return nil, err
	}
	c, err := client.Dial(ctx, client.Config{Addrs: []string{n.Name()}, Name: "deploy at start", Dial: inProcess(n)})
	if err != nil {
		return nil, err
	}
	defer c.Close() //nolint:errcheck // always nil
	if st, err := c.NodeStatus(ctx); err == nil && st.Role != "leader" {
		select {
		case <-time.After(leaderDeploysFirst):
		case <-ctx.Done():
			return nil, ErrInterrupted
		}
	}
	return DeployMissing(ctx, c, scripts, nil)
}

// leaderDeploysFirst is how long the other nodes wait before they look whether
// their scripts are deployed.
const leaderDeploysFirst = time.Second

// Dev is a whole cluster within this process, on loopback.
type Dev struct {
	Client *client.Client
	dir    string
	build  string
	nodes  []*devNode

	mu  sync.Mutex
	cut map[string]bool // nodes that no other reaches
}

type devNode struct {
	conf node.Config
	node *node.Node // nil while it is off
	id   raft.ID
}

// StartDev starts a cluster of count nodes, named n1, n2 and so on, whose data
// is deleted when it is closed.
func StartDev(ctx context.Context, count int, build string) (*Dev, error) {
	dir, err := os.MkdirTemp("", "syncsh-dev-")
	if err != nil {
		return nil, err
	}
	d := &Dev{dir: dir, build: build, cut: map[string]bool{}}
	if err := d.start(ctx, count); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Dev) start(ctx context.Context, count int) error {
	var addrs []string
	for i := 1; i <= count; i++ {
		name := fmt.Sprintf("n%d", i)
		n := &devNode{conf: node.Config{
			Name: name, Addr: "127.0.0.1:0", Data: filepath.Join(d.dir, name), Expect: count, Join: slices.Clone(addrs), Build: d.build,
			Link: func(peer raft.ID) bool { return d.linked(name, peer) },
		}}
		if err := n.start(); err != nil {
			return err
		}
		d.mu.Lock()
		d.nodes = append(d.nodes, n)
		d.mu.Unlock()
		// Restarted it must be found where it was.
		n.conf.Addr = n.node.Addr()
		addrs = append(addrs, n.node.Addr())
	}
	for _, n := range d.nodes {
		n.conf.Join = addrs
		if err := awaitReady(ctx, n.node); err != nil {
			return err
		}
	}
	var err error
	d.Client, err = client.Dial(ctx, client.Config{Addrs: addrs, Name: "shell"})
	return err
}

func (n *devNode) start() error {
	started, err := node.Start(n.conf)
	if err == nil {
		n.node, n.id = started, started.ID()
	}
	return err
}

// linked tells whether traffic from the node of that name to a peer may pass.
func (d *Dev) linked(name string, peer raft.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cut[name] {
		return false
	}
	for _, n := range d.nodes {
		if n.id == peer {
			return !d.cut[n.conf.Name]
		}
	}
	return true
}

// Close ends all nodes and deletes their data.
func (d *Dev) Close() {
	if d.Client != nil {
		d.Client.Close() //nolint:errcheck // always nil
	}
	for _, n := range d.nodes {
		if n.node != nil {
			n.node.Kill()
		}
	}
	os.RemoveAll(d.dir) //nolint:errcheck // a directory for temporary files
}

func (d *Dev) find(name string) (*devNode, error) {
	var names []string
	for _, n := range d.nodes {
		if n.conf.Name == name {
			return n, nil
		}
		names = append(names, n.conf.Name)
	}
	return nil, &UsageError{fmt.Sprintf("no node '%s': there are %v", name, names)}
}

// Commands are the dot-commands of a cluster in one process.
func (d *Dev) Commands() []DotCommand {
	on := func(f func(n *devNode) error) func(context.Context, *Console, string) error {
		return func(_ context.Context, _ *Console, arg string) error {
			n, err := d.find(arg)
			if err != nil {
				return err
			}
			return f(n)
		}
	}
	return []DotCommand{
		{".kill", "NODE", "ends a node at once, as kill -9 does", on(d.kill)},
		{".restart", "NODE", "starts a killed node again", on(d.restart)},
		{".partition", "NODE", "cuts a node off from the others", on(func(n *devNode) error { return d.setCut(n, true) })},
		{".heal", "[NODE]", "ends one partition, or all", func(ctx context.Context, c *Console, arg string) error {
			if arg == "" {
				d.mu.Lock()
				clear(d.cut)
				d.mu.Unlock()
				return nil
			}
			return on(func(n *devNode) error { return d.setCut(n, false) })(ctx, c, arg)
		}},
	}
}

func (d *Dev) kill(n *devNode) error {
	if n.node == nil {
		return &UsageError{n.conf.Name + " is off already"}
	}
	n.node.Kill()
	n.node = nil
	return nil
}

func (d *Dev) restart(n *devNode) error {
	if n.node != nil {
		return &UsageError{n.conf.Name + " is running; .kill it first"}
	}
	return n.start()
}

func (d *Dev) setCut(n *devNode, cut bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cut[n.conf.Name] = cut
	return nil
}
