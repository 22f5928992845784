package codec

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/vmihailenco/msgpack/v5"
)

// appendAny appends a value of the kinds that randomValue makes, map keys
// sorted as everywhere in syncsh.
func appendAny(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return AppendNil(b)
	case bool:
		return AppendBool(b, v)
	case int64:
		return AppendInt(b, v)
	case uint64:
		return AppendUint(b, v)
	case float64:
		return AppendNumber(b, v)
	case string:
		return AppendString(b, v)
	case []byte:
		return AppendBytes(b, v)
	case []any:
		b = AppendArrayLen(b, len(v))
		for _, e := range v {
			b = appendAny(b, e)
		}
		return b
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = AppendMapLen(b, len(keys))
		for _, k := range keys {
			b = appendAny(AppendString(b, k), v[k])
		}
		return b
	}
	panic(fmt.Sprintf("%T", v))
}

// library encodes with the compact forms of the library.
func library(t *testing.T, v any) []byte {
	t.Helper()
	var buf bytes.Buffer
	e := msgpack.NewEncoder(&buf)
	e.UseCompactInts(true)
	e.UseCompactFloats(true)
	e.SetSortMapKeys(true)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// edges of the integer formats, and their neighbours.
func edges() []int64 {
	var out []int64
	for _, e := range []int64{0, -32, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 53, -1 << 7, -1 << 15, -1 << 31, -1 << 53,
		math.MaxInt64 - 2, math.MinInt64 + 2} {
		for d := int64(-2); d <= 2; d++ {
			out = append(out, e+d)
		}
	}
	return out
}

func randomString(r *rand.Rand, max int) string {
	b := make([]byte, r.IntN(max))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return string(b)
}

func randomValue(r *rand.Rand, depth int) any {
	n := 9
	if depth == 0 {
		n = 7
	}
	switch r.IntN(n) {
	case 0:
		return nil
	case 1:
		return r.IntN(2) == 0
	case 2:
		return int64(r.Uint64() >> r.IntN(64))
	case 3:
		return -int64(r.Uint64() >> (1 + r.IntN(63)))
	case 4:
		return math.Float64frombits(r.Uint64())
	case 5:
		return randomString(r, 40)
	case 6:
		return []byte(randomString(r, 40))
	case 7:
		a := make([]any, r.IntN(20))
		for i := range a {
			a[i] = randomValue(r, depth-1)
		}
		return a
	}
	m := map[string]any{}
	for range r.IntN(20) {
		m[randomString(r, 6)] = randomValue(r, depth-1)
	}
	return m
}

func TestBytesEqualTheLibrarys(t *testing.T) {
	check := func(name string, got, want []byte) {
		t.Helper()
		if !bytes.Equal(got, want) {
			t.Errorf("%s: %x, the library writes %x", name, got, want)
		}
	}
	for _, v := range edges() {
		check(fmt.Sprint(v), AppendInt(nil, v), library(t, v))
		if v >= 0 {
			check(fmt.Sprint(v), AppendUint(nil, uint64(v)), library(t, uint64(v)))
		}
		if f := float64(v); f < intMax {
			check(fmt.Sprint(f), AppendNumber(nil, f), library(t, f))
		}
	}
	for _, v := range []uint64{1 << 63, math.MaxUint64} {
		check(fmt.Sprint(v), AppendUint(nil, v), library(t, v))
	}
	for _, v := range []float64{0.5, -0.1, math.Pi, math.Inf(1), math.Inf(-1), math.SmallestNonzeroFloat64, 1e300, intMin} {
		check(fmt.Sprint(v), AppendNumber(nil, v), library(t, v))
	}
	for _, n := range []int{0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536} {
		s := strings.Repeat("x", n)
		check(fmt.Sprintf("string of %d", n), AppendString(nil, s), library(t, s))
		check(fmt.Sprintf("string of %d", n), AppendStringBytes(nil, []byte(s)), library(t, s))
		check(fmt.Sprintf("binary of %d", n), AppendBytes(nil, []byte(s)), library(t, []byte(s)))
		a, m := make([]any, n), make(map[string]any, n)
		for i := range n {
			m[fmt.Sprintf("%07d", i)] = nil
		}
		check(fmt.Sprintf("array of %d", n), appendAny(nil, a), library(t, a))
		check(fmt.Sprintf("map of %d", n), appendAny(nil, m), library(t, m))
	}
	check("nil", AppendNil(nil), library(t, nil))
	check("true", AppendBool(nil, true), library(t, true))
	check("false", AppendBool(nil, false), library(t, false))
}

func TestRandomValuesEqualTheLibrarys(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		v := randomValue(r, 3)
		got := appendAny(nil, v)
		if want := library(t, v); !bytes.Equal(got, want) {
			t.Fatalf("seed %d: %x, the library writes %x", seed, got, want)
		}
		var back any
		if err := msgpack.Unmarshal(got, &back); err != nil {
			t.Fatalf("seed %d: the library refuses %x: %v", seed, got, err)
		}
		d := NewDecoder(got)
		ours, err := readAny(&d)
		if err == nil {
			err = d.End()
		}
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if again := appendAny(nil, ours); !bytes.Equal(again, got) {
			t.Fatalf("seed %d: read and written again %x, was %x", seed, again, got)
		}
	}
}

