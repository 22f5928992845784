//go:build linux

package chaos

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/syncsh/syncsh/client"
)

const (
	// shortLength is how long faults happen in `go test ./...`.
	shortLength = 12 * time.Second
	// checkTimeout bounds the check of a history. One that is not finished then is
	// no evidence, and fails.
	checkTimeout = 3 * time.Minute
)

// setup is what the environment says about a run.
type setup struct {
	seed   uint64
	length time.Duration
	nodes  []int
	leases bool
	broken breakage
}

// settings reads CHAOS_SEED, CHAOS_DURATION, CHAOS_NODES, CHAOS_LEASES and
// CHAOS_BREAK.
func settings(t *testing.T) setup {
	t.Helper()
	s := setup{seed: rand.Uint64N(1_000_000), length: shortLength, nodes: []int{3}, broken: breakage(os.Getenv("CHAOS_BREAK"))}
	var err error
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		if s.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED=%s: want a number", text)
		}
	}
	if text := os.Getenv("CHAOS_DURATION"); text != "" {
		if s.length, err = time.ParseDuration(text); err != nil || s.length <= 0 {
			t.Fatalf("CHAOS_DURATION=%s: want a time as 90s or 2m", text)
		}
	}
	if text := os.Getenv("CHAOS_NODES"); text != "" {
		s.nodes = nil
		for _, word := range strings.Split(text, ",") {
			n, err := strconv.Atoi(word)
			if err != nil || n < 2 || n > 9 {
				t.Fatalf("CHAOS_NODES=%s: want numbers from 2 to 9, with commas between", text)
			}
			s.nodes = append(s.nodes, n)
		}
	}
	switch text := os.Getenv("CHAOS_LEASES"); text {
	case "":
		s.leases = s.seed%2 == 0
	case "0", "1":
		s.leases = text == "1"
	default:
		t.Fatalf("CHAOS_LEASES=%s: want 0 or 1", text)
	}
	if !slices.Contains([]breakage{unbroken, staleReads, looseReads, forgetWrites}, s.broken) {
		t.Fatalf("CHAOS_BREAK=%s: want %s, %s or %s", s.broken, staleReads, looseReads, forgetWrites)
	}
	return s
}

// TestChaos has clients work on clusters while faults happen, and checks what
// they were told.
func TestChaos(t *testing.T) {
	s := settings(t)
	for _, n := range s.nodes {
		t.Run(fmt.Sprintf("%d nodes", n), func(t *testing.T) { chaos(t, s, n) })
	}
}

func chaos(t *testing.T, s setup, nodes int) {
	args, leases := []string{"--snapshot-entries", "300"}, 0
	if s.leases { // the nodes' monotonic clock is that of one machine, whatever happens to their wall clocks
		args, leases = append(args, "--lease-reads"), 1
	}
	rerun := fmt.Sprintf("CHAOS_SEED=%d CHAOS_NODES=%d CHAOS_LEASES=%d CHAOS_DURATION=%v go test -count=1 -v -timeout 60m -run '^TestChaos$' ./internal/chaos",
		s.seed, nodes, leases, s.length)
	t.Logf("the same decisions again, not the same timing: %s", rerun)
	c := newCluster(t, nodes, s.seed, args...)
	c.awaitEqual()
	c.deploy()
	m := newNemesis(c)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what happened:\n%s", strings.Join(m.story, "\n"))
		}
	})
	l := c.startLoad(s.seed, s.broken)
	m.run(plan(s.seed, nodes, s.length))
	c.await("the cluster to work again", func() bool { s := c.status(); return s != nil && s.Healthy })
	l.stop()
	end := c.awaitEqual()
	verdict := l.check()
	m.check(s.length >= time.Minute)
	t.Logf("\n%s", report(s, m, l, verdict, end))
}

// check fails a run without faults: of each lane, in a long one of each class.
func (m *nemesis) check(long bool) {
	for _, lane := range lanes {
		struck := 0
		for _, class := range lane.classes {
			struck += m.counts[class]
			if long && m.counts[class] == 0 {
				m.c.t.Errorf("no fault of class %q", class)
			}
		}
		if struck == 0 {
			m.c.t.Errorf("no fault of %s at all", lane.name)
		}
	}
}

// check holds what clients were told against what they may be told.
func (l *load) check() porcupine.CheckResult {
	t := l.c.t
	total, times := l.c.ledger()
	for _, wrong := range slices.Concat(checkLedger(l.adds, total, times), checkGrants(l.grants), checkStale(l.stales, l.ops)) {
		t.Error(wrong)
	}
	for _, mode := range readModes {
		if l.reads[mode] == 0 {
			t.Errorf("no %v read was answered", mode)
		}
	}
	if l.fates[happened] == 0 || len(l.grants) == 0 {
		t.Error("nothing was done: no fault was seen")
	}
	verdict, info := porcupine.CheckOperationsVerbose(registers, l.ops, checkTimeout)
	if verdict != porcupine.Ok {
		t.Errorf("the registers' history is not linearizable: porcupine says %s", verdict)
		l.keep(info)
	}
	return verdict
}

