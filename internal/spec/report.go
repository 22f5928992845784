package spec

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncsh/syncsh/internal/lab"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
)

// Defaults of a run.
const (
	SeedsDefault = 10
	NodesDefault = 3
	LimitDefault = time.Hour
)

// faultySeeds is how many worlds with faults a run has from which at least one
// fault is expected.
const faultySeeds = 20

// Config of a run.
type Config struct {
	Seeds   uint64 // seeds 0 to Seeds
	Seed    uint64 // the only one, if One
	One     bool
	Faults  bool // things go wrong by themselves, except with seed 0
	Nodes   int
	Match   *regexp.Regexp // of the names of tests; nil: all
	Limit   time.Duration  // of virtual time, of one test
	Verbose bool
	Out     io.Writer

	memo luafsm.Memo // of all worlds
}

// seeds are those of each test.
func (c *Config) seeds() []uint64 {
	if c.One {
		return []uint64{c.Seed}
	}
	out := make([]uint64, c.Seeds+1)
	for i := range out {
		out[i] = uint64(i)
	}
	return out
}

// had tells whether things went wrong by themselves with a seed.
func (c *Config) had(seed uint64) bool { return c.Faults && seed != 0 }

// Result is how one test ended.
type Result struct {
	File    string `json:"file"`
	Test    string `json:"test"`
	Passed  bool   `json:"passed"`
	Skipped string `json:"skipped,omitempty"` // why
	Seeds   int    `json:"seeds"`             // that passed
	// Of a test that failed: with the lowest seed that it failed with.
	Seed    *uint64 `json:"seed,omitempty"`
	Place   string  `json:"place,omitempty"` // file:line
	Code    string  `json:"code,omitempty"`  // the line
	Message string  `json:"message,omitempty"`
	Output  string  `json:"output,omitempty"`
	Replay  string  `json:"replay,omitempty"`
	// Seconds of virtual time that the longest world took.
	Seconds float64 `json:"seconds"`

	story []string
}

// Report is what a run found.
type Report struct {
	Passed bool      `json:"passed"`
	Tests  []Result  `json:"tests"`
	Worlds int       `json:"worlds"`
	Faults lab.Stats `json:"faults"`
	// Problem is what is wrong with the run as a whole.
	Problem string `json:"problem,omitempty"`

	faulty int // worlds in which things could go wrong by themselves
}

// job is a test with all its seeds.
type job struct {
	file   *File
	name   string
	plays  []outcome
	failed atomic.Int64 // the lowest index of a seed with which it failed
}

// Run plays all tests, file by file, and calls each, if set, with the results of
// a file. The error is one of the files.
func (c *Config) Run(ctx context.Context, files []*File, each func([]Result)) (*Report, error) {
	r := &Report{Passed: true, Tests: []Result{}}
	all, err := c.jobs(ctx, files)
	if err != nil {
		return nil, err
	}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].file == all[0].file {
			n++
		}
		results, err := c.runFile(ctx, r, all[:n])
		if err != nil {
			return nil, err
		}
		if each != nil {
			each(results)
		}
		all = all[n:]
	}
	if r.faulty >= faultySeeds && r.Passed && r.Faults.Faults() == 0 {
		r.Passed, r.Problem = false, fmt.Sprintf("no fault happened in %d worlds: these tests show nothing of faults; have them make calls", r.faulty)
	}
	return r, nil
}

// runFile plays the tests of a file.
func (c *Config) runFile(ctx context.Context, r *Report, jobs []*job) ([]Result, error) {
	seeds := c.seeds()
	if err := c.playAll(ctx, jobs, seeds); err != nil {
		return nil, err
	}
	first := len(r.Tests)
	for _, j := range jobs {
		res := Result{File: j.file.Path, Test: j.name, Passed: true}
		for i, seed := range seeds {
			o := &j.plays[i]
			r.Worlds++
			if c.had(seed) && o.skipped == "" {
				r.faulty++
			}
			r.Faults.Add(o.stats)
			res.Seconds = max(res.Seconds, o.took.Round(time.Millisecond).Seconds())
			if o.failure != nil {
				c.blame(ctx, &res, j, seed, o)
				break
			}
			if res.Skipped = o.skipped; o.skipped == "" {
				res.Seeds++
			}
		}
		r.Passed = r.Passed && res.Passed
		r.Tests = append(r.Tests, res)
	}
	return r.Tests[first:], nil
}

// jobs finds the tests.
func (c *Config) jobs(ctx context.Context, files []*File) (jobs []*job, err error) {
	for _, f := range files {
		p, err := c.perform(ctx, f, "", 0, nil)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, shell.ErrInterrupted
		}
		if bad := p.out.failure; bad != nil {
			return nil, &shell.LuaError{Text: bad.text(f.Path)}
		}
		if len(p.names) == 0 {
			return nil, &shell.UsageError{Text: f.Path + ": no test in it"}
		}
		for _, name := range p.names {
			if c.Match == nil || c.Match.MatchString(name) {
				jobs = append(jobs, &job{file: f, name: name})
			}
		}
	}
	if len(jobs) == 0 {
		return nil, &shell.UsageError{Text: fmt.Sprintf("--run %s: no test has a name like that", c.Match)}
	}
	return jobs, nil
}

