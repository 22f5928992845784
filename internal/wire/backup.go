package wire

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
)

// BackupChunkBytesMax bounds one part of a backup.
const BackupChunkBytesMax = 1 << 20

// BackupRead is the payload of an OpBackup: [backup, offset, length]. With
// Backup 0 the asked node takes a dump and keeps it open; otherwise it reads
// from one that it keeps open.
type BackupRead struct {
	Backup uint64
	Offset uint64
	Length uint32
}

// Backup is a dump that a node keeps open, its file as it is on the node's disk:
// [backup, index, bytes, sum].
type Backup struct {
	Backup uint64 // for BackupRead
	Index  uint64
	Bytes  uint64
	Sum    [16]byte // of the file
}

// AppendBackupRead appends the payload of an OpBackup.
func AppendBackupRead(b []byte, r BackupRead) []byte {
	b = codec.AppendUint(codec.AppendArrayLen(b, 3), r.Backup)
	b = codec.AppendUint(b, r.Offset)
	return codec.AppendUint(b, uint64(r.Length))
}

// DecodeBackupRead reads what AppendBackupRead wrote.
func DecodeBackupRead(payload []byte) (r BackupRead, err error) {
	d := codec.NewDecoder(payload)
	if err = d.FixedArray(3); err != nil {
		return r, err
	}
	if r.Backup, err = d.Uint(); err != nil {
		return r, err
	}
	if r.Offset, err = d.Uint(); err != nil {
		return r, err
	}
	n, err := d.Uint()
	if err == nil && n > BackupChunkBytesMax {
		err = fmt.Errorf("part of %d bytes, at most %d: %w", n, BackupChunkBytesMax, codec.ErrRange)
	}
	if err != nil {
		return r, err
	}
	r.Length = uint32(n)
	return r, d.End()
}

// AppendBackup appends the values that answer the beginning of a backup.
func AppendBackup(b []byte, v Backup) []byte {
	b = codec.AppendUint(codec.AppendArrayLen(b, 4), v.Backup)
	b = codec.AppendUint(b, v.Index)
	b = codec.AppendUint(b, v.Bytes)
	return codec.AppendBytes(b, v.Sum[:])
}

// DecodeBackup reads what AppendBackup wrote.
func DecodeBackup(values []byte) (v Backup, err error) {
	d := codec.NewDecoder(values)
	if err = d.FixedArray(4); err != nil {
		return v, err
	}
	for _, n := range []*uint64{&v.Backup, &v.Index, &v.Bytes} {
		if *n, err = d.Uint(); err != nil {
			return v, err
		}
	}
	if v.Sum, err = decodeSum(&d); err != nil {
		return v, err
	}
	return v, d.End()
}

// AppendBackupPart appends the values that answer a read of a backup.
func AppendBackupPart(b, part []byte) []byte {
	return codec.AppendBytes(codec.AppendArrayLen(b, 1), part)
}

// DecodeBackupPart reads what AppendBackupPart wrote; it aliases the values.
func DecodeBackupPart(values []byte) ([]byte, error) {
	d := codec.NewDecoder(values)
	if err := d.FixedArray(1); err != nil {
		return nil, err
	}
	part, err := d.Bytes()
	if err != nil {
		return nil, err
	}
	return part, d.End()
}
