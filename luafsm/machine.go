package luafsm

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// Options of a Machine.
type Options struct {
	// Print receives what print of replicated code says; nil drops it. It is
	// called while an entry is applied, also for calls that fail.
	Print func(object, text string)
	// Memo, if set, spares the machine work that others have done.
	Memo *Memo
}

// Digest of a machine's state, a function of the logical state alone.
type Digest [16]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// Machine applies entries. One goroutine at a time uses it.
type Machine struct {
	opts   Options
	store  *state.Store
	limits *limits
	index  raft.Index
	clock  int64 // ms; never goes back
	code   *code
	prog   *program
	roots  *roots
	shared bool // versions have roots: see ownRoots

	watches *watches // nil: nobody has ever watched

	charged Charges
	version int   // of the semantics in force
	runs    int   // highest version that this program runs
	err     error // see Err

	// What Apply is at.
	batch   codec.Decoder
	dec     codec.Decoder
	current struct {
		index  uint64
		seed   uint64
		caller uint64
		open   bool // a transaction of the command is open
		dry    bool // DryRun
		in     inSession
	}
	scratch []byte
}

// object is one that has state.
type object struct {
	name    string
	class   string // name of the definition that has its methods
	version int
	born    uint64 // index of its creation: timers of an earlier object of the name are not its own
	table   *state.Table
}

type roots struct {
	byName  map[string]*object
	byTable map[*state.Table]*object
}

// Names of the sections of the state.
const (
	sectionObjects  = state.ObjectsSection // name -> state
	sectionMeta     = "meta"               // name -> {class, version}
	sectionScripts  = "scripts"            // sequence of {name, source}
	sectionSettings = "settings"           // name -> value, where not the default
	sectionTimers   = "timers"             // see timers.go
	sectionEvents   = "events"             // see events.go
	sectionSessions = "sessions"           // see sessions.go
	sectionMachine  = "machine"            // version, index, clock; last timer; events
)

// New returns a machine without objects.
func New(o Options) *Machine {
	m := &Machine{opts: o, store: state.NewStore(), code: &code{}, roots: newRoots(), version: firstVersion, runs: MachineVersion}
	l := defaultLimits()
	m.limits = &l
	m.begin()
	m.store.Section(sectionMachine).SetString("version", lua.LNumber(firstVersion))
	m.commit()
	m.install(newProgram(m.store, m.limits, o.Print))
	return m
}

func (m *Machine) begin() {
	m.store.Fresh = nil
	m.store.Begin()
	m.current.open = true
	if m.watches != nil {
		m.watches.kept = len(m.watches.changes)
	}
}

// commit ends a transaction of our own making, whose content can't be refused.
func (m *Machine) commit() {
	if err := m.store.Commit(); err != nil {
		panic(fmt.Sprintf("luafsm: commit of the machine's own data: %v", err))
	}
	m.current.open = false
}

func (m *Machine) rollback() {
	if m.current.open {
		m.store.Rollback()
		m.current.open = false
		if m.watches != nil { // events of the call
			m.watches.changes = m.watches.changes[:m.watches.kept]
		}
	}
}

// install puts a loaded program in force.
func (m *Machine) install(p *program) {
	m.prog = p
	p.x.roots = m.roots
	p.x.fold() // loading scripts again is nobody's charge
}

// Index is the last index that was applied.
func (m *Machine) Index() raft.Index { return m.index }

// Clock is the log clock in milliseconds since 1970.
func (m *Machine) Clock() int64 { return m.clock }

// Digest of the present state.
func (m *Machine) Digest() Digest { return Digest(m.store.Digest()) }

// Charged is what the commands applied by this process have used, whether they
// failed or not. It is equal on all replicas for the same entries, but not part
// of the state.
func (m *Machine) Charged() Charges { return m.charged }

// Results of a batch: for the command at position i the encoded command.Result
// is Buf[Ends[i-1]:Ends[i]].
//
// The results of an entry may be thousands of times as large as the entry. Who
// applies what others have written sets Each, which gets them one by one, and
// Buf holds one at a time.
type Results struct {
	Buf  []byte
	Ends []int
	// Each, if it is set, takes the result at position i as soon as the command
	// has ended; it is valid during the call only. Buf and Ends stay empty.
	Each func(i int, result []byte)
}

