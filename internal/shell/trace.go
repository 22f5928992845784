package shell

import (
	"errors"
	"regexp"
	"strings"

	"github.com/syncsh/syncsh/internal/command"
)

// traceLinesMax bounds the lines of a traceback that are shown.
const traceLinesMax = 20

// TracedError is the error of a call that client code made, and where it did.
type TracedError struct {
	Err       error
	Traceback string
}

func (e *TracedError) Error() string { return e.Err.Error() }
func (e *TracedError) Unwrap() error { return e.Err }

// traceLine is a line of gopher-lua's traceback that is one of Lua code.
var traceLine = regexp.MustCompile(`^\t([^\[\s][^:]*):(\d+): in (.*)$`)

// luaTrace is what a traceback says of people's code, innermost first, a line
// each: the functions of Go are left out, and the line that was typed.
func luaTrace(stack string) string {
	var out []string
	for _, line := range strings.Split(stack, "\n") {
		m := traceLine.FindStringSubmatch(line)
		if m == nil || m[3] == "main chunk" && typed[m[1]] {
			continue
		}
		if out = append(out, m[1]+":"+m[2]+": in "+m[3]); len(out) == traceLinesMax {
			break
		}
	}
	return strings.Join(out, "\n")
}

// typed are the names of chunks that are no files.
var typed = map[string]bool{"input": true, "stdin": true, "eval": true, "watch": true}

// Traceback says by which functions an error came about, a line each; empty when
// the error's own text says as much.
func Traceback(err error) string {
	var l *LuaError
	if errors.As(err, &l) {
		if line, _, more := strings.Cut(l.Traceback, "\n"); !more {
			if at, _, _ := strings.Cut(line, " in "); strings.Contains(l.Text, at) {
				return ""
			}
		}
		return l.Traceback
	}
	var t *TracedError
	if !errors.As(err, &t) || t.Traceback == "" {
		return ""
	}
	var call *command.Error
	if errors.As(err, &call) && call.Traceback != "" { // by which methods in the cluster
		return call.Traceback + "\n" + t.Traceback
	}
	return t.Traceback
}

// TracebackLines is Traceback as it follows an error's text, each line on its own
// and indented.
func TracebackLines(err error) string {
	text := Traceback(err)
	if text == "" {
		return ""
	}
	return "\n  " + strings.ReplaceAll(harmlessLines(text), "\n", "\n  ")
}
