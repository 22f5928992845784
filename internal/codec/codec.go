// Package codec is syncsh's one way of writing and reading msgpack where bytes
// must be canonical or the reader must be bounded: log entries, calls, results,
// dumps and both wire protocols.
//
// The encoder appends to a byte slice and always uses the shortest form, so
// equal values give equal bytes. Numbers that are integral and exactly
// representable as an int64 are integers, all others float64; -0 is 0 and every
// NaN is the one canonical NaN. Floats of 32 bits, extensions and timestamps
// are never written and are refused when read.
//
// The decoder reads from a byte slice, never past it, and checks a claimed
// length against what is left before anything is allocated. Format codes are
// those of github.com/vmihailenco/msgpack/v5/msgpcode, which also reads what
// this package writes (codec_test.go holds the two against each other).
package codec

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/vmihailenco/msgpack/v5/msgpcode"
)

// AppendNil appends nil.
func AppendNil(b []byte) []byte { return append(b, msgpcode.Nil) }

// AppendBool appends a boolean.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, msgpcode.True)
	}
	return append(b, msgpcode.False)
}

// AppendUint appends a non-negative integer.
func AppendUint(b []byte, v uint64) []byte {
	switch {
	case v <= math.MaxInt8:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, msgpcode.Uint8, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Uint16), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, msgpcode.Uint32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, msgpcode.Uint64), v)
}

// AppendInt appends an integer.
func AppendInt(b []byte, v int64) []byte {
	switch {
	case v >= 0:
		return AppendUint(b, uint64(v))
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, msgpcode.Int8, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Int16), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, msgpcode.Int32), uint32(v))
	}
	return binary.BigEndian.AppendUint64(append(b, msgpcode.Int64), uint64(v))
}

const canonicalNaN = 0x7ff8000000000000

// Limits within which a float64 converts to an int64 without loss on every
// architecture: the range is checked as floats, because the conversion of a
// value outside it differs between amd64 and arm64.
const (
	intMin = -1 << 63
	intMax = 1 << 63 // exclusive
)

// AppendNumber appends a number: as an integer when it is one, else as a float64.
func AppendNumber(b []byte, v float64) []byte {
	if v >= intMin && v < intMax && math.Trunc(v) == v {
		return AppendInt(b, int64(v))
	}
	bits := math.Float64bits(v)
	if v != v {
		bits = canonicalNaN
	}
	return binary.BigEndian.AppendUint64(append(b, msgpcode.Double), bits)
}

// AppendString appends a string; its bytes need not be UTF-8.
func AppendString(b []byte, s string) []byte {
	return append(appendStringLen(b, len(s)), s...)
}

// AppendStringBytes appends a string that is held as bytes.
func AppendStringBytes(b, s []byte) []byte {
	return append(appendStringLen(b, len(s)), s...)
}

func appendStringLen(b []byte, n int) []byte {
	switch {
	case n < 32:
		return append(b, msgpcode.FixedStrLow|byte(n))
	case n <= math.MaxUint8:
		return append(b, msgpcode.Str8, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Str16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, msgpcode.Str32), uint32(n))
}

// AppendBytes appends a binary, used for a message inside a message.
func AppendBytes(b, p []byte) []byte {
	n := len(p)
	switch {
	case n <= math.MaxUint8:
		b = append(b, msgpcode.Bin8, byte(n))
	case n <= math.MaxUint16:
		b = binary.BigEndian.AppendUint16(append(b, msgpcode.Bin16), uint16(n))
	default:
		b = binary.BigEndian.AppendUint32(append(b, msgpcode.Bin32), uint32(n))
	}
	return append(b, p...)
}

// AppendArrayLen appends the head of an array of n values, which follow.
func AppendArrayLen(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, msgpcode.FixedArrayLow|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Array16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, msgpcode.Array32), uint32(n))
}

