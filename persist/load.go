package persist

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/mutant"
	"github.com/syncsh/syncsh/raft"
)

// Recovered is what a directory holds.
type Recovered struct {
	HardState raft.HardState
	// Snapshot is the newest good one, or nil.
	Snapshot *raft.SnapshotMeta
	// Entries follow on the snapshot without a gap.
	Entries []raft.Entry
	// Torn is what was cut off the end of the log, or nil.
	Torn *Torn
	// Notes are facts that stop nothing.
	Notes []string
}

// Torn is an unfinished write at the end of the log.
type Torn struct {
	File   string // name in the data directory
	Offset int64  // where the record began
	Bytes  int64  // from there to the last byte that was not zero
}

// TornMeaning is for people, beside what a Torn says: what was cut may have been
// acknowledged after all.
const TornMeaning = "a crash leaves one that was never acknowledged (but with durability async), a disk that lost stored sectors one that was"

func (t *Torn) String() string {
	return fmt.Sprintf("wal %s@%d: torn record, %d bytes cut", t.File, t.Offset, t.Bytes)
}

// Load reads the log and finds the newest good snapshot. It cuts a torn tail off
// and readies the log for Append. It is called once, after the directory has its
// identity.
func (d *Dir) Load() (*Recovered, error) {
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.loaded:
		return nil, ErrNotLoaded
	case d.identity.NodeID == 0:
		return nil, ErrNoIdentity
	}
	d.loaded = true
	rec, err := d.load()
	if err != nil {
		if d.log != nil {
			d.log.file.Close()
			d.log = nil
		}
		return nil, fmt.Errorf("data directory %s: %w", d.path, err)
	}
	rec.Notes = append(rec.Notes, d.Notes()...)
	return rec, nil
}

func (d *Dir) load() (*Recovered, error) {
	names, err := d.fs.List(d.path)
	if err != nil {
		return nil, err
	}
	if err := d.tidy(names); err != nil {
		return nil, err
	}
	snapshot, bad, err := d.findSnapshots(names)
	if err != nil {
		return nil, err
	}
	numbers, old := segmentNumbers(names)
	if len(numbers) == 0 {
		if d.begun || snapshot != nil || len(bad) > 0 {
			return nil, damage(segmentName(1), 0, "the log is missing, and with it this member's vote")
		}
		return &Recovered{}, d.beginLog()
	}
	r := &replay{d: d, snapshot: snapshot}
	if err := r.run(numbers); err != nil {
		return nil, err
	}
	if r.base > r.snapshotIndex() {
		return nil, r.gap(numbers, old, bad)
	}
	if err := r.lacks(bad); err != nil {
		return nil, err
	}
	rec := &Recovered{HardState: r.last.hard, Snapshot: snapshot, Torn: r.torn}
	fits, err := r.fit()
	if err != nil {
		return nil, err
	}
	rec.Entries = r.entries
	if err := d.finishLoad(r, old); err != nil {
		return nil, err
	}
	if !fits {
		d.note("the log (up to index %d) does not lead to the snapshot at %d: begun anew behind it", r.last.end, snapshot.Index)
		if err := d.ResetLog(*snapshot); err != nil {
			return nil, err
		}
		if err := d.Sync(); err != nil {
			return nil, err
		}
	}
	// Commit is a hint, and may be ahead of a log that lost its unsynced end.
	rec.HardState.Commit = max(min(rec.HardState.Commit, d.log.last.end), r.snapshotIndex())
	return rec, nil
}

