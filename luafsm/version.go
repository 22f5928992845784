package luafsm

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// Version is the machine as it was at one Publish. Any goroutine may use it
// until it has been released as often as it was retained.
type Version struct {
	state  *state.Version
	index  raft.Index
	clock  int64
	roots  *roots
	code   *code
	limits limits
}

// Publish returns the present state, retained once. It takes the same short time
// whatever the size of the state.
func (m *Machine) Publish() *Version {
	m.shared = true
	return &Version{state: m.store.Publish(), index: m.index, clock: m.clock, roots: m.roots, code: m.code, limits: *m.limits}
}

// Index is the last index that the version has.
func (v *Version) Index() raft.Index { return v.index }

// Clock is the log clock at the version.
func (v *Version) Clock() int64 { return v.clock }

// Digest is that of the machine at the version.
func (v *Version) Digest() Digest { return Digest(v.state.Digest()) }

// Retain holds the version once more.
func (v *Version) Retain() { v.state.Retain() }

// Release lets go of it.
func (v *Version) Release() { v.state.Release() }

// Dump writes the version: equal states give equal bytes.
func (v *Version) Dump(w io.Writer) error { return v.state.Dump(w) }

// ErrBadDump is returned when what is restored is no dump of a machine that this
// program can run.
var ErrBadDump = errors.New("luafsm: not a usable dump")

// Restore reads what Dump wrote and returns a machine in that state. init and
// migrate don't run again. The bytes may be any: bad ones are an error.
func Restore(r io.Reader, o Options) (m *Machine, err error) {
	store, err := state.Restore(r)
	if err != nil {
		return nil, err
	}
	machine := store.Section(sectionMachine)
	for _, name := range machineNumbers {
		if v, ok := machine.GetString(nil, name).(lua.LNumber); machine.GetString(nil, name) != lua.LNil && (!ok || !whole(float64(v))) {
			return nil, fmt.Errorf("%w: %s of the machine is no whole number", ErrBadDump, name)
		}
	}
	number := func(name string) int64 {
		n, _ := machine.GetString(nil, name).(lua.LNumber)
		return int64(n)
	}
	version := number("version")
	switch {
	case version < firstVersion:
		return nil, fmt.Errorf("%w: machine version %d", ErrBadDump, version)
	case version > MachineVersion:
		return nil, fmt.Errorf("%w: %d, this program runs %d", ErrVersion, version, MachineVersion)
	}
	if r := readRing(machine, nil); r.first > r.last+1 || r.last+1-r.first != uint64(store.Section(sectionEvents).Count(nil)) {
		return nil, fmt.Errorf("%w: events %d to %d", ErrBadDump, r.first, r.last)
	}
	l := readLimits(store.Section(sectionSettings))
	if mutant.On(mutant.SessionsOwnTime) {
		l.sessionTTL = defaultLimits().sessionTTL
	}
	m = &Machine{opts: o, store: store, limits: &l, index: raft.Index(number("index")), clock: number("clock"), roots: readRoots(store),
		version: int(version), runs: MachineVersion}
	scripts, err := readScripts(store)
	if err != nil {
		return nil, err
	}
	if m.code, err = o.Memo.recompile(scripts); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBadDump, err)
	}
	p, err := reload(store, m.limits, o.Print, m.code)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBadDump, err)
	}
	m.install(p)
	return m, nil
}

// machineNumbers are the entries of the machine's section.
var machineNumbers = []string{"version", "index", "clock", "timer", "event", "event_first", "event_bytes", "event_lost", "session_bytes"}

// whole says whether f is a whole number that converts the same everywhere.
func whole(f float64) bool { return f >= 0 && f <= 1<<53 && math.Trunc(f) == f }

// Querier answers questions. One goroutine at a time uses it; different Queriers
// answer in parallel.
type Querier struct {
	// Clock is what the next entry would be stamped with, in ms, for Explain; below
	// the log clock of a version it counts as that.
	Clock int64

	code   *code
	prog   *program
	limits limits
}

// NewQuerier returns a Querier.
func NewQuerier() *Querier { return &Querier{} }

