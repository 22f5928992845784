package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncsh/syncsh/internal/node"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/scripts"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"syncsh": main})
}

// readyTimeout bounds how long a cluster of tests may take to found itself.
const readyTimeout = 30 * time.Second

// TestScripts runs testdata/script. Beside testscript's own commands there are
//
//	exits CODE COMMAND...  runs a command that must end with this exit code
//	cluster [FILE...]      starts a node on a port of the system's choice, its data
//	                       in $WORK/n1, deploys counter, kv and lock or the files,
//	                       and sets SYNCSH_CONNECT
//	off                    ends the node as a crash would
//	on                     starts it again with its data
//	cutoff FILE            removes the last byte of a file
//	readme WORD            writes what the README's REPL block that has the word types
//	                       to readme.in, and what it shows to readme.out
//
// and those of storageCmds and codeCmds.
func TestScripts(t *testing.T) {
	cmds := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"exits":   exits,
		"cutoff":  cutoff,
		"readme":  readme,
		"cluster": withCluster((*testCluster).found),
		"off":     withCluster(func(c *testCluster, _ *testscript.TestScript, _ []string) error { c.kill(); return nil }),
		"on":      withCluster(func(c *testCluster, _ *testscript.TestScript, _ []string) error { return c.start() }),
	}
	maps.Copy(cmds, storageCmds())
	maps.Copy(cmds, codeCmds())
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			e.Vars = append(e.Vars, "XDG_STATE_HOME="+filepath.Join(e.WorkDir, "state"), "SCRIPTS="+scriptsDir(t))
			e.Values[clusterKey{}] = &testCluster{dir: filepath.Join(e.WorkDir, "n1")}
			e.Values[threeKey{}] = new(threeNodes)
			e.Defer(func() { e.Values[clusterKey{}].(*testCluster).kill() })
			return nil
		},
		Cmds: cmds,
	})
}

func scriptsDir(t *testing.T) string {
	dir, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if err != nil || neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d\n%s%s", got, want, ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

func cutoff(ts *testscript.TestScript, _ bool, args []string) {
	file := ts.MkAbs(args[0])
	st, err := os.Stat(file)
	ts.Check(err)
	ts.Check(os.Truncate(file, st.Size()-1))
}

func readme(ts *testscript.TestScript, _ bool, args []string) {
	page, err := os.ReadFile(filepath.Join(ts.Getenv("SCRIPTS"), "../README.md"))
	ts.Check(err)
	for _, block := range strings.Split(string(page), "```repl\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		if !strings.Contains(block, args[0]) {
			continue
		}
		var in, out strings.Builder
		for line := range strings.Lines(block) {
			if typed, ok := strings.CutPrefix(line, "> "); ok {
				in.WriteString(typed)
			} else {
				out.WriteString(line)
			}
		}
		ts.Check(os.WriteFile(ts.MkAbs("readme.in"), []byte(in.String()), 0o644))
		ts.Check(os.WriteFile(ts.MkAbs("readme.out"), []byte(out.String()), 0o644))
		return
	}
	ts.Fatalf("no REPL block of the README has %s", args[0])
}

type clusterKey struct{}

// testCluster is a node of a script.
type testCluster struct {
	dir  string
	addr string
	node *node.Node
}

func withCluster(f func(c *testCluster, ts *testscript.TestScript, args []string) error) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		ts.Check(f(ts.Value(clusterKey{}).(*testCluster), ts, args))
	}
}

func (c *testCluster) found(ts *testscript.TestScript, files []string) error {
	c.addr = "127.0.0.1:0"
	if err := c.start(); err != nil {
		return err
	}
	c.addr = c.node.Addr()
	ts.Setenv("SYNCSH_CONNECT", c.addr)
	deploy := scripts.Default()
	if len(files) > 0 {
		for i := range files {
			files[i] = ts.MkAbs(files[i])
		}
		given, err := shell.ReadScripts(files)
		if err != nil {
			return err
		}
		deploy = given
	}
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	_, err := shell.DeployWhenReady(ctx, c.node, deploy)
	return err
}

func (c *testCluster) start() error {
	conf := node.Config{Name: "n1", Addr: c.addr, Data: c.dir, Single: true, Build: "test"}
	n, err := node.Start(conf)
	// A command that another script starts at this moment has, until it runs, a
	// copy of all that this process has open, the lock of a killed node too.
	for deadline := time.Now().Add(readyTimeout); errors.Is(err, persist.ErrLocked) && time.Now().Before(deadline); {
		runtime.Gosched()
		n, err = node.Start(conf)
	}
	if err != nil {
		return err
	}
	c.node = n
	select {
	case <-n.Ready():
		return nil
	case <-n.Done():
		return n.Err()
	case <-time.After(readyTimeout):
		return fmt.Errorf("not ready within %v", readyTimeout)
	}
}

func (c *testCluster) kill() {
	if c.node != nil {
		c.node.Kill()
		c.node = nil
	}
}

// Every command shows an example in its help.
func TestExamples(t *testing.T) {
	root := newRoot()
	for _, cmd := range append(root.Commands(), root) {
		if cmd.Example == "" {
			t.Errorf("%s: no example", cmd.Name())
		}
	}
}
