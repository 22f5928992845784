package shell

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/internal/codec"
	"github.com/syncsh/syncsh/internal/command"
	"github.com/syncsh/syncsh/internal/wire"
)

// nameExplain is the function that .explain calls in place of the method.
const nameExplain = "\x00explain"

var errNoCall = &UsageError{".explain needs one call of a method, such as .explain counter:inc(5)"}

// explainTextMax bounds a value in a line of an explanation; --json has it whole.
const explainTextMax = 200

// dotExplain is .explain object:method(args).
func dotExplain(ctx context.Context, c *Console, arg string) error {
	proto, err := compileExplain(arg, c.name)
	if err != nil {
		return err
	}
	return c.Session.do(ctx, func(t *task) error {
		_, err := c.Session.callProto(t, proto)
		return err
	})
}

// compileExplain compiles object:method(args) to explain(object, "method", args).
func compileExplain(src, name string) (*lua.FunctionProto, error) {
	stmts, err := parse.Parse(strings.NewReader("return "+src+"\n"), name)
	if err != nil || len(stmts) != 1 {
		return nil, errNoCall
	}
	ret, ok := stmts[0].(*ast.ReturnStmt)
	if !ok || len(ret.Exprs) != 1 {
		return nil, errNoCall
	}
	call, ok := ret.Exprs[0].(*ast.FuncCallExpr)
	if !ok || call.Receiver == nil {
		return nil, errNoCall
	}
	fn, method := &ast.IdentExpr{Value: nameExplain}, &ast.StringExpr{Value: call.Method}
	call.Func, call.Args = fn, append([]ast.Expr{call.Receiver, method}, call.Args...)
	call.Receiver, call.Method = nil, ""
	for _, n := range []ast.PositionHolder{fn, method} {
		n.SetLine(call.Line())
		n.SetLastLine(call.LastLine())
	}
	rewriter{}.block(stmts) // the arguments may call methods too
	return lua.Compile(stmts, name)
}

// luaExplain is explain(object, method, ...): it asks what the call would do and
// prints that.
func (s *Session) luaExplain(l *lua.LState) int {
	u, _ := l.Get(1).(*lua.LUserData)
	if u == nil || u.Metatable != s.proxyMeta {
		l.RaiseError(".explain needs an object of the cluster, not a %s", typeName(l.Get(1)))
	}
	object, method := u.Value.(*proxy).name, l.CheckString(2)
	m, err := s.findMethod(object, method)
	if err == nil && m.Kind == command.Local {
		err = fmt.Errorf("%s:%s is a local method: it runs here, as if it had been typed; .explain takes the calls that it makes", object, method)
	}
	var args []lua.LValue
	for i := 3; i <= l.GetTop(); i++ {
		args = append(args, l.Get(i))
	}
	var encoded []byte
	if err == nil {
		encoded, err = appendArgs(nil, args)
	}
	if err != nil {
		s.raise(l, err)
	}
	r, err := s.request(l, wire.OpQuery, s.mode(), command.AppendExplain(nil, object, method, encoded))
	if err != nil {
		s.raise(l, err)
	}
	x, err := decodeExplanation(r)
	if err == nil && s.json.Load() {
		var text string
		if text, err = x.json(); err == nil {
			s.writeLine(text)
		}
	} else if err == nil {
		s.writeLine(strings.Join(x.lines(), "\n"))
	}
	if err != nil {
		s.raise(l, fmt.Errorf("answer of the cluster: %w", err))
	}
	return 0
}

// explanation is a command.Explanation with its values decoded.
type explanation struct {
	command.Explanation
	index   uint64
	results []lua.LValue
	err     *command.Error
	changes []explainedChange
	events  [][]lua.LValue
	args    [][]lua.LValue // of the timers
}

type explainedChange struct {
	path     string
	old, new lua.LValue // nil: too large
}

func decodeExplanation(r command.Result) (x explanation, err error) {
	d := codec.NewDecoder(r.Values)
	if err = d.FixedArray(1); err != nil {
		return x, err
	}
	if x.Explanation, err = command.DecodeExplanation(&d); err != nil {
		return x, err
	}
	d = codec.NewDecoder(x.Result)
	result, err := command.DecodeResult(&d)
	if err != nil {
		return x, err
	}
	x.index = result.Index
	if failed, ok := result.Err().(*command.Error); ok {
		x.err = failed
	} else if x.results, err = decodeValues(result.Values); err != nil {
		return x, err
	}
	for _, c := range x.Changes {
		keys, err := decodeValues(c.Path)
		if err != nil || len(keys) == 0 {
			return x, fmt.Errorf("path of a change: %w", err)
		}
		e := explainedChange{path: lua.LVAsString(keys[0])}
		for _, k := range keys[1:] {
			e.path += keySuffix(k)
		}
		if e.old, err = seen(c.Old); err != nil {
			return x, err
		}
		if e.new, err = seen(c.New); err != nil {
			return x, err
		}
		x.changes = append(x.changes, e)
	}
	for _, v := range x.Events {
		values, err := decodeValues(v.Values)
		if err != nil {
			return x, err
		}
		x.events = append(x.events, values)
	}
	for _, t := range x.Timers {
		values, err := decodeValues(t.Args)
		if err != nil {
			return x, err
		}
		x.args = append(x.args, values)
	}
	return x, nil
}

