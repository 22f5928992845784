package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// aliveTimeout is for how long a node that is watched may say nothing: a quiet
// one says every second that it lives.
const aliveTimeout = 5 * time.Second

// TopicAll watches the events of all topics.
const TopicAll = "*"

// WatchOptions say what to watch: an object's state, a place below it, or a topic.
type WatchOptions struct {
	Object string
	Path   []any // keys below the object's state; none: all of it

	Topic string // instead of an object: what calls emit
	// Resume begins with the events behind the log index From, which the cluster
	// must still keep, instead of with the next one. Of a place it makes no
	// difference but that From must not be ahead of the log: the picture that the
	// watch begins with has all changes in it.
	Resume bool
	From   uint64

	// Began, if set, is called once: all that happens behind the index is told.
	Began func(index uint64)
	// Patience is for how long no node may be there to watch, 0: the timeout of the
	// client.
	Patience time.Duration
}

// WatchKind says what a WatchEvent is.
type WatchKind uint8

// Kinds of a WatchEvent.
const (
	WatchPicture WatchKind = iota + 1 // the value at Index; what was told before is out of date
	WatchChanged                      // what one call at Index changed
	WatchEmitted                      // an event of the topic
	// WatchLagged says that the watch took too long to be told all: changes from
	// Index on are left out. Of a place a picture follows, of a topic nothing is
	// lost: the events follow.
	WatchLagged
)

func (k WatchKind) String() string {
	return [...]string{"", "picture", "change", "event", "lagged"}[k]
}

// WatchEvent is what a watch sees.
type WatchEvent struct {
	Kind    WatchKind
	Index   uint64 // in the log
	Value   any    // of a picture; nil: nothing is there
	Changes []Change
	Event   Event
}

// Change is one place that a call has given another value.
type Change struct {
	Path    []any // keys below what is watched; none: all of it
	Value   any
	Removed bool // nothing is there any more
}

// Event was emitted by a method.
type Event struct {
	Seq           uint64 // 1, 2, ... in the order of all events of the cluster
	Object, Topic string
	Values        []any
}

// errStop ends a watch whose user has had enough.
var errStop = errors.New("stopped")

// Watch tells, as a range over it goes on, what becomes of a place of the state,
// or the events of a topic. First comes a consistent picture of the place, then
// each change after it once, in the order of the log. When the node is lost the
// watch goes on at another one: events follow without a gap and none comes twice;
// of a place there is a new picture, no older than what was told before.
//
// It ends without an error when ctx does, and with one that says why otherwise:
// with CodeNotFound when there is no such object or the events that come next are
// kept no more, with CodeNoLeader when no node was there for the whole of
// Patience. It has a connection of its own: who is slow holds up no one else.
func (c *Client) Watch(ctx context.Context, o WatchOptions) iter.Seq2[WatchEvent, error] {
	return func(yield func(WatchEvent, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		w := &watch{c: c, o: o, yield: func(e WatchEvent) error {
			if !yield(e, nil) {
				return errStop
			}
			return nil
		}}
		err := w.prepare()
		if err == nil {
			err = w.run(ctx)
		}
		switch {
		case errors.Is(err, errStop):
		case c.ctx.Err() != nil:
			yield(WatchEvent{}, errorf(CodeClosed, "the client is closed"))
		case ctx.Err() == nil:
			yield(WatchEvent{}, err)
		}
	}
}

// watch is a Watch that runs.
type watch struct {
	c     *Client
	o     WatchOptions
	spec  wire.Watch
	mode  Mode
	began bool
	yield func(WatchEvent) error
	last  string    // address that was asked last
	seen  uint64    // last index that was told
	live  time.Time // when frames began to follow
	since time.Time // when a node was lost, or the watch began
	tries int       // since then
}

func (w *watch) prepare() error {
	o := w.o
	if (o.Object == "") == (o.Topic == "") {
		return badArgument("a watch names an object or a topic")
	}
	if len(o.Topic) > wire.NameBytesMax || len(o.Object) > wire.NameBytesMax {
		return badArgument("a name has at most %d bytes", wire.NameBytesMax)
	}
	if w.o.Patience <= 0 {
		w.o.Patience = w.c.cfg.Timeout
	}
	w.mode, w.since = w.c.cfg.Mode, time.Now()
	w.spec = wire.Watch{Object: o.Object, Topic: o.Topic, MustExist: true}
	if o.Topic != "" {
		if o.Resume {
			w.spec.Start, w.spec.After = wire.WatchAfterIndex, o.From
		}
		return nil
	}
	keys, err := EncodeArgs(o.Path...)
	w.spec.Keys = keys
	return err
}

// run watches at one node after the other.
func (w *watch) run(ctx context.Context) error {
	for {
		err := w.atNode(ctx)
		if err == nil || ctx.Err() != nil || errors.Is(err, errStop) || w.final(err) {
			return err
		}
		if time.Since(w.since) >= w.o.Patience {
			if CodeOf(err) == CodeDenied {
				return err
			}
			return errorf(CodeNoLeader, "no node could be watched for %v: %s", w.o.Patience, cause(err))
		}
		// A node that takes watches and ends them must not be asked in a loop.
		if w.since.Sub(w.live) > reconnectMax {
			w.tries = 0
		}
		if w.tries++; w.tries > 1 { // the first one after a loss is at once
			pause := min(retryMin<<min(w.tries, 10), retryMax)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause/2 + rand.N(pause)):
			}
		}
	}
}

