package lib

import (
	"math"
	"math/big"
)

// This file has slow reference functions: series in big.Float, with which the
// tables are made and math.go is measured. refBits is far above the 53 bits of
// a number, so the rounding of a reference is right but for ties.

const refBits = 320

func bf(f float64) *big.Float { return newBig().SetFloat64(f) }

func newBig() *big.Float { return new(big.Float).SetPrec(refBits) }

func add(x, y *big.Float) *big.Float { return newBig().Add(x, y) }
func sub(x, y *big.Float) *big.Float { return newBig().Sub(x, y) }
func mul(x, y *big.Float) *big.Float { return newBig().Mul(x, y) }
func quo(x, y *big.Float) *big.Float { return newBig().Quo(x, y) }

func shift(x *big.Float, n int) *big.Float {
	return newBig().SetMantExp(x, n)
}

// small reports whether x can't change a sum of the size of y any more.
func small(x, y *big.Float) bool {
	return x.Sign() == 0 || y.Sign() != 0 && x.MantExp(nil) < y.MantExp(nil)-refBits
}

// atanSeries is x - x^3/3 + x^5/5 ... (sign -1) or the series of atanh (sign 1).
func atanSeries(x *big.Float, sign int) *big.Float {
	sum, power, square := newBig().Set(x), newBig().Set(x), mul(x, x)
	if sign < 0 {
		square.Neg(square)
	}
	for n := 3; ; n += 2 {
		power = mul(power, square)
		term := quo(power, bf(float64(n)))
		if small(term, sum) {
			return sum
		}
		sum = add(sum, term)
	}
}

var (
	bigPi = func() *big.Float {
		a, b := atanSeries(quo(bf(1), bf(5)), -1), atanSeries(quo(bf(1), bf(239)), -1)
		return sub(mul(bf(16), a), mul(bf(4), b))
	}()
	bigLn2 = mul(bf(2), atanSeries(quo(bf(1), bf(3)), 1))
)

func bigExp(x *big.Float) *big.Float {
	k, _ := quo(x, bigLn2).Int64()
	r := shift(sub(x, mul(bf(float64(k)), bigLn2)), -16)
	sum, term := bf(1), bf(1)
	for n := 1; ; n++ {
		term = quo(mul(term, r), bf(float64(n)))
		if small(term, sum) {
			break
		}
		sum = add(sum, term)
	}
	for range 16 {
		sum = mul(sum, sum)
	}
	return shift(sum, int(k))
}

func bigLog(x *big.Float) *big.Float {
	m := newBig()
	e := x.MantExp(m)
	if m.Cmp(bf(0.75)) < 0 {
		m, e = shift(m, 1), e-1
	}
	s := mul(bf(2), atanSeries(quo(sub(m, bf(1)), add(m, bf(1))), 1))
	return add(s, mul(bf(float64(e)), bigLn2))
}

// bigSinCos returns sine and cosine of x, which may be as large as a number gets.
func bigSinCos(x *big.Float) (sin, cos *big.Float) {
	r, q := x, 0
	if x.MantExp(nil) > 0 {
		halfPi := shift(bigPiLong, -1)
		k := new(big.Float).SetPrec(piLongBits).Quo(x, halfPi)
		i, _ := k.Add(k, big.NewFloat(0.5*float64(x.Sign()))).Int(nil)
		long := new(big.Float).SetPrec(piLongBits).SetInt(i)
		long.Mul(long, bigPiLongHalf)
		r = newBig().Set(long.Sub(new(big.Float).SetPrec(piLongBits).Set(x), long))
		q = int(new(big.Int).And(i, big.NewInt(3)).Int64())
	}
	square := mul(r, r)
	square.Neg(square)
	series := func(sum *big.Float, n int) *big.Float {
		term := newBig().Set(sum)
		for ; ; n += 2 {
			term = quo(mul(term, square), bf(float64(n*(n+1))))
			if small(term, sum) {
				return sum
			}
			sum = add(sum, term)
		}
	}
	sin, cos = series(r, 2), series(bf(1), 1)
	for range q {
		sin, cos = cos, newBig().Neg(sin)
	}
	return sin, cos
}

// piLongBits is the precision that the reduction of 2^1024 needs.
const piLongBits = 1600

var bigPiLong = func() *big.Float {
	series := func(n int64) *big.Float {
		inv := new(big.Float).SetPrec(piLongBits).Quo(big.NewFloat(1).SetPrec(piLongBits), new(big.Float).SetInt64(n))
		sum, power := new(big.Float).Copy(inv), new(big.Float).Copy(inv)
		for k := int64(3); power.MantExp(nil) > -piLongBits; k += 2 {
			power.Quo(power, new(big.Float).SetInt64(-n*n))
			sum.Add(sum, new(big.Float).SetPrec(piLongBits).Quo(power, new(big.Float).SetInt64(k)))
		}
		return sum
	}
	a, b := series(5), series(239)
	a.Mul(a, big.NewFloat(16))
	b.Mul(b, big.NewFloat(4))
	return a.Sub(a, b)
}()

var bigPiLongHalf = new(big.Float).SetPrec(piLongBits).SetMantExp(bigPiLong, -1)

// bigAtan halves the argument until the series is short.
func bigAtan(x *big.Float) *big.Float {
	halvings := 0
	for x.MantExp(nil) > -8 && x.Sign() != 0 {
		root := newBig().Sqrt(add(bf(1), mul(x, x)))
		x = quo(x, add(bf(1), root))
		halvings++
	}
	return shift(atanSeries(x, -1), halvings)
}

// bigAtan2 is the angle of the point (x, y); not both are zero.
func bigAtan2(y, x *big.Float) *big.Float {
	if x.Sign() == 0 {
		return mul(shift(bigPi, -1), bf(float64(y.Sign())))
	}
	a := bigAtan(quo(y, x))
	if x.Sign() > 0 {
		return a
	}
	if y.Sign() < 0 {
		return sub(a, bigPi)
	}
	return add(a, bigPi)
}

// ulpError returns |got - want| in units of the last place of want.
func ulpError(got float64, want *big.Float) float64 {
	if want.Sign() == 0 {
		if got == 0 {
			return 0
		}
		return math.Inf(1)
	}
	if math.IsInf(got, 0) || math.IsNaN(got) {
		if f, _ := want.Float64(); f == got {
			return 0
		}
		return math.Inf(1)
	}
	exp := max(want.MantExp(nil)-53, -1074)
	d, _ := shift(sub(bf(got), want), -exp).Float64()
	return math.Abs(d)
}
