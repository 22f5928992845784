package lib

import (
	"math"
	"math/big"
	"testing"
)

// ulpMax is what math.go promises. The contract is 1.
const ulpMax = 0.51

// unary are the functions of one argument, each with its reference and the
// range its samples are drawn from.
var unary = []struct {
	name   string
	f      func(float64) float64
	ref    func(*big.Float) *big.Float
	lo, hi float64
}{
	{"exp", Exp, bigExp, -745, 710},
	{"log", Log, bigLog, 0, math.MaxFloat64},
	{"log10", Log10, func(x *big.Float) *big.Float { return quo(bigLog(x), bigLog(bf(10))) }, 0, math.MaxFloat64},
	{"sin", Sin, func(x *big.Float) *big.Float { s, _ := bigSinCos(x); return s }, -math.MaxFloat64, math.MaxFloat64},
	{"cos", Cos, func(x *big.Float) *big.Float { _, c := bigSinCos(x); return c }, -math.MaxFloat64, math.MaxFloat64},
	{"tan", Tan, func(x *big.Float) *big.Float { s, c := bigSinCos(x); return quo(s, c) }, -math.MaxFloat64, math.MaxFloat64},
	{"asin", Asin, func(x *big.Float) *big.Float { return bigAtan2(x, bigCofactor(x)) }, -1, 1},
	{"acos", Acos, func(x *big.Float) *big.Float { return bigAtan2(bigCofactor(x), x) }, -1, 1},
	{"atan", Atan, bigAtan, -math.MaxFloat64, math.MaxFloat64},
	{"sinh", Sinh, bigSinh, -711, 711},
	{"cosh", Cosh, bigCosh, -711, 711},
	{"tanh", Tanh, func(x *big.Float) *big.Float { return quo(bigSinh(x), bigCosh(x)) }, -30, 30},
}

func bigSinh(x *big.Float) *big.Float {
	if x.MantExp(nil) < -64 {
		return x // the next term is below 2^-128 of it
	}
	return shift(sub(bigExp(x), bigExp(newBig().Neg(x))), -1)
}

func bigCosh(x *big.Float) *big.Float {
	return shift(add(bigExp(x), bigExp(newBig().Neg(x))), -1)
}

func bigCofactor(x *big.Float) *big.Float {
	y := sub(bf(1), mul(x, x))
	if y.Sign() == 0 {
		return y
	}
	return newBig().Sqrt(y)
}

// sample draws a number in [lo, hi]: half of them with a uniform exponent, a
// quarter of moderate size, a quarter uniform in the range or near 1.
func sample(r *Rand, lo, hi float64) float64 {
	for {
		var x float64
		switch r.Int(0, 7) {
		case 0, 1, 2, 3:
			x = math.Float64frombits(r.Uint64())
		case 4, 5:
			x = (r.Float64() - 0.5) * 40
		case 6:
			x = lo/2 + float64((hi/2-lo/2)*r.Float64())
			x *= 2
		case 7:
			x = 1 + (r.Float64()-0.5)*math.Ldexp(1, -int(r.Int(0, 50)))
		}
		if x >= lo && x <= hi {
			return x
		}
	}
}

// hardCases are places where functions of this kind go wrong.
var hardCases = []float64{
	1, 0.5, 2, 10, 100, 1e22, 0.1, 1e-5, 1e-300, 5e-324, 0x1p-1022, math.MaxFloat64, math.Pi, math.Pi / 2, math.Pi / 4,
	6381956970095103 * 0x1p797, 0x1.921fb54442d18p+0, 3 * math.Pi / 4, 1e5 * math.Pi, 0x1p52 * math.Pi,
	709.78, 709.782712893384, -708.5, -744.9, 710.47, 1.0 / 32, 1.0 / 64, 1 - 0x1p-53, 1 + 0x1p-52, 0.7071067811865475,
	0.7071067811865476, 1.4142135623730951, math.E, 22, 39.9, 40.1, 0x1p-28, 0x1p-27, 0x1p64, 0x1p65,
}

