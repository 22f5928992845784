package persist

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/zeebo/xxh3"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/raft"
)

const (
	snapshotMagic  = "SYNCSHSN"
	snapshotPrefix = "snapshot-"
	snapshotSuffix = ".snap"

	// snapshotHeadMax bounds the head of a snapshot, which has a Configuration.
	snapshotHeadMax = 4 << 20
	// snapshotBlockBytes is how much content goes into one block. It bounds the
	// memory of writer and reader, and what a block may claim to hold: a block
	// can't expand to more.
	snapshotBlockBytes = 256 << 10
	blockHeadBytes     = 16
	snapshotEndBytes   = 16

	blockZstd   = 1
	blockStored = 2
	blockEnd    = 3
)

// snapshotName is made of numbers only: nothing that a peer sends becomes a
// path.
func snapshotName(m raft.SnapshotMeta) string {
	return fmt.Sprintf("%s%020d-%020d%s", snapshotPrefix, uint64(m.Index), uint64(m.Term), snapshotSuffix)
}

// parseSnapshotName reads what snapshotName made.
func parseSnapshotName(name string) (m raft.SnapshotMeta, ok bool) {
	if !strings.HasPrefix(name, snapshotPrefix) {
		return m, false
	}
	if _, err := fmt.Sscanf(name, snapshotPrefix+"%d-%d", &m.Index, &m.Term); err != nil {
		return m, false
	}
	return m, snapshotName(m) == name
}

func older(a, b raft.SnapshotMeta) bool {
	return a.Index < b.Index || a.Index == b.Index && a.Term < b.Term
}

func sameSnapshot(a, b raft.SnapshotMeta) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Bytes == b.Bytes && a.Sum == b.Sum
}

// appendSnapshotHead appends the head of a snapshot's file.
func appendSnapshotHead(b []byte, m raft.SnapshotMeta) []byte {
	p := codec.AppendArrayLen(nil, 5)
	p = codec.AppendUint(p, uint64(m.Index))
	p = codec.AppendUint(p, uint64(m.Term))
	p = codec.AppendArrayLen(p, len(m.Config.Members))
	for _, c := range m.Config.Members {
		p = codec.AppendArrayLen(p, 4)
		p = codec.AppendUint(p, uint64(c.ID))
		p = codec.AppendUint(p, uint64(c.Role))
		p = codec.AppendString(p, c.Name)
		p = codec.AppendString(p, c.Addr)
	}
	p = appendIDs(p, m.Config.Outgoing)
	p = appendIDs(p, m.Config.Removed)

	start := len(b)
	b = append(b, snapshotMagic...)
	b = binary.LittleEndian.AppendUint32(b, FormatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(p)))
	b = append(b, p...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func appendIDs(b []byte, ids []raft.ID) []byte {
	b = codec.AppendArrayLen(b, len(ids))
	for _, id := range ids {
		b = codec.AppendUint(b, uint64(id))
	}
	return b
}

// readSnapshotHead reads the head of a snapshot's file and returns where the
// blocks begin. Errors have the name of the file.
func readSnapshotHead(f File, name string) (m raft.SnapshotMeta, end int64, err error) {
	var fixed [16]byte
	if err := readFull(f, fixed[:], 0); err != nil {
		return m, 0, cutShort(name, 0, err)
	}
	if string(fixed[:8]) != snapshotMagic {
		return m, 0, damage(name, 0, "not a snapshot")
	}
	if v := binary.LittleEndian.Uint32(fixed[8:]); v > FormatVersion {
		return m, 0, fmt.Errorf("%s: format %d, this program reads up to %d: %w", name, v, FormatVersion, ErrFormat)
	}
	n := int64(binary.LittleEndian.Uint32(fixed[12:]))
	size, err := f.Size()
	if err != nil {
		return m, 0, err
	}
	if n > snapshotHeadMax || n > size-int64(len(fixed))-4 {
		return m, 0, damage(name, 12, "head of %d bytes", n)
	}
	b := make([]byte, int64(len(fixed))+n+4)
	if err := readFull(f, b, 0); err != nil {
		return m, 0, err
	}
	body := b[:len(b)-4]
	if binary.LittleEndian.Uint32(b[len(body):]) != crc32.Checksum(body, castagnoli) {
		return m, 0, damage(name, 0, "checksum of the head does not match")
	}
	d := codec.NewDecoder(body[len(fixed):])
	if m, err = decodeMeta(&d); err != nil {
		return m, 0, damage(name, int64(len(fixed)), "%v", err)
	}
	return m, int64(len(b)), nil
}

func decodeMeta(d *codec.Decoder) (m raft.SnapshotMeta, err error) {
	if err = d.FixedArray(5); err != nil {
		return m, err
	}
	index, err := d.Uint()
	if err != nil {
		return m, err
	}
	term, err := d.Uint()
	if err != nil {
		return m, err
	}
	m.Index, m.Term = raft.Index(index), raft.Term(term)
	n, err := d.ArrayLen()
	if err != nil {
		return m, err
	}
	for ; n > 0; n-- {
		c, err := decodeMember(d)
		if err != nil {
			return m, err
		}
		m.Config.Members = append(m.Config.Members, c)
	}
	if m.Config.Outgoing, err = decodeIDs(d); err != nil {
		return m, err
	}
	if m.Config.Removed, err = decodeIDs(d); err != nil {
		return m, err
	}
	return m, d.End()
}

func decodeMember(d *codec.Decoder) (c raft.Member, err error) {
	if err = d.FixedArray(4); err != nil {
		return c, err
	}
	id, err := d.Uint()
	if err != nil {
		return c, err
	}
	role, err := d.Uint()
	if err != nil {
		return c, err
	}
	if role > 255 {
		return c, fmt.Errorf("role %d", role)
	}
	c.ID, c.Role = raft.ID(id), raft.Role(role)
	if c.Name, err = d.String(); err != nil {
		return c, err
	}
	c.Addr, err = d.String()
	return c, err
}

func decodeIDs(d *codec.Decoder) (ids []raft.ID, err error) {
	n, err := d.ArrayLen()
	for ; err == nil && n > 0; n-- {
		var id uint64
		id, err = d.Uint()
		ids = append(ids, raft.ID(id))
	}
	return ids, err
}

// blockSum is the checksum of a block: of its number, its head and its data.
func blockSum(number uint64, head, data []byte) uint32 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], number)
	sum := crc32.Checksum(b[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, head[:12])
	return crc32.Update(sum, castagnoli, data)
}

