package main

import (
	"bytes"
	"net"
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
)

// codeCmds are the commands of scripts that bring about the exit codes of which a
// good cluster has none. Both set SYNCSH_CONNECT:
//
//	mute      a node that takes requests and answers none, but opens sessions
//	refusing  a node that refuses every client
//
//	signals NAME CODE N COMMAND...  starts a mute node and the command, and sends it
//	                                INT, TERM or HUP as soon as the node has got N
//	                                requests; it must end with this exit code
//	until TEXT NAME CODE COMMAND... the same as soon as its output has the text
//
// Standard input of both is the variable INPUT.
func codeCmds() map[string]func(ts *testscript.TestScript, neg bool, args []string) {
	return map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"mute":     func(ts *testscript.TestScript, _ bool, _ []string) { listen(ts, false) },
		"refusing": func(ts *testscript.TestScript, _ bool, _ []string) { listen(ts, true) },
		"signals":  signals,
		"until":    until,
	}
}

// muteNode speaks as a node does until it is asked something.
type muteNode struct {
	listener net.Listener
	refuses  bool
	asked    chan struct{} // one for each request
}

// requestsMax is more than a command makes before it is ended.
const requestsMax = 1 << 12

func listen(ts *testscript.TestScript, refuses bool) *muteNode {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	n := &muteNode{listener: l, refuses: refuses, asked: make(chan struct{}, requestsMax)}
	ts.Defer(func() { l.Close() })
	ts.Setenv("SYNCSH_CONNECT", l.Addr().String())
	go n.serve()
	return n
}

func (n *muteNode) serve() {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		c, err := n.listener.Accept()
		if err != nil {
			return
		}
		open.Go(func() {
			defer c.Close()
			n.greet(c) //nolint:errcheck // the command says what is wrong
		})
	}
}

func (n *muteNode) greet(c net.Conn) error {
	if _, err := c.Read(make([]byte, len(wire.AppendPreamble(nil, wire.RoleClient)))); err != nil {
		return err
	}
	frames := wire.NewReader(c, wire.FrameBytesMax)
	if _, err := frames.Next(); err != nil { // hello
		return err
	}
	b, mark := wire.BeginFrame(nil)
	if n.refuses {
		b = wire.AppendRefuse(b, "no clients today")
	} else {
		b = wire.AppendWelcome(b, wire.Welcome{Version: wire.Version, Cluster: strings.Repeat("c", 32), NodeName: "mute", NodeID: 1, Build: "test"})
	}
	if _, err := c.Write(wire.EndFrame(b, mark)); err != nil || n.refuses {
		return err
	}
	for {
		frame, err := frames.Next()
		if err != nil {
			return err
		}
		n.asked <- struct{}{}
		// A call that waits for a session was not sent: nothing is unknown then.
		r, err := wire.DecodeRequest(frame)
		if err != nil || !bytes.Equal(r.Payload, command.AppendOpen(nil)) {
			continue
		}
		id := codec.AppendUint(codec.AppendArrayLen(nil, 1), sessionID)
		b, mark := wire.BeginFrame(nil)
		if _, err := c.Write(wire.EndFrame(wire.AppendReply(b, r.ID, command.AppendOK(nil, sessionID, id)), mark)); err != nil {
			return err
		}
	}
}

// sessionID is that of the sessions which a mute node opens.
const sessionID = 2

func signals(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 4 {
		ts.Fatalf("usage: signals INT|TERM|HUP CODE REQUESTS COMMAND...")
	}
	requests, err := strconv.Atoi(args[2])
	ts.Check(err)
	// A node of its own: what a command before has sent may not have been read yet.
	n := listen(ts, false)
	signalled(ts, args[0], args[1], args[3:], func(*output) bool {
		for range requests {
			select {
			case <-n.asked:
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
