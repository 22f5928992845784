package persist

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// InspectOptions say how closely a directory is looked at.
type InspectOptions struct {
	// FS is the file system; nil means OSFS(). It is only read from.
	FS FS
	// Deep reads every snapshot to its end; otherwise only the heads.
	Deep bool
	// Beside reads a directory although a node uses it: what the node writes
	// meanwhile may show as torn or missing. Otherwise ErrLocked.
	Beside bool
}

// Contents is what a look at a data directory found. Nothing was changed: a torn
// tail is still there, and so is what the next Load would tidy away.
type Contents struct {
	Path     string
	Identity Identity
	// InUse says that a node had the directory open; see InspectOptions.Beside.
	InUse bool
	// HardState is as Load would return it, if the log was read to its end; else it
	// is the last one that could be read. Term and Commit never go back, so the
	// real ones are at least these; the vote may be any.
	HardState raft.HardState
	// Read says how far that is.
	Read      Extent
	Snapshots []SnapshotInfo // ascending
	Segments  []SegmentInfo  // ascending
	// Snapshot is the newest one without damage, or nil.
	Snapshot *raft.SnapshotMeta
	// Entries are those that follow on Snapshot, up to the first damage.
	Entries []raft.Entry
	// Torn is what the next Load will cut off the end of the log, or nil.
	Torn *Torn
	// Damage is all that makes the directory unusable or would be lost with it;
	// most are DamageErrors.
	Damage []error
	// Notes are facts that stop nothing.
	Notes []string

	fs FS
}

// Extent is how far the log could be read.
type Extent uint8

const (
	ReadNothing Extent = iota // no hard state was read: there is one, and it is unknown
	ReadPart                  // up to a damage
	ReadAll                   // to its end
)

// SnapshotInfo is a snapshot's file. Meta.Sum is known after a deep look only.
type SnapshotInfo struct {
	Name string
	Meta raft.SnapshotMeta
	Err  error // why it is not good
}

// SegmentInfo is a file of the log.
type SegmentInfo struct {
	Name    string
	Number  uint64
	Size    int64      // of the file
	End     int64      // behind its last good record
	Records int        // good ones
	First   raft.Index // of its entries; 0 if it has none
	Last    raft.Index
	Synced  bool // all before the segment was synced when it was begun

	head segmentHead
	sum  uint32
}

// Record is one record of the log.
type Record struct {
	Segment string
	Offset  int64
	Bytes   int64 // that it takes in the file
	Synced  int64 // up to where the segment was synced when it was written
	Items   []Item
}

// Item is one part of a record.
type Item struct {
	Kind      string // hardstate, truncate, entry, reset, head, seal
	Index     raft.Index
	HardState raft.HardState
	Entry     raft.Entry // Data aliases the record
}

var itemNames = [...]string{itemHardState: "hardstate", itemTruncate: "truncate", itemEntry: "entry",
	itemReset: "reset", itemHead: "head", itemSeal: "seal"}

// livePasses is how often a directory in use is read again when it looks
// damaged: a node may have begun or retired a segment in between.
const livePasses = 5

// Inspect reads a data directory as Load would, and beyond the first damage
// where it can. It changes nothing. An error means that the directory could not
// be read at all; what is damaged in it is in Contents.
//
// All entries behind the newest snapshot are held in memory, as Load does.
func Inspect(path string, o InspectOptions) (*Contents, error) {
	if o.FS == nil {
		o.FS = OSFS()
	}
	ro := ReadOnly(o.FS)
	path = filepath.Clean(path)
	if _, err := ro.List(path); err != nil {
		return nil, err
	}
	lock, err := ro.Lock(filepath.Join(path, lockName))
	inUse := errors.Is(err, ErrLocked)
	switch {
	case inUse && !o.Beside:
		return nil, fmt.Errorf("data directory %s: %w", path, err)
	case err == nil:
		defer lock.Close()
	}
	for pass := 1; ; pass++ {
		c := &Contents{Path: path, InUse: inUse, fs: ro}
		err := c.read(o.Deep)
		if inUse && pass < livePasses && (errors.Is(err, fs.ErrNotExist) || len(c.Damage) > 0) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("data directory %s: %w", path, err)
		}
		return c, nil
	}
}

