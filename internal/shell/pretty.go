package shell

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chzyer/readline"
	lua "github.com/yuin/gopher-lua"
)

// Pretty says how results are shown to a person: nested tables over several
// lines, tables of records as columns. Without it each value takes one line.
type Pretty struct {
	Width   func() int // of the terminal in columns
	Height  func() int // in lines; nil: not known
	Colours bool
}

const (
	// prettyLinesMax bounds the lines that a value takes; more would only push
	// what was typed off the screen.
	prettyLinesMax = 60
	// prettyTextMax bounds the bytes shown of one string.
	prettyTextMax = 2000
	// recordColumnsMax bounds the columns of a table of records; one with more is
	// shown nested.
	recordColumnsMax = 12
	// widthDefault is the width of a terminal that does not tell its own.
	widthDefault = 80
)

// cutText is the last line of a value that was cut.
const cutText = "... (cut here; .all shows all of it)"

// printer writes values for a person. Invariant: it writes at most max lines, 0
// standing for no bound, and does no work for those beyond.
type printer struct {
	width   int
	max     int
	textMax int // bytes of a string, 0: all
	colours bool
	lines   []string
	cut     bool // something was left out
}

// results shows the results of an input; all shows them uncut.
func (p *Pretty) results(values []lua.LValue, all bool) []string {
	w := printer{width: p.width(), max: prettyLinesMax, textMax: prettyTextMax, colours: p.Colours}
	if all {
		w.max, w.textMax = 0, 0
	}
	if len(values) == 1 {
		if s, ok := values[0].(lua.LString); ok {
			w.text(string(s))
			return w.end()
		}
	}
	for _, v := range values {
		w.value("", v, "", 0, nil)
	}
	return w.end()
}

func (w *printer) end() []string {
	if w.cut {
		w.lines = append(w.lines, w.paint(colourHint, cutText))
	}
	return w.lines
}

func (w *printer) full() bool {
	if w.max > 0 && len(w.lines) >= w.max {
		w.cut = true
		return true
	}
	return false
}

func (w *printer) line(text string) {
	if !w.full() {
		w.lines = append(w.lines, text)
	}
}

func (w *printer) lua(text string) string {
	if w.colours {
		return highlight(text, nil)
	}
	return text
}

func (w *printer) paint(colour, text string) string {
	if w.colours {
		return paint(colour, text)
	}
	return text
}

// text shows a single string as it is.
func (w *printer) text(s string) {
	if w.textMax > 0 && len(s) > w.textMax {
		s, w.cut = clipText(s, w.textMax), true
	}
	for _, line := range strings.Split(s, "\n") {
		w.line(harmless(line))
	}
}

// clipText cuts a text between two characters.
func clipText(s string, bytesMax int) string {
	for bytesMax > 0 && !utf8.RuneStart(s[bytesMax]) {
		bytesMax--
	}
	return s[:bytesMax]
}

