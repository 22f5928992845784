package state

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	lua "github.com/yuin/gopher-lua"
)

func decodeHex(t testing.TB, s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestEncodeGolden fixes the bytes of values.
func TestEncodeGolden(t *testing.T) {
	s := NewStore()
	table := func(kv ...lua.LValue) lua.LValue {
		t := s.NewTable(0, 0)
		for i := 0; i < len(kv); i += 2 {
			must(t.Set(kv[i], kv[i+1]))
		}
		return t.UserData()
	}
	num := func(f float64) lua.LValue { return lua.LNumber(f) }
	str := func(s string) lua.LValue { return lua.LString(s) }
	for _, c := range []struct {
		v    lua.LValue
		want string
	}{
		{lua.LNil, "c0"},
		{lua.LTrue, "c3"},
		{num(1), "01"},
		{num(1.5), "cb3ff8000000000000"},
		{num(math.Copysign(0, -1)), "00"},
		{num(-math.NaN()), "cb7ff8000000000000"},
		{num(math.Inf(1)), "cb7ff0000000000000"},
		{num(1 << 53), "cf0020000000000000"},
		{str("ab\x00"), "a3616200"},
		{table(), "80"},
		{table(num(1), str("a"), num(2), table()), "92a16180"},
		{table(num(2), num(1)), "810201"},
		{table(str("b"), num(2), str("a"), num(1), num(1), lua.LTrue, num(-1), num(0), lua.LTrue, num(3), num(1.5), lua.LFalse),
			"8601c3 c303 ff00 cb3ff8000000000000c2 a16101 a16202"},
	} {
		got, err := AppendValue([]byte{0xee}, nil, c.v, Limits{})
		want := append([]byte{0xee}, decodeHex(t, c.want)...)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v: %x, %v, want %x", c.v, got, err, want)
			continue
		}
		d := codec.NewDecoder(got[1:])
		v, err := s.DecodeValue(&d, Limits{})
		if err != nil || d.End() != nil {
			t.Errorf("%x: %v", got, err)
			continue
		}
		if again, _ := AppendValue(nil, nil, v, Limits{}); !bytes.Equal(again, want[1:]) {
			t.Errorf("%x decoded and encoded: %x", want[1:], again)
		}
	}
}

