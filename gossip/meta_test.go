package gossip

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/internal/codec"
)

// fullMeta has every part at its limit.
func fullMeta() Meta {
	return Meta{
		ID: math.MaxUint64, Cluster: strings.Repeat("c", 32), Addr: strings.Repeat("a", AddrBytesMax), Expect: ExpectMax,
		Generation: math.MaxUint32, View: strings.Repeat("a", 32), Promise: strings.Repeat("b", 32),
		Observer: true, HasData: true, Full: true, Build: strings.Repeat("b", BuildBytesMax), Role: strings.Repeat("r", RoleBytesMax),
		Term: math.MaxUint64, Leader: strings.Repeat("l", NameBytesMax), Pace: paceMsMax * time.Millisecond,
	}
}

func TestMetaRoundTrip(t *testing.T) {
	for _, m := range []Meta{{ID: 1, Addr: "x:1"}, fullMeta()} {
		b, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > MetaBytesMax {
			t.Errorf("%d bytes, memberlist takes %d", len(b), MetaBytesMax)
		}
		got, err := DecodeMeta(b)
		if err != nil || got != m {
			t.Errorf("got %+v, %v, want %+v", got, err, m)
		}
	}
}

func TestMetaRefused(t *testing.T) {
	for name, change := range map[string]func(*Meta){
		"no id":           func(m *Meta) { m.ID = 0 },
		"no address":      func(m *Meta) { m.Addr = "" },
		"long address":    func(m *Meta) { m.Addr += "a" },
		"long build":      func(m *Meta) { m.Build += "b" },
		"long role":       func(m *Meta) { m.Role += "r" },
		"long leader":     func(m *Meta) { m.Leader += "l" },
		"escape in role":  func(m *Meta) { m.Role = "\x1b[2J" },
		"short cluster":   func(m *Meta) { m.Cluster = "abcd" },
		"cluster no hex":  func(m *Meta) { m.Cluster = strings.Repeat("x", 32) },
		"view too long":   func(m *Meta) { m.View += "aa" },
		"negative expect": func(m *Meta) { m.Expect = -1 },
		"large expect":    func(m *Meta) { m.Expect = ExpectMax + 1 },
	} {
		m := fullMeta()
		change(&m)
		if _, err := m.Encode(); !errors.Is(err, ErrBadMeta) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// A stranger may send anything: it is refused or gives a Meta within bounds.
func TestMetaLies(t *testing.T) {
	m := fullMeta()
	full, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for n := range full {
		if _, err := DecodeMeta(full[:n]); !errors.Is(err, ErrBadMeta) {
			t.Errorf("cut at %d: got %v", n, err)
		}
	}
	for i := range full {
		for _, flip := range []byte{1, 0x80, 0xff} {
			bad := append([]byte(nil), full...)
			bad[i] ^= flip
			if got, err := DecodeMeta(bad); err == nil {
				if err := got.check(); err != nil {
					t.Errorf("byte %d: accepted %v", i, err)
				}
			}
		}
	}
	if _, err := DecodeMeta(append(full, 0)); !errors.Is(err, ErrBadMeta) {
		t.Errorf("trailing byte: got %v", err)
	}
	if _, err := DecodeMeta(make([]byte, MetaBytesMax+1)); !errors.Is(err, ErrBadMeta) {
		t.Errorf("too long: got %v", err)
	}
}

// A later build of the same version may add values.
func TestMetaOfLaterBuild(t *testing.T) {
	m := Meta{ID: 7, Addr: "x:1", Leader: "n1"}
	b, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	later := append(codec.AppendArrayLen(nil, metaValues+2), b[1:]...)
	later = codec.AppendString(codec.AppendUint(later, 5), "news")
	if got, err := DecodeMeta(later); err != nil || got != m {
		t.Errorf("got %+v, %v", got, err)
	}
	other := append([]byte(nil), b...)
	other[1] = metaVersion + 1
	if _, err := DecodeMeta(other); !errors.Is(err, ErrBadMeta) {
		t.Errorf("other version: got %v", err)
	}
}

func FuzzDecodeMeta(f *testing.F) {
	m := fullMeta()
	b, _ := m.Encode()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := DecodeMeta(b); err == nil {
			if _, err := m.Encode(); err != nil {
				t.Errorf("accepted %+v, which can't be written: %v", m, err)
			}
		}
	})
}