// AppendMapLen appends the head of a map of n pairs, which follow.
func AppendMapLen(b []byte, n int) []byte {
	switch {
	case n < 16:
		return append(b, msgpcode.FixedMapLow|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, msgpcode.Map16), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(b, msgpcode.Map32), uint32(n))
}

// Kind is what the next value is.
type Kind uint8

const (
	KindInvalid Kind = iota
	KindNil
	KindBool
	KindInt // fits an int64 or a uint64
	KindFloat
	KindString
	KindBytes
	KindArray
	KindMap
)

func (k Kind) String() string {
	return [...]string{"invalid", "nil", "boolean", "integer", "float", "string", "binary", "array", "map"}[k]
}

// Errors of the decoder, wrapped with the offset at which they arose.
var (
	// ErrTruncated is returned when a value goes on past the end of the bytes.
	ErrTruncated = errors.New("truncated")
	// ErrType is returned when the next value is not of the wanted kind.
	ErrType = errors.New("unexpected type")
	// ErrRange is returned when a number does not fit what was asked for.
	ErrRange = errors.New("number out of range")
	// ErrDepth is returned when values are nested deeper than DepthMax.
	ErrDepth = errors.New("nested too deep")
	// ErrTrailing is returned by End when bytes are left.
	ErrTrailing = errors.New("trailing bytes")
)

// DepthMax bounds the nesting that Skip follows.
const DepthMax = 256

// Decoder reads values from a byte slice. The zero value reads nothing; Reset
// gives it bytes. After an error its position is unspecified.
type Decoder struct {
	buf []byte
	off int
}

// NewDecoder returns a decoder of b.
func NewDecoder(b []byte) Decoder { return Decoder{buf: b} }

// Reset makes d read b from its start.
func (d *Decoder) Reset(b []byte) { d.buf, d.off = b, 0 }

// Offset is the position of the next value.
func (d *Decoder) Offset() int { return d.off }

// Left is the number of bytes not read yet.
func (d *Decoder) Left() int { return len(d.buf) - d.off }

// Rest is the bytes not read yet.
func (d *Decoder) Rest() []byte { return d.buf[d.off:] }

// End returns ErrTrailing unless all was read.
func (d *Decoder) End() error {
	if d.off != len(d.buf) {
		return d.fail(ErrTrailing)
	}
	return nil
}

func (d *Decoder) fail(err error) error { return fmt.Errorf("msgpack at byte %d: %w", d.off, err) }

// Peek tells the kind of the next value without reading it: KindInvalid at the
// end and for formats that syncsh does not use.
func (d *Decoder) Peek() Kind {
	if d.off >= len(d.buf) {
		return KindInvalid
	}
	c := d.buf[d.off]
	switch {
	case c <= msgpcode.PosFixedNumHigh || c >= msgpcode.NegFixedNumLow:
		return KindInt
	case c <= msgpcode.FixedMapHigh:
		return KindMap
	case c <= msgpcode.FixedArrayHigh:
		return KindArray
	case c <= msgpcode.FixedStrHigh:
		return KindString
	}
	switch c {
	case msgpcode.Nil:
		return KindNil
	case msgpcode.True, msgpcode.False:
		return KindBool
	case msgpcode.Uint8, msgpcode.Uint16, msgpcode.Uint32, msgpcode.Uint64,
		msgpcode.Int8, msgpcode.Int16, msgpcode.Int32, msgpcode.Int64:
		return KindInt
	case msgpcode.Double:
		return KindFloat
	case msgpcode.Str8, msgpcode.Str16, msgpcode.Str32:
		return KindString
	case msgpcode.Bin8, msgpcode.Bin16, msgpcode.Bin32:
		return KindBytes
	case msgpcode.Array16, msgpcode.Array32:
		return KindArray
	case msgpcode.Map16, msgpcode.Map32:
		return KindMap
	}
	return KindInvalid
}

// code reads one byte.
func (d *Decoder) code() (byte, error) {
	if d.off >= len(d.buf) {
		return 0, d.fail(ErrTruncated)
	}
	c := d.buf[d.off]
	d.off++
	return c, nil
}

