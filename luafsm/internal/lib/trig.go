package lib

import (
	"math"
	"math/bits"
)

// trigTiny is where sin x and tan x are x to the last bit.
const trigTiny = 0x1p-28

// Sin returns the sine of x in radians.
func Sin(x float64) float64 {
	if x-x != 0 {
		return math.NaN()
	}
	if math.Abs(x) < trigTiny {
		return x
	}
	s, _ := sinCosDD(x)
	return s.round()
}

// Cos returns the cosine of x in radians.
func Cos(x float64) float64 {
	if x-x != 0 {
		return math.NaN()
	}
	_, c := sinCosDD(x)
	return c.round()
}

// Tan returns the tangent of x in radians.
func Tan(x float64) float64 {
	if x-x != 0 {
		return math.NaN()
	}
	if math.Abs(x) < trigTiny {
		return x
	}
	s, c := sinCosDD(x)
	return s.div(c).round()
}

// sinCosDD returns sine and cosine of a finite x.
func sinCosDD(x float64) (sin, cos dd) {
	r, quadrant := dd{hi: math.Abs(x)}, 0
	if r.hi > math.Pi/4 {
		r, quadrant = reduce(r.hi)
	}
	sin, cos = sinCosSmall(r)
	switch quadrant {
	case 1:
		sin, cos = cos, sin.neg()
	case 2:
		sin, cos = sin.neg(), cos.neg()
	case 3:
		sin, cos = cos.neg(), sin
	}
	if x < 0 {
		sin = sin.neg()
	}
	return sin, cos
}

// sinCosSmall is for |r| up to pi/4: r = i/64 + d, and the sums of angles give
// the rest.
func sinCosSmall(r dd) (sin, cos dd) {
	negative := r.hi < 0
	if negative {
		r = r.neg()
	}
	i := math.Floor(float64(r.hi*64) + 0.5)
	d := r.addFloat(-float64(i * (1.0 / 64)))
	q := float64(d.hi * d.hi)
	square := d.mul(d)
	s := 1.0/6 - float64(q*(1.0/120-float64(q*(1.0/5040-float64(q*(1.0/362880))))))
	c := 1.0/24 - float64(q*(1.0/720-float64(q*(1.0/40320))))
	sd := d.addFloat(-float64(float64(q*d.hi) * s))               // sin d
	cd := square.half().neg().addFloat(float64(float64(q*q) * c)) // cos d - 1
	sin, cos = sd, cd.addFloat(1)
	if i != 0 {
		ts, tc := sinTable[int(i)], cosTable[int(i)]
		sin = ts.add(tc.mul(sd).add(ts.mul(cd)))
		cos = tc.add(tc.mul(cd).add(ts.mul(sd).neg()))
	}
	if negative {
		sin = sin.neg()
	}
	return sin, cos
}

// reduce returns r in [-pi/4, pi/4] and the quadrant, with x = quadrant*pi/2 + r
// but for whole turns (Payne and Hanek 1983). x is finite and above 2^-10.
//
// x = m * 2^e; of the bits of 2/pi those are taken that matter for x*2/pi modulo 4,
// 256 of them, so that 190 are right behind the point. No number comes nearer to a multiple of
// pi/2 than about 2^-62.
func reduce(x float64) (r dd, quadrant int) {
	b := math.Float64bits(x)
	m := b&(1<<52-1) | 1<<52
	e := int(b>>52) - 1075
	from := e + 62
	word, shift := from>>6, uint(from&63)
	var w [4]uint64 // the window, most significant word first
	for i := range w {
		w[i] = twoOverPi[word+i]<<shift | twoOverPi[word+i+1]>>(64-shift)
	}
	// The product modulo 2^256; its top two bits are the quadrant.
	var p [4]uint64
	var carry uint64
	for i := 3; i >= 0; i-- {
		hi, lo := bits.Mul64(w[i], m)
		var c uint64
		p[i], c = bits.Add64(lo, carry, 0)
		carry = hi + c
	}
	quadrant = int(p[0] >> 62)
	f0, f1, f2 := p[0]<<2|p[1]>>62, p[1]<<2|p[2]>>62, p[2]<<2|p[3]>>62
	negative := f0>>63 != 0
	if negative {
		quadrant = (quadrant + 1) & 3
		f0, f1, f2 = ^f0, ^f1, ^f2
	}
	// A fraction that starts with zeros moves up, so that 106 bits remain.
	exp := 0
	if f0 == 0 {
		f0, f1, f2 = f1, f2, 0
		exp = -64
	}
	n := uint(bits.LeadingZeros64(f0))
	if n > 0 {
		f0, f1 = f0<<n|f1>>(64-n), f1<<n|f2>>(64-n)
		exp -= int(n)
	}
	hi := float64(float64(f0>>11) * pow2(exp-53))
	lo := float64(float64((f0<<53|f1>>11)>>11) * pow2(exp-106))
	r = quickTwoSum(hi, lo).mul(ddHalfPi)
	if negative {
		r = r.neg()
	}
	return r, quadrant
}

