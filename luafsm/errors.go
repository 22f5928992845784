package luafsm

import (
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// message is the code and text of an error that nothing caught.
func (x *exec) message(r *raised) (command.Code, string) {
	if r.fatal != nil {
		text := r.fatal.text
		if x.trace != "" {
			at, _, _ := cutTrace(x.trace)
			text = at + text
		}
		return r.fatal.code, text
	}
	return command.CodeScript, x.errorText(r.value)
}

// cutTrace splits "script:line: in function" after the position.
func cutTrace(trace string) (at, rest string, ok bool) {
	colons := 0
	for i := range len(trace) {
		if trace[i] == ':' {
			if colons++; colons == 2 {
				return trace[:i] + ": ", trace[i:], true
			}
		}
		if trace[i] == '\n' {
			break
		}
	}
	return "", trace, false
}

// shown is a name or key of a script as errors show it: they are made without a
// charge.
func shown(s string) string {
	if len(s) <= nameBytesMax {
		return s
	}
	return s[:nameBytesMax] + "..."
}

// errorText is the message of an error value.
func (x *exec) errorText(v lua.LValue) string {
	var s string
	switch v := v.(type) {
	case lua.LString:
		s = string(v)
	case lua.LNumber:
		s = lib.FormatNumber(float64(v))
	default:
		s = "(error object is a " + typeName(v) + " value)"
		if t, ok := state.TableOf(v); ok {
			for _, k := range []string{"message", "code"} {
				if m, ok := t.GetString(x.view, k).(lua.LString); ok {
					s = string(m)
					break
				}
			}
		}
	}
	return s[:min(len(s), messageTextMax)]
}

// appendError appends the result of a call that raised r. The value given to
// error() goes with it unless it is just the message, or no data.
func (x *exec) appendError(b []byte, index uint64, r *raised) []byte {
	code, text := x.message(r)
	var value []byte
	if _, isText := r.value.(lua.LString); r.fatal == nil && !isText && r.value != lua.LNil {
		const errorBytesMax = 1 << 20
		lim := state.Limits{Depth: x.limits.nesting, Bytes: min(x.limits.messageBytes, errorBytesMax)}
		if v, err := state.AppendValue(nil, x.view, r.value, lim); err == nil {
			value = v
		}
	}
	return command.AppendError(b, index, code, text, x.trace, value)
}
