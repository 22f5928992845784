package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/syncsh/syncsh/raft"
)

// content has both what compresses and what does not.
func content(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewSource(int64(n)))
	r.Read(b[n/2:])
	for i := range b[:n/2] {
		b[i] = byte(i / 1000)
	}
	return b
}

func writeSnapshot(t testing.TB, d *Dir, index raft.Index, body []byte) raft.SnapshotMeta {
	t.Helper()
	w, err := d.CreateSnapshot(index, 1, testConfig)
	must(t, err)
	defer w.Abort()
	for len(body) > 0 { // in odd pieces
		n := min(len(body), 70001)
		_, err := w.Write(body[:n])
		must(t, err)
		body = body[n:]
	}
	m, err := w.Finish()
	must(t, err)
	return m
}

func readSnapshot(t testing.TB, d *Dir, m raft.SnapshotMeta) []byte {
	t.Helper()
	r, err := d.OpenSnapshot(m)
	must(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	must(t, err)
	return b
}

func TestSnapshotRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, snapshotBlockBytes, snapshotBlockBytes + 1, 5*snapshotBlockBytes + 77} {
		m := NewMemFS()
		d, _ := mustOpen(t, testOptions(m))
		meta := writeSnapshot(t, d, 9, content(n))
		if !bytes.Equal(readSnapshot(t, d, meta), content(n)) {
			t.Fatalf("%d bytes came back differently", n)
		}
		again := writeSnapshot(t, d, 9, content(n))
		if !reflect.DeepEqual(meta, again) {
			t.Fatalf("equal content, %v and %v", meta, again)
		}
		must(t, d.ResetLog(meta))
		must(t, d.Sync())
		must(t, d.Close())
		m.Crash(int64(n))
		_, rec := mustOpen(t, testOptions(m))
		if !reflect.DeepEqual(*rec.Snapshot, meta) {
			t.Fatalf("recovered %+v, want %+v", *rec.Snapshot, meta)
		}
	}
}

// TestSnapshotTransfer: scenarios 48 and 49, lua-facts 40.
func TestSnapshotTransfer(t *testing.T) {
	from, _ := mustOpen(t, testOptions(NewMemFS()))
	body := content(700000)
	meta := writeSnapshot(t, from, 30, body)
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	r, err := d.ReceiveSnapshot(meta)
	must(t, err)
	chunk := make([]byte, 65536)
	for r.Offset() < meta.Bytes {
		n, err := from.ReadRaw(meta, r.Offset(), chunk)
		if err != nil && err != io.EOF {
			t.Fatal(err)
		}
		wantErr(t, r.WriteAt(chunk[:n], r.Offset()+1), ErrOffset) // skips
		must(t, r.WriteAt(chunk[:n], r.Offset()))
		wantErr(t, r.WriteAt(chunk[:n], r.Offset()-uint64(n)), ErrOffset) // twice
	}
	wantErr(t, r.WriteAt([]byte{1}, meta.Bytes), ErrOffset) // past the end
	if len(files(t, m, snapshotSuffix)) != 0 {
		t.Fatal("there before Finish")
	}
	must(t, r.Finish())
	wantErr(t, r.Finish(), ErrClosed)
	if !bytes.Equal(readSnapshot(t, d, meta), body) {
		t.Fatal("arrived differently")
	}
	_, err = from.ReadRaw(meta, meta.Bytes, chunk)
	wantErr(t, err, io.EOF)
}

func TestSnapshotReceiveRefuses(t *testing.T) {
	from, _ := mustOpen(t, testOptions(NewMemFS()))
	meta := writeSnapshot(t, from, 30, content(5000))
	raw := make([]byte, meta.Bytes)
	_, err := from.ReadRaw(meta, 0, raw)
	must(t, err)
	for name, c := range map[string]struct {
		change func(m *raft.SnapshotMeta, b []byte) []byte
		is     error
	}{
		"short":         {func(m *raft.SnapshotMeta, b []byte) []byte { return b[:len(b)-1] }, ErrOffset},
		"a bit":         {func(m *raft.SnapshotMeta, b []byte) []byte { b[len(b)/2] ^= 1; return b }, ErrDamage},
		"sum":           {func(m *raft.SnapshotMeta, b []byte) []byte { m.Sum[0] ^= 1; return b }, ErrDamage},
		"index":         {func(m *raft.SnapshotMeta, b []byte) []byte { m.Index++; return b }, ErrDamage},
		"term":          {func(m *raft.SnapshotMeta, b []byte) []byte { m.Term++; return b }, ErrDamage},
		"configuration": {func(m *raft.SnapshotMeta, b []byte) []byte { m.Config.Removed = nil; return b }, ErrDamage},
		"nothing":       {func(m *raft.SnapshotMeta, b []byte) []byte { m.Bytes = 0; return nil }, ErrDamage},
		"not one":       {func(m *raft.SnapshotMeta, b []byte) []byte { clear(b); return b }, ErrDamage},
	} {
		t.Run(name, func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			meta := meta
			b := c.change(&meta, bytes.Clone(raw))
			r, err := d.ReceiveSnapshot(meta)
			must(t, err)
			must(t, r.WriteAt(b, 0))
			wantErr(t, r.Finish(), c.is)
			if n := append(files(t, m, snapshotSuffix), files(t, m, tmpSuffix)...); len(n) != 0 {
				t.Fatalf("left: %v", n)
			}
			must(t, d.Close())
		})
	}
}

