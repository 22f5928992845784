package lab

import (
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
)

const (
	// leaderlessMax is for how long a node may hear no leader before it ends its
	// watches: it may be cut off, and the others go on.
	leaderlessMax = 3 * time.Second
	// eventsMost is how many kept events a watch of a topic takes at once: more than
	// a machine keeps by default.
	eventsMost = 10_000
)

// Told is what a client hears of what it watches; one of its parts is set.
type Told struct {
	Index   uint64
	Began   bool            // all that happens behind the index is told
	Picture []byte          // of a place: an array of the value that is there
	Changes []luafsm.Change // of a place: what one call changed
	Event   *luafsm.Event   // of a topic
	Err     error           // the watch is over
}

// WatchOptions say what is watched: a place of an object's state, or a topic.
type WatchOptions struct {
	Object string
	Keys   []lua.LValue
	Topic  string
	Resume bool // begin with the events behind the log index From
	From   uint64
}

// Watch is what a client watches, at one node after the other.
type Watch struct {
	c    *Client
	o    WatchOptions
	tell func(Told)

	node    *member
	life    int // of the node; its frames come over one connection
	handle  *luafsm.Watch
	live    bool   // the picture is on its way
	early   []Told // came before it
	arrives time.Duration
	began   bool
	seen    uint64 // number of the last event
	stopped bool
	number  uint64 // counts the nodes that were asked
}

// Watch begins to watch; tell is called in Steps. When a node is lost the watch
// goes on at another one: events follow without a gap, of a place there is a new
// picture.
func (c *Client) Watch(o WatchOptions, tell func(Told)) *Watch {
	w := &Watch{c: c, o: o, tell: tell}
	w.begin()
	return w
}

// Stop ends the watch.
func (w *Watch) Stop() {
	w.stopped = true
	w.leave()
}

// leave gives up the watch at the node.
func (w *Watch) leave() {
	if w.handle != nil {
		w.handle.Release()
		w.handle = nil
	}
	if m := w.node; m != nil {
		m.watches = slices.DeleteFunc(m.watches, func(x *Watch) bool { return x == w })
	}
	w.node, w.live, w.early = nil, false, nil
	w.number++
}

// begin asks a node.
func (w *Watch) begin() {
	world := w.c.w
	if w.stopped || w.c.dead {
		return
	}
	m := world.anyMember()
	w.node = m
	number := w.number
	world.after(world.delay(), func() {
		switch {
		case w.stopped || w.number != number:
		case !m.up:
			w.again()
		default:
			w.life = m.life
			m.watches = append(m.watches, w)
			m.in.watches = append(m.in.watches, w)
			m.wake()
		}
	})
}

// again goes to another node after a pause.
func (w *Watch) again() {
	w.leave()
	w.c.w.after(w.c.w.between(retryMin, retryMax), w.begin)
}

// Watch implements replica.Watcher.
func (w *Watch) Watch(m *luafsm.Machine) {
	switch {
	case w.stopped || w.handle != nil:
	case w.o.Topic != "":
		w.handle = m.WatchTopic(w.o.Topic)
	default:
		w.handle = m.WatchPlace(w.o.Object, w.o.Keys)
	}
}

// Reply implements replica.Replier. Only refusals come this way: the picture is
// made by answer.
func (w *Watch) Reply(id uint64, _ []byte) {
	if !w.stopped && id == w.number {
		w.again()
	}
}

// answer tells what there is, and then what has changed since.
func (w *Watch) answer(querier *luafsm.Querier, v *luafsm.Version) {
	if w.stopped || w.handle == nil {
		return
	}
	index := uint64(v.Index())
	if w.o.Topic != "" {
		if !w.replay(v, index) {
			return
		}
	} else {
		picture, err := w.picture(querier, v)
		if err != nil {
			w.arrive(Told{Index: index, Err: err})
			w.Stop()
			return
		}
		w.arrive(Told{Index: index, Began: !w.began, Picture: picture})
	}
	w.began, w.live = true, true
	for _, t := range w.early {
		w.pass(t)
	}
	w.early = nil
}

