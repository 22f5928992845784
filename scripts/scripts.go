// Package scripts is the object library that ships with syncsh, as source. All of
// it can be deployed by name; a node of its own starts with the default ones.
package scripts

import (
	"embed"
	"io/fs"
	"slices"

	"github.com/syncsh/syncsh/internal/command"
)

//go:embed *.lua
var files embed.FS

// All returns the scripts of the library, sorted by name.
func All() []command.Script {
	names, err := fs.Glob(files, "*.lua")
	if err != nil {
		panic("scripts: " + err.Error()) // the pattern is a constant
	}
	var out []command.Script
	for _, n := range names {
		out = append(out, command.Script{Name: n, Source: read(n)})
	}
	return out
}

// defaults are the scripts that a REPL with a cluster of its own deploys when it
// is given none: what a first session is about. All of the library would make the
// start seven times as long.
var defaults = []string{"counter.lua", "kv.lua", "lock.lua"}

// Default returns the scripts that are deployed when none are given.
func Default() []command.Script {
	return slices.DeleteFunc(All(), func(s command.Script) bool { return !slices.Contains(defaults, s.Name) })
}

// Get returns one script; ok is false when the library has none of that name.
func Get(name string) (s command.Script, ok bool) {
	for _, s := range All() {
		if s.Name == name {
			return s, true
		}
	}
	return s, false
}

func read(name string) string {
	b, err := files.ReadFile(name)
	if err != nil {
		panic("scripts: " + err.Error()) // Glob found it
	}
	return string(b)
}
