package client

import (
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/syncsh/syncsh/internal/command"
)

// Code says how a call ended.
type Code = command.Code

// Codes of errors.
const (
	CodeOK          = command.CodeOK
	CodeScript      = command.CodeScript      // the method raised an error
	CodeBudget      = command.CodeBudget      // a limit was hit
	CodeNotFound    = command.CodeNotFound    // no such object or method
	CodeBadArgument = command.CodeBadArgument // arguments, script or command are not acceptable
	CodeOverloaded  = command.CodeOverloaded  // a bounded queue is full; nothing happened
	CodeNoLeader    = command.CodeNoLeader    // no leader could be asked, or no node; nothing happened
	CodeTimeout     = command.CodeTimeout     // outcome unknown
	CodeDenied      = command.CodeDenied      // not allowed
	CodeDiverged    = command.CodeDiverged    // the asked replica is out of service; nothing happened
	CodeClosed      = command.CodeClosed      // the node or the client is closed; nothing happened
	CodeSession     = command.CodeSession     // the cluster keeps ending the client's sessions; nothing happened
	CodeHappened    = command.CodeHappened    // the call happened, but its answer was lost and its result too large to be kept
)

// Error is how a call fails.
type Error = command.Error

// Script is one file of a deploy.
type Script = command.Script

// CodeOf is the code of an error of this package, CodeOK for nil, and
// CodeBadArgument for any other error.
func CodeOf(err error) Code {
	if err == nil {
		return CodeOK
	}
	if e := (*Error)(nil); errors.As(err, &e) {
		return e.Code
	}
	return CodeBadArgument
}

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func badArgument(format string, args ...any) *Error {
	return errorf(CodeBadArgument, format, args...)
}

// cause is what a person wants to know of a network error: without the address,
// which stands before it, and the name of the system call.
func cause(err error) string {
	if e := (*net.OpError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := (*os.SyscallError)(nil); errors.As(err, &e) {
		err = e.Err
	}
	if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
		return "no answer in time"
	}
	return err.Error()
}