// harmless writes what would move the cursor or change the terminal as a number:
// a value may have come from anybody.
func harmless(s string) string {
	if !strings.ContainsFunc(s, func(r rune) bool { return r == utf8.RuneError || unicode.IsControl(r) && r != '\t' }) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n <= 1 || unicode.IsControl(r) && r != '\t' {
			for _, c := range []byte(s[:n]) {
				fmt.Fprintf(&b, `\%03d`, c)
			}
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// value shows a value behind lead and before trail, on one line where it fits.
func (w *printer) value(lead string, v lua.LValue, trail string, depth int, outer []*lua.LTable) {
	if w.full() {
		return
	}
	indent := strings.Repeat("  ", depth)
	t, ok := v.(*lua.LTable)
	if !ok {
		w.line(indent + w.lua(lead+w.scalar(v)+trail))
		return
	}
	room := w.width - textWidth(indent+lead+trail)
	if depth == 0 && w.records(t) {
		return
	}
	if flat, ok := w.flat(t, room, outer); ok {
		w.line(indent + w.lua(lead+flat+trail))
		return
	}
	w.line(indent + w.lua(lead+"{"))
	w.fields(t, depth+1, append(outer, t))
	w.line(indent + "}" + trail)
}

// fields shows what is in a table, one field after the other.
func (w *printer) fields(t *lua.LTable, depth int, outer []*lua.LTable) {
	n, keys := tableKeys(t)
	for i := 1; i <= n && !w.full(); i++ {
		w.value("", t.RawGetInt(i), ",", depth, outer)
	}
	for _, k := range keys {
		if w.full() {
			return
		}
		w.value(keyText(k)+" = ", t.RawGet(k), ",", depth, outer)
	}
}

func keyText(k lua.LValue) string {
	if s, ok := k.(lua.LString); ok && isName(string(s)) {
		return string(s)
	}
	return "[" + harmless(Format(k)) + "]"
}

func (w *printer) scalar(v lua.LValue) string {
	s, ok := v.(lua.LString)
	if !ok {
		return Format(v)
	}
	if w.textMax > 0 && len(s) > w.textMax {
		w.cut = true
		return harmless(quote(clipText(string(s), w.textMax))) + "..."
	}
	return harmless(quote(string(s)))
}

// flat is a table on one line of at most room columns.
func (w *printer) flat(t *lua.LTable, room int, outer []*lua.LTable) (string, bool) {
	if slices.Contains(outer, t) || len(outer) >= depthMax {
		return "{...}", true // inside itself
	}
	// Each field takes three columns or more: long tables need no other look.
	const fieldColumns = 3
	if t.Len()*fieldColumns > max(room, fieldColumns) {
		return "", false
	}
	outer = append(outer, t)
	n, keys := tableKeys(t)
	var b strings.Builder
	b.WriteByte('{')
	add := func(lead string, v lua.LValue) bool {
		if b.Len() > 1 {
			b.WriteString(", ")
		}
		b.WriteString(lead)
		inner, ok := v.(*lua.LTable)
		if !ok {
			if s, ok := v.(lua.LString); ok && len(s) > max(room, 0)*utf8.UTFMax {
				return false
			}
			b.WriteString(w.scalar(v))
			return textWidth(b.String()) < room
		}
		text, ok := w.flat(inner, room-textWidth(b.String()), outer)
		b.WriteString(text)
		return ok && textWidth(b.String()) < room
	}
	for i := 1; i <= n; i++ {
		if !add("", t.RawGetInt(i)) {
			return "", false
		}
	}
	for _, k := range keys {
		if !add(keyText(k)+" = ", t.RawGet(k)) {
			return "", false
		}
	}
	b.WriteByte('}')
	return b.String(), true
}

// cell is one value of a table of records.
type cell struct {
	text, colour string
	right        bool
}

// records shows a table whose values are all records, tables of named scalars,
// as columns: the key first where the keys are not 1..n.
func (w *printer) records(t *lua.LTable) bool {
	n, keys := tableKeys(t)
	if n+len(keys) < 2 || n > 0 && len(keys) > 0 {
		return false
	}
	names, ok := recordNames(t)
	if !ok {
		return false
	}
	head := make([]cell, 0, len(names)+1)
	if n == 0 {
		head = append(head, cell{text: "KEY"})
	}
	for _, name := range names {
		head = append(head, cell{text: name})
	}
	rows := [][]cell{head}
	row := func(key, record lua.LValue) {
		var cells []cell
		if n == 0 {
			cells = append(cells, w.cell(key))
		}
		for _, name := range names {
			cells = append(cells, w.cell(record.(*lua.LTable).RawGetString(name)))
		}
		rows = append(rows, cells)
	}
	// One row too many says that some were left out.
	enough := func() bool { return w.max > 0 && len(rows) > w.max-len(w.lines) }
	for i := 1; i <= n && !enough(); i++ {
		row(lua.LNumber(i), t.RawGetInt(i))
	}
	for _, k := range keys {
		if enough() {
			break
		}
		row(k, t.RawGet(k))
	}
	return w.columns(rows)
}

// recordNames are the names of the columns of a table of records.
func recordNames(t *lua.LTable) (names []string, ok bool) {
	ok = true
	seen := map[string]bool{}
	t.ForEach(func(_, v lua.LValue) {
		record, isTable := v.(*lua.LTable)
		if !ok || !isTable {
			ok = false
			return
		}
		fields := 0
		record.ForEach(func(k, v lua.LValue) {
			name, isName := k.(lua.LString)
			if !ok || !isName || v.Type() == lua.LTTable || len(seen) > recordColumnsMax {
				ok = false
				return
			}
			seen[string(name)] = true
			fields++
		})
		ok = ok && fields > 0
	})
	if !ok || len(seen) > recordColumnsMax {
		return nil, false
	}
	for name := range seen {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, true
}

func (w *printer) cell(v lua.LValue) cell {
	switch v := v.(type) {
	case *lua.LNilType:
		return cell{}
	case lua.LString:
		// Text that reads as another value, or as nothing, keeps its quotes.
		if s := string(v); s != "" && s == harmless(s) && !strings.ContainsAny(s, "\t\n") && (w.textMax == 0 || len(s) <= w.textMax) &&
			s != "true" && s != "false" && !strings.ContainsAny(s[:1], "0123456789.-\" ") {
			return cell{text: s, colour: colourString}
		}
	}
	return cell{text: w.scalar(v), colour: colourOf(v), right: v.Type() == lua.LTNumber}
}

// columns writes aligned rows, the first as a heading, unless they are wider
// than the terminal.
func (w *printer) columns(rows [][]cell) bool {
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, c := range r {
			widths[i] = max(widths[i], textWidth(c.text))
		}
	}
	const gap = 2
	total := 0
	for i, n := range widths {
		total += n
		if i > 0 {
			total += gap
		}
		for _, r := range rows[1:] { // headings stand as their columns do
			rows[0][i].right = rows[0][i].right || r[i].right
		}
	}
	if total > w.width {
		return false
	}
	for at, r := range rows {
		if at == 0 {
			for i := range r {
				r[i].colour = colourHeading
			}
		}
		var b strings.Builder
		for i, c := range r {
			pad := strings.Repeat(" ", widths[i]-textWidth(c.text))
			switch {
			case c.right:
				b.WriteString(pad + w.paint(c.colour, c.text))
			case i == len(r)-1:
				b.WriteString(w.paint(c.colour, c.text))
			default:
				b.WriteString(w.paint(c.colour, c.text) + pad)
			}
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", gap))
			}
		}
		w.line(strings.TrimRight(b.String(), " "))
	}
	return true
}

// textWidth is the number of columns that a text takes.
func textWidth(s string) int { return readline.Runes{}.WidthAll([]rune(s)) }
