package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// patience bounds how long a step may take.
const patience = time.Minute

// terminal is a command and what it shows.
type terminal struct {
	title string
	tty   *os.File
	emu   *vt.SafeEmulator

	mu   sync.Mutex
	cond *sync.Cond
	err  error // why there is no more
}

func newTerminal(cmd *exec.Cmd, title string, columns, rows int) (*terminal, error) {
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: uint16(rows), Cols: uint16(columns)})
	if err != nil {
		return nil, err
	}
	t := &terminal{title: title, tty: tty, emu: vt.NewSafeEmulator(columns, rows)}
	t.cond = sync.NewCond(&t.mu)
	go io.Copy(tty, t.emu) //nolint:errcheck // answers to questions about the terminal
	go t.show()
	return t, nil
}

// show passes what the command writes on to the emulator.
func (t *terminal) show() {
	b := make([]byte, 4096)
	for {
		n, err := t.tty.Read(b)
		t.emu.Write(b[:n]) //nolint:errcheck // it takes all
		t.mu.Lock()
		t.err = err
		t.mu.Unlock()
		t.cond.Broadcast()
		if err != nil {
			return
		}
	}
}

// does types keys and waits until the terminal shows a text; lines of the screen
// are compared without blanks at their ends.
func (t *terminal) does(keys, see string) error {
	if _, err := t.tty.WriteString(keys); err != nil {
		return err
	}
	timer := time.AfterFunc(patience, func() {
		t.mu.Lock()
		t.err = fmt.Errorf("nothing within %v", patience)
		t.mu.Unlock()
		t.cond.Broadcast()
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !strings.Contains(t.text(), see) {
		if t.err != nil {
			return fmt.Errorf("waiting for %q: %w; the screen:\n%s", see, t.err, t.text())
		}
		t.cond.Wait()
	}
	return nil
}

// text is what the screen shows.
func (t *terminal) text() string {
	var b strings.Builder
	for y := range t.emu.Height() {
		var line strings.Builder
		for x := range t.emu.Width() {
			if c := t.emu.CellAt(x, y); c != nil && c.Content != "" {
				line.WriteString(c.Content)
			} else {
				line.WriteByte(' ')
			}
		}
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return b.String()
}
