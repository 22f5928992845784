package lib

// matcher matches one pattern against one subject. It does what Lua 5.1's
// recursive matcher does, with a stack of its own: a frame is what has to be
// tried or undone when the present attempt fails.
//
// A pattern has no groups to repeat, so an attempt passes each item once and
// the stack is never higher than the pattern has items.
type matcher struct {
	steps    stepper
	s, p     string
	level    int // captures begun
	captures [captureMax]Capture
	frames   []frame
	charged  int // frames that were paid for
	sets     [setSlots]set
}

type frameKind uint8

const (
	// frameGreedy: n repetitions from s on were taken; take one less.
	frameGreedy frameKind = iota
	// frameLazy: take one more at s.
	frameLazy
	// frameOptional: go on at p without the item.
	frameOptional
	// frameOpened: the last capture was begun; take it back.
	frameOpened
	// frameClosed: capture n was ended; open it again.
	frameClosed
)

// frame holds s and p, the places in subject and pattern; end is where the
// single item at p ends, n the count or the capture.
type frame struct {
	kind         frameKind
	s, p, end, n int
}

// setSlots is how many sets are kept in compiled form.
const setSlots = 4

// set is the compiled form of a set at p: a bit for each byte.
type set struct {
	p, end int
	bits   [4]uint64
}

func (b *set) add(c byte)      { b.bits[c>>6] |= 1 << (c & 63) }
func (b *set) has(c byte) bool { return b.bits[c>>6]&(1<<(c&63)) != 0 }

// matcherSteps is charged for a matcher: with its captures and sets it has about
// a kilobyte, and may be done at its first step.
const matcherSteps = 12

func newMatcher(m Meter, s, p string) *matcher {
	w := &matcher{steps: stepper{meter: m, pending: matcherSteps}, s: s, p: p}
	for i := range w.sets {
		w.sets[i].p = -1
	}
	return w
}

// search tries each place from at on.
func (w *matcher) search(at int, anchored bool) (Match, bool, error) {
	for {
		match, ok, err := w.matchAt(at)
		if err != nil {
			return Match{}, false, w.fail(err)
		}
		at++
		if ok || anchored || at > len(w.s) {
			return match, ok, w.steps.flush()
		}
	}
}

// fail charges what is pending, so that faulty patterns aren't free, and
// returns err unless the budget ends.
func (w *matcher) fail(err error) error {
	if e := w.steps.flush(); e != nil {
		return e
	}
	return err
}

// matchAt tries one place. The captures of the match are the matcher's own.
func (w *matcher) matchAt(at int) (Match, bool, error) {
	w.level, w.frames = 0, w.frames[:0]
	end, ok, err := w.run(at)
	if err != nil || !ok {
		return Match{}, false, err
	}
	match := Match{Start: at, End: end}
	for _, c := range w.captures[:w.level] {
		if c.End == endOpen {
			return Match{}, false, ErrPatternOpen
		}
	}
	if w.level > 0 {
		match.Captures = w.captures[:w.level:w.level]
	}
	return match, true, nil
}

// run goes through the pattern; where it fails it goes back to the last frame.
func (w *matcher) run(s int) (end int, ok bool, err error) {
	p := 0
	for {
		if err := w.steps.step(1); err != nil {
			return 0, false, err
		}
		if p == len(w.p) {
			return s, true, nil
		}
		s, p, ok, err = w.item(s, p)
		if err == nil && !ok {
			s, p, ok, err = w.back()
			if err == nil && !ok {
				return 0, false, nil
			}
		}
		if err != nil {
			return 0, false, err
		}
	}
}

// item matches the item of the pattern at p and returns the next places.
func (w *matcher) item(s, p int) (int, int, bool, error) {
	switch w.p[p] {
	case '(':
		if w.at(p+1) == ')' {
			return w.open(s, p+2, endPosition)
		}
		return w.open(s, p+1, endOpen)
	case ')':
		return w.close(s, p+1)
	case '$':
		if p+1 == len(w.p) {
			return s, p + 1, s == len(w.s), nil
		}
	case '%':
		switch c := w.at(p + 1); {
		case c == 'b':
			return w.balance(s, p+2)
		case c == 'f':
			return w.frontier(s, p+2)
		case c >= '0' && c <= '9':
			return w.backReference(s, p+2, c)
		}
	}
	return w.single(s, p)
}

// at returns the byte of the pattern at p, 0 at its end.
func (w *matcher) at(p int) byte {
	if p < len(w.p) {
		return w.p[p]
	}
	return 0
}

// single matches a character, class or set and what repeats it.
func (w *matcher) single(s, p int) (int, int, bool, error) {
	end, err := w.itemEnd(p)
	if err != nil {
		return 0, 0, false, err
	}
	switch w.at(end) {
	case '?':
		if !w.one(s, p, end) {
			return s, end + 1, true, nil
		}
		return s + 1, end + 1, true, w.push(frame{frameOptional, s, end + 1, 0, 0})
	case '*':
		return w.greedy(s, p, end)
	case '+':
		if !w.one(s, p, end) {
			return 0, 0, false, nil
		}
		return w.greedy(s+1, p, end)
	case '-':
		return s, end + 1, true, w.push(frame{frameLazy, s, p, end, 0})
	}
	return s + 1, end, w.one(s, p, end), nil
}

