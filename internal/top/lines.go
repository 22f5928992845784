package top

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/syncsh/syncsh/internal/tty"
)

// Layout is what there is to show a View on.
type Layout struct {
	Height  int // 0: as many lines as it takes
	Width   int // 0: as long as they are
	Colours bool
	Note    string // the last line, on a screen
	Error   string // why there is no newer picture
}

// cell of a table.
type cell struct {
	text   string
	colour string
	right  bool
}

// Lines are the picture, one text a line.
func (v *View) Lines(l Layout) []string {
	lines := v.head(&l)
	tables := [][]string{
		l.table(v.nodeRows()),
		l.table(v.callRows()),
		l.table(sampleRows("SLOWEST OF THE LAST MINUTE", v.Slowest, false)),
		l.table(sampleRows("FAILED LAST", v.Failed, true)),
	}
	if l.Height > 0 {
		room := l.Height - len(lines)
		if l.Note != "" {
			room--
		}
		share(tables, room)
	}
	for _, t := range tables {
		if len(t) > 0 {
			lines = append(append(lines, ""), t...)
		}
	}
	if l.Height > 0 {
		if l.Note != "" {
			for len(lines) < l.Height-1 {
				lines = append(lines, "")
			}
			lines = append(lines[:max(l.Height-1, 0)], l.paint(tty.Grey, l.cut(l.Note)))
		}
		lines = lines[:min(len(lines), l.Height)]
	}
	return lines
}

// tableLinesMin is the least that is left of a table: its blank line, its heading
// and one row. What can't have that is left out.
const tableLinesMin = 3

// share cuts tables so that all together, with a blank line before each, have
// room: first each gets the least, then each half of what is left, nodes before
// calls before single calls, and then what is still there.
func share(tables [][]string, room int) {
	given := make([]int, len(tables))
	give := func(i, most int) {
		n := min(len(tables[i])+1-given[i], most)
		given[i] += n
		room -= n
	}
	for i := range tables {
		if len(tables[i]) > 0 && room >= tableLinesMin {
			give(i, tableLinesMin)
		}
	}
	for _, part := range []int{2, 1} {
		for i := range tables {
			if given[i] > 0 {
				give(i, room/part)
			}
		}
	}
	for i := range tables {
		tables[i] = tables[i][:max(given[i]-1, 0)]
	}
}

// head are the lines about the cluster.
func (v *View) head(l *Layout) []string {
	health := cell{text: "healthy", colour: tty.Green}
	if !v.Healthy {
		health = cell{text: "NOT HEALTHY", colour: tty.Red}
	}
	leader := cell{text: "leader " + v.Leader, colour: tty.Bold}
	if v.Leader == "" {
		leader = cell{text: "no leader", colour: tty.Red}
	}
	cluster := v.Cluster
	if cluster == "" {
		cluster = "not founded yet"
	}
	first := []cell{health, {text: ": "}, leader,
		{text: fmt.Sprintf(", term %d, voters %d, failures tolerated %d", v.Term, v.Voters, v.Tolerates)}}
	second := []cell{{text: fmt.Sprintf("cluster %.8s, commit %d", cluster, v.Index.Commit)}}
	if v.Cluster == "" {
		second = []cell{{text: "cluster " + cluster}}
	}
	if v.Seconds > 0 {
		second = append(second, cell{text: fmt.Sprintf(", %s calls/s, ", rate(v.CallsPerSecond))}, failing(v.FailedPerSecond, " failed/s"),
			cell{text: fmt.Sprintf(", p50 %s ms, p99 %s ms", millis(v.P50Ms), millis(v.P99Ms))})
	}
	lines := []string{l.line(first), l.line(second)}
	if l.Error != "" {
		lines = append(lines, l.line([]cell{{text: "no answer: " + l.Error, colour: tty.Red}}))
	}
	return lines
}

func failing(perSecond float64, unit string) cell {
	c := cell{text: rate(perSecond) + unit, right: true}
	if perSecond > 0 {
		c.colour = tty.Red
	}
	return c
}