// atanDD returns atan(t) for 0 <= t <= 1: t is near to c = i/64, and atan t =
// atan c + atan((t-c)/(1+ct)).
func atanDD(t dd) dd {
	i := math.Floor(float64(t.hi*64) + 0.5)
	u := t
	if i != 0 {
		c := float64(i * (1.0 / 64))
		u = t.addFloat(-c).div(t.mulFloat(c).addFloat(1))
	}
	q := float64(u.hi * u.hi)
	s := 1.0/3 - float64(q*(1.0/5-float64(q*(1.0/7-float64(q*(1.0/9))))))
	y := u.addFloat(-float64(float64(q*u.hi) * s))
	return atanTable[int(i)].add(y)
}

// anglePositive returns the angle of the point (x, y), both above 0 and neither
// more than 2^100 times the other.
func anglePositive(y, x dd) dd {
	if y.hi > x.hi {
		return ddHalfPi.add(atanDD(x.div(y)).neg())
	}
	return atanDD(y.div(x))
}

// Atan returns the arc tangent in radians.
func Atan(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x != x:
		return math.NaN()
	case a < trigTiny:
		return x
	case a > 0x1p64:
		return math.Copysign(ddHalfPi.hi, x)
	}
	return math.Copysign(anglePositive(dd{hi: a}, dd{hi: 1}).round(), x)
}

// Asin returns the arc sine in radians.
func Asin(x float64) float64 {
	a := math.Abs(x)
	switch {
	case !(a <= 1):
		return math.NaN()
	case a < trigTiny:
		return x
	case a == 1:
		return math.Copysign(ddHalfPi.hi, x)
	}
	return math.Copysign(anglePositive(dd{hi: a}, cofactor(a)).round(), x)
}

// Acos returns the arc cosine in radians.
func Acos(x float64) float64 {
	a := math.Abs(x)
	switch {
	case !(a <= 1):
		return math.NaN()
	case x == 1:
		return 0
	case x == -1:
		return ddPi.hi
	case a < 0x1p-60:
		return ddHalfPi.hi
	}
	y := anglePositive(cofactor(a), dd{hi: a})
	if x < 0 {
		y = ddPi.add(y.neg())
	}
	return y.round()
}

// cofactor returns sqrt(1-a*a) for 0 < a < 1.
func cofactor(a float64) dd {
	return twoSum(1, -a).mul(twoSum(1, a)).sqrt()
}

// Atan2 returns the angle of the point (x, y) in radians, by the rules of C99.
func Atan2(y, x float64) float64 {
	if x != x || y != y {
		return math.NaN()
	}
	a, b := math.Abs(y), math.Abs(x)
	left := math.Signbit(x)
	var angle dd
	switch inf := math.Inf(1); {
	case a == inf && b == inf:
		angle = ddHalfPi.half()
	case a == 0 || b == inf:
		// 0, or pi when it is to the left
	case b == 0 || a == inf:
		return math.Copysign(ddHalfPi.hi, y)
	default:
		m, i := frexp(a)
		n, k := frexp(b)
		switch d := i - k; {
		case d > 64:
			angle = ddHalfPi
		case d < -64 && left:
			// pi, to the last bit
		case d < -64:
			return y / x
		default:
			angle = anglePositive(dd{hi: float64(m * pow2(d))}, dd{hi: n})
		}
	}
	if left {
		angle = ddPi.add(angle.neg())
	}
	return math.Copysign(angle.round(), y)
}
