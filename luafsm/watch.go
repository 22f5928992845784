package luafsm

import (
	"slices"
	"sync/atomic"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// Limits of what the machine says of the changes that are watched. It encodes
// them while it applies, so they bound what a watcher can cost all others.
const (
	changeBytesMax   = 1 << 20 // value of one change
	changeEntriesMax = 10_000  // entries of tables in it
	changesBytesMax  = 4 << 20 // values of all changes of one log entry
)

// TopicAll is the topic of a watch for the events of all topics.
const TopicAll = "*"

// Watch is a place of the state, or a topic, whose changes the machine reports.
// It is held until as many Releases as times it was given out.
type Watch struct {
	topic    string     // empty: a place
	last     lua.LValue // of a place, its present value if that is no table; nil if it is
	refs     atomic.Int64
	released *atomic.Bool // the machine's: some watch was
}

// Release lets go of the watch. Any goroutine may call it.
func (w *Watch) Release() {
	if w.refs.Add(-1) == 0 {
		w.released.Store(true)
	}
}

// Change is what one command did that a watch is for.
type Change struct {
	Watch *Watch
	Index raft.Index // of the command
	// Of a place: where below it, a msgpack array of keys, and what is there now.
	// Value is nil when nothing is, and when TooLarge says that it is not told.
	Path, Value []byte
	TooLarge    bool
	// Of a topic.
	Event Event
}

// Size is about what the change takes in memory.
func (c *Change) Size() int {
	const fixed = 160
	return fixed + len(c.Path) + len(c.Value) + len(c.Event.Values)
}

// watches are what a machine has to report. It implements state.Observer.
type watches struct {
	m        *Machine
	objects  map[string]*place
	places   int // made so far
	topics   map[string]*Watch
	released atomic.Bool
	changes  []Change // of the entry that is applied
	bytes    int      // of their values
	kept     int      // changes before the transaction that is open
}

// place is a node of the tree of watched paths.
type place struct {
	watch *Watch // nil: only places below are watched
	below map[lua.LValue]*place
	order int // among those that are below the same, of their first watches
}

// WatchPlace gives the watch of the value at a path below an object's state,
// which need not be there. Changes reports it from the next entry on.
func (m *Machine) WatchPlace(object string, path []lua.LValue) *Watch {
	w := m.watching()
	p := w.objects[object]
	if p == nil {
		p = &place{}
		w.objects[object] = p
	}
	value := m.store.Root().GetString(nil, object)
	for _, k := range path {
		next := p.below[k]
		if next == nil {
			if p.below == nil {
				p.below = map[lua.LValue]*place{}
			}
			w.places++
			next = &place{order: w.places}
			p.below[k] = next
		}
		p, value = next, fieldOf(value, k)
	}
	if p.watch == nil {
		p.watch = &Watch{released: &w.released}
		p.watch.seen(value)
	}
	p.watch.refs.Add(1)
	return p.watch
}

// WatchTopic gives the watch of a topic's events.
func (m *Machine) WatchTopic(topic string) *Watch {
	w := m.watching()
	t := w.topics[topic]
	if t == nil {
		t = &Watch{topic: topic, released: &w.released}
		w.topics[topic] = t
	}
	t.refs.Add(1)
	return t
}

// watching has the machine report changes.
func (m *Machine) watching() *watches {
	if m.watches == nil {
		m.watches = &watches{m: m, objects: map[string]*place{}, topics: map[string]*Watch{}}
	}
	if len(m.watches.objects) == 0 {
		m.store.Observe(m.watches)
	}
	return m.watches
}

// Changes returns what the last Apply did that is watched, in order: what one
// command did to one place stands together. It is the caller's.
func (m *Machine) Changes() []Change {
	if m.watches == nil || len(m.watches.changes) == 0 {
		return nil
	}
	out := m.watches.changes
	m.watches.changes = nil
	return out
}

// applies readies the watches for the next entry. m.watches is nil until the
// first watch, so that nobody pays for what nobody asked for.
func (w *watches) applies() {
	w.changes, w.bytes, w.kept = nil, 0, 0
	if !w.released.Swap(false) {
		return
	}
	for topic, t := range w.topics {
		if t.refs.Load() == 0 {
			delete(w.topics, topic)
		}
	}
	for name, p := range w.objects {
		if !p.prune() {
			delete(w.objects, name)
		}
	}
	if len(w.objects) == 0 {
		w.m.store.Observe(nil)
	}
}

// prune drops the watches that were released and says whether any is left.
func (p *place) prune() bool {
	if p.watch != nil && p.watch.refs.Load() == 0 {
		p.watch = nil
	}
	for k, sub := range p.below {
		if !sub.prune() {
			delete(p.below, k)
		}
	}
	return p.watch != nil || len(p.below) > 0
}

// emitted reports an event of the command that is being applied.
func (w *watches) emitted(e Event) {
	for _, topic := range []string{e.Topic, TopicAll} {
		if t := w.topics[topic]; t != nil {
			w.changes = append(w.changes, Change{Watch: t, Index: e.Index, Event: e})
		}
		if e.Topic == TopicAll {
			break
		}
	}
}

// Wants implements state.Observer.
func (w *watches) Wants(object string) bool { return w.objects[object] != nil }

// Changed implements state.Observer: it reports the change of a place to the
// watches of that place and of those above it, and to those below it whose own
// values were replaced with it.
func (w *watches) Changed(path []lua.LValue, value lua.LValue) {
	p := w.objects[string(path[0].(lua.LString))]
	for i := 1; ; i++ {
		if p.watch != nil {
			w.report(p.watch, path[i:], value)
		}
		if i == len(path) {
			break
		}
		if p = p.below[path[i]]; p == nil {
			return
		}
	}
	w.below(p, value)
}

// below reports to the watches below a place whose value was replaced. One that
// has the same number or text as before has not changed; of a table that is not
// known.
func (w *watches) below(p *place, value lua.LValue) {
	keys := make([]lua.LValue, 0, len(p.below))
	for k := range p.below {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b lua.LValue) int { return p.below[a].order - p.below[b].order })
	for _, k := range keys {
		sub, is := p.below[k], fieldOf(value, k)
		if sub.watch != nil && sub.watch.last != is {
			w.report(sub.watch, nil, is)
		}
		w.below(sub, is)
	}
}

