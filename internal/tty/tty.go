// Package tty is what commands need of a terminal beside the line editor:
// colours, a bar that shows how far long work is, and the whole screen.
package tty

import (
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// Parameters of the escape sequence that selects a colour.
const (
	Bold   = "1"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Grey   = "90"
)

// Colours follows no-color.org: NO_COLOR, whatever it is set to unless empty,
// turns colours off, and so does a terminal that can't show them.
func Colours() bool { return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" }

// Paint gives a text a colour, if there is one.
func Paint(colour, text string) string {
	if colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Is tells whether a file is a terminal.
func Is(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Clean replaces what a terminal would obey or could not show, so that a text of
// somebody else stays on its line.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r == utf8.RuneError || !unicode.IsPrint(r):
			return '?'
		}
		return r
	}, text)
}

// Cut shortens a text without escape sequences to so many characters.
func Cut(text string, width int) string {
	if width <= 0 {
		return ""
	}
	for i := range text {
		if width == 0 {
			return text[:i]
		}
		width--
	}
	return text
}
