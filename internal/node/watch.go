package node

import (
	"fmt"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/luafsm/state"
	"github.com/syncsh/syncsh/raft"
	lua "github.com/yuin/gopher-lua"
)

const (
	// watchesMax bounds the watches that are open at a node.
	watchesMax = 10_000
	// watchPathBytesMax bounds the payload of an OpWatch: the node keeps it, and the
	// keys of its path, for as long as the watch is open.
	watchPathBytesMax = 4 << 10
	// watchQueueBytesMax bounds frames that a client has not fetched, of one watch;
	// a single one is always let in. watchBytesMax is for all watches together.
	watchQueueBytesMax = 1 << 20
	watchBytesMax      = 256 << 20
	// watchNewsBytesMax bounds changes that the applier has handed over and nobody
	// has distributed yet.
	watchNewsBytesMax = 64 << 20
	// watchPullBytes is how much of the queues goes into one write.
	watchPullBytes = 256 << 10
	// aliveEvery is how often the client of a quiet watch hears that the node lives.
	aliveEvery = time.Second
	// leaderlessMax is for how long a node may hear no leader before it ends its
	// watches: it may be cut off, and the others go on.
	leaderlessMax = 3 * time.Second
	// One answer has at most so many kept events, of so many bytes, and looks at no
	// more than that.
	replayEventsMax = 1000
	replayBytesMax  = 1 << 20
	replayScanMax   = 10_000
)

// watch is a subscription of a client. To the replica it is who asks a query,
// the picture that the watch begins with.
type watch struct {
	conn *clientConn
	id   uint64 // of the request
	spec wire.Watch
	keys []lua.LValue
	mode wire.Mode

	// Guarded by conn.out.mu.
	handle *luafsm.Watch // once the machine reports changes
	live   bool          // the picture is on its way, frames may follow
	ended  bool
	listed bool   // in conn.ready
	queue  []byte // frames
}

// Watch implements replica.Watcher.
func (w *watch) Watch(m *luafsm.Machine) {
	out := &w.conn.out
	out.mu.Lock()
	defer out.mu.Unlock()
	if w.ended {
		return
	}
	if w.spec.Topic != "" {
		w.handle = m.WatchTopic(w.spec.Topic)
	} else {
		w.handle = m.WatchPlace(w.spec.Object, w.keys)
	}
	// Under the lock, so that it comes before the news that the watch is over.
	w.conn.node.watches.add(news{opened: w})
}

// Reply implements replica.Replier. Only refusals come this way: the picture is
// made by answer.
func (w *watch) Reply(id uint64, result []byte) {
	w.conn.Reply(id, result)
	w.conn.node.watches.drop(w)
}

// Gone tells whether nobody waits for the answer any more.
func (w *watch) Gone() bool { return w.conn.Gone() }

// answer sends the picture and lets the frames follow.
func (w *watch) answer(querier *luafsm.Querier, v *luafsm.Version, buf []byte) []byte {
	ok := false
	if w.spec.Topic != "" {
		buf, ok = w.replay(v, buf)
	} else {
		buf, ok = w.picture(querier, v, buf)
	}
	if !ok {
		w.Reply(w.id, buf)
		return buf
	}
	w.conn.Reply(w.id, buf)
	out := &w.conn.out
	out.mu.Lock()
	w.live = true
	w.list()
	out.mu.Unlock()
	return buf
}

// picture appends the value at the place.
func (w *watch) picture(querier *luafsm.Querier, v *luafsm.Version, buf []byte) ([]byte, bool) {
	buf = querier.Query(v, command.AppendGet(nil, w.spec.Object, w.spec.Keys), buf)
	d := codec.NewDecoder(buf)
	res, err := command.DecodeResult(&d)
	switch {
	case err == nil && res.Code == command.CodeOK:
		return buf, true
	case err != nil || res.Code == command.CodeBudget || res.Code == command.CodeNotFound && w.spec.MustExist:
		return buf, false
	}
	// The object, or a table on the way, is not there; it may come.
	return command.AppendOK(buf[:0], uint64(v.Index()), codec.AppendNil(codec.AppendArrayLen(nil, 1))), true
}

