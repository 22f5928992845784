package lib

import "math"

// dd is a number of about 106 bits, the unrounded sum hi+lo with |lo| at most
// half a unit in the last place of hi. The functions of math.go compute in dd,
// with an error near 2^-65, and round once; so they are within 0.51 units of the
// true value, and equal wherever float64 is IEEE 754.
//
// Every product that is added to something, or returned, is written
// float64(a*b): without the conversion the compiler may fuse the two on arm64,
// s390x, ppc64 and riscv64, also after inlining. math.FMA is used where the
// exact rounding error of a product is wanted; it is defined to the bit and
// emulated where the processor lacks it.
type dd struct{ hi, lo float64 }

// twoSum returns a+b exactly.
func twoSum(a, b float64) dd {
	s := a + b
	bb := s - a
	return dd{s, (a - (s - bb)) + (b - bb)}
}

// quickTwoSum returns a+b exactly when |a| >= |b| or a is 0.
func quickTwoSum(a, b float64) dd {
	s := a + b
	return dd{s, b - (s - a)}
}

// twoProd returns a*b exactly, unless it is near the ends of the range.
func twoProd(a, b float64) dd {
	p := float64(a * b)
	return dd{p, math.FMA(a, b, -p)}
}

func (x dd) neg() dd { return dd{-x.hi, -x.lo} }

func (x dd) add(y dd) dd {
	s, t := twoSum(x.hi, y.hi), twoSum(x.lo, y.lo)
	s = quickTwoSum(s.hi, s.lo+t.hi)
	return quickTwoSum(s.hi, s.lo+t.lo)
}

func (x dd) addFloat(y float64) dd {
	s := twoSum(x.hi, y)
	return quickTwoSum(s.hi, s.lo+x.lo)
}

func (x dd) mul(y dd) dd {
	p := twoProd(x.hi, y.hi)
	return quickTwoSum(p.hi, p.lo+(float64(x.hi*y.lo)+float64(x.lo*y.hi)))
}

func (x dd) mulFloat(y float64) dd {
	p := twoProd(x.hi, y)
	return quickTwoSum(p.hi, p.lo+float64(x.lo*y))
}

func (x dd) div(y dd) dd {
	q := x.hi / y.hi
	r := x.add(y.mulFloat(q).neg())
	q2 := r.hi / y.hi
	r = r.add(y.mulFloat(q2).neg())
	return quickTwoSum(q, q2).addFloat(r.hi / y.hi)
}

// sqrt of a number above 0.
func (x dd) sqrt() dd {
	s := math.Sqrt(x.hi)
	r := x.add(twoProd(s, s).neg())
	return quickTwoSum(s, r.hi/float64(2*s))
}

// half is exact.
func (x dd) half() dd { return dd{float64(x.hi * 0.5), float64(x.lo * 0.5)} }

func (x dd) round() float64 { return x.hi + x.lo }

// scaled returns x times 2^k, rounded once, also where the result is subnormal
// or an infinity. x is between 2^-64 and 2^64.
func (x dd) scaled(k int) float64 {
	f := x.round()
	switch {
	case k > 1023-64:
		return float64(float64(f*0x1p64) * pow2(min(k-64, 1023)))
	case k < -1022+64:
		return float64(float64(f*0x1p-64) * pow2(max(k+64, -1022)))
	}
	return float64(f * pow2(k))
}

// pow2 returns 2^k for -1022 <= k <= 1023.
func pow2(k int) float64 { return math.Float64frombits(uint64(k+1023) << 52) }
