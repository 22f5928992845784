package state

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
	lua "github.com/yuin/gopher-lua"
)

// filled is a store with one object of n strings and numbers.
func filled(n int) (*Store, *Table, []lua.LValue) {
	s := NewStore()
	s.Begin()
	x := s.NewTable(0, 0)
	must(s.Root().SetString("x", x.UserData()))
	must(s.Commit())
	keys := make([]lua.LValue, n)
	s.Begin()
	for i := range keys {
		keys[i] = lua.LString(fmt.Sprintf("key%09d", i*7919%n))
		must(x.Set(keys[i], lua.LNumber(i+1e6)))
	}
	must(s.Commit())
	return s, x, keys
}

// BenchmarkCounter is one call that increments a field.
func BenchmarkCounter(b *testing.B) {
	s := NewStore()
	s.Begin()
	o := s.NewTable(0, 0)
	must(o.SetString("value", lua.LNumber(1e6)))
	must(s.Root().SetString("counter", o.UserData()))
	must(s.Commit())
	k := lua.LValue(lua.LString("value"))
	b.ReportAllocs()
	for b.Loop() {
		s.Begin()
		n := o.Get(nil, k).(lua.LNumber)
		must(o.Set(k, n+1))
		must(s.Commit())
	}
}

const million = 1_000_000

func BenchmarkSet1M(b *testing.B) {
	s, x, keys := filled(million)
	values := [2]lua.LValue{lua.LNumber(1e7), lua.LNumber(2e7)}
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Begin()
			must(x.Set(keys[i%million], values[i/million&1]))
			must(s.Commit())
		}
	})
	b.Run("versionHeld", func(b *testing.B) {
		defer s.Publish().Release()
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			s.Begin()
			must(x.Set(keys[i%million], values[i/million&1]))
			must(s.Commit())
		}
	})
	b.Run("publishEach", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			v := s.Publish()
			s.Begin()
			must(x.Set(keys[i%million], values[i/million&1]))
			must(s.Commit())
			v.Release()
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			x.Get(nil, keys[i%million])
		}
	})
	b.Run("iter", func(b *testing.B) {
		b.ReportAllocs()
		it := x.Iter(nil)
		for b.Loop() {
			if _, _, ok := it.Next(); !ok {
				it = x.Iter(nil)
			}
		}
	})
}

// BenchmarkRecord replaces a table of three fields in one of 10,000.
func BenchmarkRecord(b *testing.B) {
	s, x, keys := filled(10_000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Begin()
		r := s.NewTable(0, 3)
		must(r.SetString("id", lua.LNumber(i+1e6)))
		must(r.SetString("name", keys[0]))
		must(r.SetString("done", lua.LFalse))
		must(x.Set(keys[i%len(keys)], r.UserData()))
		must(s.Commit())
	}
}

func BenchmarkDump1M(b *testing.B) {
	s, _, _ := filled(million)
	v := s.Publish()
	for b.Loop() {
		must(v.Dump(io.Discard))
	}
	b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkRestore1M(b *testing.B) {
	s, _, _ := filled(million)
	dump := dumpOf(b, s.Publish())
	s = nil
	for b.Loop() {
		if _, err := Restore(bytes.NewReader(dump)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(million*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}

func BenchmarkPushPop(b *testing.B) {
	s := NewStore()
	x := s.NewTable(0, 0)
	v := lua.LValue(lua.LTrue)
	for i := range 1000 {
		must(x.SetIndex(i+1, v))
	}
	b.ReportAllocs()
	for b.Loop() {
		n := x.Len(nil)
		must(x.SetIndex(n+1, v))
		must(x.SetIndex(n+1, lua.LNil))
	}
}

func BenchmarkValue(b *testing.B) {
	g := newGrove()
	var buf []byte
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			buf, _ = AppendValue(buf[:0], nil, g.a.UserData(), Limits{})
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d := codec.NewDecoder(buf)
			if _, err := g.DecodeValue(&d, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decodeNumber", func(b *testing.B) {
		one := []byte{5}
		b.ReportAllocs()
		for b.Loop() {
			d := codec.NewDecoder(one)
			if _, err := g.DecodeValue(&d, Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