// playAll plays each job with each seed, some at a time. Of a job that failed the
// higher seeds are left out.
func (c *Config) playAll(ctx context.Context, jobs []*job, seeds []uint64) error {
	for _, j := range jobs {
		j.plays = make([]outcome, len(seeds))
		j.failed.Store(int64(len(seeds)))
	}
	var next atomic.Int64
	var group sync.WaitGroup
	var once sync.Once
	var failed error
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				n := int(next.Add(1) - 1)
				if n >= len(jobs)*len(seeds) {
					return
				}
				j, i := jobs[n/len(seeds)], n%len(seeds)
				if int64(i) > j.failed.Load() {
					continue
				}
				p, err := c.perform(ctx, j.file, j.name, seeds[i], nil)
				if ctx.Err() != nil {
					err = shell.ErrInterrupted
				}
				if err != nil {
					once.Do(func() { failed = err })
					next.Store(int64(len(jobs) * len(seeds)))
					return
				}
				j.plays[i] = p.out
				for low := j.failed.Load(); p.out.failure != nil && int64(i) < low; low = j.failed.Load() {
					if j.failed.CompareAndSwap(low, int64(i)) {
						break
					}
				}
			}
		})
	}
	group.Wait()
	return failed
}

// blame describes a failure.
func (c *Config) blame(ctx context.Context, res *Result, j *job, seed uint64, o *outcome) {
	res.Passed, res.Seed = false, &seed
	res.Place, res.Message, res.Code, res.Output = o.failure.place, o.failure.message, o.failure.code, o.output
	if res.Place == "" {
		res.Place = j.file.Path
	}
	res.Replay = c.replay(j, seed)
	if c.Verbose {
		_, err := c.perform(ctx, j.file, j.name, seed, func(line string) { res.story = append(res.story, line) })
		if err != nil {
			res.story = append(res.story, err.Error())
		}
	}
}

// replay is the command that plays a test with a seed again.
func (c *Config) replay(j *job, seed uint64) string {
	args := []string{"syncsh", "test"}
	for _, path := range j.file.Given {
		args = append(args, quote(path))
	}
	args = append(args, fmt.Sprintf("--seed %d", seed), "--run "+quote("^"+regexp.QuoteMeta(j.name)+"$"))
	if !c.Faults {
		args = append(args, "--faults=false")
	}
	if c.Nodes != NodesDefault {
		args = append(args, fmt.Sprintf("--nodes %d", c.Nodes))
	}
	if c.Limit != LimitDefault {
		args = append(args, fmt.Sprintf("--limit %v", c.Limit))
	}
	return strings.Join(append(args, "-v"), " ")
}

// quote makes a text one word of a shell.
func quote(text string) string {
	if regexp.MustCompile(`^[A-Za-z0-9_./-]+$`).MatchString(text) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

func (f *failure) text(path string) string {
	if f.place == "" {
		return path + ": " + f.message
	}
	return f.place + ": " + f.message
}

// JSON writes the report as one value.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// Lines writes the results of a file for people: a line if all is well, else those
// of the tests that failed.
func (c *Config) Lines(tests []Result) {
	failed, skipped := 0, 0
	for _, t := range tests {
		if !t.Passed {
			failed++
		} else if t.Skipped != "" {
			skipped++
		}
		if c.Verbose || !t.Passed {
			c.line(t)
		}
	}
	if failed > 0 || c.Verbose {
		return
	}
	more := ""
	if skipped > 0 {
		more = fmt.Sprintf(", %d skipped", skipped)
	}
	fmt.Fprintf(c.Out, "ok    %s: %s%s\n", tests[0].File, count(len(tests), "test"), more)
}

// line writes one test.
func (c *Config) line(t Result) {
	switch {
	case t.Skipped != "":
		fmt.Fprintf(c.Out, "skip  %s: %s: %s\n", t.File, t.Test, t.Skipped)
		return
	case t.Passed:
		fmt.Fprintf(c.Out, "ok    %s: %s (%.3f s of virtual time at most)\n", t.File, t.Test, t.Seconds)
		return
	}
	fmt.Fprintf(c.Out, "FAIL  %s: %s (seed %d): %s\n", t.Place, t.Test, *t.Seed, strings.ReplaceAll(t.Message, "\n", "; "))
	if t.Code != "" {
		fmt.Fprintf(c.Out, "      | %s\n", t.Code)
	}
	for _, line := range t.story {
		fmt.Fprintf(c.Out, "      %s\n", line)
	}
	if t.Output != "" {
		fmt.Fprintf(c.Out, "      it printed:\n")
		for line := range strings.Lines(t.Output) {
			fmt.Fprintf(c.Out, "        %s\n", strings.TrimRight(line, "\n"))
		}
	}
	fmt.Fprintf(c.Out, "      again: %s\n", t.Replay)
}

// Summary writes the last lines of a run for people.
func (c *Config) Summary(r *Report) {
	failed := 0
	for _, t := range r.Tests {
		if !t.Passed {
			failed++
		}
	}
	with := fmt.Sprintf("seeds 0 to %d", c.Seeds)
	if c.One {
		with = fmt.Sprintf("seed %d", c.Seed)
	}
	if failed > 0 {
		fmt.Fprintf(c.Out, "%d of %s failed, %s\n", failed, count(len(r.Tests), "test"), with)
		return
	}
	if r.Problem != "" {
		fmt.Fprintf(c.Out, "FAIL  %s\n", r.Problem)
		return
	}
	fmt.Fprintf(c.Out, "%s passed, %s\n", count(len(r.Tests), "test"), with)
	if c.Verbose {
		fmt.Fprintf(c.Out, "what went wrong by itself: %v\n", r.Faults)
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
