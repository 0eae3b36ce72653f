// Package ignore takes the text of ignore files in git's syntax and gives, for any path,
// whether it is ignored.
package ignore

import "strings"

// Verdict is what a List says of a path.
type Verdict int

// The verdicts.
const (
	Silent  Verdict = iota // no line matches
	Ignored                // the last line that matches ignores it
	Kept                   // the last line that matches begins with "!"
)

// List is the lines of one ignore file. The zero List is silent.
type List struct{ patterns []pattern }

// Parse reads an ignore file. There is no text that cannot be read: as in git, a line that
// makes no sense matches nothing.
func Parse(text string) List {
	var l List
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		// C ends at a NUL, and so does a line for git.
		line, _, _ = strings.Cut(strings.TrimSuffix(line, "\r"), "\x00")
		if p, ok := parseLine(line); ok {
			l.patterns = append(l.patterns, p)
		}
	}
	return l
}

// Lines gives the List of patterns that stand in no file.
func Lines(patterns []string) List { return Parse(strings.Join(patterns, "\n")) }

// Empty tells whether the list is silent about every path.
func (l List) Empty() bool { return len(l.patterns) == 0 }

// Match gives the verdict on a clean, slash-separated path, relative to the folder of the
// ignore file. It looks at the path itself alone: what is in an ignored folder is ignored,
// too, and it is for the caller not to go there.
func (l List) Match(path string, folder bool) Verdict {
	for i := len(l.patterns) - 1; i >= 0; i-- {
		if p := &l.patterns[i]; p.matches(path, folder) {
			if p.negated {
				return Kept
			}
			return Ignored
		}
	}
	return Silent
}

// Within gives the verdict on a path with regard to the folders that it is in: that of the
// longest of its prefixes about which the list is not silent.
func (l List) Within(path string) Verdict {
	for folder := false; ; folder = true {
		if v := l.Match(path, folder); v != Silent {
			return v
		}
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return Silent
		}
		path = path[:cut]
	}
}
