package persist

import (
	"fmt"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

func benchDir(b *testing.B, o Options) *Dir {
	d, err := Open(b.TempDir(), o)
	must(b, err)
	must(b, d.SetIdentity(Identity{NodeID: testNode}))
	_, err = d.Load()
	must(b, err)
	return d
}

// BenchmarkAppendSync is one Save and one Sync on the disk of the temporary
// directory.
func BenchmarkAppendSync(b *testing.B) {
	for _, bytes := range []int{1 << 10, 64 << 10} {
		b.Run(fmt.Sprintf("%dKiB", bytes>>10), func(b *testing.B) {
			d := benchDir(b, Options{Sync: true, Go: func(f func()) { go f() }})
			defer d.Close()
			e := entry(1, 1, bytes)
			s := raft.Save{Entries: []raft.Entry{e}}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for b.Loop() {
				must(b, d.Append(s))
				must(b, d.Sync())
				s.Entries[0].Index++
			}
		})
	}
}

// BenchmarkAppend encodes and checksums, and writes to memory.
func BenchmarkAppend(b *testing.B) {
	for _, bytes := range []int{100, 1 << 10, 64 << 10} {
		b.Run(fmt.Sprint(bytes), func(b *testing.B) {
			d := benchDir(b, Options{FS: discardFS{OSFS()}, SegmentBytes: 1 << 30})
			defer d.Close()
			s := raft.Save{Entries: []raft.Entry{entry(1, 1, bytes)}}
			b.SetBytes(int64(bytes))
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				must(b, d.Append(s))
				if i%64 == 0 {
					must(b, d.Flush())
				}
				s.Entries[0].Index++
			}
		})
	}
}

// discardFS forgets what is written to the log, and keeps the rest.
type discardFS struct{ FS }

func (f discardFS) Create(path string) (File, error) {
	file, err := f.FS.Create(path)
	return discardFile{file}, err
}

func (f discardFS) Open(path string) (File, error) {
	file, err := f.FS.Open(path)
	return discardFile{file}, err
}

type discardFile struct{ File }

func (discardFile) WriteAt(p []byte, off int64) (int, error) { return len(p), nil }

// BenchmarkOpen makes a new directory.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		d := benchDir(b, Options{Sync: true})
		must(b, d.Close())
	}
}

func BenchmarkSnapshot(b *testing.B) {
	d := benchDir(b, Options{Sync: true})
	defer d.Close()
	body := content(16 << 20)
	b.SetBytes(int64(len(body)))
	for i := raft.Index(1); b.Loop(); i++ {
		writeSnapshot(b, d, i, body)
	}
}
