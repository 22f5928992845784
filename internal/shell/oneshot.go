package shell

import (
	"context"
	"fmt"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/client"
	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// Drop removes an object and its state.
func Drop(ctx context.Context, c Cluster, name string) error {
	_, err := c.Exec(ctx, wire.OpPropose, wire.Linearizable, command.AppendDrop(nil, 0, 0, name))
	return err
}

// GoValue is a Lua value as the Go client takes it.
func GoValue(v lua.LValue) (any, error) {
	b, err := AppendValue(codec.AppendArrayLen(nil, 1), v)
	if err != nil {
		return nil, err
	}
	values, err := client.DecodeValues(b)
	if err != nil || len(values) != 1 {
		return nil, fmt.Errorf("value %s: %w", Format(v), err)
	}
	return values[0], nil
}

// ScriptNames are the names of scripts.
func ScriptNames(scripts []command.Script) []string {
	names := make([]string, len(scripts))
	for i, sc := range scripts {
		names[i] = sc.Name
	}
	return names
}

// ScriptEntry is a deployed script as `syncsh scripts --json` prints it.
type ScriptEntry struct {
	Name    string        `json:"name"`
	Bytes   int           `json:"bytes"`
	Objects []ObjectEntry `json:"objects"`
}

// ObjectEntry is an object of a script.
type ObjectEntry struct {
	Name    string   `json:"name"`
	Version int      `json:"version"`
	Methods []string `json:"methods"`
}

// ScriptList is what is deployed.
func ScriptList(d *command.Description) []ScriptEntry {
	out := []ScriptEntry{}
	for _, sc := range d.Scripts {
		e := ScriptEntry{Name: sc.Name, Bytes: len(sc.Source), Objects: []ObjectEntry{}}
		for _, o := range d.Objects {
			if o.Script != sc.Name {
				continue
			}
			methods := []string{}
			for _, m := range o.Methods {
				methods = append(methods, m.Name)
			}
			e.Objects = append(e.Objects, ObjectEntry{o.Name, o.Version, methods})
		}
		out = append(out, e)
	}
	return out
}