// resultKeepBytes is how large a buffer for results that are handed out one by
// one may be to be kept for the next.
const resultKeepBytes = 1 << 20

// end takes b, which is Buf and the result at position i.
func (r *Results) end(i int, b []byte) {
	if r.Each == nil {
		r.Buf, r.Ends = b, append(r.Ends, len(b))
		return
	}
	r.Each(i, b)
	if r.Buf = b[:0]; cap(b) > resultKeepBytes {
		r.Buf = nil
	}
}

// Reset empties r and keeps its memory.
func (r *Results) Reset() { r.Buf, r.Ends = r.Buf[:0], r.Ends[:0] }

// Len is the number of results.
func (r *Results) Len() int { return len(r.Ends) }

// At is the ith encoded result.
func (r *Results) At(i int) []byte {
	start := 0
	if i > 0 {
		start = r.Ends[i-1]
	}
	return r.Buf[start:r.Ends[i]]
}

// Apply applies the next entry and appends one result for each of its indexes
// if it is a batch, or hands them to r.Each. It can't fail: a batch or command that can't be read gives
// bad_argument. After it the caller looks at Err: an upgrade that this program
// can't follow ends the machine.
func (m *Machine) Apply(e raft.Entry, r *Results) {
	if m.err != nil {
		panic(fmt.Sprintf("luafsm: entry %d after: %v", e.Index, m.err))
	}
	if m.watches != nil {
		m.watches.applies()
	}
	if e.Kind == raft.EntryBatch {
		if m.applyBatch(e, r); m.err != nil {
			return
		}
	}
	m.index = e.Index
	m.store.Begin()
	t := m.store.Section(sectionMachine)
	t.SetString("index", lua.LNumber(m.index))
	t.SetString("clock", lua.LNumber(m.clock))
	m.commit()
}

func (m *Machine) applyBatch(e raft.Entry, r *Results) {
	first, done := uint64(e.First()), 0
	m.batch.Reset(e.Data)
	h, err := command.DecodeBatchHead(&m.batch)
	if err == nil && h.Count != int(e.Span) {
		err = fmt.Errorf("batch of %d commands for %d indexes", h.Count, e.Span)
	}
	if err != nil {
		for ; done < int(e.Span); done++ {
			r.end(done, command.AppendError(r.Buf, first+uint64(done), command.CodeBadArgument, "unreadable batch: "+err.Error(), "", nil))
		}
		return
	}
	if m.clock = max(m.clock, h.Clock); mutant.On(mutant.ClockBack) {
		m.clock = h.Clock
	}
	m.expireSessions()
	for done < h.Count {
		prog, start := m.prog, len(r.Buf)
		failed := prog.x.protect(func() {
			for done < h.Count && m.prog == prog && !prog.broken {
				start = len(r.Buf)
				cmd, err := m.batch.Bytes()
				if err != nil {
					cmd = nil
				}
				m.current.seed = h.Seed
				b := m.command(r.Buf, first+uint64(done), cmd)
				m.remember(b[start:])
				r.end(done, b)
				done++
			}
		})
		if failed != nil {
			b := m.failed(r.Buf[:start], prog.x, failed)
			m.remember(b[start:])
			r.end(done, b)
			done++
		}
		prog.x.fold()
		m.repair()
	}
}

// repair replaces a Lua state that an overflow or a fault has left unlike that
// of other replicas.
func (m *Machine) repair() {
	if m.prog.broken {
		m.prog.renew()
	}
}

// reload loads scripts that a deploy has accepted. What was within the limits of
// that time is not held against those of today.
func reload(store *state.Store, lim *limits, print func(object, text string), c *code) (*program, error) {
	most := defaultLimits()
	most.callBytes = settingMax("call_bytes")
	p := newProgram(store, &most, print)
	p.x.start(modeLoad, chunkSteps*len(c.scripts))
	if err := p.load(c); err != nil {
		return nil, err
	}
	p.x.limits = lim
	return p, nil
}

