package spec

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/lab"
	"github.com/syncsh/syncsh/internal/shell"
)

const (
	// eventuallyDefault is how long eventually waits, and eventuallyEvery how often
	// it looks.
	eventuallyDefault = 60 * time.Second
	eventuallyEvery   = 100 * time.Millisecond
	// leaderPatience is how long leader waits for one, leaderEvery how often it looks.
	leaderPatience = 30 * time.Second
	leaderEvery    = 10 * time.Millisecond
	// depthMax bounds the nesting of tables that are compared.
	depthMax = 100
	// shownMax bounds a value in a message.
	shownMax = 500
	// secondsMax is more than any limit of virtual time.
	secondsMax = 1e9
)

// open adds the function test.
func (p *play) open(_ *shell.Session, l *lua.LState) {
	l.SetGlobal("test", l.NewFunction(func(l *lua.LState) int {
		name, fn := l.CheckString(1), l.CheckFunction(2)
		if strings.TrimSpace(name) == "" || strings.ContainsAny(name, "\r\n") {
			l.ArgError(1, "a name on one line expected")
		}
		if slices.Contains(p.names, name) {
			l.RaiseError("two tests are named '%s'", name)
		}
		p.names = append(p.names, name)
		if name == p.name {
			p.run = fn
		}
		return 0
	}))
}

// newT makes the table that a test is given.
func (p *play) newT(l *lua.LState) *lua.LTable {
	t := l.NewTable()
	t.RawSetString("name", lua.LString(p.name))
	t.RawSetString("seed", lua.LNumber(p.seed))
	guard(l, t, "t", p.methods())
	return t
}

// methods are those of the table that a test is given.
func (p *play) methods() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"equal": p.equal, "differ": p.differ, "truthy": p.truthy, "falsy": p.falsy, "near": p.near, "fails": p.fails,
		"eventually": p.eventually, "fail": p.fail, "skip": p.skip, "log": p.log,
		"sleep": p.sleep, "nodes": p.nodes, "leader": p.leader, "followers": p.followers,
		"kill": p.kill, "restart": p.restart, "cut": p.cutOff, "heal": p.heal, "calm": p.calm, "client": p.client,
	}
}

// guard gives a table its methods, and an error to who asks for another one.
func guard(l *lua.LState, t *lua.LTable, name string, methods map[string]lua.LGFunction) {
	names := make([]string, 0, len(methods))
	for m, f := range methods {
		t.RawSetString(m, l.NewFunction(f))
		names = append(names, m)
	}
	slices.Sort(names)
	mt := l.NewTable()
	mt.RawSetString("__index", l.NewFunction(func(l *lua.LState) int {
		l.RaiseError("%s has no '%s'; it has %s", name, l.Get(2).String(), strings.Join(names, ", "))
		return 0
	}))
	t.Metatable = mt
}

// raise fails the test: message, or what the test says itself in argument n.
func (p *play) raise(l *lua.LState, n int, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if why := l.Get(n); why != lua.LNil {
		text = p.session.Text(why) + ": " + text
	}
	l.Error(lua.LString(l.Where(1)+" "+text), 0)
}

// show is a value in a message.
func show(v lua.LValue) string {
	text := shell.Format(v)
	if len(text) > shownMax {
		text = strings.ToValidUTF8(text[:shownMax], "") + "..."
	}
	return text
}

// same compares values as data: tables by what is in them.
func same(a, b lua.LValue, depth int) bool {
	ta, ok := a.(*lua.LTable)
	tb, both := b.(*lua.LTable)
	if !ok || !both || ta == tb || depth > depthMax {
		return a == b
	}
	size := func(t *lua.LTable) (n int) {
		t.ForEach(func(lua.LValue, lua.LValue) { n++ })
		return n
	}
	equal := size(ta) == size(tb)
	ta.ForEach(func(k, v lua.LValue) { equal = equal && same(v, tb.RawGet(k), depth+1) })
	return equal
}

// equal is t:equal(got, want [, why]).
func (p *play) equal(l *lua.LState) int {
	if got, want := l.Get(2), l.Get(3); !same(got, want, 0) {
		p.raise(l, 4, "got %s, want %s", show(got), show(want))
	}
	return 0
}

// differ is t:differ(got, other [, why]).
func (p *play) differ(l *lua.LState) int {
	if got := l.Get(2); same(got, l.Get(3), 0) {
		p.raise(l, 4, "got %s, want something else", show(got))
	}
	return 0
}

// truthy is t:truthy(v [, why]); it returns v.
func (p *play) truthy(l *lua.LState) int {
	if v := l.Get(2); !lua.LVAsBool(v) {
		p.raise(l, 3, "got %s, want a value that is true", show(v))
	}
	l.Push(l.Get(2))
	return 1
}

