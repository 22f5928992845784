package top

import (
	"context"
	"time"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/tty"
)

// answerTimeout bounds how long a question may take before the screen says that
// nobody answers.
const answerTimeout = 5 * time.Second

// Once asks twice, an interval apart, and returns the picture.
func Once(ctx context.Context, s Source, interval time.Duration) (*View, error) {
	before, err := s.CallStatus(ctx)
	if err != nil {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(interval):
	}
	now, err := s.CallStatus(ctx)
	if err != nil {
		return nil, err
	}
	return New(before, now), nil
}

// answer is what came of a question.
type answer struct {
	status *client.Status
	err    error
}

// Live shows pictures on a screen until ctx ends or the person leaves. Each
// picture is asked for an interval after the one before was there.
func Live(ctx context.Context, s Source, screen *tty.Screen, interval time.Duration) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan answer)
	go func() {
		defer screen.CloseOnPanic()
		ask(ctx, s, interval, answers)
	}()
	shown := display{screen: screen, keys: screen.Keys()}
	for {
		if err := shown.draw(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case key, ok := <-shown.keys:
			if !ok || key == 'q' || key == 'Q' || key == tty.CtrlC || key == tty.CtrlD {
				return nil
			}
		case <-screen.Resized():
		case a := <-answers:
			shown.take(a)
		}
	}
}

// ask asks until ctx ends.
func ask(ctx context.Context, s Source, interval time.Duration, answers chan<- answer) {
	for {
		limited, cancel := context.WithTimeout(ctx, answerTimeout)
		status, err := s.CallStatus(limited)
		cancel()
		select {
		case answers <- answer{status, err}:
		case <-ctx.Done():
			return
		}
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return
		}
	}
}

// display is what stands on the screen.
type display struct {
	screen *tty.Screen
	keys   <-chan byte
	before *client.Status
	view   *View
	err    error
}

func (d *display) take(a answer) {
	if d.err = a.err; a.err == nil {
		d.view = New(d.before, a.status)
		d.before = a.status
	}
}

const leaveNote = "q leaves"

func (d *display) draw() error {
	width, height := d.screen.Size()
	l := Layout{Width: width, Height: height, Colours: tty.Colours(), Note: leaveNote}
	if d.err != nil {
		l.Error = d.err.Error()
	}
	if d.view == nil {
		text := "asking the nodes"
		if d.err != nil {
			text = "no answer: " + l.Error
		}
		return d.screen.Draw([]string{tty.Cut(tty.Clean(text), width)})
	}
	return d.screen.Draw(d.view.Lines(l))
}
