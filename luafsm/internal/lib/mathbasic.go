package lib

import (
	"math"
	"math/bits"
)

// Sqrt returns the square root, which IEEE 754 defines to the bit.
func Sqrt(x float64) float64 { return Canonical(math.Sqrt(x)) }

// Floor returns the largest whole number not above x.
func Floor(x float64) float64 { return Canonical(math.Floor(x)) }

// Ceil returns the smallest whole number not below x.
func Ceil(x float64) float64 { return Canonical(math.Ceil(x)) }

// Abs returns the magnitude.
func Abs(x float64) float64 { return Canonical(math.Abs(x)) }

// radian is a degree in radians, as Lua 5.1 has it.
const radian = math.Pi / 180

// Deg converts radians to degrees.
func Deg(x float64) float64 { return Canonical(x / radian) }

// Rad converts degrees to radians.
func Rad(x float64) float64 { return Canonical(float64(x * radian)) }

// Max returns b when it is above a, else a; so math.max(NaN, 1) is NaN and
// math.max(1, NaN) is 1, as in Lua 5.1.
func Max(a, b float64) float64 {
	if b > a {
		return b
	}
	return Canonical(a)
}

// Min returns b when it is below a, else a.
func Min(a, b float64) float64 {
	if b < a {
		return b
	}
	return Canonical(a)
}

// Modf returns the whole part, cut toward zero, and the fraction with the sign
// of x. The fraction of an infinity is 0.
func Modf(x float64) (whole, fraction float64) {
	whole = Canonical(math.Trunc(x))
	if math.Abs(x) > math.MaxFloat64 {
		return x, math.Copysign(0, x)
	}
	return whole, Canonical(math.Copysign(x-whole, x))
}

// Frexp returns m and e with x = m * 2^e and 0.5 <= |m| < 1. Zero, NaN and the
// infinities are m themselves, with e = 0.
func Frexp(x float64) (m float64, e int) {
	if x-x != 0 || x == 0 {
		return Canonical(x), 0
	}
	return frexp(x)
}

// frexp is for finite numbers other than 0.
func frexp(x float64) (m float64, e int) {
	if math.Abs(x) < 0x1p-1022 {
		x *= 0x1p64
		e = -64
	}
	b := math.Float64bits(x)
	e += int(b>>52&0x7ff) - 1022
	return math.Float64frombits(b&^(0x7ff<<52) | 1022<<52), e
}

// ldexpMax is an exponent that takes every number to an infinity, and its
// negative to zero.
const ldexpMax = 2200

// Ldexp returns x * 2^n, rounded once; the fraction of n is cut off. An n that
// is NaN gives NaN. (Lua 5.1 converts n to a C int, as the machine does it.)
func Ldexp(x, n float64) float64 {
	if x != x || n != n {
		return math.NaN()
	}
	if x == 0 || x-x != 0 {
		return x
	}
	m, e := frexp(x)
	e += int(math.Trunc(min(max(n, -ldexpMax), ldexpMax)))
	return ldexp(m, e)
}

// ldexp is for 0.5 <= |m| < 1.
func ldexp(m float64, e int) float64 {
	switch {
	case e > 1024:
		return math.Copysign(math.Inf(1), m)
	case e > 1023:
		return float64(float64(m*2) * pow2(1023))
	case e < -1100:
		return math.Copysign(0, m)
	case e < -1022:
		return float64(float64(m*pow2(e+1022)) * 0x1p-1022)
	}
	return float64(m * pow2(e))
}

// Modulo returns a % b as Lua 5.1 defines it, which rounds where the result isn't
// exact, and is NaN for an infinite b. It takes the same time whatever a and b.
func Modulo(a, b float64) float64 {
	return Canonical(a - float64(math.Floor(a/b)*b))
}

// Fmod returns the remainder of x/y with the sign of x; it is exact.
func Fmod(x, y float64) float64 {
	a, b := math.Abs(x), math.Abs(y)
	switch {
	case x != x || y != y || a > math.MaxFloat64 || b == 0:
		return math.NaN()
	case a < b:
		return x
	}
	// a = m * 2^e and b = n * 2^k in whole numbers; the powers of two are
	// taken in eleven at a time, which leaves no overflow.
	m, e := mantissa(a)
	n, k := mantissa(b)
	for m %= n; e > k && m != 0; {
		s := min(e-k, bits.LeadingZeros64(n))
		m = m << s % n
		e -= s
	}
	if m == 0 {
		return math.Copysign(0, x)
	}
	f, i := frexp(float64(m))
	return math.Copysign(ldexp(f, i+k), x)
}

// mantissa returns m and e with x = m * 2^e, m below 2^53. x is finite and above 0.
func mantissa(x float64) (m uint64, e int) {
	b := math.Float64bits(x)
	m, e = b&(1<<52-1), int(b>>52)
	if e == 0 {
		return m, -1074
	}
	return m | 1<<52, e - 1075
}