// rate is a number in a second, short: whole from 10 on.
func rate(v float64) string {
	if v == 0 || v >= 10 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

func millis(v *float64) string {
	switch {
	case v == nil:
		return "-"
	case *v >= 100:
		return fmt.Sprintf("%.0f", *v)
	case *v >= 10:
		return fmt.Sprintf("%.1f", *v)
	}
	return fmt.Sprintf("%.2f", *v)
}

func heading(names ...string) []cell {
	row := make([]cell, len(names))
	for i, n := range names {
		text, right := strings.CutPrefix(n, ">")
		row[i] = cell{text, tty.Bold, right}
	}
	return row
}

func number(n uint64) cell { return cell{text: fmt.Sprint(n), right: true} }

// rates are the cells of a Rate; dashes where there is none.
func (v *View) rates(r Rate, known bool) []cell {
	if !known || v.Seconds == 0 {
		dash := cell{text: "-", right: true}
		return []cell{dash, dash, dash, dash}
	}
	return []cell{{text: rate(r.CallsPerSecond), right: true}, failing(r.FailedPerSecond, ""),
		{text: millis(r.P50Ms), right: true}, {text: millis(r.P99Ms), right: true}}
}

func (v *View) nodeRows() [][]cell {
	rows := [][]cell{heading("NODE", "ROLE", ">TERM", ">APPLIED", ">LAG", ">CALLS/S", ">FAILED/S", ">P50 MS", ">P99 MS", "HEALTH")}
	for i, n := range v.Nodes {
		// Two of one name stand beside each other: see shell.WriteStatus.
		name := cell{text: n.Name}
		if i > 0 && v.Nodes[i-1].Name == n.Name || i+1 < len(v.Nodes) && v.Nodes[i+1].Name == n.Name {
			name.text += " " + n.ID
		}
		if n.Role == "leader" {
			name.colour = tty.Bold
		}
		health := cell{text: "ok", colour: tty.Green}
		if n.Trouble != "" {
			health = cell{text: n.Trouble, colour: tty.Red}
		}
		if !n.Alive {
			dash := cell{text: "-", right: true}
			row := append([]cell{name, {text: n.Role}, dash, dash, dash}, v.rates(n.Rate, false)...)
			rows = append(rows, append(row, health))
			continue
		}
		lag := number(n.Lag)
		if n.Lag > 0 {
			lag.colour = tty.Yellow
		}
		row := append([]cell{name, {text: n.Role}, number(n.Term), number(n.Applied), lag}, v.rates(n.Rate, n.Counts)...)
		rows = append(rows, append(row, health))
	}
	return rows
}

func (v *View) callRows() [][]cell {
	rows := [][]cell{heading("OBJECT", "METHOD", ">CALLS/S", ">FAILED/S", ">P50 MS", ">P99 MS", ">CALLS", ">FAILED")}
	for _, m := range v.Calls {
		object, method := names(m.Object, m.Method)
		row := append([]cell{{text: object}, {text: method}}, v.rates(m.Rate, true)...)
		rows = append(rows, append(row, number(m.Calls), number(m.Failed)))
	}
	if len(v.Calls) == 0 {
		why := "no calls yet"
		if !slices.ContainsFunc(v.Nodes, func(n Node) bool { return n.Counts }) {
			why = "no node tells of its calls: they are of an older version"
		}
		rows = append(rows, []cell{{text: why, colour: tty.Grey}})
	}
	return rows
}

// names are those of a method as people read them.
func names(object, method string) (string, string) {
	switch {
	case object == "" && method == "":
		return "(others)", ""
	case method == "":
		return object, "(fields)"
	}
	return object, method
}

func sampleRows(title string, samples []Sample, failed bool) [][]cell {
	if len(samples) == 0 {
		return nil
	}
	rows := [][]cell{heading(title, "NODE", ">MS", ">AGO", "ENDED")}
	for _, s := range samples {
		object, method := names(s.Object, s.Method)
		ended := cell{text: s.Code}
		if s.Code != "ok" {
			ended.colour = tty.Red
		}
		if failed && s.Message != "" {
			ended.text += ": " + s.Message
		}
		rows = append(rows, []cell{{text: object + ":" + method}, {text: s.Node}, {text: millis(&s.Ms), right: true},
			{text: fmt.Sprintf("%.0fs", s.SecondsAgo), right: true}, ended})
	}
	return rows
}

// table aligns rows.
func (l *Layout) table(rows [][]cell) (lines []string) {
	var widths []int
	for _, row := range rows {
		for i := range row {
			row[i].text = tty.Clean(row[i].text)
			if i == len(widths) {
				widths = append(widths, 0)
			}
			if len(row) > 1 { // a row of one cell is a sentence
				widths[i] = max(widths[i], utf8.RuneCountInString(row[i].text))
			}
		}
	}
	for _, row := range rows {
		var padded []cell
		for i, c := range row {
			pad := cell{text: strings.Repeat(" ", max(widths[i]-utf8.RuneCountInString(c.text), 0))}
			if i > 0 {
				padded = append(padded, cell{text: "  "})
			}
			if c.right {
				padded = append(padded, pad, c)
			} else if padded = append(padded, c); i < len(row)-1 {
				padded = append(padded, pad)
			}
		}
		lines = append(lines, l.line(padded))
	}
	return lines
}

// line joins cells, and cuts what the terminal has no room for.
func (l *Layout) line(cells []cell) string {
	var b strings.Builder
	left := l.Width
	for _, c := range cells {
		text := tty.Clean(c.text)
		if l.Width > 0 {
			text = tty.Cut(text, left)
			left -= utf8.RuneCountInString(text)
		}
		b.WriteString(l.paint(c.colour, text))
	}
	return strings.TrimRight(b.String(), " ")
}

func (l *Layout) cut(text string) string {
	if l.Width > 0 {
		return tty.Cut(text, l.Width)
	}
	return text
}

func (l *Layout) paint(colour, text string) string {
	if !l.Colours {
		return text
	}
	return tty.Paint(colour, text)
}
