package wire

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
)

func TestBackupPayloads(t *testing.T) {
	for _, want := range []BackupRead{{}, {Backup: math.MaxUint64, Offset: 1 << 40, Length: BackupChunkBytesMax}} {
		b := AppendBackupRead(nil, want)
		if got, err := DecodeBackupRead(b); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
		for n := range b {
			if _, err := DecodeBackupRead(b[:n]); err == nil {
				t.Errorf("%x cut to %d bytes was read", b, n)
			}
		}
		if _, err := DecodeBackupRead(append(b, 0)); !errors.Is(err, codec.ErrTrailing) {
			t.Errorf("trailing byte: %v", err)
		}
	}
	if _, err := DecodeBackupRead(AppendBackupRead(nil, BackupRead{Length: BackupChunkBytesMax + 1})); !errors.Is(err, codec.ErrRange) {
		t.Errorf("a part above the limit: %v", err)
	}
	want := Backup{Backup: 7, Index: 8, Bytes: math.MaxUint64, Sum: [16]byte{1, 15: 2}}
	b := AppendBackup(nil, want)
	if got, err := DecodeBackup(b); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for n := range b {
		if _, err := DecodeBackup(b[:n]); err == nil {
			t.Errorf("%x cut to %d bytes was read", b, n)
		}
	}
	part, err := DecodeBackupPart(AppendBackupPart(nil, []byte("part")))
	if err != nil || !bytes.Equal(part, []byte("part")) {
		t.Errorf("part %q, %v", part, err)
	}
}