// readAny reads one value with the typed methods, as their callers do.
func readAny(d *Decoder) (any, error) {
	switch k := d.Peek(); k {
	case KindNil:
		return nil, d.Nil()
	case KindBool:
		return d.Bool()
	case KindInt:
		at := *d
		if v, err := d.Int(); err == nil {
			return v, nil
		}
		*d = at
		return d.Uint()
	case KindFloat:
		return d.Number()
	case KindString:
		return d.String()
	case KindBytes:
		p, err := d.Bytes()
		return slices.Clone(p), err
	case KindArray:
		n, err := d.ArrayLen()
		if err != nil {
			return nil, err
		}
		a := make([]any, 0, n)
		for range n {
			v, err := readAny(d)
			if err != nil {
				return nil, err
			}
			a = append(a, v)
		}
		return a, nil
	case KindMap:
		n, err := d.MapLen()
		if err != nil {
			return nil, err
		}
		m := make(map[string]any, n)
		for range n {
			k, err := d.String()
			if err != nil {
				return nil, err
			}
			if m[k], err = readAny(d); err != nil {
				return nil, err
			}
		}
		return m, nil
	}
	return nil, d.Skip()
}

func TestCanonicalNumbers(t *testing.T) {
	nan := func(bits uint64) float64 { return math.Float64frombits(bits) }
	canonical := []byte{0xcb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0}
	for _, bits := range []uint64{0x7ff8000000000000, 0x7ff0000000000001, 0xfff8000000000000, 0xffffffffffffffff, 0x7ff8000000000001} {
		if got := AppendNumber(nil, nan(bits)); !bytes.Equal(got, canonical) {
			t.Errorf("NaN %016x is written as %x", bits, got)
		}
		raw := append([]byte{0xcb}, byte(bits>>56), byte(bits>>48), byte(bits>>40), byte(bits>>32), byte(bits>>24), byte(bits>>16), byte(bits>>8), byte(bits))
		d := NewDecoder(raw)
		if v, err := d.Number(); err != nil || math.Float64bits(v) != canonicalNaN {
			t.Errorf("NaN %016x is read as %016x, %v", bits, math.Float64bits(v), err)
		}
	}
	for _, c := range []struct {
		v    float64
		want []byte
	}{
		{math.Copysign(0, -1), []byte{0}},
		{1, []byte{1}},
		{-1, []byte{0xff}},
		{1 << 53, []byte{0xcf, 0, 0x20, 0, 0, 0, 0, 0, 0}},
		{intMin, []byte{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}},
		{intMax, []byte{0xcb, 0x43, 0xe0, 0, 0, 0, 0, 0, 0}}, // 2^63 is no int64
		{math.Inf(1), []byte{0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0}},
	} {
		if got := AppendNumber(nil, c.v); !bytes.Equal(got, c.want) {
			t.Errorf("%v is written as %x, want %x", c.v, got, c.want)
		}
	}
}