// segmentNumbers returns the numbers of the log's segments: the last ones that
// have no gap. Those before a gap, which old has, were retired by a Compact that
// was not synced; if they were not, the log does not reach back to the snapshot.
func segmentNumbers(names []string) (numbers, old []uint64) {
	for _, name := range names {
		if n, ok := parseNumber(name, segmentSuffix); ok {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	for i := len(numbers) - 1; i > 0; i-- {
		if numbers[i-1]+1 != numbers[i] {
			return numbers[i:], numbers[:i]
		}
	}
	return numbers, nil
}

// beginLog makes the first segment of a new directory.
func (d *Dir) beginLog() error {
	l := &log{id: d.identity.NodeID}
	start := &segmentStart{number: 1, size: min(d.opt.SegmentBytes, firstSegmentBytes), synced: true}
	if err := d.begin(l, start); err != nil {
		return err
	}
	d.log = l
	return d.writeIdentity(d.identity, true)
}

// replay reads the log from its first segment to its end.
type replay struct {
	d        *Dir
	snapshot *raft.SnapshotMeta

	heads   []segmentHead
	sums    []uint32
	ends    []raft.Index // where the log ended behind each segment
	base    raft.Index   // the log begins behind it
	first   raft.Term    // of the entry at base, 0 when not known
	reset   bool         // because of a reset that was read
	last    mark
	entries []raft.Entry
	buf     []byte

	offset int64  // in the last segment that was read: behind its last record
	prev   uint32 // head sum of the last record
	synced int64  // as the last record knew it
	torn   *Torn
}

func (r *replay) snapshotIndex() raft.Index {
	if r.snapshot == nil {
		return 0
	}
	return r.snapshot.Index
}

func (r *replay) run(numbers []uint64) error {
	for _, n := range numbers {
		if err := r.readHead(n); err != nil {
			return fmt.Errorf("wal %w", err)
		}
	}
	for i := range r.heads {
		cut, err := r.segment(i)
		if err != nil {
			return fmt.Errorf("wal %w", err)
		}
		r.ends = append(r.ends, r.last.end)
		if cut {
			return r.dropAfter(i)
		}
	}
	return nil
}

// readHead reads the head of a segment and checks the size of its file.
func (r *replay) readHead(number uint64) error {
	name := segmentName(number)
	f, err := r.d.fs.Open(r.d.file(name))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, segmentHeadBytes))
	if err := readFull(f, b, 0); err != nil {
		return err
	}
	h, sum, err := parseSegmentHead(b, r.d.identity.NodeID, number)
	if err != nil {
		return err
	}
	if h.size != size {
		return damage(name, size, "file of %d bytes, was made with %d", size, h.size)
	}
	r.heads, r.sums = append(r.heads, h), append(r.sums, sum)
	return nil
}

// syncedWhole tells whether all of segment i was synced: a later segment says
// so.
func (r *replay) syncedWhole(i int) bool {
	for _, h := range r.heads[i+1:] {
		if h.flags&flagSynced != 0 {
			return true
		}
	}
	return false
}

// segment replays segment i. cut says that the log ends in it although there are
// later segments or bytes.
func (r *replay) segment(i int) (cut bool, err error) {
	name := segmentName(r.heads[i].number)
	f, err := r.d.fs.Open(r.d.file(name))
	if err != nil {
		return false, err
	}
	defer f.Close()
	size := r.heads[i].size
	r.buf = slices.Grow(r.buf[:0], int(size))[:size]
	if err := readFull(f, r.buf, 0); err != nil {
		return false, err
	}
	r.offset, r.prev, r.synced = segmentHeadBytes, r.sums[i], segmentHeadBytes
	for {
		if i+1 < len(r.heads) && r.offset == r.heads[i+1].prevEnd && r.prev == r.heads[i+1].prevSum {
			return false, nil
		}
		at := place{node: r.heads[i].node, segment: r.heads[i].number, offset: r.offset}
		h, headSum, ok := parseRecordHead(r.buf, at)
		if !ok {
			return r.endOf(i, r.offset+recordAlign)
		}
		start := r.offset + recordHeadBytes
		payload := r.buf[start : start+int64(h.length)]
		next := r.offset + recordBytes(len(payload))
		if crc32.Checksum(r.buf[start:next], castagnoli) != h.sum && !mutant.On(mutant.RecordSumUnchecked) {
			return r.endOf(i, next)
		}
		if h.prev != r.prev {
			return false, damage(name, r.offset, "record does not follow on the one before it")
		}
		// The entries keep their payload, and the buffer is used again.
		if err := r.record(i, bytes.Clone(payload)); err != nil {
			return false, damage(name, r.offset, "%v", err)
		}
		r.offset, r.prev, r.synced = next, headSum, h.synced
	}
}

