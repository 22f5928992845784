package tty

import (
	"os"
	"os/signal"
	"strings"
	"sync"

	"golang.org/x/term"
)

// The alternate screen, which leaves what stood on the other one as it was,
// without a cursor, and without lines that go on in the next one: what is too
// long is cut by the terminal.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J"
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
)

// Keys of a Screen that have no letter.
const (
	CtrlC = 0x03
	CtrlD = 0x04
)

// Screen is the whole of a terminal. Close gives the terminal back as it was; it
// must be called however the program ends, in a panic too.
type Screen struct {
	in, out *os.File
	state   *term.State
	keys    chan byte
	resized chan os.Signal
	once    sync.Once
}

// OpenScreen takes the screen.
func OpenScreen(in, out *os.File) (*Screen, error) {
	state, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, err
	}
	s := &Screen{in: in, out: out, state: state, keys: make(chan byte, 16), resized: make(chan os.Signal, 1)}
	if _, err := out.WriteString(enterScreen); err != nil {
		s.Close()
		return nil, err
	}
	notifyResize(s.resized)
	go s.read()
	return s, nil
}

// read passes keys on until the input ends. It outlives Close by the read it is
// at: there is no way to end that.
func (s *Screen) read() {
	defer close(s.keys)
	b := make([]byte, 64)
	for {
		n, err := s.in.Read(b)
		for _, key := range b[:n] {
			select {
			case s.keys <- key:
			default: // nobody takes them
			}
		}
		if err != nil {
			return
		}
	}
}

// Keys are the bytes that are typed; closed at the end of the input.
func (s *Screen) Keys() <-chan byte { return s.keys }

// Resized tells that the terminal has another size, where the system does.
func (s *Screen) Resized() <-chan os.Signal { return s.resized }

// Size is that of the terminal, in characters.
func (s *Screen) Size() (width, height int) {
	width, height, err := term.GetSize(int(s.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		return 80, 24
	}
	return width, height
}

// Draw shows lines, from the top, in one write, so that nothing flickers.
func (s *Screen) Draw(lines []string) error {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(line)
		b.WriteString("\x1b[K")
	}
	b.WriteString("\x1b[J")
	_, err := s.out.WriteString(b.String())
	return err
}

// Close gives the terminal back.
func (s *Screen) Close() {
	s.once.Do(func() {
		signal.Stop(s.resized)
		s.out.WriteString(leaveScreen)        //nolint:errcheck // nothing is left to do about it
		term.Restore(int(s.in.Fd()), s.state) //nolint:errcheck // as above
	})
}

// CloseOnPanic is deferred by goroutines beside the one that closes: their panic
// would end the program with the terminal as it is.
func (s *Screen) CloseOnPanic() {
	if p := recover(); p != nil {
		s.Close()
		panic(p)
	}
}
