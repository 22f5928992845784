package client

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/syncsh/syncsh/internal/codec"
)

// valueDepthMax bounds the nesting of arguments; it also ends a map or slice
// that contains itself. The machine's own limit is lower than the codec's.
const valueDepthMax = 128

// EncodeArgs encodes arguments as Call does: an array of values.
func EncodeArgs(args ...any) ([]byte, error) {
	b := codec.AppendArrayLen(nil, len(args))
	for i, a := range args {
		var err error
		if b, err = AppendValue(b, a); err != nil {
			return nil, badArgument("argument %d: %v", i+1, err)
		}
	}
	return b, nil
}

// AppendValue appends one value in its canonical encoding. The types are those
// of the package comment.
func AppendValue(b []byte, v any) ([]byte, error) { return appendValue(b, v, 0) }

func appendValue(b []byte, v any, depth int) ([]byte, error) {
	if depth > valueDepthMax {
		return nil, fmt.Errorf("nested deeper than %d", valueDepthMax)
	}
	switch v := v.(type) {
	case nil:
		return codec.AppendNil(b), nil
	case bool:
		return codec.AppendBool(b, v), nil
	case string:
		return codec.AppendString(b, v), nil
	case []byte:
		return codec.AppendStringBytes(b, v), nil
	case int:
		return appendInt(b, int64(v))
	case int64:
		return appendInt(b, v)
	case float64:
		return codec.AppendNumber(b, v), nil
	case []any:
		b = codec.AppendArrayLen(b, len(v))
		for i, e := range v {
			var err error
			if b, err = appendValue(b, e, depth+1); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i+1, err)
			}
		}
		return b, nil
	}
	return appendReflected(b, reflect.ValueOf(v), depth)
}

func appendReflected(b []byte, v reflect.Value, depth int) ([]byte, error) {
	switch v.Kind() {
	case reflect.Bool:
		return codec.AppendBool(b, v.Bool()), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return appendInt(b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		if u := v.Uint(); float64(u) >= 1<<64 || uint64(float64(u)) != u {
			return nil, fmt.Errorf("%d is not exactly a number of the scripts, which are 64-bit floats", u)
		}
		return codec.AppendNumber(b, float64(v.Uint())), nil
	case reflect.Float32, reflect.Float64:
		return codec.AppendNumber(b, v.Float()), nil
	case reflect.String:
		return codec.AppendString(b, v.String()), nil
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return codec.AppendNil(b), nil
		}
		return appendValue(b, v.Elem().Interface(), depth+1)
	case reflect.Slice, reflect.Array:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			p := make([]byte, v.Len())
			reflect.Copy(reflect.ValueOf(p), v.Convert(plainBytes(v)))
			return codec.AppendStringBytes(b, p), nil
		}
		b = codec.AppendArrayLen(b, v.Len())
		for i := range v.Len() {
			var err error
			if b, err = appendValue(b, v.Index(i).Interface(), depth+1); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i+1, err)
			}
		}
		return b, nil
	case reflect.Map:
		return appendMap(b, v, depth)
	}
	return nil, fmt.Errorf("a value of Go type %s can't be sent", v.Type())
}

// plainBytes is the unnamed type of a slice or array whose elements are bytes.
func plainBytes(v reflect.Value) reflect.Type {
	if v.Kind() == reflect.Array {
		return reflect.ArrayOf(v.Len(), v.Type().Elem())
	}
	return reflect.SliceOf(v.Type().Elem())
}

// appendInt refuses what a float64 can't hold: silently another number would be
// stored.
func appendInt(b []byte, v int64) ([]byte, error) {
	f := float64(v)
	if f >= 1<<63 || int64(f) != v {
		return nil, fmt.Errorf("%d is not exactly a number of the scripts, which are 64-bit floats", v)
	}
	return codec.AppendInt(b, v), nil
}

// A pair of a map on its way out.
type pair struct {
	rank   int // booleans, then numbers, then strings
	number float64
	key    []byte // encoded; for a string without its head
	whole  []byte // key and value, encoded
}

