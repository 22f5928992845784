package luafsm

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
)

// generator writes scripts and commands at random, all from one seed. What it
// writes mostly runs; errors of every kind are wanted too.
type generator struct {
	*rand.Rand
	b       strings.Builder
	vars    [3][]string // names in scope of numbers, strings, tables
	fresh   int
	nesting int
	objects []string // that the code may call
	// The session that calls are in, its serials given and those acknowledged.
	session, serial, acked uint64
}

const (
	numbers = iota
	texts
	tables
)

func newGenerator(seed uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, 0x5ca1ab1e))}
}

// pick chooses one of a list.
func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) line(format string, args ...any) { fmt.Fprintf(&g.b, format+"\n", args...) }

func (g *generator) name() string { g.fresh++; return "v" + strconv.Itoa(g.fresh) }

func (g *generator) variable(kind int) string {
	if l := g.vars[kind]; len(l) > 0 {
		return l[g.IntN(len(l))]
	}
	return ""
}

// scoped runs body, whose variables are gone after it.
func (g *generator) scoped(body func()) {
	saved := g.vars
	for i := range g.vars {
		g.vars[i] = g.vars[i][:len(g.vars[i]):len(g.vars[i])]
	}
	g.nesting++
	body()
	g.nesting--
	g.vars = saved
}

// number is an expression that mostly is a number.
func (g *generator) number(depth int) string {
	if v := g.variable(numbers); v != "" && g.IntN(3) > 0 {
		return v
	}
	if depth <= 0 {
		return pick(g, "0", "1", "2", "3", "-1", "7", "0.5", "1.5", "-0.25", "255", "1e10", "2^31", "2^53", "1e-3", "0x1F", "math.pi", "math.huge", "1/3")
	}
	n := func() string { return g.number(depth - 1) }
	switch g.IntN(16) {
	case 0, 1, 2, 3:
		return fmt.Sprintf("(%s %s %s)", n(), pick(g, "+", "-", "*", "/", "%", "^"), n())
	case 4:
		return fmt.Sprintf("-(%s)", n())
	case 5:
		return fmt.Sprintf("#%s", g.text(0))
	case 6:
		return fmt.Sprintf("math.%s(%s)", pick(g, "sin", "cos", "tan", "exp", "log", "log10", "sqrt", "floor", "ceil", "abs", "atan", "asin", "acos", "sinh", "cosh", "tanh", "deg", "rad"), n())
	case 7:
		return fmt.Sprintf("math.%s(%s, %s)", pick(g, "max", "min", "fmod", "pow", "atan2"), n(), n())
	case 8:
		return fmt.Sprintf("(select(%d, %s(%s)))", 1+g.IntN(2), pick(g, "math.modf", "math.frexp"), n())
	case 9:
		return pick(g, "random(6)", "random()", "math.random(-3, 3)", "index()", "now()", "math.ldexp(0.75, 5)", "random(1, 2^40)")
	case 10:
		return fmt.Sprintf("(tonumber(%s) or %s)", g.text(depth-1), n())
	case 11:
		return fmt.Sprintf("(%s:byte(%s) or 0)", g.paren(depth-1), pick(g, "1", "-1", "2"))
	case 12:
		return fmt.Sprintf("h1(%s, %s)", n(), n())
	case 13:
		return fmt.Sprintf("select('#', h2(%s, %s, nil))", g.value(depth-1), n())
	case 14:
		return pick(g, "#self.list", "self.n", "#self.nums", "(self.map.a or 0)", "table.maxn(self.list)", "(self.nums[1] or 4)")
	}
	return fmt.Sprintf("(%s and %s or %s)", g.condition(depth-1), n(), n())
}

// paren is a text that may be followed by a method call.
func (g *generator) paren(depth int) string { return "(" + g.text(depth) + ")" }

