package persist

import (
	"errors"
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/raft"
)

// log is the write-ahead log at its end.
type log struct {
	segments []segment // ascending, contiguous; the last one is written to
	file     File      // of the last segment
	size     int64     // of the file
	offset   int64     // where the next record goes
	prev     uint32    // head sum of the last record, or of the segment's head
	synced   int64     // in this segment all before it is durable
	behind   bool      // an earlier segment was not synced
	unsynced bool      // this segment was written to since its last sync

	at   mark // the log's state behind the records that were written
	last mark // the same behind what was appended

	buf     []byte    // records that were appended and not written, with room for their heads
	pending []pending // where they are in buf
	// voidBefore is the number of the segment with a reset that is not known to be
	// durable; 0 if there is none.
	voidBefore uint64
	dead       error
	id         raft.ID
}

// segment is one file of the log.
type segment struct {
	number uint64
	size   int64
	// end is the index at which the log ended behind its records, as far as the
	// records of later segments still need it. While entries above an index may
	// be asked for, the segments whose end is above it stay. 0 after a reset in
	// a later segment.
	end raft.Index
}

// mark is what every segment repeats at its head.
type mark struct {
	hard raft.HardState
	end  raft.Index
	term raft.Term // of the entry at end, 0 when not known
}

// pending is a record in buf.
type pending struct {
	start, end int // of the payload; the head is before it
	after      mark
	reset      bool // has a reset
}

// ready returns the log, if it can be used.
func (d *Dir) ready() (*log, error) {
	switch {
	case d.closed:
		return nil, ErrClosed
	case d.log == nil:
		return nil, ErrNotLoaded
	case d.log.dead != nil:
		return nil, d.log.dead
	}
	return d.log, nil
}

// die ends the log: after a failed write or sync nobody knows what is on disk,
// and a second sync of the same file may report success for data that is lost.
func (l *log) die(err error) error {
	if l.dead == nil {
		l.dead = fmt.Errorf("%w: %w", ErrDead, err)
	}
	return l.dead
}

// failed ends the log unless it was only space that was missing.
func (l *log) failed(err error) error {
	if errors.Is(err, ErrNoRoom) {
		return err
	}
	return l.die(err)
}

// Append takes a Save, which Sync makes durable. It does not keep s. After an
// error nothing of s was taken.
func (d *Dir) Append(s raft.Save) error {
	l, err := d.ready()
	if err != nil {
		return err
	}
	if s.Empty() {
		return nil
	}
	after, err := l.follow(s)
	if err != nil {
		return err
	}
	bytes := recordHeadBytes + 3*itemHeadMax
	for i := range s.Entries {
		bytes += len(s.Entries[i].Data) + itemHeadMax
	}
	if bytes > saveBytesMax {
		return fmt.Errorf("save of %d bytes, at most %d: %w", bytes, saveBytesMax, ErrTooLarge)
	}
	l.openRecord()
	l.buf = slices.Grow(l.buf, bytes)
	if s.HardState != nil {
		l.buf = appendHardState(l.buf, *s.HardState)
	}
	if s.Reset != nil {
		l.buf = appendItem(l.buf, itemReset, uint64(s.Reset.Index))
	}
	if s.Truncate {
		l.buf = appendItem(l.buf, itemTruncate, uint64(s.TruncateTo))
	}
	for i := range s.Entries {
		l.buf = appendEntry(l.buf, &s.Entries[i])
	}
	p := &l.pending[len(l.pending)-1]
	p.end, p.after = len(l.buf), after
	p.reset = p.reset || s.Reset != nil
	l.last = after
	return nil
}

// follow checks that s follows on what was appended and returns the state
// behind it.
func (l *log) follow(s raft.Save) (mark, error) {
	m := l.last
	if s.HardState != nil {
		m.hard = *s.HardState
	}
	if s.Reset != nil {
		m.end, m.term = s.Reset.Index, s.Reset.Term
	}
	if s.Truncate && s.TruncateTo < m.end {
		m.end, m.term = s.TruncateTo, 0
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if e.Span == 0 || raft.Index(e.Span) > e.Index || e.First() != m.end+1 || e.Term < m.term {
			return m, fmt.Errorf("entry %d of term %d and span %d after index %d of term %d: %w",
				e.Index, e.Term, e.Span, m.end, m.term, ErrBadSave)
		}
		m.end, m.term = e.Index, e.Term
	}
	return m, nil
}

