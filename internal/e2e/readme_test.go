package e2e

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// block is a fenced block of the README.
type block struct {
	kind  string // repl, console, cluster, ...
	line  int
	lines []string
}

func readmeBlocks(t *testing.T) []block {
	t.Helper()
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	open := false
	for i, line := range strings.Split(string(b), "\n") {
		switch {
		case strings.HasPrefix(line, "```") && !open:
			open = true
			blocks = append(blocks, block{kind: strings.TrimPrefix(line, "```"), line: i + 1})
		case strings.HasPrefix(line, "```"):
			open = false
		case open:
			last := &blocks[len(blocks)-1]
			last.lines = append(last.lines, line)
		}
	}
	return blocks
}

// readmeDir is a directory that looks like the checkout to the README's
// commands.
func readmeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"bin/syncsh": binary, "scripts": filepath.Join(root, "scripts")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestReadmeRepl types the lines of each REPL block, in an embedded node of its
// own, and compares all that is printed.
func TestReadmeRepl(t *testing.T) {
	for _, b := range readmeBlocks(t) {
		if b.kind != "repl" {
			continue
		}
		var input, want []string
		for _, line := range b.lines {
			if typed, ok := strings.CutPrefix(line, "> "); ok {
				input = append(input, typed)
			} else {
				want = append(want, line)
			}
		}
		cmd := exec.Command(binary)
		cmd.Stdin = strings.NewReader(strings.Join(input, "\n") + "\n")
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != strings.Join(want, "\n") {
			t.Errorf("README.md:%d: %v %s\ngot:\n%s\nwant:\n%s", b.line, err, stderr.String(), got, strings.Join(want, "\n"))
		}
	}
}

// shellBlock is the commands of a block as a shell script, and its output.
func shellBlock(b block) (script, want string) {
	var commands, output []string
	for _, line := range b.lines {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			commands = append(commands, c)
		} else {
			output = append(output, line+"\n")
		}
	}
	return strings.Join(commands, "\n") + "\n", strings.Join(output, "")
}

// TestReadmeConsole runs the commands that need no cluster.
func TestReadmeConsole(t *testing.T) {
	dir := readmeDir(t)
	makefile := "run:\n\t@bin/syncsh\n" // the real one would build into the checkout
	if err := os.WriteFile(filepath.Join(dir, "Makefile"), []byte(makefile), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, b := range readmeBlocks(t) {
		if b.kind != "console" {
			continue
		}
		script, want := shellBlock(b)
		cmd := exec.Command("bash", "-e")
		cmd.Dir = dir
		cmd.Stdin = strings.NewReader(script)
		out, err := cmd.CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("README.md:%d: %v\ngot:\n%s\nwant:\n%s", b.line, err, out, want)
		}
	}
}

// TestReadmeCluster runs the commands of the three-node start, on free ports,
// with a wait for the cluster after nodes were started.
func TestReadmeCluster(t *testing.T) {
	dir := readmeDir(t)
	addrs := ports(t, 4)
	port := regexp.MustCompile(`127\.0\.0\.1:740[0-3]`)
	bind := func(s string) string {
		return port.ReplaceAllStringFunc(s, func(a string) string { return addrs[a[len(a)-1]-'0'] })
	}
	pids := filepath.Join(dir, "pids")
	t.Cleanup(func() {
		b, _ := os.ReadFile(pids)
		exec.Command("kill", append([]string{"-9"}, strings.Fields(string(b))...)...).Run()
		if t.Failed() {
			for _, name := range []string{"n1.log", "n2.log", "n3.log", "n4.log"} {
				log, _ := os.ReadFile(filepath.Join(dir, name))
				t.Logf("%s:\n%s", name, tail(string(log), 20))
			}
		}
	})
	c := &cluster{t: t, nodes: []*process{{addr: addrs[0]}, {addr: addrs[1]}, {addr: addrs[2]}}}
	running := 0
	for _, b := range readmeBlocks(t) {
		if b.kind != "cluster" {
			continue
		}
		script, want := shellBlock(b)
		var shell []string
		for _, line := range strings.Split(bind(script), "\n") {
			if node, ok := strings.CutSuffix(line, "&"); ok {
				// Else the shell's output would stay open for as long as the node runs.
				line = node + ">/dev/null & echo $! >>pids"
			}
			shell = append(shell, line)
		}
		run := func(lines []string) string {
			cmd := exec.Command("bash")
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "SYNCSH_CONNECT="+addrs[0])
			cmd.Stdin = strings.NewReader(strings.Join(lines, "\n"))
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("README.md:%d: %v", b.line, err)
			}
			return string(out)
		}
		got := ""
		for _, line := range shell {
			got += run([]string{line})
			if !strings.HasSuffix(line, ">>pids") {
				continue
			}
			if running++; running >= 3 {
				c.awaitHealthy(running)
			}
		}
		if got != want {
			t.Errorf("README.md:%d:\ngot:\n%s\nwant:\n%s", b.line, got, want)
		}
	}
	if running != 4 {
		t.Errorf("the README starts %d nodes, want 4", running)
	}
}
