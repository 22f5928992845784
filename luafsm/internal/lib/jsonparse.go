package lib

import (
	"strconv"
	"unicode/utf8"
)

// Handler takes the events of ParseJSON. An error ends the parse and is
// returned as it is.
//
// Key precedes each value of an object. Key and String get text of their own;
// it is charged before.
type Handler interface {
	Null() error
	Bool(v bool) error
	Number(f float64) error
	String(s string) error
	BeginArray() error
	EndArray() error
	BeginObject() error
	Key(s string) error
	EndObject() error
}

// jsonDepthMax bounds how deep arrays and objects nest; state has the same
// limit.
const jsonDepthMax = 100

// jsonKeyBytes is what remembering a key is charged, beside its text.
const jsonKeyBytes = 48

// ParseJSON reads one JSON text by RFC 8259, strictly, and calls h for what it
// finds. Beyond the grammar these are errors: text that is not UTF-8, a
// surrogate without its partner, a number beyond the range of a float, a key
// that occurs twice in an object, nesting deeper than 100. Errors of the text
// name the byte offset, from 0.
func ParseJSON(m Meter, s string, h Handler) error {
	p := jsonParser{meter: m, s: s, h: h}
	if err := m.Steps(1 + len(s)/plainBytesPerStep); err != nil {
		return err
	}
	if err := p.run(); err != nil {
		return err
	}
	p.space()
	if p.i < len(s) {
		return p.fail(p.i, "text after the value")
	}
	return nil
}

type jsonParser struct {
	meter Meter
	s     string
	i     int
	h     Handler
	open  []jsonLevel
}

// jsonLevel is an open array, or an open object with the keys seen.
type jsonLevel struct {
	keys map[string]struct{} // nil for an array; only looked up, never iterated
}

func (p *jsonParser) fail(at int, what string) error {
	return Error("JSON at byte " + strconv.Itoa(at) + ": " + what)
}

func (p *jsonParser) space() {
	for p.i < len(p.s) {
		switch p.s[p.i] {
		case ' ', '\t', '\n', '\r':
			p.i++
		default:
			return
		}
	}
}

