package persist

import (
	"errors"
	"fmt"
	"hash/crc32"
	"syscall"
)

// segmentOverhead bounds what the head of a segment and its first record take.
const segmentOverhead = segmentHeadBytes + recordHeadBytes + 72

// segmentStart is what a segment begins with.
type segmentStart struct {
	number  uint64
	size    int64 // at least
	prevEnd int64
	prevSum uint32
	synced  bool // all before it is durable
	mark    mark
}

// begin makes the segment that l writes to from now on. Its file has its full
// size, its head and its first record before it gets its name, so a segment
// that is there is whole.
func (d *Dir) begin(l *log, s *segmentStart) error {
	name, size := d.takeSpare(s.size)
	if name == "" {
		if err := d.Room(); err != nil {
			return err // Reserve tries again: each try may write a segment of zeros
		}
		size = s.size
		name = segmentName(s.number) + tmpSuffix
		if err := d.makeZeroed(name, size); err != nil {
			err = noRoom(err)
			if errors.Is(err, ErrNoRoom) {
				d.setRoom(err)
			}
			return err
		}
	}
	f, err := d.fs.Open(d.file(name))
	if err != nil {
		return err
	}
	head := segmentHead{node: d.identity.NodeID, number: s.number, size: size, prevEnd: s.prevEnd, prevSum: s.prevSum}
	if s.synced {
		head.flags |= flagSynced
	}
	b, prev := encodeStart(head, s.mark)
	end := int64(len(b))
	// A process that ended right here before may have left a longer start.
	b = append(b, make([]byte, segmentOverhead-len(b))...)
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = d.fs.Rename(d.file(name), d.file(segmentName(s.number)))
	}
	if err == nil {
		err = d.fs.SyncDir(d.path)
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("wal %s@0: %w", segmentName(s.number), err)
	}
	l.segments = append(l.segments, segment{number: s.number, size: size, end: s.mark.end})
	l.file, l.size, l.offset, l.synced, l.prev = f, size, end, end, prev
	l.unsynced = false
	d.setRoom(nil)
	return nil
}

// encodeStart returns the head of a segment and its first record, and the head
// sum of the latter.
func encodeStart(head segmentHead, m mark) (b []byte, prev uint32) {
	b = head.append(make([]byte, 0, segmentOverhead))
	headSum := crc32.Checksum(b[:segmentHeadBytes-4], castagnoli)
	b = append(b, make([]byte, recordHeadBytes)...)
	start := len(b)
	b = appendHead(b, m.end, m.term)
	b = appendHardState(b, m.hard)
	n := len(b) - start
	b = endRecord(b)
	at := place{node: head.node, segment: head.number, offset: segmentHeadBytes}
	return b, putRecord(b[segmentHeadBytes:], n, headSum, segmentHeadBytes, at)
}

// takeSpare returns the name and size of a prepared segment of at least size bytes; the name is empty when there is none.
func (d *Dir) takeSpare(size int64) (name string, got int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, name := range d.spares {
		if got = d.fileSize(name); got >= size {
			d.spares = append(d.spares[:i:i], d.spares[i+1:]...)
			return name, got
		}
	}
	return "", 0
}

// prepareAhead has a segment zeroed on another goroutine, if there is none to
// use: so a full disk is noticed before a record finds no room. size is that of
// the present segment. After a try that found no space the next one is Reserve's,
// which says again.
func (d *Dir) prepareAhead(size int64, again bool) {
	if d.opt.Go == nil && !again {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.spares) > 0 {
		d.noRoom = nil
		return
	}
	if d.preparing || d.noRoom != nil && !again {
		return
	}
	d.preparing = true
	d.spareNext++
	name := spareName(d.spareNext)
	size = min(d.opt.SegmentBytes, size*segmentGrowth)
	if d.opt.Go == nil {
		d.mu.Unlock()
		defer d.mu.Lock()
		d.prepare(name, size)
		return
	}
	d.background.Add(1)
	d.opt.Go(func() {
		defer d.background.Done()
		d.prepare(name, size)
	})
}

// prepare makes a spare segment.
func (d *Dir) prepare(name string, size int64) {
	err := d.makeZeroed(name+tmpSuffix, size)
	if err == nil {
		err = d.fs.Rename(d.file(name+tmpSuffix), d.file(name))
	}
	err = noRoom(err)
	full := errors.Is(err, ErrNoRoom)
	if err != nil && !full {
		// The log will meet the same error itself, when it needs the room.
		d.note("preparing a log segment: %v", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.preparing = false
	switch {
	case err == nil:
		d.spares = append(d.spares, name)
		d.noRoom = nil
	case full:
		d.noRoom = err
	}
}

// makeZeroed makes a file of zeros that are on disk, not only allocated: a sync
// of data written over them then has no metadata to write.
func (d *Dir) makeZeroed(name string, size int64) error {
	// A disk that is all but full is not filled up by trying.
	free, err := d.fs.Free(d.path)
	if err != nil {
		return err
	}
	if free >= 0 && free < size {
		return fmt.Errorf("%s of %d bytes, %d are free: %w", name, size, free, syscall.ENOSPC)
	}
	f, err := d.fs.Create(d.file(name))
	if err != nil {
		return err
	}
	err = zero(f, 0, size)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		// Best effort: Open removes what is left half made.
		_ = d.fs.Remove(d.file(name))
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// zero writes zeros from one offset to another.
func zero(f File, from, to int64) error {
	b := make([]byte, min(zeroBytes, to-from))
	for at := from; at < to; at += int64(len(b)) {
		if _, err := f.WriteAt(b[:min(int64(len(b)), to-at)], at); err != nil {
			return err
		}
	}
	return nil
}
