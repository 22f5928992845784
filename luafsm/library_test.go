package luafsm

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/scripts"
)

// The objects of scripts/ are told as transcripts in testdata/library, one file
// an object: "> object:method(...)", "# 5 seconds later", "# events" and
// "# timers" (how many wait), each followed by what it prints; "-- " starts a
// comment. A file begins with a new machine and ends with what is left in the
// state; now and then the machine goes through a dump and a restore. go test -run TestLibrary -update writes what came out.

func TestLibrary(t *testing.T) {
	for _, s := range scripts.All() {
		name := strings.TrimSuffix(s.Name, ".lua")
		if name == "kv" {
			continue // TestKV
		}
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "library", name+".txt")
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runLibrary(t, s, strings.Split(strings.TrimSuffix(string(b), "\n"), "\n"))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(b) {
				t.Errorf("%s: %s", file, firstDifference(got, string(b)))
			}
		})
	}
}

// restoreEvery is how many lines of a transcript lie between two restores.
const restoreEvery = 10

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) || g[i] != w[i] {
			return fmt.Sprintf("line %d\n got %s\nwant %s", i+1, strings.Join(g[min(i, len(g)):min(i+3, len(g))], " | "), w[i])
		}
	}
	return fmt.Sprintf("%d lines more", len(g)-len(w))
}

// runLibrary is a transcript with what came out.
func runLibrary(t *testing.T, s command.Script, lines []string) string {
	d := &docRun{t: t, lines: lines}
	d.section()
	d.rig.mustDeploy(s.Name, s.Source)
	var out strings.Builder
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "-- "):
			fmt.Fprintln(&out, line)
		case line == "# timers":
			fmt.Fprintf(&out, "%s\n%d\n", line, d.rig.timers())
		case isCommand(line):
			fmt.Fprintln(&out, line)
			for _, l := range d.command(i+1, line) {
				fmt.Fprintln(&out, l)
			}
			d.rig.tick()
			if i%restoreEvery == 0 {
				d.rig.m = restored(t, d.rig.m)
			}
		}
	}
	for _, w := range d.wrong {
		t.Error(w)
	}
	return out.String()
}

// tick fires what is due, in as many ticks as it takes.
func (r *rig) tick() {
	for {
		if due, ok := r.m.NextTimer(); !ok || due > r.clock {
			return
		}
		r.apply(command.AppendTick(nil))
	}
}

// timers is how many wait.
func (r *rig) timers() int { return r.m.store.Section(sectionTimers).Count(nil) / 2 }