// replay appends kept events. False says that no frames follow: it is refused, or
// there are more events and the client asks again.
func (w *watch) replay(v *luafsm.Version, buf []byte) ([]byte, bool) {
	index := uint64(v.Index())
	var events []luafsm.Event
	complete, behind := true, "index"
	switch w.spec.Start {
	case wire.WatchAfterIndex:
		if w.mode == wire.Linearizable && w.spec.After > index {
			text := fmt.Sprintf("there is no index %d yet, the log is at %d", w.spec.After, index)
			return command.AppendError(buf, index, command.CodeBadArgument, text, "", nil), false
		}
		events, complete = v.EventsFrom(raft.Index(w.spec.After)+1, replayScanMax)
	case wire.WatchAfterNumber:
		behind = "number"
		events, complete = v.EventsAfter(w.spec.After, replayScanMax)
	}
	if !complete {
		text := fmt.Sprintf("events after %s %d are kept no more; all after index %d are", behind, w.spec.After, v.EventsLost())
		return command.AppendError(buf, index, command.CodeNotFound, text, "", nil), false
	}
	r := wire.Replay{Live: len(events) < replayScanMax}
	bytes := 0
	for _, e := range events {
		if len(r.Events) == replayEventsMax || bytes > replayBytesMax {
			r.Live = false
			break
		}
		r.Last = e.Seq
		if w.spec.Topic == luafsm.TopicAll || w.spec.Topic == e.Topic {
			r.Events = append(r.Events, wireEvent(e))
			bytes += len(e.Values)
		}
	}
	if r.Live {
		r.Last = v.LastEvent()
		if w.spec.Start == wire.WatchAfterNumber { // a stale read may not have come so far
			r.Last = max(r.Last, w.spec.After)
		}
	}
	return command.AppendOK(buf, index, wire.AppendReplay(nil, r)), r.Live
}

func wireEvent(e luafsm.Event) wire.Event {
	return wire.Event{Index: uint64(e.Index), Seq: e.Seq, Object: e.Object, Topic: e.Topic, Values: e.Values}
}

// list has the connection's writer look at the queue; conn.out.mu is held.
func (w *watch) list() {
	if !w.live || w.listed || len(w.queue) == 0 {
		return
	}
	w.listed = true
	w.conn.ready = append(w.conn.ready, w)
	w.conn.out.signal()
}

// push queues a frame that frame appends, n bytes or a little more. False says
// that there is no room.
func (w *watch) push(n int, frame func(b []byte) []byte) bool {
	out, bytes := &w.conn.out, &w.conn.node.watches.bytes
	out.mu.Lock()
	defer out.mu.Unlock()
	if w.ended {
		return true
	}
	if len(w.queue) > 0 && (len(w.queue)+n > watchQueueBytesMax || bytes.Load() > watchBytesMax) {
		return false
	}
	w.append(frame)
	return true
}

func (w *watch) append(frame func(b []byte) []byte) {
	before := len(w.queue)
	b, mark := wire.BeginFrame(w.queue)
	w.queue = wire.EndFrame(frame(b), mark)
	w.conn.node.watches.bytes.Add(int64(len(w.queue) - before))
	w.list()
}

// pull appends what the watches of the connection have to send; out.mu is held.
func (c *clientConn) pull(b []byte) []byte {
	before := len(b)
	for len(c.ready) > 0 && len(b) < watchPullBytes {
		w := c.ready[0]
		c.ready[0] = nil
		c.ready = c.ready[1:]
		b = append(b, w.queue...)
		c.node.watches.bytes.Add(-int64(len(w.queue)))
		if w.queue = w.queue[:0]; cap(w.queue) > watchPullBytes {
			w.queue = nil
		}
		if w.listed = false; w.ended {
			delete(c.watches, w)
		}
	}
	if len(c.ready) > 0 {
		c.out.signal()
	}
	c.node.unfetched.Add(int64(len(b) - before))
	return b
}

// alive tells the client of a connection with nothing to send that the node lives.
func (c *clientConn) alive() {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if len(c.out.buf) == 0 && len(c.ready) == 0 && !c.out.closed {
		b, mark := wire.BeginFrame(c.out.buf)
		c.out.buf = wire.EndFrame(wire.AppendAlive(b), mark)
		c.node.unfetched.Add(int64(len(c.out.buf)))
		c.out.signal()
	}
}

// watchKeys reads the keys of a path.
func watchKeys(b []byte) (keys []lua.LValue, err error) {
	if b == nil {
		return nil, nil
	}
	d := codec.NewDecoder(b)
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	if n > state.DepthMax {
		return nil, fmt.Errorf("%d keys, at most %d are possible", n, state.DepthMax)
	}
	for range n {
		k, err := watchKey(&d)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, d.End()
}

func watchKey(d *codec.Decoder) (lua.LValue, error) {
	switch k := d.Peek(); k {
	case codec.KindString, codec.KindBytes:
		s, err := d.String()
		return lua.LString(s), err
	case codec.KindInt, codec.KindFloat:
		f, err := d.Number()
		if f != f { // equal to no key, and so never let go of
			return nil, fmt.Errorf("NaN is no key")
		}
		return lua.LNumber(f), err
	case codec.KindBool:
		b, err := d.Bool()
		return lua.LBool(b), err
	default: // not to be decoded: a table is a million entries within one key
		return nil, fmt.Errorf("a key is a string, a number or a boolean, not msgpack's %v", k)
	}
}
