package shell

import "strings"

const (
	columnGap = 2
	// wrapRoomMin is the least width at which the last column stays beside the
	// others; with less it goes on lines of its own.
	wrapRoomMin = 28
	wrapIndent  = "      "
)

// wrapped writes rows in columns, each behind lead. The last column goes on below
// itself when it is too long for a terminal of width columns; 0 is none.
func wrapped(rows [][]string, lead string, width int) string {
	var widths []int
	for _, r := range rows {
		for i, cell := range r[:len(r)-1] {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], textWidth(cell))
		}
	}
	at := textWidth(lead)
	for _, n := range widths {
		at += n + columnGap
	}
	var b strings.Builder
	for _, r := range rows {
		line := lead
		for i, cell := range r[:len(r)-1] {
			line += cell + strings.Repeat(" ", widths[i]-textWidth(cell)+columnGap)
		}
		last := r[len(r)-1]
		switch below := strings.Repeat(" ", at); {
		case width == 0 || at+textWidth(last) <= width:
			b.WriteString(strings.TrimRight(line+last, " ") + "\n")
		case width-at >= wrapRoomMin:
			b.WriteString(line + strings.Join(wrapWords(last, width-at), "\n"+below) + "\n")
		default:
			below = lead + wrapIndent
			b.WriteString(strings.TrimRight(line, " ") + "\n" + below)
			b.WriteString(strings.Join(wrapWords(last, max(width-textWidth(below), wrapRoomMin)), "\n"+below) + "\n")
		}
	}
	return b.String()
}

// wrapWords cuts a text between words into lines of at most width columns; a word
// that is longer stays whole.
func wrapWords(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && textWidth(line)+1+textWidth(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// wrapParagraphs is wrapWords for each paragraph of a text that has a line which is
// too long. A paragraph is indented as its first line.
func wrapParagraphs(text string, width int) string {
	if width == 0 {
		return text
	}
	paragraphs := strings.Split(text, "\n\n")
	for i, p := range paragraphs {
		fits := true
		for line := range strings.Lines(p) {
			fits = fits && textWidth(strings.TrimSuffix(line, "\n")) <= width
		}
		if !fits {
			indent := p[:len(p)-len(strings.TrimLeft(p, " "))]
			paragraphs[i] = indent + strings.Join(wrapWords(p, width-len(indent)), "\n"+indent)
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
