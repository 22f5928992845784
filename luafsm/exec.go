package luafsm

import (
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// mode says what code may do at the moment.
type mode uint8

const (
	modeLoad       mode = iota + 1 // a script's chunk: definitions only
	modeReplicated                 // replicated methods, init and migrate
	modeQuery                      // reads one version
)

// exec is what one Lua state executes at the moment: budget, clock, and where
// tables are read and made. It is the state's context, because gopher-lua asks a
// context once per VM instruction whether it is done: that is the budget, exact
// and equal everywhere. Go functions find it with execOf.
type exec struct {
	L      *lua.LState
	prog   *program
	store  *state.Store   // makes tables; writes go to its tables only
	view   *state.Version // nil: the present state
	roots  *roots
	limits *limits
	mode   mode

	steps       int                        // left; below 0 the call is over
	bytes       int                        // left
	messageLeft int                        // bytes that arguments have left for results
	given       struct{ steps, bytes int } // what of them is not in spent yet
	spent       *Charges                   // nil: nobody asks
	fatal       *failure
	depth       int // pcalls under way

	index   uint64
	clock   int64
	seed    uint64
	caller  uint64
	object  string // whose method was called from outside
	rand    lib.Rand
	seeded  bool // rand
	events  []Event
	print   func(object, text string)
	trace   string
	body    func()          // what guard runs
	entries func(int) error // charges for a table that is encoded
	copies  func(int) error // charges for a long string that is encoded
	copied  int             // bytes that copies was told of
	scratch []byte          // what a value is encoded in that may be refused
	fresh   func(int) error // charges for a table that comes into the state
	decoded func(int) error // charges for a table of the arguments
}

// execOf is the exec of a running Lua state.
func execOf(L *lua.LState) *exec { return L.Context().(*exec) }

// Charges are what calls have used of their budgets.
type Charges struct {
	Steps uint64 // instructions, and the work of the library counted in them
	Bytes uint64 // of strings and tables
}

// fold adds what was used since the last time to spent.
func (x *exec) fold() {
	if x.spent != nil {
		x.spent.Steps += uint64(x.given.steps - x.steps)
		x.spent.Bytes += uint64(x.given.bytes - x.bytes)
	}
	x.given.steps, x.given.bytes = x.steps, x.bytes
}

// portion runs a part of a call that has at most most steps of those left.
func (x *exec) portion(most int, body func() error) error {
	spare := max(x.steps-most, 0)
	x.steps -= spare
	x.given.steps -= spare
	err := body()
	if x.steps >= 0 {
		x.steps += spare
		x.given.steps += spare
	}
	return err
}

// start readies x for a call with a budget of steps.
func (x *exec) start(m mode, steps int) {
	x.fold()
	x.mode, x.steps, x.bytes = m, steps, x.limits.callBytes
	x.given.steps, x.given.bytes = x.steps, x.bytes
	x.fatal, x.depth, x.seeded, x.trace = nil, 0, false, ""
	x.events = x.events[:0]
	x.store.Slots, x.store.Work, x.store.Moves, x.store.Bytes = 0, 0, 0, 0
	*openUpvalues(x.L) = nil
}

var closed = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// Done implements context.Context. Once the budget is spent it answers with a
// closed channel for ever, so that no pcall can go on.
func (x *exec) Done() <-chan struct{} {
	if x.steps--; x.steps >= 0 {
		return nil
	}
	if x.fatal == nil {
		x.fatal = errInstructions
	}
	return closed
}

// Err implements context.Context.
func (x *exec) Err() error {
	if x.fatal != nil {
		return x.fatal
	}
	return nil
}

// Deadline implements context.Context; there is none.
func (x *exec) Deadline() (time.Time, bool) { return time.Time{}, false }

// Value implements context.Context; there are none.
func (x *exec) Value(any) any { return nil }

// kill ends the call with an error that pcall can't catch.
func (x *exec) kill(f *failure) *failure {
	if x.fatal == nil {
		x.fatal = f
	}
	x.steps = -1
	return x.fatal
}

// Steps implements lib.Meter.
func (x *exec) Steps(n int) error {
	if n > x.steps {
		return x.kill(errInstructions)
	}
	x.steps -= n
	return nil
}

// bytesPerStep: building strings is charged as work too.
const bytesPerStep = 256

// Bytes implements lib.Meter.
func (x *exec) Bytes(n int) error {
	if n > x.limits.stringBytes {
		return x.kill(errStringBytes)
	}
	if n > x.bytes {
		return x.kill(errCallBytes)
	}
	x.bytes -= n
	return x.Steps(n / bytesPerStep)
}

// memory charges for what isn't a string.
func (x *exec) memory(n int) error {
	if n > x.bytes {
		return x.kill(errCallBytes)
	}
	x.bytes -= n
	return nil
}

// stateBytesPerWork: a long string that is put into a table is hashed.
const stateBytesPerWork = bytesPerStep / 4

// compareBytes is how much of a string is compared for a step.
const compareBytes = 32

// long charges for a string that is compared or looked up.
func (x *exec) long(n int) {
	if n >= compareBytes {
		x.must(x.Steps(n / compareBytes))
	}
}

// key charges for a lookup.
func (x *exec) key(k lua.LValue) {
	if s, ok := k.(lua.LString); ok {
		x.long(len(s))
	}
}

// settle charges for the entries that were created and moved since the last
// time.
func (x *exec) settle() error {
	slots, work, moves, bytes := x.store.Slots, x.store.Work, x.store.Moves, x.store.Bytes
	if slots|work|moves|bytes == 0 {
		return nil
	}
	x.store.Slots, x.store.Work, x.store.Moves, x.store.Bytes = 0, 0, 0, 0
	if bytes > 0 {
		work += bytes / stateBytesPerWork
		if err := x.memory(int(min(bytes, 1<<40))); err != nil {
			return err
		}
	}
	if slots > 0 {
		if err := x.memory(int(slots) * slotBytes); err != nil {
			return err
		}
	}
	if work|moves > 0 {
		return x.Steps(int(work/4 + moveSteps*moves))
	}
	return nil
}

// moving refuses t[k] = v when the budget doesn't hold what it moves between the
// sequence of t and its map: settle would charge for it when it is done.
func (x *exec) moving(t *state.Table, k, v lua.LValue) {
	if n := t.Moves(k, v, x.steps/moveSteps+1); n > x.steps/moveSteps {
		x.must(x.kill(errInstructions))
	}
}

// newTable makes a table for the script.
func (x *exec) newTable(array, hash int) *state.Table {
	x.must(x.memory(tableBytes))
	x.must(x.Steps(tableSteps))
	return x.store.NewTable(array, hash)
}

// must raises an error of a meter or of lib in the Lua state.
func (x *exec) must(err error) {
	if err != nil {
		x.raise(err)
	}
}

// failure is an error that ends a call, with its code.
type failure struct {
	code command.Code
	text string
}

func (f *failure) Error() string { return f.text }

// Errors that pcall doesn't catch.
var (
	errInstructions = &failure{command.CodeBudget, "instruction limit reached"}
	errStringBytes  = &failure{command.CodeBudget, "string too long"}
	errCallBytes    = &failure{command.CodeBudget, "memory limit of a call reached"}
	errStack        = &failure{command.CodeBudget, "stack overflow"}
	errUpvalues     = &failure{command.CodeBudget, "too many variables are shared with functions"}
	errEvents       = &failure{command.CodeBudget, "too many events in one call"}
	errTimers       = &failure{command.CodeBudget, "too many timers"}
	errInternal     = &failure{command.CodeScript, "internal error of the interpreter"}
)
