package lib

import "strings"

// Sub returns the bytes i to j of s as string.sub does: a copy, see part.
func Sub(m Meter, s string, i, j int64) (string, error) {
	return part(m, s, slice(s, i, j))
}

// part is p, a part of s, as what a script gets: a copy, which is charged. A
// slice of s would keep all of s alive for as long as the script has it: state of
// 30 bytes held 458 MB. The length of s doesn't bound that, as s may be a slice
// itself; so there are no slices but all of s.
func part(m Meter, s, p string) (string, error) {
	switch len(p) {
	case len(s):
		return s, nil
	case 0:
		return "", nil
	case 1:
		return string([]byte{p[0]}), m.Bytes(1) // allocates nothing
	}
	if err := m.Bytes(len(p)); err != nil {
		return "", err
	}
	return strings.Clone(p), nil
}

// slice is the bytes i to j of s, counted from 1, or from the end when negative.
// It copies nothing.
func slice(s string, i, j int64) string {
	n := int64(len(s))
	i, j = relative(i, n), relative(j, n)
	i, j = max(i, 1), min(j, n)
	if i > j {
		return ""
	}
	return s[i-1 : j]
}

// relative turns a position that may count from the end into one from the
// start; before the start is 0.
func relative(i, n int64) int64 {
	if i < 0 {
		i += n + 1
	}
	return max(i, 0)
}

// byteResultsMax bounds how many values string.byte returns; Lua 5.1's limit
// for values on the C stack is 8000.
const byteResultsMax = 4096

// ErrSliceTooLong is returned when string.byte would return too many values.
const ErrSliceTooLong Error = "string slice too long"

// Byte returns the bytes whose codes string.byte(s, i, j) returns. When j is
// absent the caller passes i.
func Byte(s string, i, j int64) (string, error) {
	sub := slice(s, i, j)
	if len(sub) > byteResultsMax {
		return "", ErrSliceTooLong
	}
	return sub, nil
}

// ErrCharValue is returned when an argument of string.char is not the code of
// a byte.
const ErrCharValue Error = "invalid value"

// Char appends the byte with the code f. A fraction is cut off, as in Lua 5.1.
func Char(b []byte, f float64) ([]byte, error) {
	if !(f > -1 && f < 256) {
		return b, ErrCharValue
	}
	return append(b, byte(int(f))), nil
}

// Rep returns n copies of s. Nothing is built before its length was charged.
func Rep(m Meter, s string, n int64) (string, error) {
	if n <= 0 || s == "" {
		return "", nil
	}
	if n > stringBytesMax/int64(len(s)) {
		return "", tooLarge(m)
	}
	if err := m.Bytes(len(s) * int(n)); err != nil {
		return "", err
	}
	return strings.Repeat(s, int(n)), nil
}

// tooLarge gives the Meter the chance to report its own limit first.
func tooLarge(m Meter) error {
	if err := m.Bytes(int(^uint(0) >> 1)); err != nil {
		return err
	}
	return ErrStringTooLarge
}

// Reverse returns the bytes of s from the last to the first.
func Reverse(m Meter, s string) (string, error) {
	return mapBytes(m, s, func(b []byte) {
		for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
			b[i], b[j] = b[j], b[i]
		}
	})
}

// Upper changes the ASCII letters; other bytes stay as they are.
func Upper(m Meter, s string) (string, error) {
	return mapBytes(m, s, func(b []byte) {
		for i, c := range b {
			if c >= 'a' && c <= 'z' {
				b[i] = c - 'a' + 'A'
			}
		}
	})
}

// Lower changes the ASCII letters; other bytes stay as they are.
func Lower(m Meter, s string) (string, error) {
	return mapBytes(m, s, func(b []byte) {
		for i, c := range b {
			if c >= 'A' && c <= 'Z' {
				b[i] = c - 'A' + 'a'
			}
		}
	})
}

// mapBytes charges for a copy of s and has f change it.
func mapBytes(m Meter, s string, f func([]byte)) (string, error) {
	if err := m.Bytes(len(s)); err != nil {
		return "", err
	}
	b := []byte(s)
	f(b)
	return string(b), nil
}
