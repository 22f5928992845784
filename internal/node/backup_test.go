package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/persist"
	"github.com/syncsh/syncsh/raft"
)

// A backup under load holds what was acknowledged before it and nothing that was
// not asked for, although the node's own retention removes the dump meanwhile;
// and the node that is made of it is another one.
func TestBackupUnderLoad(t *testing.T) {
	n := startNode(t, Config{Name: "n1", Data: t.TempDir(), Single: true, SnapshotEntries: 20})
	defer n.Kill()
	await(t, n)
	cl := dial(t, n)
	defer cl.Close()
	deploy(t, cl)

	var asked, acknowledged atomic.Int64
	ctx, cancel := context.WithCancel(context.Background())
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for ctx.Err() == nil {
				asked.Add(1)
				if _, err := cl.Call(context.Background(), "counter", "inc"); err != nil {
					t.Error(err)
					return
				}
				acknowledged.Add(1)
			}
		})
	}
	defer writers.Wait()
	defer cancel()
	for acknowledged.Load() < 50 && !t.Failed() {
		if _, err := cl.Query(context.Background(), "counter", "get"); err != nil {
			t.Fatal(err)
		}
	}

	before := acknowledged.Load()
	file := filepath.Join(t.TempDir(), "b.snap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := cl.Backup(context.Background(), &slowFile{File: f, meanwhile: func() {
		for range 3 { // more snapshots than are kept
			if _, err := cl.Snapshot(context.Background()); err != nil {
				t.Error(err)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	after := asked.Load()
	cancel()
	writers.Wait()
	meta, err := persist.CheckSnapshotFile(file, nil)
	if err != nil || meta.Sum != info.Sum || uint64(meta.Index) != info.Index {
		t.Fatalf("the file is %+v, %v; the node said %+v", meta, err, info)
	}

	dir := filepath.Join(t.TempDir(), "restored")
	self := raft.Member{ID: 77, Role: raft.Voter, Name: "r1"}
	if _, err := persist.Restore(file, dir, self, "000102030405060708090a0b0c0d0e0f", persist.Options{}); err != nil {
		t.Fatal(err)
	}
	r := startNode(t, Config{Name: "r1", Data: dir, Single: true})
	defer r.Kill()
	await(t, r)
	if r.ID() != 77 || r.ID() == n.ID() || r.Cluster() == n.Cluster() {
		t.Errorf("the restored node is %016x of %s", uint64(r.ID()), r.Cluster())
	}
	rc := dial(t, r)
	defer rc.Close()
	v, err := rc.Query(context.Background(), "counter", "get")
	if err != nil || len(v) != 1 {
		t.Fatal(v, err)
	}
	if got := v[0].(int64); got < before || got > after {
		t.Errorf("the backup counts %d calls; %d were acknowledged before it, %d asked for until its end", got, before, after)
	}
}

// slowFile does something before the first write.
type slowFile struct {
	*os.File
	once      sync.Once
	meanwhile func()
}

func (s *slowFile) WriteAt(p []byte, offset int64) (int, error) {
	s.once.Do(s.meanwhile)
	return s.File.WriteAt(p, offset)
}

// A node keeps few dumps open and lets go of those that were read to their end.
func TestBackupsAreBounded(t *testing.T) {
	n := startNode(t, Config{Name: "n1", Single: true})
	defer n.Kill()
	await(t, n)
	cl := dial(t, n)
	defer cl.Close()
	stop := errors.New("stopped on purpose")
	for range backupsMax {
		if _, err := cl.Backup(context.Background(), failingFile{stop}); !errors.Is(err, stop) {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience/10)
	defer cancel()
	if _, err := cl.Backup(ctx, failingFile{stop}); client.CodeOf(err) != client.CodeOverloaded {
		t.Errorf("one dump more than %d: %v", backupsMax, err)
	}
	n.backups.closeAll()
	for range backupsMax + 1 {
		f, err := os.Create(filepath.Join(t.TempDir(), "b"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cl.Backup(context.Background(), f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
}

type failingFile struct{ err error }

func (f failingFile) WriteAt([]byte, int64) (int, error) { return 0, f.err }
func (f failingFile) Truncate(int64) error               { return nil }