// TestSnapshotEveryDamage: each bit and each length of a snapshot's file, of which
// none is read as a snapshot (lua-facts 47 and 50).
func TestSnapshotEveryDamage(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	meta := writeSnapshot(t, d, 5, []byte(strings.Repeat("some state ", 30)))
	path := filepath.Join(testPath, snapshotName(meta))
	b, err := m.ReadFile(path)
	must(t, err)
	try := func(what string) {
		t.Helper()
		got, err := d.readMeta(snapshotName(meta))
		if err == nil {
			t.Fatalf("%s: read as %+v", what, got)
		}
	}
	for bit := range len(b) * 8 {
		must(t, m.FlipBit(path, int64(bit)))
		try(fmt.Sprintf("bit %d", bit))
		must(t, m.FlipBit(path, int64(bit)))
	}
	for n := range b {
		m.WriteFile(path, b[:n])
		try(fmt.Sprintf("cut at %d", n))
	}
	m.WriteFile(path, append(bytes.Clone(b), 0))
	try("a byte too many")
	t.Logf("a snapshot of %d bytes: %d bits flipped, cut at %d bytes, all refused", len(b), len(b)*8, len(b))
}

// TestSnapshotBomb: lua-facts 39. A block that claims little and expands to
// much, with good checksums.
func TestSnapshotBomb(t *testing.T) {
	for name, claim := range map[string]uint32{"claims little": 100, "claims all": 64 << 20} {
		t.Run(name, func(t *testing.T) {
			m := NewMemFS()
			d, _ := mustOpen(t, testOptions(m))
			enc, err := zstd.NewWriter(nil)
			must(t, err)
			data := enc.EncodeAll(make([]byte, 64<<20), nil)
			b := appendSnapshotHead(nil, raft.SnapshotMeta{Index: 5, Term: 1})
			head := make([]byte, blockHeadBytes)
			binary.LittleEndian.PutUint32(head[0:], blockZstd)
			binary.LittleEndian.PutUint32(head[4:], uint32(len(data)))
			binary.LittleEndian.PutUint32(head[8:], claim)
			binary.LittleEndian.PutUint32(head[12:], blockSum(0, head, data))
			name := snapshotName(raft.SnapshotMeta{Index: 5, Term: 1})
			m.WriteFile(filepath.Join(testPath, name), append(append(b, head...), data...))
			_, err = d.readMeta(name)
			wantErr(t, err, ErrDamage, name)
		})
	}
}

func TestSnapshotsKept(t *testing.T) {
	m := NewMemFS()
	d, _ := mustOpen(t, testOptions(m))
	var metas []raft.SnapshotMeta
	for i := raft.Index(1); i <= 4; i++ {
		metas = append(metas, writeSnapshot(t, d, i*10, content(2000)))
	}
	if n := files(t, m, snapshotSuffix); len(n) != 2 || n[0] != snapshotName(metas[2]) || n[1] != snapshotName(metas[3]) {
		t.Fatalf("kept %v", n)
	}
	_, err := d.OpenSnapshot(metas[0])
	wantErr(t, err, ErrNoSnapshot)
	_, err = d.ReadRaw(metas[0], 0, make([]byte, 10))
	wantErr(t, err, ErrNoSnapshot)
	other := metas[3]
	other.Sum[3] ^= 1
	_, err = d.OpenSnapshot(other)
	wantErr(t, err, ErrNoSnapshot)
	// A reader of one that goes away reads on.
	r, err := d.OpenSnapshot(metas[2])
	must(t, err)
	writeSnapshot(t, d, 50, nil)
	b, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(b, content(2000)) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	must(t, r.Close())
}

// TestSnapshotFails: whatever operation fails, there is no half a snapshot, older
// ones stay, and the log lives.
func TestSnapshotFails(t *testing.T) {
	failed := 0
	for n := 1; ; n++ {
		m := NewMemFS()
		d, _ := mustOpen(t, testOptions(m))
		first := writeSnapshot(t, d, 10, content(100))
		m.SetFault(func(i int, _ Op, _ string) (int, error) {
			if i == n {
				return 3, syscall.EIO
			}
			return 0, nil
		})
		w, err := d.CreateSnapshot(20, 1, testConfig)
		var meta raft.SnapshotMeta
		if err == nil {
			_, _ = w.Write(content(400000))
			meta, err = w.Finish()
		}
		ops := m.Ops()
		m.SetFault(nil)
		if err != nil {
			failed++
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("operation %d: %v", n, err)
			}
			if got := readSnapshot(t, d, first); !bytes.Equal(got, content(100)) {
				t.Fatalf("operation %d: the first snapshot is not what it was", n)
			}
		} else if !bytes.Equal(readSnapshot(t, d, meta), content(400000)) {
			t.Fatalf("operation %d: not what was written", n)
		}
		must(t, d.ResetLog(first))
		must(t, d.Sync())
		must(t, d.Close())
		_, _ = mustOpen(t, testOptions(m))
		if n > ops {
			break
		}
	}
	if failed < 8 {
		t.Fatalf("only %d operations made it fail", failed)
	}
}