// SnapshotWriter writes a snapshot's content. It has no part in the log and may
// be used on another goroutine.
type SnapshotWriter struct {
	d      *Dir
	f      File
	tmp    string
	meta   raft.SnapshotMeta
	hash   xxh3.Hasher
	enc    *zstd.Encoder
	raw    []byte // content of the block that is being filled
	out    []byte // a block as it is stored
	blocks uint64
	total  uint64
	err    error
	done   bool
}

// encoders are used again: one has a few hundred kilobytes of tables.
var encoders = sync.Pool{New: func() any {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithLowerEncoderMem(true), zstd.WithWindowSize(snapshotBlockBytes), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(fmt.Sprintf("persist: options of the compressor: %v", err)) // they are constants
	}
	return enc
}}

// CreateSnapshot begins the snapshot of the state after the entry at index. It
// exists once Finish has returned.
func (d *Dir) CreateSnapshot(index raft.Index, term raft.Term, config raft.Configuration) (*SnapshotWriter, error) {
	meta := raft.SnapshotMeta{Index: index, Term: term, Config: config}
	head := appendSnapshotHead(nil, meta)
	if len(head) > snapshotHeadMax {
		return nil, fmt.Errorf("snapshot head of %d bytes, at most %d: %w", len(head), snapshotHeadMax, ErrTooLarge)
	}
	f, tmp, err := d.createTmp()
	if err != nil {
		return nil, fmt.Errorf("snapshot at %d: %w", index, err)
	}
	w := &SnapshotWriter{d: d, f: f, tmp: tmp, meta: meta, enc: encoders.Get().(*zstd.Encoder)}
	if w.put(head); w.err != nil {
		w.Abort()
		return nil, w.err
	}
	return w, nil
}

