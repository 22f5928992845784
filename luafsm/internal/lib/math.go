package lib

import "math"

// Above expMax e^x is an infinity, below expMin it is zero.
const (
	expMax = 709.79
	expMin = -745.14
)

// Exp returns e^x.
func Exp(x float64) float64 {
	switch {
	case x != x:
		return math.NaN()
	case x > expMax:
		return math.Inf(1)
	case x < expMin:
		return 0
	}
	y, k := expDD(dd{hi: x})
	return y.scaled(k)
}

// expDD returns y and k with e^x = y * 2^k and y in (0.98, 2). |x| is at most
// 1500. x = n*ln2/32 + r, then 2^(n/32) comes from the table and e^r from its
// series.
func expDD(x dd) (y dd, k int) {
	n := math.Floor(float64(x.hi*stepInverse) + 0.5)
	r := twoSum(x.hi, -float64(n*stepHi)).addFloat(x.lo).add(ddStepLow.mulFloat(-n))
	i := int(n)
	// |r| < 0.011. The terms from r^3 on are below 2^-22 and need no more
	// than a float.
	h := r.hi
	t := 1.0/120 + float64(h*(1.0/720+float64(h*(1.0/5040+float64(h*(1.0/40320))))))
	t = 1.0/6 + float64(h*(1.0/24+float64(h*t)))
	square := r.mul(r)
	e := square.half().addFloat(float64(float64(square.hi*h) * t)).add(r)
	p := expTable[i&31]
	return p.add(p.mul(e)), i >> 5
}

// Log returns the natural logarithm.
func Log(x float64) float64 {
	if y, ok := logSpecial(x); ok {
		return y
	}
	return logDD(x).round()
}

// Log10 returns the logarithm to base 10; it is exact for powers of ten.
func Log10(x float64) float64 {
	if y, ok := logSpecial(x); ok {
		return y
	}
	return logDD(x).mul(ddInvLn10).round()
}

func logSpecial(x float64) (float64, bool) {
	switch {
	case x != x || x < 0:
		return math.NaN(), true
	case x == 0:
		return math.Inf(-1), true
	case x > math.MaxFloat64:
		return x, true
	}
	return 0, false
}

// logFrom is the first row of logTable, in 128ths: the mantissa is between
// 0.707 and 1.415.
const logFrom = 90

// logDD returns the logarithm of x, which is finite and above 0. x = 2^k * m; m
// is near to the row c, and log m = log c + log(1 + (m-c)/c).
func logDD(x float64) dd {
	m, k := frexp(x)
	if m < math.Sqrt2/2 {
		m, k = float64(m*2), k-1
	}
	i := math.Floor(float64(m*128) + 0.5)
	c := float64(i * (1.0 / 128))
	f := m - c // exact
	r := dd{hi: f}
	if c != 1 {
		q := f / c
		r = quickTwoSum(q, math.FMA(-q, c, f)/c)
	}
	// log(1+r) = r - r^2/2 + r^3/3 ...; |r| < 0.0056.
	h := r.hi
	t := 1.0/7 - float64(h*(1.0/8-float64(h*(1.0/9-float64(h*(1.0/10))))))
	t = 1.0/3 - float64(h*(1.0/4-float64(h*(1.0/5-float64(h*(1.0/6-float64(h*t)))))))
	square := r.mul(r)
	y := r.add(square.half().neg().addFloat(float64(float64(square.hi*h) * t)))
	y = logTable[int(i)-logFrom].add(y)
	if k == 0 {
		return y
	}
	n := float64(k)
	return ddLn2Low.mulFloat(n).add(y).addFloat(float64(n * ln2Hi))
}

// powExactMax bounds the products that Pow multiplies out exactly.
const powExactMax = 1 << 53

