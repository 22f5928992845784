package tty

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"
)

// patience is how long a test waits for what never comes.
const patience = 30 * time.Second

// glass is what a terminal shows.
type glass struct {
	mu   sync.Mutex
	seen bytes.Buffer
	more chan struct{}
}

func look(tty *os.File) *glass {
	g := &glass{more: make(chan struct{}, 1)}
	go func() {
		b := make([]byte, 4096)
		for {
			n, err := tty.Read(b)
			g.mu.Lock()
			g.seen.Write(b[:n])
			g.mu.Unlock()
			select {
			case g.more <- struct{}{}:
			default:
			}
			if err != nil {
				return
			}
		}
	}()
	return g
}

// sees waits for a text at the end of what was shown.
func (g *glass) sees(t *testing.T, text string) {
	t.Helper()
	late := time.After(patience)
	for {
		g.mu.Lock()
		seen := g.seen.String()
		g.mu.Unlock()
		if strings.HasSuffix(seen, text) {
			return
		}
		select {
		case <-g.more:
		case <-late:
			t.Fatalf("want %q at the end of %q", text, seen)
		}
	}
}

func open(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, terminal, err := pty.Open()
	if err != nil {
		t.Skipf("no pseudo-terminal here: %v", err)
	}
	t.Cleanup(func() { terminal.Close(); person.Close() })
	return person, terminal
}

// state are the modes of a terminal.
func state(t *testing.T, f *os.File) *term.State {
	t.Helper()
	s, err := term.GetState(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestScreen(t *testing.T) {
	person, terminal := open(t)
	before := state(t, terminal)
	g := look(person)
	s, err := OpenScreen(terminal, terminal)
	if err != nil {
		t.Fatal(err)
	}
	g.sees(t, enterScreen)
	if reflect.DeepEqual(state(t, terminal), before) {
		t.Error("keys are not passed on one by one")
	}
	if err := s.Draw([]string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	g.sees(t, "\x1b[Hone\x1b[K\r\ntwo\x1b[K\x1b[J")
	if err := pty.Setsize(person, &pty.Winsize{Rows: 7, Cols: 33}); err != nil {
		t.Fatal(err)
	}
	if w, h := s.Size(); w != 33 || h != 7 {
		t.Errorf("%d columns, %d rows", w, h)
	}
	if _, err := person.WriteString("q"); err != nil {
		t.Fatal(err)
	}
	select {
	case key := <-s.Keys():
		if key != 'q' {
			t.Errorf("key %q", key)
		}
	case <-time.After(patience):
		t.Fatal("no key")
	}
	s.Close()
	s.Close()
	g.sees(t, leaveScreen)
	if !reflect.DeepEqual(state(t, terminal), before) {
		t.Error("the terminal is not as it was")
	}
}

// A panic leaves no terminal behind that shows nothing of what is typed: neither
// where the screen is closed nor beside it.
func TestScreenAfterPanic(t *testing.T) {
	for name, panics := range map[string]func(s *Screen){
		"where it is closed": func(s *Screen) {
			defer s.Close()
			panic("here")
		},
		"beside it": func(s *Screen) {
			defer s.CloseOnPanic()
			panic("here")
		},
	} {
		t.Run(name, func(t *testing.T) {
			person, terminal := open(t)
			before := state(t, terminal)
			g := look(person)
			s, err := OpenScreen(terminal, terminal)
			if err != nil {
				t.Fatal(err)
			}
			func() {
				defer func() {
					if p := recover(); p != "here" {
						t.Errorf("the panic is lost: %v", p)
					}
				}()
				panics(s)
			}()
			g.sees(t, leaveScreen)
			if !reflect.DeepEqual(state(t, terminal), before) {
				t.Error("the terminal is not as it was")
			}
		})
	}
}

func TestNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if s, err := OpenScreen(f, f); err == nil {
		t.Errorf("a screen on a file: %v", s)
	}
	if NewBar(f) != nil || Is(f) {
		t.Error("a file is a terminal")
	}
}