// A value of each integer format that is longer than needed is read all the
// same: a client may write it. What is written again is the shortest form.
func TestLongFormsAreReadAndShortenedWhenWritten(t *testing.T) {
	for _, long := range [][]byte{
		{0xcc, 5}, {0xcd, 0, 5}, {0xce, 0, 0, 0, 5}, {0xcf, 0, 0, 0, 0, 0, 0, 0, 5},
		{0xd0, 5}, {0xd1, 0, 5}, {0xd2, 0, 0, 0, 5}, {0xd3, 0, 0, 0, 0, 0, 0, 0, 5},
	} {
		d := NewDecoder(long)
		v, err := d.Number()
		if err != nil || v != 5 || d.Left() != 0 {
			t.Errorf("%x: %v, %v, %d left", long, v, err, d.Left())
		}
		if got := AppendNumber(nil, v); !bytes.Equal(got, []byte{5}) {
			t.Errorf("%x is written again as %x", long, got)
		}
		d.Reset(long)
		if v, err := d.Uint(); err != nil || v != 5 {
			t.Errorf("%x: Uint %d, %v", long, v, err)
		}
		d.Reset(long)
		if v, err := d.Int(); err != nil || v != 5 {
			t.Errorf("%x: Int %d, %v", long, v, err)
		}
	}
}

func TestRanges(t *testing.T) {
	d := NewDecoder(AppendInt(nil, -1))
	if _, err := d.Uint(); !errors.Is(err, ErrRange) {
		t.Errorf("Uint of -1: %v", err)
	}
	d.Reset(AppendUint(nil, 1<<63))
	if _, err := d.Int(); !errors.Is(err, ErrRange) {
		t.Errorf("Int of 2^63: %v", err)
	}
	d.Reset(AppendUint(nil, math.MaxUint64))
	if v, err := d.Number(); err != nil || v != math.MaxUint64 {
		t.Errorf("Number of 2^64-1: %v, %v", v, err)
	}
	d.Reset(AppendInt(nil, math.MinInt64))
	if v, err := d.Number(); err != nil || v != math.MinInt64 {
		t.Errorf("Number of -2^63: %v, %v", v, err)
	}
}

