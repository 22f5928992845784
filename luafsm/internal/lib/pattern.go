package lib

import "strings"

// Errors of patterns, with Lua 5.1's texts. They are raised when the matcher
// gets to the faulty place, as in Lua 5.1: a pattern that fails to match before
// it is not an error.
const (
	// ErrPatternEnds is returned when a pattern ends in a lone %.
	ErrPatternEnds Error = "malformed pattern (ends with '%')"
	// ErrPatternSet is returned when a set is not closed.
	ErrPatternSet Error = "malformed pattern (missing ']')"
	// ErrPatternFrontier is returned when %f is not followed by a set.
	ErrPatternFrontier Error = "missing '[' after '%f' in pattern"
	// ErrPatternBalance is returned when %b is not followed by two characters.
	ErrPatternBalance Error = "unbalanced pattern"
	// ErrPatternCaptures is returned when there are more than captureMax captures.
	ErrPatternCaptures Error = "too many captures"
	// ErrPatternClose is returned for a ) without its (.
	ErrPatternClose Error = "invalid pattern capture"
	// ErrPatternOpen is returned when a match ends inside a capture.
	ErrPatternOpen Error = "unfinished capture"
	// ErrPatternIndex is returned for %1 when there is no finished first capture.
	ErrPatternIndex Error = "invalid capture index"
	// ErrPatternComplex is returned when a match needs more than frameMax
	// places to return to.
	ErrPatternComplex Error = "pattern too complex"
)

const (
	// captureMax is Lua 5.1's LUA_MAXCAPTURES.
	captureMax = 32
	// frameMax bounds the backtracking stack of a match. Every item of a
	// pattern has at most one frame, so only a longer pattern gets there.
	frameMax = 1 << 16
	// frameBytes is what a frame is charged when it is pushed for the first time.
	frameBytes = 40
)

// Capture is a part of the subject: [Start, End), counted from 0.
type Capture struct {
	Start, End int
}

// Lengths that mark captures which are no text: open during a match, and
// position captures, written ().
const (
	endOpen     = -1
	endPosition = -2
)

// IsPosition reports whether the capture is a position: its value is the
// number Start+1.
func (c Capture) IsPosition() bool { return c.End == endPosition }

// Copy returns the captured part of the subject as what a script gets.
func (c Capture) Copy(m Meter, s string) (string, error) { return part(m, s, c.Text(s)) }

// Text returns the captured part of the subject, "" for a position. It copies
// nothing: what may outlive the subject comes from Copy.
func (c Capture) Text(s string) string {
	if c.IsPosition() {
		return ""
	}
	return s[c.Start:c.End]
}

// Match is where a pattern was found: [Start, End), counted from 0, and the
// captures written in the pattern. Without any, string.match, gmatch and gsub
// use the whole match: see Values. The captures of a match of Gmatch or Gsub
// are overwritten by the next.
type Match struct {
	Start, End int
	Captures   []Capture
}

// Values returns the captures, or the whole match when the pattern has none.
func (m Match) Values() []Capture {
	if len(m.Captures) == 0 {
		return []Capture{{m.Start, m.End}}
	}
	return m.Captures
}

// Find is string.find: it looks for the first match of pattern in s from init
// on, which counts from 1 or from the end when negative; beyond the end is the
// end. With plain the pattern is text; it is too when it has none of Lua 5.1's
// special characters, of which ) is not one.
func Find(m Meter, s, pattern string, init int64, plain bool) (Match, bool, error) {
	if !plain {
		// All of the pattern is looked at, of which a match may need one character.
		if err := m.Steps(len(pattern) / plainBytesPerStep); err != nil {
			return Match{}, false, err
		}
		plain = !strings.ContainsAny(pattern, "^$*+?.([%-")
	}
	if plain {
		return findPlain(m, s, pattern, startOf(s, init))
	}
	return FindPattern(m, s, pattern, init)
}

// FindPattern is string.match: as Find, but the pattern is never text.
func FindPattern(m Meter, s, pattern string, init int64) (Match, bool, error) {
	anchored := pattern != "" && pattern[0] == '^'
	if anchored {
		pattern = pattern[1:]
	}
	return newMatcher(m, s, pattern).search(startOf(s, init), anchored)
}

// startOf returns the offset in s that init means.
func startOf(s string, init int64) int {
	n := int64(len(s))
	return int(min(max(relative(init, n)-1, 0), n))
}

// findPlain charges as if each byte were looked at once; strings.Index stays
// near to that.
func findPlain(m Meter, s, text string, from int) (Match, bool, error) {
	if err := m.Steps(1 + (len(s)-from+len(text))/plainBytesPerStep); err != nil {
		return Match{}, false, err
	}
	at := strings.Index(s[from:], text)
	if at < 0 {
		return Match{}, false, nil
	}
	return Match{Start: from + at, End: from + at + len(text)}, true, nil
}

// plainBytesPerStep is how many bytes a plain search does in the time of a step.
const plainBytesPerStep = 8

