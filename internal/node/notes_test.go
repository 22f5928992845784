package node

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncsh/syncsh/persist"
)

// brokenFS is a real file system on which one file can't be made durable.
type brokenFS struct {
	persist.FS
	name string
}

var errBroken = errors.New("broken on purpose")

func (f brokenFS) Create(path string) (persist.File, error) {
	file, err := f.FS.Create(path)
	if err == nil && strings.HasPrefix(filepath.Base(path), f.name+".") {
		return brokenFile{file}, nil
	}
	return file, err
}

type brokenFile struct{ persist.File }

func (brokenFile) Sync() error { return errBroken }

// A promise to found a cluster, and the mark of durability async, are durable
// before anything is done on their word; else the node stops.
func TestNotesAreDurable(t *testing.T) {
	for _, name := range []string{bootstrapFile, asyncFile} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			n, err := Start(Config{Name: "n1", Addr: freeAddrs(t, 1)[0], Expect: 1, Data: data, Durability: "async",
				FS: brokenFS{persist.OSFS(), name}, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			defer n.Kill()
			select {
			case <-n.Done():
			case <-n.Ready():
				t.Fatal("the node serves")
			case <-time.After(patience):
				t.Fatal("the node neither stops nor serves")
			}
			if err := n.Err(); !errors.Is(err, errBroken) || !strings.Contains(err.Error(), name) {
				t.Errorf("stopped with %v", err)
			}
			if _, err := os.Stat(filepath.Join(data, name)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s is there though it is not durable: %v", name, err)
			}
		})
	}
}
