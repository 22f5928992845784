// Package spec runs specs: Lua files with tests of objects, each on a simulated
// cluster of its own in virtual time (internal/lab), once per seed.
//
// # What it promises
//
// A test, a seed and the scripts give one outcome, whatever else runs: the same
// results, the same faults, the same output. Seed 0 is a world in which nothing
// goes wrong by itself; in that of any other seed nodes crash, links are cut and
// answers are lost. A test that does not come to its end is stopped: by virtual
// time if it waits, by a count of instructions if it does not.
//
// # What it asks of the caller
//
// Load first, then Run. Both may be called from any goroutine.
//
// # Where to start reading
//
// spec.go has what a spec is and which scripts it is run with, run.go plays one
// test on one world, lua.go is what a test can say, report.go what people see.
package spec

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/shell"
	"github.com/syncsh/syncsh/luafsm"
	"github.com/syncsh/syncsh/scripts"
)

// Endings of files that are specs. Another file is one if it calls test.
var endings = []string{"_spec.lua", "_test.lua"}

// File is one spec.
type File struct {
	Path    string
	Given   []string // as the command line has it: the scripts, then the spec
	Source  string
	Scripts []command.Script
}

// Load reads files: specs, scripts that they are to be run with, and directories
// of specs. A spec is run with the scripts that are given, with the one that it is
// named after (lock_spec.lua: lock.lua beside it or one directory above), and with
// the objects of the library that it names. A script alone stands for the spec
// that is named after it.
func Load(paths []string) ([]*File, error) {
	paths, err := expand(paths)
	if err != nil {
		return nil, err
	}
	var given []command.Script
	var names []string
	var files []*File
	for _, path := range paths {
		read, err := shell.ReadScripts([]string{path})
		if err != nil {
			return nil, err
		}
		isSpec, err := isSpec(path, read[0].Source)
		switch {
		case err != nil:
			return nil, err
		case isSpec:
			files = append(files, &File{Path: path, Source: read[0].Source})
		default:
			given, names = append(given, read[0]), append(names, path)
		}
	}
	if len(files) == 0 {
		if files, err = companions(names); err != nil {
			return nil, err
		}
	}
	for _, f := range files {
		if err := f.choose(given, names); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// expand replaces directories by the specs in them.
func expand(paths []string) (out []string, err error) {
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil || !info.IsDir() {
			out = append(out, path)
			continue
		}
		n := len(out)
		for _, ending := range endings {
			found, err := filepath.Glob(filepath.Join(path, "*"+ending))
			if err != nil {
				return nil, &shell.UsageError{Text: err.Error()}
			}
			out = append(out, found...)
		}
		if len(out) == n {
			return nil, &shell.UsageError{Text: fmt.Sprintf("%s: no spec in this directory; their names end in %s", path, strings.Join(endings, " or "))}
		}
		slices.Sort(out[n:])
	}
	return out, nil
}

// isSpec tells a spec from a script with objects.
func isSpec(path, source string) (bool, error) {
	named := slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(path, e) })
	if _, err := shell.CompileScript(path, source); err != nil {
		if named {
			return true, err
		}
		return false, nil // the check of scripts says what is wrong with it
	}
	said := said(source)
	if named && !said.calls["test"] {
		return true, &shell.UsageError{Text: fmt.Sprintf(`%s: no test in it; write one: test("it counts", function(t) ... end)`, path)}
	}
	return said.calls["test"], nil
}

// companions are the specs that scripts are named after.
func companions(paths []string) (files []*File, err error) {
	for _, path := range paths {
		stem, found := strings.TrimSuffix(path, ".lua"), false
		dir, base := filepath.Split(stem)
		for _, ending := range endings {
			for _, at := range []string{stem + ending, filepath.Join(dir, "spec", base+ending)} {
				source, err := os.ReadFile(at)
				if err != nil || found {
					continue
				}
				if _, err := isSpec(at, string(source)); err != nil {
					return nil, err
				}
				files, found = append(files, &File{Path: at, Source: string(source)}), true
			}
		}
		if !found {
			return nil, &shell.UsageError{Text: fmt.Sprintf("%s: no test in it, and no %s beside it or in spec/", path, base+endings[0])}
		}
	}
	return files, nil
}

// choose decides with which scripts a spec is run.
func (f *File) choose(given []command.Script, names []string) error {
	f.Given = append(slices.Clone(names), f.Path)
	f.Scripts = slices.Clone(given)
	has := func(name string) bool {
		return slices.ContainsFunc(f.Scripts, func(s command.Script) bool { return s.Name == name })
	}
	dir, base := filepath.Split(f.Path)
	for _, ending := range endings {
		stem, ok := strings.CutSuffix(base, ending)
		for _, at := range []string{filepath.Join(dir, stem+".lua"), filepath.Join(dir, "..", stem+".lua")} {
			if source, err := os.ReadFile(at); ok && err == nil && !has(stem+".lua") {
				f.Scripts = append(f.Scripts, command.Script{Name: stem + ".lua", Source: string(source)})
			}
		}
	}
	defined := map[string]bool{}
	for _, s := range f.Scripts {
		for name := range said(s.Source).objects {
			defined[name] = true
		}
	}
	names = nil
	for name := range said(f.Source).names {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if s, ok := scripts.Get(name + ".lua"); ok && !defined[name] && !has(s.Name) {
			f.Scripts = append(f.Scripts, s)
		}
	}
	if len(f.Scripts) == 0 { // it may call nobody
		return nil
	}
	if findings := luafsm.Check(f.Scripts); len(findings) > 0 {
		x := findings[0]
		return &shell.LuaError{Text: fmt.Sprintf("%s:%d:%d: %s", x.File, x.Line, x.Col, x.Text)}
	}
	return nil
}

// words is what a source mentions.
type words struct {
	names   map[string]bool // variables
	calls   map[string]bool // functions by their plain names
	objects map[string]bool // object "name"
}

// said reads a source; of one that can't be read it knows nothing.
func said(source string) words {
	w := words{map[string]bool{}, map[string]bool{}, map[string]bool{}}
	stmts, err := parse.Parse(strings.NewReader(strings.TrimPrefix(source, "\ufeff")), "spec")
	if err == nil {
		w.visit(reflect.ValueOf(stmts))
	}
	return w
}

func (w words) visit(v reflect.Value) {
	switch v.Kind() {
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			return
		}
		w.note(v.Interface())
		w.visit(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			w.visit(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				w.visit(v.Field(i))
			}
		}
	}
}

func (w words) note(node any) {
	switch node := node.(type) {
	case *ast.IdentExpr:
		w.names[node.Value] = true
	case *ast.FuncCallExpr:
		f, ok := node.Func.(*ast.IdentExpr)
		if !ok {
			return
		}
		w.calls[f.Value] = true
		if f.Value == "object" && len(node.Args) > 0 {
			if name, ok := node.Args[0].(*ast.StringExpr); ok {
				w.objects[name.Value] = true
			}
		}
	}
}
