package main

import (
	"encoding/xml"
	"fmt"
	"image/color"
	"os"
	"strings"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/ansi"
)

// Measures of a picture, in pixels.
const (
	cellWidth  = 8.4
	cellHeight = 18
	fontSize   = 14
	margin     = 14
	titleBar   = 30
)

const (
	background = "#1d2021"
	foreground = "#d5d0c4"
	frame      = "#32302f"
	titleText  = "#a89984"
)

// palette has the sixteen colours that programs name by number.
var palette = [16]string{
	"#3c3836", "#f2594b", "#b0b846", "#e9b143", "#80aa9e", "#d3869b", "#8bba7f", "#d5d0c4",
	"#928374", "#f2594b", "#b0b846", "#e9b143", "#80aa9e", "#d3869b", "#8bba7f", "#ffffff",
}

// picture writes the screen to a file.
func (t *terminal) picture(file string) error {
	columns, rows := t.emu.Width(), t.lastRow()+1
	width, height := float64(columns)*cellWidth+2*margin, float64(rows*cellHeight+titleBar+2*margin)
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="%s"/>`+"\n", frame)
	fmt.Fprintf(&b, `<path d="M0 %d H%.0f V%.0f a8 8 0 0 1 -8 8 H8 a8 8 0 0 1 -8 -8 Z" fill="%s"/>`+"\n", titleBar, width, height-8, background)
	fmt.Fprintf(&b, `<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="%d">`+"\n", fontSize)
	fmt.Fprintf(&b, `<text x="%.1f" y="20" text-anchor="middle" fill="%s">%s</text>`+"\n", width/2, titleText, escaped(t.title))
	for y := range rows {
		t.row(&b, y)
	}
	if !t.emu.CursorHidden() {
		at := t.emu.CursorPosition()
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s" opacity="0.7"/>`+"\n",
			left(at.X), top(at.Y)+1, cellWidth, cellHeight-2, foreground)
	}
	b.WriteString("</g>\n</svg>\n")
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// lastRow is the last one with anything in it, or the cursor's.
func (t *terminal) lastRow() int {
	lines := strings.Split(strings.TrimRight(t.text(), "\n"), "\n")
	if t.emu.CursorHidden() {
		return len(lines) - 1
	}
	return max(len(lines)-1, t.emu.CursorPosition().Y)
}

func left(x int) float64 { return margin + float64(x)*cellWidth }
func top(y int) int      { return titleBar + margin + y*cellHeight }

// row writes a row as runs of one style. Each run has its length, so that columns
// stay under each other in whatever font there is.
func (t *terminal) row(b *strings.Builder, y int) {
	for x := 0; x < t.emu.Width(); {
		from, style := x, t.style(x, y)
		var text strings.Builder
		for ; x < t.emu.Width(); x++ {
			if now := t.style(x, y); !now.Equal(&style) {
				break
			}
			if c := t.emu.CellAt(x, y); c != nil && c.Content != "" {
				text.WriteString(c.Content)
			} else {
				text.WriteByte(' ')
			}
		}
		span(b, from, y, x-from, text.String(), style)
	}
}

func (t *terminal) style(x, y int) uv.Style {
	if c := t.emu.CellAt(x, y); c != nil {
		return c.Style
	}
	return uv.Style{}
}

func span(b *strings.Builder, x, y, columns int, text string, style uv.Style) {
	fore, back := hex(style.Fg, foreground), hex(style.Bg, "")
	if style.Attrs&uv.AttrReverse != 0 {
		fore, back = hex(style.Bg, background), hex(style.Fg, foreground)
	}
	if back != "" {
		fmt.Fprintf(b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left(x), top(y), float64(columns)*cellWidth, cellHeight, back)
	}
	begin := len(text) - len(strings.TrimLeft(text, " "))
	text = strings.TrimSpace(text)
	if text == "" {
		return
	}
	bold := ""
	if style.Attrs&uv.AttrBold != 0 {
		bold = ` font-weight="bold"`
	}
	fmt.Fprintf(b, `<text xml:space="preserve" x="%.1f" y="%d" textLength="%.1f" fill="%s"%s>%s</text>`+"\n",
		left(x+begin), top(y)+13, float64(ansi.StringWidth(text))*cellWidth, fore, bold, escaped(text))
}

// hex is a colour, or what stands for none.
func hex(c color.Color, none string) string {
	switch c := c.(type) {
	case nil:
		return none
	case ansi.BasicColor:
		return palette[c&15]
	}
	r, g, b, _ := c.RGBA()
	return fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8)
}

func escaped(text string) string {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(text)); err != nil { // a Builder takes all
		panic(err)
	}
	return b.String()
}