func (d *Dir) createTmp() (File, string, error) {
	d.mu.Lock()
	d.tmpNext++
	name := fmt.Sprintf("%s%d%s", snapshotPrefix, d.tmpNext, tmpSuffix)
	d.mu.Unlock()
	f, err := d.fs.Create(d.file(name))
	return f, name, err
}

// put writes bytes at the end of the file.
func (w *SnapshotWriter) put(b []byte) {
	if w.err != nil {
		return
	}
	if _, err := w.f.WriteAt(b, int64(w.meta.Bytes)); err != nil {
		w.err = fmt.Errorf("snapshot at %d: %w", w.meta.Index, err)
		return
	}
	w.meta.Bytes += uint64(len(b))
	w.hash.Write(b)
}

// Write takes content. After an error all further calls return it.
func (w *SnapshotWriter) Write(p []byte) (int, error) {
	if w.done {
		return 0, ErrClosed
	}
	n := 0
	for n < len(p) && w.err == nil {
		take := min(snapshotBlockBytes-len(w.raw), len(p)-n)
		w.raw = append(w.raw, p[n:n+take]...)
		n += take
		if len(w.raw) == snapshotBlockBytes {
			w.block()
		}
	}
	// Who writes a snapshot does so beside calls. On few processors they would wait
	// out its time slice, which is 10 ms long.
	runtime.Gosched()
	return n, w.err
}

// block stores what was filled.
func (w *SnapshotWriter) block() {
	w.out = append(w.out[:0], make([]byte, blockHeadBytes)...)
	w.out = w.enc.EncodeAll(w.raw, w.out)
	kind := uint32(blockZstd)
	if len(w.out)-blockHeadBytes >= len(w.raw) {
		kind = blockStored
		w.out = append(w.out[:blockHeadBytes], w.raw...)
	}
	w.total += uint64(len(w.raw))
	w.finishBlock(kind, len(w.raw))
	w.raw = w.raw[:0]
}

// finishBlock fills in the head of the block in out and writes it.
func (w *SnapshotWriter) finishBlock(kind uint32, content int) {
	data := w.out[blockHeadBytes:]
	binary.LittleEndian.PutUint32(w.out[0:], kind)
	binary.LittleEndian.PutUint32(w.out[4:], uint32(len(data)))
	binary.LittleEndian.PutUint32(w.out[8:], uint32(content))
	binary.LittleEndian.PutUint32(w.out[12:], blockSum(w.blocks, w.out, data))
	w.put(w.out)
	w.blocks++
}

// Finish makes the snapshot durable and gives it its name, verifies it, and
// removes the ones that are too many. After an error there is no snapshot.
func (w *SnapshotWriter) Finish() (raft.SnapshotMeta, error) {
	if w.done {
		return raft.SnapshotMeta{}, ErrClosed
	}
	defer w.Abort()
	if len(w.raw) > 0 && w.err == nil {
		w.block()
	}
	w.out = append(w.out[:0], make([]byte, blockHeadBytes)...)
	w.out = binary.LittleEndian.AppendUint64(w.out, w.blocks)
	w.out = binary.LittleEndian.AppendUint64(w.out, w.total)
	w.finishBlock(blockEnd, 0)
	if w.err != nil {
		return raft.SnapshotMeta{}, w.err
	}
	w.meta.Sum = w.hash.Sum128().Bytes()
	if err := w.d.publish(w.f, w.tmp, w.meta); err != nil {
		return raft.SnapshotMeta{}, fmt.Errorf("snapshot at %d: %w", w.meta.Index, err)
	}
	return w.meta, nil
}

// Abort gives the snapshot up. After Finish it does nothing.
func (w *SnapshotWriter) Abort() {
	if w.done {
		return
	}
	w.done = true
	encoders.Put(w.enc)
	w.enc = nil
	w.d.dropTmp(w.f, w.tmp)
}

// dropTmp closes a temporary file, which has another name if all went well, and
// removes it. What can't be removed is removed by the next Open.
func (d *Dir) dropTmp(f File, tmp string) {
	f.Close()
	if err := d.fs.Remove(d.file(tmp)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		d.note("%v", err)
	}
}

