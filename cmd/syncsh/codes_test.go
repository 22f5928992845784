package main

import (
	"bytes"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/internal/wire/wiretest"
)

// codeCmds are the commands of scripts that bring about the exit codes which a
// good cluster gives no cause for. All but until set SYNCSH_CONNECT:
//
//	mute      starts a node that takes requests and answers none, but opens sessions
//	refusing  starts a node that refuses every client
//
//	signals SIGNAL CODE N COMMAND...     starts a mute node and the command, and sends it
//	                                     INT, TERM or HUP as soon as the node has got N
//	                                     requests; it must end with this exit code
//	until TEXT SIGNAL CODE COMMAND...    the same as soon as its output has the text,
//	                                     without a node
//
// Standard input of the commands is the variable INPUT.
func codeCmds() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"mute": func(ts *testscript.TestScript, _ bool, _ []string) { mute(ts) },
		"refusing": func(ts *testscript.TestScript, _ bool, _ []string) {
			listen(ts, &wiretest.Node{Refuse: "no clients today"})
		},
		"signals": signals,
		"until":   until,
	}
}

// requestsMax is more than a command makes before it is ended.
const requestsMax = 1 << 12

// sessionID is that of the sessions which a mute node opens.
const sessionID = 2

// mute starts a node that opens sessions and answers nothing else, and returns
// where each request is told of.
func mute(ts *testscript.TestScript) <-chan struct{} {
	asked := make(chan struct{}, requestsMax)
	n := &wiretest.Node{Welcome: wire.Welcome{Cluster: strings.Repeat("c", 32), NodeName: "mute", NodeID: 1, Build: "test"}}
	n.Handle = func(_ *wiretest.Conn, r wire.Request, b []byte) []byte {
		asked <- struct{}{}
		// A call that waits for a session was not sent: nothing is unknown then.
		if !bytes.Equal(r.Payload, command.AppendOpen(nil)) {
			return b
		}
		id := codec.AppendUint(codec.AppendArrayLen(nil, 1), sessionID)
		return wire.AppendReply(b, r.ID, command.AppendOK(nil, sessionID, id))
	}
	listen(ts, n)
	return asked
}

// listen starts a node that commands reach without -c.
func listen(ts *testscript.TestScript, n *wiretest.Node) {
	addr, err := n.Start()
	ts.Check(err)
	ts.Defer(n.Stop)
	ts.Setenv("SYNCSH_CONNECT", addr)
}

func signals(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: signals INT|TERM|HUP CODE N COMMAND...")
	}
	requests, err := strconv.Atoi(args[2])
	ts.Check(err)
	// A node of its own: what a command before has sent may not have been read yet.
	asked := mute(ts)
	signalled(ts, args[0], args[1], args[3:], func(*output) bool {
		for range requests {
			select {
			case <-asked:
			case <-time.After(readyTimeout):
				return false
			}
		}
		return true
	})
}

func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: until TEXT INT|TERM|HUP CODE COMMAND...")
	}
	signalled(ts, args[1], args[2], args[3:], func(out *output) bool {
		for deadline := time.After(readyTimeout); ; {
			wrote := out.has(args[0])
			if wrote == nil {
				return true
			}
			select {
			case <-wrote:
			case <-deadline:
				return false
			}
		}
	})
}

// signalled starts a command, sends it the signal once it is busy, and compares
// its exit code.
func signalled(ts *testscript.TestScript, name, code string, command []string, busy func(*output) bool) {
	s, ok := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}[name]
	want, err := strconv.Atoi(code)
	if !ok || err != nil {
		ts.Fatalf("no signal %s or exit code %s", name, code)
	}
	out := &output{wrote: make(chan struct{})}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "SYNCSH_CONNECT="+ts.Getenv("SYNCSH_CONNECT"), "TMPDIR="+ts.Getenv("TMPDIR"))
	cmd.Stdin = strings.NewReader(ts.Getenv("INPUT"))
	cmd.Stdout, cmd.Stderr = out, out
	ts.Check(cmd.Start())
	defer time.AfterFunc(readyTimeout, func() { cmd.Process.Kill() }).Stop() //nolint:errcheck // Wait tells
	if !busy(out) {
		cmd.Process.Kill() //nolint:errcheck // Wait tells
		cmd.Wait()         //nolint:errcheck // killed
		ts.Fatalf("%v is not busy within %v: %s", command, readyTimeout, out)
	}
	ts.Check(cmd.Process.Signal(s))
	got := 0
	if err := cmd.Wait(); err != nil {
		got = cmd.ProcessState.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s: exit code %d, want %d\n%s", name, got, want, out)
	}
	if want == shell.ExitInterrupted && strings.Contains(out.String(), "syncsh: ") {
		ts.Fatalf("an interrupt is told as an error: %s", out)
	}
}

// output is what a command has written so far.
type output struct {
	mu    sync.Mutex
	all   []byte
	wrote chan struct{} // closed and replaced with each piece
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, b...)
	close(o.wrote)
	o.wrote = make(chan struct{})
	return len(b), nil
}

// has is nil when the output has the text, else closed when there is more of it.
func (o *output) has(text string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if bytes.Contains(o.all, []byte(text)) {
		return nil
	}
	return o.wrote
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return string(o.all)
}
