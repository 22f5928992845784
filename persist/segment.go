package persist

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"

	"github.com/syncsh/syncsh/raft"
)

// FormatVersion is the version of all formats of a data directory. A directory
// with a higher one is refused.
const FormatVersion = 1

const (
	segmentMagic      = "SYNCSHWL"
	segmentHeadBytes  = 64
	recordHeadBytes   = 24
	recordAlign       = 8
	segmentSuffix     = ".wal"
	spareSuffix       = ".free"
	tmpSuffix         = ".tmp"
	segmentRoundBytes = 4096

	// writtenMark is the last byte of every head and of every record. Both were
	// zero before, so a zero in its place says that the write did not come so far.
	// No flipped bit makes it zero.
	writtenMark = 0xa5

	// flagSynced: all before this segment was synced before it was begun.
	flagSynced = 1 << 0
	flagsAll   = flagSynced
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// segmentHead is the head of a segment's file. It is synced before the file gets
// its name and never written again.
type segmentHead struct {
	node    raft.ID
	number  uint64
	size    int64  // of the file, all of it allocated
	prevEnd int64  // where the records of the segment before end; 0 for the first
	prevSum uint32 // head sum of its last record
	flags   uint32
}

func (h segmentHead) append(b []byte) []byte {
	start := len(b)
	b = append(b, segmentMagic...)
	b = binary.LittleEndian.AppendUint32(b, FormatVersion)
	b = binary.LittleEndian.AppendUint32(b, h.flags)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.node))
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, uint64(h.size))
	b = binary.LittleEndian.AppendUint64(b, uint64(h.prevEnd))
	b = binary.LittleEndian.AppendUint32(b, h.prevSum)
	b = append(b, make([]byte, 8)...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// parseSegmentHead reads the head of the file of segment number of node. The
// sum it returns begins the chain of the records.
func parseSegmentHead(b []byte, node raft.ID, number uint64) (h segmentHead, sum uint32, err error) {
	file := segmentName(number)
	if len(b) < segmentHeadBytes || string(b[:8]) != segmentMagic {
		return h, 0, damage(file, 0, "not a log segment")
	}
	if v := binary.LittleEndian.Uint32(b[8:]); v > FormatVersion {
		return h, 0, fmt.Errorf("%s: format %d, this program reads up to %d: %w", file, v, FormatVersion, ErrFormat)
	}
	sum = binary.LittleEndian.Uint32(b[60:])
	if crc32.Checksum(b[:60], castagnoli) != sum || binary.LittleEndian.Uint32(b[8:]) != FormatVersion {
		return h, 0, damage(file, 0, "damaged segment head")
	}
	h = segmentHead{
		flags:   binary.LittleEndian.Uint32(b[12:]),
		node:    raft.ID(binary.LittleEndian.Uint64(b[16:])),
		number:  binary.LittleEndian.Uint64(b[24:]),
		size:    int64(binary.LittleEndian.Uint64(b[32:])),
		prevEnd: int64(binary.LittleEndian.Uint64(b[40:])),
		prevSum: binary.LittleEndian.Uint32(b[48:]),
	}
	switch {
	case h.node != node:
		return h, 0, fmt.Errorf("%s: written by node %016x, this directory is of node %016x: %w", file, uint64(h.node), uint64(node), ErrIdentity)
	case h.number != number:
		return h, 0, damage(file, 24, "this is segment %d under the name of segment %d", h.number, number)
	case h.flags&^flagsAll != 0 || h.size < segmentHeadBytes || h.prevEnd < 0:
		return h, 0, damage(file, 12, "impossible segment head")
	}
	return h, sum, nil
}

// recordHead is the head of a record.
type recordHead struct {
	length uint32 // of the payload, never 0
	sum    uint32 // CRC32C of what is behind the head: the payload and the record's end
	prev   uint32 // head sum of the record before, or of the segment's head
	synced int64  // everything before this offset was synced before this record was written
	zeros  uint32 // sectors of the record that are zeros although they were written
}

// zerosMax is what 24 bits hold; no record has as many sectors.
const zerosMax = 1<<24 - 1

// place is where a record is. It goes into the head's sum, so that a record is
// good in one place only: no misdirected write passes for a record.
type place struct {
	node    raft.ID
	segment uint64
	offset  int64
}

func (h recordHead) headSum(at place) uint32 {
	var b [44]byte
	binary.LittleEndian.PutUint64(b[0:], uint64(at.node))
	binary.LittleEndian.PutUint64(b[8:], at.segment)
	binary.LittleEndian.PutUint64(b[16:], uint64(at.offset))
	binary.LittleEndian.PutUint32(b[24:], h.length)
	binary.LittleEndian.PutUint32(b[28:], h.sum)
	binary.LittleEndian.PutUint32(b[32:], h.prev)
	binary.LittleEndian.PutUint64(b[36:], h.tail())
	return crc32.Checksum(b[:], castagnoli)
}

// tail is the last 8 bytes of the head.
func (h recordHead) tail() uint64 {
	return uint64(uint32(h.synced)) | uint64(h.zeros)<<32 | writtenMark<<56
}

// put writes the head into b and returns its sum.
func (h recordHead) put(b []byte, at place) uint32 {
	headSum := h.headSum(at)
	binary.LittleEndian.PutUint32(b[0:], h.length)
	binary.LittleEndian.PutUint32(b[4:], headSum)
	binary.LittleEndian.PutUint32(b[8:], h.sum)
	binary.LittleEndian.PutUint32(b[12:], h.prev)
	binary.LittleEndian.PutUint64(b[16:], h.tail())
	return headSum
}

// putRecord fills in the head of a record whose payload of n bytes and end are
// there, and returns the head's sum.
func putRecord(rec []byte, n int, prev uint32, synced int64, at place) (headSum uint32) {
	h := recordHead{
		length: uint32(n),
		sum:    crc32.Checksum(rec[recordHeadBytes:], castagnoli),
		prev:   prev,
		synced: synced,
		zeros:  zeroSectors(rec, at.offset),
	}
	return h.put(rec, at)
}

// endRecord appends the end of a record: zeros up to a multiple of recordAlign,
// of which the last one is the mark. b begins at such a multiple.
func endRecord(b []byte) []byte {
	for len(b)%recordAlign != recordAlign-1 {
		b = append(b, 0)
	}
	return append(b, writtenMark)
}

// zeroSectors counts the sectors within a record at an offset of its segment,
// behind its head, that are all zeros.
func zeroSectors(rec []byte, offset int64) (n uint32) {
	first := (offset + recordHeadBytes + sectorBytes - 1) / sectorBytes * sectorBytes
	for at := first - offset; at+sectorBytes <= int64(len(rec)); at += sectorBytes {
		if s := rec[at : at+sectorBytes]; s[0] == 0 && allZero(s) {
			n++
		}
	}
	return min(n, zerosMax)
}

// parseRecordHead reads the head of a record at offset at.offset of the whole
// segment seg. ok says that a head was written there, its payload may be torn.
func parseRecordHead(seg []byte, at place) (h recordHead, headSum uint32, ok bool) {
	if at.offset+recordHeadBytes > int64(len(seg)) {
		return h, 0, false
	}
	b := seg[at.offset:]
	h = recordHead{
		length: binary.LittleEndian.Uint32(b[0:]),
		sum:    binary.LittleEndian.Uint32(b[8:]),
		prev:   binary.LittleEndian.Uint32(b[12:]),
		synced: int64(binary.LittleEndian.Uint32(b[16:])),
		zeros:  binary.LittleEndian.Uint32(b[20:]) & zerosMax,
	}
	// The bounds are checked first because they are cheap and nearly always fail
	// on bytes that are no head.
	if b[recordHeadBytes-1] != writtenMark || h.length == 0 || recordBytes(int(h.length)) > int64(len(seg))-at.offset ||
		h.synced < segmentHeadBytes || h.synced > at.offset {
		return h, 0, false
	}
	headSum = binary.LittleEndian.Uint32(b[4:])
	return h, headSum, h.headSum(at) == headSum
}

// recordBytes is the room that a record with a payload of n bytes takes, its end
// included.
func recordBytes(n int) int64 {
	return (recordHeadBytes + int64(n) + recordAlign) &^ (recordAlign - 1)
}

func segmentName(number uint64) string { return fmt.Sprintf("%06d%s", number, segmentSuffix) }

func spareName(number uint64) string { return fmt.Sprintf("%06d%s", number, spareSuffix) }

// parseNumber reads the number of a name that segmentName or spareName made.
func parseNumber(name, suffix string) (uint64, bool) {
	digits, found := strings.CutSuffix(name, suffix)
	if !found {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, err == nil && n > 0 && fmt.Sprintf("%06d", n) == digits
}