// Each reader refuses the kinds it is not for, and what syncsh never writes.
func TestWrongKinds(t *testing.T) {
	readers := map[string]func(*Decoder) error{
		"Nil":      (*Decoder).Nil,
		"Bool":     func(d *Decoder) error { _, err := d.Bool(); return err },
		"Uint":     func(d *Decoder) error { _, err := d.Uint(); return err },
		"Int":      func(d *Decoder) error { _, err := d.Int(); return err },
		"Number":   func(d *Decoder) error { _, err := d.Number(); return err },
		"Bytes":    func(d *Decoder) error { _, err := d.Bytes(); return err },
		"String":   func(d *Decoder) error { _, err := d.String(); return err },
		"ArrayLen": func(d *Decoder) error { _, err := d.ArrayLen(); return err },
		"MapLen":   func(d *Decoder) error { _, err := d.MapLen(); return err },
	}
	takes := map[string]string{"nil": "Nil", "boolean": "Bool", "integer": "Uint Int Number", "float": "Number",
		"string": "Bytes String", "binary": "Bytes String", "array": "ArrayLen", "map": "MapLen"}
	values := map[Kind][]byte{KindNil: AppendNil(nil), KindBool: AppendBool(nil, true), KindInt: AppendInt(nil, 7),
		KindFloat: AppendNumber(nil, 0.5), KindString: AppendString(nil, "x"), KindBytes: AppendBytes(nil, []byte("x")),
		KindArray: AppendArrayLen(nil, 0), KindMap: AppendMapLen(nil, 0)}
	for kind, b := range values {
		for name, read := range readers {
			d := NewDecoder(b)
			if got := d.Peek(); got != kind {
				t.Errorf("Peek of %x: %v, want %v", b, got, kind)
			}
			err := read(&d)
			if strings.Contains(takes[kind.String()], name) {
				if err != nil || d.Left() != 0 {
					t.Errorf("%s of a %v: %v, %d bytes left", name, kind, err, d.Left())
				}
			} else if !errors.Is(err, ErrType) {
				t.Errorf("%s of a %v: %v, want %v", name, kind, err, ErrType)
			}
		}
	}
	for _, b := range [][]byte{{0xc1}, {0xca, 0, 0, 0, 0}, {0xc7, 0, 1}, {0xc8, 0, 0, 1}, {0xc9, 0, 0, 0, 0, 1},
		{0xd4, 1, 0}, {0xd5, 1, 0, 0}, {0xd6, 0xff, 0, 0, 0, 0}, {0xd7, 0xff, 0, 0, 0, 0, 0, 0, 0, 0}, {0xd8, 1}} {
		d := NewDecoder(b)
		if k := d.Peek(); k != KindInvalid {
			t.Errorf("Peek of %x: %v", b, k)
		}
		if err := d.Skip(); !errors.Is(err, ErrType) {
			t.Errorf("Skip of %x: %v", b, err)
		}
	}
	for name, read := range readers {
		var d Decoder
		if err := read(&d); !errors.Is(err, ErrTruncated) {
			t.Errorf("%s of nothing: %v", name, err)
		}
	}
}

func TestEveryCutIsRefused(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		whole := appendAny(nil, randomValue(r, 2))
		for n := range whole {
			// A capacity of its own: a read past the end would panic.
			cut := slices.Clip(slices.Clone(whole[:n]))
			d := NewDecoder(cut)
			if err := d.Skip(); !errors.Is(err, ErrTruncated) {
				t.Fatalf("seed %d: %d of %d bytes: Skip %v", seed, n, len(whole), err)
			}
			d.Reset(cut)
			if _, err := readAny(&d); !errors.Is(err, ErrTruncated) {
				t.Fatalf("seed %d: %d of %d bytes: %v", seed, n, len(whole), err)
			}
		}
	}
}

func TestLengthsBeyondWhatIsLeft(t *testing.T) {
	for _, head := range [][]byte{
		{0xa1}, {0xbf}, {0xd9, 0xff}, {0xda, 0xff, 0xff}, {0xdb, 0xff, 0xff, 0xff, 0xff},
		{0xc4, 0xff}, {0xc5, 0xff, 0xff}, {0xc6, 0xff, 0xff, 0xff, 0xff},
		{0x91}, {0x9f}, {0xdc, 0xff, 0xff}, {0xdd, 0xff, 0xff, 0xff, 0xff},
		{0x81}, {0x8f}, {0xde, 0xff, 0xff}, {0xdf, 0xff, 0xff, 0xff, 0xff}, {0xdf, 0x80, 0, 0, 0},
	} {
		d := NewDecoder(head)
		var err error
		n := testing.AllocsPerRun(1, func() {
			d.Reset(head)
			_, err = readAny(&d)
		})
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("%x: %v", head, err)
		}
		if n > 8 { // those of the error
			t.Errorf("%x: %v allocations", head, n)
		}
	}
	// Each pair of a map takes two bytes at least.
	d := NewDecoder([]byte{0x82, 1, 1, 1})
	if _, err := d.MapLen(); !errors.Is(err, ErrTruncated) {
		t.Errorf("map of 2 pairs in 3 bytes: %v", err)
	}
}

