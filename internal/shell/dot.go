package shell

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// DotCommand is a command of the REPL.
type DotCommand struct {
	Name string // with its dot
	Args string // as the help shows them
	Help string
	Run  func(ctx context.Context, c *Console, arg string) error
}

var dotCommands []DotCommand

func init() { // refers to itself through .help
	dotCommands = []DotCommand{
		{".help", "", "this list", dotHelp},
		{".objects", "", "objects and their methods", dotObjects},
		{".status", "", "the cluster at a glance", dotStatus},
		{".members", "", "the members", dotMembers},
		{".load", "FILE", "deploys a script that defines objects, or one of the library by its name; runs any other here", dotLoad},
		{".edit", "[OBJECT]", "opens the object's script in $EDITOR and deploys it", dotEdit},
		{".all", "", "prints the last results again, uncut", func(ctx context.Context, c *Console, _ string) error { return c.Session.PrintAll(ctx) }},
		{".explain", "CALL", "runs a call such as counter:inc(5) on a copy and shows what it would change", dotExplain},
		{".watch", "[PERIOD] EXPR", "shows the expression's value, as often as 1s or 500ms says", dotWatch},
		{".stop", "", "stops .watch, all timers and watches", dotStop},
		{".time", "on|off", "prints how long each input took, and where its calls spent their time", onOff(".time", (*Session).timingFlag)},
		{".stale", "on|off", "reads from this node without asking the leader", onOff(".stale", (*Session).staleFlag)},
		{".json", "on|off", "prints results as JSON", onOff(".json", (*Session).jsonFlag)},
		{".snapshot", "", "dumps the state to disk now", dotSnapshot},
		{".quit", "", "leaves, as Ctrl-D does", func(context.Context, *Console, string) error { return errQuit }},
	}
}

// isDot tells whether a line is a dot-command and not a number such as .5.
func isDot(line string) bool {
	return len(line) > 1 && line[0] == '.' && (line[1] >= 'a' && line[1] <= 'z' || line[1] >= 'A' && line[1] <= 'Z')
}

func (c *Console) dot(ctx context.Context, line string) error {
	name, arg, _ := strings.Cut(line, " ")
	for _, d := range c.dots {
		if d.Name == name {
			return d.Run(ctx, c, strings.TrimSpace(arg))
		}
	}
	var names []string
	for _, d := range c.dots {
		names = append(names, d.Name)
	}
	return &UsageError{fmt.Sprintf("no command '%s'%s", name, suggest(name, names))}
}

func dotHelp(_ context.Context, c *Console, _ string) error {
	var rows [][]string
	for _, d := range c.dots {
		rows = append(rows, []string{strings.TrimSpace(d.Name + " " + d.Args), d.Help})
	}
	rows = append(rows, []string{"?NAME", "documentation of an object or a method"},
		[]string{"??NAME", "source of an object's script or of a method"})
	_, err := io.WriteString(c.out, wrapped(rows, "", c.Session.width()))
	return err
}

func dotObjects(ctx context.Context, c *Console, _ string) error {
	if err := c.Session.Refresh(ctx); err != nil {
		return err
	}
	WriteObjects(c.out, c.Session.Description(), c.Session.width())
	return nil
}

func dotStatus(ctx context.Context, c *Console, _ string) error {
	s, err := c.node.Status(ctx)
	if err == nil {
		WriteStatus(c.out, s)
	}
	return err
}

func dotMembers(ctx context.Context, c *Console, _ string) error {
	s, err := c.node.NodeStatus(ctx)
	if err == nil {
		WriteMembers(c.out, s.Members)
	}
	return err
}

func dotStop(ctx context.Context, c *Console, _ string) error {
	watched := c.stopWatch()
	n, err := c.Session.StopTimers(ctx)
	if err == nil && !watched && n == 0 {
		fmt.Fprintln(c.out, "nothing to stop")
	}
	return err
}

// onOff sets a flag, or without an argument says how it stands.
func onOff(name string, flag func(*Session) *atomic.Bool) func(context.Context, *Console, string) error {
	return func(_ context.Context, c *Console, arg string) error {
		f := flag(c.Session)
		switch arg {
		case "on", "off":
			f.Store(arg == "on")
		case "":
			state := "off"
			if f.Load() {
				state = "on"
			}
			fmt.Fprintf(c.out, "%s is %s\n", name, state)
		default:
			return &UsageError{fmt.Sprintf("on or off expected, not '%s'", arg)}
		}
		return nil
	}
}

func dotSnapshot(ctx context.Context, c *Console, _ string) error {
	index, err := Snapshot(ctx, c.node)
	if err == nil {
		fmt.Fprintf(c.out, "snapshot at index %d\n", index)
	}
	return err
}

// Snapshot has the connected node dump its state now; it returns the index of
// the dump.
func Snapshot(ctx context.Context, c Cluster) (uint64, error) {
	r, err := c.Exec(ctx, wire.OpSnapshot, wire.Stale, nil)
	if err != nil {
		return 0, err
	}
	v, err := values(r)
	if err != nil || len(v) == 0 {
		return r.Index, err
	}
	var index uint64
	_, err = fmt.Sscan(Format(v[0]), &index)
	return index, err
}

