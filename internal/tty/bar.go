package tty

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// barPause is how long a bar stays as it is at least: drawing it must cost
	// nothing beside the work.
	barPause = 100 * time.Millisecond
	// barCells is how long a bar is; a terminal with less than barColumns columns
	// gets the figures alone.
	barCells   = 24
	barColumns = 72
)

// Bar shows how far long work is, on the line of the cursor. A nil Bar shows
// nothing. It may be used by several goroutines.
type Bar struct {
	mu    sync.Mutex
	out   io.Writer
	width func() int
	now   func() time.Time
	line  string    // as it stands; empty: none does
	drawn time.Time // when
	full  bool      // it is at its end
	// The rate of Bytes is that since what came first.
	what  string
	from  uint64
	began time.Time
}

// NewBar returns a bar on a file, nil if that is no terminal.
func NewBar(f *os.File) *Bar {
	if !Is(f) || os.Getenv("TERM") == "dumb" {
		return nil
	}
	return &Bar{out: f, now: time.Now, width: func() int {
		w, _, err := term.GetSize(int(f.Fd()))
		if err != nil || w <= 0 {
			return barColumns
		}
		return w
	}}
}

// Bytes shows that done of total bytes of some work are done; 0: nobody knows
// how many there are.
func (b *Bar) Bytes(what string, done, total uint64) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	if what != b.what || done < b.from {
		b.what, b.from, b.began, b.drawn = what, done, now, time.Time{}
	}
	text := size(done)
	share := -1.0
	if total > 0 {
		done = min(done, total)
		share = float64(done) / float64(total)
		text = fmt.Sprintf("%s of %s", size(done), size(total))
	}
	if took := now.Sub(b.began); took >= barPause {
		text += fmt.Sprintf("  %s/s", size(uint64(float64(done-min(b.from, done))/took.Seconds())))
	}
	b.show(now, what, share, text)
}

// Show shows a share from 0 to 1 of some work, below 0 if it is not known, and a
// text.
func (b *Bar) Show(what string, share float64, text string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if what != b.what {
		b.what, b.drawn = what, time.Time{}
	}
	b.show(b.now(), what, share, text)
}

// show draws the line, the first time, at the end, and every barPause. The
// caller holds mu.
func (b *Bar) show(now time.Time, what string, share float64, text string) {
	if now.Sub(b.drawn) < barPause && (share < 1 || b.full) {
		return
	}
	b.drawn, b.full = now, share >= 1
	width := b.width()
	line := what + "  "
	if share >= 0 {
		if width >= barColumns {
			full := int(share * barCells)
			line += "[" + strings.Repeat("#", full) + strings.Repeat("-", barCells-full) + "]  "
		}
		line += fmt.Sprintf("%3d%%  ", int(share*100))
	}
	b.line = Cut(Clean(line+text), width-1) // a full line would wrap
	b.draw()
}

// The line of the cursor is written anew, so nothing else is moved.
func (b *Bar) draw() { io.WriteString(b.out, "\r\x1b[K"+b.line) } //nolint:errcheck // a bar is no result

// Write writes lines above the bar.
func (b *Bar) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line != "" {
		io.WriteString(b.out, "\r\x1b[K") //nolint:errcheck // as in draw
	}
	n, err := b.out.Write(p)
	if b.line != "" {
		b.draw()
	}
	return n, err
}

// Clear takes the bar away.
func (b *Bar) Clear() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.line != "" {
		io.WriteString(b.out, "\r\x1b[K") //nolint:errcheck // as in draw
	}
	b.line, b.what, b.full = "", "", false
}

// size is a number of bytes for people.
func size(n uint64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	v, unit := float64(n)/(1<<10), 0
	for v >= 1<<10 && unit < 3 {
		v, unit = v/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %ciB", v, "KMGT"[unit])
}
