package shell

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/chzyer/readline"
	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/tty"
)

const (
	// watchPeriod is how often .watch, when it is not told, and --watch look.
	watchPeriod = time.Second
	// watchPeriodMin keeps a slip of the pen from loading the cluster.
	watchPeriodMin = 100 * time.Millisecond
	// heightDefault is the height of a terminal that does not tell its own.
	heightDefault = 24
)

var errWatchArgs = &UsageError{".watch needs an expression, such as .watch counter.value or .watch 1s counter.value"}

// dotWatch is .watch [PERIOD] EXPR. On a terminal a period has it redraw in place
// until Ctrl-C; without one, or elsewhere, it prints lines until .stop.
func dotWatch(ctx context.Context, c *Console, arg string) error {
	period, expr := watchPeriod, arg
	first, rest, _ := strings.Cut(arg, " ")
	given, err := time.ParseDuration(first)
	redraw := err == nil
	if redraw {
		period, expr = given, strings.TrimSpace(rest)
	}
	switch {
	case expr == "":
		return errWatchArgs
	case period < watchPeriodMin:
		return &UsageError{fmt.Sprintf(".watch %v: the shortest period is %v", period, watchPeriodMin)}
	}
	c.stopWatch()
	proto, err := compileInput(expr, "watch", 1)
	if err != nil {
		return err
	}
	value := func(ctx context.Context) (out []lua.LValue, err error) {
		err = c.Session.do(ctx, func(t *task) error {
			values, err := c.Session.callProto(t, proto)
			out = values
			return err
		})
		return out, err
	}
	if redraw && c.Session.conf.Pretty != nil {
		return c.redraw(ctx, period, expr, value)
	}
	return c.startWatch(ctx, period, expr, value)
}

// redraw shows the value of an expression in one place of the terminal until ctx
// ends. An error is shown in that place too: what is watched may come back.
func (c *Console) redraw(ctx context.Context, period time.Duration, expr string, value func(context.Context) ([]lua.LValue, error)) error {
	p := *c.Session.conf.Pretty
	p.Colours = false // lines are cut to the width
	tick := time.NewTicker(period)
	defer tick.Stop()
	drawn := 0
	for {
		values, err := value(ctx)
		if ctx.Err() != nil {
			return nil // Ctrl-C is how it ends
		}
		if c.Session.Err() != nil {
			return c.Session.Err()
		}
		lines := []string{fmt.Sprintf("every %v: %s  %s  Ctrl-C ends", period, expr, time.Now().Format(time.TimeOnly))}
		if err != nil {
			lines = append(lines, strings.Split(harmlessLines(ErrorText(err, false)), "\n")...)
		} else {
			lines = append(lines, p.results(values, false)...)
		}
		c.Session.writeText(overdraw(lines, drawn, p.width(), p.height()))
		drawn = min(len(lines), p.height()-1)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		case <-c.Session.Done():
			return c.Session.Err()
		}
	}
}

// overdraw puts lines over those that were drawn before, the cursor being below
// them. What does not fit into the terminal is left out, as it could not be drawn
// over.
func overdraw(lines []string, drawn, width, height int) string {
	var b strings.Builder
	if drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", drawn)
	}
	b.WriteString("\r\x1b[J")
	if most := height - 1; len(lines) > most {
		lines = append(lines[:most-1:most-1], cutShort)
	}
	for _, line := range lines {
		b.WriteString(clipColumns(line, width-1) + "\n")
	}
	return b.String()
}

// cutShort is the last line of what is higher than the terminal.
const cutShort = "..."

// Repeat writes what f does to out, once or, with again, every second until ctx
// ends: inPlace over what it wrote before, if out is a terminal. What goes wrong
// after the first time may pass, and is said there too.
func Repeat(ctx context.Context, out *os.File, again, inPlace bool, f func(w io.Writer) error) error {
	if !again {
		return f(out)
	}
	inPlace = inPlace && tty.Is(out)
	height := (&Pretty{Height: heightOf(out)}).height
	drawn := 0
	for first := true; ; first = false {
		var text bytes.Buffer
		err := f(&text)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && first:
			return err
		case err != nil && inPlace:
			fmt.Fprintf(&text, "%s  %s\n", time.Now().Format(time.TimeOnly), harmlessLines(ErrorText(err, false)))
		case err != nil:
			fmt.Fprintln(os.Stderr, harmlessLines(ErrorText(err, false)))
		}
		if inPlace {
			lines := strings.Split(strings.TrimSuffix(text.String(), "\n"), "\n")
			text.Reset()
			text.WriteString(overdraw(lines, drawn, readline.GetScreenWidth(), height()))
			drawn = min(len(lines), height()-1)
		}
		if _, err := text.WriteTo(out); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(watchPeriod):
		}
	}
}

func (p *Pretty) width() int {
	if n := p.Width(); n > 0 {
		return n
	}
	return widthDefault
}

func (p *Pretty) height() int {
	const least = 3 // the expression, a line of its value, and the cursor's
	if p.Height != nil {
		if n := p.Height(); n >= least {
			return n
		}
	}
	return heightDefault
}

// startWatch prints the value of an expression again and again until stopWatch.
func (c *Console) startWatch(ctx context.Context, period time.Duration, expr string, value func(context.Context) ([]lua.LValue, error)) error {
	show := func(ctx context.Context) error {
		values, err := value(ctx)
		if err == nil {
			c.Session.writeLine(expr + " = " + strings.Join(FormatResults(values), ", "))
		}
		return err
	}
	if err := show(ctx); err != nil {
		return err
	}
	wctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.watch = func() { cancel(); <-ended }
	go func() {
		defer close(ended)
		tick := time.NewTicker(period)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-wctx.Done():
				return
			case <-c.Session.Done():
				return
			}
			if err := show(wctx); err != nil && wctx.Err() == nil {
				fmt.Fprintf(c.out, "%s: %s\n", expr, ErrorText(err, c.Session.json.Load()))
			}
		}
	}()
	return nil
}

func (c *Console) stopWatch() bool {
	if c.watch == nil {
		return false
	}
	c.watch()
	c.watch = nil
	return true
}
