package replica

import (
	"sort"

	"github.com/syncsh/syncsh/raft"
)

const (
	// digestEvery: where the log passes a multiple of it, every voter tells its
	// digest unasked.
	digestEvery = 4096
	// digestsKept is for how many entries an applier remembers the digest: for as
	// many it may be ahead of the leader when that asks.
	digestsKept = 8192
)

// Digest is that of the state after the entry that ends at Index.
type Digest struct {
	Index raft.Index
	Sum   [16]byte
	Found bool // false: Index is none of the last entries
}

// digests are the last ones, a ring by rising index. Entries end at the same
// indexes on every replica, so digests of the same index can be compared.
type digests struct {
	ring []Digest
	next int // the oldest, once the ring is full
}

func (d *digests) reset() { d.ring, d.next = d.ring[:0], 0 }

func (d *digests) add(i raft.Index, sum [16]byte) {
	e := Digest{i, sum, true}
	if len(d.ring) < digestsKept {
		d.ring = append(d.ring, e)
		return
	}
	d.ring[d.next] = e
	d.next = (d.next + 1) % digestsKept
}

func (d *digests) find(i raft.Index) Digest {
	at := func(k int) *Digest { return &d.ring[(d.next+k)%len(d.ring)] }
	k := sort.Search(len(d.ring), func(k int) bool { return at(k).Index >= i })
	if k < len(d.ring) && at(k).Index == i {
		return *at(k)
	}
	return Digest{Index: i}
}

// remember keeps the digest after an entry and reports it where all do.
func (a *Applier) remember(e raft.Entry, done *Done) {
	sum := a.machine.Digest()
	a.digests.add(e.Index, sum)
	if e.Index/digestEvery != (e.First()-1)/digestEvery {
		done.Digests = append(done.Digests, Digest{e.Index, sum, true})
	}
}