// endOf judges the bytes at r.offset of segment i, where no good record is. from
// is where later records may begin.
func (r *replay) endOf(i int, from int64) (cut bool, err error) {
	name := segmentName(r.heads[i].number)
	if r.offset == segmentHeadBytes {
		// It was synced before the segment got its name. In a log that begins here the
		// vote is in no other place.
		return false, damage(name, r.offset, "damaged record: the first one of a segment is synced before the segment is used")
	}
	if r.syncedWhole(i) || r.laterSynced(i, from) > r.offset {
		if !mutant.On(mutant.DamageCut) {
			return false, damage(name, r.offset, "damaged record: what was stored here was synced, and good data follows")
		}
	} else if !r.unfinished(i) && !mutant.On(mutant.TailCut) {
		return false, damage(name, r.offset, "damaged record: all of it was written, and it is not what was written")
	}
	if i+1 < len(r.heads) || !allZero(r.buf[r.offset:]) {
		r.tear(name)
		return true, nil
	}
	return false, nil
}

// unfinished tells whether the write of the record at r.offset of segment i, which
// is not good, did not come to its end: a part of it that the disk writes in one
// piece, or its end, is as it was before, zero. Where neither is so, all of the
// record is there, and it is damaged.
func (r *replay) unfinished(i int) bool {
	at := place{node: r.heads[i].node, segment: r.heads[i].number, offset: r.offset}
	if r.offset+recordHeadBytes > int64(len(r.buf)) {
		return true // no record has room here
	}
	if h, _, ok := parseRecordHead(r.buf, at); ok {
		rec := r.buf[r.offset:][:recordBytes(int(h.length))]
		return rec[len(rec)-1] == 0 || zeroSectors(rec, r.offset) > h.zeros
	}
	head := r.buf[r.offset:][:recordHeadBytes]
	if head[recordHeadBytes-1] == 0 || allZero(head[:recordHeadBytes-1]) {
		return true
	}
	// A head may lie in two sectors, and the first one be missing.
	border := sectorBytes - r.offset%sectorBytes
	return border < recordHeadBytes && allZero(head[:border])
}

func (r *replay) tear(name string) {
	r.torn = &Torn{File: name, Offset: r.offset, Bytes: int64(len(bytes.TrimRight(r.buf[r.offset:], "\x00")))}
}

// laterSynced looks for heads of records at and behind from, and returns the
// highest offset that one of them knew to be synced.
func (r *replay) laterSynced(i int, from int64) (synced int64) {
	at := place{node: r.heads[i].node, segment: r.heads[i].number}
	for at.offset = from; at.offset < int64(len(r.buf)); at.offset += recordAlign {
		if h, _, ok := parseRecordHead(r.buf, at); ok {
			synced = max(synced, h.synced)
		}
	}
	return synced
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if b[0]|b[1]|b[2]|b[3]|b[4]|b[5]|b[6]|b[7] != 0 {
			return false
		}
		b = b[8:]
	}
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// dropAfter removes the segments behind i, in which the log was cut: the last
// one first and each for good, so that there is never a gap before one of them.
func (r *replay) dropAfter(i int) error {
	for j := len(r.heads) - 1; j > i; j-- {
		name := segmentName(r.heads[j].number)
		if err := r.d.fs.Remove(r.d.file(name)); err != nil {
			return err
		}
		if err := r.d.fs.SyncDir(r.d.path); err != nil {
			return err
		}
		r.d.note("removed %s, behind the cut at %s@%d", name, r.torn.File, r.torn.Offset)
	}
	r.heads, r.sums = r.heads[:i+1], r.sums[:i+1]
	return nil
}

