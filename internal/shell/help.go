package shell

import (
	"fmt"
	"strings"

	"github.com/syncsh/syncsh/internal/command"
)

const helpText = `Type Lua. Objects of the cluster are globals:
  counter:inc(5)                        call a method and wait for its results
  counter.async:inc(1, function(res, err) print(res, err) end)
                                        call without waiting
  counter.value                         read a field
  for k, v in pairs(kv.data) do print(k, v) end
  object("hits", "counter")             another object with counter's methods
  ?counter   ?counter.inc               documentation
  ??counter  ??counter.inc              source
  sleep(s)  after(s, f)  every(s, f)    timers; h = every(...), h:stop()
  watch(kv, f)  watch("topic", f)       changes and events, as they commit
  json.encode(v)  json.decode(s)  await(call)  exit([code])
  http.get(url)  http.post(url, body)   {status, ok, body, headers}
  .help                                 commands that start with a dot
`

// helpFor is the documentation of an object, or of a method when name is
// object.method or object:method.
// It is written for a terminal of width columns; 0 is none.
func helpFor(d *command.Description, name string, width int) (string, error) {
	objectName, method, ok := strings.Cut(strings.Replace(name, ":", ".", 1), ".")
	if ok {
		m, err := FindMethod(d, objectName, method)
		if err != nil {
			return "", err
		}
		text := fmt.Sprintf("%s  (%s)\n%s", signature(objectName, m), m.Kind, wrapParagraphs(indent(m.Doc), width))
		return strings.TrimSuffix(text, "\n"), nil
	}
	o, found := object(d, objectName)
	if !found {
		return "", notFound("no object '%s'%s", objectName, suggestObject(objectName, objectNames(d)))
	}
	var b strings.Builder
	b.WriteString(o.Name)
	switch {
	case o.Prototype != "":
		fmt.Fprintf(&b, ": has the methods of %s", o.Prototype)
	case o.Script == "":
		b.WriteString(": no script defines it any more")
	case o.Doc != "":
		b.WriteString(": " + o.Doc)
	}
	text := wrapParagraphs(b.String(), width) + "\n"
	var rows [][]string
	for _, m := range o.Methods {
		rows = append(rows, []string{signature(o.Name, m), m.Kind.String(), sentence(m.Doc)})
	}
	return trimLines(text + wrapped(rows, "  ", width)), nil
}

// sentence is the first sentence of a documentation.
func sentence(doc string) string {
	text := strings.Join(strings.Fields(doc), " ")
	if i := strings.Index(text, ". "); i >= 0 {
		return text[:i+1]
	}
	return text
}

func signature(object string, m command.Method) string {
	return fmt.Sprintf("%s:%s(%s)", object, m.Name, strings.Join(m.Params, ", "))
}

func indent(text string) string {
	if text == "" {
		return ""
	}
	return "  " + strings.ReplaceAll(text, "\n", "\n  ")
}

// trimLines removes the blanks that columns leave at the ends of lines, and the
// last newline.
func trimLines(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n")
}
