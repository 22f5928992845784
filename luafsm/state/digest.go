package state

import (
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/bits"

	lua "github.com/yuin/gopher-lua"
	"github.com/zeebo/xxh3"
)

// Digest of a state. It is a function of the logical content: of the entries of
// a table in whatever order, of the digests of the tables in it, and of the
// sections that aren't empty.
type Digest [16]byte

func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// u128 is a number modulo 2^128. Sums of it don't depend on the order, and an
// entry is taken out by subtracting what was added.
type u128 struct{ hi, lo uint64 }

func (a u128) add(b u128) u128 {
	lo, c := bits.Add64(a.lo, b.lo, 0)
	hi, _ := bits.Add64(a.hi, b.hi, c)
	return u128{hi, lo}
}

func (a u128) sub(b u128) u128 {
	lo, c := bits.Sub64(a.lo, b.lo, 0)
	hi, _ := bits.Sub64(a.hi, b.hi, c)
	return u128{hi, lo}
}

func (a u128) digest() (d Digest) {
	binary.BigEndian.PutUint64(d[:8], a.hi)
	binary.BigEndian.PutUint64(d[8:], a.lo)
	return d
}

// scramble is a bijection of 64 bits (the finalizer of MurmurHash3).
func scramble(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

// Tags that keep values of different types apart.
const (
	tagBool   = 0x9e3779b97f4a7c15
	tagNumber = 0xd1b54a32d192ed03
	tagString = 0x8cb92ba72f3d8dd7
	tagTable  = 0xaaaaaaaaaaaaaaab
)

// mix combines the hash of a key with 128 bits of a value.
func mix(kh uint64, v u128, tag uint64) u128 {
	x := scramble(v.lo ^ kh*0x9ddfea08eb382d69 ^ tag)
	y := scramble(v.hi + bits.RotateLeft64(kh, 32)*0xc2b2ae3d27d4eb4f + x)
	return u128{y, scramble(x + y)}
}

func (a key) hash() uint64 {
	if a.isString() {
		return xxh3.HashString(a.s)
	}
	return scramble(a.n + tagNumber)
}

// scalar is what the entry of a value that isn't a table adds to its table's
// sum. Tables add Table.contrib; everything else isn't in a state.
func scalar(kh uint64, v lua.LValue) u128 {
	if bits, tag := valueBits(v); tag != 0 {
		return mix(kh, bits, tag)
	}
	return u128{}
}

// rehashed is what a sum gains when v moves from one key to another: a long
// string is hashed once for both.
func rehashed(from, to uint64, v lua.LValue) u128 {
	if bits, tag := valueBits(v); tag != 0 {
		return mix(to, bits, tag).sub(mix(from, bits, tag))
	}
	return u128{}
}

// valueBits are 128 bits of a value that isn't a table, and the tag of its type;
// 0 for everything else.
func valueBits(v lua.LValue) (u128, uint64) {
	switch v := v.(type) {
	case lua.LNumber:
		return u128{0, math.Float64bits(float64(v))}, tagNumber
	case lua.LString:
		h := xxh3.HashString128(string(v))
		return u128{h.Hi, h.Lo}, tagString
	case lua.LBool:
		if v {
			return u128{0, 1}, tagBool
		}
		return u128{}, tagBool
	}
	return u128{}, 0
}

// contribution of a table to the sum of the one that it sits in.
func (t *Table) contribution() u128 { return mix(t.h.kh, t.h.sum, tagTable) }
