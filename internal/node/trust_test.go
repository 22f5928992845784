package node

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// anotherBoot makes the mark of durability async look as if the machine had
// gone down since.
func anotherBoot(t *testing.T, data string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(data, asyncFile), []byte("another boot\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func mark(data string) string {
	b, err := os.ReadFile(filepath.Join(data, asyncFile))
	if err != nil {
		return ""
	}
	return string(b)
}

// TestAsyncMark: the word that the log may lack something survives a start that
// fails and a kill, a lone voter leads in spite of it, and a clean stop ends it
// (scenario 56).
func TestAsyncMark(t *testing.T) {
	data := t.TempDir()
	cfg := Config{Name: "solo", Single: true, Data: data, Durability: "async"}
	n := startNode(t, cfg)
	await(t, n)
	n.Kill()
	if mark(data) == "" {
		t.Fatal("a kill removed the mark")
	}

	anotherBoot(t, data)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := cfg
	taken.Addr, taken.Logger = l.Addr().String(), slog.New(slog.DiscardHandler)
	if _, err := Start(taken); err == nil {
		t.Fatal("started on a port in use")
	}
	if got := mark(data); got != "another boot\n" {
		t.Fatalf("a start that failed left the mark %q", got)
	}

	cfg.Logger = slog.New(slog.DiscardHandler)
	n = startNode(t, cfg)
	await(t, n) // a lone voter that distrusted itself would never lead
	stop(t, n)
	if got := mark(data); got != "" {
		t.Fatalf("a clean stop left the mark %q", got)
	}
}

// TestDistrustKeepsMark: while a member of several voters is not filled up, the
// old word stays for its next start.
func TestDistrustKeepsMark(t *testing.T) {
	addrs := freeAddrs(t, 3)
	quiet := slog.New(slog.DiscardHandler)
	var configs []Config
	var nodes []*Node
	for i, addr := range addrs {
		configs = append(configs, Config{
			Name: addr, Addr: addr, Data: t.TempDir(), Expect: 3, Join: []string{addrs[(i+1)%3]}, Durability: "async", Logger: quiet,
		})
		nodes = append(nodes, startNode(t, configs[i]))
	}
	for _, n := range nodes {
		await(t, n)
	}
	for _, n := range nodes {
		n.Kill()
	}
	data := configs[0].Data
	anotherBoot(t, data)
	n := startNode(t, configs[0]) // alone of three: nobody fills it up
	stop(t, n)
	if got := mark(data); got != "another boot\n" {
		t.Fatalf("a stop before the log was filled up left the mark %q", got)
	}
}
