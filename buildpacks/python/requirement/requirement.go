// Package requirement takes pip's requirements files and gives what a build must know of
// them: which projects they name, and how exactly.
package requirement

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// List is what a requirements file and all that it includes say
// (https://pip.pypa.io/en/stable/reference/requirements-file-format/).
type List struct {
	Files    []string // what was read, relative to the root, each once
	Names    []string // the projects, as Normalize gives them, in the files' order
	Hashed   bool     // at least one has a hash: pip then wants one for each
	Unpinned []string // of Names, those without a hash and without an exact version
	Local    bool     // at least one is a folder or file: it changes without the list
}

// The bounds of what is read.
const (
	maxFiles = 64
	maxBytes = 4 << 20
)

// Read reads the file, which is relative to the root, and what it includes. A file outside
// the root is an error.
func Read(root, name string) (List, error) {
	folder, err := os.OpenRoot(root)
	if err != nil {
		return List{}, err
	}
	defer folder.Close()
	var list List
	return list, list.include(folder, filepath.Clean(name))
}

func (l *List) include(root *os.Root, name string) error {
	for _, read := range l.Files {
		if read == name {
			return nil
		}
	}
	if l.Files = append(l.Files, name); len(l.Files) > maxFiles {
		return fmt.Errorf("%s: more than %d requirements files", name, maxFiles)
	}
	text, err := read(root, name)
	if err != nil {
		return err
	}
	for _, line := range Lines(text) {
		included, err := l.add(line)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if included != "" {
			if err := l.include(root, filepath.Join(filepath.Dir(name), included)); err != nil {
				return err
			}
		}
	}
	return nil
}

func read(root *os.Root, name string) (string, error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if len(text) > maxBytes {
		err = errors.New(name + ": too long for a requirements file")
	}
	return string(text), err
}

// Lines gives the lines that say something: continued ones joined, comments taken away.
func Lines(text string) []string {
	var lines []string
	var joined strings.Builder
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasPrefix(strings.TrimSpace(line), "#") {
			if begun, continues := strings.CutSuffix(line, `\`); continues {
				joined.WriteString(begun)
				continue
			}
			joined.WriteString(line)
		}
		lines = appendLine(lines, joined.String())
		joined.Reset()
	}
	return appendLine(lines, joined.String())
}

var comment = regexp.MustCompile(`(^|\s)#.*$`)

func appendLine(lines []string, line string) []string {
	if line = strings.TrimSpace(comment.ReplaceAllString(line, "")); line != "" {
		lines = append(lines, line)
	}
	return lines
}

var (
	option  = regexp.MustCompile(`^(-[a-zA-Z]|--[a-z-]+)(?:\s*=\s*|\s*)(.*)$`)
	hash    = regexp.MustCompile(`\s--hash[=\s]`)
	project = regexp.MustCompile(`^([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(.*)$`)
	exact   = regexp.MustCompile(`^\(?\s*===?\s*[^\s,;*)]+\s*\)?\s*(?:;.*|\s--.*)?$`)
	archive = regexp.MustCompile(`(?i)\.(whl|zip|tar\.gz|tgz|tar\.bz2|tar\.xz)$`)
)

// add takes one line and gives the file that it includes, or "".
func (l *List) add(line string) (string, error) {
	if parts := option.FindStringSubmatch(line); parts != nil {
		switch value := strings.Trim(parts[2], `"'`); parts[1] {
		case "-r", "--requirement", "-c", "--constraint":
			if strings.Contains(value, "://") {
				return "", fmt.Errorf("it includes %s: only files of the application can be included", withoutSecrets(value))
			}
			return value, nil
		case "-e", "--editable":
			l.Local = true
		}
		return "", nil
	}
	hashed := hash.MatchString(line)
	l.Hashed = l.Hashed || hashed
	requirement := strings.TrimSpace(hash.Split(line, 2)[0])
	parts := project.FindStringSubmatch(requirement)
	if parts == nil || isPath(requirement) {
		l.Local = l.Local || !strings.Contains(requirement, "://")
		return "", nil
	}
	name, rest := Normalize(parts[1]), parts[2]
	l.Names = append(l.Names, name)
	if strings.HasPrefix(rest, "@") {
		l.Local = l.Local || strings.HasPrefix(strings.TrimSpace(rest[1:]), "file:")
	}
	if !hashed && !exact.MatchString(rest) {
		l.Unpinned = append(l.Unpinned, name)
	}
	return "", nil
}

// isPath tells whether pip takes the requirement for a path or an address, not for a name.
func isPath(requirement string) bool {
	first, _, _ := strings.Cut(requirement, " ")
	first, _, _ = strings.Cut(first, "@")
	return strings.ContainsAny(first, `/\`) || archive.MatchString(first)
}

// withoutSecrets gives an address without the user and password in it.
func withoutSecrets(address string) string {
	scheme, rest, _ := strings.Cut(address, "://")
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = rest[at+1:]
	}
	return scheme + "://" + rest
}

var separators = regexp.MustCompile(`[-_.]+`)

// Normalize gives the one spelling of a project's name
// (https://packaging.python.org/en/latest/specifications/name-normalization/).
func Normalize(name string) string {
	return strings.ToLower(separators.ReplaceAllString(name, "-"))
}

// Name gives the normalized name of the project that a dependency specifier is about, or "".
func Name(specifier string) string {
	parts := project.FindStringSubmatch(strings.TrimSpace(specifier))
	if parts == nil {
		return ""
	}
	return Normalize(parts[1])
}
