package shell

import (
	"strings"
	"testing"
)

func TestWrapped(t *testing.T) {
	rows := [][]string{
		{"counter:inc(by)", "replicated", "Adds `by` (default 1) and returns the new value."},
		{"counter:get()", "query", "Returns it."},
	}
	for width, want := range map[int]string{
		0: "  counter:inc(by)  replicated  Adds `by` (default 1) and returns the new value.\n" +
			"  counter:get()    query       Returns it.\n",
		60: "  counter:inc(by)  replicated  Adds `by` (default 1) and\n" +
			"                               returns the new value.\n" +
			"  counter:get()    query       Returns it.\n",
		40: "  counter:inc(by)  replicated\n        Adds `by` (default 1) and\n        returns the new value.\n" +
			"  counter:get()    query\n        Returns it.\n",
	} {
		if got := wrapped(rows, "  ", width); got != want {
			t.Errorf("width %d:\n%s\nwant\n%s", width, got, want)
		}
	}
}

// A paragraph flows when one of its lines does not fit; others stay as written.
func TestWrapParagraphs(t *testing.T) {
	text := "  one two three four\n  five\n\n  six\n  seven"
	if got, want := wrapParagraphs(text, 12), "  one two\n  three four\n  five\n\n  six\n  seven"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, width := range []int{0, 20, 80} {
		if got := wrapParagraphs(text, width); got != text {
			t.Errorf("width %d: %q", width, got)
		}
	}
	for _, line := range strings.Split(wrapParagraphs(strings.Repeat("word ", 50), 30), "\n") {
		if textWidth(line) > 30 {
			t.Errorf("%q is too long", line)
		}
	}
}
