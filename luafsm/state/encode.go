package state

import (
	"errors"
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
	lua "github.com/yuin/gopher-lua"
)

// Limits of an encoded or decoded value; zero means the default.
type Limits struct {
	Depth int // tables within tables; DepthMax
	Bytes int // encoded length; when decoding, the memory of the tables is bounded by it too; BytesMax

	// Charge, unless nil, is asked before a table of n entries is encoded or, when
	// decoding, made; its error is returned.
	Charge func(n int) error

	// Spend, unless nil, is asked before a string of n bytes is encoded, as key or
	// value, if it has longMin bytes or more; its error is returned.
	Spend func(n int) error
}

// BytesMax is the default limit of an encoded value.
const BytesMax = 64 << 20

func (l Limits) orDefault() Limits {
	if l.Depth <= 0 {
		l.Depth = DepthMax
	}
	if l.Bytes <= 0 {
		l.Bytes = BytesMax
	}
	return l
}

var (
	// ErrDepth is returned when tables are nested too deep, and so for a table
	// that contains itself.
	ErrDepth = errors.New("tables are nested too deep, or a table contains itself")
	// ErrBytes is returned when an encoding would be too long.
	ErrBytes = errors.New("value is too large")
	// ErrValue is what every ValueError is, for errors.Is.
	ErrValue = errors.New("not data")
	// ErrBadKey is returned when a decoded map has a key that no table can have,
	// or one key twice.
	ErrBadKey = errors.New("bad key in a map")
)

// ValueError is returned when a function, a thread or userdata is to be encoded.
type ValueError struct {
	Path string // of the value, or of the table that has it as a key; empty for the value itself
	Type string // plural
	Key  bool
}

func (e *ValueError) Error() string {
	text := e.Type + " are not data"
	if e.Key {
		text = e.Type + " as keys are not data"
	}
	if e.Path != "" {
		return e.Path + ": " + text
	}
	return text
}

func (e *ValueError) Unwrap() error { return ErrValue }

// encoder appends one value.
type encoder struct {
	view  *Version
	lim   Limits
	start int
	all   lua.LValue // the value that was given
	sized bool       // there is room for all of it
	path  []key      // of the value being encoded, for errors
	few   [4]key
}

// AppendValue appends v as msgpack: a table whose keys are exactly 1..n, n >= 1,
// as an array, any other as a map in canonical order. A table that sits in two
// places is written twice. On error dst
// is returned, with the room that it has got by then.
func AppendValue(dst []byte, view *Version, v lua.LValue, lim Limits) ([]byte, error) {
	switch v := v.(type) { // most values are no tables
	case lua.LNumber:
		return codec.AppendNumber(dst, float64(v)), nil
	case nil, *lua.LNilType:
		return codec.AppendNil(dst), nil
	case lua.LBool:
		return codec.AppendBool(dst, bool(v)), nil
	case lua.LString:
		if lim = lim.orDefault(); len(v) < lim.Bytes-headMax { // most of them
			if lim.Spend != nil && len(v) >= longMin {
				if err := lim.Spend(len(v)); err != nil {
					return dst, err
				}
			}
			return codec.AppendString(dst, string(v)), nil
		}
	}
	e := encoder{view: view, lim: lim.orDefault(), start: len(dst), all: v}
	e.path = e.few[:0]
	out, err := e.value(dst, v)
	if err == nil && len(out)-e.start > e.lim.Bytes {
		err = ErrBytes // by its last key or number
	}
	if err != nil {
		return out[:e.start], err
	}
	return out, nil
}

// AppendValue is the function of that name.
func (s *Store) AppendValue(dst []byte, view *Version, v lua.LValue, lim Limits) ([]byte, error) {
	return AppendValue(dst, view, v, lim)
}

// at is the path of the value being encoded.
func (e *encoder) at(path []key) (p string) {
	for _, k := range path {
		p = joinPath(p, k)
	}
	return p
}

func (e *encoder) fail(err error) error {
	const show = 8 // of a table that contains itself the rest says nothing
	if p := e.at(e.path[:min(len(e.path), show)]); p != "" {
		return fmt.Errorf("%s: %w", p, err)
	}
	return err
}

func (e *encoder) value(b []byte, v lua.LValue) ([]byte, error) {
	if len(b)-e.start > e.lim.Bytes {
		return b, e.fail(ErrBytes)
	}
	b = e.room(b, headMax)
	switch v := v.(type) {
	case nil, *lua.LNilType:
		return codec.AppendNil(b), nil
	case lua.LBool:
		return codec.AppendBool(b, bool(v)), nil
	case lua.LNumber:
		return codec.AppendNumber(b, float64(v)), nil
	case lua.LString:
		return e.text(b, string(v))
	}
	t, ok := TableOf(v)
	if !ok {
		return b, &ValueError{Path: e.at(e.path), Type: plural(v)}
	}
	return e.table(b, t)
}

