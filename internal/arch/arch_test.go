package arch

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/syncsh/syncsh"

// allowed says which of our packages a package may import, subpackages
// included. A package without a line has that of the nearest one above it, and
// all below one line may import each other. "*" allows all. Tests may import what they need.
var allowed = map[string][]string{
	"raft":             {"internal/codec", "internal/mutant"},
	"persist":          {"raft", "internal/codec", "internal/mutant"},
	"luafsm":           {"raft", "internal/codec", "internal/command", "internal/luaast", "internal/mutant"},
	"scripts":          {"internal/command"},
	"gossip":           {"raft", "internal/codec", "internal/wire"},
	"client":           {"raft", "internal/codec", "internal/command", "internal/wire"},
	"internal/arch":    {},
	"internal/mutant":  {},
	"internal/luaast":  {},
	"internal/codec":   {},
	"internal/command": {"raft", "internal/codec"},
	"internal/wire":    {"raft", "internal/codec", "internal/command"},
	"internal/replica": {"raft", "persist", "luafsm", "internal/codec", "internal/command", "internal/wire", "internal/mutant"},
	"internal/sim":     {"raft", "persist", "luafsm", "scripts", "internal/codec", "internal/command", "internal/wire", "internal/replica", "internal/mutant"},
	"internal/node":    {"raft", "persist", "luafsm", "gossip", "scripts", "internal/codec", "internal/command", "internal/wire", "internal/replica"},
	"internal/shell":   {"raft", "luafsm", "client", "scripts", "internal/codec", "internal/command", "internal/luaast", "internal/wire", "internal/node", "internal/tty"},
	"internal/lab":     {"raft", "persist", "luafsm", "internal/codec", "internal/command", "internal/wire", "internal/replica"},
	"internal/spec":    {"luafsm", "client", "scripts", "internal/codec", "internal/command", "internal/wire", "internal/shell", "internal/lab"},
	"internal/e2e":     {},
	"internal/chaos":   {},
	"internal/fault":   {"persist"},
	"internal/objdoc":  {"raft", "luafsm", "scripts", "internal/codec", "internal/command"},
	"internal/bench":   {"raft", "client", "internal/codec", "internal/command", "internal/wire"},
	"internal/tty":     {},
	"internal/top":     {"client", "internal/wire", "internal/tty"},
	"internal/doctor":  {"persist", "gossip", "client", "internal/node"},
	"cmd/syncsh":       {"*"},
	"examples":         {"client"},
}

// core is the part that decides and never acts.
var core = []string{"raft", "luafsm", "internal/replica", "internal/codec", "internal/command", "internal/luaast"}

// ofTime is what of package time the core may name: types, as in
// context.Context's methods, no clock.
var ofTime = []string{"Time", "Duration"}

// ofFmt is what of package fmt the core may not name: it reads and writes files.
var ofFmt = []string{"Print", "Printf", "Println", "Scan", "Scanf", "Scanln"}

// inCore is what the core may import beside our own: what can't act and is equal
// on all replicas. What is forbidden could not be listed: hash/maphash is a
// random source, context has clocks, iter starts goroutines.
var inCore = []string{
	"bytes", "cmp", "encoding/binary", "encoding/hex", "errors", "fmt", "io", "maps", "math", "math/bits", "slices", "sort", "strconv", "strings", "time", "unicode/utf8",
}

// inCoreExcept are the uses that a package has a reason for.
var inCoreExcept = map[string][]string{
	"luafsm": {
		// Versions of the state are read by queries and the dump on other
		// goroutines while the one owner goes on.
		"sync", "sync/atomic",
		// gopher-lua does not export where it keeps the variables of closures.
		"reflect", "unsafe",
		// The interpreter, none of whose libraries that act is opened.
		"github.com/yuin/gopher-lua", "github.com/yuin/gopher-lua/ast", "github.com/yuin/gopher-lua/parse",
		"github.com/zeebo/xxh3",
	},
	// The receipt of a snapshot passes from the goroutine of the replica to that
	// of the applier.
	"internal/replica": {"sync"},
	"internal/codec":   {"github.com/vmihailenco/msgpack/v5/msgpcode"},
	"internal/luaast":  {"github.com/yuin/gopher-lua/ast"},
}

// osAndNet may be used by these; the rest is handed its files and connections.
var osAndNet = []string{"persist", "gossip", "client", "cmd", "internal/node", "internal/shell", "internal/spec", "internal/bench", "internal/doctor", "internal/fault", "internal/tty", "internal/objdoc", "internal/wire/wiretest", "internal/sim", "examples"}

