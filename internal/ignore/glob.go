package ignore

import "strings"

// glob is a compiled wildcard pattern: what must match in order. It is run on all its
// positions at once, in time that is linear in the text, so that no pattern of a stranger's
// ignore file makes it slow.
type glob []token

type token struct {
	kind kind
	char byte       // for exactly
	set  *[4]uint64 // for oneOf: a bit for each byte
}

type kind uint8

const (
	exactly kind = iota
	oneOf        // a byte of the set; never a slash
	star         // any bytes but slashes
	deep         // any bytes
	folders      // nothing, or any bytes and a slash
)

// compile gives the glob of a pattern; ok is false when the pattern can match nothing: a
// bracket that is not closed, a class without such a name, a backslash at the end.
func compile(p string) (g glob, ok bool) {
	for i := 0; i < len(p); {
		switch c := p[i]; c {
		case '\\':
			if i+1 == len(p) {
				return nil, false
			}
			g = append(g, token{kind: exactly, char: p[i+1]})
			i += 2
		case '?':
			g = append(g, token{kind: oneOf, set: without('/')})
			i++
		case '*':
			var t token
			t, i = compileStars(p, i)
			g = append(g, t)
		case '[':
			set, next, ok := compileSet(p, i)
			if !ok {
				return nil, false
			}
			g = append(g, token{kind: oneOf, set: set})
			i = next
		default:
			g = append(g, token{kind: exactly, char: c})
			i++
		}
	}
	return g, true
}

// compileStars reads the stars at i. Two or more that fill a whole element of a path reach
// through folders.
func compileStars(p string, i int) (t token, next int) {
	start := i
	for i < len(p) && p[i] == '*' {
		i++
	}
	after := p[i:]
	alone := start == 0 || p[start-1] == '/'
	switch {
	case i-start == 1 || !alone:
		return token{kind: star}, i
	case strings.HasPrefix(after, "/"):
		return token{kind: folders}, i + 1
	case after == "" || strings.HasPrefix(after, `\/`):
		return token{kind: deep}, i
	}
	return token{kind: star}, i
}

// matches tells whether the glob matches all of the text.
func (g glob) matches(text string) bool {
	if len(g) == 0 {
		return text == ""
	}
	// Most patterns are "*.suffix", and most paths have another one.
	if last := g[len(g)-1]; last.kind == exactly && (text == "" || text[len(text)-1] != last.char) {
		return false
	}
	var room [2][64]bool // spares short patterns the heap
	now, next := room[0][:], room[1][:]
	if len(g) >= len(now) {
		now, next = make([]bool, len(g)+1), make([]bool, len(g)+1)
	}
	g.reach(now, 0)
	for i := range len(text) {
		clear(next)
		for at, t := range g {
			if now[at] {
				g.step(next, at, t, text[i])
			}
		}
		now, next = next, now
	}
	return now[len(g)]
}

// step marks where the position leads on reading c.
func (g glob) step(next []bool, at int, t token, c byte) {
	switch t.kind {
	case exactly:
		if c == t.char {
			g.reach(next, at+1)
		}
	case oneOf:
		if c != '/' && t.set[c/64]&(1<<(c%64)) != 0 {
			g.reach(next, at+1)
		}
	case star:
		if c != '/' {
			g.reach(next, at)
		}
	case deep:
		g.reach(next, at)
	case folders:
		// The position itself means "inside the folders": to leave takes a slash.
		next[at] = true
		if c == '/' {
			g.reach(next, at+1)
		}
	}
}

// reach marks a position and those that follow without reading anything.
func (g glob) reach(set []bool, at int) {
	for set[at] = true; at < len(g) && g[at].kind >= star; {
		at++
		set[at] = true
	}
}
