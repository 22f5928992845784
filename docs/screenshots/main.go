// Command screenshots drives the REPL and `syncsh top` in pseudo-terminals, as a
// person would, and writes what these show to repl.svg and top.svg. `make
// screenshots` runs it.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	syncsh := flag.String("syncsh", "../../bin/syncsh", "the binary to show")
	dir := flag.String("out", ".", "directory of the pictures")
	flag.Parse()
	if err := run(*syncsh, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

func run(syncsh, dir string) error {
	syncsh, err := filepath.Abs(syncsh)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "syncsh-screenshots-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	s := &session{syncsh: syncsh, work: work}
	defer s.end()
	if err := s.repl(filepath.Join(dir, "repl.svg")); err != nil {
		return fmt.Errorf("repl: %w", err)
	}
	if err := s.top(filepath.Join(dir, "top.svg")); err != nil {
		return fmt.Errorf("top: %w", err)
	}
	return nil
}

// session is all that runs for the pictures.
type session struct {
	syncsh, work string
	running      []*exec.Cmd
}

func (s *session) end() {
	for _, cmd := range s.running {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // it was killed
	}
}

// command is one of syncsh that is found under its name.
func (s *session) command(args ...string) *exec.Cmd {
	cmd := exec.Command(s.syncsh, args...)
	cmd.Dir = s.work
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+s.work, "TERM=xterm-256color", "NO_COLOR=", "SYNCSH_CONNECT=", "LANG=C.UTF-8")
	return cmd
}

// repl shows what the REPL does with calls, values, documentation and mistakes.
func (s *session) repl(file string) error {
	t, err := s.open("syncsh", 92, 34)
	if err != nil {
		return err
	}
	const prompt, more = "leader t2>", "..."
	// Ctrl-L: the banner has the version of the day.
	if err := errors.Join(t.does("", prompt), t.does("\f", prompt)); err != nil {
		return err
	}
	for _, step := range []struct{ line, see, prompt string }{
		{"counter:inc(5)", "\n5\n", prompt},
		{`kv:set("size", {w = 3, h = 4})`, "\nnil\n", prompt},
		{"kv.data", "{size = {h = 4, w = 3}}", prompt},
		{`{{id = 1, owner = "ann"}, {id = 20, owner = "bob"}}`, "20  bob", prompt},
		{"?counter", "counter:sub(by)", prompt},
		{"counter:inc(2", more, more},
		{") = 3", "^\n", prompt},
		{`lock:try_acquire("door", "anna", 30) > 0`, "\ntrue\n", prompt},
		{`for k, v in pairs(kv.data) do print(k .. ": " .. v.w * v.h) end`, "\nsize: 12\n", prompt},
	} {
		// As a person does, who sees what was typed before Enter, and the prompt
		// before the next line.
		if err := errors.Join(t.does(step.line, step.line), t.does("\r", step.see), t.does("", step.prompt+"\n\n")); err != nil {
			return err
		}
	}
	if err := t.does("counter:inc(", "counter:inc(by)  Adds"); err != nil {
		return err
	}
	return t.picture(file)
}

// top shows three nodes under load, one of which is killed.
func (s *session) top(file string) error {
	addrs, err := freeAddrs(3)
	if err != nil {
		return err
	}
	var nodes []*exec.Cmd
	for i, addr := range addrs {
		name := fmt.Sprintf("n%d", i+1)
		cmd := s.command("node", "--name", name, "--addr", addr, "--data", name, "--expect", "3", "--join", addrs[(i+1)%3])
		if err := s.start(cmd); err != nil {
			return err
		}
		nodes = append(nodes, cmd)
	}
	if out, err := s.command("deploy", "-c", addrs[0], "--timeout", "60s", "counter", "kv", "lock").CombinedOutput(); err != nil {
		return fmt.Errorf("deploy: %w: %s", err, out)
	}
	victim := 2 // no leader: an election would fill the picture with calls that failed
	out, err := s.command("status", "-c", addrs[0], "--json").Output()
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	if strings.Contains(string(out), `"leader":"n3"`) {
		victim = 1
	}
	load, err := filepath.Abs("load.lua")
	if err != nil {
		return err
	}
	for _, addr := range []string{addrs[0], addrs[3-victim]} {
		if err := s.start(s.command("run", "-c", addr, load)); err != nil {
			return err
		}
	}
	t, err := s.open("syncsh top -c "+addrs[0], 92, 30)
	if err != nil {
		return err
	}
	if err := t.does("", "FAILED LAST"); err != nil {
		return err
	}
	nodes[victim].Process.Kill() //nolint:errcheck // it runs
	if err := t.does("", "lost"); err != nil {
		return err
	}
	return t.picture(file)
}

func (s *session) start(cmd *exec.Cmd) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running = append(s.running, cmd)
	return nil
}

// open runs a command line in a terminal.
func (s *session) open(line string, columns, rows int) (*terminal, error) {
	name, args, _ := strings.Cut(line, " ")
	if name != "syncsh" {
		return nil, errors.New("not a command of syncsh")
	}
	cmd := s.command(strings.Fields(args)...)
	t, err := newTerminal(cmd, line, columns, rows)
	if err == nil {
		s.running = append(s.running, cmd)
	}
	return t, err
}

func freeAddrs(n int) (addrs []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs, nil
}