// peek returns the next byte after white space, 0 at the end.
func (p *jsonParser) peek() byte {
	p.space()
	if p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// run reads a value with all that is in it; the stack is p.open.
func (p *jsonParser) run() error {
	for {
		if err := p.meter.Steps(1); err != nil {
			return err
		}
		opened, err := p.value()
		if err != nil {
			return err
		}
		for {
			more, err := p.next(opened)
			if err != nil {
				return err
			}
			if more {
				break
			}
			if len(p.open) == 0 {
				return nil
			}
			opened = false
		}
	}
}

// next goes from the end of a value, or from an opening bracket, to the start
// of the next value. Without one it closes the innermost level.
func (p *jsonParser) next(opened bool) (more bool, err error) {
	if len(p.open) == 0 {
		return false, nil
	}
	top := &p.open[len(p.open)-1]
	closing := byte(']')
	if top.keys != nil {
		closing = '}'
	}
	c := p.peek()
	switch {
	case c == closing:
		p.i++
		p.open = p.open[:len(p.open)-1]
		if closing == '}' {
			return false, p.h.EndObject()
		}
		return false, p.h.EndArray()
	case opened:
	case c == ',':
		p.i++
	default:
		return false, p.fail(p.i, "',' or '"+string(rune(closing))+"' expected")
	}
	if top.keys == nil {
		return true, nil
	}
	return true, p.key(top)
}

func (p *jsonParser) key(top *jsonLevel) error {
	if p.peek() != '"' {
		return p.fail(p.i, "key expected")
	}
	at := p.i
	k, err := p.text()
	if err != nil {
		return err
	}
	if _, twice := top.keys[k]; twice {
		return p.fail(at, "key occurs twice")
	}
	if err := p.meter.Bytes(jsonKeyBytes); err != nil {
		return err
	}
	top.keys[k] = struct{}{}
	if p.peek() != ':' {
		return p.fail(p.i, "':' expected")
	}
	p.i++
	return p.h.Key(k)
}

// value reads a value that is no array or object, or opens one.
func (p *jsonParser) value() (opened bool, err error) {
	switch c := p.peek(); {
	case c == '[':
		if err := p.push(jsonLevel{}); err != nil {
			return false, err
		}
		return true, p.h.BeginArray()
	case c == '{':
		if err := p.push(jsonLevel{keys: map[string]struct{}{}}); err != nil {
			return false, err
		}
		return true, p.h.BeginObject()
	case c == '"':
		s, err := p.text()
		if err != nil {
			return false, err
		}
		return false, p.h.String(s)
	case c == '-' || c >= '0' && c <= '9':
		return false, p.number()
	case p.word("null"):
		return false, p.h.Null()
	case p.word("true"):
		return false, p.h.Bool(true)
	case p.word("false"):
		return false, p.h.Bool(false)
	}
	return false, p.fail(p.i, "value expected")
}

func (p *jsonParser) push(l jsonLevel) error {
	if len(p.open) == jsonDepthMax {
		return p.fail(p.i, "nested too deep")
	}
	p.i++
	p.open = append(p.open, l)
	return nil
}

func (p *jsonParser) word(w string) bool {
	if len(p.s)-p.i < len(w) || p.s[p.i:p.i+len(w)] != w {
		return false
	}
	p.i += len(w)
	return true
}

func (p *jsonParser) number() error {
	at := p.i
	if p.s[p.i] == '-' {
		p.i++
	}
	end, n := skipDigits(p.s, p.i)
	if n == 0 || n > 1 && p.s[p.i] == '0' {
		return p.fail(at, "malformed number")
	}
	if end < len(p.s) && p.s[end] == '.' {
		if end, n = skipDigits(p.s, end+1); n == 0 {
			return p.fail(at, "malformed number")
		}
	}
	if end < len(p.s) && p.s[end]|0x20 == 'e' {
		end++
		if end < len(p.s) && (p.s[end] == '+' || p.s[end] == '-') {
			end++
		}
		if end, n = skipDigits(p.s, end); n == 0 {
			return p.fail(at, "malformed number")
		}
	}
	p.i = end
	if err := p.meter.Steps((end-at)/plainBytesPerStep + DecimalSteps(p.s[at:end])); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(p.s[at:end], 64)
	if err != nil {
		return p.fail(at, "number out of range")
	}
	return p.h.Number(f)
}

// text reads a string; p.i is at its opening quote.
func (p *jsonParser) text() (string, error) {
	from := p.i + 1
	escaped := false
	end := from
	for ; ; end++ {
		if end >= len(p.s) {
			return "", p.fail(p.i, "string without end")
		}
		c := p.s[end]
		if c == '"' {
			break
		}
		if c < ' ' {
			return "", p.fail(end, "control character in a string")
		}
		if c == '\\' {
			escaped = true
			end++
		}
	}
	raw := p.s[from:end]
	p.i = end + 1
	if err := p.meter.Bytes(len(raw)); err != nil {
		return "", err
	}
	if !utf8.ValidString(raw) {
		return "", p.fail(from, "string is not valid UTF-8")
	}
	if !escaped {
		return string([]byte(raw)), nil
	}
	return p.unescape(raw, from)
}

// unescape resolves the escapes of raw, which starts at byte from.
func (p *jsonParser) unescape(raw string, from int) (string, error) {
	b := make([]byte, 0, len(raw))
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			b = append(b, raw[i])
			continue
		}
		at := from + i
		i++
		switch raw[i] {
		case '"', '\\', '/':
			b = append(b, raw[i])
		case 'b':
			b = append(b, '\b')
		case 't':
			b = append(b, '\t')
		case 'n':
			b = append(b, '\n')
		case 'f':
			b = append(b, '\f')
		case 'r':
			b = append(b, '\r')
		case 'u':
			r, n := escapedRune(raw[i-1:])
			if n == 0 {
				return "", p.fail(at, `malformed \u`)
			}
			b = utf8.AppendRune(b, r)
			i += n - 2
		default:
			return "", p.fail(at, "unknown escape")
		}
	}
	return string(b), nil
}

// escapedRune reads \uxxxx, or two of them that are a surrogate pair, at the
// start of s and returns how long it is; 0 when it is malformed.
func escapedRune(s string) (r rune, n int) {
	hi, ok := hexUnit(s)
	switch {
	case !ok || hi >= 0xdc00 && hi < 0xe000:
		return 0, 0
	case hi < 0xd800 || hi >= 0xe000:
		return hi, 6
	}
	lo, ok := hexUnit(s[6:])
	if !ok || lo < 0xdc00 || lo >= 0xe000 {
		return 0, 0
	}
	return 0x10000 + (hi-0xd800)<<10 + lo - 0xdc00, 12
}

func hexUnit(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	var r rune
	for i := 2; i < 6; i++ {
		d := digitValue(s[i])
		if d >= 16 {
			return 0, false
		}
		r = r<<4 | rune(d)
	}
	return r, true
}
