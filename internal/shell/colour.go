package shell

import (
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/tty"
)

// Colours of what is shown on a terminal: parameters of the escape sequence
// that selects one.
const (
	colourKeyword = "35"
	colourString  = "32"
	colourNumber  = "36"
	colourComment = "90"
	colourObject  = "34"
	colourHeading = "1"
	colourError   = "31"
	colourHint    = "90"
)

// paint gives a text a colour, if there is one.
func paint(colour, text string) string { return tty.Paint(colour, text) }

// highlight colours a line of Lua, complete or not; objects are the names that
// the cluster's objects have. Without the colours the text is as it was.
func highlight(line string, objects func(name string) bool) string {
	var b strings.Builder
	for line != "" {
		n, colour := token(line, objects)
		b.WriteString(paint(colour, line[:n]))
		line = line[n:]
	}
	return b.String()
}

// token is the length and the colour of what a line of Lua begins with.
func token(s string, objects func(string) bool) (n int, colour string) {
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return len(s), colourComment
	case c == '"' || c == '\'':
		return quoted(s), colourString
	case strings.HasPrefix(s, "[["):
		if i := strings.Index(s, "]]"); i >= 0 {
			return i + 2, colourString
		}
		return len(s), colourString
	case c >= '0' && c <= '9':
		for n = 1; n < len(s) && (isWord(s[n]) || s[n] == '.' || (s[n] == '-' || s[n] == '+') && (s[n-1] == 'e' || s[n-1] == 'E')); n++ {
		}
		return n, colourNumber
	case isWord(c):
		for n = 1; n < len(s) && isWord(s[n]); n++ {
		}
		switch word := s[:n]; {
		case word == "true" || word == "false" || word == "nil":
			return n, colourNumber
		case luaKeywords[word]:
			return n, colourKeyword
		case objects != nil && objects(word):
			return n, colourObject
		}
		return n, ""
	}
	for n = 1; n < len(s) && s[n] >= 0x80; n++ { // the rest of a character
	}
	return n, ""
}

func isWord(c byte) bool {
	return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// quoted is the length of the string literal that s begins with, to the end if
// it is not closed.
func quoted(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return len(s)
}

// colourOf is the colour of a value that is not a table.
func colourOf(v lua.LValue) string {
	switch v.Type() {
	case lua.LTString:
		return colourString
	case lua.LTNumber, lua.LTBool, lua.LTNil:
		return colourNumber
	}
	return ""
}
