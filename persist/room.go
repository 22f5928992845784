package persist

import (
	"errors"
	"fmt"
	"syscall"
)

// noSpace tells whether a file could not grow.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// noRoom makes the error of a segment that could not be made ErrNoRoom, if it
// was for want of space.
func noRoom(err error) error {
	if err == nil || !noSpace(err) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrNoRoom, err)
}

// Reserve sees to it that the log can go on behind its present segment: from its
// middle on another one is ready. It returns ErrNoRoom while there is none for
// want of space; what was appended so far still finds room, and what else is
// appended while the caller waits for space may not. With Options.Go it returns
// what is known and tries again on another goroutine.
//
// The caller repeats it now and then; it is what notices that space is back.
// What Flush or Sync found no room for is tried again.
func (d *Dir) Reserve() error {
	l, err := d.ready()
	if err != nil {
		return err
	}
	if len(l.pending) > 0 {
		d.setRoom(nil)
		if err := d.Flush(); err != nil {
			return err
		}
	}
	if l.offset > l.size/2 {
		d.prepareAhead(l.size, true)
	} else {
		d.setRoom(nil) // a segment was begun since
	}
	return d.Room()
}

// setRoom notes why a segment could not be made, or that there is room.
func (d *Dir) setRoom(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.noRoom = err
}

// Room is what Reserve knew last, or what was noticed since: ErrNoRoom, or nil.
func (d *Dir) Room() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.noRoom
}

// hold keeps the records from the first one that found no room for a later
// flush.
func (l *log) hold(first int) {
	from := l.pending[first].start - recordHeadBytes
	end := l.pending[len(l.pending)-1].end // without the padding: the record may take more
	l.buf = append(l.buf[:0], l.buf[from:end]...)
	l.pending = append(l.pending[:0], l.pending[first:]...)
	for i := range l.pending {
		l.pending[i].start -= from
		l.pending[i].end -= from
	}
}
