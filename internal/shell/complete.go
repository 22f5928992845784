package shell

import (
	"context"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

const (
	// completeTimeout bounds how long Tab waits for the cluster.
	completeTimeout = 500 * time.Millisecond
	// completeMax bounds the candidates that Tab offers.
	completeMax = 200
)

// lastName is the dotted name that the text before the cursor ends with.
var lastName = regexp.MustCompile(`(?:[A-Za-z_][A-Za-z0-9_]*[.:])*[A-Za-z0-9_]*$`)

// Do completes for readline: what may follow at the cursor, and how many runes
// before it belong to the word.
func (c *Console) Do(line []rune, pos int) ([][]rune, int) {
	word, candidates := c.candidates(string(line[:pos]))
	var out [][]rune
	slices.Sort(candidates)
	for _, cand := range slices.Compact(candidates) {
		if strings.HasPrefix(cand, word) && cand != word && len(out) < completeMax {
			out = append(out, []rune(cand[len(word):]))
		}
	}
	return out, len([]rune(word))
}

// candidates returns the word before the cursor and what it may become.
func (c *Console) candidates(before string) (word string, out []string) {
	if trimmed := strings.TrimLeft(before, " "); len(c.pending) == 0 && strings.HasPrefix(trimmed, ".") {
		return c.dotCandidates(trimmed)
	}
	if trimmed := strings.TrimLeft(before, " "); strings.HasPrefix(trimmed, "?") {
		trimmed = strings.TrimLeft(trimmed, "?")
		if name, _, ok := strings.Cut(trimmed, "."); ok {
			o, _ := object(c.Session.Description(), name)
			for _, m := range o.Methods {
				out = append(out, name+"."+m.Name)
			}
			return trimmed, out
		}
		return trimmed, objectNames(c.Session.Description())
	}
	name := lastName.FindString(before)
	at := strings.LastIndexAny(name, ".:")
	if at < 0 {
		param, ok := parameter(c.Session.Description(), strings.TrimSuffix(before, name))
		switch {
		case ok && name == "": // what is expected, not all that there is
			return name, []string{param}
		case ok:
			out = append(out, param)
		}
		return name, append(append(out, c.globalNames()...), luaWords...)
	}
	word, sep := name[at+1:], name[at]
	path := strings.FieldsFunc(name[:at], func(r rune) bool { return r == '.' || r == ':' })
	if len(path) == 0 {
		return word, nil
	}
	o, ok := object(c.Session.Description(), path[0])
	if !ok {
		return word, c.tableKeys(path)
	}
	async := len(path) == 2 && path[1] == asyncField
	switch {
	case sep == ':' && (len(path) == 1 || async):
		for _, m := range o.Methods {
			out = append(out, m.Name+"(")
		}
	case sep == '.' && !async:
		out = c.fields(path, word)
		if len(path) == 1 {
			out = append(out, asyncField)
		}
	}
	return word, out
}

var luaWords = func() (out []string) {
	for w := range luaKeywords {
		out = append(out, w)
	}
	return out
}()

func (c *Console) dotCandidates(text string) (word string, out []string) {
	name, arg, hasArg := strings.Cut(text, " ")
	if !hasArg {
		for _, d := range c.dots {
			out = append(out, d.Name)
		}
		return text, out
	}
	for _, d := range c.dots {
		switch {
		case d.Name != name:
		case d.Args == "on|off":
			return arg, []string{"on", "off"}
		case d.Args == "[OBJECT]":
			return arg, objectNames(c.Session.Description())
		case d.Args == "FILE":
			files, _ := filepath.Glob(arg + "*")
			return arg, files
		case d.Args == "CALL", d.Args == "[PERIOD] EXPR":
			return c.candidates("return " + arg)
		}
	}
	return arg, nil
}

// names asks a task for names. Whatever else runs, it takes no longer than a
// person at the keyboard may be kept waiting.
func (c *Console) names(list func() []string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	got := make(chan []string, 1)
	go c.Session.do(ctx, func(*task) error { //nolint:errcheck // nothing is offered then
		got <- list()
		return nil
	})
	select {
	case names := <-got:
		return names
	case <-ctx.Done():
		return nil
	}
}

func (c *Console) globalNames() []string { return c.names(c.Session.globalNames) }

// tableKeys are the names in a global table of Lua, such as string.
func (c *Console) tableKeys(path []string) []string {
	return c.names(func() []string {
		t, ok := c.Session.lua.G.Global, true
		for _, key := range path {
			if t, ok = t.RawGetString(key).(*lua.LTable); !ok {
				return nil
			}
		}
		return stringKeys(t)
	})
}

// fields are the names at a path of an object's state that begin with a word. The
// node looks at a bounded part of what is there.
func (c *Console) fields(path []string, word string) []string {
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	names, err := KeysAt(ctx, c.node, path, word)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(names, func(name string) bool { return !isName(name) })
}

// KeysAt asks for the text keys below an object's state that begin with a prefix:
// the first of them, when there are many. path begins with the object.
func KeysAt(ctx context.Context, c Cluster, path []string, prefix string) ([]string, error) {
	keys := codec.AppendArrayLen(nil, len(path)-1)
	for _, k := range path[1:] {
		keys = codec.AppendString(keys, k)
	}
	r, err := c.Exec(ctx, wire.OpQuery, wire.Stale, command.AppendKeys(nil, path[0], keys, prefix))
	if err != nil {
		return nil, err
	}
	d := codec.NewDecoder(r.Values)
	if err := d.FixedArray(1); err != nil {
		return nil, err
	}
	n, err := d.ArrayLen()
	if err != nil {
		return nil, err
	}
	names := make([]string, n)
	for i := range names {
		if names[i], err = d.String(); err != nil {
			return nil, err
		}
	}
	return names, nil
}

func stringKeys(t *lua.LTable) (out []string) {
	t.ForEach(func(k, _ lua.LValue) {
		if s, ok := k.(lua.LString); ok && isName(string(s)) {
			out = append(out, string(s))
		}
	})
	return out
}