func dotLoad(ctx context.Context, c *Console, arg string) error {
	if arg == "" {
		return &UsageError{".load needs a file"}
	}
	read, err := ReadScripts([]string{arg})
	if err != nil {
		return &LuaError{Text: err.Error()}
	}
	if s := read[0]; !definesObjects(s.Source) {
		return c.Session.Run(ctx, s.Name, s.Source, nil)
	}
	return c.deploy(ctx, read)
}

func (c *Console) deploy(ctx context.Context, scripts []command.Script) error {
	lines, err := Deploy(ctx, c.node, scripts)
	if err != nil {
		return err
	}
	for _, line := range lines {
		fmt.Fprintln(c.out, line)
	}
	fmt.Fprintln(c.out, "deployed "+strings.Join(ScriptNames(scripts), ", "))
	return c.Session.Refresh(ctx)
}

// definesObjects tells whether a script defines objects, and so is to be
// deployed, not run.
func definesObjects(source string) bool {
	stmts, err := parse.Parse(strings.NewReader(source), "script")
	if err != nil {
		return strings.Contains(source, ".replicated:") || strings.Contains(source, ".query:")
	}
	defined := func(exprs []ast.Expr) bool {
		return slices.ContainsFunc(exprs, func(e ast.Expr) bool {
			call, ok := e.(*ast.FuncCallExpr)
			if !ok || len(call.Args) == 0 {
				return false
			}
			fn, ok := call.Func.(*ast.IdentExpr)
			if !ok || fn.Value != "object" {
				return false
			}
			if len(call.Args) > 1 {
				_, options := call.Args[1].(*ast.TableExpr)
				return options
			}
			return true
		})
	}
	return slices.ContainsFunc(stmts, func(st ast.Stmt) bool {
		switch st := st.(type) {
		case *ast.LocalAssignStmt:
			return defined(st.Exprs)
		case *ast.AssignStmt:
			return defined(st.Rhs)
		}
		return false
	})
}

// callsObject finds calls of the function object, wherever they are.
var callsObject = regexp.MustCompile(`\bobject\s*["'(\[]`)

// IsClient tells whether a script can only be a client of objects: it is Lua, and
// makes no object. Of what is no Lua nobody knows what it was to be.
func IsClient(source string) bool {
	if strings.HasPrefix(source, "#") {
		source = "--" + source // a #! line
	}
	_, err := parse.Parse(strings.NewReader(source), "script")
	return err == nil && !callsObject.MatchString(source)
}

func dotEdit(ctx context.Context, c *Console, arg string) error {
	if err := c.Session.Refresh(ctx); err != nil {
		return err
	}
	d := c.Session.Description()
	script, err := scriptToEdit(d, arg)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "syncsh-edit-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, filepath.Base(script.Name))
	source := script.Source
	if refused, ok := c.refused[script.Name]; ok {
		source = refused
	}
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		return err
	}
	editor := strings.Fields(os.Getenv("EDITOR"))
	if len(editor) == 0 {
		editor = []string{"vi"}
	}
	cmd := exec.Command(editor[0], append(editor[1:], file)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return &LuaError{Text: fmt.Sprintf("%s: %v; nothing was deployed", editor[0], err)}
	}
	edited, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if bytes.Equal(edited, []byte(script.Source)) {
		delete(c.refused, script.Name)
		fmt.Fprintln(c.out, "not changed")
		return nil
	}
	// What was written must not be lost for a fault in it, or a cluster out of reach.
	c.refused[script.Name] = string(edited)
	if err := c.deploy(ctx, []command.Script{{Name: script.Name, Source: string(edited)}}); err != nil {
		fmt.Fprintf(c.Session.conf.Err, "not deployed; %s opens it as you left it\n", strings.TrimSpace(".edit "+arg))
		return err
	}
	delete(c.refused, script.Name)
	return nil
}

// scriptToEdit is the script of an object; without one the only script, or a
// new one.
func scriptToEdit(d *command.Description, name string) (command.Script, error) {
	if name == "" {
		if len(d.Scripts) == 1 {
			return d.Scripts[0], nil
		}
		if len(d.Scripts) == 0 {
			return command.Script{Name: "new.lua"}, nil
		}
		return command.Script{}, &UsageError{"which object? " + strings.Join(objectNames(d), ", ")}
	}
	o, ok := object(d, name)
	if ok && o.Prototype != "" {
		o, ok = object(d, o.Prototype)
	}
	for _, sc := range d.Scripts {
		if ok && sc.Name == o.Script {
			return sc, nil
		}
	}
	if ok {
		return command.Script{}, errors.New(name + ": no script defines it any more")
	}
	return command.Script{}, notFound("no object '%s'%s", name, suggestObject(name, objectNames(d)))
}