func (e *encoder) table(b []byte, t *Table) ([]byte, error) {
	c := t.at(e.view)
	if len(e.path) >= e.lim.Depth {
		return b, e.fail(ErrDepth)
	}
	if e.lim.Charge != nil {
		if err := e.lim.Charge(c.arr.n + c.count); err != nil {
			return b, err
		}
	}
	if c.count == 0 && c.arr.n > 0 {
		b = codec.AppendArrayLen(b, c.arr.n)
	} else {
		b = codec.AppendMapLen(b, c.arr.n+c.count)
	}
	e.path = append(e.path, key{})
	top := len(e.path) - 1
	var err error
	for i := 1; i <= c.arr.n; i++ {
		if c.count > 0 {
			b = codec.AppendInt(b, int64(i))
		}
		e.path[top] = indexKey(i)
		if b, err = e.value(b, c.arr.get(i)); err != nil {
			return b, err
		}
	}
	if c.root != nil {
		b, err = e.node(b, t, c.root)
	} else {
		for i := range c.small {
			if b, err = e.item(b, t, &c.small[i]); err != nil {
				return b, err
			}
		}
	}
	e.path = e.path[:top]
	return b, err
}

func (e *encoder) node(b []byte, t *Table, n *node) (_ []byte, err error) {
	for i := range n.items {
		if n.kids != nil {
			if b, err = e.node(b, t, n.kids[i]); err != nil {
				return b, err
			}
		}
		if b, err = e.item(b, t, &n.items[i]); err != nil {
			return b, err
		}
	}
	if n.kids != nil {
		return e.node(b, t, n.kids[len(n.items)])
	}
	return b, nil
}

func (e *encoder) item(b []byte, t *Table, it *item) ([]byte, error) {
	top := len(e.path) - 1
	if it.key.isRef() {
		return b, &ValueError{Path: e.at(e.path[:top]), Type: plural(t.luaKey(it.key)), Key: true}
	}
	e.path[top] = it.key
	var err error
	if it.key.isString() {
		b, err = e.text(b, it.key.s)
	} else {
		b = appendKey(b, it.key)
	}
	if err != nil {
		return b, err
	}
	return e.value(b, it.val)
}

// text appends a string.
func (e *encoder) text(b []byte, s string) ([]byte, error) {
	if len(s) > e.lim.Bytes-(len(b)-e.start) {
		return b, e.fail(ErrBytes)
	}
	if e.lim.Spend != nil && len(s) >= longMin {
		if err := e.lim.Spend(len(s)); err != nil {
			return b, err
		}
	}
	return codec.AppendString(e.room(b, headMax+len(s)), s), nil
}

// headMax is how long the head of a value is at most, or a number.
const headMax = 9

// Buffers of more than growMax bytes are made once: growing by a quarter each
// time, a large one would take five times its size.
const growMax = 1 << 20

// room makes room for n bytes more; once, when b gets large, for all that is left.
func (e *encoder) room(b []byte, n int) []byte {
	if e.sized || cap(b)-len(b) >= n || len(b)-e.start+n <= growMax {
		return b
	}
	e.sized = true
	z := sizer{view: e.view, room: e.lim.Bytes, left: sizeMax}
	z.value(e.all, 0)
	// Not slices.Grow, which takes the room twice under the race detector.
	out := make([]byte, len(b), len(b)+max(e.lim.Bytes-z.room-(len(b)-e.start), n))
	copy(out, b)
	return out
}

// sizer counts the bytes of a value, up to a limit.
type sizer struct {
	view *Version
	room int // bytes that are left
	left int // values that are looked at
}

// sizeMax is about the most values that the budget of a call can encode. A table
// that sits in many places may have any number.
const sizeMax = 1 << 20

// value says whether there is more to look at.
func (z *sizer) value(v lua.LValue, depth int) bool {
	z.left--
	if s, ok := v.(lua.LString); ok {
		z.take(len(s))
	}
	z.take(headMax)
	if t, ok := TableOf(v); ok && depth < DepthMax && z.left > 0 && z.room > 0 {
		t.at(z.view).eachValue(func(k key, v lua.LValue) bool {
			z.take(headMax + len(k.s))
			return z.value(v, depth+1)
		})
	}
	return z.left > 0 && z.room > 0
}

func (z *sizer) take(n int) { z.room = max(z.room-n, 0) }

// appendKey appends a key that is no ref.
func appendKey(b []byte, k key) []byte {
	switch {
	case k.isString():
		return codec.AppendString(b, k.s)
	case k.isNumber():
		return codec.AppendNumber(b, k.number())
	}
	return codec.AppendBool(b, k.n == keyTrue)
}

// plural names the type of a value that can't be replicated.
func plural(v lua.LValue) string {
	if _, ok := TableOf(v); ok {
		return "tables"
	}
	switch v.Type() {
	case lua.LTFunction:
		return "functions"
	case lua.LTThread:
		return "threads"
	case lua.LTTable:
		return "library tables"
	}
	return "userdata"
}

