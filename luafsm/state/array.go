package state

import (
	"slices"

	lua "github.com/yuin/gopher-lua"
)

// chunkLen is the number of values of a chunk. The directory of a sequence of
// 1 M values is then 32 KiB, which is what the first write after a Publish
// copies besides one chunk of 4 KiB.
const chunkLen = 256

type chunk struct {
	epoch uint64
	v     [chunkLen]lua.LValue
}

// array is a sequence: one slice up to chunkLen values, chunks beyond.
type array struct {
	n        int
	head     []lua.LValue // all values while dir is nil
	dir      []*chunk
	dirEpoch uint64
}

// get needs 1 <= i <= n.
func (a *array) get(i int) lua.LValue {
	i--
	if a.dir == nil {
		return a.head[i]
	}
	return a.dir[i/chunkLen].v[i%chunkLen]
}

// copyTo makes b what a writer may change: the slice is copied, the chunks are
// shared until they are written.
func (a *array) copyTo(b *array) {
	*b = *a
	b.head = slices.Clone(a.head)
}

func (s *Store) ownDir(a *array) {
	if a.dirEpoch <= s.live {
		a.dir = append(make([]*chunk, 0, len(a.dir)+1), a.dir...)
		a.dirEpoch = s.epoch
	}
}

// ownChunk returns the chunk c of a, for writing.
func (s *Store) ownChunk(a *array, c int) *chunk {
	k := a.dir[c]
	if k.epoch > s.live {
		return k
	}
	s.ownDir(a)
	k = &chunk{epoch: s.epoch, v: k.v}
	a.dir[c] = k
	return k
}

// arraySet needs 1 <= i <= n.
func (s *Store) arraySet(a *array, i int, v lua.LValue) lua.LValue {
	i--
	if a.dir == nil {
		old := a.head[i]
		a.head[i] = v
		return old
	}
	k := s.ownChunk(a, i/chunkLen)
	old := k.v[i%chunkLen]
	k.v[i%chunkLen] = v
	return old
}

// arrayPush adds v at n+1.
func (s *Store) arrayPush(a *array, v lua.LValue) {
	if a.dir == nil && a.n < chunkLen {
		a.head = append(a.head, v)
		a.n++
		return
	}
	if a.dir == nil {
		k := &chunk{epoch: s.epoch}
		copy(k.v[:], a.head)
		a.head, a.dir, a.dirEpoch = nil, append(make([]*chunk, 0, 4), k), s.epoch
	}
	if a.n == len(a.dir)*chunkLen {
		s.ownDir(a)
		a.dir = append(a.dir, &chunk{epoch: s.epoch})
	}
	s.ownChunk(a, a.n/chunkLen).v[a.n%chunkLen] = v
	a.n++
}

// arrayPop removes the value at n.
func (s *Store) arrayPop(a *array) lua.LValue {
	a.n--
	if a.dir == nil {
		v := a.head[a.n]
		a.head[a.n] = nil
		a.head = a.head[:a.n]
		if a.n == 0 {
			a.head = nil
		}
		return v
	}
	c := a.n / chunkLen
	v := a.dir[c].v[a.n%chunkLen]
	if a.n%chunkLen == 0 {
		s.ownDir(a)
		a.dir[c] = nil
		a.dir = a.dir[:c]
	} else {
		s.ownChunk(a, c).v[a.n%chunkLen] = nil
	}
	if a.n == chunkLen/2 { // not at chunkLen, lest a sequence that goes up and down by one be rebuilt each time
		a.head = append(make([]lua.LValue, 0, chunkLen), a.dir[0].v[:a.n]...)
		a.dir = nil
	}
	return v
}

// arrayInsert puts v at pos, 1 <= pos <= n, and moves up what was there.
func (s *Store) arrayInsert(a *array, pos int, v lua.LValue) {
	last := a.get(a.n)
	if a.dir == nil {
		copy(a.head[pos:], a.head[pos-1:a.n-1])
		a.head[pos-1] = v
	} else {
		i := pos - 1
		for c := i / chunkLen; c <= (a.n-1)/chunkLen; c++ {
			k := s.ownChunk(a, c)
			end := min(chunkLen, a.n-c*chunkLen)
			carry := k.v[end-1]
			copy(k.v[i%chunkLen+1:end], k.v[i%chunkLen:end-1])
			k.v[i%chunkLen] = v
			v, i = carry, (c+1)*chunkLen
		}
	}
	s.arrayPush(a, last)
}

// arrayRemove takes the value at pos, 1 <= pos <= n, out and moves down what
// followed.
func (s *Store) arrayRemove(a *array, pos int) {
	if a.dir == nil {
		copy(a.head[pos-1:a.n], a.head[pos:a.n])
	} else {
		for c := (pos - 1) / chunkLen; c <= (a.n-1)/chunkLen; c++ {
			k := s.ownChunk(a, c)
			from := 0
			if c == (pos-1)/chunkLen {
				from = (pos - 1) % chunkLen
			}
			copy(k.v[from:], k.v[from+1:])
			if (c+1)*chunkLen < a.n {
				k.v[chunkLen-1] = a.dir[c+1].v[0]
			}
		}
	}
	s.arrayPop(a)
}