// greedy takes as many as there are; the frame gives them back one by one.
func (w *matcher) greedy(s, p, end int) (int, int, bool, error) {
	n := 0
	for w.one(s+n, p, end) {
		n++
		if err := w.steps.step(1); err != nil {
			return 0, 0, false, err
		}
	}
	if n == 0 {
		return s, end + 1, true, nil
	}
	return s + n, end + 1, true, w.push(frame{frameGreedy, s, p, end, n})
}

// push keeps a frame, paid for when the stack has not been so high before.
func (w *matcher) push(f frame) error {
	if len(w.frames) == w.charged {
		if w.charged == frameMax {
			return ErrPatternComplex
		}
		if err := w.steps.meter.Bytes(frameBytes); err != nil {
			return err
		}
		w.charged++
	}
	w.frames = append(w.frames, f)
	return nil
}

// back undoes frames until one offers another way.
func (w *matcher) back() (s, p int, ok bool, err error) {
	for len(w.frames) > 0 {
		if err := w.steps.step(1); err != nil {
			return 0, 0, false, err
		}
		f := &w.frames[len(w.frames)-1]
		switch f.kind {
		case frameGreedy:
			f.n--
			s, p := f.s+f.n, f.end+1
			if f.n == 0 {
				w.frames = w.frames[:len(w.frames)-1]
			}
			return s, p, true, nil
		case frameLazy:
			if w.one(f.s, f.p, f.end) {
				f.s++
				return f.s, f.end + 1, true, nil
			}
		case frameOptional:
			s, p := f.s, f.p
			w.frames = w.frames[:len(w.frames)-1]
			return s, p, true, nil
		case frameOpened:
			w.level--
		case frameClosed:
			w.captures[f.n].End = endOpen
		}
		w.frames = w.frames[:len(w.frames)-1]
	}
	return 0, 0, false, nil
}

func (w *matcher) open(s, p, end int) (int, int, bool, error) {
	if w.level == captureMax {
		return 0, 0, false, ErrPatternCaptures
	}
	w.captures[w.level] = Capture{s, end}
	w.level++
	return s, p, true, w.push(frame{kind: frameOpened})
}

func (w *matcher) close(s, p int) (int, int, bool, error) {
	for i := w.level - 1; i >= 0; i-- {
		if w.captures[i].End == endOpen {
			w.captures[i].End = s
			return s, p, true, w.push(frame{kind: frameClosed, n: i})
		}
	}
	return 0, 0, false, ErrPatternClose
}

// balance matches %bxy; p is the place of x.
func (w *matcher) balance(s, p int) (int, int, bool, error) {
	if p+1 >= len(w.p) {
		return 0, 0, false, ErrPatternBalance
	}
	opening, closing := w.p[p], w.p[p+1]
	if s >= len(w.s) || w.s[s] != opening {
		return 0, 0, false, nil
	}
	depth := 1
	for s++; s < len(w.s); s++ {
		if err := w.steps.step(1); err != nil {
			return 0, 0, false, err
		}
		switch w.s[s] {
		case closing:
			depth--
			if depth == 0 {
				return s + 1, p + 2, true, nil
			}
		case opening:
			depth++
		}
	}
	return 0, 0, false, nil
}

// frontier matches %f[set]: the byte before s is not in the set, the one at s
// is; both ends of the subject count as a NUL byte.
func (w *matcher) frontier(s, p int) (int, int, bool, error) {
	if w.at(p) != '[' {
		return 0, 0, false, ErrPatternFrontier
	}
	end, err := w.itemEnd(p)
	if err != nil {
		return 0, 0, false, err
	}
	var before, here byte
	if s > 0 {
		before = w.s[s-1]
	}
	if s < len(w.s) {
		here = w.s[s]
	}
	b := w.slot(p)
	return s, end, !b.has(before) && b.has(here), nil
}

// backReference matches the text of capture c again. A position capture has
// none and fails, as in Lua 5.1.
func (w *matcher) backReference(s, p int, c byte) (int, int, bool, error) {
	i := int(c) - '1'
	if i < 0 || i >= w.level || w.captures[i].End == endOpen {
		return 0, 0, false, ErrPatternIndex
	}
	if w.captures[i].IsPosition() {
		return 0, 0, false, nil
	}
	text := w.captures[i].Text(w.s)
	if len(text) > len(w.s)-s {
		return 0, 0, false, nil
	}
	if err := w.steps.step(len(text)); err != nil {
		return 0, 0, false, err
	}
	return s + len(text), p, w.s[s:s+len(text)] == text, nil
}