// failed ends a command that raised an error: its state goes back, its result is
// the error.
func (m *Machine) failed(b []byte, x *exec, r *raised) []byte {
	m.rollback()
	return x.appendError(b, m.current.index, r)
}

// refuse ends a command with an error that is not the script's.
func (m *Machine) refuse(b []byte, code command.Code, format string, args ...any) []byte {
	m.rollback()
	text := fmt.Sprintf(format, args...)
	return command.AppendError(b, m.current.index, code, text, "", nil)
}

// command runs one command and appends its result. It may raise an error of the
// program's Lua state instead.
func (m *Machine) command(b []byte, index uint64, cmd []byte) []byte {
	m.current.index, m.current.open, m.current.in.t = index, false, nil
	if m.err != nil {
		return m.stopped(b)
	}
	d := &m.dec
	d.Reset(cmd)
	h, err := command.DecodeHead(d)
	if err != nil {
		if to, ok := command.DecodeUpgrade(cmd); ok {
			return m.upgrade(b, to)
		}
		return m.refuse(b, command.CodeBadArgument, "unreadable command: %v", err)
	}
	m.current.caller = h.Session
	if h.In {
		var ended bool
		if b, ended = m.enter(b, h); ended {
			return b
		}
	}
	switch h.Kind {
	case command.Call:
		return m.call(b, d)
	case command.Deploy:
		return m.deploy(b, d)
	case command.Create:
		return m.create(b, d)
	case command.Drop:
		return m.drop(b, d)
	case command.Setting:
		return m.setting(b, d)
	case command.Open:
		return m.openSession(b)
	}
	return m.tick(b)
}

// begins a call in x: budget, clock and what seeds the randomness.
func (m *Machine) begins(x *exec, steps int) {
	x.spent = &m.charged
	x.start(modeReplicated, steps)
	x.index, x.clock, x.seed, x.caller = m.current.index, m.clock, m.current.seed, m.current.caller
	m.begin()
	m.store.Fresh = x.fresh
}

// call runs a replicated method. It is the hot path.
func (m *Machine) call(b []byte, d *codec.Decoder) []byte {
	name, err := d.Bytes()
	if err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable call: %v", err)
	}
	o := m.roots.byName[string(name)]
	if o == nil {
		return m.refuse(b, command.CodeNotFound, "no object %q", clip(name))
	}
	if name, err = d.Bytes(); err != nil {
		return m.refuse(b, command.CodeBadArgument, "unreadable call: %v", err)
	}
	p := m.prog
	def := p.class(o)
	if def == nil {
		return m.refuse(b, command.CodeNotFound, "no script defines the methods of %s any more", o.name)
	}
	mt := def.methods[string(name)]
	switch {
	case mt == nil:
		return m.refuse(b, command.CodeNotFound, "%s has no method %q", o.name, clip(name))
	case mt.kind == kindLocal:
		return m.refuse(b, command.CodeBadArgument, "%s:%s is a local method: it runs at the client", o.name, mt.name)
	case mt.kind == kindQuery:
		return m.refuse(b, command.CodeBadArgument, "%s:%s is a query method: it doesn't go through the log", o.name, mt.name)
	}
	x := p.x
	m.begins(x, m.limits.instructions)
	x.object = o.name
	L := x.L
	L.SetTop(0)
	L.Push(mt.fn)
	L.Push(o.table.UserData())
	n, err := x.pushArgs(d)
	if err != nil {
		return m.refuse(b, argumentCode(err), "%s:%s: arguments: %v", o.name, mt.name, err)
	}
	L.Call(n+1, lua.MultRet)
	start := len(b)
	b = command.AppendOKHead(b, m.current.index)
	if b, err = x.appendValues(b); err != nil {
		return m.refuse(b[:start], resultCode(err), "%s:%s: result: %v", o.name, mt.name, err)
	}
	L.SetTop(0)
	m.keepEvents(x)
	if err := m.store.Commit(); err != nil {
		return m.refuse(b[:start], resultCode(err), "%s:%s: %v", o.name, mt.name, err)
	}
	m.current.open = false
	return b
}

// clip is bytes from outside as a text of bounded length.
func clip(b []byte) string { return string(b[:min(len(b), nameBytesMax)]) }

