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

// scan reads the tokens and refuses what would be too much for parser and
// compiler.
func (s *source) scan() *Finding {
	sc := parse.NewScanner(strings.NewReader(s.text), s.name)
	lexer := &parse.Lexer{}
	levels := []level{{}}
	labels, functions := 0, 0
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
		fail := func(text string, limit int) *Finding {
			return &Finding{s.name, tok.Pos.Line, max(tok.Pos.Column, 1), fmt.Sprintf(text, limit)}
		}
		if len(s.tokens) > tokensMax {
			return fail("more than %d tokens in one script", tokensMax)
		}
		top := &levels[len(levels)-1]
		switch tok.Type {
		case '(', '{', '[', parse.TFunction, parse.TDo, parse.TIf, parse.TRepeat:
			l := level{function: tok.Type == parse.TFunction}
			switch {
			case l.function && endsOperand(last.Type):
				top.operators = 0 // a new statement
			case endsOperand(last.Type) || tok.Type == '[':
				top.operators++ // a call or an access
			case tok.Type == '(':
				l.shared, l.operators = true, top.operators
			}
			if l.function {
				functions++
			}
			if tok.Type != '(' && tok.Type != '{' && tok.Type != '[' && !l.function {
				top.operators = 0
			}
			levels = append(levels, l)
		case ')', '}', ']', parse.TEnd, parse.TUntil:
			if len(levels) > 1 {
				closed := *top
				levels = levels[:len(levels)-1]
				if closed.function {
					functions--
				}
				if closed.shared {
					levels[len(levels)-1].operators = closed.operators
				}
				if tok.Type == parse.TUntil {
					levels[len(levels)-1].operators = 0
				}
			}
		case parse.TElseIf:
			if top.elseifs++; top.elseifs > elseifsMax {
				return fail("more than %d elseif in one if", elseifsMax)
			}
			top.operators = 0
		case ',', ';', '=', parse.TThen, parse.TElse, parse.TLocal, parse.TReturn, parse.TWhile, parse.TFor, parse.TIn, parse.TBreak:
			top.operators = 0
		case parse.TGoto, parse.T2Colon:
			if labels++; labels > 2*labelsMax {
				return fail("more than %d labels and gotos", labelsMax)
			}
			top.operators = 0
		case parse.TIdent, parse.TNumber, parse.TString, parse.TNil, parse.TTrue, parse.TFalse, parse.T3Comma:
			switch {
			case tok.Type == parse.TIdent && endsOperand(last.Type):
				top.operators = 0 // a new statement
			case tok.Type == parse.TString && endsOperand(last.Type):
				top.operators++ // a call
			}
		default: // an operator, '.' or ':'
			top.operators++
		}
		switch {
		case levels[len(levels)-1].operators > operatorsMax:
			return fail("more than %d operators in one expression", operatorsMax)
		case len(levels) > nestingMax:
			return fail("nested deeper than %d", nestingMax)
		case functions > functionsMax:
			return fail("functions nested deeper than %d", functionsMax)
		}
		last = tok
	}
	s.readDocs()
	return nil
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