func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return append(bytes.Repeat([]byte{0x91}, n), 0xc0) }
	d := NewDecoder(nested(DepthMax))
	if err := d.Skip(); err != nil {
		t.Errorf("depth %d: %v", DepthMax, err)
	}
	for _, n := range []int{DepthMax + 1, 1 << 20} {
		d.Reset(nested(n))
		if err := d.Skip(); !errors.Is(err, ErrDepth) {
			t.Errorf("depth %d: %v", n, err)
		}
	}
}

func TestPositions(t *testing.T) {
	b := AppendString(AppendInt(nil, 300), "abc")
	d := NewDecoder(b)
	raw, err := d.Raw()
	if err != nil || !bytes.Equal(raw, []byte{0xcd, 0x01, 0x2c}) || cap(raw) != len(raw) {
		t.Errorf("Raw: %x, %v", raw, err)
	}
	if d.Offset() != 3 || d.Left() != 4 || !bytes.Equal(d.Rest(), b[3:]) {
		t.Errorf("offset %d, %d left, rest %x", d.Offset(), d.Left(), d.Rest())
	}
	if err := d.End(); !errors.Is(err, ErrTrailing) || !strings.Contains(err.Error(), "byte 3") {
		t.Errorf("End with bytes left: %v", err)
	}
	s, err := d.Bytes()
	if err != nil || string(s) != "abc" || cap(s) != 3 {
		t.Errorf("Bytes: %q, capacity %d, %v", s, cap(s), err)
	}
	if err := d.End(); err != nil {
		t.Error(err)
	}
	d.Reset([]byte{0x92, 1, 2})
	if err := d.FixedArray(3); !errors.Is(err, ErrType) {
		t.Errorf("array of 2 for 3: %v", err)
	}
	d.Reset([]byte{0x92, 1, 2})
	if err := d.FixedArray(2); err != nil {
		t.Error(err)
	}
}

func TestKindNames(t *testing.T) {
	seen := map[string]bool{}
	for k := KindInvalid; k <= KindMap; k++ {
		if s := k.String(); s == "" || seen[s] {
			t.Errorf("kind %d is called %q", k, s)
		}
		seen[k.String()] = true
	}
}

// Whatever the bytes, reading ends without a panic, Skip and the typed readers
// agree on where a value ends, and a value that is written again is canonical.
func FuzzDecoder(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(appendAny(nil, randomValue(rand.New(rand.NewPCG(seed, 3)), 2)))
	}
	for _, b := range [][]byte{{}, {0xc1}, {0xca, 0, 0, 0, 0}, {0xdd, 0xff, 0xff, 0xff, 0xff}, {0xdf, 0x7f, 0xff, 0xff, 0xff, 0},
		{0xdb, 0, 0, 0, 1}, {0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0x91}, 400), {0x81, 0xa1, 'k', 0x92, 1}} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		skip, typed := NewDecoder(b), NewDecoder(b)
		if skip.Skip() != nil {
			return
		}
		v, err := readAny(&typed)
		if err != nil {
			return // a map key that is no string
		}
		if skip.Offset() != typed.Offset() {
			t.Fatalf("Skip ends at %d, the typed readers at %d", skip.Offset(), typed.Offset())
		}
		once := appendAny(nil, v)
		again := NewDecoder(once)
		v2, err := readAny(&again)
		if err != nil || again.Left() != 0 {
			t.Fatalf("%x is written as %x, which reads with %v, %d bytes left", b, once, err, again.Left())
		}
		if twice := appendAny(nil, v2); !bytes.Equal(once, twice) {
			t.Fatalf("%x is written as %x, then as %x", b, once, twice)
		}
		var lib any
		if err := msgpack.Unmarshal(once, &lib); err != nil {
			t.Fatalf("the library refuses %x: %v", once, err)
		}
	})
}
