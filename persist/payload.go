package persist

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/raft"
)

// The payload of a record is a sequence of items, each a msgpack array that
// begins with its kind.
const (
	itemHardState = 1 // term, vote, commit
	itemTruncate  = 2 // index: entries above it are gone
	itemEntry     = 3 // index, term, span, kind, data
	itemReset     = 4 // index: the log is empty and goes on after it
	itemHead      = 5 // index, term: first item of a segment, where the log ended before it
	itemSeal      = 6 // number of the next segment, which is durable
)

// itemHeadMax bounds what an entry takes beside its data.
const itemHeadMax = 48

func appendHardState(b []byte, h raft.HardState) []byte {
	b = codec.AppendArrayLen(b, 4)
	b = codec.AppendUint(b, itemHardState)
	b = codec.AppendUint(b, uint64(h.Term))
	b = codec.AppendUint(b, uint64(h.Vote))
	return codec.AppendUint(b, uint64(h.Commit))
}

func appendEntry(b []byte, e *raft.Entry) []byte {
	b = codec.AppendArrayLen(b, 6)
	b = codec.AppendUint(b, itemEntry)
	b = codec.AppendUint(b, uint64(e.Index))
	b = codec.AppendUint(b, uint64(e.Term))
	b = codec.AppendUint(b, uint64(e.Span))
	b = codec.AppendUint(b, uint64(e.Kind))
	return codec.AppendBytes(b, e.Data)
}

// appendItem appends an item that has one number.
func appendItem(b []byte, kind, n uint64) []byte {
	b = codec.AppendArrayLen(b, 2)
	b = codec.AppendUint(b, kind)
	return codec.AppendUint(b, n)
}

func appendHead(b []byte, index raft.Index, term raft.Term) []byte {
	b = codec.AppendArrayLen(b, 3)
	b = codec.AppendUint(b, itemHead)
	b = codec.AppendUint(b, uint64(index))
	return codec.AppendUint(b, uint64(term))
}

// item is one item that was read.
type item struct {
	kind  uint64
	n     uint64    // of an item that begins with an index, or has one number
	term  raft.Term // of a head
	hard  raft.HardState
	entry raft.Entry // Data aliases the payload
}

// itemLen is the length of an item's array.
func itemLen(kind uint64) int {
	switch kind {
	case itemHardState:
		return 4
	case itemEntry:
		return 6
	case itemHead:
		return 3
	}
	return 2
}

func readItem(d *codec.Decoder) (it item, err error) {
	n, err := d.ArrayLen()
	if err != nil {
		return it, err
	}
	if it.kind, err = d.Uint(); err != nil {
		return it, err
	}
	if it.kind < itemHardState || it.kind > itemSeal || n != itemLen(it.kind) {
		return it, fmt.Errorf("item of kind %d with %d values", it.kind, n)
	}
	var v [4]uint64
	numbers := n - 1
	if it.kind == itemEntry {
		numbers = 4
	}
	for i := range v[:numbers] {
		if v[i], err = d.Uint(); err != nil {
			return it, err
		}
	}
	switch it.kind {
	case itemHardState:
		it.hard = raft.HardState{Term: raft.Term(v[0]), Vote: raft.ID(v[1]), Commit: raft.Index(v[2])}
	case itemEntry:
		if v[2] == 0 || v[2] > 1<<32-1 || v[2] > v[0] || v[3] > 255 {
			return it, fmt.Errorf("entry %d of term %d: span %d, kind %d", v[0], v[1], v[2], v[3])
		}
		it.entry = raft.Entry{Index: raft.Index(v[0]), Term: raft.Term(v[1]), Span: uint32(v[2]), Kind: raft.EntryKind(v[3])}
		it.entry.Data, err = d.Bytes()
	default:
		it.n, it.term = v[0], raft.Term(v[1])
	}
	return it, err
}
