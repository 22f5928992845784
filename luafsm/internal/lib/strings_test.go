package lib

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestSub(t *testing.T) {
	big := ClampInt(math.Inf(1))
	for _, c := range []struct {
		i, j int64
		want string
	}{
		{1, -1, "hello"}, {2, 3, "el"}, {0, 2, "he"}, {-3, -1, "llo"}, {-100, 2, "he"}, {4, 100, "lo"}, {3, 2, ""}, {6, 6, ""}, {1, big, "hello"}, {-big, big, "hello"}, {big, big, ""}, {-big, -big, ""}, {1, 0, ""}, {-2, -4, ""}, {1, -100, ""},
	} {
		var m testMeter
		got, err := Sub(&m, "hello", c.i, c.j)
		if got != c.want || err != nil {
			t.Errorf("sub(%d, %d) = %q, %v, want %q", c.i, c.j, got, err, c.want)
		}
		if want := len(got) % len("hello"); m.bytes != want {
			t.Errorf("sub(%d, %d) was charged %d bytes, not %d", c.i, c.j, m.bytes, want)
		}
	}
	if _, err := Sub(&testMeter{maxBytes: 2}, "hello", 1, 3); err != errBudget {
		t.Error("sub without a budget:", err)
	}
	if s, err := Byte("hello", -1, -1); s != "o" || err != nil {
		t.Error("byte:", s, err)
	}
	if s, err := Byte("hello", -10, -10); s != "" || err != nil {
		t.Error("byte before the start:", s, err)
	}
	if _, err := Byte(strings.Repeat("a", byteResultsMax+1), 1, -1); err != ErrSliceTooLong {
		t.Error("byte of a long text:", err)
	}
}

func TestRep(t *testing.T) {
	if s, err := Rep(&testMeter{}, "ab", 3); s != "ababab" || err != nil {
		t.Error(s, err)
	}
	if s, err := Rep(&testMeter{}, "", 1<<53); s != "" || err != nil {
		t.Error(s, err)
	}
	if s, err := Rep(&testMeter{}, "ab", -1); s != "" || err != nil {
		t.Error(s, err)
	}
	for _, n := range []int64{3e9, clampMax, math.MaxInt64, 101} {
		if _, err := Rep(&testMeter{maxBytes: 100}, "a", n); err != errBudget {
			t.Errorf("rep of %d: %v", n, err)
		}
	}
	if _, err := Rep(noMeter{}, "ab", 1<<40); err != ErrStringTooLarge {
		t.Error("rep without a budget:", err)
	}
}

// noMeter refuses nothing.
type noMeter struct{}

func (noMeter) Steps(int) error { return nil }
func (noMeter) Bytes(int) error { return nil }

func TestLetters(t *testing.T) {
	m := &testMeter{}
	for _, c := range []struct {
		f        func(Meter, string) (string, error)
		in, want string
	}{
		{Upper, "aZ1\xe9é", "AZ1\xe9é"}, {Lower, "aZ1\xc9", "az1\xc9"}, {Reverse, "abc", "cba"}, {Reverse, "", ""},
	} {
		if got, err := c.f(m, c.in); got != c.want || err != nil {
			t.Errorf("%q -> %q, %v, want %q", c.in, got, err, c.want)
		}
		if _, err := c.f(&testMeter{maxBytes: 1}, "abc"); err != errBudget {
			t.Error("no charge:", err)
		}
	}
	b, err := Char(nil, 65.9)
	if string(b) != "A" || err != nil {
		t.Error(b, err)
	}
	for _, f := range []float64{-1, 256, math.NaN(), math.Inf(1)} {
		if _, err := Char(nil, f); err != ErrCharValue {
			t.Errorf("char(%v): %v", f, err)
		}
	}
}

func TestMergeSort(t *testing.T) {
	type item struct{ key, at int }
	r := NewRand(11)
	for n := range 70 {
		a := make([]item, n)
		for i := range a {
			a[i] = item{int(r.Int(0, 9)), i}
		}
		calls := 0
		if err := MergeSort(&testMeter{}, a, func(x, y item) (bool, error) { calls++; return x.key < y.key, nil }); err != nil {
			t.Fatal(err)
		}
		for i := 1; i < n; i++ {
			if a[i].key < a[i-1].key || a[i].key == a[i-1].key && a[i].at < a[i-1].at {
				t.Fatalf("not sorted, or not stable: %v", a)
			}
		}
		if n > 1 && calls > n*int(math.Ceil(math.Log2(float64(n)))) {
			t.Errorf("%d comparisons for %d elements", calls, n)
		}
	}
	whole := func(a []int) bool {
		seen := map[int]bool{}
		for _, v := range a {
			seen[v] = true
		}
		return len(seen) == len(a)
	}
	lies := errors.New("lies")
	for stop := range 400 {
		a := make([]int, 50)
		for i := range a {
			a[i] = i * 7919 % 50
		}
		calls := 0
		err := MergeSort(&testMeter{}, a, func(int, int) (bool, error) {
			if calls++; calls > stop {
				return false, lies
			}
			return r.Int(0, 1) == 0, nil
		})
		if !whole(a) || err != nil && err != lies {
			t.Fatalf("after %d comparisons: %v, %v", stop, err, a)
		}
	}
	a := []int{3, 1, 2, 0, 5, 4}
	if err := MergeSort(&testMeter{maxSteps: 8}, a, func(x, y int) (bool, error) { return x < y, nil }); err != errBudget || !whole(a) {
		t.Error("sort beyond the budget:", err, a)
	}
}

func TestRand(t *testing.T) {
	a, b, c := NewRand(1, 2), NewRand(1, 2), NewRand(2, 1)
	equal := 0
	for range 100 {
		x := a.Uint64()
		if x != b.Uint64() {
			t.Fatal("equal seeds differ")
		}
		if x == c.Uint64() {
			equal++
		}
	}
	if equal > 0 {
		t.Error("the order of the seeds doesn't count")
	}
	var counts [6]int
	for range 60000 {
		v := a.Int(-2, 3)
		counts[v+2]++
		if f := a.Float64(); !(f >= 0 && f < 1) {
			t.Fatal(f)
		}
	}
	for v, n := range counts {
		if n < 9500 || n > 10500 {
			t.Errorf("%d came %d times of 60000", v-2, n)
		}
	}
	if a.Int(5, 5) != 5 {
		t.Error("a range of one")
	}
	a.Int(math.MinInt64, math.MaxInt64)
	// The first outputs of xoshiro256** from the state 1, 2, 3, 4, as its
	// authors' program gives them.
	x := Rand{s: [4]uint64{1, 2, 3, 4}}
	got := fmt.Sprint(x.Uint64(), x.Uint64(), x.Uint64(), x.Uint64())
	if want := "11520 0 1509978240 1215971899390074240"; got != want {
		t.Errorf("xoshiro256** gives %s, want %s", got, want)
	}
}