// number reads a big-endian unsigned integer of n bytes.
func (d *Decoder) number(n int) (uint64, error) {
	if d.Left() < n {
		return 0, d.fail(ErrTruncated)
	}
	p := d.buf[d.off : d.off+n]
	d.off += n
	switch n {
	case 1:
		return uint64(p[0]), nil
	case 2:
		return uint64(binary.BigEndian.Uint16(p)), nil
	case 4:
		return uint64(binary.BigEndian.Uint32(p)), nil
	}
	return binary.BigEndian.Uint64(p), nil
}

// Nil reads nil.
func (d *Decoder) Nil() error {
	if d.Peek() != KindNil {
		return d.wrong()
	}
	d.off++
	return nil
}

// wrong is the error for a next value of another kind than wanted.
func (d *Decoder) wrong() error {
	if d.off >= len(d.buf) {
		return d.fail(ErrTruncated)
	}
	return d.fail(ErrType)
}

// Bool reads a boolean.
func (d *Decoder) Bool() (bool, error) {
	if d.Peek() != KindBool {
		return false, d.wrong()
	}
	c := d.buf[d.off]
	d.off++
	return c == msgpcode.True, nil
}

// integer reads an integer: its 64 bits, and whether they are to be read as
// negative.
func (d *Decoder) integer() (v uint64, negative bool, err error) {
	if d.Peek() != KindInt {
		return 0, false, d.wrong()
	}
	c, _ := d.code()
	if c <= msgpcode.PosFixedNumHigh {
		return uint64(c), false, nil
	}
	if c >= msgpcode.NegFixedNumLow {
		return uint64(int64(int8(c))), true, nil
	}
	switch c {
	case msgpcode.Uint8:
		v, err = d.number(1)
		return v, false, err
	case msgpcode.Uint16:
		v, err = d.number(2)
		return v, false, err
	case msgpcode.Uint32:
		v, err = d.number(4)
		return v, false, err
	case msgpcode.Uint64:
		v, err = d.number(8)
		return v, false, err
	case msgpcode.Int8:
		v, err = d.number(1)
		v = uint64(int64(int8(v)))
	case msgpcode.Int16:
		v, err = d.number(2)
		v = uint64(int64(int16(v)))
	case msgpcode.Int32:
		v, err = d.number(4)
		v = uint64(int64(int32(v)))
	default:
		v, err = d.number(8)
	}
	return v, int64(v) < 0, err
}

// Uint reads a non-negative integer.
func (d *Decoder) Uint() (uint64, error) {
	// Most are small, and each request has half a dozen.
	if d.off < len(d.buf) && d.buf[d.off] <= msgpcode.PosFixedNumHigh {
		d.off++
		return uint64(d.buf[d.off-1]), nil
	}
	v, negative, err := d.integer()
	if err == nil && negative {
		err = d.fail(ErrRange)
	}
	return v, err
}

// Int reads an integer that fits an int64.
func (d *Decoder) Int() (int64, error) {
	v, negative, err := d.integer()
	if err == nil && !negative && v > math.MaxInt64 {
		err = d.fail(ErrRange)
	}
	return int64(v), err
}

// Number reads an integer or a float as a float64.
func (d *Decoder) Number() (float64, error) {
	if d.Peek() == KindFloat {
		d.off++
		v, err := d.number(8)
		if err != nil {
			return 0, err
		}
		f := math.Float64frombits(v)
		if f != f {
			f = math.Float64frombits(canonicalNaN)
		}
		return f, nil
	}
	v, negative, err := d.integer()
	if negative {
		return float64(int64(v)), err
	}
	return float64(v), err
}

