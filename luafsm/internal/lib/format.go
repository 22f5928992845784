package lib

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// Args gives Format its arguments, numbered from 1 as they follow the format.
// The caller converts them as Lua does and names the argument in the error.
type Args interface {
	Number(i int) (float64, error)
	String(i int) (string, error)
}

const (
	// ErrFormatFlags is returned when a conversion has more than formatFlagsMax flags.
	ErrFormatFlags Error = "invalid format (repeated flags)"
	// ErrFormatWidth is returned when width or precision have more than two digits.
	ErrFormatWidth Error = "invalid format (width or precision too long)"
	// ErrFormatInteger is returned when an integer conversion gets NaN, an
	// infinity or a number beyond 64 bits; in Lua 5.1 the outcome depends on
	// the machine.
	ErrFormatInteger Error = "number has no integer representation"
)

// formatFlagsMax is Lua 5.1's: each of "-+ #0" once.
const formatFlagsMax = 5

// spec is one conversion of a format, the part between % and the letter.
type spec struct {
	minus, plus, space, alt, zero bool
	width, precision              int // precision is -1 when absent
	verb                          byte
}

// Format is string.format. Conversions and flags are Lua 5.1's and print what C
// prints in the C locale, with these things fixed:
//
//   - %d %i %u %c %o %x %X cut off the fraction of a number, as Lua 5.1 does;
//     out of range is ErrFormatInteger. The unsigned ones take a negative number
//     as its 64-bit two's complement and reach to 2^64-1.
//   - NaN never has a sign of its own; -0 prints as 0, as in FormatNumber.
//   - %s and %c let NUL bytes through; Lua 5.1 ends the text there.
//   - %F is not there, as in Lua 5.1.
func Format(m Meter, format string, args Args) (string, error) {
	b := builder{meter: m}
	if err := m.Steps(1 + len(format)/plainBytesPerStep); err != nil {
		return "", err
	}
	for arg := 1; ; {
		i := strings.IndexByte(format, '%')
		if i < 0 {
			if b.buf == nil {
				return format, nil
			}
			err := b.add(format, "")
			return string(b.buf), err
		}
		text := format[:i]
		format = format[i+1:]
		if format != "" && format[0] == '%' {
			if err := b.add(text, "%"); err != nil {
				return "", err
			}
			format = format[1:]
			continue
		}
		if err := b.add(text, ""); err != nil {
			return "", err
		}
		sp, n, err := parseSpec(format)
		if err == nil {
			err = sp.append(&b, args, arg)
		}
		if err != nil {
			return "", err
		}
		format = format[n:]
		arg++
	}
}

// parseSpec reads the conversion at the start of s and returns its length.
func parseSpec(s string) (sp spec, n int, err error) {
	for n < len(s) && sp.setFlag(s[n]) {
		n++
	}
	if n > formatFlagsMax {
		return sp, n, ErrFormatFlags
	}
	sp.precision = -1
	n, sp.width = twoDigits(s, n)
	if n < len(s) && s[n] == '.' {
		n, sp.precision = twoDigits(s, n+1)
	}
	if n < len(s) && s[n] >= '0' && s[n] <= '9' {
		return sp, n, ErrFormatWidth
	}
	if n == len(s) {
		return sp, n, Error("invalid option '%' to 'format'")
	}
	sp.verb = s[n]
	return sp, n + 1, nil
}

func (sp *spec) setFlag(c byte) bool {
	switch c {
	case '-':
		sp.minus = true
	case '+':
		sp.plus = true
	case ' ':
		sp.space = true
	case '#':
		sp.alt = true
	case '0':
		sp.zero = true
	default:
		return false
	}
	return true
}

func twoDigits(s string, i int) (next, v int) {
	next = i
	for next < len(s) && next < i+2 && s[next] >= '0' && s[next] <= '9' {
		v = v*10 + int(s[next]-'0')
		next++
	}
	return next, v
}

// append converts argument i and adds its text.
func (sp *spec) append(b *builder, args Args, i int) error {
	switch sp.verb {
	case 's', 'q':
		s, err := args.String(i)
		if err != nil {
			return err
		}
		if sp.verb == 'q' {
			return b.quote(s)
		}
		if sp.precision >= 0 && sp.precision < len(s) {
			s = s[:sp.precision]
		}
		return sp.pad(b, s)
	case 'd', 'i', 'c', 'u', 'o', 'x', 'X', 'e', 'E', 'f', 'g', 'G':
		f, err := args.Number(i)
		if err != nil {
			return err
		}
		return sp.number(b, f)
	}
	return Error("invalid option '%" + string([]byte{sp.verb}) + "' to 'format'")
}

func (sp *spec) number(b *builder, f float64) error {
	// The longest text, %.99f of the largest number, has 410 bytes.
	var room [512]byte
	switch sp.verb {
	case 'e', 'E', 'f', 'g', 'G':
		if err := b.meter.Steps(floatSteps + sp.digitSteps(f)); err != nil {
			return err
		}
		return sp.float(b, room[:0], f)
	case 'd', 'i':
		if !(f >= -two63 && f < two63) {
			return ErrFormatInteger
		}
		i := int64(f)
		u := uint64(i)
		if i < 0 {
			u = -u
		}
		return sp.integer(b, strconv.AppendUint(room[:0], u, 10), sp.sign(i < 0), u == 0)
	}
	if !(f >= -two63 && f < two64) {
		return ErrFormatInteger
	}
	u := toUint(f)
	switch sp.verb {
	case 'c':
		return sp.pad(b, string([]byte{byte(u)}))
	case 'u':
		return sp.integer(b, strconv.AppendUint(room[:0], u, 10), "", u == 0)
	case 'o':
		digits := strconv.AppendUint(room[:0], u, 8)
		switch {
		case sp.alt && u == 0 && sp.precision == 0:
			sp.precision = 1
		case sp.alt && u != 0 && sp.precision <= len(digits):
			digits = append([]byte("0"), digits...)
		}
		return sp.integer(b, digits, "", u == 0)
	}
	digits := strconv.AppendUint(room[:0], u, 16)
	prefix := ""
	if sp.alt && u != 0 {
		prefix = "0x"
	}
	if sp.verb == 'X' {
		digits, prefix = bytes.ToUpper(digits), strings.ToUpper(prefix)
	}
	return sp.integer(b, digits, prefix, u == 0)
}

