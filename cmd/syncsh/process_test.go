//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/persist"
)

// nodeProcess is `syncsh node` in a process of its own.
type nodeProcess struct {
	t   *testing.T
	cmd *exec.Cmd
	log *bufio.Scanner
}

// startProcess starts a node; it is killed when the test ends.
func startProcess(t *testing.T, args ...string) *nodeProcess {
	t.Helper()
	cmd := exec.Command("syncsh", append([]string{"node", "--name", "n1", "--addr", "127.0.0.1:0", "--expect", "1"}, args...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
	})
	return &nodeProcess{t, cmd, bufio.NewScanner(stderr)}
}

// line reads the log up to a line that contains text.
func (p *nodeProcess) line(text string) string {
	p.t.Helper()
	var seen []string
	for p.log.Scan() {
		if seen = append(seen, p.log.Text()); strings.Contains(p.log.Text(), text) {
			return p.log.Text()
		}
	}
	p.t.Fatalf("the log ended without %q:\n%s", text, strings.Join(seen, "\n"))
	return ""
}

// The lock of a killed node is free only after a moment.
func TestStartWaitsForTheLock(t *testing.T) {
	data := filepath.Join(t.TempDir(), "d")
	held, err := persist.Open(data, persist.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close() //nolint:errcheck // only a lock
	p := startProcess(t, "--data", data, "--log-level", "debug")
	p.line("waiting for the data directory")
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	p.line("msg=ready")
}

func TestStartUnlocked(t *testing.T) {
	for name, k := range map[string]struct {
		fails    int // with ErrLocked
		then     error
		patience time.Duration
		want     error
		waits    int
	}{
		"free":          {0, nil, time.Hour, nil, 0},
		"another error": {0, persist.ErrDamage, time.Hour, persist.ErrDamage, 0},
		"freed":         {2, nil, time.Hour, nil, 1},
		"freed, bad":    {1, persist.ErrIdentity, time.Hour, persist.ErrIdentity, 1},
		"stays locked":  {1 << 30, nil, time.Millisecond, persist.ErrLocked, 1},
	} {
		tries, waits := 0, 0
		err := startUnlocked(context.Background(), k.patience, func() error {
			if tries++; tries <= k.fails {
				return persist.ErrLocked
			}
			return k.then
		}, func(error) { waits++ })
		if !errors.Is(err, k.want) || waits != k.waits {
			t.Errorf("%s: %v after %d waits; want %v, %d", name, err, waits, k.want, k.waits)
		}
	}
}

func TestDamageError(t *testing.T) {
	for err, want := range map[error]int{
		&persist.DamageError{File: "000001.wal", Offset: 64, Reason: "damaged record"}: shell.ExitUsage,
		persist.ErrFormat:   shell.ExitUsage,
		luafsm.ErrBadDump:   shell.ExitUsage,
		syscall.ENOSPC:      shell.ExitScript,
		persist.ErrDead:     shell.ExitScript,
		os.ErrPermission:    shell.ExitScript, // while it runs; startError knows of the start
		io.ErrUnexpectedEOF: shell.ExitScript,
	} {
		if got := shell.ExitCode(damageError(err)); got != want {
			t.Errorf("%v: exit code %d, want %d", err, got, want)
		}
	}
	for _, err := range []error{os.ErrPermission, syscall.ENOTDIR, syscall.EROFS, persist.ErrLocked, persist.ErrIdentity, syscall.EADDRINUSE} {
		if got := shell.ExitCode(startError(err)); got != shell.ExitUsage {
			t.Errorf("%v at the start: exit code %d, want %d", err, got, shell.ExitUsage)
		}
	}
	if got := shell.ExitCode(startError(syscall.ENOSPC)); got != shell.ExitScript {
		t.Errorf("no space: exit code %d, want %d", got, shell.ExitScript)
	}
}

// A name that two members have is not guessed: the ids are listed.
func TestPickMember(t *testing.T) {
	members := []client.Member{
		{Name: "n1", ID: "0a", Role: "voter", Alive: true},
		{Name: "n2", ID: "0b", Role: "learner", Alive: true},
		{Name: "n2", ID: "0c", Role: "voter"},
	}
	for name, id := range map[string]string{"n1": "0a", "0b": "0b", "0c": "0c"} {
		if m, err := pickMember(members, name); err != nil || m.ID != id {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	want := "bad_argument: 2 members are named n2: 0b (learner, alive: yes), 0c (voter, alive: no); give the id"
	if _, err := pickMember(members, "n2"); err == nil || err.Error() != want {
		t.Errorf("n2: %v, want %s", err, want)
	}
	if _, err := pickMember(members, "n3"); client.CodeOf(err) != client.CodeNotFound {
		t.Errorf("n3: %v", err)
	}
}

// A node that holds still leaves the outcome of a call unknown.
func TestExitTimeout(t *testing.T) {
	p := startProcess(t, "../../scripts/counter.lua")
	ready := p.line("msg=ready")
	_, addr, _ := strings.Cut(ready, "addr=")
	addr, _, _ = strings.Cut(addr, " ")
	p.line("msg=deployed")
	// The first call connects and opens the session, while the node still answers:
	// without a connection nothing would have happened.
	cmd := exec.Command("syncsh", "eval", "-c", addr, "--timeout", "1s", "-")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "counter:inc()\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Sent is not stopped: on another processor the node may still answer.
	if _, err := syscall.Wait4(p.cmd.Process.Pid, nil, syscall.WUNTRACED, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(in, "counter:inc()\n"); err != nil {
		t.Fatal(err)
	}
	in.Close() //nolint:errcheck // the process ends by itself
	err = cmd.Wait()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != shell.ExitTimeout || !strings.Contains(stderr.String(), "timeout: ") {
		t.Errorf("%v, %s; want exit code %d", err, stderr.String(), shell.ExitTimeout)
	}
}