// Bytes reads a string or a binary without copying: the result aliases the
// decoder's bytes.
func (d *Decoder) Bytes() ([]byte, error) {
	if d.off < len(d.buf) { // names are short
		c := d.buf[d.off]
		end := d.off + 1 + int(c&msgpcode.FixedStrMask)
		if c >= msgpcode.FixedStrLow && c <= msgpcode.FixedStrHigh && end <= len(d.buf) {
			p := d.buf[d.off+1 : end : end]
			d.off = end
			return p, nil
		}
	}
	k := d.Peek()
	if k != KindString && k != KindBytes {
		return nil, d.wrong()
	}
	c, _ := d.code()
	var n uint64
	var err error
	switch c {
	case msgpcode.Str8, msgpcode.Bin8:
		n, err = d.number(1)
	case msgpcode.Str16, msgpcode.Bin16:
		n, err = d.number(2)
	case msgpcode.Str32, msgpcode.Bin32:
		n, err = d.number(4)
	default:
		n = uint64(c & msgpcode.FixedStrMask)
	}
	if err != nil {
		return nil, err
	}
	if n > uint64(d.Left()) {
		return nil, d.fail(ErrTruncated)
	}
	p := d.buf[d.off : d.off+int(n) : d.off+int(n)]
	d.off += int(n)
	return p, nil
}

// String reads a string or a binary.
func (d *Decoder) String() (string, error) {
	p, err := d.Bytes()
	return string(p), err
}

// ArrayLen reads the head of an array. The length is at most the number of
// bytes left, as each value takes one at least.
func (d *Decoder) ArrayLen() (int, error) {
	if d.off < len(d.buf) { // those of commands and frames
		c := d.buf[d.off]
		n := int(c & 0x0f)
		if c >= msgpcode.FixedArrayLow && c <= msgpcode.FixedArrayHigh && n < len(d.buf)-d.off {
			d.off++
			return n, nil
		}
	}
	return d.head(KindArray, msgpcode.FixedArrayLow, msgpcode.FixedArrayHigh, msgpcode.Array16, 1)
}

// MapLen reads the head of a map. Twice the length is at most the number of
// bytes left.
func (d *Decoder) MapLen() (int, error) {
	return d.head(KindMap, msgpcode.FixedMapLow, msgpcode.FixedMapHigh, msgpcode.Map16, 2)
}

func (d *Decoder) head(want Kind, low, high, code16 byte, each uint64) (int, error) {
	if d.Peek() != want {
		return 0, d.wrong()
	}
	c, _ := d.code()
	var n uint64
	var err error
	switch {
	case c >= low && c <= high:
		n = uint64(c & 0x0f)
	case c == code16:
		n, err = d.number(2)
	default:
		n, err = d.number(4)
	}
	if err != nil {
		return 0, err
	}
	if n*each > uint64(d.Left()) {
		return 0, d.fail(ErrTruncated)
	}
	return int(n), nil
}

// FixedArray reads the head of an array that must have exactly n values.
func (d *Decoder) FixedArray(n int) error {
	got, err := d.ArrayLen()
	if err == nil && got != n {
		err = fmt.Errorf("msgpack at byte %d: array of %d values, want %d: %w", d.off, got, n, ErrType)
	}
	return err
}

// Skip reads over one value, however nested.
func (d *Decoder) Skip() error { return d.skip(0) }

func (d *Decoder) skip(depth int) error {
	if depth > DepthMax {
		return d.fail(ErrDepth)
	}
	var err error
	n := 0
	switch d.Peek() {
	case KindNil, KindBool:
		d.off++
	case KindInt, KindFloat:
		_, err = d.Number()
	case KindString, KindBytes:
		_, err = d.Bytes()
	case KindArray:
		n, err = d.ArrayLen()
	case KindMap:
		n, err = d.MapLen()
		n *= 2
	default:
		return d.wrong()
	}
	for ; err == nil && n > 0; n-- {
		err = d.skip(depth + 1)
	}
	return err
}

// Raw reads over one value and returns its bytes, which alias the decoder's.
func (d *Decoder) Raw() ([]byte, error) {
	start := d.off
	if err := d.Skip(); err != nil {
		return nil, err
	}
	return d.buf[start:d.off:d.off], nil
}
