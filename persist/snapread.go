package persist

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/syncsh/syncsh/raft"
)

// rawReadBytes is how much of a snapshot's file is hashed at a time.
const rawReadBytes = 1 << 20

// SnapshotReader reads a snapshot's content, each block checked before any of
// it is returned. At the end of the content it has seen the whole file.
type SnapshotReader struct {
	f      File
	name   string
	meta   raft.SnapshotMeta
	dec    *zstd.Decoder
	offset int64  // in the file
	block  []byte // content that was not returned yet
	raw    []byte // room for block
	data   []byte
	blocks uint64
	total  uint64
	err    error
}

// OpenSnapshot opens a snapshot that Recovered, Finish or a receiver named. It
// may be removed meanwhile when newer ones appear; an open reader goes on.
func (d *Dir) OpenSnapshot(meta raft.SnapshotMeta) (*SnapshotReader, error) {
	if !d.hasSnapshot(meta) {
		return nil, fmt.Errorf("%s: %w", snapshotName(meta), ErrNoSnapshot)
	}
	return d.openSnapshot(snapshotName(meta))
}

func (d *Dir) hasSnapshot(meta raft.SnapshotMeta) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, m := range d.snapshots {
		if sameSnapshot(m, meta) {
			return true
		}
	}
	return false
}

func (d *Dir) openSnapshot(name string) (*SnapshotReader, error) {
	f, err := d.fs.Open(d.file(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", name, ErrNoSnapshot)
	}
	if err != nil {
		return nil, err
	}
	meta, offset, err := readSnapshotHead(f, name)
	if err != nil {
		f.Close()
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return nil, err
	}
	meta.Bytes = uint64(size)
	return &SnapshotReader{f: f, name: name, meta: meta, dec: decoders.Get().(*zstd.Decoder), offset: offset}, nil
}

// decoders are used again, as encoders are.
var decoders = sync.Pool{New: func() any {
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxMemory(snapshotBlockBytes), zstd.WithDecodeAllCapLimit(true))
	if err != nil {
		panic(fmt.Sprintf("persist: options of the decompressor: %v", err)) // they are constants
	}
	return dec
}}

// Close ends the reading.
func (r *SnapshotReader) Close() error {
	if r.dec != nil {
		decoders.Put(r.dec)
		r.dec = nil
	}
	r.err = ErrClosed
	return r.f.Close()
}

// Read implements io.Reader.
func (r *SnapshotReader) Read(p []byte) (int, error) {
	for len(r.block) == 0 && r.err == nil {
		r.block, r.err = r.next()
	}
	if len(r.block) == 0 {
		return 0, r.err
	}
	n := copy(p, r.block)
	r.block = r.block[n:]
	return n, nil
}

// next reads a block.
func (r *SnapshotReader) next() ([]byte, error) {
	runtime.Gosched() // as SnapshotWriter.Write does: a new snapshot is verified beside calls
	var head [blockHeadBytes]byte
	if err := readFull(r.f, head[:], r.offset); err != nil {
		return nil, cutShort(r.name, r.offset, err)
	}
	kind := binary.LittleEndian.Uint32(head[0:])
	stored := binary.LittleEndian.Uint32(head[4:])
	content := binary.LittleEndian.Uint32(head[8:])
	if stored > snapshotBlockBytes || content > snapshotBlockBytes {
		return nil, damage(r.name, r.offset, "block of %d bytes with %d bytes of content", stored, content)
	}
	// Room as this block needs it: most snapshots are far smaller than a block.
	r.data = slices.Grow(r.data[:0], int(stored))
	data := r.data[:stored]
	if err := readFull(r.f, data, r.offset+blockHeadBytes); err != nil {
		return nil, cutShort(r.name, r.offset, err)
	}
	if blockSum(r.blocks, head[:], data) != binary.LittleEndian.Uint32(head[12:]) {
		return nil, damage(r.name, r.offset, "checksum of the block does not match")
	}
	if kind == blockEnd {
		return nil, r.end(data)
	}
	out := data
	if kind == blockZstd {
		var err error
		// The room is the bound: more than it is an error, not an allocation.
		if uint32(cap(r.raw)) < content {
			r.raw = make([]byte, 0, content)
		}
		if out, err = r.dec.DecodeAll(data, r.raw[:0]); err != nil {
			return nil, damage(r.name, r.offset, "%v", err)
		}
	}
	if kind != blockZstd && kind != blockStored || len(out) != int(content) {
		return nil, damage(r.name, r.offset, "block of kind %d has %d bytes of content, says %d", kind, len(out), content)
	}
	r.offset += blockHeadBytes + int64(stored)
	r.blocks++
	r.total += uint64(content)
	return out, nil
}

// cutShort tells a file that ends too early, which is damage, from one that
// can't be read.
func cutShort(name string, offset int64, err error) error {
	if err == io.ErrUnexpectedEOF {
		return damage(name, offset, "the file ends here")
	}
	return fmt.Errorf("%s@%d: %w", name, offset, err)
}

