package shell

import (
	"errors"
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
)

// depthMax bounds the nesting of tables sent, received and printed; the
// machine's own limit is the same.
const depthMax = 100

// ErrNotData is returned when a value holds something that can't be sent to the
// cluster: a function, a thread, userdata, a table inside itself.
var ErrNotData = errors.New("not data")

// appendValue appends a Lua value in msgpack: a table whose keys are 1..n is an
// array, any other a map with its keys in canonical order. path names the value
// in errors.
func appendValue(b []byte, v lua.LValue, path string, depth int) ([]byte, error) {
	switch v := v.(type) {
	case *lua.LNilType:
		return codec.AppendNil(b), nil
	case lua.LBool:
		return codec.AppendBool(b, bool(v)), nil
	case lua.LNumber:
		return codec.AppendNumber(b, float64(v)), nil
	case lua.LString:
		return codec.AppendString(b, string(v)), nil
	case *lua.LTable:
		return appendTable(b, v, path, depth)
	case *lua.LFunction:
		return b, fmt.Errorf("%s: functions can't be replicated: %w", path, ErrNotData)
	}
	return b, fmt.Errorf("%s: a %s can't be replicated: %w", path, typeName(v), ErrNotData)
}

func appendTable(b []byte, t *lua.LTable, path string, depth int) ([]byte, error) {
	if depth >= depthMax {
		const pathMax = 60
		if len(path) > pathMax {
			path = path[:pathMax] + "..."
		}
		return b, fmt.Errorf("%s: nested deeper than %d, or inside itself: %w", path, depthMax, ErrNotData)
	}
	if t.Metatable != lua.LNil && t.Metatable != nil {
		return b, fmt.Errorf("%s: a table with a metatable can't be replicated: %w", path, ErrNotData)
	}
	n, keys := tableKeys(t)
	var err error
	if len(keys) == 0 {
		b = codec.AppendArrayLen(b, n)
		for i := 1; i <= n && err == nil; i++ {
			b, err = appendValue(b, t.RawGetInt(i), path+"["+strconv.Itoa(i)+"]", depth+1)
		}
		return b, err
	}
	b = codec.AppendMapLen(b, n+len(keys))
	for i := 1; i <= n && err == nil; i++ {
		b = codec.AppendInt(b, int64(i))
		b, err = appendValue(b, t.RawGetInt(i), path+"["+strconv.Itoa(i)+"]", depth+1)
	}
	for _, k := range keys {
		if err != nil {
			break
		}
		at := path + keySuffix(k)
		switch k.(type) {
		case lua.LBool, lua.LNumber, lua.LString:
			b, _ = appendValue(b, k, at, depth)
		default:
			return b, fmt.Errorf("%s: a key that is a %s can't be replicated: %w", path, typeName(k), ErrNotData)
		}
		b, err = appendValue(b, t.RawGet(k), at, depth+1)
	}
	return b, err
}

// AppendValue appends a Lua value in msgpack.
func AppendValue(b []byte, v lua.LValue) ([]byte, error) { return appendValue(b, v, "value", 0) }

// appendArgs appends the array of a call's arguments.
func appendArgs(b []byte, args []lua.LValue) ([]byte, error) {
	b = codec.AppendArrayLen(b, len(args))
	var err error
	for i, a := range args {
		if b, err = appendValue(b, a, "argument "+strconv.Itoa(i+1), 0); err != nil {
			return b, err
		}
	}
	return b, nil
}

// decodeValue reads one value as Lua's.
func decodeValue(d *codec.Decoder, depth int) (lua.LValue, error) {
	if depth > depthMax {
		return lua.LNil, codec.ErrDepth
	}
	switch d.Peek() {
	case codec.KindNil:
		return lua.LNil, d.Nil()
	case codec.KindBool:
		v, err := d.Bool()
		return lua.LBool(v), err
	case codec.KindInt, codec.KindFloat:
		v, err := d.Number()
		return lua.LNumber(v), err
	case codec.KindArray:
		n, err := d.ArrayLen()
		if err != nil {
			return lua.LNil, err
		}
		t := &lua.LTable{Metatable: lua.LNil}
		for i := 1; i <= n; i++ {
			v, err := decodeValue(d, depth+1)
			if err != nil {
				return lua.LNil, err
			}
			t.RawSetInt(i, v)
		}
		return t, nil
	case codec.KindMap:
		return decodeMap(d, depth)
	}
	v, err := d.String()
	return lua.LString(v), err
}

func decodeMap(d *codec.Decoder, depth int) (lua.LValue, error) {
	n, err := d.MapLen()
	if err != nil {
		return lua.LNil, err
	}
	t := &lua.LTable{Metatable: lua.LNil}
	for range n {
		k, err := decodeValue(d, depth+1)
		if err != nil {
			return lua.LNil, err
		}
		v, err := decodeValue(d, depth+1)
		if err != nil {
			return lua.LNil, err
		}
		if err = setField(t, k, v); err != nil {
			return lua.LNil, err
		}
	}
	return t, nil
}

// sparseKeyMax is the highest integer key accepted beyond the next index: the
// tables of gopher-lua grow an array up to any integer key, so a single huge one
// would take the process's memory.
const sparseKeyMax = 1 << 22