// record replays one record of segment i.
func (r *replay) record(i int, payload []byte) error {
	d := codec.NewDecoder(payload)
	for first := r.offset == segmentHeadBytes; d.Left() > 0; first = false {
		it, err := readItem(&d)
		if err != nil {
			return err
		}
		if first != (it.kind == itemHead) {
			return fmt.Errorf("item of kind %d in the wrong place", it.kind)
		}
		if err := r.item(i, &it); err != nil {
			return err
		}
	}
	return nil
}

func (r *replay) item(i int, it *item) error {
	switch it.kind {
	case itemHardState:
		r.last.hard = it.hard
	case itemEntry:
		return r.entry(it.entry)
	case itemTruncate:
		return r.truncate(raft.Index(it.n))
	case itemReset:
		r.base, r.first, r.entries, r.reset = raft.Index(it.n), 0, nil, true
		r.last.end, r.last.term = r.base, 0
		// What is in earlier segments is void.
		clear(r.ends)
	case itemHead:
		if i == 0 {
			r.base, r.first = raft.Index(it.n), it.term
			r.last.end, r.last.term = r.base, r.first
		} else if r.last.end != raft.Index(it.n) {
			return fmt.Errorf("log at index %d, but the segment was begun at %d", r.last.end, it.n)
		}
	default: // itemSeal: read only when the next segment is not there
		return fmt.Errorf("segment %s is missing, which was begun here", segmentName(it.n))
	}
	return nil
}

func (r *replay) entry(e raft.Entry) error {
	if e.First() != r.last.end+1 || e.Term < r.last.term {
		return fmt.Errorf("entry %d to %d of term %d behind index %d of term %d", e.First(), e.Index, e.Term, r.last.end, r.last.term)
	}
	r.entries = append(r.entries, e)
	r.last.end, r.last.term = e.Index, e.Term
	return nil
}

func (r *replay) truncate(to raft.Index) error {
	if to >= r.last.end {
		return nil
	}
	if to < r.base {
		if r.reset {
			return fmt.Errorf("truncation to index %d, log begins behind %d", to, r.base)
		}
		// What was truncated is in segments that were compacted away: a snapshot
		// behind r.base was there. The log before the cut is not known, the log
		// behind it is whole.
		r.base, r.first, r.entries = to, 0, nil
	}
	n := len(r.entries)
	for n > 0 && r.entries[n-1].Index > to {
		n--
	}
	r.entries = r.entries[:n]
	r.last.end, r.last.term = r.base, 0
	if n > 0 {
		r.last.end, r.last.term = r.entries[n-1].Index, r.entries[n-1].Term
	}
	if r.last.end != to {
		return fmt.Errorf("truncation to index %d, in the middle of an entry behind %d", to, r.last.end)
	}
	return nil
}

// gap is the error for a log that begins behind the snapshot.
func (r *replay) gap(numbers, old []uint64, bad []SnapshotInfo) error {
	have := "there is no snapshot"
	if r.snapshot != nil {
		have = fmt.Sprintf("the newest good snapshot is at %d", r.snapshot.Index)
	}
	if len(old) > 0 {
		have += fmt.Sprintf("; segments between %s and %s are missing", segmentName(old[len(old)-1]), segmentName(numbers[0]))
	}
	err := damage(segmentName(numbers[0]), 0, "the log begins behind index %d, but %s", r.base, have)
	all := []error{fmt.Errorf("wal %w", err)}
	for _, s := range bad {
		all = append(all, s.Err)
	}
	return errors.Join(all...)
}

// lacks is the error for a damaged snapshot that the log does not lead to: a crash
// came between its installation and the log's reset. What it held may have been
// acknowledged, and is in no other place here. (Or it is the dump of a leader whose
// own disk was behind the majority's. That can't be told apart.)
func (r *replay) lacks(bad []SnapshotInfo) error {
	for _, s := range bad {
		at := s.Meta
		if at.Index <= r.snapshotIndex() {
			continue
		}
		led := slices.ContainsFunc(r.entries, func(e raft.Entry) bool { return e.Index == at.Index && e.Term == at.Term })
		if !led {
			return errors.Join(s.Err, damage(s.Name, 0, "the log (up to index %d) does not lead to this snapshot: what it held is lost", r.last.end))
		}
	}
	return nil
}

