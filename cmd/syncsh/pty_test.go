package main

import (
	"bytes"
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

// sit opens a REPL on an embedded node in a terminal of 80 columns.
func sit(t *testing.T) (*person, *exec.Cmd) {
	exe, err := os.Executable() // testscript makes the test binary the command
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(exe, dir+"/syncsh"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(dir + "/syncsh")
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

// sees waits until text appears after what was seen before.
func (p *person) sees(text string) {
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
	for {
		plain := escapes.ReplaceAll(p.seen, nil)
		if i := bytes.Index(plain, []byte(text)); i >= 0 {
			p.seen = append([]byte(nil), plain[i+len(text):]...)
			return
		}
		if p.gone {
			p.t.Fatalf("did not see %q but %q", text, plain)
		}
		p.cond.Wait()
	}
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
