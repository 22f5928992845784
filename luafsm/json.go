package luafsm

import (
	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/syncsh/syncsh/luafsm/state"
	lua "github.com/yuin/gopher-lua"
)

// jsonFunctions is the json library.
var jsonFunctions = map[string]lua.LGFunction{"decode": jsonDecode, "encode": jsonEncode}

// jsonEncode is json.encode(v): canonical, so equal values give equal texts. A
// table whose keys are 1..n is an array, any other, also the empty one, an
// object with its keys as strings.
func jsonEncode(L *lua.LState) int {
	x := execOf(L)
	e := jsonWriter{x: x}
	e.value(checkAny(L, 1), 0)
	L.Push(lua.LString(e.b))
	return 1
}

type jsonWriter struct {
	x *exec
	b []byte
}

// room charges n bytes that are about to be appended.
func (e *jsonWriter) room(n int) {
	e.x.must(e.x.Steps(iterSteps))
	e.x.must(e.x.Bytes(n))
	if len(e.b)+n > e.x.limits.stringBytes {
		e.x.raise(errStringBytes)
	}
}

func (e *jsonWriter) value(v lua.LValue, depth int) {
	var err error
	switch v := v.(type) {
	case *lua.LNilType:
		e.room(4)
		e.b = append(e.b, "null"...)
	case lua.LBool:
		e.room(5)
		e.b = append(e.b, e.x.toString(v)...)
	case lua.LNumber:
		e.room(numberTextMax)
		e.b, err = lib.AppendJSONNumber(e.b, float64(v))
	case lua.LString:
		e.text(string(v))
	default:
		t, ok := state.TableOf(v)
		if !ok {
			throwf(e.x.L, "json.encode: a %s is no data", typeName(v))
		}
		if depth >= e.x.limits.nesting {
			throwf(e.x.L, "json.encode: %v", state.ErrDepth)
		}
		e.table(t, depth)
	}
	e.x.must(err)
}

func (e *jsonWriter) text(s string) {
	// The bound of what escapes may add is charged for long strings in part only:
	// what is built is checked after.
	e.room(len(s) + 2)
	e.x.must(e.x.Steps(len(s) / textBytes))
	before := len(e.b)
	b, err := lib.AppendJSONString(e.b, s)
	e.x.must(err)
	e.b = b
	if more := len(e.b) - before - len(s) - 2; more > 0 {
		e.room(more)
		e.x.must(e.x.Steps(more / textBytes))
	}
}

func (e *jsonWriter) table(t *state.Table, depth int) {
	view := e.x.view
	n := t.Len(view)
	array := n > 0 && t.Count(view) == n
	open, end := byte('{'), byte('}')
	if array {
		open, end = '[', ']'
	}
	e.room(2)
	e.b = append(e.b, open)
	number := "" // the text of the last key that is a number
	for it, first := t.Iter(view), true; ; first = false {
		k, v, ok := it.Next()
		if !ok {
			break
		}
		if n, ok := k.(lua.LNumber); ok && !array {
			text := lib.FormatNumber(float64(n))
			if text == number || t.GetString(view, text) != lua.LNil {
				throwf(e.x.L, "json.encode: two keys are \"%s\" as texts", text)
			}
			number = text
		}
		e.room(2)
		if !first {
			e.b = append(e.b, ',')
		}
		if !array {
			e.key(k)
		}
		e.value(v, depth+1)
	}
	e.b = append(e.b, end)
}

func (e *jsonWriter) key(k lua.LValue) {
	switch k := k.(type) {
	case lua.LString:
		e.text(string(k))
	case lua.LNumber:
		e.text(lib.FormatNumber(float64(k)))
	default:
		throwf(e.x.L, "json.encode: a %s can't be a key", typeName(k))
	}
	e.b = append(e.b, ':')
}

// jsonDecode is json.decode(text). null is nil: absent in a table.
func jsonDecode(L *lua.LState) int {
	x := execOf(L)
	d := jsonReader{x: x, out: lua.LNil}
	x.must(lib.ParseJSON(x, checkString(L, 1), &d))
	x.must(x.settle())
	L.Push(d.out)
	return 1
}

// jsonReader builds tables of what lib.ParseJSON finds.
type jsonReader struct {
	x    *exec
	out  lua.LValue
	open []jsonTable
}

type jsonTable struct {
	t   *state.Table
	n   int // values of an array so far
	key string
	arr bool
}

func (d *jsonReader) add(v lua.LValue) error {
	if err := d.x.Steps(iterSteps * 2); err != nil {
		return err
	}
	if len(d.open) == 0 {
		d.out = v
		return nil
	}
	top := &d.open[len(d.open)-1]
	if top.arr {
		top.n++
		return top.t.SetIndex(top.n, v)
	}
	return top.t.SetString(top.key, v)
}

func (d *jsonReader) begin(arr bool) error {
	if err := firstError(d.x.memory(tableBytes), d.x.Steps(4*tableSteps)); err != nil {
		return err
	}
	t := d.x.store.NewTable(0, 0)
	if err := d.add(t.UserData()); err != nil {
		return err
	}
	d.open = append(d.open, jsonTable{t: t, arr: arr})
	return d.x.settle()
}

func (d *jsonReader) end() error {
	d.open = d.open[:len(d.open)-1]
	return d.x.settle()
}

func (d *jsonReader) Null() error            { return d.add(lua.LNil) }
func (d *jsonReader) Bool(v bool) error      { return d.add(lua.LBool(v)) }
func (d *jsonReader) Number(f float64) error { return d.add(lua.LNumber(f)) }
func (d *jsonReader) String(s string) error  { return d.add(lua.LString(s)) }
func (d *jsonReader) BeginArray() error      { return d.begin(true) }
func (d *jsonReader) EndArray() error        { return d.end() }
func (d *jsonReader) BeginObject() error     { return d.begin(false) }
func (d *jsonReader) EndObject() error       { return d.end() }

func (d *jsonReader) Key(s string) error {
	d.open[len(d.open)-1].key = s
	return nil
}
