package command

import "github.com/syncsh/syncsh/internal/codec"

// Times says where a call that was to be measured spent its time, by the clocks
// of the nodes, in microseconds. Queue, Replicate and Apply follow one another at
// the leader; Fsync lies within Replicate.
type Times struct {
	Queue     int64 // from the request's arrival until it was in a log entry
	Replicate int64 // from then until a majority had that entry
	Fsync     int64 // how long the leader's own write of the entry took
	Apply     int64 // from the end of Replicate until it was carried out
	Forward   int64 // at a node that is not the leader, and on the way between the two
}

// Add adds what another call took.
func (t *Times) Add(u Times) {
	t.Queue += u.Queue
	t.Replicate += u.Replicate
	t.Fsync += u.Fsync
	t.Apply += u.Apply
	t.Forward += u.Forward
}

// Total is the time that the call was at nodes.
func (t Times) Total() int64 { return t.Queue + t.Replicate + t.Apply + t.Forward }

func (t *Times) parts() [5]*int64 {
	return [...]*int64{&t.Queue, &t.Replicate, &t.Fsync, &t.Apply, &t.Forward}
}

// A result with times is one of four values: [index, code, payload, times].
const resultTimed = 4

// AppendTimed appends an encoded result with its times, in place of those that it
// may have.
func AppendTimed(b, result []byte, t Times) ([]byte, error) {
	d := codec.NewDecoder(result)
	n, err := resultLen(&d)
	if err != nil {
		return b, err
	}
	from := d.Offset()
	for range min(n, resultTimed-1) {
		if err := d.Skip(); err != nil {
			return b, err
		}
	}
	b = append(codec.AppendArrayLen(b, resultTimed), result[from:d.Offset()]...)
	b = codec.AppendArrayLen(b, len(t.parts()))
	for _, p := range t.parts() {
		b = codec.AppendUint(b, uint64(max(*p, 0)))
	}
	return b, nil
}

// resultLen reads the head of a result.
func resultLen(d *codec.Decoder) (int, error) {
	n, err := d.ArrayLen()
	if err == nil && n != 3 && n != resultTimed {
		err = codec.ErrType
	}
	return n, err
}

func decodeTimes(d *codec.Decoder) (*Times, error) {
	t := new(Times)
	if err := d.FixedArray(len(t.parts())); err != nil {
		return nil, err
	}
	for _, p := range t.parts() {
		us, err := d.Uint()
		if err != nil {
			return nil, err
		}
		const usMax = 1 << 50 // some thirty years: they are added up
		if us > usMax {
			return nil, codec.ErrRange
		}
		*p = int64(us)
	}
	return t, nil
}