func TestEncodeErrors(t *testing.T) {
	s := NewStore()
	cycle, deep, wide := s.NewTable(0, 0), s.NewTable(0, 0).UserData(), s.NewTable(0, 0).UserData()
	must(cycle.SetString("c", cycle.UserData()))
	for range DepthMax {
		up, twice := s.NewTable(0, 0), s.NewTable(0, 0)
		must(up.SetIndex(1, deep))
		must(twice.SetIndex(1, wide))
		must(twice.SetIndex(2, wide))
		deep, wide = up.UserData(), twice.UserData()
	}
	within, keyed := s.NewTable(0, 0), s.NewTable(0, 0)
	must(within.SetString("a", cycle.UserData()))
	must(within.SetString("a", fn))
	must(keyed.Set(fn, lua.LTrue))
	must(keyed.Set(within.UserData(), lua.LTrue))
	outer := s.NewTable(0, 0)
	must(outer.SetIndex(3, keyed.UserData()))
	wideTop, _ := TableOf(wide)
	for _, c := range []struct {
		name string
		v    lua.LValue
		want error
		text string
	}{
		{"cycle", cycle.UserData(), ErrDepth, "c.c.c.c.c.c.c.c: tables are nested too deep, or a table contains itself"},
		{"deep", deep, ErrDepth, "[1][1][1][1][1][1][1][1]: tables are nested too deep, or a table contains itself"},
		{"2^99 tables", wideTop.GetIndex(nil, 1), ErrBytes, ""},
		{"function", fn, ErrValue, "functions are not data"},
		{"function within", within.UserData(), ErrValue, "a: functions are not data"},
		{"function as key", outer.UserData(), ErrValue, "[3]: functions as keys are not data"},
		{"long string", lua.LString(strings.Repeat("x", 1001)), ErrBytes, "value is too large"},
	} {
		dst := []byte("kept")
		got, err := AppendValue(dst, nil, c.v, Limits{Bytes: 1000})
		if !errors.Is(err, c.want) || c.text != "" && err.Error() != c.text || string(got) != "kept" {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
	if out, err := AppendValue(nil, nil, deepest(s), Limits{}); err != nil || len(out) != DepthMax {
		t.Errorf("as deep as may be: %d bytes, %v", len(out), err)
	}
}

func deepest(s *Store) lua.LValue {
	v := s.NewTable(0, 0).UserData()
	for range DepthMax - 1 {
		up := s.NewTable(0, 0)
		must(up.SetIndex(1, v))
		v = up.UserData()
	}
	return v
}

func TestDecodeErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		in   string
		want error
	}{
		{"empty", "", codec.ErrTruncated},
		{"extension", "c70000", codec.ErrType},
		{"claims 2^32-1 values", "ddffffffff", codec.ErrTruncated},
		{"claims 2^32-1 pairs", "dfffffffff00", codec.ErrTruncated},
		{"nil key", "81c001", ErrBadKey},
		{"NaN key", "81cb7ff800000000000001", ErrBadKey},
		{"table key", "819001", ErrBadKey},
		{"key twice", "8201020103", ErrBadKey},
		{"key twice as float", "820102cb3ff000000000000003", ErrBadKey},
		{"cut string", "a361", codec.ErrTruncated},
		{"too deep", strings.Repeat("91", DepthMax) + "90", ErrDepth},
		{"too long", "db000003e9" + strings.Repeat("78", 1001), ErrBytes},
		{"empty tables", "dc0020" + strings.Repeat("90", 32), ErrBytes},
	} {
		s := NewStore()
		d := codec.NewDecoder(decodeHex(t, c.in))
		lim := Limits{Bytes: 1000}
		if c.want == ErrDepth {
			lim = Limits{}
		}
		if _, err := s.DecodeValue(&d, lim); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestCopy says that a copy is equal, shares no table, and is charged.
func TestCopy(t *testing.T) {
	g := newGrove()
	spent := 0
	c, err := g.Copy(nil, g.a.UserData(), Limits{}, func(n int) error { spent += n; return nil })
	if err != nil || spent != 8 {
		t.Fatalf("spent %d, %v", spent, err)
	}
	g.Begin()
	set(g.Root(), "c", c)
	must(g.Commit())
	x, _ := AppendValue(nil, nil, g.a.UserData(), Limits{})
	y, _ := AppendValue(nil, nil, c, Limits{})
	if !bytes.Equal(x, y) {
		t.Errorf("copy %x of %x", y, x)
	}
	stop := errors.New("stop")
	if _, err := g.Copy(nil, c, Limits{}, func(int) error { return stop }); err != stop {
		t.Error(err)
	}
	cycle := g.NewTable(0, 0)
	must(cycle.SetIndex(1, cycle.UserData()))
	if _, err := g.Copy(nil, cycle.UserData(), Limits{}, nil); err != ErrDepth {
		t.Error(err)
	}
}

// TestDumpGolden fixes the bytes of a small dump, and the digest on every
// architecture.
func TestDumpGolden(t *testing.T) {
	s := NewStore()
	s.Begin()
	set(s.Section("settings"), "n", lua.LNumber(5))
	s.Section("empty")
	o := s.NewTable(0, 0)
	set(s.Root(), "c", o.UserData())
	must(o.SetIndex(1, lua.LTrue))
	set(o, "v", lua.LNumber(-2.5))
	must(s.Commit())
	v := s.Publish()
	got := hex.EncodeToString(dumpOf(t, v))
	want := "73796e6373682d73" + "01" + // magic, version
		"0000002b" + // length
		"a76f626a65637473" + "920001" + "a163" + // objects: 0 in sequence, 1 other: c
		"920101" + "c3" + "a176" + "cbc004000000000000" + // 1 in sequence, 1 other: v
		"a873657474696e6773" + "920001" + "a16e" + "05" + // settings
		"00000000" + goldenDigest
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

const goldenDigest = "1e861ebfdce330ad73fe66bee4914194"

// TestDumpDamaged has every cut and many flips refused.
func TestDumpDamaged(t *testing.T) {
	g := newGrove()
	v := g.Publish()
	dump := dumpOf(t, v)
	for i := range dump {
		if _, err := Restore(bytes.NewReader(dump[:i])); !errors.Is(err, ErrDump) {
			t.Fatalf("cut at %d: %v", i, err)
		}
		for bit := range 8 {
			bad := bytes.Clone(dump)
			bad[i] ^= 1 << bit
			if _, err := Restore(bytes.NewReader(bad)); err == nil {
				t.Fatalf("bit %d of byte %d flipped: accepted", bit, i)
			}
		}
	}
	longer := bytes.NewReader(append(bytes.Clone(dump), 7))
	if _, err := Restore(longer); err != nil || longer.Len() != 1 {
		t.Errorf("what follows a dump: %v, %d bytes left, want 1", err, longer.Len())
	}
}

// TestDumpRefused has states that no store can have.
func TestDumpRefused(t *testing.T) {
	for name, payload := range map[string]string{
		"empty section":         "a161 920000",
		"sections out of order": "a162 920100c3 a161 920100c3",
		"section twice":         "a161 920100c3 a161 920100c3",
		"keys out of order":     "a161 920002 a16201 a16101",
		"key twice":             "a161 920002 a16101 a16101",
		"key of the sequence":   "a161 920101c3 0101",
		"key after it":          "a161 920101c3 0201",
		"first of a sequence":   "a161 920001 0101",
		"nil value":             "a161 920001 a161c0",
		"NaN key":               "a161 920001 cb7ff8000000000000 01",
		"a map":                 "a161 920001 a16180",
		"short table head":      "a161 9100",
		"too deep":              "a161" + strings.Repeat("920100", DepthMax+1) + "920100c3",
	} {
		p := decodeHex(t, payload)
		dump := append([]byte(dumpMagic), dumpVersion, 0, 0, byte(len(p)>>8), byte(len(p)))
		dump = append(append(dump, p...), make([]byte, 20)...)
		if _, err := Restore(bytes.NewReader(dump)); !errors.Is(err, ErrDump) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for in, want := range map[string]error{dumpMagic + "\x02": ErrDumpVersion, "syncsh-x\x01": ErrDump, "": ErrDump} {
		if _, err := Restore(strings.NewReader(in)); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", in, err, want)
		}
	}
}

// TestDumpChunks has a dump of many chunks, a string longer than one among
// them.
func TestDumpChunks(t *testing.T) {
	s := NewStore()
	s.Begin()
	o := s.NewTable(0, 0)
	set(s.Root(), "o", o.UserData())
	for i := range 40_000 {
		must(o.SetIndex(i+1, lua.LNumber(i)))
		set(o, fmt.Sprint("key", i), lua.LNumber(i))
	}
	set(o, "long", lua.LString(strings.Repeat("x", 3*dumpChunk)))
	must(s.Commit())
	v := s.Publish()
	sizes := &writes{}
	must(v.Dump(sizes))
	if len(sizes.n) < 5 {
		t.Errorf("writes %v", sizes.n)
	}
	for _, n := range sizes.n {
		if n > dumpChunk+64 && n < 3*dumpChunk {
			t.Errorf("a write of %d bytes", n)
		}
	}
	r, err := Restore(bytes.NewReader(dumpOf(t, v)))
	if err != nil || r.Digest() != s.Digest() {
		t.Fatal(err)
	}
	failing := errors.New("disk full")
	if err := v.Dump(&writes{fail: failing}); err != failing {
		t.Error(err)
	}
}

type writes struct {
	n    []int
	fail error
}

func (w *writes) Write(p []byte) (int, error) {
	if w.n = append(w.n, len(p)); w.fail != nil && len(w.n) > 2 {
		return 0, w.fail
	}
	return len(p), nil
}

// The buffer of a large value is made once: by growing it would take several
// times its size.
func TestLargeValueGrowsOnce(t *testing.T) {
	s := NewStore()
	top := s.NewTable(0, 0)
	text := lua.LString(strings.Repeat("x", 1<<20))
	for i := 1; i <= 30; i++ {
		sub := s.NewTable(0, 0)
		if err := errors.Join(sub.SetString("text", text), top.SetIndex(i, sub.UserData())); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		lim  Limits
		err  error
	}{{"whole", Limits{}, nil}, {"refused", Limits{Bytes: 20 << 20}, ErrBytes}} {
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		out, err := AppendValue(nil, nil, top.UserData(), c.lim)
		runtime.ReadMemStats(&end)
		if !errors.Is(err, c.err) {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := end.TotalAlloc - start.TotalAlloc; got > uint64(cap(out))+2*growMax || got > 33<<20 {
			t.Errorf("%s: %d bytes were taken", c.name, got)
		}
	}
}
