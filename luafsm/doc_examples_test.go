package luafsm

import (
	"fmt"
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/yuin/gopher-lua/parse"
)

// The examples of docs/LUA.md are run. A page is read block by block:
//
//   - ```lua with lines "expr --> result": the lines are the body of a replicated
//     method of a scratch object. Each expression is evaluated in a call of its
//     own, after the lines above it.
//   - ```lua that defines objects begins with a comment with its file's name. It
//     is deployed, unless the text after it deploys or checks it.
//   - ```text has calls, "> object:method(...)", commands, "$ syncsh ...", and
//     waiting, "# 5 seconds later", each followed by what it prints.
//   - any other ```lua has a comment before it, <!-- not run: why -->.
//
// Each heading begins with a new machine. go test -run TestDocExamples -update
// writes what came out into the page.
const docPage = "../docs/LUA.md"

const notRun = "<!-- not run: "

var (
	docDefines = regexp.MustCompile(`(?m)^(local \w+ = )?object *[("]`)
	docName    = regexp.MustCompile(`^-- (\w+\.lua)$`)
	docCall    = regexp.MustCompile(`^(\w+):(\w+)\((.*)\)$`)
	docPath    = regexp.MustCompile(`^(\w+)((?:\.\w+|\[[^\]]+\])*)$`)
	docLater   = regexp.MustCompile(`^([0-9.]+) seconds? later$`)
	docAt      = regexp.MustCompile(`example\.lua:[0-9]+:([0-9]+:)? `)
)

// docRun is a page on its way.
type docRun struct {
	t      testing.TB
	lines  []string
	out    []string // the page with the results that came out
	wrong  []string
	ran    strings.Builder // all code that was run
	rig    *rig
	files  map[string]string
	seen   uint64 // number of the last event that was listed
	checks int
}

// runDoc runs the examples of a page.
func runDoc(t testing.TB, page string) *docRun {
	d := &docRun{t: t, lines: strings.Split(page, "\n")}
	d.section()
	note := ""
	for i := 0; i < len(d.lines); {
		line := d.lines[i]
		if strings.HasPrefix(line, "#") {
			d.section()
		}
		if !strings.HasPrefix(line, "```") || line == "```" {
			if line != "" {
				note = line
			}
			d.out = append(d.out, line)
			i++
			continue
		}
		end := i + 1
		for end < len(d.lines) && d.lines[end] != "```" {
			end++
		}
		block := d.lines[i+1 : min(end, len(d.lines))]
		d.out = append(d.out, line)
		switch lang := strings.TrimPrefix(line, "```"); lang {
		case "lua":
			d.lua(i+2, block, note, strings.Join(d.lines[end:min(end+40, len(d.lines))], "\n"))
		case "text":
			d.text(i+2, block)
		default:
			d.fail(i+1, "a block of language %q", lang)
		}
		note, i = "", end
		if i < len(d.lines) {
			d.out = append(d.out, d.lines[i])
			i++
		}
	}
	return d
}

func (d *docRun) section() {
	d.rig, d.files, d.seen = newRig(d.t), map[string]string{}, 0
}

func (d *docRun) fail(line int, format string, args ...any) {
	d.wrong = append(d.wrong, fmt.Sprintf("line %d: %s", line, fmt.Sprintf(format, args...)))
}

// lua runs or keeps a block; after is what follows it.
func (d *docRun) lua(line int, block []string, note, after string) {
	text := strings.Join(block, "\n")
	switch {
	case docDefines.MatchString(text):
		name := docName.FindStringSubmatch(block[0])
		if name == nil {
			d.fail(line, "a script without the name of its file")
			break
		}
		d.files[name[1]] = text + "\n"
		d.ran.WriteString(text + "\n")
		used := regexp.MustCompile(`(?m)^\$ syncsh (deploy|check)\b.*\b` + regexp.QuoteMeta(name[1]))
		if next := strings.Index(after, "\n#"); next >= 0 {
			after = after[:next]
		}
		if !used.MatchString(after) {
			if res := d.deploy([]string{name[1]}); res.Code != command.CodeOK {
				d.fail(line, "%s", show(res))
			}
		}
	case strings.Contains(text, " --> "):
		d.out = append(d.out, d.expressions(line, block)...)
		return
	case !strings.HasPrefix(note, notRun) || len(note) < len(notRun)+10:
		d.fail(line, "a block that is not run, without a reason")
	}
	d.out = append(d.out, block...)
}

