package command

import (
	"fmt"

	"github.com/syncsh/syncsh/internal/codec"
)

// MethodKind says where a method runs.
type MethodKind uint8

const (
	Replicated MethodKind = 1
	QueryOnly  MethodKind = 2
	Local      MethodKind = 3
)

func (k MethodKind) String() string {
	return [...]string{"unknown", "replicated", "query", "local"}[k&3]
}

// Method of an object, as its script defines it.
type Method struct {
	Name   string
	Kind   MethodKind
	Params []string // "..." last when it takes more
	Doc    string   // its --- comment, lines joined by \n
	Line   int      // of the definition in the object's script
}

// Object that is deployed.
type Object struct {
	Name      string
	Prototype string // the object whose methods it has; empty when it has its own
	Version   int
	Script    string // name of the script that defines it; empty when no script does any more
	Doc       string
	Methods   []Method // sorted by name
}

// Description answers a Describe query: its result has one value, this array:
//
//	[[[name, prototype, version, script, doc, [[name, kind, [param...], doc, line]...]]...], [[script name, source]...]]
type Description struct {
	Objects []Object // sorted by name
	Scripts []Script // in deploy order
}

// AppendDescription appends the description as one value.
func AppendDescription(b []byte, d Description) []byte {
	b = codec.AppendArrayLen(b, 2)
	b = codec.AppendArrayLen(b, len(d.Objects))
	for _, o := range d.Objects {
		b = codec.AppendArrayLen(b, 6)
		b = codec.AppendString(b, o.Name)
		b = codec.AppendString(b, o.Prototype)
		b = codec.AppendInt(b, int64(o.Version))
		b = codec.AppendString(b, o.Script)
		b = codec.AppendString(b, o.Doc)
		b = codec.AppendArrayLen(b, len(o.Methods))
		for _, m := range o.Methods {
			b = codec.AppendArrayLen(b, 5)
			b = codec.AppendString(b, m.Name)
			b = codec.AppendUint(b, uint64(m.Kind))
			b = codec.AppendArrayLen(b, len(m.Params))
			for _, p := range m.Params {
				b = codec.AppendString(b, p)
			}
			b = codec.AppendString(b, m.Doc)
			b = codec.AppendInt(b, int64(m.Line))
		}
	}
	b = codec.AppendArrayLen(b, len(d.Scripts))
	for _, s := range d.Scripts {
		b = codec.AppendArrayLen(b, 2)
		b = codec.AppendString(b, s.Name)
		b = codec.AppendString(b, s.Source)
	}
	return b
}

// DecodeDescription reads what AppendDescription wrote.
func DecodeDescription(d *codec.Decoder) (out Description, err error) {
	if err = d.FixedArray(2); err != nil {
		return out, err
	}
	if out.Objects, err = list(d, decodeObject); err != nil {
		return out, err
	}
	out.Scripts, err = list(d, decodeScript)
	return out, err
}

// list reads an array whose values one reads.
func list[T any](d *codec.Decoder, one func(*codec.Decoder) (T, error)) ([]T, error) {
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	var out []T
	for range n {
		v, err := one(d)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func decodeObject(d *codec.Decoder) (o Object, err error) {
	if err = d.FixedArray(6); err != nil {
		return o, err
	}
	version := int64(0)
	for _, read := range []func() error{
		func() (err error) { o.Name, err = d.String(); return },
		func() (err error) { o.Prototype, err = d.String(); return },
		func() (err error) { version, err = d.Int(); return },
		func() (err error) { o.Script, err = d.String(); return },
		func() (err error) { o.Doc, err = d.String(); return },
		func() (err error) { o.Methods, err = list(d, decodeMethod); return },
	} {
		if err = read(); err != nil {
			return o, err
		}
	}
	o.Version = int(version)
	return o, nil
}

func decodeMethod(d *codec.Decoder) (m Method, err error) {
	if err = d.FixedArray(5); err != nil {
		return m, err
	}
	kind, line := uint64(0), int64(0)
	for _, read := range []func() error{
		func() (err error) { m.Name, err = d.String(); return },
		func() (err error) { kind, err = d.Uint(); return },
		func() (err error) { m.Params, err = list(d, (*codec.Decoder).String); return },
		func() (err error) { m.Doc, err = d.String(); return },
		func() (err error) { line, err = d.Int(); return },
	} {
		if err = read(); err != nil {
			return m, err
		}
	}
	m.Kind, m.Line = MethodKind(kind), int(line)
	return m, nil
}

// DecodeScripts reads the list of scripts of a Deploy.
func DecodeScripts(d *codec.Decoder) ([]Script, error) {
	ahead := *d
	if n, err := ahead.ArrayLen(); err == nil && n > scriptsMax {
		return nil, fmt.Errorf("%d scripts, at most %d are allowed", n, scriptsMax)
	}
	return list(d, decodeScript)
}

// scriptsMax bounds the scripts of a deploy before they are read: an empty one is
// three bytes, and ten times as much in memory. The machine has a limit of its own.
const scriptsMax = 10_000

func decodeScript(d *codec.Decoder) (s Script, err error) {
	if err = d.FixedArray(2); err != nil {
		return s, err
	}
	if s.Name, err = d.String(); err != nil {
		return s, err
	}
	s.Source, err = d.String()
	return s, err
}
