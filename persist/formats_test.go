package persist

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"path/filepath"
	"testing"

	"github.com/syncsh/syncsh/raft"
)

// The files of this test are built from the tables of docs/FORMATS.md alone: no
// function and no constant of this package makes a byte of them. If it fails,
// the tables or the code are wrong.

type bytesOf []byte

func (b *bytesOf) u32(v uint32)    { *b = binary.LittleEndian.AppendUint32(*b, v) }
func (b *bytesOf) u64(v uint64)    { *b = binary.LittleEndian.AppendUint64(*b, v) }
func (b *bytesOf) raw(p ...byte)   { *b = append(*b, p...) }
func (b *bytesOf) text(s string)   { *b = append(*b, s...) }
func (b *bytesOf) sum(from int)    { b.u32(crc32c((*b)[from:])) }
func crc32c(b []byte) uint32       { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
func (b *bytesOf) str(s string)    { b.raw(0xa0 | byte(len(s))); b.text(s) } // fixstr
func (b *bytesOf) str8(s string)   { b.raw(0xd9, byte(len(s))); b.text(s) }
func (b *bytesOf) uint64(v uint64) { b.raw(0xcf); *b = binary.BigEndian.AppendUint64(*b, v) }

const (
	handNode    = 0x1122334455667788
	handCluster = "0123456789abcdef0123456789abcdef"
)

func handIdentity() []byte {
	var p, b bytesOf
	p.raw(0x94) // array of 4
	p.uint64(handNode)
	p.str("n1")
	p.str8(handCluster)
	p.raw(0xc3) // true: the log was begun
	b.text("SYNCSHID")
	b.u32(1)
	b.u32(uint32(len(p)))
	b.raw(p...)
	b.sum(0)
	return b
}

// handSegment is segment 1, of 4096 bytes, with the records of the payloads.
func handSegment(payloads ...[]byte) []byte {
	var b bytesOf
	b.text("SYNCSHWL")
	b.u32(1) // version
	b.u32(1) // flags: all before was synced
	b.u64(handNode)
	b.u64(1) // number
	b.u64(4096)
	b.u64(0) // end of the segment before
	b.u32(0) // its last head sum
	b.u64(0)
	b.sum(0)
	prev, synced := binary.LittleEndian.Uint32(b[60:]), uint64(64)
	for _, p := range payloads {
		at := uint64(len(b))
		var of, head bytesOf
		of.u64(handNode)
		of.u64(1)
		of.u64(at)
		var rest bytesOf
		rest.raw(p...)
		for len(rest)%8 != 7 {
			rest.raw(0)
		}
		rest.raw(0xa5)
		of.u32(uint32(len(p)))
		of.u32(crc32c(rest))
		of.u32(prev)
		of.u32(uint32(synced))
		of.raw(0, 0, 0, 0xa5) // no sector of zeros
		sum := crc32c(of)
		head.u32(uint32(len(p)))
		head.u32(sum)
		head.u32(crc32c(rest))
		head.u32(prev)
		head.u32(uint32(synced))
		head.raw(0, 0, 0, 0xa5)
		b.raw(head...)
		b.raw(rest...)
		prev, synced = sum, at
	}
	return append(b, make([]byte, 4096-len(b))...)
}

func handSnapshot() []byte {
	var p, b bytesOf
	p.raw(0x95, 5, 2)     // index 5, term 2
	p.raw(0x91, 0x94)     // one member
	p.uint64(handNode)    // id
	p.raw(1)              // voter
	p.str("n1")           // name
	p.str("127.0.0.1:1")  // address
	p.raw(0x90, 0x91, 9)  // nobody is outgoing, 9 was removed
	b.text("SYNCSHSN")    //
	b.u32(1)              // version
	b.u32(uint32(len(p))) //
	b.raw(p...)           //
	b.sum(0)              //
	blocks := [][]byte{[]byte("the "), []byte("state")}
	block := func(number uint64, kind uint32, data []byte, content int) {
		var of, head bytesOf
		head.u32(kind)
		head.u32(uint32(len(data)))
		head.u32(uint32(content))
		of.u64(number)
		of.raw(head...)
		of.raw(data...)
		head.u32(crc32c(of))
		b.raw(head...)
		b.raw(data...)
	}
	for i, data := range blocks {
		block(uint64(i), 2, data, len(data)) // stored
	}
	var end bytesOf
	end.u64(2)
	end.u64(9)
	block(2, 3, end, 0)
	return b
}

// TestFormatTables: a directory made by hand from docs/FORMATS.md is loaded, and
// what is in it is what the tables say.
func TestFormatTables(t *testing.T) {
	m := NewMemFS()
	m.WriteFile(filepath.Join(testPath, "identity"), handIdentity())
	m.WriteFile(filepath.Join(testPath, "snapshot-00000000000000000005-00000000000000000002.snap"), handSnapshot())
	m.WriteFile(filepath.Join(testPath, "000001.wal"), handSegment(
		[]byte{0x93, 5, 0, 0, 0x94, 1, 0, 0, 0},                                      // head 0, hard state 0 0 0
		[]byte{0x94, 1, 2, 3, 5, 0x92, 4, 5, 0x96, 3, 7, 2, 2, 2, 0xc4, 2, 'h', 'i'}, // hard state, reset to 5, entry 6 to 7
		[]byte{0x96, 3, 8, 2, 1, 1, 0xc4, 0},                                         // entry 8
		[]byte{0x92, 2, 7, 0x96, 3, 8, 4, 1, 1, 0xc4, 0},                             // truncate to 7, entry 8 of term 4
	))
	d, err := Open(testPath, Options{FS: m, SegmentBytes: 4096, Sync: true})
	must(t, err)
	id := d.Identity()
	if id != (Identity{NodeID: handNode, Name: "n1", Cluster: handCluster, FormatVersion: 1}) {
		t.Fatalf("identity %+v", id)
	}
	rec, err := d.Load()
	must(t, err)
	want := []raft.Entry{
		{Index: 7, Term: 2, Span: 2, Kind: raft.EntryBatch, Data: []byte("hi")},
		{Index: 8, Term: 4, Span: 1, Kind: raft.EntryNoop},
	}
	if !sameEntries(rec.Entries, want) || rec.HardState != (raft.HardState{Term: 2, Vote: 3, Commit: 5}) || rec.Torn != nil || len(rec.Notes) != 0 {
		t.Fatalf("entries %v, hard state %+v, torn %v, notes %v", rec.Entries, rec.HardState, rec.Torn, rec.Notes)
	}
	s := rec.Snapshot
	if s == nil || s.Index != 5 || s.Term != 2 || len(s.Config.Members) != 1 ||
		s.Config.Members[0] != (raft.Member{ID: handNode, Role: raft.Voter, Name: "n1", Addr: "127.0.0.1:1"}) ||
		len(s.Config.Removed) != 1 || s.Config.Removed[0] != 9 {
		t.Fatalf("snapshot %+v", s)
	}
	r, err := d.OpenSnapshot(*s)
	must(t, err)
	defer r.Close()
	if b, err := io.ReadAll(r); err != nil || string(b) != "the state" {
		t.Fatalf("content %q, %v", b, err)
	}

	// And what the package writes behind it is what the tables say.
	must(t, d.Append(save(raft.Entry{Index: 9, Term: 4, Span: 1, Kind: raft.EntryBatch, Data: []byte("x")})))
	must(t, d.Sync())
	b, err := m.ReadFile(filepath.Join(testPath, "000001.wal"))
	must(t, err)
	if rest := []byte{0x96, 3, 9, 4, 1, 2, 0xc4, 1, 'x', 0, 0, 0, 0, 0, 0, 0xa5}; !bytes.Contains(b, rest) {
		t.Fatalf("no %x in the segment", rest)
	}
	at := d.log.offset
	must(t, d.Append(save(raft.Entry{Index: 10, Term: 4, Span: 1, Kind: raft.EntryBatch, Data: make([]byte, 1500)})))
	must(t, d.Sync())
	b, err = m.ReadFile(filepath.Join(testPath, "000001.wal"))
	must(t, err)
	if head := b[at : at+24]; at > 512-24 || !bytes.Equal(head[20:], []byte{2, 0, 0, 0xa5}) { // bytes 512 to 1535 are zeros
		t.Fatalf("head %x at %d", head, at)
	}
}
