package shell

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/syncsh/syncsh/internal/command"
)

const helpText = `Type Lua. Objects of the cluster are globals:
  counter:inc(5)                        call a method and wait for its results
  counter.async:inc(1, function(res, err) print(res, err) end)
                                        call without waiting
  counter.value                         read a field
  for k, v in pairs(kv.data) do print(k, v) end
  object("hits", "counter")             another object with the methods of counter
  ?counter   ?counter.inc               documentation
  ??counter  ??counter.inc              source
  sleep(s)  after(s, f)  every(s, f)    timers; every returns a handle with :stop()
  json.encode(v)  json.decode(s)  await(call)  exit([code])
  http.get(url)  http.post(url, body)   {status, ok, body, headers}; options: {timeout = s, headers = {}}
  .help                                 commands that start with a dot
`

// HelpFor is the documentation of an object, or of a method when name is
// object.method or object:method.
func HelpFor(d *command.Description, name string) (string, error) {
	objectName, method, ok := strings.Cut(strings.Replace(name, ":", ".", 1), ".")
	if ok {
		m, err := FindMethod(d, objectName, method)
		if err != nil {
			return "", err
		}
		return strings.TrimSuffix(fmt.Sprintf("%s  (%s)\n%s", signature(objectName, m), m.Kind, indent(m.Doc)), "\n"), nil
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
	b.WriteByte('\n')
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, m := range o.Methods {
		fmt.Fprintf(w, "  %s\t%s\t%s\n", signature(o.Name, m), m.Kind, sentence(m.Doc))
	}
	w.Flush()
	return trimLines(b.String()), nil
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
