package persist

import (
	"io/fs"
	"testing"
)

// A note is there as a whole after a crash, in place of the one before it.
func TestNotes(t *testing.T) {
	for seed := range int64(20) {
		m := NewMemFS()
		d, _ := mustOpen(t, testOptions(m))
		_, err := d.ReadNote("promise")
		wantErr(t, err, fs.ErrNotExist)
		must(t, d.RemoveNote("promise"))
		must(t, d.WriteNote("promise", []byte("a first, longer one")))
		must(t, d.WriteNote("promise", []byte("second")))
		must(t, d.Close())
		m.Crash(seed)
		d, _ = mustOpen(t, testOptions(m))
		if b, err := d.ReadNote("promise"); err != nil || string(b) != "second" {
			t.Fatalf("seed %d: %q, %v", seed, b, err)
		}
		must(t, d.RemoveNote("promise"))
		_, err = d.ReadNote("promise")
		wantErr(t, err, fs.ErrNotExist)
		m.WriteFile(d.file("promise"), make([]byte, noteBytesMax+1))
		_, err = d.ReadNote("promise")
		wantErr(t, err, ErrDamage, "promise")
		must(t, d.Close())
	}
}
