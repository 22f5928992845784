package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// endings are, for each command, the exit codes that it can end with, and json
// where it has --json. 1 is missing where only the disk or the program can fail, 4
// where nothing is asked that could happen nevertheless. 7 is one that a script
// chose.
var endings = map[string]string{
	"syncsh":                "0 1 2 7 130 143 json",
	"syncsh backup":         "0 2 3 4 5 130 json",
	"syncsh bench":          "0 1 2 3 4 5 130 json",
	"syncsh call":           "0 1 2 3 4 5 129 130 143 json",
	"syncsh check":          "0 1 2 json",
	"syncsh completion":     "0 2",
	"syncsh deploy":         "0 1 2 3 4 5 130 json",
	"syncsh dev":            "0 1 2 129 130 143 json",
	"syncsh doctor":         "0 1 2 130 json",
	"syncsh drop":           "0 1 2 3 4 5 130 json",
	"syncsh eval":           "0 1 2 3 4 5 130 143 json",
	"syncsh help":           "0 2",
	"syncsh inspect":        "0 1 2 json",
	"syncsh log":            "2",
	"syncsh log cat":        "0 1 2 json",
	"syncsh member":         "2",
	"syncsh member promote": "0 1 2 3 4 5 130 json",
	"syncsh member remove":  "0 1 2 3 4 5 130 json",
	"syncsh members":        "0 2 3 4 5 130 json",
	"syncsh node":           "0 2",
	"syncsh recover":        "0 1 2 json",
	"syncsh repl":           "0 1 2 3 4 5 129 130 json",
	"syncsh restore":        "0 1 2 json",
	"syncsh run":            "0 1 2 3 4 5 7 130 json",
	"syncsh scripts":        "0 2 3 4 5 130 json",
	"syncsh settings":       "0 1 2 3 4 5 130 json",
	"syncsh snapshot":       "0 2 3 4 5 130 json",
	"syncsh status":         "0 2 3 4 5 130 143 json",
	"syncsh test":           "0 1 2 130 json",
	"syncsh top":            "0 2 3 4 5 130 json",
	"syncsh transfer":       "0 1 2 3 4 5 130 json",
	"syncsh verify":         "0 1 2 json",
	"syncsh version":        "0 2 json",
	"syncsh watch":          "0 1 2 3 5 json",
}

// scriptLine is a line of a script that runs the command and says how it ends.
var scriptLine = regexp.MustCompile(`^(?:exec|exits (\d+)|signals \S+ (\d+) \d+|until (?:'[^']*'|\S+) \S+ (\d+)) syncsh\b(.*)$`)

// Each command, its --json and each of its exit codes is in a script of
// testdata/script.
func TestEveryEnding(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d scripts, %v", len(files), err)
	}
	seen := map[string]map[string]bool{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		commands, _, _ := strings.Cut("\n"+string(text), "\n-- ")
		for line := range strings.Lines(commands) {
			m := scriptLine.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			cmd, code := commandOf(t, m[4]), m[1]+m[2]+m[3]
			if code == "" {
				code = "0"
			}
			if seen[cmd] == nil {
				seen[cmd] = map[string]bool{}
			}
			seen[cmd][code] = true
			if strings.Contains(m[4], "--json") {
				seen[cmd]["json"] = true
			}
		}
	}
	for cmd, want := range endings {
		cells := strings.Fields(want)
		for _, cell := range cells {
			if !seen[cmd][cell] {
				t.Errorf("%s: no script shows %s", cmd, cell)
			}
		}
		for cell := range seen[cmd] {
			if !slices.Contains(cells, cell) {
				t.Errorf("%s: ends with %s in a script, and not by the table", cmd, cell)
			}
		}
	}
	var look func(cmd *cobra.Command)
	look = func(cmd *cobra.Command) {
		if _, ok := endings[cmd.CommandPath()]; !ok {
			t.Errorf("%s is not in the table", cmd.CommandPath())
		}
		for _, c := range cmd.Commands() {
			look(c)
		}
	}
	look(newRoot())
}

// commandOf is the path of the command that a command line names.
func commandOf(t *testing.T, line string) string {
	words := strings.Fields(line)
	cmd, _, err := newRoot().Find(words)
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if cmd.Parent() == nil && len(words) > 0 && (words[0] == "help" || words[0] == "__complete") {
		return "syncsh " + words[0]
	}
	return cmd.CommandPath()
}
