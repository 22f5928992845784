package shell

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/syncsh/syncsh/client"
)

// Node is a Cluster that also tells about itself: a client.Client.
type Node interface {
	Cluster
	NodeStatus(ctx context.Context) (*client.NodeStatus, error)
	Status(ctx context.Context) (*client.Status, error)
}

// Console takes lines of input: Lua, whose values are printed, and commands
// that start with a dot.
type Console struct {
	Session *Session
	node    Node
	out     io.Writer
	name    string // of the input in messages
	numbers bool   // messages count lines from the start of the whole input
	dots    []DotCommand
	watch   func() // stops .watch; nil while none goes on

	pending []string // lines of an input that is not complete yet
	line    int      // lines read before pending
	source  string   // the last input, for messages that show a place in it

	refused map[string]string // what .edit left that could not be deployed, by script
}

// errQuit is returned by a line that leaves.
var errQuit = errors.New("quit")

// inputBytesMax bounds one line of input that is not a terminal.
const inputBytesMax = 16 << 20

// NewConsole makes a console; extra dot-commands come before the common ones.
func NewConsole(s *Session, node Node, name string, extra []DotCommand) *Console {
	return &Console{Session: s, node: node, out: s.conf.Out, name: name, refused: map[string]string{}, dots: append(extra[:len(extra):len(extra)], dotCommands...)}
}

// Line takes one line. more says that the input goes on in the next line.
func (c *Console) Line(ctx context.Context, line string) (more bool, err error) {
	if len(c.pending) == 0 {
		trimmed := strings.TrimSpace(line)
		switch {
		case isDot(trimmed):
			c.line++
			return false, c.dot(ctx, trimmed)
		case strings.HasPrefix(trimmed, "??"):
			c.line++
			return false, c.showSource(ctx, strings.TrimSpace(trimmed[2:]))
		case strings.HasPrefix(trimmed, "?"):
			c.line++
			return false, c.help(ctx, strings.TrimSpace(trimmed[1:]))
		case strings.HasPrefix(trimmed, "#!") && c.line == 0:
			line = ""
		}
		if known, err := c.bare(ctx, trimmed); known {
			c.line++
			return false, err
		}
	}
	c.pending = append(c.pending, line)
	at := 1
	if c.numbers {
		at = c.line + 1
	}
	c.source = strings.Join(c.pending, "\n")
	err = c.Session.Input(ctx, c.name, at, c.source)
	if errors.Is(err, ErrIncomplete) {
		return true, nil
	}
	c.reset()
	return false, err
}

// reset forgets an input that is not complete.
func (c *Console) reset() {
	c.line += len(c.pending)
	c.pending = nil
}

func (c *Console) help(ctx context.Context, name string) error {
	if name == "" {
		fmt.Fprint(c.out, helpText)
		return nil
	}
	if err := c.Session.Refresh(ctx); err != nil {
		return err
	}
	text, err := helpFor(c.Session.Description(), name, c.Session.width())
	if err == nil {
		fmt.Fprintln(c.out, text)
	}
	return err
}

// RunInput reads input that is no terminal: each line as the REPL would, but the
// first error ends it. It then waits for asynchronous calls that are open.
func RunInput(ctx context.Context, c *Console, in io.Reader) error {
	c.numbers = true
	defer c.stopWatch()
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), inputBytesMax)
	for lines.Scan() {
		if _, err := c.Line(ctx, strings.TrimPrefix(lines.Text(), "\xef\xbb\xbf")); err != nil {
			var usage *UsageError
			switch {
			case errors.Is(err, errQuit):
				return nil
			case errors.As(err, &usage): // of a dot-command: the script is wrong, not the command line
				return &LuaError{Text: fmt.Sprintf("%s:%d: %s", c.name, c.line, usage.Text)}
			}
			return err
		}
		if err := c.Session.Err(); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	if len(c.pending) > 0 {
		return &LuaError{Text: fmt.Sprintf("%s:%d: the input ends before this statement does", c.name, c.line+1)}
	}
	return c.Session.Drain(ctx, false)
}
