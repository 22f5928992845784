package lib

// itemEnd returns the end of the single item at p. A set is compiled on the
// way, so that one can look it up.
func (w *matcher) itemEnd(p int) (int, error) {
	switch w.p[p] {
	case '%':
		if p+1 == len(w.p) {
			return 0, ErrPatternEnds
		}
		return p + 2, nil
	case '[':
		b := w.slot(p)
		if b.p != p {
			if err := w.compile(b, p); err != nil {
				return 0, err
			}
		}
		return b.end, nil
	}
	return p + 1, nil
}

// slot returns where the set at p is kept.
func (w *matcher) slot(p int) *set { return &w.sets[p%setSlots] }

// one reports whether the byte at s matches the single item [p, end).
//
// A set that a lazy or greedy frame returns to may have lost its slot to
// another; it is compiled again, by a walk that was paid for before.
func (w *matcher) one(s, p, end int) bool {
	if s >= len(w.s) {
		return false
	}
	c := w.s[s]
	switch w.p[p] {
	case '.':
		return true
	case '%':
		return inClass(c, w.p[p+1])
	case '[':
		b := w.slot(p)
		if b.p != p {
			w.steps.pending += setSteps + end - p
			*b = set{p: p, end: end}
			w.fill(b)
		}
		return b.has(c)
	}
	return w.p[p] == c
}

// setSteps is charged for filling a set, with a step for each of its characters.
const setSteps = 16

// compile finds the end of the set at p as Lua 5.1 does (the first character,
// after a ^, is part of the set even if it is a ]) and fills b.
func (w *matcher) compile(b *set, p int) error {
	end := p + 1
	if w.at(end) == '^' {
		end++
	}
	for first := true; first || w.at(end) != ']'; first = false {
		if end == len(w.p) {
			return ErrPatternSet
		}
		if w.p[end] == '%' && end+1 < len(w.p) {
			end++
		}
		end++
		if err := w.steps.step(1); err != nil {
			return err
		}
	}
	*b = set{p: p, end: end + 1}
	w.fill(b)
	return w.steps.step(setSteps)
}

// fill sets the bits of a set whose place is known.
func (w *matcher) fill(b *set) {
	p, last := b.p+1, b.end-1
	complement := w.p[p] == '^'
	if complement {
		p++
	}
	for ; p < last; p++ {
		switch {
		case w.p[p] == '%':
			p++
			b.addClass(w.p[p])
		case w.p[p+1] == '-' && p+2 < last:
			for c := int(w.p[p]); c <= int(w.p[p+2]); c++ {
				b.add(byte(c))
			}
			p += 2
		default:
			b.add(w.p[p])
		}
	}
	if complement {
		for i := range b.bits {
			b.bits[i] = ^b.bits[i]
		}
	}
}

// addClass adds the bytes of the class %class.
func (b *set) addClass(class byte) {
	if !hasClass(class) {
		b.add(class)
		return
	}
	for i, bits := range classes[class|0x20-'a'] {
		if class < 'a' {
			bits = ^bits
		}
		b.bits[i] |= bits
	}
}

// hasClass reports whether a character names a class or its complement.
func hasClass(c byte) bool {
	switch c | 0x20 {
	case 'a', 'c', 'd', 'l', 'p', 's', 'u', 'w', 'x', 'z':
		return true
	}
	return false
}

// classes has the bytes of the classes %a to %z; a letter without a class has
// none.
var classes = func() (t [26][4]uint64) {
	for c := range 256 {
		for class := range byte(26) {
			if isClass(byte(c), class+'a') {
				t[class][c>>6] |= 1 << (c & 63)
			}
		}
	}
	return t
}()

// isClass reports whether c is in the class, as in the C locale.
func isClass(c, class byte) bool {
	switch class {
	case 'a':
		return isLetter(c)
	case 'c':
		return c < ' ' || c == 0x7f
	case 'd':
		return c >= '0' && c <= '9'
	case 'l':
		return c >= 'a' && c <= 'z'
	case 'p':
		return c > ' ' && c < 0x7f && !isLetter(c) && (c < '0' || c > '9')
	case 's':
		return isSpace(c)
	case 'u':
		return c >= 'A' && c <= 'Z'
	case 'w':
		return isLetter(c) || c >= '0' && c <= '9'
	case 'x':
		return digitValue(c) < 16
	case 'z':
		return c == 0
	}
	return false
}

// inClass reports whether c is in the class %class; an upper case letter means
// the complement. A character that names no class stands for itself.
func inClass(c, class byte) bool {
	if !hasClass(class) {
		return class == c
	}
	in := classes[class|0x20-'a'][c>>6]&(1<<(c&63)) != 0
	return in == (class >= 'a')
}

func isLetter(c byte) bool { c |= 0x20; return c >= 'a' && c <= 'z' }
