package fault

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/syncsh/syncsh/persist"
)

const seeds = 50

// content reads a file past the faults.
func content(t *testing.T, path string) []byte {
	t.Helper()
	f, err := persist.OSFS().Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); size > 0 && err != nil {
		t.Fatal(err)
	}
	return b
}

// half makes a file of two sectors of 'a' that are synced, and overwrites them
// with 'b' that are not.
func half(t *testing.T, seed uint64) (*Disk, persist.File, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	d := NewDisk(persist.OSFS(), seed)
	f, err := d.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteAt(bytes.Repeat([]byte("a"), 2*sectorBytes), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(bytes.Repeat([]byte("b"), 2*sectorBytes), 0); err != nil {
		t.Fatal(err)
	}
	return d, f, path
}

// sectors names what each sector of a file holds, and fails when one is torn.
func sectors(t *testing.T, b []byte) string {
	t.Helper()
	var s strings.Builder
	for ; len(b) > 0; b = b[sectorBytes:] {
		if !bytes.Equal(b[:sectorBytes], bytes.Repeat(b[:1], sectorBytes)) {
			t.Fatal("a sector was torn")
		}
		s.WriteByte(b[0])
	}
	return s.String()
}

// What was not synced stays, vanishes or stays in part; what was synced is there.
func TestPowerCut(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(seeds) {
		d, _, path := half(t, seed)
		cut := false
		d.PowerCut(func() { cut = true })
		if !cut {
			t.Fatal("the process does not end")
		}
		seen[sectors(t, content(t, path))]++
	}
	if seen["aa"] == 0 || seen["bb"] == 0 || seen["ba"] == 0 || len(seen) != 3 {
		t.Errorf("seen after power cuts: %v, want aa, bb and ba", seen)
	}
}

// A file that grew and was renamed may have its old size after a power cut.
func TestPowerCutGrown(t *testing.T) {
	sizes := map[int]int{}
	for seed := range uint64(seeds) {
		d, f, path := half(t, seed)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte("ccc"), 2*sectorBytes); err != nil {
			t.Fatal(err)
		}
		if err := d.Rename(path, path+"2"); err != nil {
			t.Fatal(err)
		}
		d.PowerCut(func() {})
		b := content(t, path+"2")
		sizes[len(b)]++
		if got := sectors(t, b[:2*sectorBytes]); got != "bb" {
			t.Fatalf("seed %d: %s was synced, %s is there", seed, "bb", got)
		}
	}
	if sizes[2*sectorBytes] == 0 || sizes[2*sectorBytes+3] == 0 {
		t.Errorf("sizes after power cuts: %v", sizes)
	}
}

func TestFailedSync(t *testing.T) {
	lost := 0
	for seed := range uint64(seeds) {
		d, f, path := half(t, seed)
		d.FailSyncs()
		if err := f.Sync(); !errors.Is(err, syscall.EIO) {
			t.Fatalf("%v, want EIO", err)
		}
		if sectors(t, content(t, path)) != "bb" {
			lost++
		}
		if err := d.SyncDir(filepath.Dir(path)); !errors.Is(err, syscall.EIO) {
			t.Fatalf("%v, want EIO", err)
		}
		d.Heal()
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if lost == 0 || lost == seeds {
		t.Errorf("%d of %d failed syncs lost something", lost, seeds)
	}
}

func TestFull(t *testing.T) {
	d, f, path := half(t, 1)
	d.Fill()
	if n, err := f.WriteAt(bytes.Repeat([]byte("c"), 2*sectorBytes), sectorBytes); n != sectorBytes || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%d bytes, %v, want the sector that has room, and ENOSPC", n, err)
	}
	if err := f.Truncate(4 * sectorBytes); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want ENOSPC", err)
	}
	if _, err := d.Create(path + "2"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, want ENOSPC", err)
	}
	if got := sectors(t, content(t, path)); got != "bc" {
		t.Errorf("the file holds %s, want bc", got)
	}
	d.Heal()
	if err := f.Truncate(4 * sectorBytes); err != nil {
		t.Error(err)
	}
}

func TestObey(t *testing.T) {
	d, c := NewDisk(persist.OSFS(), 1), new(Clock)
	if err := Obey(strings.NewReader("disk slow 1 2\nclock 3600000\n"), d, c); err != nil {
		t.Fatal(err)
	}
	if ahead := time.Until(c.Now()); ahead < 59*time.Minute || d.min != time.Millisecond || d.max != 2*time.Millisecond {
		t.Errorf("clock %v ahead, syncs %v to %v slower", ahead, d.min, d.max)
	}
	if err := Obey(strings.NewReader("disk fail\ndisk ok\ndisk full\nclock -5\n"), d, c); err != nil || d.failing || !d.full || d.min != 0 || c.offset.Load() != int64(-5*time.Millisecond) {
		t.Errorf("%v; failing %v, full %v", err, d.failing, d.full)
	}
	for _, line := range []string{"disk", "disk slow 2 1", "disk slow 1", "clock", "clock 1 2", "power 1", ""} {
		if err := Obey(strings.NewReader(line+"\n"), d, c); !errors.Is(err, ErrCommand) {
			t.Errorf("%q: %v, want ErrCommand", line, err)
		}
	}
}
