// Package site takes a folder of files to be served and gives the configuration that
// lighttpd serves it with.
package site

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"plimsoll.dev/plimsoll/buildpacks/internal/tree"
)

// Lookup gives a setting and whether it was made, as os.LookupEnv does.
type Lookup func(name string) (string, bool)

// The settings.
const (
	EnvRoot      = "BP_WEB_ROOT"      // the folder to serve; default: the first of dist, public and the application's own with an index.html
	EnvSPA       = "BP_WEB_SPA"       // true: a path that names no file is answered with index.html
	EnvCSP       = "BP_WEB_CSP"       // the Content-Security-Policy; empty for none
	EnvImmutable = "BP_WEB_IMMUTABLE" // regular expression of the paths that never change their content
)

// The defaults of the settings.
const (
	DefaultCSP       = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
	DefaultImmutable = `[-._][0-9a-fA-F]{8,}\.[^/]*$` // names that hold a hash
)

// Root gives the folder to serve, relative to the application's. The error says in one line
// what was looked for.
func Root(app string, env Lookup) (string, error) {
	if root, ok := env(EnvRoot); ok {
		root = filepath.Clean(root)
		switch {
		case !filepath.IsLocal(root):
			return "", fmt.Errorf("%s %q is not a folder inside the application", EnvRoot, root)
		case !hasIndex(filepath.Join(app, root)):
			return "", fmt.Errorf("no index.html in %s, which %s names", root, EnvRoot)
		}
		return root, nil
	}
	for _, root := range []string{"dist", "public", "."} {
		if hasIndex(filepath.Join(app, root)) {
			return root, nil
		}
	}
	return "", errors.New("no index.html, dist/index.html or public/index.html")
}

func hasIndex(folder string) bool {
	info, err := os.Stat(filepath.Join(folder, "index.html"))
	return err == nil && info.Mode().IsRegular()
}

// Settings say how a folder is served.
type Settings struct {
	Root      string // the folder, absolute
	SPA       bool   // a path that names no file is answered with index.html
	NotFound  bool   // the folder has a 404.html
	CSP       string // the Content-Security-Policy, "" for none
	Immutable string // regular expression of the paths that never change their content
	Tag       string // changes with the content of the folder and with the settings
}

// Read gives the settings for a folder, which is an absolute path.
func Read(root string, env Lookup) (Settings, error) {
	s := Settings{Root: root, CSP: DefaultCSP, Immutable: DefaultImmutable}
	if csp, ok := env(EnvCSP); ok {
		s.CSP = csp
	}
	if immutable, ok := env(EnvImmutable); ok {
		s.Immutable = immutable
	}
	if text, ok := env(EnvSPA); ok {
		var err error
		if s.SPA, err = strconv.ParseBool(text); err != nil {
			return Settings{}, fmt.Errorf("%s %q is neither true nor false", EnvSPA, text)
		}
	}
	if _, err := regexp.Compile(s.Immutable); err != nil {
		return Settings{}, fmt.Errorf("%s is not a regular expression: %w", EnvImmutable, err)
	}
	for _, quoted := range []struct{ name, text, but string }{{EnvRoot, s.Root, `"\`}, {EnvCSP, s.CSP, `"\`}, {EnvImmutable, s.Immutable, `"`}} {
		if strings.ContainsFunc(quoted.text, unicode.IsControl) || strings.ContainsAny(quoted.text, quoted.but) {
			return Settings{}, fmt.Errorf("%s %q holds a character that the server's configuration cannot hold", quoted.name, quoted.text)
		}
	}
	info, err := os.Stat(filepath.Join(root, "404.html"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Settings{}, err
	}
	s.NotFound = err == nil && info.Mode().IsRegular()
	digest, err := tree.Digest(root, nil)
	if err != nil {
		return Settings{}, err
	}
	s.Tag = fmt.Sprintf("%x", sha256.Sum256([]byte(digest+s.Config())))[:32]
	return s, nil
}

// String gives the settings for the build's log.
func (s Settings) String() string {
	var parts []string
	if s.SPA {
		parts = append(parts, "paths that name no file get index.html")
	}
	if s.NotFound {
		parts = append(parts, "missing files get 404.html")
	}
	if s.CSP == "" {
		return strings.Join(append(parts, "no Content-Security-Policy"), "; ")
	}
	return strings.Join(append(parts, "Content-Security-Policy "+s.CSP), "; ")
}