// final tells whether another node would say the same.
func (w *watch) final(err error) bool {
	e := (*Error)(nil)
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code {
	case CodeNotFound, CodeBadArgument, CodeBudget, CodeScript:
		return true
	}
	return false
}

// atNode watches at one node until that ends. Its error is never nil.
func (w *watch) atNode(ctx context.Context) error {
	k, err := w.connect(ctx)
	if err != nil {
		return err
	}
	defer k.nc.Close()
	defer context.AfterFunc(ctx, func() { k.nc.Close() })()
	for id := uint64(1); ; id++ {
		live, err := w.ask(k, id)
		if err != nil {
			return err
		}
		if live {
			w.live = time.Now()
			return w.follow(k, id)
		}
	}
}

// connect finds a node: the one that the client uses, and after a loss the one
// behind that which was asked last.
func (w *watch) connect(ctx context.Context) (*conn, error) {
	c := w.c
	c.mu.Lock()
	addrs := slices.Clone(c.addrs)
	first := w.last
	if first == "" && c.cur != nil {
		first = c.cur.addr
	}
	if i := slices.Index(addrs, first); i >= 0 {
		if w.last != "" {
			i++
		}
		addrs = append(addrs[i:], addrs[:i]...)
	}
	c.mu.Unlock()
	k, err := c.connect(ctx, addrs)
	if err == nil {
		w.last = k.addr
	}
	return k, err
}

// ask sends the request and takes the answer. live says that frames follow.
func (w *watch) ask(k *conn, id uint64) (live bool, err error) {
	timeout := w.c.cfg.Timeout
	b, mark := wire.BeginFrame(nil)
	b = wire.AppendRequest(b, wire.Request{ID: id, Op: wire.OpWatch, Mode: w.mode, TimeoutMs: millis(timeout), Payload: wire.AppendWatch(nil, w.spec)})
	if _, err := k.nc.Write(wire.EndFrame(b, mark)); err != nil {
		return false, err
	}
	var res command.Result
	for {
		if err := k.nc.SetReadDeadline(time.Now().Add(timeout + graceMax)); err != nil {
			return false, err
		}
		frame, err := k.frames.Next()
		if err != nil {
			return false, err
		}
		if message, err := wire.DecodeRefuse(frame); err == nil {
			return false, errorf(CodeDenied, "%s: %s", k.addr, message)
		}
		if wire.DecodeAlive(frame) == nil {
			continue
		}
		if _, res, err = wire.DecodeReply(frame); err != nil {
			return false, err
		}
		break
	}
	if err := res.Err(); err != nil {
		return false, err
	}
	// From now on the watch must not go back, whatever the client's mode is.
	w.mode = Linearizable
	if w.o.Topic != "" {
		if live, err = w.replay(res); live {
			w.begin(res.Index)
		}
		return live, err
	}
	return true, w.picture(res)
}

func (w *watch) begin(index uint64) {
	if !w.began && w.o.Began != nil {
		w.o.Began(index)
	}
	w.began = true
}

