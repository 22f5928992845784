//go:build unix

package e2e

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A page of the documentation is carried out as a reader would: top down, each
// fenced block by its kind.
//
//	console, cluster   "$ " lines are typed at a shell, one for all of the page. "> "
//	                   lines behind one are typed at the prompt of what it starts.
//	console NAME       the same at a terminal of that name: the command goes on, and
//	                   a later block of that name, without a command, goes on with it
//	repl               "> " lines, typed at the prompt of bin/syncsh
//	lua                that begins with "-- FILE": is saved under that name
//
// The other lines are what must be printed, where "..." stands for anything within
// a line. Ports 7400 to 7403 are replaced by free ones. Where a reader looks until
// it is there, at a file that something in the background writes, so does the test:
// cat and grep are repeated. Behind commands that start nodes it waits for them.

// step is something that is typed, and what must be printed.
type step struct {
	kind, name string // of the block
	line       int
	command    string
	input      []string // typed at its prompt
	want       []string
}

func parsePage(text string) []step {
	var steps []step
	var kind, name string
	open := false
	for i, line := range strings.Split(text, "\n") {
		if fence, ok := strings.CutPrefix(line, "```"); ok {
			open = !open
			kind, name, _ = strings.Cut(fence, " ")
			if open {
				steps = append(steps, step{kind: kind, name: name, line: i + 1})
			}
			continue
		}
		if !open {
			continue
		}
		s := &steps[len(steps)-1]
		typed, isInput := strings.CutPrefix(line, "> ")
		command, isCommand := strings.CutPrefix(line, "$ ")
		switch {
		case kind == "lua":
			s.want = append(s.want, line)
		case isCommand:
			steps = append(steps, step{kind: kind, name: name, line: i + 1, command: command})
		case isInput && name != "" && len(s.input)+len(s.want) > 0: // one after the other
			steps = append(steps, step{kind: kind, name: name, line: i + 1, input: []string{typed}})
		case isInput:
			s.input = append(s.input, typed)
		default:
			s.want = append(s.want, line)
		}
	}
	return steps
}

// matches tells whether a text is what a page says is printed.
func matches(got string, want []string) bool {
	var b strings.Builder
	for _, line := range want {
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, ".*") + "\n")
	}
	return regexp.MustCompile(`\A` + b.String() + `\z`).MatchString(got)
}

// terminal is a process at which lines are typed.
type terminal struct {
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	ended   chan struct{}
	mu      sync.Mutex
	out     string        // printed and not taken yet
	printed chan struct{} // capacity 1: out has grown
}