func TestMathError(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 300
	}
	for _, c := range unary {
		r := NewRand(1)
		worst, at := 0.0, 0.0
		check := func(x float64) {
			if x == 0 || !(x >= c.lo && x <= c.hi) {
				return
			}
			got := c.f(x)
			if e := ulpError(got, c.ref(bf(x))); e > worst {
				worst, at = e, x
			}
		}
		for _, x := range hardCases {
			check(x)
			check(-x)
		}
		for range n {
			check(sample(&r, c.lo, c.hi))
		}
		t.Logf("%s: %.5f ulp at %v", c.name, worst, at)
		if worst > ulpMax {
			t.Errorf("%s: error of %v ulp at %v (%x)", c.name, worst, at, at)
		}
	}
}

func TestPowError(t *testing.T) {
	n := 6000
	if testing.Short() {
		n = 300
	}
	r := NewRand(2)
	worst := 0.0
	for i := range n {
		x := math.Abs(sample(&r, -math.MaxFloat64, math.MaxFloat64))
		y := (r.Float64() - 0.5) * 60
		switch i % 4 {
		case 1:
			y = math.Floor(y)
		case 2:
			y = sample(&r, -1e300, 1e300)
		case 3:
			x = 1 + (r.Float64()-0.5)*0x1p-20
			y *= 1e6
		}
		e := mul(bigLog(bf(x)), bf(y))
		if f, _ := e.Float64(); math.Abs(f) > 744 {
			continue
		}
		want := bigExp(e)
		if want.MantExp(nil) > 1024 {
			continue
		}
		got := Pow(x, y)
		if d := ulpError(got, want); d > worst {
			worst = d
			if d > 0.53 {
				t.Errorf("%v ^ %v = %v: error of %v ulp", x, y, got, d)
			}
		}
	}
	t.Logf("pow: %.5f ulp", worst)
}

func TestAtan2Error(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 300
	}
	r := NewRand(3)
	worst := 0.0
	for range n {
		y := sample(&r, -math.MaxFloat64, math.MaxFloat64)
		x := y * sample(&r, -1e6, 1e6)
		if r.Int(0, 3) == 0 {
			x = sample(&r, -math.MaxFloat64, math.MaxFloat64)
		}
		if x == 0 || math.IsInf(x, 0) {
			continue
		}
		if d := ulpError(Atan2(y, x), bigAtan2(bf(y), bf(x))); d > worst {
			worst = d
			if d > ulpMax {
				t.Errorf("atan2(%v, %v): error of %v ulp", y, x, d)
			}
		}
	}
	t.Logf("atan2: %.5f ulp", worst)
}

// same compares the bits, with one NaN.
func same(a, b float64) bool {
	return math.Float64bits(Canonical(a)) == math.Float64bits(Canonical(b))
}

