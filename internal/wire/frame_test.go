package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
)

func TestPreamble(t *testing.T) {
	for _, role := range []Role{RoleClient, RolePeer} {
		var b bytes.Buffer
		if err := WritePreamble(&b, role); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadPreamble(&b); got != role || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
	}
	for _, c := range []struct {
		in, text string
		is       error
	}{
		{"GET / HTTP/1.1\r\n", `not a syncsh connection: it starts with "GET / HT"`, ErrPreamble},
		{"SYNCSHX\x02", `role 'X'`, ErrPreamble},
		{"SYNCSHC\x01", "the other side has 1, this side has 2", ErrVersion},
		{"SYNC", "4 bytes", ErrPreamble},
		{"", "EOF", io.EOF},
	} {
		_, err := ReadPreamble(strings.NewReader(c.in))
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%q: %v", c.in, err)
		}
	}
	// The role of a stranger's version is known: it can be answered.
	if role, _ := ReadPreamble(strings.NewReader("SYNCSHC\x01")); role != RoleClient {
		t.Errorf("role %q", role)
	}
}

// stream makes frames of random lengths, some far larger than a chunk.
func stream(seed uint64) (frames [][]byte, b []byte) {
	r := rand.New(rand.NewPCG(seed, 1))
	for range 60 {
		n := 1 + r.IntN(1<<r.IntN(19))
		f := make([]byte, n)
		for i := range f {
			f[i] = byte(r.Uint32())
		}
		frames = append(frames, f)
		var mark int
		b, mark = BeginFrame(b)
		b = EndFrame(append(b, f...), mark)
	}
	return frames, b
}

// scattered reads pieces of random size.
type scattered struct {
	r    *rand.Rand
	from io.Reader
}

func (s scattered) Read(p []byte) (int, error) {
	return s.from.Read(p[:1+s.r.IntN(min(len(p), 1<<s.r.IntN(17)))])
}

// However the stream arrives, the frames come out, and stay what they were.
func TestReader(t *testing.T) {
	for seed := range uint64(30) {
		want, b := stream(seed)
		for name, src := range map[string]io.Reader{
			"whole":     bytes.NewReader(b),
			"scattered": scattered{rand.New(rand.NewPCG(seed, 2)), bytes.NewReader(b)},
			"early EOF": iotest.DataErrReader(bytes.NewReader(b)),
		} {
			r := NewReader(src, FrameBytesMax)
			var got [][]byte
			for {
				buffered := r.Buffered()
				f, err := r.Next()
				if err == io.EOF && !buffered {
					break
				}
				if err != nil {
					t.Fatalf("seed %d %s: frame %d: %v", seed, name, len(got), err)
				}
				got = append(got, f)
				_ = append(f, "scribble"...) // must not reach the next frame
			}
			if len(got) != len(want) {
				t.Fatalf("seed %d %s: %d frames, want %d", seed, name, len(got), len(want))
			}
			for i := range want {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("seed %d %s: frame %d of %d bytes differs", seed, name, i, len(want[i]))
				}
			}
		}
	}
}

func TestReaderErrors(t *testing.T) {
	_, b := stream(3)
	for _, n := range []int{1, 3, 4, 5, len(b) - 1} {
		r := NewReader(bytes.NewReader(b[:n]), FrameBytesMax)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if err != io.ErrUnexpectedEOF {
			t.Errorf("cut at %d: %v", n, err)
		}
	}
	for _, c := range []struct {
		length uint32
		want   string
	}{{0, "0 bytes"}, {101, "101 bytes, the limit is 100"}, {1<<32 - 1, "4294967295 bytes"}} {
		in := binary.LittleEndian.AppendUint32(nil, c.length)
		r := NewReader(bytes.NewReader(append(in, 1, 2, 3)), 100)
		if _, err := r.Next(); !errors.Is(err, ErrFrameLength) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("length %d: %v", c.length, err)
		}
		if !r.Buffered() {
			t.Errorf("length %d: the error is not known without reading", c.length)
		}
	}
	r := NewReader(io.MultiReader(bytes.NewReader([]byte{2, 0, 0, 0, 'o', 'k'}), iotest.ErrReader(io.ErrClosedPipe)), 100)
	if f, err := r.Next(); string(f) != "ok" || err != nil {
		t.Errorf("%q, %v", f, err)
	}
	if _, err := r.Next(); err != io.ErrClosedPipe {
		t.Errorf("the connection's error was lost: %v", err)
	}
	r.SetMax(1)
	idle := NewReader(iotest.ErrReader(nil), 100)
	if _, err := idle.Next(); err != io.ErrNoProgress {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

func TestReaderSetMax(t *testing.T) {
	r := NewReader(bytes.NewReader([]byte{2, 0, 0, 0, 'o', 'k', 2, 0, 0, 0, 'n', 'o'}), 2)
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	r.SetMax(1)
	if _, err := r.Next(); !errors.Is(err, ErrFrameLength) {
		t.Errorf("%v", err)
	}
}

// A claimed length allocates nothing; small frames share one chunk.
func TestReaderMemory(t *testing.T) {
	in := binary.LittleEndian.AppendUint32(nil, FrameBytesMax)
	in = append(in, make([]byte, 10_000)...) // more than the first chunk holds
	got := allocated(func() {
		if _, err := NewReader(bytes.NewReader(in), FrameBytesMax).Next(); err != io.ErrUnexpectedEOF {
			t.Error(err)
		}
	})
	if got > 2*chunkBytesMax {
		t.Errorf("%d bytes allocated for a frame that did not come", got)
	}
	var b []byte
	for range 100_000 {
		b = append(b, 5, 0, 0, 0, 1, 2, 3, 4, 5)
	}
	got = allocated(func() {
		r := NewReader(bytes.NewReader(b), FrameBytesMax)
		for range 100_000 {
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
		}
	})
	if got > uint64(len(b))+4*chunkBytesMax {
		t.Errorf("%d bytes allocated for %d bytes of small frames", got, len(b))
	}
}