// Query appends the result of an encoded query on v, which the caller holds.
func (q *Querier) Query(v *Version, query []byte, dst []byte) []byte {
	start := len(dst)
	d := codec.NewDecoder(query)
	var f *failure
	kind, err := queryHead(&d)
	if err == nil {
		switch kind {
		case command.Settings:
			return command.AppendSettingInfos(codec.AppendArrayLen(command.AppendOKHead(dst, uint64(v.index)), 1), v.limits.infos())
		case command.Describe:
			f = q.ready(v)
			if f == nil {
				dst = command.AppendOKHead(dst, uint64(v.index))
				dst = codec.AppendArrayLen(dst, 1)
				return command.AppendDescription(dst, q.describe(v))
			}
		case command.Get:
			dst, err = q.get(v, &d, dst)
		case command.Keys:
			dst, err = q.keys(v, &d, dst)
		case command.Explain:
			dst, err = q.explain(v, &d, dst)
		default:
			return q.method(v, &d, dst)
		}
	}
	if err != nil && !errors.As(err, &f) {
		f = &failure{command.CodeBadArgument, err.Error()}
	}
	if f != nil {
		return command.AppendError(dst[:start], uint64(v.index), f.code, f.text, "", nil)
	}
	return dst
}

// queryHead reads the kind and checks the number of fields.
func queryHead(d *codec.Decoder) (command.QueryKind, error) {
	n, err := d.ArrayLen()
	if err != nil {
		return 0, fmt.Errorf("unreadable query: %w", err)
	}
	k, err := d.Uint()
	if err != nil {
		return 0, fmt.Errorf("unreadable query: %w", err)
	}
	want := map[command.QueryKind]int{command.Query: 4, command.Get: 3, command.Describe: 1, command.Settings: 1, command.Explain: 4, command.Keys: 4}
	if want[command.QueryKind(k)] != n || n == 0 {
		return 0, fmt.Errorf("query kind %d with %d fields", k, n)
	}
	return command.QueryKind(k), nil
}

// ready gives q a program of v's code.
func (q *Querier) ready(v *Version) *failure {
	if q.prog != nil && q.prog.broken {
		q.prog.renew()
	}
	if q.prog == nil || q.code != v.code {
		p, err := reload(state.NewStore(), &q.limits, nil, v.code)
		if err != nil {
			return &failure{command.CodeScript, err.Error()}
		}
		q.prog, q.code = p, v.code
	}
	q.limits = v.limits
	x := q.prog.x
	x.view, x.roots = v.state, v.roots
	return nil
}

// method runs a query method.
func (q *Querier) method(v *Version, d *codec.Decoder, dst []byte) []byte {
	refuse := func(code command.Code, format string, args ...any) []byte {
		return command.AppendError(dst, uint64(v.index), code, fmt.Sprintf(format, args...), "", nil)
	}
	name, err := d.Bytes()
	if err != nil {
		return refuse(command.CodeBadArgument, "unreadable query: %v", err)
	}
	o := v.roots.byName[string(name)]
	if o == nil {
		return refuse(command.CodeNotFound, "no object %q", clip(name))
	}
	if f := q.ready(v); f != nil {
		return refuse(f.code, "%s", f.text)
	}
	if name, err = d.Bytes(); err != nil {
		return refuse(command.CodeBadArgument, "unreadable query: %v", err)
	}
	def := q.prog.class(o)
	if def == nil {
		return refuse(command.CodeNotFound, "no script defines the methods of %s any more", o.name)
	}
	mt := def.methods[string(name)]
	switch {
	case mt == nil:
		return refuse(command.CodeNotFound, "%s has no method %q", o.name, clip(name))
	case mt.kind != kindQuery:
		return refuse(command.CodeBadArgument, "%s:%s is a %s method, not a query", o.name, mt.name, mt.kind)
	}
	x := q.prog.x
	x.start(modeQuery, q.limits.instructions)
	// A query draws the same numbers from the same version on every node.
	x.index, x.clock, x.seed, x.object, x.caller = uint64(v.index), v.clock, uint64(v.clock), o.name, 0
	out := dst
	failed := x.protect(func() {
		x.L.Push(mt.fn)
		x.L.Push(o.table.UserData())
		n, err := x.pushArgs(d)
		if err != nil {
			out = refuse(argumentCode(err), "%s:%s: arguments: %v", o.name, mt.name, err)
			return
		}
		x.L.Call(n+1, lua.MultRet)
		out = command.AppendOKHead(dst, uint64(v.index))
		if out, err = x.appendValues(out); err != nil {
			out = refuse(command.CodeScript, "%s:%s: result: %v", o.name, mt.name, err)
		}
	})
	if failed != nil {
		return x.appendError(dst, uint64(v.index), failed)
	}
	return out
}

