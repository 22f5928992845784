package lib

import (
	"math"
	"strconv"
)

// FormatNumber returns the text of a number as tostring gives it: C's "%.14g",
// with these values fixed for all architectures:
//
//   - NaN is "nan", without a sign.
//   - Negative zero is "0". State stores -0 as 0, and a number must not print
//     differently before and after it was stored. (Lua 5.1 prints "-0".)
//   - Infinities are "inf" and "-inf".
func FormatNumber(f float64) string {
	var buf [32]byte
	return string(AppendNumber(buf[:0], f))
}

// integerTextMax is the bound below which "%.14g" prints all digits of an
// integer.
const integerTextMax = 1e14

// AppendNumber appends the text that FormatNumber returns.
func AppendNumber(b []byte, f float64) []byte {
	if f > -integerTextMax && f < integerTextMax {
		if i := int64(f); float64(i) == f {
			return strconv.AppendInt(b, i, 10)
		}
	}
	if f-f != 0 {
		return appendNonFinite(b, f)
	}
	return strconv.AppendFloat(b, f, 'g', 14, 64)
}

func appendNonFinite(b []byte, f float64) []byte {
	switch {
	case f > 0:
		return append(b, "inf"...)
	case f < 0:
		return append(b, "-inf"...)
	}
	return append(b, "nan"...)
}

// ParseNumber converts text to a number by the grammar of Lua 5.1's source:
// optional white space, optional sign, decimal digits with an optional point
// and exponent, or 0x and hexadecimal digits.
//
// Lua 5.1 leaves the rest to C's strtod, so that "inf", "nan" and "0x1p4" are
// numbers on some systems and not on others; here they never are. Neither are
// "0b1", "1_000" and text with NUL bytes. A decimal beyond the range is an
// infinity, as in C. A hexadecimal integer above 2^53 is rounded to the nearest
// number, and a sign before it negates it.
func ParseNumber(s string) (float64, bool) {
	s = trimSpace(s)
	digits := s
	if digits != "" && (digits[0] == '+' || digits[0] == '-') {
		digits = digits[1:]
	}
	if len(digits) > 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		for i := 2; i < len(digits); i++ {
			if digitValue(digits[i]) >= 16 {
				return 0, false
			}
		}
		f, err := strconv.ParseFloat(s+"p0", 64)
		return f, accepted(err)
	}
	if !isDecimal(digits) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, accepted(err)
}

// numberSteps is charged for a number that is read from a text, beside what its
// length costs.
const numberSteps = 4

// ReadNumber is ParseNumber, charged for before it is done.
func ReadNumber(m Meter, s string) (f float64, ok bool, err error) {
	if err := m.Steps(numberSteps + len(s)/plainBytesPerStep); err != nil {
		return 0, false, err
	}
	if n := DecimalSteps(s); n > 0 {
		if err := m.Steps(n); err != nil {
			return 0, false, err
		}
	}
	f, ok = ParseNumber(s)
	return f, ok, nil
}

// What strconv does with a decimal that its short ways can't round: it keeps up
// to decimalDigitsMax digits and divides or multiplies all of them by a power of
// two of about eight digits, until none is left of the point, or none right of
// it.
const (
	decimalDigitsMax = 800
	decimalPointMax  = 330 // beyond it the result is known at once
	decimalShift     = 8
	decimalsPerStep  = 32
)

// DecimalSteps is what reading the decimal in s may cost, in steps, beyond what
// its length says. Whether strconv finds a short way depends on the value; the
// charge doesn't. A number of up to 17 digits near one costs a step at most.
func DecimalSteps(s string) int {
	digits, point, exponent := 0, 0, 0
	fraction := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '.':
			fraction = true
		case c|0x20 == 'e':
			exponent = decimalExponent(s[i+1:])
			i = len(s)
		case digits == 0 && (c < '1' || c > '9'): // not begun
			if fraction {
				point--
			}
		default:
			digits++
			if !fraction {
				point++
			}
		}
	}
	point = max(point+exponent, -point-exponent)
	if digits == 0 || point > decimalPointMax {
		return 0
	}
	return (point/decimalShift + 1) * (min(digits, decimalDigitsMax) + point) / decimalsPerStep
}