// openTerminal starts bash with a script in a directory. All that it starts ends
// with the test.
func openTerminal(t *testing.T, dir string, env []string, args ...string) *terminal {
	t.Helper()
	x := &terminal{t: t, cmd: exec.Command("bash", args...), ended: make(chan struct{}), printed: make(chan struct{}, 1)}
	x.cmd.Dir, x.cmd.Env, x.cmd.Stdout, x.cmd.Stderr = dir, env, x, x
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if x.in, err = x.cmd.StdinPipe(); err == nil {
		err = x.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		x.cmd.Wait() //nolint:errcheck // its output is what counts
		close(x.ended)
	}()
	t.Cleanup(func() {
		syscall.Kill(-x.cmd.Process.Pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
		<-x.ended
	})
	return x
}

// Write takes what is printed.
func (x *terminal) Write(b []byte) (int, error) {
	x.mu.Lock()
	x.out += string(b)
	x.mu.Unlock()
	select {
	case x.printed <- struct{}{}:
	default:
	}
	return len(b), nil
}

func (x *terminal) typeLine(line string) {
	x.t.Helper()
	if _, err := io.WriteString(x.in, line+"\n"); err != nil {
		x.t.Fatalf("%q can't be typed: %v", line, err)
	}
}

// take waits until take takes something of the output; it returns what is there
// if that does not happen.
func (x *terminal) take(take func(out string) (taken, rest string, ok bool)) (string, bool) {
	deadline := time.After(patience)
	for {
		x.mu.Lock()
		taken, rest, ok := take(x.out)
		if ok {
			x.out = rest
		}
		out := x.out
		x.mu.Unlock()
		if ok {
			return taken, true
		}
		select {
		case <-x.printed:
		case <-deadline:
			return out, false
		}
	}
}

// takeLines takes so many lines.
func (x *terminal) takeLines(n int) string {
	got, _ := x.take(func(out string) (string, string, bool) {
		lines := strings.SplitAfterN(out, "\n", n+1)
		if len(lines) <= n {
			return "", "", false
		}
		return strings.Join(lines[:n], ""), lines[n], true
	})
	return got
}

// commandEnd is printed behind each command of a page's shell.
const commandEnd = "\x01end of command\n"

// killedNote is what a shell that is no terminal says of a job that was killed.
var killedNote = regexp.MustCompile(`(?m)^bash: line \d+: +\d+ Killed .*\n`)

// run types a command at a shell and returns what it prints.
func (x *terminal) run(command string, input []string) string {
	x.t.Helper()
	if len(input) > 0 {
		const end = "end of the input"
		command += " <<'" + end + "'\n" + strings.Join(input, "\n") + "\n" + end
	}
	x.typeLine(command + "\nprintf '\\001end of command\\n'")
	got, ok := x.take(func(out string) (string, string, bool) { return strings.Cut(out, commandEnd) })
	if !ok {
		x.t.Fatalf("waited %v for %s; it printed\n%s", patience, command, got)
	}
	return killedNote.ReplaceAllString(got, "")
}

// page is a page that is carried out.
type page struct {
	t         *testing.T
	file      string
	dir       string
	addrs     []string // for ports 7400, 7401, ...
	shell     *terminal
	terminals map[string]*terminal
	starting  bool // nodes were started since there was a wait
	nodes     int  // how many were started
}

var (
	pagePort  = regexp.MustCompile(`127\.0\.0\.1:740[0-3]\b`)
	startNode = regexp.MustCompile(`\bsyncsh node .*&( \w+=\$!)?$`)
	looks     = regexp.MustCompile(`^(cat|grep) `)
)

// carryOut carries out a page, whose name is below the checkout. It returns how
// many steps there were, and how many nodes.
func carryOut(t *testing.T, file string) (steps, nodes int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil {
		t.Fatal(err)
	}
	p := &page{t: t, file: file, dir: checkout(t), addrs: ports(t, 4), terminals: map[string]*terminal{}}
	p.shell = openTerminal(t, p.dir, p.env())
	for _, s := range parsePage(string(text)) {
		if p.step(s) {
			steps++
		}
		if t.Failed() {
			p.logs()
			return steps, p.nodes
		}
	}
	for name, x := range p.terminals {
		x.in.Close() //nolint:errcheck // a pipe
		select {
		case <-x.ended:
		case <-time.After(patience):
			t.Errorf("%s: terminal %s does not end", file, name)
		}
		if x.mu.Lock(); x.out != "" {
			t.Errorf("%s: terminal %s also printed\n%s", file, name, x.out)
		}
		x.mu.Unlock()
	}
	return steps, p.nodes
}

// checkout is a directory that looks like the checkout to the commands of pages.
func checkout(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"bin/syncsh": binary, "scripts": filepath.Join(root, "scripts"), "examples": filepath.Join(root, "examples")} {
		if err = os.MkdirAll(filepath.Dir(filepath.Join(dir, link)), 0o755); err == nil {
			err = os.Symlink(to, filepath.Join(dir, link))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		// The real one would build into the checkout.
		"Makefile": "build:\n\t@:\nrun:\n\t@bin/syncsh\n",
		// go build -o FILE PACKAGE, of a package of the checkout.
		"tools/go": fmt.Sprintf("#!/bin/sh\nout=$PWD/$3\ncd '%s' && exec '%s' build -o \"$out\" \"$4\"\n", root, goTool),
	} {
		file := filepath.Join(dir, name)
		if err = os.MkdirAll(filepath.Dir(file), 0o755); err == nil {
			err = os.WriteFile(file, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// env is the environment of the page's commands. Clients find the first node.
func (p *page) env() []string {
	return append(os.Environ(), "SYNCSH_CONNECT="+p.addrs[0], "PATH="+filepath.Join(p.dir, "tools")+":"+os.Getenv("PATH"))
}

// bind replaces the ports of a page by those of the test.
func (p *page) bind(text string) string {
	return pagePort.ReplaceAllStringFunc(text, func(a string) string { return p.addrs[a[len(a)-1]-'0'] })
}

// unbind puts the ports of the page into what is printed.
func (p *page) unbind(text string) string {
	for i, a := range p.addrs {
		text = strings.ReplaceAll(text, a, fmt.Sprintf("127.0.0.1:740%d", i))
	}
	return text
}

// step carries out one step; false says that there was nothing to do.
func (p *page) step(s step) bool {
	p.t.Helper()
	s.command = p.bind(s.command)
	for i := range s.input {
		s.input[i] = p.bind(s.input[i])
	}
	switch {
	case s.kind == "lua":
		name, ok := strings.CutPrefix(s.want[0], "-- ")
		if !ok || !strings.HasSuffix(name, ".lua") || strings.Contains(name, "/") {
			return false
		}
		p.shell.run("cat >"+name, s.want)
		return true
	case s.kind == "repl":
		s.command = "bin/syncsh"
	case s.kind != "console" && s.kind != "cluster":
		return false
	case s.name != "":
		return p.atTerminal(s)
	case s.command == "":
		return false // the begin of the block
	}
	if startNode.MatchString(s.command) {
		p.starting = true
		p.nodes++
	} else {
		p.awaitNodes()
	}
	got := p.shell.run(s.command, s.input)
	deadline := time.Now().Add(patience)
	for looks.MatchString(s.command) && !matches(p.unbind(got), s.want) && time.Now().Before(deadline) {
		time.Sleep(20 * time.Millisecond)
		got = p.shell.run(s.command, s.input)
	}
	p.compare(s, got)
	return true
}

// atTerminal carries out a step at a terminal of its own.
func (p *page) atTerminal(s step) bool {
	if s.command == "" && len(s.input)+len(s.want) == 0 {
		return false
	}
	x := p.terminals[s.name]
	if x == nil {
		if s.command == "" {
			p.t.Fatalf("%s:%d: terminal %s has no command yet", p.file, s.line, s.name)
		}
		x = openTerminal(p.t, p.dir, p.env(), "-c", "exec "+s.command)
		p.terminals[s.name] = x
	}
	for _, line := range s.input {
		x.typeLine(line)
	}
	p.compare(s, x.takeLines(len(s.want)))
	return true
}

func (p *page) compare(s step, got string) {
	p.t.Helper()
	if got = p.unbind(got); !matches(got, s.want) {
		p.t.Errorf("%s:%d: %s\ngot:\n%swant:\n%s", p.file, s.line, s.command, got, strings.Join(append(s.want, ""), "\n"))
	}
}

// awaitNodes waits until all nodes that run have a leader.
func (p *page) awaitNodes() {
	if !p.starting {
		return
	}
	p.starting = false
	c := &cluster{t: p.t}
	for _, addr := range p.addrs {
		c.nodes = append(c.nodes, &process{addr: addr})
	}
	c.await("a leader of all nodes that run", func() bool {
		// A shell may overlook that a job has ended until it waits for another one.
		running := strings.Count(p.shell.run("env true; jobs -r", nil), "syncsh node ")
		s := c.status()
		return s != nil && s.Healthy && countAlive(s) == running
	})
}

// logs shows what the nodes of a page that failed have logged.
func (p *page) logs() {
	files, _ := filepath.Glob(filepath.Join(p.dir, "*", "n?.log"))
	more, _ := filepath.Glob(filepath.Join(p.dir, "n?.log"))
	for _, f := range append(files, more...) {
		text, _ := os.ReadFile(f)
		p.t.Logf("%s:\n%s", filepath.Base(f), tail(string(text), 20))
	}
}
