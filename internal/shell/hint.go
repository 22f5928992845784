package shell

import (
	"fmt"
	"strings"

	"github.com/chzyer/readline"

	"github.com/syncsh/syncsh/internal/command"
)

// Paint colours the line that is typed and puts the hint below it; readline
// redraws with what it returns, and removes what is below the line before that.
func (t *terminal) Paint(line []rune, pos int) []rune {
	if t.console == nil || t.rl == nil {
		return line // not ready yet
	}
	text, end := strings.CutSuffix(string(line), "\n")
	d := t.console.Session.Description()
	out := text
	if t.colours && !strings.HasPrefix(strings.TrimSpace(text), ".") {
		out = highlight(text, func(name string) bool { _, ok := object(d, name); return ok })
	}
	if end { // the line is done: it keeps its colours and loses its hint
		return []rune(out + "\n")
	}
	hint := hintFor(d, t.console.dots, string(line[:pos]))
	width := readline.GetScreenWidth()
	column := textWidth(t.promptText()) + textWidth(text)
	// At the right edge the terminal has not decided yet on which line the cursor is.
	if hint == "" || width <= 0 || column%width == 0 {
		return []rune(out)
	}
	hint = clipColumns(hint, width-1)
	if t.colours {
		hint = paint(colourHint, hint)
	}
	return []rune(fmt.Sprintf("%s\r\n%s\x1b[A\r\x1b[%dC", out, hint, column%width))
}

// clipColumns cuts a text to so many columns of a terminal.
func clipColumns(text string, columns int) string {
	n := 0
	for i, r := range text {
		if n += (readline.Runes{}).Width(r); n > columns {
			return text[:i]
		}
	}
	return text
}

// hintFor says what fits at the end of an unfinished input: the signature of the
// innermost open call and what it does, or the arguments of a dot-command.
func hintFor(d *command.Description, dots []DotCommand, before string) string {
	if trimmed := strings.TrimLeft(before, " "); isDot(trimmed) {
		name, arg, _ := strings.Cut(trimmed, " ")
		for _, c := range dots {
			if c.Name == name {
				if strings.HasSuffix(c.Args, "CALL") || strings.HasSuffix(c.Args, "EXPR") {
					if hint := hintFor(d, nil, arg); hint != "" {
						return hint
					}
				}
				return strings.TrimSpace(c.Name+" "+c.Args) + "  " + c.Help
			}
		}
		return ""
	}
	name, _, ok := openCall(before)
	if !ok {
		return ""
	}
	object, method, ok := strings.Cut(strings.Replace(name, "."+asyncField+":", ":", 1), ":")
	if !ok {
		return ""
	}
	m, err := FindMethod(d, object, method)
	if err != nil {
		return ""
	}
	first, _, _ := strings.Cut(m.Doc, "\n")
	return strings.TrimSpace(signature(object, m) + "  " + first)
}

// openCall finds the innermost call whose parenthesis is still open at the end
// of a text: the name before it and the number of the argument, from 0.
func openCall(before string) (name string, arg int, ok bool) {
	type open struct {
		name string
		arg  int
	}
	var stack []open
	for rest := before; rest != ""; {
		n, colour := token(rest, nil)
		at := len(before) - len(rest)
		switch {
		case colour == colourComment:
			return "", 0, false
		case colour != "":
		case rest[0] == '(':
			stack = append(stack, open{name: lastName.FindString(before[:at])})
		case rest[0] == '{' || rest[0] == '[':
			stack = append(stack, open{})
		case (rest[0] == ')' || rest[0] == '}' || rest[0] == ']') && len(stack) > 0:
			stack = stack[:len(stack)-1]
		case rest[0] == ',' && len(stack) > 0:
			stack[len(stack)-1].arg++
		}
		rest = rest[n:]
	}
	for i := len(stack) - 1; i >= 0; i-- {
		if stack[i].name != "" {
			return stack[i].name, stack[i].arg, true
		}
	}
	return "", 0, false
}

// parameter is the name of the parameter that an argument at the end of a text
// is for.
func parameter(d *command.Description, before string) (string, bool) {
	name, arg, ok := openCall(before)
	if !ok {
		return "", false
	}
	object, method, _ := strings.Cut(strings.Replace(name, "."+asyncField+":", ":", 1), ":")
	m, err := FindMethod(d, object, method)
	if err != nil || arg >= len(m.Params) || m.Params[arg] == "..." {
		return "", false
	}
	return m.Params[arg], true
}
