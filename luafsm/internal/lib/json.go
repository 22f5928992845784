package lib

import (
	"math"
	"strconv"
	"unicode/utf8"
)

const (
	// ErrJSONText is returned when a string is not valid UTF-8: JSON can't
	// carry it, and replacing bytes would make two values one.
	ErrJSONText Error = "string is not valid UTF-8"
	// ErrJSONNumber is returned for NaN and the infinities.
	ErrJSONNumber Error = "JSON has no such number: "
)

// AppendJSONString appends s in quotes. Only the characters that must be are
// escaped: the quote, the backslash, and those below space as \b \t \n \f \r or
// \u00xx in lower case.
func AppendJSONString(b []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return b, ErrJSONText
	}
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, `\b`...)
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\f':
			b = append(b, `\f`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	b = append(b, s[from:]...)
	return append(b, '"'), nil
}

// AppendJSONNumber appends the shortest text that reads back as f: integers
// below 2^53 without exponent, other numbers without one from 1e-6 to 1e21, as
// ECMAScript writes them. -0 is 0.
func AppendJSONNumber(b []byte, f float64) ([]byte, error) {
	if f-f != 0 {
		return b, ErrJSONNumber + Error(FormatNumber(f))
	}
	if f > -clampMax && f < clampMax {
		if i := int64(f); float64(i) == f {
			return strconv.AppendInt(b, i, 10), nil
		}
	}
	if a := math.Abs(f); a >= 1e-6 && a < 1e21 {
		return strconv.AppendFloat(b, f, 'f', -1, 64), nil
	}
	n := len(b)
	b = strconv.AppendFloat(b, f, 'e', -1, 64)
	// strconv pads the exponent to two digits: e-07.
	if e := len(b) - 2; e > n && b[e] == '0' && (b[e-1] == '-' || b[e-1] == '+') {
		b[e] = b[e+1]
		b = b[:e+1]
	}
	return b, nil
}