// expressions evaluates the lines that have a result and returns the block
// with what came out.
func (d *docRun) expressions(line int, block []string) []string {
	d.ran.WriteString(strings.Join(block, "\n") + "\n")
	var out, body []string
	for i, l := range block {
		expr, want, ok := strings.Cut(l, " --> ")
		if !ok {
			body, out = append(body, l), append(out, l)
			continue
		}
		last, again := "return "+expr, "local _ = "+expr
		if _, err := parse.Parse(strings.NewReader(last), ""); err != nil {
			last, again = expr, expr // a statement
		}
		got := docAt.ReplaceAllString(showDoc(evalDoc(d.t, append(slices.Clone(body), last))), "")
		d.compare(line+i, expr, got, want)
		out = append(out, expr+" --> "+got)
		if strings.HasPrefix(got, "error: ") {
			again = "" // it would end the next call too
		}
		body = append(body, again)
	}
	return out
}

func (d *docRun) compare(line int, what, got, want string) {
	d.checks++
	if got != want {
		d.fail(line, "%s\n got %s\nwant %s", strings.TrimSpace(what), got, want)
	}
}

// evalDoc calls a method with this body.
func evalDoc(t testing.TB, body []string) command.Result {
	r := newRig(t)
	src := `local Example = object "example" function Example.replicated:run() ` + "\n" + strings.Join(body, "\n") + "\nend"
	if res := r.deploy("example.lua", src); res.Code != command.CodeOK {
		return res
	}
	return r.call("example", "run")
}

// showDoc is a result as the page has it behind an arrow.
func showDoc(res command.Result) string {
	if res.Code == command.CodeScript {
		return "error: " + res.Message
	}
	if res.Code != command.CodeOK {
		return "error: " + show(res)
	}
	values := docValues(res.Values)
	if len(values) == 0 {
		return "nothing"
	}
	return strings.Join(values, ", ")
}

// text runs the lines of a block that are commands and compares the others.
func (d *docRun) text(line int, block []string) {
	for i := 0; i < len(block); {
		command := block[i]
		end := i + 1
		for end < len(block) && !isCommand(block[end]) {
			end++
		}
		if !isCommand(command) {
			d.fail(line+i, "output before the first command: %s", command)
			return
		}
		got, want := d.command(line+i, command), block[i+1:end]
		d.ran.WriteString(command + "\n")
		d.compare(line+i, command, strings.Join(got, "\n"), strings.Join(want, "\n"))
		d.out = append(append(d.out, command), got...)
		i = end
	}
}

func isCommand(s string) bool {
	return strings.HasPrefix(s, "> ") || strings.HasPrefix(s, "$ ") || strings.HasPrefix(s, "# ")
}