// place is the value at an object's name and a path under its state.
func (v *Version) place(d *codec.Decoder) (lua.LValue, error) {
	name, err := d.Bytes()
	if err != nil {
		return nil, err
	}
	o := v.roots.byName[string(name)]
	if o == nil {
		return nil, &failure{command.CodeNotFound, fmt.Sprintf("no object %q", clip(name))}
	}
	var value lua.LValue = o.table.UserData()
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	scratch := state.NewStore()
	for range n {
		k, err := scratch.DecodeValue(d, state.Limits{Depth: 1, Bytes: v.limits.stringBytes})
		if err != nil {
			return nil, err
		}
		t, ok := state.TableOf(value)
		if !ok {
			return nil, &failure{command.CodeBadArgument, fmt.Sprintf("attempt to index a %s value%s", typeName(value), keyText(k))}
		}
		value = t.Get(v.state, k)
	}
	return value, nil
}

// Limits of an answer to Keys.
const (
	keysMax      = 1000
	keysVisited  = 2000 // keys that are looked at
	keyListedMax = 256  // bytes of a key that is listed
)

// keys appends the first text keys at a path that begin with a prefix. However
// much is there, it looks at a part of it.
func (q *Querier) keys(v *Version, d *codec.Decoder, dst []byte) ([]byte, error) {
	value, err := v.place(d)
	if err != nil {
		return dst, err
	}
	prefix, err := d.String()
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return dst, err
	}
	var found []string
	t, ok := state.TableOf(value)
	for k, n := lua.LString(prefix), 0; ok && n < keysVisited && len(found) < keysMax; n++ {
		next, _, more, err := t.Next(v.state, k)
		text, isText := next.(lua.LString)
		if err != nil || !more || !isText || !strings.HasPrefix(string(text), prefix) {
			break
		}
		if k = text; len(k) <= keyListedMax {
			found = append(found, string(k))
		}
	}
	dst = command.AppendOKHead(dst, uint64(v.index))
	dst = codec.AppendArrayLen(codec.AppendArrayLen(dst, 1), len(found))
	for _, k := range found {
		dst = codec.AppendString(dst, k)
	}
	return dst, nil
}

// get appends the value at a path under an object's state.
func (q *Querier) get(v *Version, d *codec.Decoder, dst []byte) ([]byte, error) {
	value, err := v.place(d)
	if err != nil {
		return dst, err
	}
	if err := d.End(); err != nil {
		return dst, err
	}
	out := command.AppendOKHead(dst, uint64(v.index))
	out = codec.AppendArrayLen(out, 1)
	out, err = state.AppendValue(out, v.state, value, state.Limits{Bytes: v.limits.messageBytes})
	if errors.Is(err, state.ErrBytes) {
		return dst, &failure{command.CodeBudget, "the value is larger than a message may be; ask for a part of it, or write a query method"}
	}
	return out, err
}

// describe lists the objects with their methods, and the scripts.
func (q *Querier) describe(v *Version) command.Description {
	out := command.Description{Scripts: v.code.scripts}
	for _, name := range v.roots.names() {
		o := v.roots.byName[name]
		od := command.Object{Name: name, Version: o.version}
		d := q.prog.class(o)
		if d != nil {
			od.Script, od.Doc = d.script, d.doc
			if own := q.prog.defs[name]; own != nil {
				od.Script = own.script
				if own.doc != "" {
					od.Doc = own.doc
				}
			}
			if d.name != name {
				od.Prototype = d.name
			}
			for _, m := range d.order {
				od.Methods = append(od.Methods, command.Method{Name: m.name, Kind: m.kind, Params: slices.Clone(m.params), Doc: m.doc, Line: m.line})
			}
		}
		out.Objects = append(out.Objects, od)
	}
	return out
}
