package archive

import (
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Source is one entry of apt's sources (sources.list(5)): where suites are found.
type Source struct {
	URI        string
	Suites     []string
	Components []string
	SignedBy   string // path of a keyring, or "" for apt's default
}

// MachineSources gives the binary entries of the machine's own apt sources: sources.list,
// then sources.list.d in name order, under root (normally "/etc/apt").
func MachineSources(root string) ([]Source, error) {
	paths := []string{filepath.Join(root, "sources.list")}
	for _, pattern := range []string{"*.list", "*.sources"} {
		more, err := filepath.Glob(filepath.Join(root, "sources.list.d", pattern))
		if err != nil {
			return nil, err
		}
		paths = append(paths, more...)
	}
	slices.Sort(paths[1:])
	var sources []Source
	for _, path := range paths {
		text, err := os.ReadFile(path)
		switch {
		case os.IsNotExist(err):
			continue
		case err != nil:
			return nil, err
		case strings.HasSuffix(path, ".sources"):
			sources = append(sources, parseDeb822(text)...)
		default:
			sources = append(sources, parseOneLine(text)...)
		}
	}
	return sources, nil
}

// MirrorFor gives the URI that serves the suite: an entry that names it, else an entry for
// the same kind of suite of another release. Debian keeps "-security" suites in an archive
// of their own, and a release with its updates in another.
func MirrorFor(sources []Source, suite string) (string, error) {
	for _, s := range sources {
		if slices.Contains(s.Suites, suite) {
			return s.URI, nil
		}
	}
	for _, s := range sources {
		if len(s.Components) == 0 || !slices.Contains(s.Components, "main") {
			continue
		}
		for _, known := range s.Suites {
			if isDebianSuite(known) && isSecurity(known) == isSecurity(suite) {
				return s.URI, nil
			}
		}
	}
	return "", fault.Newf(fault.Usage, "find mirror", suite, "the machine's apt sources name no archive for it").
		WithHint("name the archive in the spec: archive.mirror or archive.mirrors")
}

func isSecurity(suite string) bool {
	return strings.HasSuffix(suite, "-security") || strings.HasSuffix(suite, "/updates")
}

// isDebianSuite tells suites of Debian itself from those of third-party archives, which
// serve nothing else.
func isDebianSuite(suite string) bool {
	name, _, _ := strings.Cut(strings.TrimSuffix(suite, "/updates"), "-")
	return slices.Contains([]string{
		"stable", "oldstable", "testing", "unstable", "sid",
		"buster", "bullseye", "bookworm", "trixie", "forky", "duke",
	}, name)
}

// parseOneLine reads "deb [options] uri suite components..." lines.
func parseOneLine(text []byte) []Source {
	var sources []Source
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb")
		if !ok || strings.TrimLeft(rest, " \t") == rest {
			continue
		}
		var s Source
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			options, after, closed := strings.Cut(rest[1:], "]")
			if !closed {
				continue
			}
			for _, option := range strings.Fields(options) {
				if key, value, _ := strings.Cut(option, "="); key == "signed-by" {
					s.SignedBy = value
				}
			}
			rest = after
		}
		fields := strings.Fields(rest)
		if len(fields) < 2 {
			continue
		}
		s.URI, s.Suites, s.Components = fields[0], fields[1:2], fields[2:]
		sources = append(sources, s)
	}
	return sources
}

// parseDeb822 reads the paragraphs of a .sources file.
func parseDeb822(text []byte) []Source {
	var sources []Source
	for paragraph, bad := range paragraphs(text) {
		if bad != nil || !slices.Contains(strings.Fields(paragraph["types"]), "deb") || isNo(paragraph["enabled"]) {
			continue
		}
		for _, uri := range strings.Fields(paragraph["uris"]) {
			s := Source{URI: uri, Suites: strings.Fields(paragraph["suites"]), Components: strings.Fields(paragraph["components"])}
			if key := strings.TrimSpace(paragraph["signed-by"]); filepath.IsAbs(key) && !strings.Contains(key, "\n") {
				s.SignedBy = key
			}
			sources = append(sources, s)
		}
	}
	return sources
}

// isNo reads a switch as apt does (StringToBool in apt-pkg/contrib/strutl.cc).
func isNo(value string) bool {
	return slices.Contains([]string{"no", "false", "without", "off", "disable", "0"}, strings.ToLower(value))
}

// paragraphs gives each deb822 paragraph (deb822(5)) as its fields by lower-case name;
// continuation lines are joined by newlines. A paragraph that says a field twice comes
// with an error.
func paragraphs(text []byte) iter.Seq2[map[string]string, error] {
	return func(yield func(map[string]string, error) bool) {
		var p paragraph
		for line := range strings.Lines(string(text)) {
			if strings.TrimSpace(line) != "" {
				p.read(line)
				continue
			}
			if len(p.fields) > 0 && !yield(p.text(), p.bad) {
				return
			}
			p = paragraph{}
		}
		if len(p.fields) > 0 {
			yield(p.text(), p.bad)
		}
	}
}

// paragraph is one being read. Its fields are builders, for a Release has some with
// thousands of lines.
type paragraph struct {
	fields map[string]*strings.Builder
	last   *strings.Builder // the field that a continuation line goes on with
	bad    error
}

func (p *paragraph) read(line string) {
	if strings.HasPrefix(line, "#") {
		return
	}
	if line[0] == ' ' || line[0] == '\t' {
		if p.last != nil {
			p.last.WriteByte('\n')
			p.last.WriteString(strings.TrimSpace(line))
		}
		return
	}
	name, value, ok := strings.Cut(line, ":")
	if p.last = nil; !ok {
		return
	}
	if p.fields == nil {
		p.fields = map[string]*strings.Builder{}
	}
	key := strings.ToLower(name)
	if p.fields[key] != nil {
		p.bad = fmt.Errorf("it says %q twice", name)
	}
	p.last = &strings.Builder{}
	p.last.WriteString(strings.TrimSpace(value))
	p.fields[key] = p.last
}

func (p *paragraph) text() map[string]string {
	text := make(map[string]string, len(p.fields))
	for name, value := range p.fields {
		text[name] = value.String()
	}
	return text
}
