package luafsm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/raft"
	"github.com/zeebo/xxh3"
)

// Environment of the tests with generated programs: how many, from which seed
// on, and where to write what they did, a line each.
const (
	envPrograms = "SYNCSH_PROGRAMS"
	envSeed     = "SYNCSH_PROGRAM_SEED"
	envOut      = "SYNCSH_PROGRAMS_OUT"
)

func programs(t testing.TB) (first, n int) {
	n = 500
	if testing.Short() {
		n = 60
	}
	for env, v := range map[string]*int{envPrograms: &n, envSeed: &first} {
		if s := os.Getenv(env); s != "" {
			i, err := strconv.Atoi(s)
			if err != nil {
				t.Fatalf("%s=%s: %v", env, s, err)
			}
			*v = i
		}
	}
	return first, n
}

const entriesOfProgram = 16

// program is a generated one: what to apply, entry by entry, and a query to ask
// after each.
type generated struct {
	entries []raft.Entry
	queries [][]byte
	restore int // the entry before which a machine is replaced by one made of its dump
}

func generate(seed uint64) generated {
	g := newGenerator(seed)
	version := 1
	var p generated
	add := func(clock int64, cmds ...[]byte) {
		last := raft.Index(0)
		if n := len(p.entries); n > 0 {
			last = p.entries[n-1].Index
		}
		p.entries = append(p.entries, raft.Entry{Index: last + raft.Index(len(cmds)), Span: uint32(len(cmds)), Kind: raft.EntryBatch, Data: batch(clock, g.Uint64(), cmds...)})
		p.queries = append(p.queries, command.AppendQuery(nil, g.object(), pick(g, "q", "q", "q", "m1"), g.arguments()))
	}
	clock := int64(1_000_000)
	add(clock, command.AppendSetting(nil, 0, 0, "instructions", 20_000), command.AppendSetting(nil, 0, 0, "call_bytes", 1<<20), command.AppendSetting(nil, 0, 0, "string_bytes", 1<<16))
	add(clock, command.AppendDeploy(nil, 0, 0, []command.Script{{Name: "o2.lua", Source: g.script("o2", 1, nil)}, {Name: "o1.lua", Source: g.script("o1", 1, []string{"o2"})}}),
		command.AppendCreate(nil, 0, 0, "i1", "o1"), command.AppendOpen(nil))
	g.session = uint64(p.entries[len(p.entries)-1].Index)
	for len(p.entries) < entriesOfProgram {
		clock += int64(g.IntN(1500))
		var cmds [][]byte
		for range 1 + g.IntN(4) {
			cmds = append(cmds, g.command(&version))
		}
		add(clock-int64(g.IntN(100)), cmds...)
	}
	p.restore = 2 + g.IntN(entriesOfProgram-2)
	return p
}

// runner applies a generated program.
type runner struct {
	m       *Machine
	q       *Querier
	res     Results
	printed []string
	base    Charges // of the machines before a restore
	seen    uint64
}

func newRunner() *runner {
	r := &runner{q: NewQuerier()}
	r.m = New(Options{Print: r.print})
	return r
}

func (r *runner) print(object, text string) { r.printed = append(r.printed, object+": "+text) }

// restore replaces the machine by one made of its dump.
func (r *runner) restore() error {
	v := r.m.Publish()
	defer v.Release()
	var b bytes.Buffer
	if err := v.Dump(&b); err != nil {
		return err
	}
	m, err := Restore(&b, Options{Print: r.print})
	if err != nil {
		return err
	}
	c := r.m.Charged()
	r.base.Steps += c.Steps
	r.base.Bytes += c.Bytes
	r.m = m
	return nil
}

// tryOut does what a leader does and the others don't: it tries the commands of
// an entry out. A query more than others answer must change nothing either.
func (r *runner) tryOut(e raft.Entry, query []byte) error {
	charged := r.m.Charged()
	before := wholeMachine(r.m)
	d := codec.NewDecoder(e.Data)
	if h, err := command.DecodeBatchHead(&d); err == nil {
		for i := range h.Count {
			if cmd, err := d.Bytes(); err == nil { // the clock of the leader that tries out is not that of the entry
				r.m.DryRun(cmd, h.Clock+dryAhead[i%len(dryAhead)], nil)
			}
		}
	}
	if after := wholeMachine(r.m); after != before {
		return fmt.Errorf("a dry run leaves %s, before it was %s", after, before)
	}
	now := r.m.Charged()
	r.base.Steps -= now.Steps - charged.Steps
	r.base.Bytes -= now.Bytes - charged.Bytes
	v := r.m.Publish()
	defer v.Release()
	r.q.Query(v, query, nil)
	return nil
}

