package persist

import (
	"errors"
	"fmt"
)

// Errors of this package. All are wrapped with what they concern.
var (
	// ErrDamage is returned when stored bytes are not what was written: see
	// DamageError. The member must not go on with them; it is replaced by a new
	// member with an empty directory.
	ErrDamage = errors.New("damaged data")
	// ErrFormat is returned when a file has a format newer than FormatVersion.
	ErrFormat = errors.New("unknown format version")
	// ErrIdentity is returned when a directory is not the one that was meant: the
	// files of another node, another cluster, a changed node id.
	ErrIdentity = errors.New("not the same identity")
	// ErrNoIdentity is returned by Load when the directory has none yet.
	ErrNoIdentity = errors.New("directory has no identity")
	// ErrNotLoaded is returned by the log's methods before Load, and by a second
	// Load.
	ErrNotLoaded = errors.New("log not loaded, or loaded twice")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("directory closed")
	// ErrDead is returned by the log's methods after one of them failed to write
	// or sync. What is on disk is decided by the next Load in a new process.
	ErrDead = errors.New("log dead after a failed write")
	// ErrNoRoom is returned by Flush, Sync and Reserve when the disk has no space
	// for another segment of the log. The log lives: what was appended is kept, and
	// written once there is space.
	ErrNoRoom = errors.New("no space for the log")
	// ErrBadSave is returned by Append for a Save that does not follow on the log.
	// Nothing was written.
	ErrBadSave = errors.New("save does not follow on the log")
	// ErrTooLarge is returned by Append for a Save above saveBytesMax, and by
	// SetIdentity for names above nameBytesMax.
	ErrTooLarge = errors.New("too large")
	// ErrNoSnapshot is returned when a snapshot is not (or no longer) there, and
	// by Compact when no snapshot covers what would go.
	ErrNoSnapshot = errors.New("no such snapshot")
	// ErrOffset is returned by SnapshotReceiver.WriteAt for bytes that don't
	// begin where the last ones ended, or go past the end.
	ErrOffset = errors.New("snapshot chunk out of order")
)

// DamageError says where stored bytes are not what was written. It is ErrDamage.
type DamageError struct {
	File   string // name in the data directory
	Offset int64
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s@%d: %s", e.File, e.Offset, e.Reason)
}

// Is makes errors.Is(err, ErrDamage) true.
func (e *DamageError) Is(target error) bool { return target == ErrDamage }

func damage(file string, offset int64, format string, args ...any) error {
	return &DamageError{File: file, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}
