package client

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/syncsh/syncsh/internal/codec"
)

type named string
type octets []byte

func TestValues(t *testing.T) {
	seven := 7
	for _, c := range []struct{ in, want any }{
		{nil, nil}, {true, true}, {"x", "x"}, {[]byte("x\xff"), "x\xff"}, {octets("ab"), "ab"}, {[2]byte{'a', 'b'}, "ab"}, {named("n"), "n"},
		{5, int64(5)}, {int8(-5), int64(-5)}, {uint64(1) << 53, int64(1) << 53}, {uint8(200), int64(200)}, {float32(0.5), 0.5},
		{2.0, int64(2)}, {1.5, 1.5}, {math.Inf(1), math.Inf(1)}, {math.Copysign(0, -1), int64(0)}, {int64(math.MinInt64), int64(math.MinInt64)},
		{uint64(1) << 63, float64(1 << 63)},
		{&seven, int64(7)}, {(*int)(nil), nil},
		{[]any{1, "a", nil}, []any{int64(1), "a", nil}}, {[]int{1, 2}, []any{int64(1), int64(2)}}, {[]string{}, []any{}},
		{map[string]int{"b": 2, "a": 1}, map[string]any{"a": int64(1), "b": int64(2)}},
		{map[any]any{"a": 1, 2: "b", true: nil, 1.5: 1}, map[any]any{"a": int64(1), int64(2): "b", true: nil, 1.5: int64(1)}},
		{map[string]any{}, map[string]any{}},
	} {
		b, err := AppendValue(nil, c.in)
		if err != nil {
			t.Errorf("%#v: %v", c.in, err)
			continue
		}
		got, err := DecodeValue(b)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%#v: got %#v, %v, want %#v", c.in, got, err, c.want)
		}
		for n := range b {
			if _, err := DecodeValue(b[:n]); err == nil {
				t.Errorf("%#v: %d of %d bytes were accepted", c.in, n, len(b))
			}
		}
	}
}

// Equal maps give equal bytes, in the order of the scripts' pairs.
func TestMapOrder(t *testing.T) {
	m := map[any]any{"b": 1, "a": 2, 10: 3, -1: 4, 2.5: 5, true: 6, false: 7, "aa": 8}
	first, err := AppendValue(nil, m)
	if err != nil {
		t.Fatal(err)
	}
	d := codec.NewDecoder(first)
	n, _ := d.MapLen()
	var keys []any
	for range n {
		raw, _ := d.Raw()
		k, _ := DecodeValue(raw)
		keys = append(keys, k)
		_ = d.Skip()
	}
	if fmt.Sprint(keys) != "[false true -1 2.5 10 a aa b]" {
		t.Errorf("%v", keys)
	}
	for range 20 {
		if again, _ := AppendValue(nil, m); string(again) != string(first) {
			t.Fatal("another order")
		}
	}
}

func TestRefusedValues(t *testing.T) {
	deep := []any{}
	for range 200 {
		deep = []any{deep}
	}
	loop := map[string]any{}
	loop["x"] = loop
	for _, c := range []struct {
		in   any
		want string
	}{
		{struct{}{}, "a value of Go type struct {}"}, {make(chan int), "chan int"}, {[]any{1, func() {}}, "[2]: a value of Go type func()"},
		{1<<53 + 1, "9007199254740993 is not exactly"}, {int64(math.MaxInt64), "not exactly"}, {uint64(math.MaxUint64), "not exactly"},
		{deep, "nested deeper"}, {loop, "nested deeper"}, {complex(1, 1), "complex128"},
		{map[any]any{1: 1, 1.0: 2}, "twice"}, {map[float64]int{math.NaN(): 1}, "NaN"}, {map[[2]int]int{{1, 2}: 1}, "key of Go type"},
		{map[any]any{nil: 1}, "can't be sent"},
	} {
		if b, err := AppendValue(nil, c.in); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%T: %x, %v, want %q", c.in, b, err, c.want)
		}
	}
}

func FuzzDecodeValue(f *testing.F) {
	for _, v := range []any{nil, 1, "x", []any{1, 2.5}, map[any]any{1: "a", "b": []any{}}} {
		b, err := AppendValue(nil, v)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = DecodeValue(b) })
}