// text is an expression that mostly is a string.
func (g *generator) text(depth int) string {
	if v := g.variable(texts); v != "" && g.IntN(3) > 0 {
		return v
	}
	if depth <= 0 {
		return pick(g, `"a"`, `"abc"`, `"hello world"`, `""`, `"12"`, `" 0x10 "`, `"k=v, k2=v2"`, `"\0\200\255"`, `"a.b(c)[d]"`, `"1e3"`, `"AbC"`, "'{\"x\":[1,2,null]}'")
	}
	s := func() string { return g.text(depth - 1) }
	switch g.IntN(14) {
	case 0, 1:
		return fmt.Sprintf("(%s .. %s)", s(), pick(g, s(), g.number(depth-1)))
	case 2:
		return fmt.Sprintf("tostring(%s)", g.value(depth-1))
	case 3, 4:
		return fmt.Sprintf("string.format(%q, %s)", pick(g, "%d|%s", "%5.2f/%5s", "%g %q", "%x%c", "%-8.3e|%s", "%+i %10.4s", "%o %%%s", "%.14g %s", "%u:%-5s|", "%G %s", "%05d %s"), g.number(depth-1)+", "+s())
	case 5:
		return fmt.Sprintf("%s:%s()", g.paren(depth-1), pick(g, "upper", "lower", "reverse"))
	case 6:
		return fmt.Sprintf("%s:sub(%s, %s)", g.paren(depth-1), pick(g, "1", "2", "-2", "-100", g.number(depth-1)), pick(g, "-1", "3", "-2", g.number(depth-1)))
	case 7:
		return fmt.Sprintf("%s:rep(%s)", g.paren(depth-1), pick(g, "2", "0", "3", "-1", "5"))
	case 8:
		return fmt.Sprintf("(%s:gsub(%s, %s))", g.paren(depth-1), g.pattern(), pick(g, `"<%0>"`, `"%1"`, `""`, "string.upper", "{a = 'x', b = 1}", "function(c) return c .. c end"))
	case 9:
		return fmt.Sprintf("(%s:match(%s) or 'none')", g.paren(depth-1), g.pattern())
	case 10:
		return fmt.Sprintf("table.concat({%s, %s}, %s)", s(), g.number(depth-1), s())
	case 11:
		return fmt.Sprintf("json.encode(%s)", g.value(depth-1))
	case 12:
		return fmt.Sprintf("type(%s)", g.value(depth-1))
	}
	return fmt.Sprintf("string.char(65 + math.floor(%s) %% 26)", g.number(depth-1))
}

func (g *generator) pattern() string {
	if g.IntN(4) == 0 {
		return fmt.Sprintf("%q", pick(g, "^(%w+)=(%w+)", "%s*(.-)%s*$", "(a)(.)", "%b()", "%f[%w]%w+", "[^,]+", "()b()", "(%d+)%1", "[a-c]-b", "%", "[", "(", "[%]", "a-$", "[]]", "%z", "[%a_][%w_]*"))
	}
	var b strings.Builder
	for range 1 + g.IntN(4) {
		b.WriteString(pick(g, "a", "b", ".", "%a", "%d", "%w", "[abc]", "[^a]", "%s", "%p", "%x", "(", ")", "l"))
		b.WriteString(pick(g, "", "", "", "*", "+", "-", "?"))
	}
	return fmt.Sprintf("%q", b.String())
}

// table is an expression that mostly is a table.
func (g *generator) table(depth int) string {
	if v := g.variable(tables); v != "" && g.IntN(2) > 0 {
		return pick(g, v, v, "copy("+v+")")
	}
	d := max(depth-1, 0)
	switch g.IntN(8) {
	case 0:
		return "{}"
	case 1, 2:
		return fmt.Sprintf("{%s, %s, %s}", g.value(d), g.number(d), g.text(d))
	case 3, 4:
		return fmt.Sprintf("{x = %s, [%s] = %s, %s}", g.value(d), pick(g, "2", "true", "1.5", "'k'", "-1", g.number(d)), g.value(d), g.number(d))
	case 5:
		return fmt.Sprintf("{%s:byte(1, -1)}", g.paren(d))
	case 6:
		return fmt.Sprintf("{h2(%s, %s)}", g.number(d), g.text(d))
	}
	return pick(g, `json.decode('{"a":[1,2.5,"x",{"b":false}],"c":null}')`, "copy(self.list)", "copy(self.map)", "{unpack(self.nums)}")
}