// dryAhead is how far the clocks of dry runs are ahead of the entry's, in ms.
var dryAhead = [...]int64{100_000, -100_000, 1, 0}

// wholeMachine is everything of a machine that a command can change.
func wholeMachine(m *Machine) string {
	due, waits := m.NextTimer()
	return fmt.Sprintf("digest %v, index %d, clock %d, version %d, limits %v, timer %d %v, objects %v, scripts %p, program %p, charges %v, error %v",
		m.Digest(), m.index, m.clock, m.version, *m.limits, due, waits, m.roots.names(), m.code, m.prog, m.charged, m.err)
}

// report is everything that can be seen of one entry.
type report struct {
	results, query []byte
	digest         Digest
	steps, bytes   uint64
	printed        string
	events         string
}

func (r *runner) apply(e raft.Entry, query []byte) report {
	r.res.Reset()
	r.printed = r.printed[:0]
	r.m.Apply(e, &r.res)
	v := r.m.Publish()
	defer v.Release()
	c := r.m.Charged()
	out := report{results: bytes.Clone(r.res.Buf), query: r.q.Query(v, query, nil), digest: v.Digest(), printed: strings.Join(r.printed, "\n"),
		steps: r.base.Steps + c.Steps, bytes: r.base.Bytes + c.Bytes}
	out.events = list(v.EventsAfter(r.seen, 1000))
	r.seen = v.LastEvent()
	return out
}

func (a report) equal(b report) bool {
	return bytes.Equal(a.results, b.results) && bytes.Equal(a.query, b.query) && a.digest == b.digest && a.steps == b.steps && a.bytes == b.bytes &&
		a.printed == b.printed && a.events == b.events
}

func (a report) String() string {
	return fmt.Sprintf("digest %v, %d steps, %d bytes, results %q, query %q, printed %q, events %s", a.digest, a.steps, a.bytes, a.results, a.query, a.printed, a.events)
}

// line sums up the reports of a program.
func line(seed int, reports []report) string {
	h := xxh3.New()
	for _, r := range reports {
		fmt.Fprintln(h, r)
	}
	last := reports[len(reports)-1]
	return fmt.Sprintf("%d digest %v all %016x steps %d bytes %d\n", seed, last.digest, h.Sum64(), last.steps, last.bytes)
}

func straight(p generated) []report {
	var out []report
	r := newRunner()
	for i, e := range p.entries {
		out = append(out, r.apply(e, p.queries[i]))
	}
	return out
}

// straightLines is what TestGeneratedPrograms saw, by seed, so that the next test
// needn't do it again.
var straightLines map[int]string

