package shell

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// Exit codes of the command line.
const (
	ExitOK       = 0
	ExitScript   = 1 // the script raised an error
	ExitUsage    = 2
	ExitNoLeader = 3 // no leader or no node reachable
	ExitTimeout  = 4 // outcome unknown
	ExitDenied   = 5
	// ExitInterrupted is what shells use for a process that Ctrl-C ended.
	ExitInterrupted = 130
)

var (
	// ErrInterrupted is returned when what ran was cancelled, as by Ctrl-C.
	ErrInterrupted = errors.New("interrupted")
	// ErrClosed is returned when the session was closed.
	ErrClosed = errors.New("session closed")
	// ErrInstructions is returned when the code of a session has executed as many
	// instructions as it may.
	ErrInstructions = errors.New("more instructions than a run may take; a loop without an end?")
)

// ExitError is returned when client code called exit.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit %d", e.Code) }

// LuaError is an error that client code raised and nobody caught, or that kept
// it from being compiled.
type LuaError struct {
	Text      string
	Traceback string
}

func (e *LuaError) Error() string { return e.Text }

// UsageError is returned for a command line that can't be carried out as
// written.
type UsageError struct{ Text string }

func (e *UsageError) Error() string { return e.Text }

// ExitCode is the process's exit code for an error.
func ExitCode(err error) int {
	var exit *ExitError
	var usage *UsageError
	var call *command.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &exit):
		return exit.Code
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case errors.As(err, &usage):
		return ExitUsage
	case errors.As(err, &call):
		switch call.Code {
		case command.CodeNoLeader, command.CodeClosed:
			return ExitNoLeader
		case command.CodeTimeout:
			return ExitTimeout
		case command.CodeDenied:
			return ExitDenied
		}
	case errors.Is(err, context.DeadlineExceeded):
		return ExitTimeout
	}
	return ExitScript
}

// errorTextMax bounds how much of an error people get to see: code may raise as
// much as a string may hold. What the machine says is shorter.
const errorTextMax = 8 << 10

// ErrorText is an error as people read it; whole is for programs.
func ErrorText(err error, whole bool) string {
	text := err.Error()
	var call *command.Error
	if errors.As(err, &call) {
		text = strings.Replace(text, call.Message, raisedText(call), 1)
	}
	if whole || len(text) <= errorTextMax {
		return text
	}
	at := errorTextMax
	for at > errorTextMax-utf8.UTFMax && !utf8.RuneStart(text[at]) {
		at--
	}
	return fmt.Sprintf("%s... (%d bytes more; --json shows all)", text[:at], len(text)-at)
}

// noMessage begins the message of an error whose value has no text of its own.
const noMessage = "(error object is a "

// raisedText is the message of a failed call. A value that is no text says not
// where it was raised, and perhaps nothing else: the traceback and the value do.
func raisedText(e *command.Error) string {
	if e.Value == nil {
		return e.Message
	}
	text := e.Message
	if strings.HasPrefix(text, noMessage) {
		d := codec.NewDecoder(e.Value)
		if v, err := decodeValue(&d, 0); err == nil {
			text = Format(v)
		}
	}
	if at, _, ok := strings.Cut(e.Traceback, ": in "); ok {
		text = at + ": " + text
	}
	return text
}

// errorObject makes the value that Lua code gets for a failed call: a table with
// code, message, value, index and traceback, whose text is that of the error. Of a
// value that is a table it has the fields too.
func (s *Session) errorObject(e *command.Error) lua.LValue {
	t := &lua.LTable{Metatable: s.errorMeta}
	t.RawSetString("code", lua.LString(e.Code.String()))
	t.RawSetString("message", lua.LString(raisedText(e)))
	if e.Index != 0 {
		t.RawSetString("index", lua.LNumber(e.Index))
	}
	if e.Traceback != "" {
		t.RawSetString("traceback", lua.LString(e.Traceback))
	}
	if e.Value != nil {
		d := codec.NewDecoder(e.Value)
		if v, err := decodeValue(&d, 0); err == nil {
			t.RawSetString("value", v)
		}
	}
	return t
}

// callError reads an error object back.
func (s *Session) callError(v lua.LValue) (*command.Error, bool) {
	t, ok := v.(*lua.LTable)
	if !ok || t.Metatable != s.errorMeta {
		return nil, false
	}
	e := &command.Error{Message: lua.LVAsString(t.RawGetString("message")), Traceback: lua.LVAsString(t.RawGetString("traceback"))}
	name := lua.LVAsString(t.RawGetString("code"))
	for c := command.CodeScript; c <= command.CodeHappened; c++ {
		if c.String() == name {
			e.Code = c
		}
	}
	return e, true
}

// errorMetatable is that of error objects.
func errorMetatable(l *lua.LState) *lua.LTable {
	text := func(l *lua.LState, v lua.LValue) string {
		if t, ok := v.(*lua.LTable); ok {
			return lua.LVAsString(t.RawGetString("code")) + ": " + lua.LVAsString(t.RawGetString("message"))
		}
		return lua.LVAsString(v)
	}
	mt := l.NewTable()
	mt.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		v := lua.LValue(lua.LNil)
		if raised, ok := l.CheckTable(1).RawGetString("value").(*lua.LTable); ok {
			v = raised.RawGet(l.Get(2))
		}
		l.Push(v)
		return 1
	}))
	mt.RawSetString("__tostring", l.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LString(text(l, l.Get(1))))
		return 1
	}))
	mt.RawSetString("__concat", l.NewFunction(func(l *lua.LState) int {
		l.Push(lua.LString(text(l, l.Get(1)) + text(l, l.Get(2))))
		return 1
	}))
	return mt
}

// raise raises a Go error in Lua code: a failed call as an error object.
func (s *Session) raise(l *lua.LState, err error) {
	var call *command.Error
	if errors.As(err, &call) {
		l.Error(s.errorObject(call), 0)
	}
	l.Error(lua.LString(err.Error()), 1)
}

// failure turns what ended a task into the error that is reported.
func (s *Session) failure(ctx context.Context, err error) error {
	if exit := s.exit.Load(); exit != nil {
		return exit
	}
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), ErrInstructions) {
		return ErrInstructions
	}
	if ctx.Err() != nil {
		if failed := s.failed.Load(); failed != nil {
			return *failed
		}
		if s.ctx.Err() != nil {
			return ErrClosed
		}
		return ErrInterrupted
	}
	var api *lua.ApiError
	if !errors.As(err, &api) {
		return err
	}
	trace := luaTrace(api.StackTrace)
	if call, ok := s.callError(api.Object); ok {
		if trace == "" {
			return call
		}
		return &TracedError{call, trace}
	}
	text := api.Error()
	switch {
	case api.Object == nil:
	case api.Object.Type() == lua.LTTable || api.Object.Type() == lua.LTUserData:
		text = s.text(api.Object)
	case api.Object != lua.LNil:
		text = api.Object.String()
	}
	return &LuaError{Text: strings.TrimSpace(text), Traceback: trace}
}

// notFound is the error for an object or method that does not exist.
func notFound(format string, args ...any) error {
	return &command.Error{Code: command.CodeNotFound, Message: fmt.Sprintf(format, args...)}
}
