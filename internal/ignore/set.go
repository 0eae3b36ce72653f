package ignore

import "strings"

// compileSet reads the bracket expression at i, as POSIX and wildmatch have it: "!" or "^"
// negates, "]" may stand first, a backslash takes the next byte as it is.
func compileSet(p string, i int) (set *[4]uint64, next int, ok bool) {
	set = new([4]uint64)
	i++
	negated := i < len(p) && (p[i] == '!' || p[i] == '^')
	if negated {
		i++
	}
	low := byte(0) // where a range may begin; 0 when it may not
	for first := true; first || i < len(p) && p[i] != ']'; first = false {
		if i >= len(p) {
			return nil, 0, false
		}
		switch {
		case p[i] == '-' && low != 0 && i+1 < len(p) && p[i+1] != ']':
			high, n, ok := member(p, i+1)
			if !ok {
				return nil, 0, false
			}
			addRange(set, low, high)
			low, i = 0, n
		case strings.HasPrefix(p[i:], "[:"):
			end := strings.IndexByte(p[i+2:], ']')
			if end < 0 {
				return nil, 0, false
			}
			name, named := strings.CutSuffix(p[i+2:i+2+end], ":")
			if !named { // an ordinary bracket
				addRange(set, '[', '[')
				low, i = '[', i+1
				continue
			}
			in, ok := classes(name)
			if !ok {
				return nil, 0, false
			}
			addClass(set, in)
			low, i = 0, i+2+end+1
		default:
			c, n, ok := member(p, i)
			if !ok {
				return nil, 0, false
			}
			addRange(set, c, c)
			low, i = c, n
		}
	}
	if i >= len(p) {
		return nil, 0, false
	}
	if negated {
		for n := range set {
			set[n] = ^set[n]
		}
	}
	return set, i + 1, true
}

// member reads one byte, which may stand behind a backslash.
func member(p string, i int) (c byte, next int, ok bool) {
	if p[i] != '\\' {
		return p[i], i + 1, true
	}
	if i+1 == len(p) {
		return 0, 0, false
	}
	return p[i+1], i + 2, true
}

func addRange(set *[4]uint64, low, high byte) {
	for c := int(low); c <= int(high); c++ {
		set[c/64] |= 1 << (c % 64)
	}
}

func addClass(set *[4]uint64, in func(c byte) bool) {
	for c := range 256 {
		if in(byte(c)) {
			addRange(set, byte(c), byte(c))
		}
	}
}

func without(c byte) *[4]uint64 {
	set := &[4]uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	set[c/64] &^= 1 << (c % 64)
	return set
}

// classes gives the characters of a POSIX class in the C locale, the only one git uses.
func classes(name string) (in func(c byte) bool, ok bool) {
	lower := func(c byte) bool { return 'a' <= c && c <= 'z' }
	upper := func(c byte) bool { return 'A' <= c && c <= 'Z' }
	digit := func(c byte) bool { return '0' <= c && c <= '9' }
	alpha := func(c byte) bool { return lower(c) || upper(c) }
	graph := func(c byte) bool { return '!' <= c && c <= '~' }
	in, ok = map[string]func(byte) bool{
		"lower": lower, "upper": upper, "digit": digit, "alpha": alpha, "graph": graph,
		"alnum":  func(c byte) bool { return alpha(c) || digit(c) },
		"punct":  func(c byte) bool { return graph(c) && !alpha(c) && !digit(c) },
		"print":  func(c byte) bool { return c == ' ' || graph(c) },
		"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
		"space":  func(c byte) bool { return strings.IndexByte(" \t\n\v\f\r", c) >= 0 },
		"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
		"xdigit": func(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' },
	}[name]
	return in, ok
}
