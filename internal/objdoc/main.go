// Objdoc prints docs/OBJECTS.md: the documentation of the object library, from
// the --- comments of the scripts, behind a head that is written by hand. make
// docs runs it.
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/raft"
	"github.com/syncsh/syncsh/scripts"
)

//go:embed head.md
var head string

func main() {
	page, err := page()
	if err != nil {
		fmt.Fprintln(os.Stderr, "objdoc:", err)
		os.Exit(1)
	}
	os.Stdout.Write(page) //nolint:errcheck // make sees an empty file
}

// page is docs/OBJECTS.md.
func page() ([]byte, error) {
	d, err := describe()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(head)
	for _, o := range d.Objects {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| method | kind | what it does |\n|---|---|---|\n", o.Name, paragraphs(o.Doc))
		for _, kind := range []command.MethodKind{command.Replicated, command.QueryOnly, command.Local} {
			for _, m := range o.Methods {
				if m.Kind == kind {
					fmt.Fprintf(&b, "| `%s(%s)` | %s | %s |\n", m.Name, strings.Join(m.Params, ", "), kind, cell(m.Doc))
				}
			}
		}
	}
	return b.Bytes(), nil
}

// describe deploys the library to a machine and asks it what it has got.
func describe() (command.Description, error) {
	var none command.Description
	m := luafsm.New(luafsm.Options{})
	deploy := command.AppendDeploy(nil, 0, 0, scripts.All())
	data := command.AppendBatchHead(nil, command.BatchHead{Clock: 1, Seed: 1, Count: 1})
	var res luafsm.Results
	m.Apply(raft.Entry{Index: 1, Span: 1, Kind: raft.EntryBatch, Data: codec.AppendBytes(data, deploy)}, &res)
	if _, err := values(res.At(0)); err != nil {
		return none, err
	}
	v := m.Publish()
	defer v.Release()
	b, err := values(luafsm.NewQuerier().Query(v, command.AppendDescribe(nil), nil))
	if err != nil {
		return none, err
	}
	d := codec.NewDecoder(b)
	if _, err := d.ArrayLen(); err != nil {
		return none, err
	}
	return command.DecodeDescription(&d)
}

// values are those of a result, or its error.
func values(b []byte) ([]byte, error) {
	d := codec.NewDecoder(b)
	r, err := command.DecodeResult(&d)
	if err != nil {
		return nil, err
	}
	return r.Values, r.Err()
}

// paragraphs joins the lines of a comment, except where one is empty.
func paragraphs(doc string) string {
	var out []string
	for _, p := range strings.Split(doc, "\n\n") {
		out = append(out, strings.Join(strings.Fields(p), " "))
	}
	return strings.Join(out, "\n\n")
}

// cell is a comment as a cell of a table.
func cell(doc string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(doc), " "), "|", `\|`)
}