// decimalExponent reads the exponent of a decimal; what isn't one is 0.
func decimalExponent(s string) int {
	const big = 1 << 30
	negative := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		negative = s[0] == '-'
		s = s[1:]
	}
	n := 0
	for i := 0; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		n = min(n*10+int(s[i]-'0'), big)
	}
	if negative {
		return -n
	}
	return n
}

// accepted lets numbers out of range pass: strconv has returned an infinity or
// zero then, as strtod does.
func accepted(err error) bool {
	if err == nil {
		return true
	}
	e, ok := err.(*strconv.NumError)
	return ok && e.Err == strconv.ErrRange
}

// isDecimal reports whether s is digits[.digits][e[sign]digits] with at least
// one digit before the exponent.
func isDecimal(s string) bool {
	i, n := skipDigits(s, 0)
	if i < len(s) && s[i] == '.' {
		var k int
		i, k = skipDigits(s, i+1)
		n += k
	}
	if n == 0 {
		return false
	}
	if i < len(s) && s[i]|0x20 == 'e' {
		i++
		if i < len(s) && (s[i] == '+' || s[i] == '-') {
			i++
		}
		if i, n = skipDigits(s, i); n == 0 {
			return false
		}
	}
	return i == len(s)
}

func skipDigits(s string, i int) (next, n int) {
	next = i
	for next < len(s) && s[next] >= '0' && s[next] <= '9' {
		next++
	}
	return next, next - i
}

// Bases that ParseBase knows.
const (
	BaseMin = 2
	BaseMax = 36
)

// ParseBase is tonumber(s, base): an optional sign and digits of the base,
// between white space; base 16 allows 0x before the digits. Base 10 is
// ParseNumber, as in Lua 5.1.
//
// A number above 2^64-1 is 2^64-1, as C's strtoul has it. A minus sign negates
// the number; Lua 5.1 would subtract it from 2^64 or 2^32, depending on the
// machine. A base out of range gives no number.
func ParseBase(s string, base int) (float64, bool) {
	if base == 10 {
		return ParseNumber(s)
	}
	if base < BaseMin || base > BaseMax {
		return 0, false
	}
	s = trimSpace(s)
	negative := false
	if s != "" && (s[0] == '+' || s[0] == '-') {
		negative = s[0] == '-'
		s = s[1:]
	}
	if base == 16 && len(s) > 2 && s[0] == '0' && s[1]|0x20 == 'x' {
		s = s[2:]
	}
	if s == "" {
		return 0, false
	}
	var v uint64
	saturated := false
	for i := 0; i < len(s); i++ {
		d := digitValue(s[i])
		if d >= base {
			return 0, false
		}
		if saturated || v > (math.MaxUint64-uint64(d))/uint64(base) {
			saturated = true
			continue
		}
		v = v*uint64(base) + uint64(d)
	}
	if saturated {
		v = math.MaxUint64
	}
	f := uintFloat(v)
	if negative {
		f = -f
	}
	return f, true
}

// uintFloat rounds v to the nearest number. The halves are exact and the
// product is a power of two, so only the addition rounds.
func uintFloat(v uint64) float64 {
	return float64(float64(uint32(v>>32))*(1<<32)) + float64(uint32(v))
}

// digitValue returns the value of a digit in bases up to 36, or 36 for any
// other byte.
func digitValue(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'z':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'Z':
		return int(c-'A') + 10
	}
	return BaseMax
}

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func trimSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// two63 and two64 bound the integer types; both are exact.
const (
	two63 = 1 << 63
	two64 = 1 << 64
)

// Integer returns f as an integer when it has no fraction and fits.
func Integer(f float64) (int64, bool) {
	if !(f >= -two63 && f < two63) {
		return 0, false
	}
	i := int64(f)
	return i, float64(i) == f
}

// clampMax bounds what ClampInt returns, so that a length can be added to it.
const clampMax = 1 << 53

// ClampInt converts an argument such as those of string.sub: the fraction is
// cut off, what lies beyond 2^53 (the infinities too) becomes 2^53 with its sign, NaN
// becomes 0. Lua 5.1 leaves these cases to the machine.
func ClampInt(f float64) int64 {
	switch {
	case f >= clampMax:
		return clampMax
	case f <= -clampMax:
		return -clampMax
	case f != f:
		return 0
	}
	return int64(f)
}

// Canonical returns f, and the one NaN with fixed bits for any NaN.
func Canonical(f float64) float64 {
	if f != f {
		return math.NaN()
	}
	return f
}
