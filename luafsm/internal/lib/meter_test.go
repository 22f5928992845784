package lib

import (
	"errors"
	"math"
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
