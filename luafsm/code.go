package luafsm

import (
	"fmt"
	"slices"

	"github.com/syncsh/syncsh/internal/command"
	lua "github.com/yuin/gopher-lua"
)

// code is the scripts in force. Its address is their identity for Queriers.
type code struct {
	scripts  []command.Script
	compiled []*compiled // of scripts, in their order
}

// compiled is a script as the compiler left it. Nothing in it ever changes, so
// that all programs of a process share it: compiling takes hundreds of times as
// long as running the chunk.
type compiled struct {
	src   *source // without its tokens and statements
	proto *lua.FunctionProto
}

// compileSource makes code of a script that was parsed.
func compileSource(src *source) (*compiled, *Finding) {
	if f := rewrite(src); f != nil {
		return nil, f
	}
	proto, err := compile(src)
	if err != nil {
		return nil, compileFinding(src.name, err)
	}
	return &compiled{&source{name: src.name, docs: src.docs}, proto}, nil
}

// recompile makes code of scripts that a deploy has accepted, under whatever
// settings, and that came in a dump.
func recompile(scripts []command.Script) (*code, error) {
	c := &code{scripts: scripts}
	for _, s := range scripts {
		src, f := readSource(s.Name, s.Source, loadLimits.scriptBytes)
		if f == nil {
			f = src.parse()
		}
		var one *compiled
		if f == nil {
			one, f = compileSource(src)
		}
		if f != nil {
			return nil, &failure{command.CodeBadArgument, f.String()}
		}
		c.compiled = append(c.compiled, one)
	}
	return c, nil
}

// with is c after a deploy of scripts, list being their code: those of the same
// name are replaced, the others stay.
func (c *code) with(scripts []command.Script, list []*compiled) (*code, error) {
	out := &code{slices.Clone(c.scripts), slices.Clone(c.compiled)}
	for k, s := range scripts {
		i := slices.IndexFunc(out.scripts, func(o command.Script) bool { return o.Name == s.Name })
		if i >= 0 {
			out.scripts[i], out.compiled[i] = s, list[k]
		} else {
			out.scripts, out.compiled = append(out.scripts, s), append(out.compiled, list[k])
		}
	}
	bytes := 0
	for _, s := range out.scripts {
		bytes += len(s.Source)
	}
	if bytes > scriptsBytesMax {
		return nil, &failure{command.CodeBadArgument, fmt.Sprintf("scripts of %d bytes together, at most %d are allowed", bytes, scriptsBytesMax)}
	}
	return out, nil
}

// without is c but the script of that name.
func (c *code) without(name string) *code {
	i := slices.IndexFunc(c.scripts, func(s command.Script) bool { return s.Name == name })
	return &code{slices.Delete(slices.Clone(c.scripts), i, i+1), slices.Delete(slices.Clone(c.compiled), i, i+1)}
}
