package spec

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"regexp"
	"strconv"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/lab"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// instructionsMax bounds what one test may execute on the client's side.
	instructionsMax = 10_000_000
	// outputMax bounds what is kept of what a test prints.
	outputMax = 64 << 10
)

// world is how a shell.Session sees the lab.
type world struct {
	*lab.World
	over  bool // the test has ended: time stands still
	limit time.Duration
	late  func() // called when the limit is reached
}

func (w *world) After(d time.Duration, f func()) (stop func()) { return w.World.After(d, f).Stop }

func (w *world) Step() bool {
	if w.over {
		return false
	}
	if w.Elapsed() > w.limit {
		w.over = true
		w.late()
		return false
	}
	if !w.World.Step() { // its Err says why
		w.over = true
		w.late()
		return false
	}
	return true
}

// play is one test on the world of one seed.
type play struct {
	conf    *Config
	file    *File
	name    string // of the test; empty to find out which there are
	seed    uint64
	world   *world
	session *shell.Session
	output  bytes.Buffer
	cut     bool // of the output

	names   []string       // of all tests, in order
	run     *lua.LFunction // the test's
	place   string         // where the test's error was raised
	skipped string
	out     outcome
}

// outcome is how a play ended.
type outcome struct {
	failure *failure // nil: the test passed
	skipped string   // why it did not run
	output  string
	took    time.Duration // of virtual time
	stats   lab.Stats
}

// failure is why a test did not pass.
type failure struct {
	place   string // file:line; empty if nobody knows
	message string
	code    string // the line there
}

// worldSeed gives each test worlds of its own, whatever other tests there are.
func worldSeed(name string, seed uint64) uint64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%d", name, seed)
	return h.Sum64()
}

// perform plays a test. The error is that of the files, not of the test.
func (c *Config) perform(ctx context.Context, f *File, name string, seed uint64, story func(string)) (*play, error) {
	p := &play{conf: c, file: f, name: name, seed: seed}
	w := lab.New(lab.Config{Seed: worldSeed(name, seed), Nodes: c.Nodes, Memo: &c.memo, Story: story})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.world = &world{World: w, limit: c.Limit, late: cancel}
	faults := c.Faults && seed != 0 && name != ""
	if faults {
		w.DumpOften()
	}
	if len(f.Scripts) > 0 {
		r, err := w.NewClient("deploy").Exec(ctx, wire.OpDeploy, wire.Linearizable, command.AppendDeploy(nil, 0, 0, f.Scripts))
		if err == nil {
			err = r.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: its scripts can't be deployed: %w", f.Path, err)
		}
	}
	if faults {
		w.Faults()
	}
	p.session = shell.New(shell.Config{
		Cluster: connection{w.NewClient("spec")}, World: p.world, Timeout: 0, Out: p, Err: p, Instructions: instructionsMax, Open: p.open,
	})
	began := w.Elapsed()
	err := p.session.Task(ctx, func(l *lua.LState) error {
		err := p.test(l)
		p.world.over = true
		return err
	})
	p.session.Close()
	p.out.took, p.out.output = w.Elapsed()-began, p.output.String()
	if faults {
		p.out.stats = w.Stats()
	}
	if p.skipped != "" {
		p.out.skipped = p.skipped
		return p, w.Err()
	}
	if serr := p.session.Err(); err == nil && serr != nil {
		err = serr
	}
	if w.Err() != nil {
		err = w.Err()
	}
	if err != nil {
		p.out.failure = p.failed(err)
	}
	return p, nil
}

// test loads the spec and runs its test; it is a task.
func (p *play) test(l *lua.LState) error {
	proto, err := shell.CompileScript(p.file.Path, p.file.Source)
	if err != nil {
		return err
	}
	if _, err := shell.Call(l, l.NewFunctionFromProto(proto)); err != nil {
		return p.locate(err)
	}
	if p.name == "" {
		return nil
	}
	if p.run == nil {
		return fmt.Errorf("the test is not there any more: which tests there are must not depend on chance")
	}
	if _, err := shell.Call(l, p.run, p.newT(l)); err != nil {
		return p.locate(err)
	}
	return nil
}

// locate keeps the innermost line of the spec in the traceback of the first error:
// one in the background ends the others.
func (p *play) locate(err error) error {
	var api *lua.ApiError
	if errors.As(err, &api) && p.place == "" {
		p.place = regexp.MustCompile(regexp.QuoteMeta(p.file.Path) + `:\d+`).FindString(api.StackTrace)
	}
	return err
}

// failed says what was wrong.
func (p *play) failed(err error) *failure {
	f := &failure{place: p.place}
	switch {
	case errors.Is(err, shell.ErrInterrupted):
		f.message = fmt.Sprintf("still running after %v of virtual time; see --limit", p.conf.Limit)
	case errors.Is(err, shell.ErrInstructions):
		f.message = fmt.Sprintf("%v (%d)", shell.ErrInstructions, instructionsMax)
	default:
		f.message = shell.ErrorText(err, false)
	}
	var exit *shell.ExitError
	if errors.As(err, &exit) {
		f.message = fmt.Sprintf("the test called exit(%d)", exit.Code)
	}
	// A message that names the line itself says it once.
	if m := regexp.MustCompile(`^` + regexp.QuoteMeta(p.file.Path) + `:\d+`).FindString(f.message); m != "" {
		f.place = m
		f.message = strings.TrimPrefix(strings.TrimPrefix(f.message, m), ": ")
	}
	if _, number, ok := cutLast(f.place, ":"); ok {
		if n, err := strconv.Atoi(number); err == nil {
			if lines := strings.Split(p.file.Source, "\n"); n >= 1 && n <= len(lines) {
				f.code = strings.TrimSpace(lines[n-1])
			}
		}
	}
	return f
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// Write takes what the test prints.
func (p *play) Write(b []byte) (int, error) {
	if room := outputMax - p.output.Len(); len(b) > room {
		if !p.cut {
			p.cut = true
			p.output.WriteString("... (more was printed)\n")
		}
		return len(b), nil
	}
	return p.output.Write(b)
}
