package state

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/mutant"
	lua "github.com/yuin/gopher-lua"
)

// docs/FORMATS.md has the byte tables of a dump.
const (
	dumpMagic   = "syncsh-s"
	dumpVersion = 1
	// dumpChunk is the length at which a chunk is written: what a dump holds in
	// memory besides one string, and what it does, about 0.5 ms of work, before the
	// writer may let others run.
	dumpChunk = 64 << 10
	// dumpChunkMax bounds the length of a chunk: one string may make it longer.
	dumpChunkMax = 1 << 30
)

var (
	// ErrDump is returned when what is restored is no dump, or a damaged one.
	ErrDump = errors.New("not a valid dump of a state")
	// ErrDumpVersion is returned when a dump has a newer format.
	ErrDumpVersion = errors.New("dump of another format version")
	// ErrDigest is returned when a restored state hasn't the digest in the dump.
	ErrDigest = errors.New("digest of the restored state differs from the dump's")
)

type dumper struct {
	w    io.Writer
	view *Version
	buf  []byte // four bytes for the length, then the chunk
	err  error
}

// Dump writes the state at v: equal states give equal bytes. The caller holds v.
func (v *Version) Dump(w io.Writer) error {
	if _, err := io.WriteString(w, dumpMagic+string(byte(dumpVersion))); err != nil {
		return err
	}
	d := dumper{w: w, view: v, buf: make([]byte, 4)} // grows: most states are far smaller than a chunk
	for _, sec := range v.sections {
		if sec.t.Count(v) > 0 && !undumped(sec.name) {
			d.buf = codec.AppendString(d.buf, sec.name)
			d.table(sec.t)
		}
	}
	d.flush()
	if d.err != nil {
		return d.err
	}
	_, err := w.Write(append(make([]byte, 4, 4+len(v.digest)), v.digest[:]...)) // an empty chunk ends them
	return err
}

// undumped tells whether a section is left out: none, but for a planted bug.
func undumped(section string) bool {
	return mutant.On(mutant.SessionsUndumped) && section == "sessions" || mutant.On(mutant.TimersUndumped) && section == "timers"
}

func (d *dumper) flush() {
	if len(d.buf) == 4 {
		return
	}
	if len(d.buf)-4 > dumpChunkMax && d.err == nil {
		d.err = fmt.Errorf("dump: string of %d bytes", len(d.buf))
	}
	if d.err == nil {
		binary.BigEndian.PutUint32(d.buf, uint32(len(d.buf)-4))
		_, d.err = d.w.Write(d.buf)
	}
	if cap(d.buf) > 2*dumpChunk { // a long string made it
		d.buf = make([]byte, 4)
	}
	d.buf = d.buf[:4]
}

func (d *dumper) table(t *Table) {
	c := t.at(d.view)
	d.buf = codec.AppendArrayLen(d.buf, 2)
	d.buf = codec.AppendUint(d.buf, uint64(c.arr.n))
	d.buf = codec.AppendUint(d.buf, uint64(c.count))
	for i := 1; i <= c.arr.n && d.err == nil; i++ {
		d.value(c.arr.get(i))
	}
	c.mapEach(func(it *item) bool {
		d.buf = appendKey(d.buf, it.key)
		d.value(it.val)
		return d.err == nil
	})
}

func (d *dumper) value(v lua.LValue) {
	if len(d.buf) >= dumpChunk {
		d.flush()
	}
	switch v := v.(type) {
	case lua.LNumber:
		d.buf = codec.AppendNumber(d.buf, float64(v))
	case lua.LString:
		d.buf = codec.AppendString(d.buf, string(v))
	case lua.LBool:
		d.buf = codec.AppendBool(d.buf, bool(v))
	default:
		t, ok := TableOf(v)
		if !ok {
			panic("state: a " + v.Type().String() + " in the state")
		}
		d.table(t)
	}
}

// restorer reads a dump into an empty store.
type restorer struct {
	r     io.Reader
	s     *Store
	chunk bytes.Buffer
	d     codec.Decoder
	ended bool
}

// Restore reads what Dump wrote, and no byte more. Whatever the bytes, it
// returns an error or a state whose digest is the one in the dump, and takes
// memory in proportion to what it read.
func Restore(r io.Reader) (*Store, error) {
	s, want, err := restore(r)
	if err != nil {
		return nil, err
	}
	if got := s.Digest(); got != want && !undumped("sessions") && !undumped("timers") && !mutant.On(mutant.DigestSkipped) {
		return nil, fmt.Errorf("%w: %v, want %v", ErrDigest, got, want)
	}
	return s, nil
}

// restore reads a dump and the digest that it claims.
func restore(r io.Reader) (*Store, Digest, error) {
	var want Digest
	var head [len(dumpMagic) + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, want, dumpError(err)
	}
	if string(head[:len(dumpMagic)]) != dumpMagic {
		return nil, want, ErrDump
	}
	if v := head[len(dumpMagic)]; v != dumpVersion {
		return nil, want, fmt.Errorf("%w: %d, this program reads %d", ErrDumpVersion, v, dumpVersion)
	}
	rs := &restorer{r: r, s: NewStore()}
	if err := rs.sections(); err != nil {
		return nil, want, err
	}
	if _, err := io.ReadFull(r, want[:]); err != nil {
		return nil, want, dumpError(err)
	}
	return rs.s, want, nil
}