// command runs one line and returns what it prints.
func (d *docRun) command(line int, text string) []string {
	r := d.rig
	body := text[2:]
	switch text[0] {
	case '#':
		if body == "events" {
			return d.events()
		}
		m := docLater.FindStringSubmatch(body)
		if m == nil {
			break
		}
		seconds, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			break
		}
		r.clock += int64(seconds * 1000)
		for due, ok := r.m.NextTimer(); ok && due <= r.clock; due, ok = r.m.NextTimer() {
			r.apply(command.AppendTick(nil))
		}
		return nil
	case '>':
		if m := docCall.FindStringSubmatch(body); m != nil && m[1] != "object" {
			return d.call(m[1], m[2], m[3])
		}
		if args, ok := strings.CutPrefix(body, "object("); ok {
			names := docValues(evalDoc(d.t, []string{"return " + strings.TrimSuffix(args, ")")}).Values)
			if len(names) != 2 {
				break
			}
			return docLines(r.apply(command.AppendCreate(nil, 0, 0, unquote(names[0]), unquote(names[1])))[0])
		}
		if m := docPath.FindStringSubmatch(body); m != nil {
			keys := regexp.MustCompile(`\.(\w+)|\[([^\]]+)\]`).ReplaceAllStringFunc(m[2], func(s string) string {
				if s[0] == '.' {
					return `, "` + s[1:] + `"`
				}
				return ", " + s[1:len(s)-1]
			})
			path := evalDoc(d.t, []string{"return " + strings.TrimPrefix(keys, ", ")}).Values
			return docLines(r.query(command.AppendGet(nil, m[1], path)))
		}
	case '$':
		words := strings.Fields(body)
		if len(words) > 2 && words[0] == "syncsh" {
			return d.syncsh(line, words[1], words[2:])
		}
	}
	d.fail(line, "unknown command: %s", text)
	return nil
}

// call calls a method with arguments in Lua notation.
func (d *docRun) call(object, method, list string) []string {
	given := evalDoc(d.t, []string{"return " + list})
	if given.Code != command.CodeOK {
		return []string{show(given)}
	}
	if o := d.rig.m.roots.byName[object]; o != nil {
		if def := d.rig.m.prog.class(o); def != nil && def.methods[method] != nil && def.methods[method].kind == kindQuery {
			return docLines(d.rig.query(command.AppendQuery(nil, object, method, given.Values)))
		}
	}
	return docLines(d.rig.apply(command.AppendCall(nil, 0x2a, 1, object, method, given.Values))[0])
}

// syncsh is a command of the command line.
func (d *docRun) syncsh(line int, name string, args []string) []string {
	switch name {
	case "deploy":
		res := d.deploy(args)
		lines := docLines(res)
		if res.Code == command.CodeOK {
			for i := range lines {
				lines[i] = unquote(lines[i])
			}
			lines = append(lines, "deployed "+strings.Join(args, ", "))
		}
		return lines
	case "check":
		var out []string
		for _, f := range Check(d.scripts(args)) {
			out = append(out, f.String())
		}
		return out
	case "drop":
		res := d.rig.apply(command.AppendDrop(nil, 0, 0, args[0]))[0]
		if res.Code == command.CodeOK {
			return []string{"dropped " + args[0]}
		}
		return docLines(res)
	case "settings":
		if v, err := strconv.ParseFloat(args[len(args)-1], 64); err == nil && len(args) == 2 {
			return d.setting(args[0], v)
		}
	}
	d.fail(line, "unknown command: syncsh %s", name)
	return nil
}