// Executed straight, and with a dump and restore at a random index: equal
// results, errors, charges, digests, events and queries after each entry. The
// rare must have happened, lest the programs test nothing.
func TestGeneratedPrograms(t *testing.T) {
	first, n := programs(t)
	seen := map[string]int{}
	var lines strings.Builder
	for seed := first; seed < first+n; seed++ {
		p := generate(uint64(seed))
		a := straight(p)
		r := newRunner()
		for i, e := range p.entries {
			if i == p.restore {
				if err := r.restore(); err != nil {
					t.Fatalf("program %d: %v", seed, err)
				}
			}
			if i%3 == 0 {
				if err := r.tryOut(e, p.queries[i]); err != nil {
					t.Fatalf("program %d, entry %d: %v", seed, i, err)
				}
			}
			if b := r.apply(e, p.queries[i]); !a[i].equal(b) {
				t.Fatalf("program %d differs at entry %d of %d, restored before %d; replay with %s=%d %s=1\nstraight %v\nrestored %v",
					seed, i, len(p.entries), p.restore, envSeed, seed, envPrograms, a[i], b)
			}
		}
		count(t, seen, p, a)
		lines.WriteString(line(seed, a))
	}
	t.Logf("%v", seen)
	straightLines = map[int]string{}
	for i, l := range strings.SplitAfter(lines.String(), "\n")[:n] {
		straightLines[first+i] = l
	}
	if n >= 500 {
		for _, what := range sometimes {
			if seen[what] == 0 {
				t.Errorf("never: %s", what)
			}
		}
	}
	if out := os.Getenv(envOut); out != "" {
		if err := os.WriteFile(out, []byte(lines.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var sometimes = []string{"ok", "script", "budget", "not_found", "bad_argument", "timer fired", "deploy", "failed deploy", "create", "drop", "event", "print", "query", "session"}

// count notes what happened in a program.
func count(t *testing.T, seen map[string]int, p generated, reports []report) {
	for i, r := range reports {
		for at, k := 0, 0; k < int(p.entries[i].Span); k++ {
			res, n := resultAt(t, r.results[at:])
			at += n
			seen[res.Code.String()]++
			kind := kindOf(p.entries[i].Data, k)
			switch {
			case kind == command.Tick && showValues(res.Values) != "0":
				seen["timer fired"]++
			case kind == command.Deploy && res.Code != command.CodeOK:
				seen["failed deploy"]++
			case kind == command.Deploy && i > 1:
				seen["deploy"]++
			case kind == command.Create && i > 1 && res.Code == command.CodeOK:
				seen["create"]++
			case kind == command.Drop && res.Code == command.CodeOK:
				seen["drop"]++
			}
		}
		if strings.Contains(r.events, ";") {
			seen["event"]++
		}
		if r.printed != "" {
			seen["print"]++
		}
		if decodeResult(t, r.query).Code == command.CodeOK {
			seen["query"]++
		}
	}
}

// A second process gives the same.
func TestGeneratedProgramsInAnotherProcess(t *testing.T) {
	if os.Getenv(envOut) != "" {
		t.Skip("this is a second process")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	first, n := programs(t)
	out := filepath.Join(t.TempDir(), "programs.txt")
	cmd := osexec.Command(self, "-test.run=^TestProgramsWritten$", "-test.timeout=60m")
	cmd.Env = append(os.Environ(), envOut+"="+out, envPrograms+"="+strconv.Itoa(n), envSeed+"="+strconv.Itoa(first))
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	other, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range strings.SplitAfter(strings.TrimSpace(string(other))+"\n", "\n")[:n] {
		got := straightLines[first+i]
		if got == "" {
			got = line(first+i, straight(generate(uint64(first+i))))
		}
		if got != want {
			t.Fatalf("the processes differ; replay with %s=%d %s=1\nthis  %sother %s", envSeed, first+i, envPrograms, got, want)
		}
	}
}

// TestProgramsWritten writes what the programs did; make arch runs it as
// binaries of other architectures and compares.
func TestProgramsWritten(t *testing.T) {
	out := os.Getenv(envOut)
	if out == "" {
		t.Skip("no " + envOut)
	}
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	first, n := programs(t)
	for seed := first; seed < first+n; seed++ {
		if _, e := io.WriteString(f, line(seed, straight(generate(uint64(seed))))); err == nil {
			err = e
		}
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
}

// resultAt decodes the first result of b and says how long it is.
func resultAt(t *testing.T, b []byte) (command.Result, int) {
	t.Helper()
	d := codec.NewDecoder(b)
	res, err := command.DecodeResult(&d)
	if err != nil {
		t.Fatal(err)
	}
	return res, d.Offset()
}

// kindOf is the kind of command k of a batch, 0 if it can't be read.
func kindOf(data []byte, k int) command.Kind {
	d := codec.NewDecoder(data)
	if _, err := command.DecodeBatchHead(&d); err != nil {
		return 0
	}
	for ; k > 0; k-- {
		if _, err := d.Bytes(); err != nil {
			return 0
		}
	}
	b, err := d.Bytes()
	if err != nil {
		return 0
	}
	d.Reset(b)
	h, err := command.DecodeHead(&d)
	if err != nil {
		return 0
	}
	return h.Kind
}
