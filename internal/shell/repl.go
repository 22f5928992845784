package shell

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/chzyer/readline"
	"golang.org/x/term"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/tty"
)

// REPLConfig says how a person, or a pipe, talks to a cluster.
type REPLConfig struct {
	Node    Node
	Timeout time.Duration
	Mode    client.Mode // of reads
	JSON    bool
	Banner  string // printed first on a terminal
	Extra   []DotCommand
	In      *os.File
	Out     io.Writer
	Err     io.Writer
}

// statusPeriod is how often the prompt looks for changes.
const statusPeriod = time.Second

// RunREPL reads conf.In until its end: as a person's input when it is a
// terminal, else as a script.
func RunREPL(ctx context.Context, conf REPLConfig) error {
	if term.IsTerminal(int(conf.In.Fd())) {
		return runTerminal(ctx, conf)
	}
	s := New(Config{Cluster: conf.Node, Timeout: conf.Timeout, Mode: conf.Mode, JSON: conf.JSON, Out: conf.Out, Err: conf.Err})
	defer s.Close()
	c := NewConsole(s, conf.Node, "stdin", conf.Extra)
	return Interruptible(ctx, func(ctx context.Context) error { return RunInput(ctx, c, conf.In) })
}

// terminal is a REPL on a terminal.
type terminal struct {
	conf    REPLConfig
	rl      *readline.Instance
	console *Console
	keys    *typeahead
	prompt  atomic.Pointer[string]
	more    atomic.Bool               // the prompt is that of a further line
	ended   atomic.Pointer[ExitError] // by a signal
	colours bool
}