func (g *generator) value(depth int) string {
	switch g.IntN(8) {
	case 0:
		return pick(g, "nil", "true", "false", "h1", "print")
	case 1, 2, 3:
		return g.number(depth)
	case 4, 5:
		return g.text(depth)
	}
	if depth <= 0 {
		return g.number(0)
	}
	return g.table(depth)
}

func (g *generator) condition(depth int) string {
	d := max(depth, 0)
	switch g.IntN(6) {
	case 0, 1:
		return fmt.Sprintf("%s %s %s", g.number(d), pick(g, "<", "<=", ">", ">=", "==", "~="), g.number(d))
	case 2:
		return fmt.Sprintf("%s %s %s", g.text(d), pick(g, "<", "==", "~=", ">="), g.text(d))
	case 3:
		return fmt.Sprintf("type(%s) == %s", g.value(d), pick(g, "'number'", "'string'", "'table'"))
	case 4:
		return fmt.Sprintf("not %s", g.value(d))
	}
	return fmt.Sprintf("(%s and %s)", g.text(d), g.number(d))
}

func (g *generator) block(n int) {
	g.scoped(func() {
		for range n {
			g.statement()
		}
	})
}

// local declares a variable of some kind.
func (g *generator) local(kind int, expr string) string {
	v := g.name()
	g.line("local %s = %s", v, expr)
	g.vars[kind] = append(g.vars[kind], v)
	return v
}

func (g *generator) statement() {
	if g.nesting > 3 {
		g.line("self.n = self.n + 1")
		return
	}
	if g.IntN(60) == 0 {
		g.line("if %s then %s end", g.condition(1), pick(g, "while true do end", "local s = 'x' while true do s = s .. s end",
			"local t = {} while true do t[#t + 1] = {} end", "local function f() return f() + 1 end f()", "while true do pcall(error, 1) end"))
		return
	}
	switch g.IntN(24) {
	case 0, 1:
		g.local(numbers, g.number(3))
	case 2, 3:
		g.local(texts, g.text(3))
	case 4:
		g.local(tables, g.table(2))
	case 5, 6, 7:
		g.write()
	case 8:
		if v := g.variable(numbers); v != "" {
			g.line("%s = %s", v, g.number(2))
		}
	case 9:
		if v := g.variable(tables); v != "" {
			g.line("%s[%s] = %s", v, pick(g, "1", "'k'", "#"+v+" + 1", "true", g.number(1)), g.value(1))
		}
	case 10:
		g.line("for i = %s do", pick(g, "1, 3", "3, 1, -1", "1, #self.list", "0, 1, 0.25", "1, 20"))
		g.scoped(func() { g.vars[numbers] = append(g.vars[numbers], "i"); g.statement(); g.statement() })
		g.line("end")
	case 11:
		g.loop()
	case 12:
		g.line("if %s then", g.condition(2))
		g.block(2)
		g.line("else")
		g.block(1)
		g.line("end")
	case 13, 14:
		g.closure()
	case 15, 16:
		g.protected()
	case 17, 18:
		g.metatable()
	case 19:
		g.line("self.timer = after(%s, 'fire', %s)", pick(g, "0", "0.5", "1", "2.5", g.number(1)), g.value(1))
	case 20:
		g.line("%s", pick(g, "if self.timer then cancel(self.timer) end", "cancel(random(5))"))
	case 21:
		g.line("emit(%s, %s)", pick(g, "'t'", "'u'", g.text(0)), g.value(2))
	case 22:
		g.matches()
	case 23:
		if len(g.objects) > 0 {
			g.local(numbers, fmt.Sprintf("(%s:m1(%s) or 0)", pick(g, g.objects...), g.value(1)))
		} else {
			g.line("print(%s, %s)", g.value(1), g.text(1))
		}
	}
}