// dumpError marks the end of the bytes as damage, and leaves other errors of
// the reader as they are.
func dumpError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends early", ErrDump)
	}
	return err
}

// fill makes the decoder have bytes, unless the chunks have ended.
func (rs *restorer) fill() error {
	if rs.d.Left() > 0 || rs.ended {
		return nil
	}
	var head [4]byte
	if _, err := io.ReadFull(rs.r, head[:]); err != nil {
		return dumpError(err)
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 {
		rs.ended = true
		return nil
	}
	if n > dumpChunkMax {
		return fmt.Errorf("%w: chunk of %d bytes", ErrDump, n)
	}
	rs.chunk.Reset()
	if rs.chunk.Cap() > 2*dumpChunk {
		rs.chunk = bytes.Buffer{}
	}
	if m, err := io.CopyN(&rs.chunk, rs.r, int64(n)); err != nil || m < int64(n) { // grows with what arrives, not by the length
		return dumpError(err)
	}
	rs.d.Reset(rs.chunk.Bytes())
	return nil
}

func (rs *restorer) sections() error {
	last := ""
	for {
		if err := rs.fill(); err != nil {
			return err
		}
		if rs.ended {
			return nil
		}
		name, err := rs.d.String()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDump, err)
		}
		if n := len(rs.s.sections); n > 0 && name <= last {
			return fmt.Errorf("%w: sections out of order", ErrDump)
		}
		last = name
		t := rs.s.Section(name)
		if err := rs.table(t, 0); err != nil {
			return err
		}
		if t.Count(nil) == 0 {
			return fmt.Errorf("%w: empty section", ErrDump)
		}
		t.h.contrib = t.contribution()
		rs.s.digest = rs.s.digest.add(t.h.contrib)
	}
}

// table reads the content of t, which is nested in depth others.
func (rs *restorer) table(t *Table, depth int) error {
	if depth > DepthMax {
		return fmt.Errorf("%w: %w", ErrDump, ErrDepth)
	}
	n, m, err := rs.tableHead()
	if err != nil {
		return err
	}
	c := t.cur.Load()
	for i := uint64(1); i <= n; i++ {
		k := indexKey(int(i))
		v, err := rs.value(t, k, depth)
		if err != nil {
			return err
		}
		rs.s.arrayPush(&c.arr, v)
	}
	var last key
	for ; m > 0; m-- {
		k, err := rs.key()
		if err != nil {
			return err
		}
		if i := k.index(); !last.less(k) || i > 0 && i <= c.arr.n+1 {
			return fmt.Errorf("%w: key out of order", ErrDump)
		}
		last = k
		v, err := rs.value(t, k, depth)
		if err != nil {
			return err
		}
		rs.s.mapSet(c, k, v)
	}
	c.arr.head = slices.Clip(c.arr.head)
	return nil
}

func (rs *restorer) tableHead() (n, m uint64, err error) {
	err = rs.fill()
	if err == nil {
		err = rs.d.FixedArray(2)
	}
	if err == nil {
		n, err = rs.d.Uint()
	}
	if err == nil {
		m, err = rs.d.Uint()
	}
	if err == nil && n > indexBound {
		err = codec.ErrRange
	}
	if err != nil && !errors.Is(err, ErrDump) {
		err = fmt.Errorf("%w: table: %w", ErrDump, err)
	}
	return n, m, err
}

func (rs *restorer) key() (key, error) {
	if err := rs.fill(); err != nil {
		return key{}, err
	}
	switch rs.d.Peek() {
	case codec.KindBool:
		b, err := rs.d.Bool()
		return boolKey(b), err
	case codec.KindInt, codec.KindFloat:
		f, err := rs.d.Number()
		if err == nil && f == f {
			return numberKey(f), nil
		}
	case codec.KindString:
		s, err := rs.d.String()
		if err == nil {
			return stringKey(s), nil
		}
	}
	return key{}, fmt.Errorf("%w: bad key", ErrDump)
}

// value reads a value that is going to sit in t under k, and adds it to the sum
// of t.
func (rs *restorer) value(t *Table, k key, depth int) (v lua.LValue, err error) {
	if err := rs.fill(); err != nil {
		return nil, err
	}
	switch rs.d.Peek() {
	case codec.KindBool:
		b, e := rs.d.Bool()
		v, err = lua.LBool(b), e
	case codec.KindInt, codec.KindFloat:
		f, e := rs.d.Number()
		v, err = number(f), e
	case codec.KindString:
		s, e := rs.d.String()
		v, err = lua.LString(s), e
	case codec.KindArray:
		sub := rs.s.NewTable(0, 0)
		if err := rs.table(sub, depth+1); err != nil {
			return nil, err
		}
		sub.h.inState, sub.h.parent, sub.h.key, sub.h.kh = true, t, k, k.hash()
		sub.h.contrib = sub.contribution()
		t.h.kids.count(sub.height(), 1)
		t.h.sum = t.h.sum.add(sub.h.contrib)
		return &sub.ud, nil
	default:
		err = codec.ErrType
	}
	if err != nil {
		return nil, fmt.Errorf("%w: value: %w", ErrDump, err)
	}
	t.h.sum = t.h.sum.add(scalar(k.hash(), v))
	return v, nil
}