// end checks the last block.
func (r *SnapshotReader) end(data []byte) error {
	end := r.offset + blockHeadBytes + int64(len(data))
	if len(data) != snapshotEndBytes || uint64(end) != r.meta.Bytes ||
		binary.LittleEndian.Uint64(data) != r.blocks || binary.LittleEndian.Uint64(data[8:]) != r.total {
		return damage(r.name, r.offset, "the end is not where it must be")
	}
	return io.EOF
}

// readMeta reads a snapshot file as a whole and returns what it is: its head,
// its size and the hash of its bytes. All of its content is decompressed and
// checked on the way.
func (d *Dir) readMeta(name string) (raft.SnapshotMeta, error) {
	r, err := d.openSnapshot(name)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	defer r.Close()
	if err := r.walk(); err != nil {
		return raft.SnapshotMeta{}, err
	}
	if r.meta.Sum, err = sumFile(r.f, int64(r.meta.Bytes)); err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("%s: %w", name, err)
	}
	return r.meta, nil
}

// walk reads all content without returning it.
func (r *SnapshotReader) walk() error {
	for {
		if _, err := r.next(); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func sumFile(f File, size int64) (sum [16]byte, err error) {
	var h xxh3.Hasher
	b := make([]byte, min(rawReadBytes, size))
	for at := int64(0); at < size; at += int64(len(b)) {
		b = b[:min(int64(len(b)), size-at)]
		if err := readFull(f, b, at); err != nil {
			return sum, err
		}
		h.Write(b)
	}
	return h.Sum128().Bytes(), nil
}

// ReadRaw reads bytes of a snapshot's file, to send them to another member. It
// returns fewer than len(p) only at the end, with io.EOF.
func (d *Dir) ReadRaw(meta raft.SnapshotMeta, offset uint64, p []byte) (int, error) {
	if !d.hasSnapshot(meta) {
		return 0, fmt.Errorf("%s: %w", snapshotName(meta), ErrNoSnapshot)
	}
	if offset >= meta.Bytes {
		return 0, io.EOF
	}
	f, err := d.fs.Open(d.file(snapshotName(meta)))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("%s: %w", snapshotName(meta), ErrNoSnapshot)
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, int64(offset))
}

// SnapshotReceiver stores a snapshot that comes from another member in chunks.
type SnapshotReceiver struct {
	d    *Dir
	f    File
	tmp  string
	meta raft.SnapshotMeta
	at   uint64
	err  error
	done bool
}

// ReceiveSnapshot begins to store a snapshot of another member. It exists once
// Finish has returned nil.
func (d *Dir) ReceiveSnapshot(meta raft.SnapshotMeta) (*SnapshotReceiver, error) {
	f, tmp, err := d.createTmp()
	if err != nil {
		return nil, fmt.Errorf("snapshot at %d: %w", meta.Index, err)
	}
	return &SnapshotReceiver{d: d, f: f, tmp: tmp, meta: meta}, nil
}

// Offset is the number of bytes stored: where the next chunk begins.
func (r *SnapshotReceiver) Offset() uint64 { return r.at }

// WriteAt stores a chunk. ErrOffset, and nothing changed, when it does not begin
// at Offset or goes past the announced size. After any other error all further
// calls return it.
func (r *SnapshotReceiver) WriteAt(p []byte, offset uint64) error {
	switch {
	case r.done:
		return ErrClosed
	case r.err != nil:
		return r.err
	case offset != r.at || uint64(len(p)) > r.meta.Bytes-r.at:
		return fmt.Errorf("snapshot at %d: %d bytes at %d, have %d of %d: %w", r.meta.Index, len(p), offset, r.at, r.meta.Bytes, ErrOffset)
	}
	if _, err := r.f.WriteAt(p, int64(offset)); err != nil {
		r.err = fmt.Errorf("snapshot at %d: %w", r.meta.Index, err)
		return r.err
	}
	r.at += uint64(len(p))
	return nil
}

// Finish checks the file against the announced size, sum, index, term and
// configuration, makes it durable and gives it its name. After an error there
// is no snapshot, and what came is dropped.
func (r *SnapshotReceiver) Finish() error {
	if r.done {
		return ErrClosed
	}
	defer r.Abort()
	if r.err != nil {
		return r.err
	}
	if r.at != r.meta.Bytes {
		return fmt.Errorf("snapshot at %d: have %d of %d bytes: %w", r.meta.Index, r.at, r.meta.Bytes, ErrOffset)
	}
	if err := r.d.publish(r.f, r.tmp, r.meta); err != nil {
		return fmt.Errorf("snapshot at %d: %w", r.meta.Index, err)
	}
	return nil
}

// Abort gives the transfer up. After Finish it does nothing.
func (r *SnapshotReceiver) Abort() {
	if r.done {
		return
	}
	r.done = true
	r.d.dropTmp(r.f, r.tmp)
}