// keep writes a history that failed, for people to look at.
func (l *load) keep(info porcupine.LinearizationInfo) {
	t := l.c.t
	dir, err := os.MkdirTemp("", "syncsh-chaos-failed-")
	if err != nil {
		t.Error(err)
		return
	}
	slices.SortFunc(l.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var text bytes.Buffer
	for _, op := range l.ops {
		end := "open"
		if op.Return != open {
			end = fmt.Sprintf("%.6f", time.Duration(op.Return).Seconds())
		}
		fmt.Fprintf(&text, "%.6f %s client %d: %s\n", time.Duration(op.Call).Seconds(), end, op.ClientId, registers.DescribeOperation(op.Input, op.Output))
	}
	if err := os.WriteFile(filepath.Join(dir, "history.txt"), text.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
	if err := porcupine.VisualizePath(registers, info, filepath.Join(dir, "history.html")); err != nil {
		t.Error(err)
	}
	t.Logf("the history: %s, history.txt and history.html", dir)
}

// ledger reads what the ledger holds.
func (c *cluster) ledger() (total int64, times map[string]int64) {
	c.t.Helper()
	cl := c.dial(0, client.Config{Timeout: patience})
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	v, err := cl.Get(ctx, "ledger")
	if err != nil {
		c.t.Fatal(err)
	}
	state := v.(map[string]any)
	times = map[string]int64{}
	for id, n := range state["times"].(map[string]any) {
		times[id] = n.(int64)
	}
	return state["total"].(int64), times
}

// report is the table of a run.
func report(s setup, m *nemesis, l *load, verdict porcupine.CheckResult, end *client.Status) string {
	var b strings.Builder
	keys, unanswered := map[string]bool{}, 0
	for _, op := range l.ops {
		keys[op.Input.(input).key] = true
		if op.Output.(output).unknown {
			unanswered++
		}
	}
	lives := uint64(0)
	for _, n := range l.c.nodes {
		lives += n.lives
	}
	row := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "| %s | %s |\n", what, fmt.Sprintf(format, args...))
	}
	row(fmt.Sprintf("%d nodes, seed %d, %v of faults", len(l.c.nodes), s.seed, s.length), "")
	row("---", "---")
	for _, lane := range lanes {
		var counts []string
		classes := slices.Clone(lane.classes)
		slices.Sort(classes)
		for _, class := range slices.Compact(classes) {
			counts = append(counts, fmt.Sprintf("%s %d", class, m.counts[class]))
		}
		row("faults: "+lane.name, "%s", strings.Join(counts, ", "))
	}
	row("starts of a node", "%d", lives)
	row("calls", "%d acknowledged, %d refused, %d of unknown outcome, %d that happened and whose result was lost",
		l.fates[happened], l.fates[refused], l.fates[outcomeUnknown], l.fates[kept])
	row("registers", "%d calls on %d keys, %d open to the end: porcupine says %s", len(l.ops), len(keys), unanswered, verdict)
	leases := "on"
	if !s.leases {
		leases = "off, so that a round stands for them"
	}
	row("reads of registers", "%d linearizable, %d by lease (leases %s), %d bounded by %v, %d stale", l.reads[client.Linearizable], l.reads[client.Lease], leases,
		l.reads[client.Bounded(bound)], bound, l.reads[client.Stale])
	row("notes in the ledger", "%d calls", len(l.adds))
	row("locks", "%d grants", len(l.grants))
	row("at the end", "leader %s in term %d, index %d, one digest", end.Leader, end.Term, end.Index.Applied)
	return b.String()
}

// TestStaleReadsAreSeen: stale reads at a node that is cut off, taken for
// linearizable, are a history that the checks refuse; a linearizable read there
// is not answered.
func TestStaleReadsAreSeen(t *testing.T) {
	c := newCluster(t, 3, 1)
	s := c.awaitEqual()
	c.deploy()
	away := slices.IndexFunc(c.nodes, func(n *node) bool { return n.name != s.Leader })
	near := c.dial((away+1)%3, client.Config{Timeout: patience})
	defer near.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	l := &load{c: c, began: time.Now()}
	var ops []porcupine.Operation
	do := func(cl *client.Client, in input) error { // taken for linearizable, whatever it is
		w := &worker{load: l, cl: cl}
		call := l.now()
		out, err := w.ask(in)
		if err == nil {
			ops = append(ops, op(len(ops), call, l.now(), in, out))
		}
		return err
	}
	if err := do(near, input{kind: set, key: "k", value: "a"}); err != nil {
		t.Fatal(err)
	}
	c.awaitEqual()
	m := newNemesis(c)
	undo := m.network(step{class: "isolate"}, away)
	if err := do(near, input{kind: set, key: "k", value: "b"}); err != nil {
		t.Fatal(err)
	}
	there := []string{c.links.fronts[away].addr.String()}
	alone, err := client.Dial(ctx, client.Config{Addrs: there, Timeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	if err := do(alone, input{kind: get, key: "k", mode: client.Stale}); err != nil {
		t.Fatal(err)
	}
	if porcupine.CheckOperations(registers, ops) {
		t.Errorf("a stale read was taken for linearizable: %v", ops)
	}
	undo()
	c.awaitEqual()
}