// openRecord makes the last pending record one that can take a Save.
func (l *log) openRecord() {
	if n := len(l.pending); n > 0 {
		if p := &l.pending[n-1]; p.end-p.start < recordBytesTarget {
			return
		}
		l.pad()
	}
	l.buf = append(l.buf, make([]byte, recordHeadBytes)...)
	l.pending = append(l.pending, pending{start: len(l.buf), end: len(l.buf)})
}

// pad ends the last record, once: the next one begins aligned.
func (l *log) pad() {
	l.buf = endRecord(l.buf)
}

// ResetLog is Append of a Save that only has a Reset.
func (d *Dir) ResetLog(meta raft.SnapshotMeta) error {
	return d.Append(raft.Save{Reset: &meta})
}

// Flush writes what was appended. The end of the process can't lose it any
// more, that of the machine can. After ErrNoRoom a first part of it may be
// written, and the rest is kept: see Reserve.
func (d *Dir) Flush() error {
	l, err := d.ready()
	if err != nil {
		return err
	}
	if err := d.flush(l); err != nil {
		return l.failed(err)
	}
	return nil
}

// Sync writes what was appended and, if Options.Sync is set, makes it durable.
// After ErrNoRoom that holds for a first part of it: see Reserve.
func (d *Dir) Sync() error {
	l, err := d.ready()
	if err != nil {
		return err
	}
	flushed := d.flush(l)
	if flushed != nil && !errors.Is(flushed, ErrNoRoom) {
		return l.die(flushed)
	}
	if !d.opt.Sync || !l.unsynced {
		return flushed
	}
	if err := l.file.Sync(); err != nil {
		return l.die(d.segmentError(l, err))
	}
	l.synced, l.unsynced = l.offset, false
	return flushed
}

func (d *Dir) segmentError(l *log, err error) error {
	return fmt.Errorf("wal %s@%d: %w", segmentName(l.segments[len(l.segments)-1].number), l.offset, err)
}

// sealBytes is the room kept at the end of a segment for the seal.
var sealBytes = recordBytes(len(appendItem(nil, itemSeal, 1<<64-1)))

// flush writes the pending records with one write for each segment.
func (d *Dir) flush(l *log) error {
	if len(l.pending) == 0 {
		return nil
	}
	l.pad()
	from := 0 // first pending record that was not written
	at := l.offset
	for i := range l.pending {
		p := &l.pending[i]
		bytes := recordBytes(p.end - p.start)
		if at+bytes+sealBytes > l.size {
			if err := d.write(l, l.pending[from:i], at); err != nil {
				return err
			}
			if err := d.rotate(l, bytes); err != nil {
				if errors.Is(err, ErrNoRoom) {
					l.hold(i)
				}
				return err
			}
			from, at = i, l.offset
		}
		l.sealRecord(p, at)
		at += bytes
		if p.reset {
			l.voidBefore = l.segments[len(l.segments)-1].number
		}
		l.at = p.after
		l.segments[len(l.segments)-1].end = l.at.end
	}
	if err := d.write(l, l.pending[from:], at); err != nil {
		return err
	}
	if l.voidBefore != 0 {
		if err := d.syncReset(l); err != nil {
			return err
		}
	}
	l.pending = l.pending[:0]
	l.buf = l.buf[:0]
	if cap(l.buf) > keepBufferBytes {
		l.buf = nil
	}
	if at > l.size/2 {
		d.prepareAhead(l.size, false)
	}
	return nil
}

// syncReset makes a reset durable, in whatever mode, before the segments that it
// makes void may go: without it, and them, the log would begin behind its
// snapshot.
func (d *Dir) syncReset(l *log) error {
	if err := l.file.Sync(); err != nil {
		return d.segmentError(l, err)
	}
	l.synced, l.unsynced = l.offset, false
	for i := range l.segments {
		if l.segments[i].number < l.voidBefore {
			l.segments[i].end = 0
		}
	}
	l.voidBefore = 0
	return nil
}