// falsy is t:falsy(v [, why]).
func (p *play) falsy(l *lua.LState) int {
	if v := l.Get(2); lua.LVAsBool(v) {
		p.raise(l, 3, "got %s, want nil or false", show(v))
	}
	return 0
}

// near is t:near(got, want, most [, why]).
func (p *play) near(l *lua.LState) int {
	got, ok := l.Get(2).(lua.LNumber)
	want, most := l.CheckNumber(3), l.CheckNumber(4)
	if !ok || !(math.Abs(float64(got-want)) <= float64(most)) {
		p.raise(l, 5, "got %s, want %s give or take %s", show(l.Get(2)), show(want), show(most))
	}
	return 0
}

// fails is t:fails([code or text,] f, ...); it returns the error.
func (p *play) fails(l *lua.LState) int {
	want, at := "", 2
	if s, ok := l.Get(2).(lua.LString); ok {
		want, at = string(s), 3
	}
	fn := l.CheckFunction(at)
	var args []lua.LValue
	for i := at + 1; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	_, err := shell.Call(l, fn, args...)
	var api *lua.ApiError
	if err == nil {
		p.raise(l, 0, "no error was raised%s", wanted(want))
	}
	if !errors.As(err, &api) {
		p.session.Raise(l, err)
	}
	raised, text := api.Object, p.session.Text(api.Object)
	if c, ok := p.session.CallError(raised); ok && isCode(want) {
		if c.Code.String() != want {
			p.raise(l, 0, "the error is %s%s", text, wanted(want))
		}
	} else if !strings.Contains(text, want) {
		p.raise(l, 0, "the error is %s%s", text, wanted(want))
	}
	l.Push(raised)
	return 1
}

func wanted(want string) string {
	if want == "" {
		return ""
	}
	return ", want " + want
}

func isCode(name string) bool {
	for c := command.CodeScript; c <= command.CodeHappened; c++ {
		if c.String() == name {
			return true
		}
	}
	return false
}

// eventually is t:eventually(f [, seconds [, why]]); it returns what f does.
func (p *play) eventually(l *lua.LState) int {
	fn, within := l.CheckFunction(2), eventuallyDefault
	if l.Get(3) != lua.LNil {
		within = duration(l, 3)
	}
	for end := p.world.Elapsed() + within; ; {
		values, err := shell.Call(l, fn)
		var api *lua.ApiError
		if errors.As(err, &api) {
			l.Error(api.Object, 0)
		}
		if len(values) > 0 && lua.LVAsBool(values[0]) {
			for _, v := range values {
				l.Push(v)
			}
			return len(values)
		}
		if p.world.Elapsed() >= end {
			p.raise(l, 4, "not so within %v", within)
		}
		p.pause(l, eventuallyEvery)
	}
}

// fail is t:fail([why]).
func (p *play) fail(l *lua.LState) int {
	l.Error(lua.LString(l.Where(1)+" "+l.OptString(2, "failed")), 0)
	return 0
}

// skip is t:skip([why]).
func (p *play) skip(l *lua.LState) int {
	p.skipped = l.OptString(2, "no reason given")
	l.RaiseError("skipped")
	return 0
}

// log is t:log(...): a line that is shown if the test fails, with the time.
func (p *play) log(l *lua.LState) int {
	var parts []string
	for i := 2; i <= l.GetTop(); i++ {
		parts = append(parts, p.session.Text(l.Get(i)))
	}
	text := strings.Join(parts, "\t")
	p.world.Tell("%s", text)
	fmt.Fprintln(p, text)
	return 0
}

// duration reads seconds.
func duration(l *lua.LState, n int) time.Duration {
	f := float64(l.CheckNumber(n))
	if !(f >= 0 && f <= secondsMax) {
		l.ArgError(n, "seconds expected, 0 or more")
	}
	return time.Duration(f * float64(time.Second))
}

func (p *play) pause(l *lua.LState, d time.Duration) {
	if err := p.session.Sleep(d); err != nil {
		p.session.Raise(l, err)
	}
}

// sleep is t:sleep(seconds).
func (p *play) sleep(l *lua.LState) int {
	p.pause(l, duration(l, 2))
	return 0
}

func list(names []string) *lua.LTable {
	t := &lua.LTable{Metatable: lua.LNil}
	for i, n := range names {
		t.RawSetInt(i+1, lua.LString(n))
	}
	return t
}

// nodes is t:nodes().
func (p *play) nodes(l *lua.LState) int {
	l.Push(list(p.world.Nodes()))
	return 1
}