func TestMathSpecials(t *testing.T) {
	inf, nan, negZero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	// Go's functions document the same special cases as C99.
	oracle := map[string]func(float64) float64{
		"exp": math.Exp, "log": math.Log, "log10": math.Log10, "sin": math.Sin, "cos": math.Cos, "tan": math.Tan,
		"asin": math.Asin, "acos": math.Acos, "atan": math.Atan, "sinh": math.Sinh, "cosh": math.Cosh, "tanh": math.Tanh,
	}
	for _, c := range unary {
		for _, x := range []float64{0, negZero, inf, -inf, nan} {
			if got, want := c.f(x), oracle[c.name](x); !same(got, want) {
				t.Errorf("%s(%v) = %v, want %v", c.name, x, got, want)
			}
		}
	}
	values := []float64{0, negZero, 1, -1, 0.5, -0.5, 2, -2, 3, -3, 1.5, -1.5, inf, -inf, nan, 1e300, -1e300, 5e-324, -5e-324, 1 + 0x1p-52, 1 - 0x1p-53}
	for _, x := range values {
		for _, y := range values {
			got, want := Pow(x, y), math.Pow(x, y)
			if !same(got, want) && math.Abs(got-want) > 1e-15*math.Abs(want) {
				t.Errorf("%v ^ %v = %v, want %v", x, y, got, want)
			}
			got, want = Atan2(x, y), math.Atan2(x, y)
			// Go's atan2 loses the sign of y where y/x is too small.
			if !same(got, want) && math.Abs(math.Abs(got)-math.Abs(want)) > 1e-15 {
				t.Errorf("atan2(%v, %v) = %v, want %v", x, y, got, want)
			}
			if got, want := Fmod(x, y), math.Mod(x, y); !same(got, want) {
				t.Errorf("fmod(%v, %v) = %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestExactMath(t *testing.T) {
	r := NewRand(4)
	for range 20000 {
		x, y := math.Float64frombits(r.Uint64()), math.Float64frombits(r.Uint64())
		if got, want := Fmod(x, y), math.Mod(x, y); !same(got, want) {
			t.Fatalf("fmod(%v, %v) = %v, want %v", x, y, got, want)
		}
		m, e := Frexp(x)
		if wm, we := math.Frexp(x); !same(m, wm) || x-x == 0 && e != we {
			t.Fatalf("frexp(%v) = %v, %v", x, m, e)
		}
		n := r.Int(-2200, 2200)
		if got, want := Ldexp(x, float64(n)), math.Ldexp(x, int(n)); !same(got, want) {
			t.Fatalf("ldexp(%v, %v) = %v, want %v", x, n, got, want)
		}
	}
	for e := range 309 {
		if got := Log10(math.Pow10(e)); got != float64(e) {
			t.Errorf("log10(1e%d) = %v", e, got)
		}
	}
	for _, c := range []struct{ x, y, want float64 }{
		{2, 10, 1024}, {2, 1023, 0x1p1023}, {2, -1074, 5e-324}, {10, 15, 1e15}, {3, 33, 5559060566555523}, {-2, 3, -8}, {7, -1, 1.0 / 7}, {9, 0.5, 3}, {1e200, 2, math.Inf(1)},
	} {
		if got := Pow(c.x, c.y); got != c.want {
			t.Errorf("%v ^ %v = %v, want %v", c.x, c.y, got, c.want)
		}
	}
	if w, f := Modf(-3.25); w != -3 || f != -0.25 {
		t.Error("modf", w, f)
	}
	if w, f := Modf(math.Inf(-1)); !math.IsInf(w, -1) || f != 0 {
		t.Error("modf of an infinity", w, f)
	}
	if Max(1, math.NaN()) != 1 || !math.IsNaN(Min(math.NaN(), 1)) || Max(1, 2) != 2 || Min(1, 2) != 1 {
		t.Error("max or min")
	}
	if Deg(math.Pi) != 180 || Rad(180) != math.Pi || Floor(-1.5) != -2 || Ceil(-1.5) != -1 || Abs(-2) != 2 || Sqrt(9) != 3 {
		t.Error("deg, rad, floor, ceil, abs or sqrt")
	}
	if !math.IsNaN(Ldexp(1, math.NaN())) || Ldexp(1, math.Inf(1)) != math.Inf(1) || Ldexp(1, math.Inf(-1)) != 0 {
		t.Error("ldexp")
	}
}

// a % b by its definition in Lua 5.1, the results those of its own interpreter.
func TestModulo(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct{ a, b, want float64 }{
		{7, 3, 1}, {-7, 3, 2}, {7, -3, -2}, {-7, -3, -1}, {-6, 3, 0}, {5.5, 2, 1.5},
		{1<<53 - 1, 1e9 + 7, 191690598},
		{5.5, 0.1, 0}, // rounded; the remainder of the two floats is 0.0999...
		{1e308, 3e-300, -inf}, {1e308, 3, 0},
		{5, inf, nan}, {-5, inf, nan}, {5, 0, nan}, {inf, 2, nan}, {nan, 2, nan},
	} {
		if got := Modulo(c.a, c.b); got != c.want && (got == got || c.want == c.want) {
			t.Errorf("%v %% %v is %v, want %v", c.a, c.b, got, c.want)
		}
	}
}