// pushArgs decodes an array of arguments onto the stack.
func (x *exec) pushArgs(d *codec.Decoder) (int, error) {
	n, err := d.ArrayLen()
	if err != nil {
		return 0, err
	}
	if n > argsMax {
		return 0, fmt.Errorf("%d arguments, at most %d are allowed", n, argsMax)
	}
	x.messageLeft = x.limits.messageBytes - d.Left()
	if x.messageLeft < 0 {
		return 0, state.ErrBytes
	}
	lim := state.Limits{Depth: x.limits.nesting, Bytes: x.limits.messageBytes, Charge: x.decoded}
	for range n {
		v, err := x.store.DecodeValue(d, lim)
		if err != nil {
			return 0, err
		}
		x.L.Push(v)
	}
	x.store.Slots = 0 // decoded has charged for them
	if err := x.settle(); err != nil {
		return 0, err
	}
	return n, d.End()
}

// argumentCode is the code of an error of pushArgs.
func argumentCode(err error) command.Code {
	var f *failure
	if errors.As(err, &f) {
		return f.code
	}
	return command.CodeBadArgument
}

// resultCode is the code of an error of appendValues or Commit.
func resultCode(err error) command.Code {
	var f *failure
	if errors.As(err, &f) || errors.Is(err, state.ErrBytes) {
		return command.CodeBudget
	}
	return command.CodeScript
}

// appendValues appends the values on the stack as an array.
func (x *exec) appendValues(b []byte) ([]byte, error) {
	L := x.L
	n := L.GetTop()
	if n > argsMax {
		return b, fmt.Errorf("%d values, at most %d are allowed", n, argsMax)
	}
	b = codec.AppendArrayLen(b, n)
	left := x.messageLeft
	texts := 0 // that are results themselves: the buffer grows once for all of them
	for i := 1; i <= n; i++ {
		if s, ok := L.Get(i).(lua.LString); ok {
			texts += len(s)
		}
	}
	if texts > left {
		return b, state.ErrBytes
	}
	b = slices.Grow(b, texts)
	for i := 1; i <= n; i++ {
		var err error
		before := len(b)
		if b, err = x.appendValue(b, x.view, L.Get(i), left); err != nil {
			return b, err
		}
		if left -= len(b) - before; left <= 0 {
			return b, state.ErrBytes
		}
	}
	return b, nil
}

// appendValue appends one value of at most bytesMax bytes, and charges for it: a
// table that sits in many places is written as often, at the price of a few
// instructions that put it there.
func (x *exec) appendValue(b []byte, view *state.Version, v lua.LValue, bytesMax int) ([]byte, error) {
	before := len(b)
	x.copied = 0
	b, err := state.AppendValue(b, view, v, state.Limits{Depth: x.limits.nesting, Bytes: bytesMax, Charge: x.entries, Spend: x.copies})
	if err == nil {
		err = x.Steps((len(b) - before - x.copied) / bytesPerStep)
	}
	return b, err
}

// DryRun runs a command as Apply would at the next index with the given clock,
// appends its result to dst, and undoes it. The values of a deploy are the lines
// of its report.
func (m *Machine) DryRun(cmd []byte, clock int64, dst []byte) []byte {
	prog, rts, shared, c, charged := m.prog, m.roots, m.shared, m.code, m.charged
	m.shared = true // rts comes back as it is
	lim, clk, version := *m.limits, m.clock, m.version
	m.clock = max(m.clock, clock)
	m.store.Begin()
	m.current.dry = true
	start := len(dst)
	failed := prog.x.protect(func() { dst = m.command(dst, uint64(m.index)+1, cmd) })
	if failed != nil {
		dst = m.failed(dst[:start], prog.x, failed)
	}
	if mutant.On(mutant.DryRunKept) {
		m.commit()
	} else {
		m.store.Rollback()
	}
	m.current.dry = false
	prog.x.fold()
	m.roots, m.shared, m.code, m.clock, m.charged, m.version, m.err = rts, shared, c, clk, charged, version, nil
	*m.limits = lim
	m.install(prog)
	m.repair()
	return dst
}