// write changes the state.
func (g *generator) write() {
	switch g.IntN(10) {
	case 9: // neither sits in a state as it is
		zero := pick(g, "-0.0", "math.ceil(-0.5)", "json.decode('-0')", "0/0", "-(0/0)", "math.sqrt(-1)", "math.huge - math.huge")
		g.line("%s = %s", pick(g, "self.z", "self.map.z", "self.list[1]", "self.nums[#self.nums + 1]"), pick(g, zero, "{"+zero+"}", "{z = "+zero+"}"))
		g.line("self.sign = 1 / (tonumber(self.z) or 1)")
	case 0, 1:
		g.line("self.%s = %s", pick(g, "a", "b", "n2", "t"), g.value(2))
	case 2:
		g.line("self.n = self.n + 1")
	case 3:
		g.line("self.map[%s] = %s", pick(g, g.number(1), g.text(1), "true", "'a'"), g.value(2))
	case 4:
		g.line("if #self.list < 30 then table.insert(self.list, %s%s) end", pick(g, "", "1, ", "#self.list + 1, "), pick(g, g.number(2), g.text(2), g.table(1)))
	case 5:
		g.line("table.remove(self.list%s)", pick(g, "", ", 1", ", 2"))
	case 6:
		g.line("if #self.nums < 20 then self.nums[#self.nums + 1] = %s else self.nums[%s] = nil end", g.number(1), pick(g, "1", "5", "#self.nums"))
	case 7:
		g.line("table.sort(self.nums%s)", pick(g, "", ", function(a, b) return a > b end"))
	case 8:
		g.line("%s", pick(g, "self.a, self.b = self.b, self.a", "self.map = {}", "self.b = self.map", "self.t = h1", "self.map.a = (self.map.a or 0) + 1", "self.list[3] = nil", "self.a = nil", "self.kept = tostring(kept)", "self.it = tostring((it()))"))
	}
}

func (g *generator) loop() {
	t := pick(g, "self.map", "self.list", g.table(1))
	k, v, s := g.name(), g.name(), g.name()
	g.line("local %s = ''", s)
	g.line("for %s, %s in %s(%s) do %s = %s .. tostring(%s) .. '=' .. tostring(%s) .. ' ' if #%s > 200 then break end end", k, v, pick(g, "pairs", "ipairs", "pairs"), t, s, s, k, v, s)
	g.vars[texts] = append(g.vars[texts], s)
}

func (g *generator) closure() {
	f := g.name()
	c := g.local(numbers, g.number(1))
	switch g.IntN(3) {
	case 0:
		g.line("local function %s(x, ...) %s = %s + 1 return x or %s, ... end", f, c, c, c)
		g.local(numbers, fmt.Sprintf("select('#', %s(%s, %s(%s)))", f, g.value(1), f, g.number(1)))
	case 1:
		g.line("local function %s(n) if n <= 0 then return %s end return n + %s(n - 1) end", f, c, f)
		g.local(numbers, fmt.Sprintf("%s(%s)", f, pick(g, "3", "10", "50")))
	case 2:
		g.line("local %s = {} for i = 1, 3 do %s[i] = function() i = i + %s return i end end", f, f, c)
		g.local(numbers, fmt.Sprintf("%s[1]() + %s[2]() * %s[1]()", f, f, f))
	}
}

func (g *generator) protected() {
	ok, e := g.name(), g.name()
	g.line("local %s, %s = %s", ok, e, pick(g, "pcall(function()", "xpcall(function()", "pcall(function()"))
	xp := strings.HasSuffix(strings.TrimSpace(g.b.String()), "= xpcall(function()")
	g.block(1 + g.IntN(2))
	if g.IntN(2) == 0 {
		g.line("error(%s%s)", g.value(1), pick(g, "", ", 0", ", 2"))
	}
	if xp {
		g.line("end, function(e) return 'h:' .. tostring(e) end)")
	} else {
		g.line("end)")
	}
	g.line("if not %s then self.error = tostring(%s) end", ok, e)
}