func runTerminal(ctx context.Context, conf REPLConfig) error {
	t := &terminal{conf: conf, colours: tty.Colours(), keys: &typeahead{ReadCloser: conf.In}}
	t.keys.ran.Store(true)
	t.setPrompt(ctx)
	rl, err := readline.NewEx(&readline.Config{
		Prompt: t.promptText(), HistoryFile: historyFile(), HistoryLimit: 10_000, HistorySearchFold: true,
		DisableAutoSaveHistory: true, AutoComplete: t, Painter: t, FuncFilterInputRune: t.filter,
		InterruptPrompt: "^C", EOFPrompt: "\n", Stdin: t.keys,
	})
	if err != nil {
		return err
	}
	defer rl.Close()
	t.rl = rl
	s := New(Config{Cluster: conf.Node, Timeout: conf.Timeout, Mode: conf.Mode, JSON: conf.JSON, Out: rl.Stdout(), Err: rl.Stderr(), KeepGoing: true,
		Pretty: &Pretty{Width: readline.GetScreenWidth, Height: heightOf(conf.In), Colours: t.colours}})
	defer s.Close()
	t.console = NewConsole(s, conf.Node, "input", conf.Extra)
	defer t.console.stopWatch()
	if conf.Banner != "" {
		fmt.Fprintln(rl.Stdout(), conf.Banner)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go t.follow(ctx)
	told := make(chan os.Signal, 1)
	if signals := endings(); len(signals) > 0 {
		signal.Notify(told, signals...)
	}
	defer signal.Stop(told)
	go func() { // exit() in a timer, or a signal, must not wait for the next key
		select {
		case <-s.Done():
			rl.Close()
		case signal := <-told:
			t.ended.Store(endedBy(signal))
			rl.Close()
		case <-ctx.Done():
		}
	}()
	// Completion knows the objects from the first Tab on.
	if err := s.Refresh(ctx); err != nil {
		fmt.Fprintf(rl.Stderr(), "%v\n", err)
	}
	return t.loop(ctx, s)
}

// heightOf gives the height of a terminal, 0 when it does not tell.
func heightOf(tty *os.File) func() int {
	return func() int {
		_, height, err := term.GetSize(int(tty.Fd()))
		if err != nil {
			return 0
		}
		return height
	}
}

// Do completes; it is asked before the console exists.
func (t *terminal) Do(line []rune, pos int) ([][]rune, int) {
	if t.console == nil {
		return nil, 0
	}
	return t.console.Do(line, pos)
}

// filter sees each key before readline does. Ctrl-C clears the line at once:
// readline alone would only close an open list of completions or a search.
func (t *terminal) filter(key rune) (rune, bool) {
	if t.rl != nil && key == readline.CharInterrupt {
		if t.rl.Operation.IsInCompleteMode() {
			t.rl.Operation.ExitCompleteMode(true)
		}
		if t.rl.Operation.IsSearchMode() {
			t.rl.Operation.ExitSearchMode(true)
		}
	}
	return key, true
}

// remember puts a line into the history, without its secrets.
func (t *terminal) remember(line string) {
	// Without the empty line first readline would store a line that was recalled
	// and changed as it was typed, not as it is given here.
	t.rl.SaveHistory("")                //nolint:errcheck // stores nothing
	t.rl.SaveHistory(maskSecrets(line)) //nolint:errcheck // a history that can't be written must not end the work
}

func (t *terminal) loop(ctx context.Context, s *Session) error {
	// At the prompt Ctrl-C is a key. Before the prompt is there, and when nothing
	// runs any more, it is a signal that would end the process.
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	for {
		if interrupted(interrupts) {
			t.forget()
		}
		t.rl.SetPrompt(t.promptText())
		line, err := t.rl.Readline()
		interrupted(interrupts) // one that came before Enter is not for what runs now
		switch ended := t.ended.Load(); {
		case ended != nil:
			return ended
		case s.Err() != nil:
			return s.Err()
		case errors.Is(err, readline.ErrInterrupt):
			t.forget()
			continue
		case err != nil: // io.EOF: Ctrl-D, or the terminal is gone
			return nil
		}
		t.remember(line)
		t.keys.ran.Store(true)
		var more bool
		err = Interruptible(ctx, func(ctx context.Context) (err error) {
			more, err = t.console.Line(ctx, line)
			return err
		})
		t.more.Store(more)
		var exit *ExitError
		switch {
		case errors.Is(err, errQuit):
			return nil
		case s.Err() != nil:
			return s.Err()
		case errors.As(err, &exit): // a signal ended it
			return exit
		case err != nil:
			t.report(err)
		}
	}
}

// forget gives up the chunk of which the first lines were typed.
func (t *terminal) forget() {
	t.console.reset()
	t.more.Store(false)
}

// interrupted tells whether there was an interrupt that nobody has seen.
func interrupted(interrupts <-chan os.Signal) bool {
	select {
	case <-interrupts:
		return true
	default:
		return false
	}
}

// report says what went wrong and, where it is known, shows the place.
func (t *terminal) report(err error) {
	text := harmlessLines(ErrorText(err, t.console.Session.json.Load()))
	var failed *command.Error
	if errors.As(err, &failed) && failed.Code == command.CodeScript { // others may have deployed
		ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
		t.console.Session.Refresh(ctx) //nolint:errcheck // what is known already is shown then
		cancel()
	}
	place := placeOf(err, t.console.source, t.console.Session.Description())
	if t.colours {
		text = paint(colourError, text)
	}
	if place != "" {
		text += "\n" + place
	}
	text += TracebackLines(err)
	if advice := t.console.advice(err); advice != "" {
		text += "\n" + advice
	}
	fmt.Fprintln(t.rl.Stderr(), text)
}

// follow keeps the prompt true: node, role and term may change at any time. That
// the node was lost, and that there is one again, is said once.
func (t *terminal) follow(ctx context.Context) {
	tick := time.NewTicker(statusPeriod)
	defer tick.Stop()
	lost, leaderless := false, false
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		before := t.promptText()
		st, err := t.setPrompt(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !lost {
			fmt.Fprintf(t.rl.Stderr(), "connection lost: %v\n", err)
		}
		if err == nil && lost {
			fmt.Fprintln(t.rl.Stderr(), "connected again")
		}
		lost = err != nil
		if st != nil && leaderless != (st.Leader == "") {
			if leaderless = st.Leader == ""; leaderless {
				fmt.Fprintf(t.rl.Stderr(), "no leader: %s waits for one\n", st.Name)
			} else {
				fmt.Fprintf(t.rl.Stderr(), "%s leads, term %d\n", st.Leader, st.Term)
			}
		}
		if after := t.promptText(); after != before {
			t.rl.SetPrompt(after)
			t.rl.Refresh()
		}
	}
}

func (t *terminal) setPrompt(ctx context.Context) (*client.NodeStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, statusPeriod)
	defer cancel()
	st, err := t.conf.Node.NodeStatus(ctx)
	text := Prompt(st)
	t.prompt.Store(&text)
	return st, err
}

func (t *terminal) promptText() string {
	text := *t.prompt.Load()
	if t.more.Load() {
		return strings.Repeat(" ", max(len(text)-4, 0)) + "... "
	}
	return text
}

// Prompt names the node that the REPL talks to; nil is none.
func Prompt(st *client.NodeStatus) string {
	if st == nil {
		return "syncsh (no node)> "
	}
	return fmt.Sprintf("syncsh %s %s t%d> ", st.Name, st.Role, st.Term)
}

// historyFile is where inputs are kept; empty when there is no place for it.
func historyFile() string {
	dir := os.Getenv("XDG_STATE_HOME")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(home, ".local", "state")
	}
	dir = filepath.Join(dir, "syncsh")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return ""
	}
	file := filepath.Join(dir, "history")
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return ""
	}
	f.Close()
	return file
}
