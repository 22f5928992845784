//go:build unix

package main

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/shell"
)

const tally = `local T = object "tally"
function T:init() self.value, self.data = 0, {colour = "red"} end
function T.replicated:inc() self.value = self.value + 1; emit("inc", self.value, {a = 1}) return self.value end
function T.replicated:put(k, v) self.data[k] = v end
`

// TestWatch reads what the command prints while calls are made, and ends it with
// Ctrl-C.
func TestWatch(t *testing.T) {
	script := filepath.Join(t.TempDir(), "tally.lua")
	if err := os.WriteFile(script, []byte(tally), 0o600); err != nil {
		t.Fatal(err)
	}
	p := startProcess(t, script)
	_, addr, _ := strings.Cut(p.line("msg=ready"), "addr=")
	addr, _, _ = strings.Cut(addr, " ")
	p.line("msg=deployed")
	ctx := context.Background()
	cl, err := client.Dial(ctx, client.Config{Addrs: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close() //nolint:errcheck // always nil
	for _, k := range []struct {
		args    []string
		watches int
		want    []string // in any order between the watches of one command
	}{
		{[]string{"tally"}, 1, []string{
			`\d+ tally = {data = {colour = "red"}, value = 0}`, `\d+ tally.value = 1`, `\d+ tally.data\["a b"\] = {x = 1}`, `\d+ tally.data\["a b"\] = nil`}},
		{[]string{"tally.data", "--json"}, 1, []string{
			`{"kind":"picture","index":\d+,"object":"tally","path":\["data"\],"value":{"colour":"red"}}`,
			`{"kind":"change","index":\d+,"object":"tally","path":\["data","a b"\],"value":{"x":1}}`,
			`{"kind":"removed","index":\d+,"object":"tally","path":\["data","a b"\]}`}},
		{[]string{`tally.data["a b"].x`}, 1, []string{
			`\d+ tally.data\["a b"\].x = nil`, `\d+ tally.data\["a b"\].x = 1`, `\d+ tally.data\["a b"\].x = nil`}},
		{[]string{"--topic", "inc"}, 1, []string{`\d+ tally emits inc\(4, {a = 1}\)`}},
		{[]string{"--topic", "*", "--json", "--from", "0"}, 1, []string{
			`{"kind":"event","index":\d+,"number":1,"object":"tally","topic":"inc","values":\[1,{"a":1}\]}`,
			`{.*"number":2,.*}`, `{.*"number":3,.*}`, `{.*"number":4,.*}`, `{.*"number":5,.*"values":\[5,{"a":1}\]}`}},
		{[]string{"tally.value", "--topic", "none"}, 2, []string{`\d+ tally.value = 5`, `\d+ tally.value = 6`}},
	} {
		t.Run(strings.Join(k.args, " "), func(t *testing.T) {
			cmd := exec.Command("syncsh", append([]string{"watch", "-c", addr}, k.args...)...)
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer cmd.Process.Kill() //nolint:errcheck // it has ended unless the test failed
			began := bufio.NewScanner(stderr)
			for range k.watches {
				if !began.Scan() || !strings.HasPrefix(began.Text(), "watching ") {
					t.Fatalf("standard error: %q", began.Text())
				}
			}
			if _, err := cl.Call(ctx, "tally", "inc"); err != nil {
				t.Fatal(err)
			}
			for _, v := range []any{map[string]any{"x": 1}, nil} {
				if _, err := cl.Call(ctx, "tally", "put", "a b", v); err != nil {
					t.Fatal(err)
				}
			}
			lines := bufio.NewScanner(stdout)
			for _, want := range k.want {
				if !lines.Scan() || !regexp.MustCompile("^"+want+"$").MatchString(lines.Text()) {
					t.Fatalf("got  %s\nwant %s", lines.Text(), want)
				}
			}
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Fatal(err)
			}
			for lines.Scan() {
				t.Errorf("one line more: %s", lines.Text())
			}
			if err := cmd.Wait(); shell.ExitCode(err) != 0 || err != nil {
				t.Errorf("%v, want exit code 0 after Ctrl-C", err)
			}
		})
	}
}
