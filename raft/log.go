package raft

// log holds the entries since the last compaction, in memory.
//
// A position is the last index of an entry, or base. All arithmetic of the
// protocol is on positions, never on indexes inside an entry.
//
// # Log matching with spans
//
// Two logs that have a position with the same index and term are equal up to
// it. For an entry is made by the leader of its term only, a leader never
// overwrites its own log, and there is one leader a term (election safety), so
// (index, term) names one entry, with one span and one content. A follower takes
// an entry only directly behind a position that it shares with the sender, with
// First()-1 equal to that position (Message check, append.go). So by induction
// over positions, as in §3.5: equal (index, term) means the same entry, hence the
// same First()-1, and the term of that position was checked when the entry was
// taken. An index that is a position in one log and inside an entry of another
// simply does not match, as if the terms differed. What is cut away always starts
// at First() of an entry, so no entry is ever split.
//
// # Sharing
//
// Slices of entries are handed out without copying. That is safe because an
// element is never changed once written: append goes behind everything that was
// handed out, and truncate clips the capacity, so that the next append moves to
// new memory.
type log struct {
	// base is the position before the first entry: what was compacted away.
	base     Index
	baseTerm Term
	entries  []Entry
	bytes    uint64
}

func size(e *Entry) uint64 { return uint64(len(e.Data)) + entryOverhead }

func (l *log) last() Index {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].Index
	}
	return l.base
}

func (l *log) lastTerm() Term {
	if n := len(l.entries); n > 0 {
		return l.entries[n-1].Term
	}
	return l.baseTerm
}

// search returns where the first entry with an index of at least i is, or
// len(entries).
func (l *log) search(i Index) int {
	const near = 4 // most questions are about the tail
	lo, hi := 0, len(l.entries)
	for n := 0; n < near && hi > 0; n++ {
		if l.entries[hi-1].Index < i {
			return hi
		}
		hi--
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if l.entries[mid].Index < i {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// term returns the term at a position; false when i is none.
func (l *log) term(i Index) (Term, bool) {
	if i == l.base {
		return l.baseTerm, true
	}
	if i < l.base {
		return 0, false
	}
	if k := l.search(i); k < len(l.entries) && l.entries[k].Index == i {
		return l.entries[k].Term, true
	}
	return 0, false
}

// floor returns the highest position that is not above i; i is at least base.
func (l *log) floor(i Index) Index {
	k := l.search(i)
	if k < len(l.entries) && l.entries[k].Index == i {
		return i
	}
	if k == 0 {
		return l.base
	}
	return l.entries[k-1].Index
}

// after returns the entries behind position i.
func (l *log) after(i Index) []Entry {
	n := len(l.entries)
	return l.entries[l.search(i+1):n:n]
}

// between returns the entries behind position i up to position j.
func (l *log) between(i, j Index) []Entry {
	if i >= j {
		return nil
	}
	to := l.search(j + 1)
	return l.entries[l.search(i+1):to:to]
}

// upTo returns the highest position not above i whose term is not above t: where
// logs may agree when they don't at i (§3.5, skipping a term at once). False when
// that is below base.
func (l *log) upTo(i Index, t Term) (Index, bool) {
	if i < l.base {
		return 0, false
	}
	lo, hi := 0, l.search(i+1) // entries[:hi] are not above i
	for lo < hi {              // terms never fall
		mid := int(uint(lo+hi) >> 1)
		if l.entries[mid].Term <= t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo > 0 {
		return l.entries[lo-1].Index, true
	}
	return l.base, l.baseTerm <= t
}

func (l *log) append(e Entry) {
	l.entries = append(l.entries, e)
	l.bytes += size(&e)
}

// truncate removes all entries behind position to.
func (l *log) truncate(to Index) {
	k := l.search(to + 1)
	for i := range l.entries[k:] {
		l.bytes -= size(&l.entries[k+i])
	}
	l.entries = l.entries[:k:k]
}

// compact removes the entries up to position to. The rest moves to memory of
// its own, so that the old array and its data can go.
func (l *log) compact(to Index) {
	t, ok := l.term(to)
	if !ok || to == l.base {
		return
	}
	k := l.search(to + 1)
	for i := range l.entries[:k] {
		l.bytes -= size(&l.entries[i])
	}
	l.entries = append(make([]Entry, 0, len(l.entries)-k), l.entries[k:]...)
	l.base, l.baseTerm = to, t
}

// bytesAfter sums the sizes of the entries behind position i, giving up above
// limit.
func (l *log) bytesAfter(i Index, limit uint64) uint64 {
	var n uint64
	for k := l.search(i + 1); k < len(l.entries) && n <= limit; k++ {
		n += size(&l.entries[k])
	}
	return n
}
