package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/scripts"
)

// frame waits until the screen of `syncsh top` shows a whole picture that is as
// wanted, and forgets what came before it.
func (p *person) frame(what string, ok func(lines []string) bool) {
	p.t.Helper()
	p.until(func() bool {
		for {
			begin, end := bytes.Index(p.seen, []byte("\x1b[H")), bytes.Index(p.seen, []byte("\x1b[J"))
			if begin < 0 || end < 0 {
				return false
			}
			picture := p.seen[begin:max(begin, end)]
			p.seen = p.seen[end+len("\x1b[J"):]
			if ok(strings.Split(string(escapes.ReplaceAll(picture, nil)), "\n")) {
				return true
			}
		}
	}, func() string { return fmt.Sprintf("did not see %s; after the last picture %q", what, p.seen) })
}

// line tells whether one has all the words, one after the other.
func line(words ...string) func(lines []string) bool {
	return func(lines []string) bool {
		for _, l := range lines {
			rest, found := l, true
			for _, w := range words {
				var after string
				_, after, found = strings.Cut(rest, w)
				if !found {
					break
				}
				rest = after
			}
			if found {
				return true
			}
		}
		return false
	}
}

// leaves waits for the end of the command and returns what it wrote last.
func (p *person) leaves(cmd *exec.Cmd) string {
	p.t.Helper()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop() //nolint:errcheck // Wait tells
	if err := cmd.Wait(); err != nil {
		p.t.Fatalf("%s: %v", cmd.Args[1], err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.gone { // what it wrote is still on its way
		p.cond.Wait()
	}
	return string(p.seen)
}

// nodesIn starts a cluster in this process, in memory, with counter and kv.
func nodesIn(t *testing.T, n int, change func(*node.Config)) (nodes []*node.Node) {
	t.Helper()
	for i := range n {
		conf := node.Config{Name: fmt.Sprintf("n%d", i+1), Addr: "127.0.0.1:0", Expect: n, Build: "test"}
		if i > 0 {
			conf.Join = []string{nodes[0].Addr()}
		}
		if change != nil {
			change(&conf)
		}
		k, err := node.Start(conf)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(k.Kill)
		nodes = append(nodes, k)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	if _, err := shell.DeployWhenReady(ctx, nodes[0], scripts.Default()); err != nil {
		t.Fatal(err)
	}
	for _, k := range nodes {
		select {
		case <-k.Ready():
		case <-ctx.Done():
			t.Fatal("not ready")
		}
	}
	return nodes
}

func dialNode(t *testing.T, n *node.Node) *client.Client {
	t.Helper()
	cl, err := client.Dial(context.Background(), client.Config{Addrs: []string{n.Addr()}, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cl.Close() }) //nolint:errcheck // always nil
	return cl
}

const leftScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"

// The live screen follows calls, the size of the terminal and nodes that are
// lost, until nobody answers, and gives the terminal back.
func TestTop(t *testing.T) {
	nodes := nodesIn(t, 3, nil)
	cl := dialNode(t, nodes[0])
	call := func(method string) func([]string) bool { // again and again, until it is seen
		return func(lines []string) bool {
			cl.Call(context.Background(), "counter", method) //nolint:errcheck // some shall fail
			return line("counter  "+method, " 1")(lines)
		}
	}
	p, cmd := sit(t, "top", "-c", nodes[0].Addr(), "--interval", "100ms")
	p.sawScreen()
	p.frame("three nodes", func(lines []string) bool {
		return line("healthy: leader n")(lines) && line("n1 ", " ok")(lines) && line("n2 ", " ok")(lines) && line("n3 ", " ok")(lines) &&
			len(lines) == 24 && lines[23] == "q leaves"
	})
	p.frame("calls of inc", call("inc"))
	if _, err := cl.Call(context.Background(), "counter", "inc", "much"); client.CodeOf(err) != client.CodeScript {
		t.Fatal(err)
	}
	p.frame("a call that failed", line("counter:inc", "n1 ", "script: "))
	p.frame("the slowest", line("SLOWEST"))

	if err := pty.Setsize(p.tty, &pty.Winsize{Rows: 10, Cols: 30}); err != nil {
		t.Fatal(err)
	}
	p.frame("a small picture", func(lines []string) bool {
		for _, l := range lines {
			if len(l) > 30 {
				return false
			}
		}
		return len(lines) == 10 && lines[9] == "q leaves"
	})
	if err := pty.Setsize(p.tty, &pty.Winsize{Rows: 40, Cols: 120}); err != nil {
		t.Fatal(err)
	}
	p.frame("a large picture", func(lines []string) bool { return len(lines) == 40 })

	nodes[2].Kill()
	p.frame("a lost node", line("n3 ", "lost"))
	nodes[1].Kill()
	p.frame("that nobody leads", func(lines []string) bool {
		return line("NOT HEALTHY: no leader")(lines) && line("n1 ", "no leader")(lines) && line("n2 ", "lost")(lines)
	})
	nodes[0].Kill()
	p.frame("that nobody answers", line("no answer: "))
	p.types("q")
	if rest := p.leaves(cmd); !strings.HasSuffix(rest, leftScreen) {
		t.Errorf("the terminal is left with %q", rest)
	}
}

// sawScreen waits for the alternate screen.
func (p *person) sawScreen() {
	p.t.Helper()
	p.frame("a picture", func([]string) bool { return true })
}

// Ctrl-C and a signal end it as q does; without colours it shows none.
func TestTopLeaves(t *testing.T) {
	nodes := nodesIn(t, 1, nil)
	for _, way := range []struct {
		name, none string
		leave      func(p *person, cmd *exec.Cmd)
	}{
		{"Ctrl-C", "", func(p *person, _ *exec.Cmd) { p.types("\x03") }},
		{"SIGTERM", "1", func(p *person, cmd *exec.Cmd) { cmd.Process.Signal(syscall.SIGTERM) }}, //nolint:errcheck // it runs
	} {
		t.Run(way.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", way.none)
			p, cmd := sit(t, "top", "-c", nodes[0].Addr(), "--interval", "100ms")
			var picture []byte
			p.frame("a node", func(lines []string) bool {
				picture = append([]byte(nil), p.seen...)
				return line("n1 ", " ok")(lines)
			})
			way.leave(p, cmd)
			rest := p.leaves(cmd)
			if !strings.HasSuffix(rest, leftScreen) {
				t.Errorf("the terminal is left with %q", rest)
			}
			if all := string(picture) + rest; strings.Contains(all, "\x1b[32m") != (way.none == "") && strings.Contains(all, "healthy") {
				t.Errorf("NO_COLOR=%s: %q", way.none, all)
			}
		})
	}
}

// --watch draws over what it drew before, and goes on when nobody answers.
func TestWatchedStatus(t *testing.T) {
	for _, name := range []string{"status", "members"} {
		t.Run(name, func(t *testing.T) {
			nodes := nodesIn(t, 1, nil)
			p, cmd := sit(t, name, "--watch", "--timeout", "1s", "-c", nodes[0].Addr())
			p.frameAgain(regexp.MustCompile("\x1b\\[[0-9]+A\r\x1b\\[J(?s:.*)n1  "))
			nodes[0].Kill()
			p.sees("no_leader: no node reachable: " + nodes[0].Addr())
			p.frameAgain(regexp.MustCompile("\x1b\\[1A\r\x1b\\[J"))
			p.types("\x03")
			p.leaves(cmd)
		})
	}
}

// frameAgain waits for what matches, escape sequences and all.
func (p *person) frameAgain(want *regexp.Regexp) {
	p.t.Helper()
	p.until(func() bool { return want.Match(p.seen) }, func() string { return fmt.Sprintf("nothing like %v in %q", want, p.seen) })
}