// Stops is the part of Damage that Load refuses the directory for: all but
// damaged snapshots. Load passes over those as long as the log goes on from an
// older one; that it does not is a damage of its own.
func (c *Contents) Stops() []error {
	var stops []error
	for _, d := range c.Damage {
		passed := slices.ContainsFunc(c.Snapshots, func(s SnapshotInfo) bool { return s.Err == d && errors.Is(d, ErrDamage) })
		if !passed {
			stops = append(stops, d)
		}
	}
	return stops
}

// found adds a damage. Any other error is returned.
func (c *Contents) found(err error) error {
	if err == nil || errors.Is(err, ErrDamage) || errors.Is(err, ErrFormat) || errors.Is(err, ErrIdentity) {
		if err != nil {
			c.Damage = append(c.Damage, err)
		}
		return nil
	}
	return err
}

func (c *Contents) read(deep bool) error {
	d := &Dir{path: c.Path, fs: c.fs}
	names, err := d.fs.List(d.path)
	if err != nil {
		return err
	}
	if err := c.found(d.readIdentity()); err != nil {
		return err
	}
	c.Identity = d.identity
	bad, err := c.readSnapshots(d, names, deep)
	if err != nil {
		return err
	}
	numbers, old := segmentNumbers(names)
	if c.Identity.NodeID == 0 {
		if len(c.Damage) == 0 && (len(numbers) > 0 || len(c.Snapshots) > 0) {
			c.Damage = append(c.Damage, damage(IdentityFile, 0, "the file is missing: whose log this is can't be told"))
		}
		return nil
	}
	if len(numbers) == 0 {
		if d.begun || len(c.Snapshots) > 0 {
			c.Damage = append(c.Damage, damage(segmentName(1), 0, "the log is missing, and with it this member's vote"))
		} else {
			c.Read = ReadAll // the first start was cut short: nothing was promised yet
		}
		return nil
	}
	for _, n := range old {
		c.Notes = append(c.Notes, fmt.Sprintf("%s is not part of the log any more: the next start removes it", segmentName(n)))
	}
	return c.readLog(d, numbers, old, bad)
}

// readSnapshots looks at the snapshots and returns why some are not good.
func (c *Contents) readSnapshots(d *Dir, names []string, deep bool) (bad []SnapshotInfo, err error) {
	for _, name := range names {
		want, ok := parseSnapshotName(name)
		if !ok {
			continue
		}
		info := SnapshotInfo{Name: name}
		if deep {
			info.Meta, info.Err = d.readMeta(name)
		} else {
			info.Meta, info.Err = d.readSnapshotStart(name)
		}
		if info.Err == nil && (info.Meta.Index != want.Index || info.Meta.Term != want.Term) {
			info.Err = damage(name, 0, "this is the snapshot of index %d and term %d under another name", info.Meta.Index, info.Meta.Term)
		}
		if info.Err != nil {
			if err := c.found(info.Err); err != nil {
				return nil, err
			}
			info.Meta.Index, info.Meta.Term = want.Index, want.Term
			bad = append(bad, info)
		} else {
			c.Snapshot = &info.Meta
		}
		c.Snapshots = append(c.Snapshots, info)
	}
	return bad, nil
}

// readSnapshotStart reads the head of a snapshot and its size.
func (d *Dir) readSnapshotStart(name string) (raft.SnapshotMeta, error) {
	r, err := d.openSnapshot(name)
	if err != nil {
		return raft.SnapshotMeta{}, err
	}
	defer r.Close()
	return r.meta, nil
}