// setField sets a field, refusing what gopher-lua's tables can't hold.
func setField(t *lua.LTable, k, v lua.LValue) error {
	if f, ok := k.(lua.LNumber); ok && (f != f || f > sparseKeyMax && f < lua.LNumber(lua.MaxArrayIndex) && int(f) > t.Len()+1) {
		return fmt.Errorf("key %s of a table: %w", formatNumber(float64(f)), codec.ErrRange)
	}
	if k == lua.LNil {
		return fmt.Errorf("key nil of a table: %w", codec.ErrType)
	}
	t.RawSet(k, v)
	return nil
}

// decodeValues reads an array of values.
func decodeValues(b []byte) ([]lua.LValue, error) {
	d := codec.NewDecoder(b)
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	out := make([]lua.LValue, 0, n)
	for range n {
		v, err := decodeValue(&d, 0)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, d.End()
}

// tableKeys is the canonical order of a table's keys: 1..n are counted, the
// others follow as booleans, numbers ascending, strings bytewise, and last what
// can't be replicated.
func tableKeys(t *lua.LTable) (n int, keys []lua.LValue) {
	for n < t.Len() && t.RawGetInt(n+1) != lua.LNil {
		n++
	}
	t.ForEach(func(k, _ lua.LValue) {
		if f, ok := k.(lua.LNumber); ok && f >= 1 && f <= lua.LNumber(n) && float64(f) == math.Trunc(float64(f)) {
			return
		}
		keys = append(keys, k)
	})
	sort.SliceStable(keys, func(i, j int) bool { return keyLess(keys[i], keys[j]) })
	return n, keys
}

func keyRank(k lua.LValue) int {
	switch k.Type() {
	case lua.LTBool:
		return 0
	case lua.LTNumber:
		return 1
	case lua.LTString:
		return 2
	}
	return 3
}

func keyLess(a, b lua.LValue) bool {
	if ra, rb := keyRank(a), keyRank(b); ra != rb {
		return ra < rb
	}
	switch a := a.(type) {
	case lua.LBool:
		return !bool(a) && bool(b.(lua.LBool))
	case lua.LNumber:
		return a < b.(lua.LNumber)
	case lua.LString:
		return a < b.(lua.LString)
	}
	return a.String() < b.String()
}

// keySuffix is how a key continues a path: .name or [5].
func keySuffix(k lua.LValue) string {
	if s, ok := k.(lua.LString); ok && isName(string(s)) {
		return "." + string(s)
	}
	return "[" + Format(k) + "]"
}

// isName tells whether s can be written as a Lua name.
func isName(s string) bool {
	if s == "" || luaKeywords[s] {
		return false
	}
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return true
}

var luaKeywords = map[string]bool{
	"and": true, "break": true, "do": true, "else": true, "elseif": true, "end": true, "false": true,
	"for": true, "function": true, "goto": true, "if": true, "in": true, "local": true, "nil": true,
	"not": true, "or": true, "repeat": true, "return": true, "then": true, "true": true, "until": true, "while": true,
}

// Format writes a value in Lua notation on one line, tables in canonical order.
func Format(v lua.LValue) string {
	var b strings.Builder
	formatTo(&b, v, nil)
	return b.String()
}

func formatTo(b *strings.Builder, v lua.LValue, outer []*lua.LTable) {
	switch v := v.(type) {
	case lua.LNumber:
		b.WriteString(formatNumber(float64(v)))
	case lua.LString:
		b.WriteString(quote(string(v)))
	case *lua.LTable:
		formatTable(b, v, outer)
	case *lua.LUserData:
		b.WriteString(userdataText(v))
	case *lua.LFunction:
		b.WriteString("function")
	default:
		b.WriteString(v.String())
	}
}

func formatTable(b *strings.Builder, t *lua.LTable, outer []*lua.LTable) {
	for _, o := range outer {
		if o == t {
			b.WriteString("{...}") // inside itself
			return
		}
	}
	if len(outer) >= depthMax {
		b.WriteString("{...}")
		return
	}
	outer = append(outer, t)
	n, keys := tableKeys(t)
	b.WriteByte('{')
	for i := 1; i <= n; i++ {
		if i > 1 {
			b.WriteString(", ")
		}
		formatTo(b, t.RawGetInt(i), outer)
	}
	for i, k := range keys {
		if i+n > 0 {
			b.WriteString(", ")
		}
		if s, ok := k.(lua.LString); ok && isName(string(s)) {
			b.WriteString(string(s))
		} else {
			b.WriteByte('[')
			formatTo(b, k, outer)
			b.WriteByte(']')
		}
		b.WriteString(" = ")
		formatTo(b, t.RawGet(k), outer)
	}
	b.WriteByte('}')
}

// formatNumber writes integral numbers without exponent or point, others in the
// shortest form that reads back as the same number.
func formatNumber(f float64) string {
	switch {
	case f != f:
		return "0/0"
	case math.IsInf(f, 1):
		return "math.huge"
	case math.IsInf(f, -1):
		return "-math.huge"
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return strconv.FormatInt(int64(f), 10)
	}
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// quote writes a string as a Lua literal.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// FormatResults is how the results of a call or an expression are shown: one
// line per value, a single string as its text.
func FormatResults(values []lua.LValue) []string {
	if len(values) == 1 {
		if s, ok := values[0].(lua.LString); ok {
			return []string{string(s)}
		}
	}
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = Format(v)
	}
	return out
}

// typeName is the type of a value as messages name it.
func typeName(v lua.LValue) string {
	if u, ok := v.(*lua.LUserData); ok {
		if _, ok := u.Value.(*proxy); ok {
			return "object"
		}
	}
	return v.Type().String()
}
