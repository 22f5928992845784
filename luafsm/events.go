package luafsm

import (
	"fmt"
	"sort"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

// The last events are part of the state, so that a subscriber can go on where it
// was after a restart, at another node, or at one that has been restored from a
// snapshot. In their section an event sits under its number; what else is known
// of the ring is in the machine's section.

// Event was emitted by a call that has been applied.
type Event struct {
	Seq    uint64 // 1, 2, ... in the order in which they were emitted; never used twice
	Index  raft.Index
	Object string // whose method emitted it
	Topic  string
	Values []byte // msgpack array
}

// eventRing is what the machine's section says of the events. count is last-first+1.
type eventRing struct {
	first, last uint64     // numbers of the oldest event that is kept and of the newest
	bytes       int        // of those that are kept
	lost        raft.Index // of the newest that is kept no more; 0 if none
}

func readRing(machine *state.Table, v *state.Version) eventRing {
	number := func(name string) uint64 {
		n, _ := machine.GetString(v, name).(lua.LNumber)
		return uint64(n)
	}
	return eventRing{first: number("event_first") + 1, last: number("event"), bytes: int(number("event_bytes")), lost: raft.Index(number("event_lost"))}
}

func (r eventRing) write(machine *state.Table) error {
	return firstError(machine.SetString("event_first", lua.LNumber(r.first-1)), machine.SetString("event", lua.LNumber(r.last)),
		machine.SetString("event_bytes", lua.LNumber(r.bytes)), machine.SetString("event_lost", lua.LNumber(r.lost)))
}

// keepEvents puts the events of a call into the ring. It is part of the call.
func (m *Machine) keepEvents(x *exec) {
	if len(x.events) == 0 {
		return
	}
	machine, events := m.store.Section(sectionMachine), m.store.Section(sectionEvents)
	r := readRing(machine, nil)
	var err error
	for _, e := range x.events {
		r.last++
		b := appendEvent(nil, e)
		r.bytes += len(b)
		err = firstError(err, events.Set(lua.LNumber(r.last), lua.LString(b)))
		if m.watches != nil && !m.current.dry {
			e.Seq = r.last
			m.watches.emitted(e)
		}
		for range eventsDropMax { // a lowered setting takes effect little by little
			if int(r.last-r.first) < m.limits.events && r.bytes <= eventsBytesMax {
				break
			}
			text, _ := events.Get(nil, lua.LNumber(r.first)).(lua.LString)
			old, _ := decodeEvent(string(text))
			err = firstError(err, events.Set(lua.LNumber(r.first), lua.LNil))
			r.lost = old.Index
			r.bytes -= len(text)
			r.first++
		}
	}
	if err = firstError(err, r.write(machine)); err != nil {
		panic(fmt.Sprintf("luafsm: events: %v", err))
	}
}

func appendEvent(b []byte, e Event) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, uint64(e.Index))
	b = codec.AppendString(b, e.Object)
	b = codec.AppendString(b, e.Topic)
	return append(b, e.Values...)
}

func decodeEvent(text string) (e Event, err error) {
	d := codec.NewDecoder([]byte(text))
	if err = d.FixedArray(4); err != nil {
		return e, err
	}
	i, err := d.Uint()
	if err != nil {
		return e, err
	}
	e.Index = raft.Index(i)
	if e.Object, err = d.String(); err != nil {
		return e, err
	}
	if e.Topic, err = d.String(); err != nil {
		return e, err
	}
	e.Values, err = d.Raw()
	return e, err
}

// LastEvent is the number of the newest event, 0 before the first.
func (v *Version) LastEvent() uint64 { return v.ring().last }

// EventsLost is the index of the newest event that is kept no more, 0 if none.
func (v *Version) EventsLost() raft.Index { return v.ring().lost }

func (v *Version) ring() eventRing {
	if t := v.state.Section(sectionMachine); t != nil {
		return readRing(t, v.state)
	}
	return eventRing{first: 1}
}

// EventsAfter returns the events with numbers above seq, oldest first, at most
// most of them. complete is false when some of those it should begin with are
// kept no more.
func (v *Version) EventsAfter(seq uint64, most int) (events []Event, complete bool) {
	r := v.ring()
	complete = seq+1 >= r.first
	for n := max(seq+1, r.first); n <= r.last && len(events) < most; n++ {
		events = append(events, v.event(n))
	}
	return events, complete
}

// EventsFrom returns the events of index from and above, as EventsAfter does. A
// subscriber that has seen all of an index goes on with the next one; one that
// has seen an event goes on with EventsAfter and the event's number.
func (v *Version) EventsFrom(from raft.Index, most int) (events []Event, complete bool) {
	r := v.ring()
	kept := int(r.last + 1 - r.first)
	n := sort.Search(kept, func(i int) bool { return v.event(r.first+uint64(i)).Index >= from })
	events, _ = v.EventsAfter(r.first+uint64(n)-1, most)
	return events, r.lost == 0 || from > r.lost
}

// event is one of those that are kept.
func (v *Version) event(seq uint64) Event {
	text, _ := v.state.Section(sectionEvents).Get(v.state, lua.LNumber(seq)).(lua.LString)
	e, _ := decodeEvent(string(text)) // what a strange dump has made unreadable is empty
	e.Seq = seq
	return e
}
