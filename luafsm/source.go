package luafsm

import (
	"fmt"
	"strings"

	"github.com/syncsh/syncsh/luafsm/internal/lib"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// Limits on the shape of a script. gopher-lua's parser and compiler have none:
// they recurse by the nesting, and take time that grows with the square of the
// operators in an expression and of the constants in a function.
const (
	tokensMax      = 50_000 // of a script: some 5000 lines, which take 100 ms
	nestingMax     = 100    // blocks and brackets within one another
	operatorsMax   = 150    // operators, calls and accesses in one expression
	elseifsMax     = 150    // of one if
	functionsMax   = 16     // functions within one another
	labelsMax      = 100    // labels and gotos of a script
	constantsMax   = 2000   // different constants of a function
	upvaluesMax    = 60     // variables of outer functions that one function uses
	argumentsMax   = 100    // expressions in a list
	findingsMax    = 100    // findings that a check reports
	constructorMax = 40     // values of a constructor that one call takes
)

// Finding is a fault in a script.
type Finding struct {
	File      string
	Line, Col int
	Text      string
}

func (f Finding) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Text)
}

// source is a script on its way to code.
type source struct {
	name   string
	text   string // what is parsed
	tokens []ast.Token
	docs   map[int]string // text of the --- comments by line
	chunk  []ast.Stmt

	columns map[spot][]int // of the identifiers; find makes it
}

// readSource checks the shape of a script.
func readSource(name, text string, bytesMax int) (*source, *Finding) {
	s := &source{name: name}
	fail := func(line, col int, format string, args ...any) (*source, *Finding) {
		return nil, &Finding{name, line, col, fmt.Sprintf(format, args...)}
	}
	if len(text) > bytesMax {
		return fail(1, 1, "script of %d bytes, at most %d are allowed", len(text), bytesMax)
	}
	text = strings.TrimPrefix(text, "\ufeff")
	if strings.HasPrefix(text, "\x1b") {
		return fail(1, 1, "bytecode is not accepted")
	}
	if strings.HasPrefix(text, "#") { // a #! line; the line break stays
		i := strings.IndexByte(text, '\n')
		if i < 0 {
			i = len(text)
		}
		text = text[i:]
	}
	s.text = text
	if f := s.scan(); f != nil {
		return nil, f
	}
	return s, nil
}

// Steps charged for a script that is deployed.
const (
	scanBytesPerStep = 2  // bytes that are scanned for a step
	tokenSteps       = 40 // parsing, checking and compiling a token
)

// steps is what making code of the script is charged.
func (s *source) steps() int {
	n := tokenSteps * len(s.tokens)
	for _, t := range s.tokens {
		if t.Type == parse.TNumber {
			n += lib.DecimalSteps(t.Str)
		}
	}
	return n
}

// parse reads the statements of a script whose shape was checked.
func (s *source) parse() *Finding {
	chunk, err := parse.Parse(strings.NewReader(s.text), s.name)
	if err != nil {
		f := syntaxFinding(s.name, err)
		if n := len(s.tokens); f.Text == endOfScript && n > 0 {
			f.Line, f.Col = s.tokens[n-1].Pos.Line, max(s.tokens[n-1].Pos.Column, 1)
		}
		return f
	}
	s.chunk = chunk
	return nil
}

const endOfScript = "unexpected end of the script"

// syntaxFinding is an error of gopher-lua's parser with a position.
func syntaxFinding(name string, err error) *Finding {
	e, ok := err.(*parse.Error)
	if !ok {
		return &Finding{name, 1, 1, "syntax error"}
	}
	f := &Finding{name, e.Pos.Line, max(e.Pos.Column, 1), e.Message}
	switch {
	case e.Pos.Line < 1:
		f.Line, f.Text = 1, endOfScript
	case e.Token != "" && len(e.Token) <= nameBytesMax:
		f.Text = fmt.Sprintf("%s near '%s'", e.Message, strings.ToValidUTF8(e.Token, "\ufffd"))
	}
	return f
}

// level is an open bracket or block during scan.
type level struct {
	operators, elseifs int
	function           bool
	shared             bool // a parenthesis that groups: its operators count for the outside too
}

// shape follows how deep the tokens read so far are nested. The zero value is not
// ready: see scan.
type shape struct {
	levels            []level // the last one is innermost
	labels, functions int
}

func (p *shape) top() *level { return &p.levels[len(p.levels)-1] }

// scan reads the tokens and refuses what would be too much for parser and
// compiler.
func (s *source) scan() *Finding {
	sc := parse.NewScanner(strings.NewReader(s.text), s.name)
	lexer := &parse.Lexer{}
	p := shape{levels: []level{{}}}
	last := ast.Token{Type: ';'}
	for {
		lexer.PrevTokenType = last.Type
		tok, err := sc.Scan(lexer)
		if err != nil {
			f := syntaxFinding(s.name, err)
			if f.Text == endOfScript {
				f.Line, f.Col = max(last.Pos.Line, 1), max(last.Pos.Column, 1)
			}
			return f
		}
		if tok.Type < 0 {
			break
		}
		s.tokens = append(s.tokens, tok)
		p.add(tok.Type, last.Type)
		text, limit := p.beyond()
		if len(s.tokens) > tokensMax {
			text, limit = "more than %d tokens in one script", tokensMax
		}
		if text != "" {
			return &Finding{s.name, tok.Pos.Line, max(tok.Pos.Column, 1), fmt.Sprintf(text, limit)}
		}
		last = tok
	}
	s.readDocs()
	return nil
}

