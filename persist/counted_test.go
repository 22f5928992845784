package persist

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// What is read is counted, and what may only be read stays so.
func TestCounted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("0123456789"), 0o400); err != nil {
		t.Fatal(err)
	}
	read := 0
	f, err := ReadOnly(Counted(OSFS(), func(n int) { read += n })).Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.ReadAt(make([]byte, 4), 0) //nolint:errcheck // counted
	f.ReadAt(make([]byte, 4), 8) //nolint:errcheck // counted: only two are there
	if read != 6 {
		t.Errorf("%d bytes count, want 6", read)
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
	if err := ReadOnly(Counted(OSFS(), func(int) {})).Remove(path); !errors.Is(err, ErrReadOnly) {
		t.Error(err)
	}
}
