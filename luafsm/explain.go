package luafsm

import (
	"strconv"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// Limits of an explanation.
const (
	explainChangesMax = 1000
	explainValueMax   = 64 << 10 // bytes of a value that is told
	explainBytesMax   = 4 << 20  // bytes of all of them
)

// explain runs a call on a copy of v as if it were the next entry, and appends
// what came of it. The copy shares all with v that the call does not change; it
// is gone afterwards. index() is the next one, random() and caller() are not
// those of the entry that a real call would be in.
func (q *Querier) explain(v *Version, d *codec.Decoder, dst []byte) ([]byte, error) {
	object, err := d.String()
	if err != nil {
		return dst, err
	}
	method, err := d.String()
	if err != nil {
		return dst, err
	}
	args, err := d.Raw()
	if err == nil {
		err = d.End()
	}
	if err != nil {
		return dst, err
	}
	e := command.Explanation{Steps: command.Charge{Most: uint64(v.limits.instructions)}, Bytes: command.Charge{Most: uint64(v.limits.callBytes)}}
	if q.isQuery(v, object, method) {
		q.explainQuery(v, &e, command.AppendQuery(nil, object, method, args))
	} else if err := explainCall(v, q.Clock, &e, command.AppendCall(nil, 0, 0, object, method, args)); err != nil {
		return dst, err
	}
	dst = command.AppendOKHead(dst, uint64(v.index))
	return command.AppendExplanation(codec.AppendArrayLen(dst, 1), &e), nil
}

// isQuery tells whether a call is that of a query method, which changes nothing.
func (q *Querier) isQuery(v *Version, object, method string) bool {
	o := v.roots.byName[object]
	if o == nil || q.ready(v) != nil {
		return false
	}
	d := q.prog.class(o)
	return d != nil && d.methods[method] != nil && d.methods[method].kind == kindQuery
}

func (q *Querier) explainQuery(v *Version, e *command.Explanation, query []byte) {
	d := codec.NewDecoder(query)
	if _, err := queryHead(&d); err != nil {
		panic("luafsm: " + err.Error()) // it was made just now
	}
	var used Charges
	x := q.prog.x
	x.fold()
	x.spent = &used
	e.Result = q.method(v, &d, nil)
	x.fold()
	x.spent = nil
	e.Clock, e.Steps.Used, e.Bytes.Used = v.clock, used.Steps, used.Bytes
}

// copy is a machine in the state of v that goes its own way, and the version that
// its tables are read with. The caller holds v meanwhile.
func (v *Version) copy() (*Machine, *state.Version, error) {
	store, view := v.state.Fork()
	limits := v.limits
	m := &Machine{store: store, limits: &limits, index: v.index, clock: v.clock, roots: readRoots(store), code: v.code, runs: MachineVersion}
	version, _ := store.Section(sectionMachine).GetString(nil, "version").(lua.LNumber)
	m.version = int(version)
	p, err := reload(store, m.limits, nil, v.code)
	if err != nil {
		return nil, nil, &failure{command.CodeScript, err.Error()}
	}
	m.install(p)
	p.x.view = view
	return m, view, nil
}

func explainCall(v *Version, clock int64, e *command.Explanation, cmd []byte) error {
	m, view, err := v.copy()
	if err != nil {
		return err
	}
	m.clock = max(m.clock, clock)
	m.current.seed = uint64(m.index) + 1
	seen := explained{before: v, view: view, e: e}
	m.store.Observe(&seen)
	lastTimer, waiting := m.timers()
	x := m.prog.x
	failed := x.protect(func() { e.Result = m.command(nil, uint64(m.index)+1, cmd) })
	if failed != nil {
		e.Result = m.failed(nil, x, failed)
	}
	x.fold()
	e.Clock, e.Steps.Used, e.Bytes.Used = m.clock, m.charged.Steps, m.charged.Bytes
	d := codec.NewDecoder(e.Result)
	if r, err := command.DecodeResult(&d); err != nil || r.Code != command.CodeOK {
		return nil
	}
	for _, ev := range x.events {
		e.Events = append(e.Events, command.Emitted{Object: ev.Object, Topic: ev.Topic, Values: ev.Values})
	}
	last, left := m.timers()
	for id := lastTimer + 1; id <= last; id++ {
		if t, ok := m.timer(id); ok {
			e.Timers = append(e.Timers, t)
		}
	}
	e.Cancelled = uint64(waiting + len(e.Timers) - left)
	return nil
}

// timers is the id of the timer that was set last, and how many wait.
func (m *Machine) timers() (last int64, waiting int) {
	id, _ := m.store.Section(sectionMachine).GetString(nil, "timer").(lua.LNumber)
	return int64(id), m.store.Section(sectionTimers).Count(nil) / 2
}

// timer is one that waits.
func (m *Machine) timer(id int64) (command.TimerSet, bool) {
	timers := m.store.Section(sectionTimers)
	key, _ := timers.Get(nil, lua.LNumber(id)).(lua.LString)
	t, ok := state.TableOf(timers.Get(nil, key))
	if !ok || len(key) < dueDigits {
		return command.TimerSet{}, false
	}
	text := func(k string) string { s, _ := t.GetString(nil, k).(lua.LString); return string(s) }
	due, err := strconv.ParseInt(string(key[:dueDigits]), 10, 64)
	return command.TimerSet{ID: uint64(id), Object: text("object"), Method: text("method"), Args: []byte(text("args")), Due: due}, err == nil
}

// explained collects what a call on a copy changes. It implements state.Observer.
type explained struct {
	before *Version
	view   *state.Version // of the copy
	e      *command.Explanation
	bytes  int // of the values told
}

// Wants implements state.Observer.
func (s *explained) Wants(string) bool { return true }

// Changed implements state.Observer.
func (s *explained) Changed(path []lua.LValue, value lua.LValue) {
	if len(s.e.Changes) >= explainChangesMax {
		s.e.LeftOut++
		return
	}
	var old lua.LValue = lua.LNil
	if root := s.before.state.Root(); root != nil {
		old = root.UserData()
	}
	c := command.Changed{Path: codec.AppendArrayLen(nil, len(path))}
	for _, k := range path {
		c.Path, _ = state.AppendValue(c.Path, nil, k, state.Limits{}) // keys of the state are values
		if t, ok := state.TableOf(old); ok {
			old = t.Get(s.before.state, k)
		} else {
			old = lua.LNil
		}
	}
	c.Old, c.New = s.told(old, s.before.state), s.told(value, s.view)
	s.e.Changes = append(s.e.Changes, c)
}

func (s *explained) told(v lua.LValue, view *state.Version) command.Seen {
	if v == lua.LNil {
		return command.Seen{}
	}
	b, err := state.AppendValue(nil, view, v, state.Limits{Depth: state.DepthMax + 1, Bytes: min(explainValueMax, explainBytesMax-s.bytes)})
	if err != nil {
		return command.Seen{TooLarge: true}
	}
	s.bytes += len(b)
	return command.Seen{Value: b}
}
