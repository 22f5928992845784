package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/scripts"
)

// storageCmds are the commands of scripts that test the storage tools:
//
//	damage FILE OFFSET TO   copies a file with one byte changed
//	tear SEGMENT            appends the beginning of a record to a log segment
//	differ DIR...           checks that no two have the node or the cluster in common
//	three                   starts three nodes c1 to c3 of a cluster with counter, kv and lock
//	off3                    ends them as a crash would
//	unfounded               starts a node that waits for two others, and sets SYNCSH_CONNECT
//	alone NAME              starts one of them again
//	join NAME               starts a further node, which is a learner
func storageCmds() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	three := func(f func(*threeNodes, *testscript.TestScript, []string)) func(*testscript.TestScript, bool, []string) {
		return func(ts *testscript.TestScript, _ bool, args []string) {
			f(ts.Value(threeKey{}).(*threeNodes), ts, args)
		}
	}
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"damage": damageFile,
		"tear":   tearSegment,
		"differ": differ,
		"three":  three(func(c *threeNodes, ts *testscript.TestScript, _ []string) { ts.Defer(c.kill); c.start(ts) }),
		"off3":   three(func(c *threeNodes, _ *testscript.TestScript, _ []string) { c.kill() }),
		"join":   three(func(c *threeNodes, ts *testscript.TestScript, args []string) { c.join(ts, args[0]) }),
		"unfounded": three(func(c *threeNodes, ts *testscript.TestScript, _ []string) {
			ts.Defer(c.kill)
			ts.Setenv("SYNCSH_CONNECT", c.add(ts, node.Config{Name: "u1", Expect: 3}).Addr())
		}),
		"alone": three(func(c *threeNodes, ts *testscript.TestScript, args []string) { c.alone(ts, args[0]) }),
	}
}

func damageFile(ts *testscript.TestScript, _ bool, args []string) {
	b, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	offset, err := strconv.Atoi(args[1])
	ts.Check(err)
	b[offset] ^= 0x40
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), b, 0o600))
}

func tearSegment(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	b, err := os.ReadFile(path)
	ts.Check(err)
	end := (len(bytes.TrimRight(b, "\x00")) + 7) / 8 * 8
	copy(b[end:], "unfinished")
	ts.Check(os.WriteFile(path, b, 0o600))
}

func differ(ts *testscript.TestScript, _ bool, args []string) {
	seen := map[string]string{}
	for _, dir := range args {
		c, err := persist.Inspect(ts.MkAbs(dir), persist.InspectOptions{})
		ts.Check(err)
		for _, id := range []string{c.Identity.Cluster, idText(c.Identity.NodeID)} {
			if other, ok := seen[id]; ok || id == "" {
				ts.Fatalf("%s and %s are both of %q", other, dir, id)
			}
			seen[id] = dir
		}
	}
}

type threeKey struct{}

// threeNodes is a cluster of one script: those that run at the same time have their
// own.
type threeNodes struct {
	nodes []*node.Node
}

func (c *threeNodes) kill() {
	for _, n := range c.nodes {
		n.Kill()
	}
	c.nodes = nil
}

func (c *threeNodes) add(ts *testscript.TestScript, conf node.Config) *node.Node {
	conf.Addr, conf.Data, conf.Build = "127.0.0.1:0", ts.MkAbs(conf.Name), "test"
	n, err := node.Start(conf)
	ts.Check(err)
	c.nodes = append(c.nodes, n)
	return n
}

func (c *threeNodes) start(ts *testscript.TestScript) {
	var join []string
	for i := range 3 {
		n := c.add(ts, node.Config{Name: fmt.Sprintf("c%d", i+1), Expect: 3, Join: join})
		join = append(join, n.Addr())
	}
	for _, n := range c.nodes {
		ready(ts, n)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	_, err := shell.DeployWhenReady(ctx, c.nodes[0], scripts.Default())
	ts.Check(err)
	ts.Setenv("SYNCSH_CONNECT", c.nodes[0].Addr())
}

func (c *threeNodes) join(ts *testscript.TestScript, name string) {
	ready(ts, c.add(ts, node.Config{Name: name, Join: []string{c.nodes[0].Addr()}}))
}

func (c *threeNodes) alone(ts *testscript.TestScript, name string) {
	n := c.add(ts, node.Config{Name: name})
	ready(ts, n)
	ts.Setenv("SYNCSH_CONNECT", n.Addr())
}

func ready(ts *testscript.TestScript, n *node.Node) {
	select {
	case <-n.Ready():
	case <-n.Done():
		ts.Fatalf("%s stopped: %v", n.Name(), n.Err())
	case <-time.After(readyTimeout):
		ts.Fatalf("%s is not ready within %v", n.Name(), readyTimeout)
	}
}
