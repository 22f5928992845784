package state

import (
	"bytes"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
)

// FuzzDecodeValue: whatever the bytes, a value or an error; what is decoded
// encodes to bytes that decode to the same.
func FuzzDecodeValue(f *testing.F) {
	for _, s := range []string{"8601c3c303ff00cb3ff8000000000000c2a16101a16202", "92a16180", "ddffffffff", "81c001", "93c001c0", "919191919190"} {
		f.Add(decodeHex(f, s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := NewStore()
		d := codec.NewDecoder(in)
		v, err := s.DecodeValue(&d, Limits{})
		if s.Slots > uint64(len(in)) {
			t.Fatalf("%d entries out of %d bytes", s.Slots, len(in))
		}
		if err != nil {
			return
		}
		a, err := AppendValue(nil, nil, v, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		d = codec.NewDecoder(a)
		if v, err = s.DecodeValue(&d, Limits{}); err != nil {
			t.Fatal(err)
		}
		if b, _ := AppendValue(nil, nil, v, Limits{}); !bytes.Equal(a, b) {
			t.Fatalf("%x, then %x", a, b)
		}
	})
}

// FuzzRestore: whatever the bytes, an error or a state that dumps to what
// restores to it. The digest that the bytes claim is left out, as no fuzzer
// finds it.
func FuzzRestore(f *testing.F) {
	v := newGrove().Publish()
	var b bytes.Buffer
	must(v.Dump(&b))
	f.Add(b.Bytes())
	f.Add([]byte(dumpMagic + "\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		s, _, err := restore(bytes.NewReader(in))
		if err != nil {
			return
		}
		v := s.Publish()
		again, err := Restore(bytes.NewReader(dumpOf(t, v)))
		if err != nil {
			t.Fatal(err)
		}
		for _, sec := range s.sections {
			if err := sameHeaders(sec.t, again.Section(sec.name)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