// fit drops the entries that the snapshot contains. It reports false, and drops
// all, when the log does not lead to the snapshot (scenario 46): then the
// snapshot came from a leader, and a crash hit before the log's reset.
func (r *replay) fit() (bool, error) {
	index := r.snapshotIndex()
	if r.base == index {
		if r.snapshot != nil && r.first != 0 && r.first != r.snapshot.Term {
			r.entries = nil
			return false, nil
		}
		return true, nil
	}
	for i := range r.entries {
		e := &r.entries[i]
		if e.Index < index {
			continue
		}
		if e.Term != r.snapshot.Term {
			break
		}
		if e.Index > index {
			return false, damage(snapshotName(*r.snapshot), 0, "snapshot at index %d, in the middle of the entry %d to %d", index, e.First(), e.Index)
		}
		r.entries = slices.Clone(r.entries[i+1:])
		return true, nil
	}
	r.entries = nil
	return false, nil
}

// finishLoad cleans the end of the log and readies it for Append.
func (d *Dir) finishLoad(r *replay, old []uint64) error {
	n := len(r.heads) - 1
	l := &log{
		id: d.identity.NodeID, size: r.heads[n].size, offset: r.offset, prev: r.prev, synced: r.synced,
		behind: n > 0, unsynced: true, at: r.last, last: r.last,
	}
	for i, h := range r.heads {
		l.segments = append(l.segments, segment{number: h.number, size: h.size, end: r.ends[i]})
	}
	f, err := d.fs.Open(d.file(segmentName(r.heads[n].number)))
	if err != nil {
		return err
	}
	l.file, d.log = f, l
	if r.torn != nil {
		if err := wipe(f, r.offset, l.size); err != nil {
			return err
		}
	}
	// What was read may be in the cache only: the last process ended before its
	// sync, or the sync failed, and the kernel holds bytes that it takes for stored
	// and that are not. Written once more they are stored by the next sync.
	from := min(r.synced, r.offset)
	if _, err := f.WriteAt(r.buf[from:r.offset], from); err != nil {
		return err
	}
	// With Sync others are told from here on that all is durable, and a reset lets
	// segments go.
	if d.opt.Sync || r.reset {
		if err := d.storeEarlier(r); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		l.synced, l.behind, l.unsynced = l.offset, false, false
	}
	// The same for names: Compact relies on a snapshot that is seen here.
	if err := d.fs.SyncDir(d.path); err != nil {
		return err
	}
	for _, number := range old {
		if err := d.fs.Remove(d.file(segmentName(number))); err != nil {
			return err
		}
		d.note("removed %s, which is not part of the log any more", segmentName(number))
	}
	if !d.begun {
		return d.writeIdentity(d.identity, true)
	}
	return nil
}

// wipe takes what is left of a torn write off the end of a segment: it must not
// turn into records once new ones lie before it. First, by itself, goes the mark
// that the record's head was written, so that an interrupted wipe does not leave
// what looks like a damaged record.
func wipe(f File, from, to int64) error {
	if mark := from + recordHeadBytes - 1; mark < to {
		if _, err := f.WriteAt([]byte{0}, mark); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if err := zero(f, from, to); err != nil {
		return err
	}
	return f.Sync()
}

// storeEarlier makes the segments before the last durable that no later one says
// to be so. There are such only where Options.Sync was not set before.
func (d *Dir) storeEarlier(r *replay) error {
	for i := len(r.heads) - 2; i >= 0 && !r.syncedWhole(i); i-- {
		if err := d.storeAgain(segmentName(r.heads[i].number)); err != nil {
			return err
		}
	}
	return nil
}

func (d *Dir) storeAgain(name string) error {
	f, err := d.fs.Open(d.file(name))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(size, zeroBytes))
	for at := int64(0); at < size; at += int64(len(b)) {
		b = b[:min(int64(len(b)), size-at)]
		if err := readFull(f, b, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(b, at); err != nil {
			return err
		}
	}
	return f.Sync()
}
