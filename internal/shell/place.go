package shell

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"

	"github.com/syncsh/syncsh/internal/command"
)

// placeColumnsMax bounds the length of a line that is shown with an error.
const placeColumnsMax = 200

// placeName finds the script, the line and perhaps the column in a message.
var placeName = regexp.MustCompile(`([A-Za-z0-9_.-]+):(\d+)(?::(\d+))?:`)

// DeployError is returned for scripts that were not deployed: what it names is a
// place in them, not in those that are in force.
type DeployError struct {
	Err     error
	Scripts []command.Script
}

func (e *DeployError) Error() string { return e.Err.Error() }
func (e *DeployError) Unwrap() error { return e.Err }

// DeployPlace is the line that the error of a deploy names, on lines of its own
// behind the error's text; empty for other errors.
func DeployPlace(err error) string {
	var d *DeployError
	if errors.As(err, &d) {
		if place := placeOf(err, "", &command.Description{}); place != "" {
			return "\n" + place
		}
	}
	return ""
}

// placeOf is the line that an error names, of the input, of the scripts that were
// to be deployed or of those that are, with a caret under the place; empty when
// there is no such line.
func placeOf(err error, input string, d *command.Description) string {
	text := err.Error()
	var failed *command.Error
	if errors.As(err, &failed) {
		text = raisedText(failed)
	}
	m := placeName.FindStringSubmatch(text)
	if m == nil {
		return ""
	}
	source := ""
	if m[1] == "input" {
		source = input
	}
	scripts := d.Scripts
	var refused *DeployError
	if errors.As(err, &refused) {
		scripts = slices.Concat(scripts, refused.Scripts)
	}
	for _, sc := range scripts {
		if sc.Name == m[1] {
			source = sc.Source
		}
	}
	number, nerr := strconv.Atoi(m[2])
	lines := strings.Split(source, "\n")
	if nerr != nil || number < 1 || number > len(lines) || lines[number-1] == "" || len(lines[number-1]) > placeColumnsMax {
		return ""
	}
	line := lines[number-1]
	lead := fmt.Sprintf("%5d | ", number)
	out := lead + harmless(line)
	column, cerr := strconv.Atoi(m[3])
	if cerr != nil {
		column = columnOf(line, text)
	}
	if column >= 1 && column <= len(line)+1 {
		// Tabs stay, so that the caret stands where the place does.
		out += "\n" + strings.Repeat(" ", len(lead)-2) + "| " + blank(line[:column-1]) + "^"
	}
	return out
}

// quotedName finds a name that a message quotes.
var quotedName = regexp.MustCompile(`'([A-Za-z_][A-Za-z0-9_]*)'`)

// columnOf guesses the column of an error at run time, of which only the line is
// known: that of the name that the message quotes, if the line has it once, else
// that of the statement.
func columnOf(line, message string) int {
	if m := quotedName.FindStringSubmatch(message); m != nil {
		word := regexp.MustCompile(`\b` + m[1] + `\b`)
		if at := word.FindAllStringIndex(line, 2); len(at) == 1 {
			return at[0][0] + 1
		}
	}
	return len(line) - len(strings.TrimLeft(line, " \t")) + 1
}

// blank is white space as wide as a text.
func blank(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteString(strings.Repeat(" ", textWidth(string(r))))
		}
	}
	return b.String()
}

// harmlessLines is harmless for a text of several lines.
func harmlessLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = harmless(lines[i])
	}
	return strings.Join(lines, "\n")
}

// showSource is ??name.
func (c *Console) showSource(ctx context.Context, name string) error {
	if name == "" {
		return &UsageError{"?? needs an object or a method, such as ??counter.inc"}
	}
	if err := c.Session.Refresh(ctx); err != nil {
		return err
	}
	text, err := SourceOf(c.Session.Description(), name)
	if err != nil {
		return err
	}
	p := c.Session.conf.Pretty
	if p == nil {
		c.Session.writeLine(strings.TrimRight(text, "\n"))
		return nil
	}
	lines := strings.Split(harmlessLines(strings.TrimRight(text, "\n")), "\n")
	for i := range lines {
		if p.Colours {
			lines[i] = highlight(lines[i], nil)
		}
	}
	c.Session.writeLine(strings.Join(lines, "\n"))
	return nil
}

// SourceOf is the source of an object's script, or of a method with its comment
// when name is object.method or object:method.
func SourceOf(d *command.Description, name string) (string, error) {
	objectName, method, ofMethod := strings.Cut(strings.Replace(name, ":", ".", 1), ".")
	sc, err := scriptToEdit(d, objectName)
	if err != nil || !ofMethod {
		return sc.Source, err
	}
	m, err := FindMethod(d, objectName, method)
	if err != nil {
		return "", err
	}
	lines := strings.Split(sc.Source, "\n")
	if m.Line < 1 || m.Line > len(lines) {
		return "", notFound("%s has no line %d", sc.Name, m.Line)
	}
	first := m.Line
	for first > 1 && strings.HasPrefix(strings.TrimSpace(lines[first-2]), "---") {
		first--
	}
	return strings.Join(lines[first-1:lastLine(sc, m.Line)], "\n"), nil
}

// lastLine is the line on which the function that begins on a line ends.
func lastLine(sc command.Script, line int) int {
	stmts, err := parse.Parse(strings.NewReader(strings.TrimPrefix(sc.Source, "\ufeff")), sc.Name)
	if err != nil {
		return line // deployed under rules of another version
	}
	for _, st := range stmts {
		if def, ok := st.(*ast.FuncDefStmt); ok && def.Line() == line {
			return max(def.Func.LastLine(), line)
		}
	}
	return line
}