// ofFS are the files of persist that are file systems; the rest of it reaches
// files through them only, so that a simulator sees all that it does.
var ofFS = regexp.MustCompile(`^persist/(osfs(_[a-z]+)?|inspect_fs)\.go$`)

// root is the directory of go.mod.
func root(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
}

// source is one file that is no test.
type source struct {
	pkg  string // directory below the root, with slashes
	name string // path below the root
	fset *token.FileSet
	ast  *ast.File
}

// imports returns the import paths of the file.
func (s source) imports() []string {
	var paths []string
	for _, i := range s.ast.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		paths = append(paths, path)
	}
	return paths
}

func sources(t *testing.T) []source {
	var list []source
	dir := root(t)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			_, nested := os.Stat(filepath.Join(path, "go.mod"))
			if name != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || nested == nil) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg, _, _ := cutLast(name, "/")
		list = append(list, source{pkg: pkg, name: name, fset: fset, ast: file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return "", s, false
	}
	return s[:i], s[i+len(sep):], true
}

// within tells whether pkg is one of the list or below one.
func within(list []string, pkg string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		return p == "*" || p == pkg || strings.HasPrefix(pkg, p+"/")
	})
}

// roomOf is the nearest package from pkg upwards that has a line in the table.
func roomOf(pkg string) string {
	for pkg != "" && allowed[pkg] == nil {
		pkg, _, _ = cutLast(pkg, "/")
	}
	return pkg
}

// checkImport returns what is wrong with pkg importing path, empty if nothing.
func checkImport(pkg, path string) string {
	if ours, ok := strings.CutPrefix(path, module+"/"); ok {
		room := roomOf(pkg)
		if room == "" {
			return fmt.Sprintf("package %s has no line in the table of internal/arch", pkg)
		}
		if !within(allowed[room], ours) && !within([]string{room}, ours) {
			return fmt.Sprintf("%s must not import %s: imports point inward", pkg, ours)
		}
		return ""
	}
	if within(core, pkg) && !slices.Contains(inCore, path) && !slices.Contains(inCoreExcept[roomOf(pkg)], path) {
		return fmt.Sprintf("%s must not import %s, which the table of internal/arch does not allow: the core decides and never acts", pkg, path)
	}
	if (path == "net" || path == "os" || strings.HasPrefix(path, "net/") && path != "net/netip") && !within(osAndNet, pkg) {
		return fmt.Sprintf("%s must not import %s: files and connections are handed to it", pkg, path)
	}
	return ""
}

// TestPersistHasOneFS: what goes past its interface can't be torn, lost or filled
// up by a test.
func TestPersistHasOneFS(t *testing.T) {
	found := 0
	for _, s := range sources(t) {
		if s.pkg != "persist" || !slices.ContainsFunc(s.imports(), func(path string) bool { return path == "os" || strings.HasPrefix(path, "golang.org/x/sys/") }) {
			continue
		}
		if found++; !ofFS.MatchString(s.name) {
			t.Errorf("%s: persist must reach files through its FS only", s.name)
		}
	}
	if found == 0 {
		t.Error("no file of persist imports os: has its file system another name?")
	}
}

func TestImportsPointInward(t *testing.T) {
	for _, s := range sources(t) {
		for _, path := range s.imports() {
			if wrong := checkImport(s.pkg, path); wrong != "" {
				t.Errorf("%s: %s", s.name, wrong)
			}
		}
	}
}

// TestRoomsAreOnTheMap: who looks for a package finds it in docs/ARCHITECTURE.md.
func TestRoomsAreOnTheMap(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root(t), "docs/ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	for room := range allowed {
		if !strings.Contains(string(page), "\n    "+room+"/ ") {
			t.Errorf("%s is not among the rooms of docs/ARCHITECTURE.md", room)
		}
	}
}

// TestFaultsAreNotShipped: only a file of a build for the chaos test may bring
// the faults in, so that no production binary can be told to fail.
func TestFaultsAreNotShipped(t *testing.T) {
	found := false
	for _, s := range sources(t) {
		if !slices.Contains(s.imports(), module+"/internal/fault") {
			continue
		}
		found = true
		text, err := os.ReadFile(filepath.Join(root(t), filepath.FromSlash(s.name)))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "//go:build chaos\n") {
			t.Errorf("%s: imports internal/fault and is not for -tags chaos only", s.name)
		}
	}
	if !found {
		t.Error("nothing imports internal/fault: the chaos test has no faults")
	}
}

func TestCoreNeverActs(t *testing.T) {
	for _, s := range sources(t) {
		if !within(core, s.pkg) {
			continue
		}
		for _, wrong := range acts(s.fset, s.ast) {
			t.Errorf("%s:%s", s.name, wrong)
		}
	}
}

