// Package settings takes registry.yaml and gives what a site says of its registry, checked, as
// the file says it now.
package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/watch"
)

// Settings is one state of the file. It is not changed once it is given.
type Settings struct {
	v1alpha1.RegistrySpec
	Folder string // of the file: paths in it are relative to that

	projects map[string]*v1alpha1.RegistryProject
}

// Check gives the first problem that a part of the registry has with what concerns it, or nil.
type Check func(*Settings) *manifest.Problem

// File is registry.yaml. A change counts from the next question on; one that is wrong leaves
// what was said before, and is told to the log.
type File struct {
	path  string
	value *watch.Value[*Settings]
	log   *slog.Logger
}

// Open reads the file, which need not be there. A Usage fault names the line that is wrong.
func Open(path string, log *slog.Logger, checks ...Check) (*File, error) {
	f := &File{path: path, log: log}
	seen := false
	f.value = watch.New(func() (*Settings, error) {
		s, err := Read(path, checks...)
		if !seen && errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		seen = seen || err == nil // one that goes away does not open what it closed
		return s, err
	}, path)
	if _, err := f.value.Get(); err != nil {
		return nil, err
	}
	return f, nil
}

// Now gives what the file says; nil while there has not been one.
func (f *File) Now() *Settings {
	return f.value.Last(func(err error) {
		f.log.Error("registry settings cannot be taken up: the last ones stay", "error", err)
	})
}

// Stale gives why the last change of the file is not taken up; nil when it is.
func (f *File) Stale() error {
	_, err := f.value.Get()
	return err
}

// Read reads the file. A Usage fault names the line that is wrong; one that is not there is
// fs.ErrNotExist.
func Read(path string, checks ...Check) (*Settings, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "read registry settings", path, fs.ErrNotExist).
			WithHint("docs/registry-access.md shows what the file may say")
	}
	text, err := manifest.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s, err := Parse(text, filepath.Dir(path), checks...)
	if err != nil {
		return nil, fault.New(fault.Usage, "read registry settings", path, err).
			WithHint("docs/registry-access.md shows what the file may say")
	}
	return s, nil
}

// Parse reads the file's text. Its error names the line.
func Parse(text []byte, folder string, checks ...Check) (*Settings, error) {
	var r v1alpha1.Registry
	document, err := manifest.Decode(text, v1alpha1.RegistryKind, &r)
	if err != nil {
		return nil, err
	}
	s := &Settings{RegistrySpec: r.Spec, Folder: folder}
	if problem := manifest.CheckHeader(r.TypeMeta, v1alpha1.RegistryKind, r.Name); problem != nil {
		return nil, document.Wrong(problem)
	}
	for _, check := range append([]Check{checkURL, (*Settings).index}, checks...) {
		if problem := check(s); problem != nil {
			return nil, document.Wrong(problem)
		}
	}
	return s, nil
}

func checkURL(s *Settings) *manifest.Problem {
	if s.ExternalURL == "" {
		return nil
	}
	u, err := url.Parse(s.ExternalURL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Scheme+"://"+u.Host != s.ExternalURL {
		return manifest.Bad("spec.externalURL", "want https://HOST or https://HOST:PORT, without a path")
	}
	return nil
}

// index makes projects findable by their names.
func (s *Settings) index() *manifest.Problem {
	s.projects = make(map[string]*v1alpha1.RegistryProject, len(s.Projects))
	for i := range s.Projects {
		p := &s.Projects[i]
		field := fmt.Sprintf("spec.projects[%d].name", i)
		switch {
		case !call.IsRepository(p.Name):
			return manifest.Bad(field, fmt.Sprintf("want a name as repositories have: lower-case letters, digits, and dots, dashes and slashes between them; got %q", p.Name))
		case s.projects[p.Name] != nil:
			return manifest.Bad(field, fmt.Sprintf("%q occurs twice", p.Name))
		}
		s.projects[p.Name] = p
	}
	return nil
}

// Project gives the one of that name; nil where there is none.
func (s *Settings) Project(name string) *v1alpha1.RegistryProject { return s.projects[name] }

// ProjectOf gives the project that owns the repository: of those whose name it is or begins
// with, segment by segment, the longest. Nil where nobody does.
func (s *Settings) ProjectOf(repository string) *v1alpha1.RegistryProject {
	for name := repository; ; {
		if p := s.projects[name]; p != nil {
			return p
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return nil
		}
		name = name[:cut]
	}
}

// Path gives a path in the file as seen from here.
func (s *Settings) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(s.Folder, name)
}

// Period reads a duration in the form of Go's, or of days: "90d", "36h".
func Period(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("want a time such as 90d or 36h, got %q", text)
	}
	return d, nil
}