// Pow returns x^y by the rules of C99's pow. Squares, reciprocals and square
// roots are rounded once; whole powers of whole numbers are exact while they fit in
// 53 bits.
func Pow(x, y float64) float64 {
	if z, ok := powSpecial(x, y); ok {
		return z
	}
	sign := 1.0
	if x < 0 {
		if math.Floor(y) != y {
			return math.NaN()
		}
		if math.Floor(y/2) != y/2 {
			sign = -1
		}
		x = -x
	}
	if x == 1 {
		return sign
	}
	if z, ok := powWhole(x, y); ok {
		return float64(sign * z)
	}
	l := logDD(x)
	// |log x| is at least 2^-53 or x is 1, so a larger y is beyond both ends,
	// and its product with l can't overflow.
	if e := float64(l.hi * y); e > expMax+1 || math.Abs(y) > 0x1p64 && e > 0 {
		return math.Inf(int(sign))
	} else if e < expMin-1 || math.Abs(y) > 0x1p64 {
		return math.Copysign(0, sign)
	}
	z, k := expDD(l.mulFloat(y))
	return float64(sign * z.scaled(k))
}

// powWhole multiplies whole numbers while the product is exact.
func powWhole(x, y float64) (float64, bool) {
	if !(y >= 0 && y <= 53) || math.Floor(y) != y || math.Floor(x) != x {
		return 0, false
	}
	z := 1.0
	for ; y > 0; y-- {
		z = float64(z * x)
		if z > powExactMax {
			return 0, false
		}
	}
	return z, true
}

// powSpecial handles what the general way can't, and what is simpler.
func powSpecial(x, y float64) (float64, bool) {
	switch {
	case y == 0 || x == 1:
		return 1, true
	case x != x || y != y:
		return math.NaN(), true
	case y == 1:
		return x, true
	case y == 2:
		return float64(x * x), true
	case y == -1:
		return 1 / x, true
	case math.Abs(y) > math.MaxFloat64:
		a := math.Abs(x)
		if a == 1 {
			return 1, true
		}
		if (a > 1) == (y > 0) {
			return math.Inf(1), true
		}
		return 0, true
	case x == 0 || math.Abs(x) > math.MaxFloat64:
		z := math.Abs(x)
		if y < 0 {
			z = 1 / z
		}
		if math.Signbit(x) && math.Floor(y) == y && math.Floor(y/2) != y/2 {
			z = -z
		}
		return z, true
	case y == 0.5:
		return Sqrt(x), true
	}
	return 0, false
}

// hyperbolicSmall is where the series of sinh is better than the difference of
// two exponentials.
const hyperbolicSmall = 1.0 / 32

// sinhDD returns sinh x for 0 < x < 40, coshDD likewise.
func sinhDD(x float64) dd {
	if x < hyperbolicSmall {
		q := float64(x * x)
		t := 1.0/6 + float64(q*(1.0/120+float64(q*(1.0/5040+float64(q*(1.0/362880))))))
		return quickTwoSum(x, float64(float64(q*x)*t))
	}
	p, n := expPair(x)
	return p.add(n.neg()).half()
}

func coshDD(x float64) dd {
	p, n := expPair(x)
	return p.add(n).half()
}

// expPair returns e^x and e^-x.
func expPair(x float64) (p, n dd) {
	p, k := expDD(dd{hi: x})
	p = dd{float64(p.hi * pow2(k)), float64(p.lo * pow2(k))}
	return p, dd{hi: 1}.div(p)
}

// hyperbolicLarge is where e^-x no longer counts.
const hyperbolicLarge = 40

// Sinh returns the hyperbolic sine.
func Sinh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x != x:
		return math.NaN()
	case a < 0x1p-28:
		return x
	case a < hyperbolicLarge:
		return math.Copysign(sinhDD(a).round(), x)
	}
	return math.Copysign(halfExp(a), x)
}

// Cosh returns the hyperbolic cosine.
func Cosh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x != x:
		return math.NaN()
	case a < hyperbolicLarge:
		return coshDD(a).round()
	}
	return halfExp(a)
}

// halfExp returns e^x/2, which is finite a little longer than e^x.
func halfExp(x float64) float64 {
	if x > expMax+1 {
		return math.Inf(1)
	}
	y, k := expDD(dd{hi: x})
	return y.scaled(k - 1)
}

// Tanh returns the hyperbolic tangent.
func Tanh(x float64) float64 {
	a := math.Abs(x)
	switch {
	case x != x:
		return math.NaN()
	case a < 0x1p-28:
		return x
	case a > 22:
		return math.Copysign(1, x)
	}
	return math.Copysign(sinhDD(a).div(coshDD(a)).round(), x)
}
