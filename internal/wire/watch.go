package wire

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
)

// Where the events of a watched topic begin.
const (
	WatchNow         = 0 // with the next one
	WatchAfterIndex  = 1 // with the first of a later log index
	WatchAfterNumber = 2 // with the first of a higher number
)

// Kinds of what an OpWatch names.
const (
	watchPlace = 1
	watchTopic = 2
)

// Why a node ends a watch. The client asks again, of another node after
// EndNoLeader.
const (
	EndLagged   = 1 // the client took its frames too slowly, or a change was too large
	EndReplaced = 2 // a snapshot has replaced the state
	EndNoLeader = 3 // the node hears no leader, or is out of service
	endMax      = EndNoLeader
)

// Watch is the payload of an OpWatch: a place of the state or a topic.
type Watch struct {
	Object    string
	Keys      []byte // array of the keys below the object's state; nil: none
	MustExist bool   // an object that is not there is an error, not nil

	Topic string // not empty: Object, Keys and MustExist have no meaning
	Start uint64
	After uint64 // of WatchAfterIndex and WatchAfterNumber
}

// AppendWatch appends the payload of an OpWatch: [1, object, [key...], must
// exist] or [2, topic, start, after].
func AppendWatch(b []byte, w Watch) []byte {
	b = codec.AppendArrayLen(b, 4)
	if w.Topic != "" {
		b = codec.AppendString(codec.AppendUint(b, watchTopic), w.Topic)
		return codec.AppendUint(codec.AppendUint(b, w.Start), w.After)
	}
	b = codec.AppendString(codec.AppendUint(b, watchPlace), w.Object)
	if w.Keys == nil {
		b = codec.AppendArrayLen(b, 0)
	}
	return codec.AppendBool(append(b, w.Keys...), w.MustExist)
}

// DecodeWatch reads what AppendWatch wrote. Keys aliases the payload and is
// checked by whom it is for, but for being an array.
func DecodeWatch(payload []byte) (w Watch, err error) {
	d := codec.NewDecoder(payload)
	if err = d.FixedArray(4); err != nil {
		return w, err
	}
	kind, err := d.Uint()
	if err != nil {
		return w, err
	}
	switch kind {
	case watchPlace:
		if w.Object, err = shortString(&d); err != nil {
			return w, err
		}
		if w.Keys, err = rawArray(&d); err != nil {
			return w, err
		}
		w.MustExist, err = d.Bool()
	case watchTopic:
		if w.Topic, err = shortString(&d); err != nil {
			return w, err
		}
		if w.Topic == "" {
			return w, fmt.Errorf("watch of no topic: %w", codec.ErrRange)
		}
		if w.Start, err = d.Uint(); err != nil {
			return w, err
		}
		if w.Start > WatchAfterNumber {
			return w, fmt.Errorf("watch with start %d: %w", w.Start, codec.ErrRange)
		}
		w.After, err = d.Uint()
	default:
		err = fmt.Errorf("watch of kind %d: %w", kind, codec.ErrRange)
	}
	if err != nil {
		return w, err
	}
	return w, d.End()
}

// rawArray reads an array and returns its bytes.
func rawArray(d *codec.Decoder) ([]byte, error) {
	if d.Peek() != codec.KindArray {
		return nil, fmt.Errorf("not an array: %w", codec.ErrType)
	}
	return d.Raw()
}

// Change is one place that a call has changed: where, below the watched place, and
// the value that is there now, nil if none is. Both are msgpack.
type Change struct {
	Path, Value []byte
}

// AppendChanges appends what one call has changed: [[[key...], value]...].
func AppendChanges(b []byte, changes []Change) []byte {
	b = codec.AppendArrayLen(b, len(changes))
	for _, c := range changes {
		b = append(codec.AppendArrayLen(b, 2), c.Path...)
		if c.Value == nil {
			b = codec.AppendNil(b)
		}
		b = append(b, c.Value...)
	}
	return b
}

// AppendChange appends a frame with what AppendChanges wrote. Many watches share
// those bytes.
func AppendChange(b []byte, request, index uint64, changes []byte) []byte {
	b = appendFrameHead(b, 4, FrameChange)
	b = codec.AppendUint(codec.AppendUint(b, request), index)
	return append(b, changes...)
}

// DecodeChange reads what AppendChange wrote; the changes alias the frame.
func DecodeChange(frame []byte) (request, index uint64, changes []Change, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 4, FrameChange); err != nil {
		return 0, 0, nil, err
	}
	if request, err = d.Uint(); err != nil {
		return 0, 0, nil, err
	}
	if index, err = d.Uint(); err != nil {
		return 0, 0, nil, err
	}
	n, err := d.ArrayLen()
	if err != nil {
		return 0, 0, nil, err
	}
	for range n {
		var c Change
		if err = d.FixedArray(2); err != nil {
			return 0, 0, nil, err
		}
		if c.Path, err = rawArray(&d); err != nil {
			return 0, 0, nil, err
		}
		if d.Peek() == codec.KindNil {
			err = d.Nil()
		} else {
			c.Value, err = d.Raw()
		}
		if err != nil {
			return 0, 0, nil, err
		}
		changes = append(changes, c)
	}
	return request, index, changes, d.End()
}

