package ignore

import "strings"

// pattern is one line of an ignore file, as gitignore(5) describes it. Where the manual is
// vague, git's own behaviour counts; the tests compare with it.
type pattern struct {
	negated bool   // "!": what matches is kept
	folder  bool   // a trailing slash: only folders match
	base    bool   // no other slash: the last element of a path is held against it
	literal string // what the text must begin with
	rest    glob   // what the remaining text must match
}

// parseLine gives the pattern of a line without its line end; ok is false for lines that
// match nothing: blank ones, comments, and patterns that are malformed.
func parseLine(line string) (p pattern, ok bool) {
	if strings.HasPrefix(line, "#") {
		return p, false
	}
	line = trimSpaces(line)
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.folder = strings.CutSuffix(line, "/")
	p.base = !strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return p, false
	}
	// Only after the literal part is taken off does git ask whether "**" stands at the
	// beginning or after a slash, so that "a**/b" means "a" and then "**/b".
	if n := strings.IndexAny(line, `*?[\`); n >= 0 {
		p.literal, line = line[:n], line[n:]
	} else {
		p.literal, line = line, ""
	}
	p.rest, ok = compile(line)
	return p, ok
}

// trimSpaces takes trailing spaces off, but for those behind a backslash.
func trimSpaces(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
			continue
		case '\\':
			i++
		}
		end = i + 1
	}
	return line[:min(end, len(line))]
}

// matches holds the pattern against a path relative to the folder of its file.
func (p *pattern) matches(path string, folder bool) bool {
	if p.folder && !folder {
		return false
	}
	if p.base {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	text, ok := strings.CutPrefix(path, p.literal)
	return ok && p.rest.matches(text)
}
