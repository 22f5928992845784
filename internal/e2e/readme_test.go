//go:build unix

package e2e

import (
	"path/filepath"
	"slices"
	"testing"
)

// TestReadme carries out README.md as printed.
func TestReadme(t *testing.T) {
	t.Parallel()
	if steps, nodes := carryOut(t, "README.md"); !t.Failed() && (steps < 10 || nodes != 4) {
		t.Errorf("%d steps and %d nodes: are the blocks not recognised?", steps, nodes)
	}
}

// TestTutorial: who follows docs/TUTORIAL.md literally sees what it says.
func TestTutorial(t *testing.T) {
	t.Parallel()
	if steps, nodes := carryOut(t, "docs/TUTORIAL.md"); !t.Failed() && (steps < 20 || nodes < 7) {
		t.Errorf("%d steps and %d nodes: are the blocks not recognised?", steps, nodes)
	}
}

// TestExamples carries out the page of each example: its claims are what the page
// says is printed.
func TestExamples(t *testing.T) {
	pages, err := filepath.Glob("../../examples/*/README.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, p := range pages {
		name := filepath.Base(filepath.Dir(p))
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if steps, _ := carryOut(t, "examples/"+name+"/README.md"); !t.Failed() && steps < 5 {
				t.Errorf("%d steps: are the blocks not recognised?", steps)
			}
		})
	}
}

// TestPages: what is printed differently, not at all, or too often is seen.
func TestPages(t *testing.T) {
	for _, k := range []struct {
		got  string
		want []string
		ok   bool
	}{
		{"a\nb\n", []string{"a", "b"}, true},
		{"a 17 b\n", []string{"a ... b"}, true},
		{"", nil, true},
		{"a\nx\nb\n", []string{"a...b"}, false},
		{"a\n", []string{"a", "b"}, false},
		{"a\nb\n", []string{"a"}, false},
		{"a\n", nil, false},
		{"axb\n", []string{"a.b"}, false},
	} {
		if matches(k.got, k.want) != k.ok {
			t.Errorf("%q as %q: want %v", k.got, k.want, k.ok)
		}
	}
	steps := parsePage("text\n```console\n$ one\nout\n$ two\n> typed\n> more\nout\n```\n$ no\n```console ann\n> a\nb\n> c\n```\n```lua\n-- x.lua\n> z\n```\n")
	want := []step{
		{kind: "console", line: 2},
		{kind: "console", line: 3, command: "one", want: []string{"out"}},
		{kind: "console", line: 5, command: "two", input: []string{"typed", "more"}, want: []string{"out"}},
		{kind: "console", name: "ann", line: 11, input: []string{"a"}, want: []string{"b"}},
		{kind: "console", name: "ann", line: 14, input: []string{"c"}},
		{kind: "lua", line: 16, want: []string{"-- x.lua", "> z"}},
	}
	same := func(a, b step) bool {
		return a.kind == b.kind && a.name == b.name && a.line == b.line && a.command == b.command && slices.Equal(a.input, b.input) && slices.Equal(a.want, b.want)
	}
	if !slices.EqualFunc(steps, want, same) {
		t.Errorf("got\n%+v\nwant\n%+v", steps, want)
	}
}
