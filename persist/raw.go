package persist

import (
	"fmt"

	"github.com/syncsh/syncsh/raft"
)

// RawSnapshot is the open file of a snapshot. It can be read to its end however
// many newer ones appear meanwhile: on systems where an open file can't be
// removed, the removal fails and is noted.
type RawSnapshot struct {
	File
	Meta raft.SnapshotMeta
}

// OpenNewestRaw opens the file of the newest snapshot, to copy it as it is.
func (d *Dir) OpenNewestRaw() (*RawSnapshot, error) {
	d.publishing.Lock() // so that it is not removed between its choice and its opening
	defer d.publishing.Unlock()
	d.mu.Lock()
	n := len(d.snapshots)
	if n == 0 {
		d.mu.Unlock()
		return nil, ErrNoSnapshot
	}
	meta := d.snapshots[n-1]
	d.mu.Unlock()
	f, err := d.fs.Open(d.file(snapshotName(meta)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", snapshotName(meta), err)
	}
	return &RawSnapshot{File: readOnlyFile{f}, Meta: meta}, nil
}
