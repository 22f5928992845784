package spec

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/scripts"
)

const library = "../../scripts/spec"

// config is that of the command, with few seeds.
func config(seeds uint64) *Config {
	return &Config{Seeds: seeds, Faults: true, Nodes: NodesDefault, Limit: LimitDefault}
}

func load(t *testing.T, paths ...string) []*File {
	t.Helper()
	files, err := Load(paths)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// run plays files and returns the report as people see it, too.
func (c *Config) run(t *testing.T, files []*File) (*Report, string) {
	t.Helper()
	var b bytes.Buffer
	c.Out = &b
	r, err := c.Run(t.Context(), files, c.Lines)
	if err != nil {
		t.Fatal(err)
	}
	c.Summary(r)
	return r, b.String()
}

// TestLibrary runs the spec of each object; make specs runs them with 200 seeds.
func TestLibrary(t *testing.T) {
	seeds := uint64(5)
	if testing.Short() {
		seeds = 1
	}
	if text := os.Getenv("SYNCSH_SPEC_SEEDS"); text != "" {
		var err error
		if seeds, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	files := load(t, library)
	for _, s := range scripts.All() {
		name := strings.TrimSuffix(s.Name, ".lua") + endings[0]
		if !slices.ContainsFunc(files, func(f *File) bool { return filepath.Base(f.Path) == name }) {
			t.Errorf("%s has no spec", s.Name)
		}
	}
	c := config(seeds)
	r, text := c.run(t, files)
	if !r.Passed {
		t.Error(text)
	}
	if testing.Short() {
		return // too few worlds to meet all that can go wrong
	}
	f := r.Faults
	for what, n := range map[string]int{"crash": f.Crashes, "crash of a leader": f.Leaders, "cut": f.Cuts, "pause": f.Pauses, "transfer": f.Transfers,
		"lost message": f.Lost, "late message": f.Late, "doubled message": f.Doubled, "lost answer": f.Unheard, "try again": f.Retries} {
		if n == 0 {
			t.Errorf("in %d worlds there was no %s", r.Worlds, what)
		}
	}
}

// bugs are planted in the library; the spec of the object has to find each.
var bugs = []struct{ name, script, right, wrong string }{
	{"anybody releases a lock", "lock.lua", "if lock and lock.owner == owner then\n    emit(\"released\"", "if lock then\n    emit(\"released\""},
	{"a lock's time is forgotten", "lock.lua", grants + " = owner, index(), now() + ttl", "ttl = 86400 " + grants + " = owner, index(), now() + ttl"},
	{"a lock ends too early", "lock.lua", grants + " = owner, index(), now() + ttl", grants + " = owner, index(), now() + ttl / 100"},
	{"a lock's token stays the same", "lock.lua", grants + " = owner, index()", grants + " = owner, 7"},
	{"the dead stay in line", "lock.lua", "if waiter.gone > now() then", "if true then"},
	{"two lead", "election.lua", "if office and office.leader ~= candidate then", "if false then"},
	{"a job is not handed out again", "queue.lua", "= receipt\n  job.due = now() + seconds\n  job.timer = after(seconds, ", "= receipt\n  job.due = now() + seconds\n  job.timer = after(seconds * 1000, "},
	{"a job is acknowledged by who had it before", "queue.lua", "return false\n  end\n  take_back(self, receipt)\n  self.count", "return true\n  end\n  take_back(self, receipt)\n  self.count"},
	{"a run is claimed by all", "scheduler.lua", "job.claimed = job.runs\n  if not job.spec", "if not job.spec"},
}

const grants = "lock.owner, lock.token, lock.expires"

func TestSpecsFindBugs(t *testing.T) {
	for _, b := range bugs {
		s, ok := scripts.Get(b.script)
		if n := strings.Count(s.Source, b.right); !ok || n != 1 {
			t.Errorf("%s: what the bug replaces is in %s %d times", b.name, b.script, n)
			continue
		}
		files := load(t, filepath.Join(library, strings.TrimSuffix(b.script, ".lua")+endings[0]))
		i := slices.IndexFunc(files[0].Scripts, func(x command.Script) bool { return x.Name == b.script })
		files[0].Scripts[i].Source = strings.Replace(s.Source, b.right, b.wrong, 1)
		if r, _ := config(1).run(t, files); r.Passed {
			t.Errorf("%s: the spec does not find it", b.name)
		}
	}
}

// TestSameSeedSameRun holds a world to its seed: event by event, with clients that
// come and go and tasks that wait for each other.
func TestSameSeedSameRun(t *testing.T) {
	f := load(t, filepath.Join(library, "lock_spec.lua"))[0]
	tell := func(name string, seed uint64) string {
		var story []string
		p, err := config(1).perform(t.Context(), f, name, seed, func(line string) { story = append(story, line) })
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%s\n%v %v %v", strings.Join(story, "\n"), p.out.took, p.out.stats, p.out.failure)
	}
	stories := map[string]bool{}
	for _, name := range []string{"a lock is freed when its holder dies", "of many that work under the lock one does at a time"} {
		for seed := uint64(1); seed <= 5; seed++ {
			first := tell(name, seed)
			stories[first] = true
			for range 3 {
				if again := tell(name, seed); again != first {
					t.Fatalf("%s, seed %d:\n%s\n\nand then\n%s", name, seed, first, again)
				}
			}
		}
	}
	if len(stories) != 10 {
		t.Errorf("10 worlds have only %d stories", len(stories))
	}
}

// TestDocs runs the examples of docs/TESTING.md, and holds it to show all that a
// test can say.
func TestDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/TESTING.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```lua\n(.*?)```").FindAllStringSubmatch(string(b), -1)
	if len(blocks) < 5 {
		t.Fatalf("%d examples found", len(blocks))
	}
	all := ""
	for i, block := range blocks {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("example%d_spec.lua", i+1))
		if err := os.WriteFile(path, []byte(block[1]), 0o600); err != nil {
			t.Fatal(err)
		}
		all += block[1]
		if r, text := config(4).run(t, load(t, path)); !r.Passed {
			t.Errorf("%s\n%s", text, block[1])
		}
	}
	methods := new(play).methods()
	maps.Copy(methods, new(program).methods())
	for m := range methods {
		if !strings.Contains(all, ":"+m+"(") {
			t.Errorf("no example calls %s", m)
		}
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{"a b": "'a b'", "it's": `'it'\''s'`, "a/b_c.lua": "a/b_c.lua", "": "''"} {
		if got := quote(text); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}
