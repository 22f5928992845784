package doctor

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/syncsh/syncsh/persist"
)

// The measurement of the disk is as the log is: writes of a small batch into a
// file that has its length, each followed by fdatasync. It ends after so many, or
// so long.
const (
	fsyncWrites  = 100
	fsyncTime    = 2 * time.Second
	fsyncBytes   = 4 << 10
	fsyncFile    = 1 << 20
	fsyncSlow    = 10 * time.Millisecond  // of an SSD it is below 1 ms, of a disk that turns about 10
	fsyncTooSlow = 100 * time.Millisecond // heartbeats are 100 ms apart and wait for the log
	fsyncStall   = 300 * time.Millisecond // half of an election timeout
)

// Room that the log, a snapshot and the next one beside it need.
const (
	roomLeast  = 256 << 20
	roomEnough = 1 << 30
)

// disk looks at the file system that holds, or will hold, a data directory.
func disk(data string) []Check {
	dir, err := existing(data)
	if err != nil {
		return []Check{{"data", data, Fail, err.Error(), "choose a --data that is a directory, or may become one"}}
	}
	return []Check{fsync(persist.OSFS(), dir, data), room(dir, data)}
}

// existing is the nearest directory to path that is there.
func existing(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for {
		st, err := os.Stat(path)
		switch {
		case err == nil && !st.IsDir():
			return "", fmt.Errorf("%s is not a directory", path)
		case err == nil:
			return path, nil
		case !errors.Is(err, fs.ErrNotExist) || filepath.Dir(path) == path:
			return "", err
		}
		path = filepath.Dir(path)
	}
}

func fsync(files persist.FS, dir, data string) Check {
	took, err := measure(files, dir)
	if err != nil {
		return Check{"fsync", data, Fail, err.Error(), "choose a --data that can be written to"}
	}
	return judge(data, took)
}

// measure writes to a file of its own in dir and removes it.
func measure(files persist.FS, dir string) (took []time.Duration, err error) {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	path := filepath.Join(dir, ".doctor-"+hex.EncodeToString(b[:]))
	f, err := files.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close(), files.Remove(path)) }()
	if _, err := f.WriteAt(make([]byte, fsyncFile), 0); err != nil {
		return nil, err
	}
	if err := f.Sync(); err != nil {
		return nil, err
	}
	part := make([]byte, fsyncBytes)
	for i, began := 0, time.Now(); i < fsyncWrites && (i == 0 || time.Since(began) < fsyncTime); i++ {
		part[0] = byte(i)
		at := time.Now()
		if _, err := f.WriteAt(part, int64(i*fsyncBytes%fsyncFile)); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(at))
	}
	return took, nil
}

// judge says what the times mean for a log.
func judge(data string, took []time.Duration) Check {
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	c := Check{Name: "fsync", Of: data, Status: OK, Seen: fmt.Sprintf("%d writes of 4 KiB, each synced: median %v, longest %v",
		len(took), median.Round(10*time.Microsecond), worst.Round(10*time.Microsecond))}
	switch {
	case median > fsyncTooSlow:
		c.Status, c.Advice = Fail, "every call waits for this; put --data on a local SSD, or give safety up with --durability async"
	case median > fsyncSlow:
		c.Status, c.Advice = Warn, "every call waits for this; a local SSD takes less than 1 ms"
	case worst > fsyncStall:
		c.Status, c.Advice = Warn, "a stall of 600 ms costs a leader its place; keep other programs that write much off this disk"
	}
	return c
}

// room looks at what is free.
func room(dir, data string) Check {
	free, err := freeBytes(dir)
	if err != nil {
		return Check{"disk space", data, Warn, err.Error(), "look yourself: a log that can't be written ends the node"}
	}
	used, err := usedBytes(data)
	if err != nil {
		return Check{"disk space", data, Warn, err.Error(), "make the directory readable"}
	}
	return judgeRoom(data, free, used)
}

func judgeRoom(data string, free, used uint64) Check {
	c := Check{Name: "disk space", Of: data, Status: OK, Seen: fmt.Sprintf("%s free, %s used by the node", bytesText(free), bytesText(used))}
	switch {
	case free < roomLeast:
		c.Status, c.Advice = Fail, "a log that can't be written ends the node: make room"
	case free < max(roomEnough, used):
		c.Status, c.Advice = Warn, fmt.Sprintf("a new snapshot is written beside the old one: have %s free", bytesText(max(roomEnough, used)))
	}
	return c
}

// usedBytes is the size of the files in a data directory, 0 if it is not there.
func usedBytes(data string) (sum uint64, err error) {
	err = filepath.WalkDir(data, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) { // the node may remove files meanwhile
				return nil
			}
			return err
		}
		if st, err := d.Info(); err == nil && st.Mode().IsRegular() {
			sum += uint64(st.Size())
		}
		return nil
	})
	return sum, err
}

func bytesText(n uint64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}
