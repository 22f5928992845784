package lib

import "math/bits"

// Rand is the generator xoshiro256** 1.0 of Blackman and Vigna, its state filled
// by SplitMix64. It is no source of secrets: who knows the seeds knows the
// numbers.
type Rand struct{ s [4]uint64 }

// NewRand returns the generator for the seeds, which all take part; their
// order counts.
func NewRand(seeds ...uint64) Rand {
	var r Rand
	var x uint64
	for _, seed := range seeds {
		x = splitMix(x^seed) + 0x9e3779b97f4a7c15
	}
	for i := range r.s {
		r.s[i] = splitMix(x)
		x += 0x9e3779b97f4a7c15
	}
	return r
}

// splitMix is the output function of SplitMix64, a bijection.
func splitMix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Uint64 returns the next 64 bits.
func (r *Rand) Uint64() uint64 {
	s := &r.s
	v := bits.RotateLeft64(s[1]*5, 7) * 9
	t := s[1] << 17
	s[2] ^= s[0]
	s[3] ^= s[1]
	s[1] ^= s[2]
	s[0] ^= s[3]
	s[2] ^= t
	s[3] = bits.RotateLeft64(s[3], 45)
	return v
}

// Float64 returns a multiple of 2^-53 in [0, 1), each equally likely.
func (r *Rand) Float64() float64 { return float64(float64(r.Uint64()>>11) * 0x1p-53) }

// Int returns a whole number in [m, n], each equally likely (Lemire 2019). The
// caller sees to m <= n.
func (r *Rand) Int(m, n int64) int64 {
	span := uint64(n) - uint64(m) + 1
	if span == 0 {
		return int64(r.Uint64())
	}
	hi, lo := bits.Mul64(r.Uint64(), span)
	if lo < span {
		for reject := -span % span; lo < reject; {
			hi, lo = bits.Mul64(r.Uint64(), span)
		}
	}
	return int64(uint64(m) + hi)
}