// awaitLeader waits for a node that leads a majority.
func (p *play) awaitLeader(l *lua.LState) string {
	for end := p.world.Elapsed() + leaderPatience; ; {
		if name := p.world.Leader(); name != "" {
			return name
		}
		if p.world.Elapsed() >= end {
			p.raise(l, 0, "no leader within %v", leaderPatience)
		}
		p.pause(l, leaderEvery)
	}
}

// leader is t:leader().
func (p *play) leader(l *lua.LState) int {
	l.Push(lua.LString(p.awaitLeader(l)))
	return 1
}

// followers is t:followers(): the nodes that don't lead, without those that were
// killed.
func (p *play) followers(l *lua.LState) int {
	leader := p.awaitLeader(l)
	l.Push(list(slices.DeleteFunc(p.world.Nodes(), func(n string) bool {
		return n == leader || p.world.Killed(n)
	})))
	return 1
}

// onNode does something to a node that is named.
func onNode(l *lua.LState, f func(name string) error) int {
	if err := f(l.CheckString(2)); err != nil {
		l.ArgError(2, err.Error())
	}
	return 0
}

// kill is t:kill(node), or t:kill(client).
func (p *play) kill(l *lua.LState) int {
	if t, ok := l.Get(2).(*lua.LTable); ok {
		if kill, ok := t.RawGetString("kill").(*lua.LFunction); ok {
			l.Push(kill)
			l.Push(t)
			l.Call(1, 0)
			return 0
		}
	}
	return onNode(l, p.world.Kill)
}

// restart is t:restart(node).
func (p *play) restart(l *lua.LState) int { return onNode(l, p.world.Restart) }

// cutOff is t:cut(node), from all others, or t:cut(node, node).
func (p *play) cutOff(l *lua.LState) int {
	if l.Get(3) == lua.LNil {
		return onNode(l, p.world.Isolate)
	}
	other := l.CheckString(3)
	return onNode(l, func(name string) error { return p.world.Cut(name, other) })
}

// heal is t:heal().
func (p *play) heal(*lua.LState) int {
	p.world.Heal()
	return 0
}

// calm is t:calm(): nothing goes wrong by itself any more.
func (p *play) calm(*lua.LState) int {
	p.world.Calm()
	return 0
}

// client is t:client([name]): a program of its own, which can die.
func (p *play) client(l *lua.LState) int {
	name := l.OptString(2, "client")
	c := &program{p, p.world.NewClient(name), nil}
	c.process = p.session.NewProcess(connection{c.client})
	t := l.NewTable()
	t.RawSetString("name", lua.LString(name))
	guard(l, t, "a client", c.methods())
	l.Push(t)
	return 1
}

// program is a client of a test.
type program struct {
	play    *play
	client  *lab.Client
	process *shell.Process
}

// methods are those of the table that stands for a client.
func (c *program) methods() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{"run": c.run, "start": c.start, "kill": c.kill, "dead": c.isDead}
}

// function reads the function and its arguments.
func (c *program) function(l *lua.LState) (fn *lua.LFunction, args []lua.LValue) {
	fn = l.CheckFunction(2)
	if c.process.Dead() {
		l.RaiseError("client %s is dead", c.client.Name())
	}
	for i := 3; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	return fn, args
}

// run is c:run(f, ...): f as the client, to its end; it returns what f does.
func (c *program) run(l *lua.LState) int {
	fn, args := c.function(l)
	var values []lua.LValue
	err := c.play.session.As(c.process, func(l *lua.LState) (err error) {
		values, err = shell.Call(l, fn, args...)
		return err
	})
	var api *lua.ApiError
	switch {
	case c.process.Dead():
		l.RaiseError("client %s died", c.client.Name())
	case errors.As(err, &api):
		l.Error(api.Object, 0)
	case err != nil:
		c.play.session.Raise(l, err)
	}
	for _, v := range values {
		l.Push(v)
	}
	return len(values)
}

// start is c:start(f, ...): f as the client, in the background.
func (c *program) start(l *lua.LState) int {
	fn, args := c.function(l)
	c.play.session.Spawn(c.process, "client "+c.client.Name(), func(l *lua.LState) error {
		_, err := shell.Call(l, fn, args...)
		return c.play.locate(err)
	})
	return 0
}

// kill is c:kill(): all that the client does ends now, and nobody is told.
func (c *program) kill(*lua.LState) int {
	c.client.Kill()
	c.process.Kill()
	return 0
}

func (c *program) isDead(l *lua.LState) int {
	l.Push(lua.LBool(c.process.Dead()))
	return 1
}