func (g *generator) metatable() {
	t := g.name()
	g.line("local %s = setmetatable({v = %s}, {", t, g.number(1))
	for _, m := range []string{
		"__index = function(t, k) return tostring(k) .. '!' end", "__index = {p = 1, q = 'q'}", "__newindex = function(t, k, v) rawset(t, k, 2) end",
		"__add = function(a, b) return 41 end", "__concat = function(a, b) return 'cat' end", "__call = function(t, x) return x end", "__unm = function() return -5 end",
		"__tostring = function(t) return 'T' .. tostring(t.v) end", "__eq = function() return true end", "__lt = function(a, b) return a.v < b.v end", "__metatable = 'locked'",
	} {
		if g.IntN(2) == 0 {
			g.line("  %s,", m)
		}
	}
	g.line("})")
	use := pick(g, "%s.p", "%s + 1", "%s .. 'x'", "%s(7)", "-%s", "tostring(%s)", "%s == {}", "getmetatable(%s)", "rawget(%s, 'p')", "#%s")
	r := g.name()
	g.line("local _, %s = pcall(function() %s.z = 1 return %s end)", r, t, fmt.Sprintf(use, t))
	g.line("self.meta = tostring(%s)", r)
}

func (g *generator) matches() {
	s := g.name()
	g.line("local %s = ''", s)
	g.line("for a, b in %s:gmatch(%s) do %s = %s .. tostring(a) .. tostring(b) if #%s > 100 then break end end", g.paren(2), g.pattern(), s, s, s)
	g.local(numbers, fmt.Sprintf("(%s:find(%s%s) or 0)", g.paren(2), g.pattern(), pick(g, "", ", 2", ", -1", ", 1, true")))
	g.vars[texts] = append(g.vars[texts], s)
}

// chunk is code that runs when the script is loaded, again on every machine that
// restores, and whose values methods keep.
func (g *generator) chunk() {
	g.line("local kept = %s", pick(g, "1", "2", "pcall(copy, {{{{{{{1}}}}}}})", "select('#', pcall(json.encode, {{{{{{1}}}}}}))", "#('x'):rep(5000)",
		"pcall(now)", "pcall(random)", "#table.concat({1, 2, 3}, '-')", "('a b c'):gsub('%a', string.upper)", "tostring(math.sin(1))", "{('k=v'):match('(%w+)=(%w+)')}"))
	if g.IntN(12) == 0 { // refused
		g.line("local it = %s", pick(g, "('a b c'):gmatch('%a')", "pairs({1, 2, 3})", "(function() local n = 0 return function() n = n + 1 return n end end)()"))
	} else {
		g.line("local function it() return %s end", pick(g, "kept", "shared[1]", "type(kept)"))
	}
}

// script is a definition of the object name.
func (g *generator) script(name string, version int, others []string) string {
	g.b.Reset()
	g.fresh, g.vars, g.objects = 0, [3][]string{}, nil
	g.line("local X = object(%q, {version = %d})", name, version)
	g.line("local shared = {1, 2, x = 'frozen'}")
	g.chunk()
	g.line("local function h1(a, b) return a + b * %s end", pick(g, "2", "0.5", "-1"))
	g.line("local function h2(...) local t = {...} return %s, ... end", pick(g, "#t", "t[1]", "shared.x"))
	g.line("function X:init() self.n = 0 self.list = {} self.map = {} self.nums = {} self.made = index() end")
	g.line("function X:migrate(from) self.n = self.n + from self.list = self.list or {} %s end", pick(g, "", "", "", "error('no')", "emit('migrated', from)"))
	g.line("function X.replicated:fire(x) self.fired = (self.fired or 0) + 1 self.last = x %s end", pick(g, "", "emit('fired', x)", "if self.fired > 3 then error('bad') end", "after(1, 'fire', self.fired)"))
	for i := range 2 {
		g.line("function X.replicated:m%d(p, q, ...)", i+1)
		if i > 0 { // m1 is called by other objects: no chains
			g.objects = others
		}
		g.scoped(func() {
			g.local(numbers, "(tonumber(p) or 3)")
			g.local(texts, "tostring(q)")
			for range 2 + g.IntN(4) {
				g.statement()
			}
			g.line("return %s, %s, ...", g.value(2), g.value(2))
		})
		g.line("end")
	}
	g.line("function X.query:q(k) local s = '' for k, v in pairs(self) do s = s .. tostring(k) .. ':' .. tostring(v) .. ';' end return s, self.list, #self.nums, self[k], %s end", pick(g, "json.encode(self.map)", "math.sin(self.n)", "copy(self.map)"))
	return g.b.String()
}