// decoder builds the tables of one value.
type decoder struct {
	d     *codec.Decoder
	s     *Store
	lim   Limits
	start int
	room  int // estimate of the memory that may still be taken
}

// What a decoded value takes in memory, about: an empty table is one byte of
// msgpack and some 250 bytes of memory, and all replicas must refuse alike what
// would take too much. A value may take memoryFactor times its limit of bytes.
const (
	tableMemory  = 256
	entryMemory  = 48
	memoryFactor = 4
)

// begin accounts for a table of n entries.
func (dec *decoder) begin(n int) error {
	if err := dec.take(tableMemory + n*entryMemory); err != nil || dec.lim.Charge == nil {
		return err
	}
	return dec.lim.Charge(n)
}

// take accounts for n bytes of memory.
func (dec *decoder) take(n int) error {
	if dec.room -= n; dec.room < 0 {
		return ErrBytes
	}
	return nil
}

// DecodeValue reads one value and makes new tables of its arrays and maps. A
// nil in an array is a hole, in a map an absent entry. The entries are
// counted in Slots.
func (s *Store) DecodeValue(d *codec.Decoder, lim Limits) (lua.LValue, error) {
	dec := decoder{d: d, s: s, lim: lim.orDefault(), start: d.Offset()}
	dec.room = dec.lim.Bytes * memoryFactor
	return dec.value(0)
}

func (dec *decoder) value(depth int) (lua.LValue, error) {
	d := dec.d
	if d.Offset()-dec.start > dec.lim.Bytes {
		return nil, ErrBytes
	}
	switch d.Peek() {
	case codec.KindNil:
		return lua.LNil, d.Nil()
	case codec.KindBool:
		b, err := d.Bool()
		return lua.LBool(b), err
	case codec.KindInt, codec.KindFloat:
		f, err := d.Number()
		return number(f), err
	case codec.KindArray, codec.KindMap:
		if depth >= dec.lim.Depth {
			return nil, ErrDepth
		}
		return dec.table(depth + 1)
	}
	b, err := d.Bytes()
	if err != nil {
		return nil, err
	}
	if d.Offset()-dec.start > dec.lim.Bytes {
		return nil, ErrBytes
	}
	if err := dec.take(len(b)); err != nil {
		return nil, err
	}
	return lua.LString(b), nil
}

func (dec *decoder) table(depth int) (lua.LValue, error) {
	if dec.d.Peek() == codec.KindMap {
		return dec.mapping(depth)
	}
	n, err := dec.d.ArrayLen()
	if err == nil {
		err = dec.begin(n)
	}
	if err != nil {
		return nil, err
	}
	t := dec.s.NewTable(n, 0)
	for i := 1; i <= n; i++ {
		v, err := dec.value(depth)
		if err != nil {
			return nil, err
		}
		if err := t.SetIndex(i, v); err != nil {
			return nil, err
		}
	}
	return &t.ud, nil
}

func (dec *decoder) mapping(depth int) (lua.LValue, error) {
	n, err := dec.d.MapLen()
	if err == nil {
		err = dec.begin(n)
	}
	if err != nil {
		return nil, err
	}
	t := dec.s.NewTable(0, n)
	for range n {
		switch dec.d.Peek() {
		case codec.KindArray, codec.KindMap, codec.KindNil:
			return nil, fmt.Errorf("%v: %w", dec.d.Peek(), ErrBadKey)
		}
		kv, err := dec.value(depth)
		if err != nil {
			return nil, err
		}
		k, i, err := t.keyOf(kv)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", err, ErrBadKey)
		}
		if t.at(nil).get(k, i) != nil {
			return nil, fmt.Errorf("a key twice: %w", ErrBadKey)
		}
		v, err := dec.value(depth)
		if err != nil {
			return nil, err
		}
		if err := t.assign(k, i, v); err != nil {
			return nil, err
		}
	}
	return &t.ud, nil
}

// Copy makes a deep copy of v, which may be read with view, out of new tables.
// A table that sits in two places is copied twice; metatables aren't copied.
// It fails at the depth of a table that contains itself, and when spend, if
// not nil, told of the entries of each table before they are copied, says so.
func (s *Store) Copy(view *Version, v lua.LValue, lim Limits, spend func(entries int) error) (lua.LValue, error) {
	return s.copyValue(view, v, lim.orDefault().Depth, spend)
}

func (s *Store) copyValue(view *Version, v lua.LValue, depth int, spend func(int) error) (out lua.LValue, err error) {
	t, ok := TableOf(v)
	if !ok {
		return orNil(v), nil
	}
	if depth == 0 {
		return nil, ErrDepth
	}
	if spend != nil {
		if err = spend(t.Count(view)); err != nil {
			return nil, err
		}
	}
	n := s.NewTable(t.Len(view), t.Count(view)-t.Len(view))
	t.Each(view, func(k, v lua.LValue) bool {
		if v, err = s.copyValue(view, v, depth-1, spend); err == nil {
			err = n.Set(k, v)
		}
		return err == nil
	})
	return &n.ud, err
}