// acts lists the goroutines that the file starts, its uses of the clock and what
// it prints.
func acts(fset *token.FileSet, file *ast.File) []string {
	var list []string
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ImportSpec:
			if (n.Path.Value == `"time"` || n.Path.Value == `"fmt"`) && n.Name != nil {
				list = append(list, fmt.Sprintf("%d: %s under another name", fset.Position(n.Pos()).Line, n.Path.Value))
			}
		case *ast.GoStmt:
			list = append(list, fmt.Sprintf("%d: the core must not start a goroutine", fset.Position(n.Pos()).Line))
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && (f.Name == "print" || f.Name == "println") {
				list = append(list, fmt.Sprintf("%d: the core must not print", fset.Position(n.Pos()).Line))
			}
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok || !imports(file, x.Name) {
				break
			}
			if x.Name == "time" && !slices.Contains(ofTime, n.Sel.Name) || x.Name == "fmt" && slices.Contains(ofFmt, n.Sel.Name) {
				list = append(list, fmt.Sprintf("%d: the core must not use %s.%s", fset.Position(n.Pos()).Line, x.Name, n.Sel.Name))
			}
		}
		return true
	})
	return list
}

// imports tells whether a name is that of a package that the file imports.
func imports(file *ast.File, name string) bool {
	return slices.ContainsFunc(file.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == strconv.Quote(name) })
}

// Planted bugs are for the simulator only: nobody else may plant one.
func TestOnlyTheSimulatorPlantsBugs(t *testing.T) {
	found := false
	for _, s := range sources(t) {
		ast.Inspect(s.ast, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Plant" {
				return true
			}
			if x, ok := sel.X.(*ast.Ident); !ok || x.Name != "mutant" {
				return true
			}
			if found = true; !within([]string{"internal/sim"}, s.pkg) {
				t.Errorf("%s:%d: only internal/sim plants bugs", s.name, s.fset.Position(n.Pos()).Line)
			}
			return true
		})
	}
	if !found {
		t.Error("nobody plants bugs: has mutant.Plant another name?")
	}
}

// TestChecksSee makes sure that the checks above would find what they look for.
func TestChecksSee(t *testing.T) {
	for _, c := range []struct {
		pkg, path string
		wrong     bool
	}{
		{"raft", module + "/internal/codec", false},
		{"raft", module + "/persist", true},
		{"raft", "log/slog", true},
		{"raft", "errors", false},
		{"luafsm", "math/rand", true},
		{"luafsm/state", "math/rand", true},
		{"luafsm/state", module + "/luafsm/internal/lib", false},
		{"luafsm/state", module + "/persist", true},
		{"luafsm", "sync/atomic", false},
		{"internal/replica", "os", true},
		{"internal/replica", "context", true},
		{"raft", "hash/maphash", true},
		{"raft", "iter", true},
		{"raft", "golang.org/x/sys/unix", true},
		{"raft", "github.com/yuin/gopher-lua", true},
		{"luafsm", "github.com/yuin/gopher-lua", false},
		{"luafsm", "github.com/hashicorp/memberlist", true},
		{"internal/replica", module + "/internal/node", true},
		{"internal/wire", "net", true},
		{"internal/node", "net", false},
		{"gossip", module + "/internal/node", true},
		{"nowhere", module + "/raft", true},
		{"cmd/syncsh", module + "/internal/node", false},
	} {
		if got := checkImport(c.pkg, c.path); (got != "") != c.wrong {
			t.Errorf("%s imports %s: got %q, want wrong=%v", c.pkg, c.path, got, c.wrong)
		}
	}
	fset := token.NewFileSet()
	for src, want := range map[string]int{
		"import \"time\"\nfunc f(t time.Time) { go f(time.Now()) }":        2, // the goroutine, and the clock
		"import . \"time\"\nfunc f() { Now() }":                            1,
		"import \"fmt\"\nfunc f() { fmt.Println(fmt.Sprint(1)) }":          1,
		"import out \"fmt\"\nfunc f() { out.Println() }":                   1,
		"func f() { println(); print() }":                                  2,
		"import \"fmt\"\nfunc f(b io.Writer) { fmt.Fprint(b, x.print()) }": 0,
	} {
		file, err := parser.ParseFile(fset, "x.go", "package x\n"+src, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := acts(fset, file); len(got) != want {
			t.Errorf("%s\ngot %q, want %d", src, got, want)
		}
	}
	if len(sources(t)) < 10 {
		t.Error("sources of the module were not found")
	}
}