// picture tells what is at the place.
func (w *watch) picture(res command.Result) error {
	if w.o.Resume && w.o.From > res.Index {
		return badArgument("there is no index %d yet, the log is at %d", w.o.From, res.Index)
	}
	if res.Index < w.seen {
		return fmt.Errorf("%s is at index %d, behind %d", w.last, res.Index, w.seen)
	}
	w.spec.MustExist = false
	v, err := DecodeValues(res.Values)
	if err != nil || len(v) != 1 {
		return badArgument("the node's answer can't be read: %v", err)
	}
	w.seen = res.Index
	w.begin(res.Index)
	return w.yield(WatchEvent{Kind: WatchPicture, Index: res.Index, Value: v[0]})
}

// replay tells the kept events of an answer.
func (w *watch) replay(res command.Result) (live bool, err error) {
	r, err := wire.DecodeReplay(res.Values)
	if err != nil {
		return false, badArgument("the node's answer can't be read: %v", err)
	}
	for _, e := range r.Events {
		if err := w.event(e); err != nil {
			return false, err
		}
	}
	w.spec.Start, w.spec.After = wire.WatchAfterNumber, r.Last
	return r.Live, nil
}

// event tells an event and remembers it: the watch goes on behind it.
func (w *watch) event(e wire.Event) error {
	values, err := DecodeValues(e.Values)
	if err != nil {
		return badArgument("an event can't be read: %v", err)
	}
	if w.spec.Start == wire.WatchAfterNumber && e.Seq <= w.spec.After {
		return badArgument("event %d came after event %d", e.Seq, w.spec.After)
	}
	w.spec.Start, w.spec.After = wire.WatchAfterNumber, e.Seq
	return w.yield(WatchEvent{Kind: WatchEmitted, Index: e.Index, Event: Event{e.Seq, e.Object, e.Topic, values}})
}

// follow tells what happens until the node ends the watch or is lost.
func (w *watch) follow(k *conn, id uint64) error {
	for {
		if err := k.nc.SetReadDeadline(time.Now().Add(aliveTimeout)); err != nil {
			return err
		}
		frame, err := k.frames.Next()
		w.since = time.Now()
		if err != nil {
			return err
		}
		kind, err := wire.FrameType(frame)
		if err != nil {
			return err
		}
		switch kind {
		case wire.FrameAlive:
			err = wire.DecodeAlive(frame)
		case wire.FrameChange:
			err = w.changed(frame)
		case wire.FrameEvent:
			var e wire.Event
			if _, e, err = wire.DecodeEventFrame(frame); err == nil {
				err = w.event(e)
			}
		case wire.FrameWatchEnd:
			return w.over(frame)
		case wire.FrameRefuse:
			message, _ := wire.DecodeRefuse(frame)
			err = errors.New(message)
		default:
			err = fmt.Errorf("a frame of type %d in watch %d", kind, id)
		}
		if err != nil {
			return err
		}
	}
}

// changed tells what one call did.
func (w *watch) changed(frame []byte) error {
	_, index, changes, err := wire.DecodeChange(frame)
	if err != nil {
		return err
	}
	e := WatchEvent{Kind: WatchChanged, Index: index, Changes: make([]Change, len(changes))}
	for i, c := range changes {
		if e.Changes[i].Path, err = DecodeValues(c.Path); err != nil {
			return err
		}
		if e.Changes[i].Removed = c.Value == nil; c.Value == nil {
			continue
		}
		d := codec.NewDecoder(c.Value)
		if e.Changes[i].Value, err = decodeValue(&d, 0); err != nil {
			return err
		}
	}
	w.seen = index
	return w.yield(e)
}

// over takes the node's last word.
func (w *watch) over(frame []byte) error {
	end, err := wire.DecodeWatchEnd(frame)
	if err != nil {
		return err
	}
	switch end.Reason {
	case wire.EndLagged:
		w.again()
		if err := w.yield(WatchEvent{Kind: WatchLagged, Index: end.Index}); err != nil {
			return err
		}
		return errors.New("the watch was too slow")
	case wire.EndReplaced:
		w.again()
		return errors.New("the node has replaced its state")
	}
	return errors.New("the node hears no leader")
}

// again has the same node asked first.
func (w *watch) again() {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.addrs); n > 0 {
		if i := slices.Index(c.addrs, w.last); i >= 0 {
			w.last = c.addrs[(i+n-1)%n]
		}
	}
}
