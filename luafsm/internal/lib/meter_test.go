package lib

import (
	"errors"
	"math"
	"strings"
	"testing"
)

var errBudget = errors.New("budget")

// testMeter counts; a limit of 0 is none.
type testMeter struct {
	steps, bytes       int
	maxSteps, maxBytes int
}

func (m *testMeter) Steps(n int) error {
	m.steps += n
	if n < 0 || m.maxSteps > 0 && m.steps > m.maxSteps {
		return errBudget
	}
	return nil
}

func (m *testMeter) Bytes(n int) error {
	if n < 0 || n == math.MaxInt || m.maxBytes > 0 && m.bytes+n > m.maxBytes {
		return errBudget
	}
	m.bytes += n
	return nil
}

// numbers are arguments of Format.
type numbers []float64

func (a numbers) Number(i int) (float64, error) {
	if i > len(a) {
		return 0, errors.New("no value")
	}
	return a[i-1], nil
}

func (a numbers) String(i int) (string, error) {
	f, err := a.Number(i)
	return FormatNumber(f), err
}

// Reading a number is charged before it is done: by its length, and by what its
// digits may take where strconv has no short way.
func TestReadNumberCharges(t *testing.T) {
	for _, c := range []struct {
		text string
		more int // steps beyond those of the length
	}{
		{"", 0}, {"0", 0}, {"12345.678e3", 1}, {"0.12345678901234567", 0}, {"-17", 0}, {"1e22", 2},
		{"5e-324", 415}, {"2.4703282292062327208299439634110686182e-324", 462},
		{"1e400", 0}, {"1e-400", 0}, {"1e99999999999999999999", 0}, {"0e5", 0},
		{"1" + strings.Repeat("0", 309), 755}, {"0." + strings.Repeat("0", 309) + "1", 377},
		{"1." + strings.Repeat("7", 1e6), 25}, {strings.Repeat("0", 1e6) + "1", 0},
		{"nothing", 0},
	} {
		m := &testMeter{}
		f, ok, err := ReadNumber(m, c.text)
		if g, gok := ParseNumber(c.text); f != g || ok != gok || err != nil {
			t.Errorf("%.40s: %v %v %v", c.text, f, ok, err)
		}
		if want := numberSteps + len(c.text)/plainBytesPerStep + c.more; m.steps != want {
			t.Errorf("%.40s: %d steps, want %d", c.text, m.steps, want)
		}
		if m.steps > 1 {
			if _, _, err := ReadNumber(&testMeter{maxSteps: m.steps - 1}, c.text); err == nil {
				t.Errorf("%.40s: read beyond the budget", c.text)
			}
		}
	}
}
