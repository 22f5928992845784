package command

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
)

// Code says how a command or query ended. The names are stable: scripts and
// other programs compare them.
type Code uint8

const (
	CodeOK          Code = 0
	CodeScript      Code = 1  // the method raised an error
	CodeBudget      Code = 2  // a limit was hit
	CodeNotFound    Code = 3  // no such object or method
	CodeBadArgument Code = 4  // arguments, script or command are not acceptable
	CodeOverloaded  Code = 5  // a bounded queue is full; nothing happened
	CodeNoLeader    Code = 6  // no leader could be asked; nothing happened
	CodeTimeout     Code = 7  // outcome unknown
	CodeDenied      Code = 8  // not allowed
	CodeDiverged    Code = 9  // the asked replica is out of service
	CodeClosed      Code = 10 // the node is stopping; nothing happened
	CodeSession     Code = 11 // the session has expired or never was; this try of the call had no effect
	CodeHappened    Code = 12 // the call happened before; its result was too large to be kept
)

var codeNames = [...]string{"ok", "script", "budget", "not_found", "bad_argument", "overloaded", "no_leader", "timeout", "denied", "diverged", "closed", "session", "happened"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code_%d", uint8(c))
}

// Result answers a command or a query.
//
// On the wire and in memory of the machine: [index, code, payload]. payload is
// for OK the array of returned values, else [message, traceback, value]. A fourth
// value says where the time went, see Times.
type Result struct {
	Index  uint64 // log index of the command; for a query the index of the version read
	Code   Code
	Values []byte // OK: msgpack array of the returned values
	// Otherwise:
	Message   string
	Traceback string // script names and lines; empty when there is none
	Value     []byte // the value given to error(), msgpack; nil when it was just the message

	Times *Times // of a call that was to be measured, when it was
}

// AppendOK appends a result with its values, an encoded msgpack array (nil: no
// values).
func AppendOK(b []byte, index uint64, values []byte) []byte {
	return appendArgs(AppendOKHead(b, index), values)
}

// AppendOKHead appends a result up to its values; the caller appends their
// array.
func AppendOKHead(b []byte, index uint64) []byte {
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendUint(b, index)
	return codec.AppendUint(b, uint64(CodeOK))
}

// AppendError appends a result that is an error.
func AppendError(b []byte, index uint64, code Code, message, traceback string, value []byte) []byte {
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendUint(b, index)
	b = codec.AppendUint(b, uint64(code))
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendString(b, message)
	b = codec.AppendString(b, traceback)
	if value == nil {
		return codec.AppendNil(b)
	}
	return append(b, value...)
}

// DecodeResult reads a result; its byte slices alias the decoder's.
func DecodeResult(d *codec.Decoder) (r Result, err error) {
	n, err := resultLen(d)
	if err != nil {
		return r, err
	}
	if err = r.decode(d); err == nil && n == resultTimed {
		r.Times, err = decodeTimes(d)
	}
	return r, err
}

// decode reads the three values that every result has.
func (r *Result) decode(d *codec.Decoder) (err error) {
	if r.Index, err = d.Uint(); err != nil {
		return err
	}
	c, err := d.Uint()
	if err != nil {
		return err
	}
	if c > 255 {
		return codec.ErrRange
	}
	r.Code = Code(c)
	if r.Code == CodeOK {
		if d.Peek() != codec.KindArray {
			return codec.ErrType
		}
		r.Values, err = d.Raw()
		return err
	}
	if err = d.FixedArray(3); err != nil {
		return err
	}
	if r.Message, err = d.String(); err != nil {
		return err
	}
	if r.Traceback, err = d.String(); err != nil {
		return err
	}
	if d.Peek() == codec.KindNil {
		return d.Nil()
	}
	r.Value, err = d.Raw()
	return err
}

// Error is a Result that is not OK, as a Go error.
type Error struct {
	Code      Code
	Message   string
	Traceback string
	Value     []byte // msgpack, nil when the error was just a message
	Index     uint64
}

func (e *Error) Error() string { return e.Code.String() + ": " + e.Message }

// Err is nil for an OK result, else an *Error.
func (r Result) Err() error {
	if r.Code == CodeOK {
		return nil
	}
	return &Error{r.Code, r.Message, r.Traceback, r.Value, r.Index}
}