// setting changes a setting and shows it as the command does.
func (d *docRun) setting(name string, v float64) []string {
	if res := d.rig.apply(command.AppendSetting(nil, 0, 0, name, v))[0]; res.Code != command.CodeOK {
		return docLines(res)
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SETTING\tVALUE\tDEFAULT\tLEAST\tMOST")
	for _, s := range settings {
		if s.name == name {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\n", s.name, *s.field(d.rig.m.limits), s.def, s.min, s.max)
		}
	}
	w.Flush()
	return strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
}

func (d *docRun) scripts(names []string) []command.Script {
	var out []command.Script
	for _, n := range names {
		out = append(out, command.Script{Name: n, Source: d.files[n]})
	}
	return out
}

func (d *docRun) deploy(names []string) command.Result {
	return d.rig.apply(command.AppendDeploy(nil, 0, 0, d.scripts(names)))[0]
}

// events are those since the last time, one a line.
func (d *docRun) events() []string {
	v := d.rig.m.Publish()
	defer v.Release()
	events, _ := v.EventsAfter(d.seen, 1000)
	var out []string
	for _, e := range events {
		out = append(out, fmt.Sprintf("%s %s: %s", e.Object, e.Topic, strings.Join(docValues(e.Values), ", ")))
		d.seen = e.Seq
	}
	return out
}

// docLines is a result as the REPL prints it: one line a value, a single string
// without quotes.
func docLines(res command.Result) []string {
	if res.Code != command.CodeOK {
		return strings.Split(show(res), "\n")
	}
	values := docValues(res.Values)
	if len(values) == 1 {
		values[0] = unquote(values[0])
	}
	return values
}

// unquote is the string that docValue has written; other values stay.
func unquote(s string) string {
	q := s
	if strings.HasPrefix(s, "'") {
		q = `"` + strings.ReplaceAll(s[1:len(s)-1], `"`, `\"`) + `"`
	}
	if u, err := strconv.Unquote(q); err == nil {
		return u
	}
	return s
}

// docValues are the values of an array in Lua notation.
func docValues(b []byte) []string {
	d := codec.NewDecoder(b)
	n, err := d.ArrayLen()
	if err != nil {
		return []string{"!" + err.Error()}
	}
	var out []string
	for range n {
		out = append(out, docValue(&d))
	}
	return out
}

func docValue(d *codec.Decoder) string {
	switch d.Peek() {
	case codec.KindInt, codec.KindFloat:
		f, _ := d.Number()
		switch {
		case f != f:
			return "0/0"
		case math.IsInf(f, 1):
			return "math.huge"
		case math.IsInf(f, -1):
			return "-math.huge"
		}
		return strconv.FormatFloat(f, 'g', -1, 64)
	case codec.KindArray:
		n, _ := d.ArrayLen()
		var l []string
		for range n {
			l = append(l, docValue(d))
		}
		return "{" + strings.Join(l, ", ") + "}"
	case codec.KindMap:
		n, _ := d.MapLen()
		var l []string
		for i := range n {
			k := docValue(d)
			switch name := unquote(k); {
			case name != k && isIdentifier(name):
				k = name + " = "
			case k == strconv.Itoa(i+1):
				k = ""
			default:
				k = "[" + k + "] = "
			}
			l = append(l, k+docValue(d))
		}
		return "{" + strings.Join(l, ", ") + "}"
	case codec.KindString:
		s, _ := d.String()
		q := strconv.Quote(s)
		if strings.Contains(s, `"`) && !strings.Contains(s, "'") {
			q = "'" + strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`) + "'"
		}
		return q
	}
	return showValue(d)
}

func TestDocExamples(t *testing.T) {
	text, err := os.ReadFile(docPage)
	if err != nil {
		t.Fatal(err)
	}
	d := runDoc(t, string(text))
	if *update {
		if err := os.WriteFile(docPage, []byte(strings.Join(d.out, "\n")), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range d.wrong {
		t.Errorf("%s: %s", docPage, w)
	}
	t.Logf("%d results", d.checks)

	// Every function that scripts can reach has an example.
	ran := d.ran.String()
	want := slices.Collect(maps.Keys(ownFunctions))
	want = slices.AppendSeq(want, maps.Keys(baseFunctions))
	for l, lb := range libraries {
		for n := range lb.functions {
			if l != "string" {
				n = l + "." + n
			}
			want = append(want, n)
		}
		for n := range lb.numbers {
			want = append(want, l+"."+n)
		}
	}
	for _, n := range want {
		if !regexp.MustCompile(`(^|[^\w.])((string\.|:)?` + regexp.QuoteMeta(n) + `)\b`).MatchString(ran) {
			t.Errorf("%s: no example of %s", docPage, n)
		}
	}

	// The tables of limits and codes agree with the code.
	page := string(text)
	for _, s := range settings {
		if row := fmt.Sprintf("| `%s` | %d | %d | %d |", s.name, s.def, s.min, s.max); !strings.Contains(page, row) {
			t.Errorf("%s: no row %s", docPage, row)
		}
	}
	for _, c := range []struct {
		what string
		n    int
	}{
		{"bytes of the arguments of a timer", timerBytesMax}, {"bytes of the values of an event", eventBytesMax}, {"bytes of all events that are kept", eventsBytesMax},
		{"instructions of loading one script", chunkSteps}, {"calls within one another", callDepthMax}, {"values on the stack of a call", registersMax}, {"arguments or results of a call", argsMax},
		{"events of one call", eventsCallMax}, {"replicated timers that wait", timersMax},
		{"seconds of `after`", timerSecondsMax}, {"bytes of an object's, method's or script's name", nameBytesMax}, {"scripts that are deployed", scriptsMax}, {"bytes of all scripts that are deployed", scriptsBytesMax},
		{"bytes of one `print`", printBytesMax}, {"bytes of an error's message", messageTextMax}, {"bytes of a name that an error shows", nameBytesMax},
		{"blocks and brackets within one another", nestingMax}, {"operators in one expression", operatorsMax}, {"`elseif` in one `if`", elseifsMax},
		{"functions within one another", functionsMax}, {"labels and gotos of a script", labelsMax}, {"different constants and names in one function", constantsMax},
		{"variables of outer functions that one function uses", upvaluesMax}, {"expressions in a list", argumentsMax}, {"variables of functions under way that functions within them use", openUpvaluesMax},
	} {
		if row := fmt.Sprintf("| %s | %d |", c.what, c.n); !strings.Contains(page, row) {
			t.Errorf("%s: no row %s", docPage, row)
		}
	}
	for c := command.CodeScript; c <= command.CodeHappened; c++ {
		if !strings.Contains(page, "| `"+c.String()+"` |") {
			t.Errorf("%s: no row of the code %s", docPage, c)
		}
	}
}

// A page with a wrong result is noticed, wherever the result stands.
func TestDocExamplesNoticeFaults(t *testing.T) {
	const script = "```lua\n-- x.lua\nlocal X = object \"x\"\nfunction X:init() self.n = 0 end\n" +
		"function X.replicated:inc() self.n = self.n + 1 emit(\"inc\", self.n) return self.n end\nfunction X.query:get() return self.n end\n```\n"
	for _, c := range []struct {
		page string
		ok   bool
	}{
		{"```lua\nlocal a = 1\na + 1 --> 2\n```", true},
		{"```lua\nlocal a = 1\na + 1 --> 3\n```", false},
		{"```lua\n1, \"x\", nil --> 1, \"x\", nil\n```", true},
		{"```lua\n1, \"x\", nil --> 1, \"x\"\n```", false},
		{"```lua\nerror(\"x\", 0) --> error: x\n1 --> 1\n```", true},
		{"```lua\nerror(\"x\", 0) --> error: y\n```", false},
		{"```lua\nfor i = 1, 1e9 do end --> error: budget: instruction limit reached\n```", true},
		{"```lua\nlocal a = 1\n```", false},
		{notRun + "it is for clients -->\n```lua\nlocal a = 1\n```", true},
		{script + "```text\n> x:inc()\n1\n> x:get()\n1\n> x.n\n1\n# events\nx inc: 1\n```", true},
		{script + "```text\n> x:inc()\n2\n```", false},
		{script + "```text\n> x.n\n0\n1\n```", false},
		{script + "```text\n> x:nix()\nnot_found: x has no method \"nix\"\n```", true},
		{script + "```text\n$ syncsh deploy x.lua\nx: new, version 1 (x.lua)\ndeployed x.lua\n$ syncsh check x.lua\n```", true},
		{script + "```text\n$ syncsh deploy x.lua\ndeployed x.lua\n```", false},
		{script + "```text\nno command\n```", false},
		{"```lua\n-- x.lua\nlocal X = object \"end\"\n```", false},
		{"```lua\nlocal X = object \"x\"\n```", false},
		{"```go\n```", false},
	} {
		d := runDoc(t, c.page)
		if ok := len(d.wrong) == 0; ok != c.ok {
			t.Errorf("%s\nok is %v: %v", c.page, ok, d.wrong)
		}
		if c.ok && strings.Join(d.out, "\n") != c.page {
			t.Errorf("%s\nwould become\n%s", c.page, strings.Join(d.out, "\n"))
		}
	}
}
