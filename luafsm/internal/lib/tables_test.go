package lib

import (
	"bytes"
	"flag"
	"fmt"
	"go/format"
	"math/big"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "rewrite generated files")

// split cuts x into two numbers whose sum is x to 106 bits.
func split(x *big.Float) (hi, lo float64) {
	hi, _ = x.Float64()
	lo, _ = sub(x, bf(hi)).Float64()
	return hi, lo
}

// TestTables computes the tables of tables.go anew; -update writes them.
func TestTables(t *testing.T) {
	var b bytes.Buffer
	b.WriteString("package lib\n\n// This file is written by go test -run TestTables -update.\n\n")
	pair := func(x *big.Float) string {
		hi, lo := split(x)
		return fmt.Sprintf("{%x, %x}", hi, lo)
	}
	b.WriteString("var (\n")
	fmt.Fprintf(&b, "ddPi = dd%s\n", pair(bigPi))
	fmt.Fprintf(&b, "ddHalfPi = dd%s\n", pair(shift(bigPi, -1)))
	fmt.Fprintf(&b, "ddInvLn10 = dd%s\n", pair(quo(bf(1), bigLog(bf(10)))))
	// ln2Hi and ln2Step have so few bits that products with an exponent are exact.
	ln2Hi, _ := newBig().SetMode(big.ToZero).SetPrec(40).Set(bigLn2).Float64()
	fmt.Fprintf(&b, "ddLn2Low = dd%s\n", pair(sub(bigLn2, bf(ln2Hi))))
	step := shift(bigLn2, -5)
	stepHi, _ := newBig().SetMode(big.ToZero).SetPrec(36).Set(step).Float64()
	fmt.Fprintf(&b, "ddStepLow = dd%s\n)\n\n", pair(sub(step, bf(stepHi))))
	inv, _ := quo(bf(1), step).Float64()
	fmt.Fprintf(&b, "const (\nln2Hi = %x\nstepHi = %x\nstepInverse = %x\n)\n\n", ln2Hi, stepHi, inv)

	table := func(name, doc string, from, to int, f func(i int) string) {
		fmt.Fprintf(&b, "// %s %s\nvar %s = [...]dd{\n", name, doc, name)
		for i := from; i <= to; i++ {
			fmt.Fprintf(&b, "%s,\n", f(i))
		}
		b.WriteString("}\n\n")
	}
	table("expTable", "is 2^(i/32).", 0, 31, func(i int) string {
		return pair(bigExp(mul(step, bf(float64(i)))))
	})
	table("logTable", "is log((logFrom+i)/128).", logFrom, 182, func(i int) string {
		return pair(bigLog(quo(bf(float64(i)), bf(128))))
	})
	table("sinTable", "is sin(i/64).", 0, 51, func(i int) string {
		s, _ := bigSinCos(quo(bf(float64(i)), bf(64)))
		return pair(s)
	})
	table("cosTable", "is cos(i/64).", 0, 51, func(i int) string {
		_, c := bigSinCos(quo(bf(float64(i)), bf(64)))
		return pair(c)
	})
	table("atanTable", "is atan(i/64).", 0, 64, func(i int) string {
		return pair(bigAtan(quo(bf(float64(i)), bf(64))))
	})

	// Bits of 2/pi behind 64 zeros.
	q := new(big.Float).SetPrec(piLongBits).Quo(big.NewFloat(2), bigPiLong)
	i, _ := q.SetMantExp(q, 22*64).Int(nil)
	b.WriteString("// twoOverPi has the bits of 2/pi behind one word of zeros.\nvar twoOverPi = [...]uint64{0,\n")
	word := new(big.Int)
	for k := 21; k >= 0; k-- {
		word.And(word.Rsh(i, uint(k*64)), new(big.Int).SetUint64(1<<64-1))
		fmt.Fprintf(&b, "%#016x,\n", word.Uint64())
	}
	b.WriteString("}\n")

	src, err := format.Source(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("tables.go", src, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile("tables.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(old, src) {
		t.Error("tables.go is not what the series give; run with -update")
	}
}