// argument is an encoded value.
func (g *generator) argument(depth int) []byte {
	switch g.IntN(9) {
	case 0:
		return codec.AppendNil(nil)
	case 1:
		return codec.AppendBool(nil, g.IntN(2) == 0)
	case 2, 3:
		return codec.AppendNumber(nil, pick(g, 0, 1, -1, 2.5, 1e300, 1<<53, float64(g.IntN(100))))
	case 4, 5:
		return codec.AppendString(nil, pick(g, "", "a", "x=y", "\xff\x00", "12", "hello"))
	}
	if depth == 0 {
		return codec.AppendInt(nil, int64(g.IntN(10)))
	}
	n := g.IntN(4)
	if g.IntN(2) == 0 {
		b := codec.AppendArrayLen(nil, n)
		for range n {
			b = append(b, g.argument(depth-1)...)
		}
		return b
	}
	b := codec.AppendMapLen(nil, n)
	for i := range n {
		b = append(codec.AppendString(b, string(rune('a'+i))), g.argument(depth-1)...)
	}
	return b
}

func (g *generator) arguments() []byte {
	n := g.IntN(4)
	b := codec.AppendArrayLen(nil, n)
	for range n {
		b = append(b, g.argument(2)...)
	}
	return b
}

// object names an object that mostly exists.
func (g *generator) object() string {
	return pick(g, "o1", "o1", "o1", "o1", "o2", "o2", "o2", "i1", "i1", "i2", "none")
}

func (g *generator) deploy(version int) []byte {
	scripts := []command.Script{{Name: "o1.lua", Source: g.script("o1", version, []string{"o2"})}}
	switch g.IntN(3) {
	case 0:
		scripts = append(scripts, command.Script{Name: "i2.lua", Source: `object("i2", "o1")`})
	case 1:
		scripts[0].Source += pick(g, "\nlocal x = = 1", "\nerror('chunk')", "\nos.exit()", "\nwhile true do end", "\nlocal Y = object 'o2'")
	}
	return command.AppendDeploy(nil, 1, 1, scripts)
}

// command is one of any kind. Version is that of the next deploy.
func (g *generator) command(version *int) []byte {
	switch g.IntN(24) {
	case 0, 1:
		return command.AppendTick(nil)
	case 2:
		return command.AppendCreate(nil, 1, 1, pick(g, "i1", "i1", "i2", "i2", "end", "o1"), pick(g, "o1", "o2", "o1", "none"))
	case 3:
		if g.IntN(3) > 0 {
			return command.AppendTick(nil)
		}
		return command.AppendDrop(nil, 1, 1, pick(g, "i1", "i2", "i2", "o2", "none"))
	case 4:
		if g.IntN(3) == 0 {
			*version += g.IntN(3)
			return g.deploy(*version - g.IntN(2))
		}
		return command.AppendCall(nil, 1, 1, "o1", "q", nil)
	case 5:
		return command.AppendSetting(nil, 1, 1, pick(g, "instructions", "events", "nesting", "none", "message_bytes", "session_ttl"), pick(g, 5000.0, 20000, 3, 50, 1.5, 100))
	case 6:
		b := command.AppendCall(nil, 1, 1, "o1", "m1", g.arguments())
		return b[:g.IntN(len(b))]
	}
	call := command.AppendCall(nil, uint64(g.IntN(3)), 1, g.object(), pick(g, "m1", "m2", "m1", "m2", "m2", "fire"), g.arguments())
	if g.IntN(2) == 0 {
		return call
	}
	return g.inSession(call)
}

// inSession makes a call one of the session: mostly its next, now and then one
// that was made before, or is of no session that there is.
func (g *generator) inSession(call []byte) []byte {
	serial, session := g.serial+1, g.session
	switch g.IntN(10) {
	case 0, 1:
		serial = g.serial - min(uint64(g.IntN(4)), g.serial)
	case 2:
		serial += uint64(g.IntN(2000))
	case 3:
		session += uint64(g.IntN(2))
	default:
		g.serial = serial
		g.acked += uint64(g.IntN(int(g.serial-g.acked))) * uint64(g.IntN(2))
	}
	return command.AppendIn(nil, call, session, serial, g.acked)
}