// appendMap sorts as pairs does in scripts: booleans, numbers ascending, strings
// bytewise.
func appendMap(b []byte, v reflect.Value, depth int) ([]byte, error) {
	pairs := make([]pair, 0, v.Len())
	for it := v.MapRange(); it.Next(); {
		p, err := encodePair(it.Key(), it.Value(), depth)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	slices.SortFunc(pairs, func(x, y pair) int {
		switch {
		case x.rank != y.rank:
			return x.rank - y.rank
		case x.number < y.number:
			return -1
		case x.number > y.number:
			return 1
		}
		return bytes.Compare(x.key, y.key)
	})
	b = codec.AppendMapLen(b, len(pairs))
	for i, p := range pairs {
		if i > 0 && p.rank == pairs[i-1].rank && p.number == pairs[i-1].number && bytes.Equal(p.key, pairs[i-1].key) {
			return nil, fmt.Errorf("a map with the key %x twice", p.key) // such as int 1 and float64 1
		}
		b = append(b, p.whole...)
	}
	return b, nil
}

func encodePair(k, v reflect.Value, depth int) (p pair, err error) {
	if p.whole, err = appendValue(nil, k.Interface(), depth+1); err != nil {
		return p, fmt.Errorf("key %v: %w", k.Interface(), err)
	}
	p.key = p.whole
	d := codec.NewDecoder(p.whole)
	switch d.Peek() {
	case codec.KindBool:
	case codec.KindInt, codec.KindFloat:
		p.rank = 1
		p.number, _ = d.Number()
		if math.IsNaN(p.number) {
			return p, fmt.Errorf("NaN as a key")
		}
	case codec.KindString:
		p.rank = 2
		p.key, _ = d.Bytes()
	default:
		return p, fmt.Errorf("a key of Go type %s can't be sent", k.Type())
	}
	if p.whole, err = appendValue(p.whole, v.Interface(), depth+1); err != nil {
		return p, fmt.Errorf("[%v]: %w", k.Interface(), err)
	}
	return p, nil
}

// DecodeValues decodes the values of a result: an array of values.
func DecodeValues(b []byte) ([]any, error) {
	d := codec.NewDecoder(b)
	if len(b) == 0 {
		return nil, nil
	}
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	out, err := decodeArray(&d, n, 0)
	if err != nil {
		return nil, err
	}
	return out, d.End()
}

func decodeArray(d *codec.Decoder, n, depth int) ([]any, error) {
	out := make([]any, 0, min(n, 64))
	for range n {
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// DecodeValue decodes one value.
func DecodeValue(b []byte) (any, error) {
	d := codec.NewDecoder(b)
	v, err := decodeValue(&d, 0)
	if err != nil {
		return nil, err
	}
	return v, d.End()
}

func decodeValue(d *codec.Decoder, depth int) (any, error) {
	if depth > codec.DepthMax {
		return nil, codec.ErrDepth
	}
	switch d.Peek() {
	case codec.KindNil:
		return nil, d.Nil()
	case codec.KindBool:
		return d.Bool()
	case codec.KindInt:
		raw, err := d.Raw()
		if err != nil {
			return nil, err
		}
		n := codec.NewDecoder(raw)
		if v, err := n.Int(); err == nil {
			return v, nil
		}
		n.Reset(raw)
		return n.Number() // above the range of int64
	case codec.KindFloat:
		return d.Number()
	case codec.KindString:
		return d.String()
	case codec.KindBytes:
		p, err := d.Bytes()
		return bytes.Clone(p), err
	case codec.KindArray:
		n, err := d.ArrayLen()
		if err != nil {
			return nil, err
		}
		return decodeArray(d, n, depth)
	case codec.KindMap:
		n, err := d.MapLen()
		if err != nil {
			return nil, err
		}
		return decodeMap(d, n, depth)
	}
	return nil, d.Skip() // says what is wrong
}

// decodeMap gives a map[string]any when all keys are strings, else a
// map[any]any.
func decodeMap(d *codec.Decoder, n, depth int) (any, error) {
	named := make(map[string]any, min(n, 64))
	var mixed map[any]any
	for range n {
		kind := d.Peek()
		if kind != codec.KindBool && kind != codec.KindInt && kind != codec.KindFloat && kind != codec.KindString {
			return nil, fmt.Errorf("a map with a key that is a %v: %w", kind, codec.ErrType)
		}
		k, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		if s, ok := k.(string); ok && mixed == nil {
			named[s] = v
			continue
		}
		if mixed == nil {
			mixed = make(map[any]any, min(n, 64))
			for s, v := range named {
				mixed[s] = v
			}
		}
		mixed[k] = v
	}
	if mixed != nil {
		return mixed, nil
	}
	return named, nil
}