// Event was emitted by a call.
type Event struct {
	Index, Seq    uint64
	Object, Topic string
	Values        []byte // msgpack array
}

// AppendEvent appends an event: [index, number, object, topic, [value...]].
func AppendEvent(b []byte, e Event) []byte {
	b = codec.AppendUint(codec.AppendArrayLen(b, 5), e.Index)
	b = codec.AppendUint(b, e.Seq)
	b = codec.AppendString(b, e.Object)
	b = codec.AppendString(b, e.Topic)
	return append(b, e.Values...)
}

func decodeEvent(d *codec.Decoder) (e Event, err error) {
	if err = d.FixedArray(5); err != nil {
		return e, err
	}
	if e.Index, err = d.Uint(); err != nil {
		return e, err
	}
	if e.Seq, err = d.Uint(); err != nil {
		return e, err
	}
	if e.Object, err = shortString(d); err != nil {
		return e, err
	}
	if e.Topic, err = shortString(d); err != nil {
		return e, err
	}
	e.Values, err = rawArray(d)
	return e, err
}

// AppendEventFrame appends a frame with what AppendEvent wrote.
func AppendEventFrame(b []byte, request uint64, event []byte) []byte {
	return append(codec.AppendUint(appendFrameHead(b, 3, FrameEvent), request), event...)
}

// DecodeEventFrame reads what AppendEventFrame wrote; the values alias the frame.
func DecodeEventFrame(frame []byte) (request uint64, e Event, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 3, FrameEvent); err != nil {
		return 0, e, err
	}
	if request, err = d.Uint(); err != nil {
		return 0, e, err
	}
	if e, err = decodeEvent(&d); err != nil {
		return 0, e, err
	}
	return request, e, d.End()
}

// Replay is the answer to the watch of a topic: the kept events that it begins
// with. When Live is false there are more: the client asks again, behind Last.
type Replay struct {
	Live   bool
	Last   uint64 // number of the last event that the answer accounts for
	Events []Event
}

// AppendReplay appends the values of the answer: [live, last, [event...]].
func AppendReplay(b []byte, r Replay) []byte {
	b = codec.AppendBool(codec.AppendArrayLen(b, 3), r.Live)
	b = codec.AppendArrayLen(codec.AppendUint(b, r.Last), len(r.Events))
	for _, e := range r.Events {
		b = AppendEvent(b, e)
	}
	return b
}

// DecodeReplay reads what AppendReplay wrote; the events alias the values.
func DecodeReplay(values []byte) (r Replay, err error) {
	d := codec.NewDecoder(values)
	if err = d.FixedArray(3); err != nil {
		return r, err
	}
	if r.Live, err = d.Bool(); err != nil {
		return r, err
	}
	if r.Last, err = d.Uint(); err != nil {
		return r, err
	}
	n, err := d.ArrayLen()
	if err != nil {
		return r, err
	}
	for range n {
		e, err := decodeEvent(&d)
		if err != nil {
			return r, err
		}
		r.Events = append(r.Events, e)
	}
	return r, d.End()
}

// WatchEnd is the last frame of a watch.
type WatchEnd struct {
	Request uint64
	Index   uint64 // lagged: of the first change left out; replaced: of the snapshot
	Reason  uint64
}

// AppendWatchEnd appends the last frame of a watch.
func AppendWatchEnd(b []byte, e WatchEnd) []byte {
	b = codec.AppendUint(appendFrameHead(b, 4, FrameWatchEnd), e.Request)
	return codec.AppendUint(codec.AppendUint(b, e.Index), e.Reason)
}

// DecodeWatchEnd reads what AppendWatchEnd wrote.
func DecodeWatchEnd(frame []byte) (e WatchEnd, err error) {
	d := codec.NewDecoder(frame)
	if err = openFrame(&d, 4, FrameWatchEnd); err != nil {
		return e, err
	}
	for _, n := range []*uint64{&e.Request, &e.Index, &e.Reason} {
		if *n, err = d.Uint(); err != nil {
			return e, err
		}
	}
	if e.Reason == 0 || e.Reason > endMax {
		return e, fmt.Errorf("watch ended for reason %d: %w", e.Reason, codec.ErrRange)
	}
	return e, d.End()
}

// AppendAlive appends the frame that tells the client of a watch that nothing has
// happened.
func AppendAlive(b []byte) []byte { return appendFrameHead(b, 1, FrameAlive) }

// DecodeAlive reads what AppendAlive wrote.
func DecodeAlive(frame []byte) error {
	d := codec.NewDecoder(frame)
	if err := openFrame(&d, 1, FrameAlive); err != nil {
		return err
	}
	return d.End()
}