// readLog replays the log without cutting or cleaning anything.
func (c *Contents) readLog(d *Dir, numbers, old []uint64, bad []SnapshotInfo) error {
	r := &replay{d: d, snapshot: c.Snapshot}
	for _, n := range numbers {
		if err := r.readHead(n); err != nil {
			if err := c.found(err); err != nil {
				return err
			}
			break // what follows can't be told from garbage
		}
	}
	damaged := len(r.heads) < len(numbers)
	for i, h := range r.heads {
		s := SegmentInfo{Name: segmentName(h.number), Number: h.number, Size: h.size, Synced: h.flags&flagSynced != 0, head: h, sum: r.sums[i]}
		if err := c.measure(&s); err != nil {
			return err
		}
		c.Segments = append(c.Segments, s)
	}
	damaged, err := c.readSegments(r, damaged)
	if err != nil {
		return err
	}
	c.Torn, c.HardState = r.torn, r.last.hard
	switch {
	case !damaged:
		c.Read = ReadAll
	case c.HardState != raft.HardState{}:
		c.Read = ReadPart
	}
	if len(r.heads) == 0 {
		return nil
	}
	if r.base > r.snapshotIndex() {
		c.Damage = append(c.Damage, r.gap(numbers, old, bad))
		c.Entries = r.entries
		return nil
	}
	if damaged {
		// The log up to the damage may end before the snapshot.
		c.Entries = slices.DeleteFunc(r.entries, func(e raft.Entry) bool { return e.Index <= r.snapshotIndex() })
		return nil
	}
	if err := r.lacks(bad); err != nil {
		c.Damage = append(c.Damage, err)
	}
	fits, err := r.fit()
	if err := c.found(err); err != nil {
		return err
	}
	if !fits {
		c.Notes = append(c.Notes, fmt.Sprintf("the log (up to index %d) does not lead to the snapshot at %d: the next start begins it anew behind it",
			r.last.end, c.Snapshot.Index))
		r.last.end = r.snapshotIndex()
	}
	c.Entries = r.entries
	c.HardState.Commit = max(min(c.HardState.Commit, r.last.end), r.snapshotIndex())
	return nil
}

// readSegments replays the segments up to damage or a cut. damaged is whether a
// head behind them is, and then whether anything is.
func (c *Contents) readSegments(r *replay, damaged bool) (bool, error) {
	for i := range r.heads {
		cut, err := r.segment(i)
		if err != nil {
			// Before a damaged head the log ends in a seal that says nothing new.
			if damaged && i == len(r.heads)-1 && errors.Is(err, ErrDamage) {
				return true, nil
			}
			if err := c.found(err); err != nil {
				return true, err
			}
			return true, c.checkBehind(i + 1)
		}
		r.ends = append(r.ends, r.last.end)
		if cut {
			for _, h := range r.heads[i+1:] {
				c.Notes = append(c.Notes, fmt.Sprintf("%s is behind the cut at %s@%d: the next start removes it", segmentName(h.number), r.torn.File, r.torn.Offset))
			}
			return damaged, nil
		}
	}
	return damaged, nil
}

// measure counts the records of a segment.
func (c *Contents) measure(s *SegmentInfo) error {
	buf, err := c.load(s)
	if err != nil {
		return err
	}
	s.End, err = s.scan(buf, func(rec *Record) error {
		s.Records++
		for _, it := range rec.Items {
			if it.Kind == "entry" {
				if s.First == 0 {
					s.First = it.Entry.First()
				}
				s.Last = it.Entry.Index
			}
		}
		return nil
	})
	return c.found(err)
}

// checkBehind checks segments behind a damage, each for itself: more may be
// damaged, and it helps to know what is not.
func (c *Contents) checkBehind(from int) error {
	for i := from; i < len(c.Segments)-1; i++ {
		s, next := &c.Segments[i], &c.Segments[i+1]
		buf, err := c.load(s)
		if err != nil {
			return err
		}
		whole := next.head.prevEnd == segmentHeadBytes
		end, err := s.scan(buf, func(rec *Record) error {
			whole = whole || rec.Offset+rec.Bytes == next.head.prevEnd
			return nil
		})
		if err == nil && !whole { // with an error measure has found it
			c.Damage = append(c.Damage, damage(s.Name, end, "damaged record"))
		}
	}
	return nil
}