// sealRecord fills in the head of a record that goes to offset at.
func (l *log) sealRecord(p *pending, at int64) {
	n := p.end - p.start
	rec := l.buf[p.start-recordHeadBytes:][:recordBytes(n)]
	l.prev = putRecord(rec, n, l.prev, l.synced, l.place(at))
}

func (l *log) place(offset int64) place {
	s := &l.segments[len(l.segments)-1]
	return place{node: l.id, segment: s.number, offset: offset}
}

// write writes records that lie one behind the other, up to offset end of the
// segment.
func (d *Dir) write(l *log, records []pending, end int64) error {
	if len(records) == 0 {
		return nil
	}
	start := records[0].start - recordHeadBytes
	l.unsynced = true
	if _, err := l.file.WriteAt(l.buf[start:start+int(end-l.offset)], l.offset); err != nil {
		return d.segmentError(l, err)
	}
	l.offset = end
	return nil
}

// rotate begins a segment with room for a record of the given size.
func (d *Dir) rotate(l *log, bytes int64) error {
	old := l.file
	if l.unsynced && (d.opt.Sync || l.voidBefore != 0) {
		if err := old.Sync(); err != nil {
			return d.segmentError(l, err)
		}
		l.synced, l.unsynced = l.offset, false
	}
	l.behind = l.behind || l.unsynced
	cur := l.segments[len(l.segments)-1]
	end, prev := l.offset, l.prev
	next := &segmentStart{number: cur.number + 1, prevEnd: end, prevSum: prev, synced: !l.behind, mark: l.at}
	next.size = min(d.opt.SegmentBytes, max(firstSegmentBytes, l.size*segmentGrowth))
	next.size = max(next.size, roundUp(segmentOverhead+bytes+sealBytes))
	oldPlace, oldSynced, sync := l.place(end), l.synced, d.opt.Sync
	if err := d.begin(l, next); err != nil {
		if errors.Is(err, ErrNoRoom) {
			return err
		}
		return errors.Join(err, old.Close())
	}
	// Only now, with the new segment durable, may the old one say that there is
	// one: so a lost last segment is noticed.
	err := writeSeal(old, next.number, oldPlace, prev, oldSynced)
	if err == nil && sync {
		err = old.Sync()
	}
	if cerr := old.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("wal %s@%d: %w", segmentName(cur.number), end, err)
	}
	return nil
}

func writeSeal(f File, next uint64, at place, prev uint32, synced int64) error {
	b := make([]byte, recordHeadBytes, sealBytes)
	b = appendItem(b, itemSeal, next)
	n := len(b) - recordHeadBytes
	b = endRecord(b)
	putRecord(b, n, prev, synced, at)
	_, err := f.WriteAt(b, at.offset)
	return err
}

// Compact removes the segments whose entries all lie at or below upTo, or are
// void. The entries up to upTo must be in a snapshot that is durable.
func (d *Dir) Compact(upTo raft.Index) error {
	l, err := d.ready()
	if err != nil {
		return err
	}
	if newest := d.newestSnapshot(); newest < upTo {
		return fmt.Errorf("compact to %d, newest snapshot at %d: %w", upTo, newest, ErrNoSnapshot)
	}
	n := 0
	for n < len(l.segments)-1 && l.segments[n].end <= upTo {
		n++
	}
	if n == 0 {
		return nil
	}
	if err := d.retire(l.segments[:n]); err != nil {
		return l.die(err)
	}
	l.segments = slices.Delete(l.segments, 0, n)
	return nil
}

// retire takes segments out of the log. They are not used again as they are:
// behind the log's end are zeros, or nobody could tell what of the last write
// arrived.
func (d *Dir) retire(old []segment) error {
	for _, s := range old {
		if err := d.fs.Remove(d.file(segmentName(s.number))); err != nil {
			return err
		}
	}
	return d.fs.SyncDir(d.path)
}