// fieldOf is the value at k of what may be a table.
func fieldOf(v, k lua.LValue) lua.LValue {
	if t, ok := state.TableOf(v); ok {
		return t.Get(nil, k)
	}
	return lua.LNil
}

// report adds a change. A value is encoded once for all who watch the place.
func (w *watches) report(to *Watch, path []lua.LValue, value lua.LValue) {
	c := Change{Watch: to, Index: raft.Index(w.m.current.index), Path: codec.AppendArrayLen(nil, len(path))}
	if len(path) == 0 {
		to.seen(value)
	}
	for _, k := range path {
		c.Path, _ = state.AppendValue(c.Path, nil, k, state.Limits{}) // keys of the state are values
	}
	if value != lua.LNil {
		entries := changeEntriesMax
		b, err := state.AppendValue(nil, nil, value, state.Limits{
			Depth: state.DepthMax + 1, Bytes: min(changeBytesMax, changesBytesMax-w.bytes),
			Charge: func(n int) error {
				if entries -= n; entries < 0 {
					return state.ErrBytes
				}
				return nil
			},
		})
		if c.TooLarge = err != nil; !c.TooLarge {
			c.Value = b
			w.bytes += len(b)
		}
	}
	w.changes = append(w.changes, c)
}

// seen remembers what is at the place now.
func (w *Watch) seen(value lua.LValue) {
	if w.last = value; value.Type() == lua.LTUserData {
		w.last = nil // unlike any value: the table may change
	}
}