func (c *Contents) load(s *SegmentInfo) ([]byte, error) {
	f, err := c.fs.Open(filepath.Join(c.Path, s.Name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, s.Size)
	if err := readFull(f, buf, 0); err != nil {
		return nil, cutShort(s.Name, 0, err)
	}
	return buf, nil
}

// scan follows the good records of a segment and returns where they end.
func (s *SegmentInfo) scan(buf []byte, visit func(*Record) error) (end int64, err error) {
	offset, prev := int64(segmentHeadBytes), s.sum
	for {
		h, headSum, ok := parseRecordHead(buf, place{node: s.head.node, segment: s.head.number, offset: offset})
		if !ok || h.prev != prev {
			return offset, nil
		}
		payload := buf[offset+recordHeadBytes:][:h.length]
		size := recordBytes(len(payload))
		if crc32.Checksum(buf[offset+recordHeadBytes:offset+size], castagnoli) != h.sum {
			return offset, nil
		}
		rec := Record{Segment: s.Name, Offset: offset, Bytes: size, Synced: h.synced}
		d := codec.NewDecoder(payload)
		for d.Left() > 0 {
			it, err := readItem(&d)
			if err != nil {
				return offset, damage(s.Name, offset, "%v", err)
			}
			rec.Items = append(rec.Items, Item{Kind: itemNames[it.kind], Index: raft.Index(it.n), HardState: it.hard, Entry: it.entry})
		}
		if err := visit(&rec); err != nil {
			return offset, err
		}
		offset, prev = offset+rec.Bytes, headSum
	}
}

// Config is the configuration that a member with these contents goes by, the
// newest that it has, committed or not.
func (c *Contents) Config() raft.Configuration {
	for _, e := range slices.Backward(c.Entries) {
		if e.Kind != raft.EntryConfig {
			continue
		}
		if config, err := raft.DecodeConfiguration(e.Data); err == nil {
			return config
		}
	}
	if c.Snapshot != nil {
		return c.Snapshot.Config
	}
	return raft.Configuration{}
}

// LastIndex is where the log ends.
func (c *Contents) LastIndex() raft.Index {
	if n := len(c.Entries); n > 0 {
		return c.Entries[n-1].Index
	}
	if c.Snapshot != nil {
		return c.Snapshot.Index
	}
	return 0
}

// Records calls visit for all good records, segment by segment, up to the first
// bad one of each. One segment is held in memory.
func (c *Contents) Records(visit func(*Record) error) error {
	for i := range c.Segments {
		buf, err := c.load(&c.Segments[i])
		if err != nil {
			return err
		}
		if _, err := c.Segments[i].scan(buf, visit); err != nil {
			return err
		}
	}
	return nil
}

// OpenSnapshot opens one of the snapshots that the look found.
func (c *Contents) OpenSnapshot(meta raft.SnapshotMeta) (*SnapshotReader, error) {
	d := &Dir{path: c.Path, fs: c.fs}
	return d.openSnapshot(snapshotName(meta))
}

// OpenSnapshotFile opens a snapshot's file outside of a data directory, as a
// backup is one. Its Meta has no Sum.
func OpenSnapshotFile(path string, f FS) (*SnapshotReader, error) {
	if f == nil {
		f = OSFS()
	}
	d := &Dir{path: filepath.Dir(path), fs: ReadOnly(f)}
	return d.openSnapshot(filepath.Base(path))
}

// CheckSnapshotFile reads a snapshot's file outside of a data directory to its
// end and returns what it is. ErrDamage says where it is not what was written.
func CheckSnapshotFile(path string, f FS) (raft.SnapshotMeta, error) {
	if f == nil {
		f = OSFS()
	}
	d := &Dir{path: filepath.Dir(path), fs: ReadOnly(f)}
	return d.readMeta(filepath.Base(path))
}

// Meta is what the head of the file says, and its size.
func (r *SnapshotReader) Meta() raft.SnapshotMeta { return r.meta }
