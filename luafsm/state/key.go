package state

import (
	"encoding/binary"
	"math"

	lua "github.com/yuin/gopher-lua"
)

// key is a table key in the form that the tree sorts: first by n, then by s.
//
//	1, 2                         false, true
//	000f_ffff_ffff_ffff - fff0_0000_0000_0000  numbers -Inf to +Inf (all NaNs lie outside)
//	fff1 and 48 bits             strings; the bits are the first six bytes
//	fff2 and 48 bits             tables, functions...: the order of insertion (see refs)
type key struct {
	n uint64
	s string
}

const (
	keyFalse   = 1
	keyTrue    = 2
	keyNumMin  = 0x000f_ffff_ffff_ffff
	keyNumMax  = 0xfff0_0000_0000_0000
	keyStrMin  = 0xfff1 << 48
	keyRefMin  = 0xfff2 << 48
	signBit    = 1 << 63
	indexBound = 1 << 53 // largest index that can belong to a sequence
)

// less says whether a sorts before b.
func (a key) less(b key) bool {
	if a.n != b.n {
		return a.n < b.n
	}
	return a.s < b.s
}

func stringKey(s string) key {
	var p uint64
	if len(s) >= 6 {
		p = uint64(s[0])<<40 | uint64(s[1])<<32 | uint64(s[2])<<24 | uint64(s[3])<<16 | uint64(s[4])<<8 | uint64(s[5])
	} else {
		var b [8]byte
		copy(b[2:], s)
		p = binary.BigEndian.Uint64(b[:])
	}
	return key{n: keyStrMin | p, s: s}
}

// numberKey needs a number that isn't NaN.
func numberKey(f float64) key {
	b := math.Float64bits(f)
	if f == 0 {
		b = 0 // -0 is 0
	}
	if b&signBit != 0 {
		b = ^b
	} else {
		b |= signBit
	}
	return key{n: b}
}

func boolKey(b bool) key {
	if b {
		return key{n: keyTrue}
	}
	return key{n: keyFalse}
}

func (a key) isString() bool { return a.n >= keyStrMin && a.n < keyRefMin }
func (a key) isNumber() bool { return a.n >= keyNumMin && a.n <= keyNumMax }
func (a key) isRef() bool    { return a.n >= keyRefMin }

func (a key) number() float64 {
	b := a.n
	if b&signBit != 0 {
		b &^= signBit
	} else {
		b = ^b
	}
	return math.Float64frombits(b)
}

// index is the key as a position in a sequence, 0 when it can't be one.
func (a key) index() int {
	if a.n <= signBit || a.n > keyNumMax { // a positive number
		return 0
	}
	return floatIndex(a.number())
}

func floatIndex(f float64) int {
	if f >= 1 && f <= indexBound {
		if i := int(f); float64(i) == f {
			return i
		}
	}
	return 0
}

func indexKey(i int) key { return key{n: math.Float64bits(float64(i)) | signBit} }

// value is the key as Lua has it; not for refs.
func (a key) value() lua.LValue {
	switch {
	case a.n >= keyStrMin:
		return lua.LString(a.s)
	case a.n == keyFalse:
		return lua.LFalse
	case a.n == keyTrue:
		return lua.LTrue
	}
	return number(a.number())
}

// numbers that need no allocation of their own.
const smallNumbers = 1024

var smallNumber = func() (out [smallNumbers]lua.LValue) {
	for i := range out {
		out[i] = lua.LNumber(i)
	}
	return out
}()

// number is a canonical LNumber in a box of its own. The boxes that gopher-lua
// makes share an allocation of 32: one number stored would keep all of it.
func number(f float64) lua.LValue {
	if f >= 0 && f < smallNumbers {
		if i := int(f); float64(i) == f {
			return smallNumber[i] // this is also where -0 becomes 0
		}
	}
	if f != f {
		f = math.Float64frombits(0x7ff8000000000000)
	}
	return lua.LNumber(f)
}