// publish makes a whole snapshot file durable, checks it and gives it its name.
func (d *Dir) publish(f File, tmp string, meta raft.SnapshotMeta) error {
	if !mutant.On(mutant.SnapshotUnsynced) {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := d.verify(tmp, meta); err != nil {
		return err
	}
	d.publishing.Lock()
	defer d.publishing.Unlock()
	name := snapshotName(meta)
	if err := d.fs.Rename(d.file(tmp), d.file(name)); err != nil {
		return err
	}
	if !mutant.On(mutant.RenameUnsynced) {
		if err := d.fs.SyncDir(d.path); err != nil {
			return err
		}
	}
	d.mu.Lock()
	delete(d.broken, name)
	d.snapshots = slices.DeleteFunc(d.snapshots, func(m raft.SnapshotMeta) bool { return m.Index == meta.Index && m.Term == meta.Term })
	d.snapshots = append(d.snapshots, meta)
	sort.Slice(d.snapshots, func(i, j int) bool { return older(d.snapshots[i], d.snapshots[j]) })
	d.mu.Unlock()
	d.prune()
	return nil
}

// verify reads a snapshot's file again and compares it with what it must be.
func (d *Dir) verify(name string, want raft.SnapshotMeta) error {
	got, err := d.readMeta(name)
	if err != nil {
		return err
	}
	if !sameSnapshot(got, want) {
		return damage(name, 0, "snapshot of index %d, term %d, %d bytes and sum %x; it must be index %d, term %d, %d bytes and sum %x",
			got.Index, got.Term, got.Bytes, got.Sum, want.Index, want.Term, want.Bytes, want.Sum)
	}
	if !bytes.Equal(appendSnapshotHead(nil, got), appendSnapshotHead(nil, want)) {
		return damage(name, 0, "snapshot has another configuration than was announced")
	}
	return nil
}

// prune removes all but the newest snapshots, and the broken ones. It is called
// with publishing held, when there is a newest one that was verified.
func (d *Dir) prune() {
	names, err := d.fs.List(d.path)
	if err != nil {
		d.note("removing old snapshots: %v", err)
		return
	}
	kept := 0
	for _, name := range slices.Backward(names) { // names sort like their indexes
		m, ok := parseSnapshotName(name)
		if !ok {
			continue
		}
		d.mu.Lock()
		broken := d.broken[name]
		d.mu.Unlock()
		if !broken && kept < d.opt.KeepSnapshots {
			kept++
			continue
		}
		if err := d.fs.Remove(d.file(name)); err != nil {
			d.note("removing an old snapshot: %v", err)
			continue
		}
		d.mu.Lock()
		delete(d.broken, name)
		d.snapshots = slices.DeleteFunc(d.snapshots, func(s raft.SnapshotMeta) bool { return s.Index == m.Index && s.Term == m.Term })
		d.mu.Unlock()
	}
}

// newestSnapshot is the index of the newest good snapshot.
func (d *Dir) newestSnapshot() raft.Index {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.snapshots) == 0 {
		return 0
	}
	return d.snapshots[len(d.snapshots)-1].Index
}

// findSnapshots returns the newest good snapshot, and why newer ones are not
// good.
func (d *Dir) findSnapshots(names []string) (newest *raft.SnapshotMeta, bad []SnapshotInfo, err error) {
	for _, name := range slices.Backward(names) {
		want, ok := parseSnapshotName(name)
		if !ok {
			continue
		}
		m, err := d.readMeta(name)
		if err == nil && (m.Index != want.Index || m.Term != want.Term) {
			err = damage(name, 0, "this is the snapshot of index %d and term %d under another name", m.Index, m.Term)
		}
		if err == nil {
			d.mu.Lock()
			d.snapshots = []raft.SnapshotMeta{m}
			d.mu.Unlock()
			return &m, bad, nil
		}
		if !errors.Is(err, ErrDamage) {
			return nil, nil, err
		}
		d.mu.Lock()
		if d.broken == nil {
			d.broken = map[string]bool{}
		}
		d.broken[name] = true
		d.mu.Unlock()
		d.note("not usable: %v", err)
		bad = append(bad, SnapshotInfo{Name: name, Meta: want, Err: err})
	}
	return nil, bad, nil
}
