//go:build unix

package main

import (
	"os"
	"os/exec"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// endsWith waits for the process of a terminal to end, and compares its exit code
// and how it leaves the terminal.
func (p *person) endsWith(cmd *exec.Cmd, code int) {
	p.t.Helper()
	defer time.AfterFunc(patience, func() { cmd.Process.Kill() }).Stop() //nolint:errcheck // Wait tells
	cmd.Wait()                                                           //nolint:errcheck // the code tells
	if got := cmd.ProcessState.ExitCode(); got != code {
		p.t.Fatalf("exit code %d, want %d", got, code)
	}
	fresh, tty, err := pty.Open()
	if err != nil {
		p.t.Fatal(err)
	}
	defer fresh.Close()
	defer tty.Close()
	want, err := term.GetState(int(fresh.Fd()))
	if err != nil {
		p.t.Fatal(err)
	}
	got, err := term.GetState(int(p.tty.Fd()))
	if err != nil {
		p.t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		p.t.Errorf("the terminal is left as %+v, was %+v", got, want)
	}
}

// A REPL that is told to end, at its prompt or while code runs, gives the terminal
// back and leaves no directory behind.
func TestTerminalIsTold(t *testing.T) {
	for _, k := range []struct {
		name, keys, seen string
		signal           syscall.Signal
		args             []string
	}{
		{"at the prompt", "counter:inc(", "counter:inc(", syscall.SIGTERM, nil},
		{"while it runs", "print('be' .. 'gun') sleep(1000)\r", "begun", syscall.SIGTERM, nil},
		{"the terminal is gone", "counter:inc(", "counter:inc(", syscall.SIGHUP, []string{"dev", "--nodes", "1"}},
	} {
		t.Run(k.name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("TMPDIR", dir)
			p, cmd := sit(t, k.args...)
			p.sees("> ")
			p.types(k.keys)
			p.sees(k.seen)
			if err := cmd.Process.Signal(k.signal); err != nil {
				t.Fatal(err)
			}
			p.endsWith(cmd, 128+int(k.signal))
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