// add takes the type of a token and that of the one before it.
func (p *shape) add(t, last int) {
	top := p.top()
	switch t {
	case '(', '{', '[', parse.TFunction, parse.TDo, parse.TIf, parse.TRepeat:
		p.open(t, last)
	case ')', '}', ']', parse.TEnd, parse.TUntil:
		p.close(t)
	case parse.TElseIf:
		top.elseifs++
		top.operators = 0
	case ',', ';', '=', parse.TThen, parse.TElse, parse.TLocal, parse.TReturn, parse.TWhile, parse.TFor, parse.TIn, parse.TBreak:
		top.operators = 0
	case parse.TGoto, parse.T2Colon:
		p.labels++
		top.operators = 0
	case parse.TIdent, parse.TNumber, parse.TString, parse.TNil, parse.TTrue, parse.TFalse, parse.T3Comma:
		switch {
		case t == parse.TIdent && endsOperand(last):
			top.operators = 0 // a new statement
		case t == parse.TString && endsOperand(last):
			top.operators++ // a call
		}
	default: // an operator, '.' or ':'
		top.operators++
	}
}

// open begins a bracket or block.
func (p *shape) open(t, last int) {
	top := p.top()
	l := level{function: t == parse.TFunction}
	switch {
	case l.function && endsOperand(last):
		top.operators = 0 // a new statement
	case endsOperand(last) || t == '[':
		top.operators++ // a call or an access
	case t == '(':
		l.shared, l.operators = true, top.operators
	}
	if l.function {
		p.functions++
	}
	if t != '(' && t != '{' && t != '[' && !l.function {
		top.operators = 0
	}
	p.levels = append(p.levels, l)
}

// close ends the innermost one; what is wrong about it is the parser's to say.
func (p *shape) close(t int) {
	if len(p.levels) == 1 {
		return
	}
	closed := *p.top()
	p.levels = p.levels[:len(p.levels)-1]
	if closed.function {
		p.functions--
	}
	if closed.shared {
		p.top().operators = closed.operators
	}
	if t == parse.TUntil {
		p.top().operators = 0
	}
}

// beyond names the limit that is passed, if any.
func (p *shape) beyond() (text string, limit int) {
	switch {
	case p.top().elseifs > elseifsMax:
		return "more than %d elseif in one if", elseifsMax
	case p.labels > 2*labelsMax:
		return "more than %d labels and gotos", labelsMax
	case p.top().operators > operatorsMax:
		return "more than %d operators in one expression", operatorsMax
	case len(p.levels) > nestingMax:
		return "nested deeper than %d", nestingMax
	case p.functions > functionsMax:
		return "functions nested deeper than %d", functionsMax
	}
	return "", 0
}

// endsOperand says whether a value may end with this token.
func endsOperand(t int) bool {
	switch t {
	case parse.TIdent, parse.TNumber, parse.TString, parse.TNil, parse.TTrue, parse.TFalse, parse.T3Comma, ')', ']', '}', parse.TEnd:
		return true
	}
	return false
}

// readDocs collects the comments that begin with ---, by line.
func (s *source) readDocs() {
	s.docs = make(map[int]string)
	code := make(map[int]bool)
	for _, t := range s.tokens {
		code[t.Pos.Line] = true
	}
	for i, line := range strings.Split(s.text, "\n") {
		text, ok := strings.CutPrefix(strings.TrimSpace(line), "---")
		if ok && !code[i+1] {
			s.docs[i+1] = strings.TrimPrefix(text, " ")
		}
	}
}

// doc is the documentation of what is defined at line.
func (s *source) doc(line int) string {
	first := line
	for {
		if _, ok := s.docs[first-1]; !ok {
			break
		}
		first--
	}
	var lines []string
	for ; first < line; first++ {
		lines = append(lines, s.docs[first])
	}
	return strings.Join(lines, "\n")
}

// find returns the column of the nth identifier name on a line, 1 if there is
// none.
func (s *source) find(name string, line, nth int) int {
	if s.columns == nil { // as a script may have a fault at each of its tokens
		s.columns = map[spot][]int{}
		for _, t := range s.tokens {
			if t.Type == parse.TIdent {
				at := spot{t.Str, t.Pos.Line}
				s.columns[at] = append(s.columns[at], t.Pos.Column)
			}
		}
	}
	if l := s.columns[spot{name, line}]; nth < len(l) {
		return l[nth]
	}
	return 1
}

// spot is an identifier on a line.
type spot struct {
	name string
	line int
}
