package client

import (
	"context"
	"fmt"
	"time"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// dumpTimeout bounds how long a node may take to write the dump of a backup.
	dumpTimeout = 10 * time.Minute
	// backupTries bounds how often a backup is begun anew because the node that
	// had the dump went away.
	backupTries = 5
)

// BackupFile takes a backup; an *os.File does.
type BackupFile interface {
	WriteAt(p []byte, offset int64) (int, error)
	Truncate(size int64) error
}

// BackupInfo is what a backup holds.
type BackupInfo struct {
	Index uint64 // of the log: the state after it
	Bytes uint64
	Sum   [16]byte // XXH3-128 of the bytes
	Node  string   // that took the dump
}

// Backup has the connected node take a dump while it goes on working and copies
// it into f, part by part: a snapshot's file as docs/FORMATS.md has it. The dump
// has every call that was acknowledged before, with Config.Mode Stale what the
// node has applied. Should the node go away another one is asked, from the
// start. The caller checks the sum once f is on disk.
func (c *Client) Backup(ctx context.Context, f BackupFile) (BackupInfo, error) {
	return c.BackupTold(ctx, f, func(uint64, uint64) {})
}

// BackupTold is Backup, and tells how many bytes of all have arrived: 0 of 0 while
// the node takes the dump.
func (c *Client) BackupTold(ctx context.Context, f BackupFile, told func(done, total uint64)) (BackupInfo, error) {
	if c.cfg.Mode != Stale { // without a leader this fails in the time of a call
		if _, err := c.Exec(ctx, wire.OpQuery, Linearizable, command.AppendSettings(nil)); err != nil {
			return BackupInfo{}, err
		}
	}
	for try := 1; ; try++ {
		info, err := c.backupOnce(ctx, f, told)
		if err == nil || try == backupTries || ctx.Err() != nil {
			return info, err
		}
		switch CodeOf(err) {
		case CodeNotFound, CodeNoLeader, CodeOverloaded, CodeDiverged, CodeTimeout:
		default:
			return info, err
		}
		select {
		case <-time.After(retryMax):
		case <-ctx.Done():
			return info, err
		}
	}
}

func (c *Client) backupOnce(ctx context.Context, f BackupFile, told func(done, total uint64)) (info BackupInfo, err error) {
	if err := f.Truncate(0); err != nil {
		return info, err
	}
	told(0, 0)
	b, err := c.beginBackup(ctx)
	if err != nil {
		return info, err
	}
	info = BackupInfo{Index: b.Index, Bytes: b.Bytes, Sum: b.Sum}
	info.Node, _ = c.Node()
	for at := uint64(0); ; {
		read := wire.BackupRead{Backup: b.Backup, Offset: at, Length: wire.BackupChunkBytesMax}
		res, err := c.Exec(ctx, wire.OpBackup, Stale, wire.AppendBackupRead(nil, read))
		if err != nil {
			return info, err
		}
		part, err := wire.DecodeBackupPart(res.Values)
		if err != nil {
			return info, badArgument("the node's answer can't be read: %v", err)
		}
		switch left := b.Bytes - at; {
		case len(part) == 0 && left == 0:
			return info, nil // the node has closed the dump
		case len(part) == 0 || uint64(len(part)) > left:
			return info, badArgument("the node's answer can't be read: %d bytes of a backup with %d left", len(part), left)
		}
		if _, err := f.WriteAt(part, int64(at)); err != nil {
			return info, fmt.Errorf("backup at %d: %w", at, err)
		}
		at += uint64(len(part))
		told(at, b.Bytes)
	}
}

// beginBackup has a dump taken. It is not Exec: a dump may take longer than a
// call.
func (c *Client) beginBackup(ctx context.Context) (wire.Backup, error) {
	answered := make(chan outcome, 1)
	c.Do(wire.OpBackup, c.cfg.Mode, dumpTimeout, wire.AppendBackupRead(nil, wire.BackupRead{}), func(res command.Result, err error) {
		answered <- outcome{res, err}
	})
	select {
	case o := <-answered:
		if o.err != nil {
			return wire.Backup{}, o.err
		}
		b, err := wire.DecodeBackup(o.result.Values)
		if err != nil {
			return b, badArgument("the node's answer can't be read: %v", err)
		}
		return b, nil
	case <-ctx.Done():
		return wire.Backup{}, errorf(CodeNoLeader, "%v", ctx.Err())
	}
}
