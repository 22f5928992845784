package shell

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"sort"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// ErrJSON is returned for a value that JSON can't hold.
var ErrJSON = errors.New("can't be written as JSON")

// JSON writes a value as JSON on one line, the keys of objects sorted: a table
// whose keys are 1..n is an array, any other, the empty one too, an object.
func JSON(v lua.LValue) (string, error) {
	var b strings.Builder
	err := writeJSON(&b, v, 0)
	return b.String(), err
}

// ResultsJSON writes the results of a call as one JSON value: nothing is null,
// one is itself, several are an array.
func ResultsJSON(values []lua.LValue) (string, error) {
	switch len(values) {
	case 0:
		return "null", nil
	case 1:
		return JSON(values[0])
	}
	var b strings.Builder
	b.WriteByte('[')
	for i, v := range values {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := writeJSON(&b, v, 1); err != nil {
			return "", err
		}
	}
	b.WriteByte(']')
	return b.String(), nil
}

func writeJSON(b *strings.Builder, v lua.LValue, depth int) error {
	if depth > depthMax {
		return fmt.Errorf("nested deeper than %d: %w", depthMax, ErrJSON)
	}
	switch v := v.(type) {
	case *lua.LNilType:
		b.WriteString("null")
	case lua.LBool:
		b.WriteString(v.String())
	case lua.LNumber:
		f := float64(v)
		if f != f || math.IsInf(f, 0) {
			return fmt.Errorf("%s %w", formatNumber(f), ErrJSON)
		}
		b.WriteString(formatNumber(f))
	case lua.LString:
		writeJSONString(b, string(v))
	case *lua.LTable:
		return writeJSONTable(b, v, depth)
	default:
		return fmt.Errorf("a %s %w", typeName(v), ErrJSON)
	}
	return nil
}

func writeJSONString(b *strings.Builder, s string) {
	var text strings.Builder
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	// Strings of scripts are bytes; what is not UTF-8 becomes U+FFFD.
	_ = e.Encode(s)
	b.WriteString(strings.TrimSuffix(text.String(), "\n"))
}

func writeJSONTable(b *strings.Builder, t *lua.LTable, depth int) error {
	n, keys := tableKeys(t)
	if len(keys) == 0 && n > 0 {
		b.WriteByte('[')
		for i := 1; i <= n; i++ {
			if i > 1 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, t.RawGetInt(i), depth+1); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	type field struct {
		name  string
		value lua.LValue
	}
	fields := make([]field, 0, n+len(keys))
	for i := 1; i <= n; i++ {
		fields = append(fields, field{formatNumber(float64(i)), t.RawGetInt(i)})
	}
	for _, k := range keys {
		switch k := k.(type) {
		case lua.LString:
			fields = append(fields, field{string(k), t.RawGet(k)})
		case lua.LNumber, lua.LBool:
			fields = append(fields, field{Format(k), t.RawGet(k)})
		default:
			return fmt.Errorf("a key that is a %s %w", typeName(k), ErrJSON)
		}
	}
	sort.SliceStable(fields, func(i, j int) bool { return fields[i].name < fields[j].name })
	b.WriteByte('{')
	for i, f := range fields {
		if i > 0 {
			b.WriteByte(',')
		}
		writeJSONString(b, f.name)
		b.WriteByte(':')
		if err := writeJSON(b, f.value, depth+1); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// ParseJSON reads a JSON text as a Lua value; null is nil.
func ParseJSON(text string) (lua.LValue, error) {
	d := json.NewDecoder(strings.NewReader(text))
	var v any
	if err := d.Decode(&v); err != nil {
		return lua.LNil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return lua.LNil, fmt.Errorf("more after the value at byte %d", d.InputOffset())
	}
	return fromJSON(v), nil
}

func fromJSON(v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		t := &lua.LTable{Metatable: lua.LNil}
		for i, e := range v {
			t.RawSetInt(i+1, fromJSON(e))
		}
		return t
	case map[string]any:
		t := &lua.LTable{Metatable: lua.LNil}
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			t.RawSetString(name, fromJSON(v[name]))
		}
		return t
	}
	return lua.LNil
}
