package tty

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestColours(t *testing.T) {
	for _, c := range []struct {
		none, term string
		want       bool
	}{{"", "xterm", true}, {"1", "xterm", false}, {"", "dumb", false}} {
		t.Setenv("NO_COLOR", c.none)
		t.Setenv("TERM", c.term)
		if Colours() != c.want {
			t.Errorf("NO_COLOR=%s TERM=%s: %v", c.none, c.term, !c.want)
		}
	}
}

// What somebody else wrote can't move the cursor or begin a line.
func TestClean(t *testing.T) {
	for text, want := range map[string]string{
		"plain":             "plain",
		"a\nb\tc":           "a b c",
		"\x1b[2J\x07\x9b1m": "?[2J??1m",
		"\xff\xfe":          "??",
		"größe 漢\u202e":     "größe 漢?",
	} {
		if got := Clean(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"größe", 3, "grö"}, {"größe", 5, "größe"}, {"größe", 9, "größe"}, {"größe", 0, ""}, {"", 3, ""}, {"x", -1, ""}} {
		if got := Cut(c.text, c.width); got != c.want {
			t.Errorf("%q cut to %d: %q, want %q", c.text, c.width, got, c.want)
		}
	}
}

// clock is a Bar's.
type clock struct{ now time.Time }

func newTestBar(width int) (*Bar, *bytes.Buffer, *clock) {
	var out bytes.Buffer
	c := &clock{time.Unix(1000, 0)}
	return &Bar{out: &out, now: func() time.Time { return c.now }, width: func() int { return width }}, &out, c
}

// last is what stands on the line after all that was written.
func last(out *bytes.Buffer) string {
	text := out.String()
	return text[strings.LastIndex(text, "\x1b[K")+len("\x1b[K"):]
}

func TestBar(t *testing.T) {
	b, out, c := newTestBar(100)
	b.Bytes("copy", 0, 10<<20)
	if got, want := last(out), "copy  [------------------------]    0%  0 B of 10.0 MiB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	before := out.Len()
	b.Bytes("copy", 1<<20, 10<<20)
	if out.Len() != before {
		t.Error("it is drawn more often than it may cost")
	}
	c.now = c.now.Add(2 * time.Second)
	b.Bytes("copy", 5<<20, 10<<20)
	if got, want := last(out), "copy  [############------------]   50%  5.0 MiB of 10.0 MiB  2.5 MiB/s"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	b.Bytes("copy", 11<<20, 10<<20) // more than was said: the end, at once
	if got := last(out); !strings.Contains(got, "100%  10.0 MiB of 10.0 MiB") {
		t.Errorf("%q", got)
	}
	before = out.Len()
	b.Bytes("copy", 11<<20, 10<<20)
	if out.Len() != before {
		t.Error("the end is drawn again and again")
	}
	b.Show("next", -1, "nobody knows how long") // at once: it is other work
	if got := last(out); got != "next  nobody knows how long" {
		t.Errorf("%q", got)
	}
	if _, err := b.Write([]byte("a line\n")); err != nil || !strings.HasSuffix(out.String(), "\r\x1b[Ka line\n\r\x1b[Knext  nobody knows how long") {
		t.Errorf("%v, %q", err, out)
	}
	b.Clear()
	if last(out) != "" {
		t.Errorf("%q is left", last(out))
	}
	b.Write([]byte("another\n")) //nolint:errcheck // a buffer takes all
	if !strings.HasSuffix(out.String(), "\x1b[Kanother\n") {
		t.Errorf("%q", out)
	}
}

// A line that fills the terminal would make a new one with each drawing.
func TestBarFitsTerminal(t *testing.T) {
	for width := 1; width < 120; width++ {
		b, out, _ := newTestBar(width)
		b.Bytes("snapshot of the leader", 5<<40, 10<<40)
		if n := len(last(out)); n >= width {
			t.Fatalf("%d characters on %d columns: %q", n, width, last(out))
		}
	}
}

func TestNoBar(t *testing.T) {
	var b *Bar
	b.Bytes("x", 1, 2)
	b.Show("x", 1, "")
	b.Clear()
}