// Gmatch is the state of string.gmatch. As in Lua 5.1 a ^ at the start of the
// pattern is no anchor.
type Gmatch struct {
	w  *matcher
	at int
}

// NewGmatch returns the state before the first match. The caller charges for it,
// as it may keep it.
func NewGmatch(s, pattern string) *Gmatch {
	g := &Gmatch{w: newMatcher(nil, s, pattern)}
	g.w.steps.pending = 0
	return g
}

// Subject returns the text that the captures refer to.
func (g *Gmatch) Subject() string { return g.w.s }

// Next returns the next match, or false at the end.
func (g *Gmatch) Next(m Meter) (Match, bool, error) {
	if g.at > len(g.w.s) {
		return Match{}, false, nil
	}
	g.w.steps.meter = m
	match, ok, err := g.w.search(g.at, false)
	if !ok || err != nil {
		g.at = len(g.w.s) + 1
		return Match{}, false, err
	}
	g.at = match.End
	if match.End == match.Start {
		g.at++
	}
	return match, true, nil
}

// Gsub replaces the first maxN matches of pattern in s, all of them when maxN
// is negative, and returns the text and the number of matches. repl gives the
// text for a match; keep leaves the match as it is. The work is linear in what
// is matched and built.
func Gsub(m Meter, s, pattern string, repl func(Match) (text string, keep bool, err error), maxN int64) (string, int, error) {
	anchored := pattern != "" && pattern[0] == '^'
	if anchored {
		pattern = pattern[1:]
	}
	w := newMatcher(m, s, pattern)
	b := builder{meter: m}
	done, n := 0, 0 // s[:done] is in b, or nothing was replaced yet
	for at := 0; at <= len(s) && (maxN < 0 || int64(n) < maxN); {
		match, ok, err := w.matchAt(at)
		if err != nil {
			return "", n, w.fail(err)
		}
		next := at + 1
		if ok {
			n++
			next = max(next, match.End)
			replaced, err := w.replace(&b, s[done:at], match, repl)
			if err != nil {
				return "", n, err
			}
			if replaced {
				done = match.End
			}
		}
		if anchored {
			break
		}
		at = next
	}
	if err := w.steps.flush(); err != nil || done == 0 && b.buf == nil {
		return s, n, err
	}
	if err := b.add(s[done:], ""); err != nil {
		return "", n, err
	}
	return string(b.buf), n, nil
}

// replaceSteps is charged for a match that gsub replaces.
const replaceSteps = 3

// replace adds the text before a match and what repl gives for it.
func (w *matcher) replace(b *builder, before string, match Match, repl func(Match) (string, bool, error)) (bool, error) {
	w.steps.pending += replaceSteps
	// The budget is exact before script code runs in repl.
	if err := w.steps.flush(); err != nil {
		return false, err
	}
	text, keep, err := repl(match)
	if err != nil || keep {
		return false, err
	}
	return true, b.add(before, text)
}

// builder collects text and charges its bytes before it takes them.
type builder struct {
	meter Meter
	buf   []byte
}

func (b *builder) add(x, y string) error {
	n := len(x) + len(y)
	if n > stringBytesMax-len(b.buf) {
		return tooLarge(b.meter)
	}
	if err := b.meter.Bytes(n); err != nil {
		return err
	}
	b.buf = append(b.buf, x...)
	b.buf = append(b.buf, y...)
	return nil
}

// ErrReplacement is returned when a % in a replacement text ends it.
const ErrReplacement Error = "invalid use of '%' in replacement string"

// Expand returns the text that string.gsub puts in place of a match when the
// replacement is the text repl: %0 is the match, %1 to %9 its captures, % and
// another character that character. (Lua 5.1 turns a % at the end into a NUL
// byte; here it is an error.)
func Expand(m Meter, s, repl string, match Match) (string, error) {
	if strings.IndexByte(repl, '%') < 0 {
		return repl, nil
	}
	if err := m.Steps(len(repl)); err != nil {
		return "", err
	}
	b := builder{meter: m}
	for {
		i := strings.IndexByte(repl, '%')
		if i < 0 {
			if err := b.add(repl, ""); err != nil {
				return "", err
			}
			return string(b.buf), nil
		}
		if i+1 == len(repl) {
			return "", ErrReplacement
		}
		text, err := replacement(s, repl[i+1:i+2], match)
		if err != nil {
			return "", err
		}
		if err := b.add(repl[:i], text); err != nil {
			return "", err
		}
		repl = repl[i+2:]
	}
}

// replacement returns the text for a % and the character c.
func replacement(s, c string, match Match) (string, error) {
	switch {
	case c[0] < '0' || c[0] > '9':
		return c, nil
	case c == "0" || c == "1" && len(match.Captures) == 0:
		return s[match.Start:match.End], nil
	}
	i := int(c[0] - '1')
	if i >= len(match.Captures) {
		return "", ErrPatternIndex
	}
	if v := match.Captures[i]; v.IsPosition() {
		return FormatNumber(float64(v.Start + 1)), nil
	}
	return match.Captures[i].Text(s), nil
}