// floatSteps is charged for a float.
const floatSteps = 16

// digitSteps is what the exact digits of f cost beyond that: %f, and the others
// with more digits than a float holds, have strconv multiply or divide all
// digits by two as often as the exponent says, 60 times at once.
func (sp *spec) digitSteps(f float64) int {
	const short, atOnce, digitsPerStep = 17, 60, 64
	if f-f != 0 || f == 0 || sp.verb != 'f' && sp.precision <= short {
		return 0
	}
	_, exp := math.Frexp(f)
	digits := exp / 3
	if exp < 0 {
		exp = -exp
		digits = exp * 3 / 4
	}
	return (exp/atOnce + 1) * (digits + short) / digitsPerStep
}

// toUint cuts f, which is in range, to 64 bits; negative ones wrap.
func toUint(f float64) uint64 {
	if f >= two63 {
		return uint64(int64(f-two63)) + 1<<63
	}
	return uint64(int64(f))
}

// sign returns what stands before a number.
func (sp *spec) sign(negative bool) string {
	switch {
	case negative:
		return "-"
	case sp.plus:
		return "+"
	case sp.space:
		return " "
	}
	return ""
}

// integer adds digits with sign or prefix, precision and padding.
func (sp *spec) integer(b *builder, digits []byte, prefix string, isZero bool) error {
	if sp.precision >= 0 {
		sp.zero = false
		if isZero {
			digits = digits[:0]
		}
		if n := sp.precision - len(digits); n > 0 {
			prefix += strings.Repeat("0", n)
		}
	}
	return sp.padNumber(b, prefix, string(digits))
}

// float adds a number in one of the conversions e, f and g.
func (sp *spec) float(b *builder, buf []byte, f float64) error {
	if f-f != 0 {
		sign := sp.sign(f < 0)
		if f < 0 {
			f = -f
		}
		sp.zero = false
		text := string(appendNonFinite(buf, f))
		if sp.verb == 'E' || sp.verb == 'G' {
			text = strings.ToUpper(text)
		}
		return sp.pad(b, sign+text)
	}
	if sp.precision < 0 {
		sp.precision = 6
	}
	verb := sp.verb | 0x20
	if verb == 'g' {
		sp.precision = max(sp.precision, 1)
	}
	negative := f < 0
	if negative {
		f = -f
	} else if f == 0 {
		f = 0 // not -0
	}
	switch {
	case verb == 'g' && sp.alt:
		buf = appendAltG(buf, f, sp.precision)
	default:
		buf = strconv.AppendFloat(buf, f, verb, sp.precision, 64)
		if sp.alt && sp.precision == 0 {
			buf = addPoint(buf)
		}
	}
	if sp.verb != verb {
		buf = bytes.ToUpper(buf)
	}
	return sp.padNumber(b, sp.sign(negative), string(buf))
}

// appendAltG is %#g: as %g, without the removal of zeros at the end.
func appendAltG(buf []byte, f float64, precision int) []byte {
	e := strconv.AppendFloat(nil, f, 'e', precision-1, 64)
	exp, _ := strconv.Atoi(string(e[bytes.IndexByte(e, 'e')+1:]))
	if exp < -4 || exp >= precision {
		buf = append(buf, e...)
	} else {
		buf = strconv.AppendFloat(buf, f, 'f', precision-1-exp, 64)
	}
	if bytes.IndexByte(buf, '.') < 0 {
		buf = addPoint(buf)
	}
	return buf
}

// addPoint puts a point before the exponent or at the end.
func addPoint(buf []byte) []byte {
	i := bytes.IndexByte(buf, 'e')
	if i < 0 {
		return append(buf, '.')
	}
	return append(append(append([]byte(nil), buf[:i]...), '.'), buf[i:]...)
}

// padNumber adds a number to the width; zeros go behind the prefix.
func (sp *spec) padNumber(b *builder, prefix, digits string) error {
	n := sp.width - len(prefix) - len(digits)
	if sp.zero && !sp.minus && n > 0 {
		prefix += strings.Repeat("0", n)
	}
	return sp.pad(b, prefix+digits)
}

// pad adds text with spaces to the width.
func (sp *spec) pad(b *builder, s string) error {
	spaces := ""
	if n := sp.width - len(s); n > 0 {
		spaces = strings.Repeat(" ", n)
	}
	if sp.minus {
		return b.add(s, spaces)
	}
	return b.add(spaces, s)
}

// quoteSteps is charged for a character that %q escapes.
const quoteSteps = 2

// quote adds s as %q does: a text that Lua reads back as s.
func (b *builder) quote(s string) error {
	if err := b.add(`"`, ""); err != nil {
		return err
	}
	for {
		i := strings.IndexAny(s, "\"\\\n\r\x00")
		if i < 0 {
			return b.add(s, `"`)
		}
		if err := b.meter.Steps(quoteSteps); err != nil {
			return err
		}
		escape := `\` + s[i:i+1]
		switch s[i] {
		case '\r':
			escape = `\r`
		case 0:
			escape = `\000`
		}
		if err := b.add(s[:i], escape); err != nil {
			return err
		}
		s = s[i+1:]
	}
}
