package shell

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"sync/atomic"
	"syscall"
)

// exitSignalled is added to the number of a signal, as shells do for a process
// that one has ended.
const exitSignalled = 128

// endings are the signals that ask a process to end. Without a handler they would
// end it where it stands: a terminal would stay in raw mode, and the directories
// of a development cluster would stay behind.
func endings() []os.Signal {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGHUP}
	// nohup has SIGHUP ignored, so that a command outlives its terminal: that stays.
	return slices.DeleteFunc(signals, signal.Ignored)
}

// Interruptible runs f with a context that Ctrl-C, or a signal that asks the
// process to end, cancels. Was it such a signal, and f ends because of it, then the
// exit code tells which.
func Interruptible(ctx context.Context, f func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, append(endings(), os.Interrupt)...)
	var got atomic.Pointer[os.Signal]
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case s := <-signals:
			got.Store(&s)
			cancel()
		case <-ctx.Done():
		}
	}()
	err := f(ctx)
	signal.Stop(signals)
	cancel()
	<-watched
	if s := got.Load(); s != nil && *s != os.Interrupt && errors.Is(err, ErrInterrupted) {
		return endedBy(*s)
	}
	return err
}

// endedBy is the error of what a signal ended.
func endedBy(s os.Signal) *ExitError {
	number, ok := s.(syscall.Signal)
	if !ok {
		return &ExitError{ExitInterrupted}
	}
	return &ExitError{exitSignalled + int(number)}
}
