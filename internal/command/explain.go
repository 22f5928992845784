package command

import "github.com/syncsh/syncsh/internal/codec"

// AppendExplain appends a question what a call would do.
func AppendExplain(b []byte, object, method string, args []byte) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, uint64(Explain))
	b = codec.AppendString(b, object)
	b = codec.AppendString(b, method)
	return appendArgs(b, args)
}

// AppendKeys appends a question for the text keys at a path that begin with a
// prefix. keys is as in AppendGet.
func AppendKeys(b []byte, object string, keys []byte, prefix string) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, uint64(Keys))
	b = codec.AppendString(b, object)
	b = appendArgs(b, keys)
	return codec.AppendString(b, prefix)
}

// Explanation answers an Explain query: its result has one value, this array:
//
//	[result binary, clock, [steps, of, bytes, of], [change...], left out, [event...], [timer...], cancelled]
type Explanation struct {
	Result    []byte // an encoded Result, as the call would have
	Clock     int64  // what now() said, in ms
	Steps     Charge
	Bytes     Charge
	Changes   []Changed
	LeftOut   uint64 // changes that are not among them, there being too many
	Events    []Emitted
	Timers    []TimerSet
	Cancelled uint64 // timers that were waiting
}

// Charge is what was used of a budget.
type Charge struct{ Used, Most uint64 }

// Changed is a place of the state that has another value afterwards.
type Changed struct {
	Path     []byte // msgpack array of keys, the object's name first
	Old, New Seen
}

// Seen is what is at a place.
type Seen struct {
	Value    []byte // msgpack; nil: nothing
	TooLarge bool   // to be told
}

// Emitted is an event.
type Emitted struct {
	Object, Topic string
	Values        []byte // msgpack array
}

// TimerSet is a replicated timer.
type TimerSet struct {
	ID             uint64
	Object, Method string
	Args           []byte // msgpack array
	Due            int64  // ms of the log clock
}

// AppendExplanation appends the explanation as one value.
func AppendExplanation(b []byte, e *Explanation) []byte {
	b = codec.AppendArrayLen(b, 8)
	b = codec.AppendBytes(b, e.Result)
	b = codec.AppendInt(b, e.Clock)
	b = codec.AppendArrayLen(b, 4)
	for _, n := range []uint64{e.Steps.Used, e.Steps.Most, e.Bytes.Used, e.Bytes.Most} {
		b = codec.AppendUint(b, n)
	}
	b = codec.AppendArrayLen(b, len(e.Changes))
	for _, c := range e.Changes {
		b = append(codec.AppendArrayLen(b, 3), c.Path...)
		b = appendSeen(appendSeen(b, c.Old), c.New)
	}
	b = codec.AppendUint(b, e.LeftOut)
	b = codec.AppendArrayLen(b, len(e.Events))
	for _, v := range e.Events {
		b = codec.AppendString(codec.AppendArrayLen(b, 3), v.Object)
		b = append(codec.AppendString(b, v.Topic), v.Values...)
	}
	b = codec.AppendArrayLen(b, len(e.Timers))
	for _, t := range e.Timers {
		b = codec.AppendUint(codec.AppendArrayLen(b, 5), t.ID)
		b = codec.AppendString(codec.AppendString(b, t.Object), t.Method)
		b = codec.AppendInt(append(b, t.Args...), t.Due)
	}
	return codec.AppendUint(b, e.Cancelled)
}

// appendSeen appends [] for nothing, [value], or false for a value that is not told.
func appendSeen(b []byte, s Seen) []byte {
	switch {
	case s.TooLarge:
		return codec.AppendBool(b, false)
	case s.Value == nil:
		return codec.AppendArrayLen(b, 0)
	}
	return append(codec.AppendArrayLen(b, 1), s.Value...)
}

// DecodeExplanation reads what AppendExplanation wrote; its bytes alias d's.
func DecodeExplanation(d *codec.Decoder) (e Explanation, err error) {
	if err = d.FixedArray(8); err != nil {
		return e, err
	}
	for _, read := range []func() error{
		func() (err error) { e.Result, err = d.Bytes(); return },
		func() (err error) { e.Clock, err = d.Int(); return },
		func() error { return e.decodeCharges(d) },
		func() (err error) { e.Changes, err = list(d, decodeChanged); return },
		func() (err error) { e.LeftOut, err = d.Uint(); return },
		func() (err error) { e.Events, err = list(d, decodeEmitted); return },
		func() (err error) { e.Timers, err = list(d, decodeTimerSet); return },
		func() (err error) { e.Cancelled, err = d.Uint(); return },
	} {
		if err = read(); err != nil {
			return e, err
		}
	}
	return e, nil
}

func (e *Explanation) decodeCharges(d *codec.Decoder) (err error) {
	if err = d.FixedArray(4); err != nil {
		return err
	}
	for _, n := range []*uint64{&e.Steps.Used, &e.Steps.Most, &e.Bytes.Used, &e.Bytes.Most} {
		if *n, err = d.Uint(); err != nil {
			return err
		}
	}
	return nil
}

func decodeChanged(d *codec.Decoder) (c Changed, err error) {
	if err = d.FixedArray(3); err != nil {
		return c, err
	}
	if c.Path, err = d.Raw(); err != nil {
		return c, err
	}
	if c.Old, err = decodeSeen(d); err != nil {
		return c, err
	}
	c.New, err = decodeSeen(d)
	return c, err
}

func decodeSeen(d *codec.Decoder) (s Seen, err error) {
	if d.Peek() == codec.KindBool {
		_, err = d.Bool()
		return Seen{TooLarge: true}, err
	}
	n, err := d.ArrayLen()
	if err != nil || n == 0 {
		return s, err
	}
	if n > 1 {
		return s, codec.ErrType
	}
	s.Value, err = d.Raw()
	return s, err
}

func decodeEmitted(d *codec.Decoder) (v Emitted, err error) {
	if err = d.FixedArray(3); err != nil {
		return v, err
	}
	if v.Object, err = d.String(); err != nil {
		return v, err
	}
	if v.Topic, err = d.String(); err != nil {
		return v, err
	}
	v.Values, err = d.Raw()
	return v, err
}

func decodeTimerSet(d *codec.Decoder) (t TimerSet, err error) {
	if err = d.FixedArray(5); err != nil {
		return t, err
	}
	for _, read := range []func() error{
		func() (err error) { t.ID, err = d.Uint(); return },
		func() (err error) { t.Object, err = d.String(); return },
		func() (err error) { t.Method, err = d.String(); return },
		func() (err error) { t.Args, err = d.Raw(); return },
		func() (err error) { t.Due, err = d.Int(); return },
	} {
		if err = read(); err != nil {
			return t, err
		}
	}
	return t, nil
}