// picture is the value at the place, as an array.
func (w *Watch) picture(querier *luafsm.Querier, v *luafsm.Version) ([]byte, error) {
	keys := codec.AppendArrayLen(nil, len(w.o.Keys))
	for _, k := range w.o.Keys {
		switch k := k.(type) {
		case lua.LString:
			keys = codec.AppendString(keys, string(k))
		case lua.LNumber:
			keys = codec.AppendNumber(keys, float64(k))
		default:
			keys = codec.AppendBool(keys, lua.LVAsBool(k))
		}
	}
	d := codec.NewDecoder(querier.Query(v, command.AppendGet(nil, w.o.Object, keys), nil))
	res, err := command.DecodeResult(&d)
	switch {
	case err != nil:
		return nil, err
	case res.Code == command.CodeOK:
		return res.Values, nil
	case res.Code == command.CodeBudget || res.Code == command.CodeNotFound && !w.began:
		return nil, res.Err()
	}
	// As at a node: the object, or a table on the way, is not there; it may come.
	return codec.AppendNil(codec.AppendArrayLen(nil, 1)), nil
}

// replay tells the events that were missed.
func (w *Watch) replay(v *luafsm.Version, index uint64) bool {
	if !w.began && !w.o.Resume {
		w.seen = v.LastEvent()
		w.arrive(Told{Index: index, Began: true})
		return true
	}
	events, complete := v.EventsAfter(w.seen, eventsMost)
	if !w.began {
		events, complete = v.EventsFrom(raft.Index(w.o.From)+1, eventsMost)
	}
	if !complete {
		w.arrive(Told{Index: index, Err: &command.Error{Code: command.CodeNotFound, Message: "the events that come next are kept no more"}})
		w.Stop()
		return false
	}
	if !w.began {
		w.arrive(Told{Index: index, Began: true})
	}
	for i := range events {
		if w.o.Topic == luafsm.TopicAll || w.o.Topic == events[i].Topic {
			w.pass(Told{Index: uint64(events[i].Index), Event: &events[i]})
		}
	}
	w.seen = max(w.seen, v.LastEvent())
	return true
}

// changed takes what an entry did, at the node.
func (w *Watch) changed(changes []luafsm.Change) {
	for i := 0; i < len(changes) && w.handle != nil; {
		c := &changes[i]
		end := i + 1
		for c.Event.Seq == 0 && end < len(changes) && changes[end].Watch == c.Watch && changes[end].Index == c.Index {
			end++
		}
		t := Told{Index: uint64(c.Index)}
		if c.Event.Seq != 0 {
			t.Event = &c.Event
		} else {
			t.Changes = changes[i:end]
		}
		i = end
		switch {
		case c.Watch != w.handle:
		case slices.ContainsFunc(t.Changes, func(c luafsm.Change) bool { return c.TooLarge }):
			w.again() // for a new picture
		case !w.live:
			w.early = append(w.early, t)
		default:
			w.pass(t)
		}
	}
}

// pass tells a change, and an event that was not told before.
func (w *Watch) pass(t Told) {
	if t.Event != nil {
		if t.Event.Seq <= w.seen {
			return
		}
		w.seen = t.Event.Seq
	}
	w.arrive(t)
}

// arrive brings something to the client, behind what was told before.
func (w *Watch) arrive(t Told) {
	world := w.c.w
	w.arrives = max(w.arrives, world.now+world.delay())
	world.after(w.arrives-world.now, func() {
		if (!w.stopped || t.Err != nil) && !w.c.dead {
			w.tell(t)
		}
	})
}

// loseWatches has the clients that watch at a node go elsewhere.
func (m *member) loseWatches() {
	for _, w := range slices.Clone(m.watches) {
		w.again()
	}
}
