package shell

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Inputs that are no Lua and are typed nevertheless, as other shells take them.
var (
	unknownName = regexp.MustCompile(`no object or variable '([A-Za-z_][A-Za-z0-9_]*)'`)
	bareCall    = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_.:]*)\s+([A-Za-z0-9_][^\s=]*)\s*$`)
)

// advice is what a person may have meant by an input that failed; empty when
// nothing comes to mind.
func (c *Console) advice(err error) string {
	if m := unknownName.FindStringSubmatch(err.Error()); m != nil && c.hasDot(m[1]) {
		return fmt.Sprintf("there is a command .%s", m[1])
	}
	var syntax *LuaError
	m := bareCall.FindStringSubmatch(c.source)
	if m == nil || luaKeywords[m[1]] || !errors.As(err, &syntax) || !strings.Contains(syntax.Text, " near '") {
		return ""
	}
	switch word, rest := m[1], m[2]; {
	case word == "object":
		return fmt.Sprintf(`?%s tells what %s can do; object("%s2", "%s") makes another object with its methods`, rest, rest, rest, rest)
	case word == "help":
		return fmt.Sprintf("?%s shows its documentation", rest)
	case word != "watch" && c.hasDot(word):
		return fmt.Sprintf("there is a command .%s %s", word, rest)
	default:
		return fmt.Sprintf("a call needs parentheses: %s(%s)", word, rest)
	}
}

// hasDot tells whether there is a dot-command of this name.
func (c *Console) hasDot(name string) bool {
	for _, d := range c.dots {
		if d.Name == "."+name {
			return true
		}
	}
	return false
}

// bare carries out the single words with which other shells are asked for help and
// left, unless they have become names of something else.
func (c *Console) bare(ctx context.Context, word string) (known bool, err error) {
	switch {
	case word != "help" && word != "exit" && word != "quit",
		c.Session.conf.Pretty == nil, // in a script they are what Lua makes of them
		c.Session.names(ctx, word):
		return false, nil
	case word == "help":
		fmt.Fprint(c.out, helpText)
		return true, nil
	}
	return true, errQuit
}

// names tells whether a word is a name that an object or client code has taken.
func (s *Session) names(ctx context.Context, word string) bool {
	if _, taken := object(s.Description(), word); taken {
		return true
	}
	taken := false
	s.do(ctx, func(*task) error { //nolint:errcheck // it has no error of its own
		v := s.lua.G.Global.RawGetString(word)
		f, ok := v.(*lua.LFunction)
		taken = v != lua.LNil && (!ok || !f.IsG)
		return nil
	})
	return taken
}