// seen is a value of an explanation, nil if it is too large to be told.
func seen(v command.Seen) (lua.LValue, error) {
	switch {
	case v.TooLarge:
		return nil, nil
	case v.Value == nil:
		return lua.LNil, nil
	}
	d := codec.NewDecoder(v.Value)
	return decodeValue(&d, 0)
}

// lines are the explanation as people read it.
func (x *explanation) lines() (out []string) {
	line := func(what, text string) { out = append(out, fmt.Sprintf("%-9s%s", what, text)) }
	if x.err != nil {
		line("error", harmless(ErrorText(x.err, false)))
	} else {
		text := clipped(strings.Join(FormatResults(x.results), ", "))
		if len(x.results) == 0 {
			text = "none"
		}
		line("result", text)
	}
	line("charged", fmt.Sprintf("%d of %d steps, %d of %d bytes", x.Steps.Used, x.Steps.Most, x.Bytes.Used, x.Bytes.Most))
	if len(x.changes) == 0 {
		line("changes", "none")
	}
	what := "changes"
	for _, c := range x.changes {
		line(what, harmless(c.path)+"  "+placed(c.old)+" -> "+placed(c.new))
		what = ""
	}
	if x.LeftOut > 0 {
		line("", fmt.Sprintf("and %d more", x.LeftOut))
	}
	for i, v := range x.Events {
		line("event", fmt.Sprintf("%s by %s: %s", harmless(v.Topic), v.Object, oneLine(x.events[i])))
	}
	for i, t := range x.Timers {
		in := time.Duration(max(t.Due-x.Clock, 0)) * time.Millisecond
		line("timer", fmt.Sprintf("%s:%s(%s) in %v", t.Object, t.Method, oneLine(x.args[i]), in))
	}
	if x.Cancelled > 0 {
		line("timers", fmt.Sprintf("%d cancelled", x.Cancelled))
	}
	return append(out, "nothing was changed")
}

// oneLine is values in Lua notation on one line.
func oneLine(values []lua.LValue) string {
	parts := make([]string, len(values))
	for i, v := range values {
		parts[i] = Format(v)
	}
	return clipped(strings.Join(parts, ", "))
}

// placed is what is at a place of the state.
func placed(v lua.LValue) string {
	if v == nil {
		return "(too large to show)"
	}
	return clipped(Format(v))
}

func clipped(text string) string {
	if text = harmless(text); len(text) <= explainTextMax {
		return text
	}
	return strings.ToValidUTF8(text[:explainTextMax], "") + "..."
}

// An explanation as .json on prints it. A value that is too large is left out.
type (
	explainedJSON struct {
		Index     uint64            `json:"index"`
		ClockMs   int64             `json:"clock_ms"`
		Results   []json.RawMessage `json:"results,omitempty"`
		Error     *failureJSON      `json:"error,omitempty"`
		Steps     uint64            `json:"steps"`
		StepsMax  uint64            `json:"steps_max"`
		Bytes     uint64            `json:"bytes"`
		BytesMax  uint64            `json:"bytes_max"`
		Changes   []changeJSON      `json:"changes"`
		LeftOut   uint64            `json:"changes_left_out"`
		Events    []eventJSON       `json:"events"`
		Timers    []timerJSON       `json:"timers"`
		Cancelled uint64            `json:"timers_cancelled"`
	}
	changeJSON struct {
		Path string          `json:"path"`
		Old  json.RawMessage `json:"old,omitempty"`
		New  json.RawMessage `json:"new,omitempty"`
	}
	eventJSON struct {
		Object string            `json:"object"`
		Topic  string            `json:"topic"`
		Values []json.RawMessage `json:"values"`
	}
	timerJSON struct {
		ID     uint64            `json:"id"`
		Object string            `json:"object"`
		Method string            `json:"method"`
		Args   []json.RawMessage `json:"args"`
		DueMs  int64             `json:"due_ms"`
	}
	failureJSON struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Traceback string `json:"traceback,omitempty"`
	}
)

func (x *explanation) json() (string, error) {
	out := explainedJSON{
		Index: x.index, ClockMs: x.Clock, Steps: x.Steps.Used, StepsMax: x.Steps.Most, Bytes: x.Bytes.Used, BytesMax: x.Bytes.Most,
		Changes: []changeJSON{}, LeftOut: x.LeftOut, Events: []eventJSON{}, Timers: []timerJSON{}, Cancelled: x.Cancelled,
	}
	var w rawJSON
	if x.err != nil {
		out.Error = &failureJSON{x.err.Code.String(), raisedText(x.err), x.err.Traceback}
	} else {
		out.Results = w.list(x.results)
	}
	for _, c := range x.changes {
		out.Changes = append(out.Changes, changeJSON{c.path, w.value(c.old), w.value(c.new)})
	}
	for i, v := range x.Events {
		out.Events = append(out.Events, eventJSON{v.Object, v.Topic, w.list(x.events[i])})
	}
	for i, t := range x.Timers {
		out.Timers = append(out.Timers, timerJSON{t.ID, t.Object, t.Method, w.list(x.args[i]), t.Due})
	}
	if w.err != nil {
		return "", w.err
	}
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(out); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// rawJSON writes values and keeps the first error.
type rawJSON struct{ err error }

func (w *rawJSON) value(v lua.LValue) json.RawMessage {
	if v == nil {
		return nil
	}
	text, err := JSON(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	return json.RawMessage(text)
}

func (w *rawJSON) list(values []lua.LValue) []json.RawMessage {
	out := []json.RawMessage{}
	for _, v := range values {
		out = append(out, w.value(v))
	}
	return out
}
