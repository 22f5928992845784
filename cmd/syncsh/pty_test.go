package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// person is somebody at a terminal.
type person struct {
	t    *testing.T
	tty  *os.File
	mu   sync.Mutex
	cond *sync.Cond
	seen []byte
	gone bool
}

// escapes are the control sequences with which readline redraws its line.
var escapes = regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]| ?\x08|[\x07\r]`)

// sit opens a REPL in a terminal of 80 columns; without args on an embedded node.
func sit(t *testing.T, args ...string) (*person, *exec.Cmd) {
	t.Helper()
	exe, err := os.Executable() // testscript makes the test binary the command
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(exe, dir+"/syncsh"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir+"/syncsh", args...)
	cmd.Env = append(os.Environ(), "XDG_STATE_HOME="+dir+"/state", "TERM=xterm")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	p := &person{t: t, tty: tty}
	p.cond = sync.NewCond(&p.mu)
	t.Cleanup(func() {
		tty.Close()
		cmd.Process.Kill() //nolint:errcheck // it has ended when the test passed
	})
	go p.look()
	return p, cmd
}

func (p *person) look() {
	b := make([]byte, 4096)
	for {
		n, err := p.tty.Read(b)
		p.mu.Lock()
		p.seen = append(p.seen, b[:n]...)
		p.gone = err != nil
		p.cond.Broadcast()
		p.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// patience is how long a person waits for what never comes.
const patience = 30 * time.Second

// until waits for what was seen to be as wanted; ok is asked with the lock held.
func (p *person) until(ok func() bool, complaint func() string) {
	p.t.Helper()
	timer := time.AfterFunc(patience, func() {
		p.mu.Lock()
		p.gone = true
		p.cond.Broadcast()
		p.mu.Unlock()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok() {
		if p.gone {
			p.t.Fatal(complaint())
		}
		p.cond.Wait()
	}
}

// sees waits until text appears after what was seen before.
func (p *person) sees(text string) {
	p.t.Helper()
	var plain []byte
	p.until(func() bool {
		plain = escapes.ReplaceAll(p.seen, nil)
		_, after, found := bytes.Cut(plain, []byte(text))
		if found {
			p.seen = bytes.Clone(after)
		}
		return found
	}, func() string { return fmt.Sprintf("did not see %q but %q", text, plain) })
}

func (p *person) types(keys string) {
	p.t.Helper()
	if _, err := p.tty.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

const prompt = "syncsh local leader t2> "

func TestTerminal(t *testing.T) {
	p, cmd := sit(t)
	p.sees("Ctrl-D leaves.")
	p.sees(prompt)

	p.types("counter:inc()\r")
	p.sees("inc()\n1\n")
	p.sees(prompt)

	// Tab completes the object, then the method.
	p.types("cou\t")
	p.sees("counter")
	p.types(":i\t")
	p.sees("counter:inc(")
	p.types("5)\r")
	p.sees("6\n")

	// A further line until the chunk is complete.
	p.types("for i = 1, 2 do\r")
	p.sees("... ")
	p.types("counter:inc(i) end\r")
	p.sees(prompt)
	p.types("counter.value\r")
	p.sees("9\n")

	// Ctrl-C clears a line, an unfinished chunk, and ends what runs.
	p.types("nonsense\x03")
	p.sees("^C")
	p.sees(prompt)
	p.types("counter:inc(\r")
	p.sees("... ")
	p.types("\x03")
	p.sees(prompt)
	for _, endless := range []string{"sleep(1000)", "while true do end"} {
		p.types("print('be' .. 'gun') " + endless + "\r")
		p.sees("begun\n") // readline has left the terminal: Ctrl-C is a signal now
		p.types("\x03")
		p.sees("interrupted\n")
		p.sees(prompt)
	}

	// An interrupt while nothing runs, as of a Ctrl-C before the prompt is there,
	// does not end it.
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}

	// An error does not end it; a timer prints above the line that is typed.
	p.types("countr\r")
	p.sees("no object or variable 'countr'; did you mean 'counter'?\n")
	p.types("after(0, function() print('from the timer') end)\r")
	p.sees("from the timer\n")
	p.types("?counter.inc\r")
	p.sees("Adds `by` (default 1) and returns the new value.\n")

	p.sees(prompt)
	p.types("\x04")
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop() //nolint:errcheck // Wait tells
	if err := cmd.Wait(); err != nil {
		t.Fatalf("Ctrl-D: %v", err)
	}
	history, err := os.ReadFile(strings.TrimSuffix(cmd.Path, "/syncsh") + "/state/syncsh/history")
	if err != nil || !strings.HasPrefix(string(history), "counter:inc()\ncounter:inc(5)\n") {
		t.Fatalf("history: %q, %v", history, err)
	}
}

// leave ends the REPL, which is at its prompt, and returns its history.
func (p *person) leave(cmd *exec.Cmd) string {
	p.t.Helper()
	p.types("\x04")
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop() //nolint:errcheck // Wait tells
	if err := cmd.Wait(); err != nil {
		p.t.Fatalf("Ctrl-D: %v", err)
	}
	history, err := os.ReadFile(strings.TrimSuffix(cmd.Path, "/syncsh") + "/state/syncsh/history")
	if err != nil {
		p.t.Fatal(err)
	}
	return string(history)
}

func TestTerminalShows(t *testing.T) {
	p, cmd := sit(t)
	p.sees(prompt)

	// A hint while the arguments are typed, and the argument's name on Tab.
	p.types("counter:inc(")
	p.sees("counter:inc(by)  Adds `by` (default 1) and returns the new value.")
	p.types("\t")
	p.sees("counter:inc(by")
	p.types("\x7f\x7f2)\r")
	p.sees("counter:inc(2)\n2\n")

	// Records as columns, long values cut, all of them with .all.
	p.types("{{id = 1, owner = 'ann'}, {id = 20, owner = 'bob'}}\r")
	p.sees("}}\nid  owner\n 1  ann\n20  bob\n")
	p.types("(function() local t = {} for i = 1, 500 do t[i] = i end return t end)()\r")
	p.sees("cut here; .all shows all of it)\n")
	p.types(".all\r")
	p.sees("  500,\n}\n")

	// Where an error is; what a method is made of.
	p.types("x = = 3\r")
	p.sees("syntax error near '='\n    1 | x = = 3\n      |     ^\n")
	p.types("??counter.get\r")
	p.sees("function Counter.query:get()")
	p.sees("end\n")
	p.types(".stale\r")
	p.sees(".stale is off\n")

	// One Ctrl-C clears the line, a list of completions or not.
	p.types("counter:\t")
	p.sees("get( inc( set(")
	p.types("\x03")
	p.sees("^C")
	p.types("counter.value\r")
	p.sees("> counter.value\n2\n" + prompt)

	// The history is searched, and keeps no secret, recalled and changed or not.
	p.types("\x12inc(2\r")
	p.sees("counter:inc(2)\n4\n")
	p.types("db_password = 'hunter2'\r")
	p.sees(prompt)
	p.types("\x1b[Ax\x7f\r")
	p.sees(prompt)
	p.types("\x10\x10 token = 'hunter3'\r")
	p.sees(prompt)

	// A narrower terminal: the hint is cut, the line is not.
	if err := pty.Setsize(p.tty, &pty.Winsize{Rows: 24, Cols: 40}); err != nil {
		t.Fatal(err)
	}
	p.sees(prompt)
	p.types("counter:inc(1")
	p.sees("counter:inc(by)  Adds `by` (default 1) ")
	p.types(")\r")
	p.sees("7\n")
	p.sees(prompt)
	history := p.leave(cmd)
	if strings.Contains(history, "hunter") || !strings.Contains(history, `db_password = "***"`) {
		t.Fatalf("history: %q", history)
	}
}

// What is typed as other shells take it: no Lua, but told what to type; an error
// that was caught is text, and help is as wide as the terminal.
func TestTerminalAdvises(t *testing.T) {
	p, cmd := sit(t)
	p.sees(prompt)
	for _, k := range []struct{ input, want string }{
		{"object counter", "    1 | object counter\n      |        ^\n?counter tells what counter can do; object("},
		{"help counter", "?counter shows its documentation\n"},
		{"status", "there is a command .status\n"},
		{"load queue", "there is a command .load queue\n"},
		{"print counter", "a call needs parentheses: print(counter)\n"},
		{"pcall(counter.inc, counter, 'x')", "false\nscript: counter.lua:10: attempt to perform arithmetic on a string value\n"},
		{"help(counter.inc)", "counter:inc(by)  (replicated)\n"},
		{"help", "Type Lua. Objects of the cluster are globals:\n"},
		{"?lock", "  lock:release(name, owner)                   replicated\n        Gives back a lock, or the place in line.\n"},
		{"counter:inc(2) counter:nosuch()", "no method 'nosuch' in counter"},
	} {
		p.types(k.input + "\r")
		p.sees(k.want)
		p.sees(prompt)
	}
	p.types("quit = 5\r")
	p.sees(prompt)
	p.types("quit\r")
	p.sees("\n5\n" + prompt)
	p.types("exit\r")
	p.leaves(cmd)
}

// What .explain and .time say; .watch with a period draws in one place until
// Ctrl-C; a Ctrl-D that is typed while something runs leaves afterwards.
func TestTerminalTools(t *testing.T) {
	p, cmd := sit(t)
	p.sees(prompt)
	p.types(".explain counter:inc(5)\r")
	p.sees("changes  counter.value  0 -> 5\nnothing was changed\n")
	p.sees(prompt)
	p.types(".time on\r")
	p.sees(prompt)
	p.types("counter:inc(1)\r")
	p.sees("\n1\n(")
	p.sees(": queue ")
	p.sees(", replicate ")
	p.sees(", rest ")
	p.sees(prompt)

	p.types("every(0.05, function() counter:inc(1) end) and nil\r")
	p.sees(prompt)
	p.types(".watch 100ms counter.value > 5\r")
	p.sees("every 100ms: counter.value > 5")
	p.sees("Ctrl-C ends\ntrue\n")
	p.types("\x03")
	p.sees(prompt)
	p.types(".stop\r")
	p.sees(prompt)

	// The line of the file that was to be deployed, not of the one that is.
	file := strings.TrimSuffix(cmd.Path, "/syncsh") + "/counter.lua"
	source := "local Counter = object \"counter\"\nfunction Counter.replicated:inc(by)\n  self.n = = by\nend\n"
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	p.types(".load " + file + "\r")
	p.sees("    3 |   self.n = = by\n      |            ^\n")
	p.sees(prompt)

	// A traceback of what was typed before.
	p.types("function inner() error('boom') end function outer() inner() end\r")
	p.sees(prompt)
	p.types("outer() print('no')\r")
	p.sees("input:1: boom\n")
	p.sees("  input:1: in function 'inner'\n  input:1: in function 'outer'\n")
	p.sees(prompt)

	p.types("print('be' .. 'gun') sleep(0.3)\r")
	p.sees("begun\n")
	p.leave(cmd)
}

// .edit deploys what the editor leaves, and what could not be deployed is not lost:
// the editor here makes a mistake first and mends it when it sees it again.
func TestTerminalEdits(t *testing.T) {
	editor := t.TempDir() + "/editor"
	script := "#!/bin/sh\nif grep -q 'x = = 1' \"$1\"; then sed -e '/x = = 1/d' -e 's/by or 1/by or 10/' \"$1\" >\"$1.new\" && mv \"$1.new\" \"$1\"\n" +
		"else echo 'x = = 1' >>\"$1\"; fi\n"
	if err := os.WriteFile(editor, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("EDITOR", editor)
	p, cmd := sit(t)
	p.sees(prompt)
	p.types(".edit counter\r")
	p.sees("not deployed; .edit counter opens it as you left it\n")
	p.sees("syntax error near '='\n")
	p.sees(prompt)
	p.types("counter:inc()\r")
	p.sees("\n1\n" + prompt)
	p.types(".edit counter\r")
	p.sees("deployed counter.lua\n" + prompt)
	p.types("counter:inc()\r")
	p.sees("\n11\n" + prompt)
	p.leave(cmd)

	t.Setenv("EDITOR", "false") // as an editor that was left without writing
	p, cmd = sit(t)
	p.sees(prompt)
	p.types(".edit counter\r")
	p.sees("false: exit status 1; nothing was deployed\n" + prompt)
	p.leave(cmd)
}

// The majority dies, and then the node that the REPL talks to: it says once that
// there is no leader, and goes on with those that are left.
func TestTerminalLosesLeader(t *testing.T) {
	p, cmd := sit(t, "dev")
	p.sees("Ctrl-D leaves.")
	p.types(".kill n1\r")
	p.sees("kill n1\n")
	p.types(".kill n2\r")
	p.sees("waits for one\n")
	p.types(".restart n1\r")
	p.sees(" leads, term ")
	p.types("counter:inc(7)\r")
	p.sees("\n7\n")
	p.types(".restart n2\r")
	p.sees("restart n2\n")
	p.types(".kill n3\r")
	p.sees("kill n3\n")
	p.types("counter:inc(1)\r") // waits for the next leader
	p.sees("\n8\n")
	p.sees("> ")
	p.leave(cmd)
}

// NO_COLOR turns colours off.
func TestTerminalColours(t *testing.T) {
	for _, none := range []string{"", "1"} {
		t.Setenv("NO_COLOR", none)
		p, cmd := sit(t)
		p.sees(prompt)
		p.types("counter:inc(5)\r")
		p.sawRaw(none == "", "5\x1b[0m)\r\n", "5\x1b[0m\r\n") // the line as it stays, and its result
		p.sees(prompt)
		p.leave(cmd)
	}
}

// sawRaw waits for the result 5 and tells whether sequences came with it.
func (p *person) sawRaw(want bool, sequences ...string) {
	p.t.Helper()
	result := regexp.MustCompile(`inc\((\x1b\[[0-9;]*m)*5(\x1b\[[0-9;]*m)*\)\r\n(\x1b\[[0-9;]*m)*5(\x1b\[[0-9;]*m)*\r\n`)
	p.until(func() bool {
		at := result.FindIndex(p.seen)
		if at == nil {
			return false
		}
		for _, s := range sequences {
			if bytes.Contains(p.seen, []byte(s)) != want {
				p.t.Fatalf("%q: want %v in %q", s, want, p.seen)
			}
		}
		p.seen = p.seen[at[1]:]
		return true
	}, func() string { return fmt.Sprintf("no result in %q", p.seen) })
}
