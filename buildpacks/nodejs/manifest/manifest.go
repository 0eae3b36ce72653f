// Package manifest takes a package.json and a lock file of npm and gives what a build needs
// to know of them.
package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// Package is a package.json.
type Package struct {
	Name         string            `json:"name"`
	Version      string            `json:"version"`
	Main         string            `json:"main"`
	Scripts      map[string]string `json:"scripts"`
	Engines      Engines           `json:"engines"`
	Dependencies map[string]string `json:"dependencies"`
	Development  map[string]string `json:"devDependencies"`
	Optional     map[string]string `json:"optionalDependencies"`
	Workspaces   Workspaces        `json:"workspaces"`
	License      License           `json:"license"`
	Bin          Bin               `json:"bin"`
}

// Engines is the field "engines". Very old packages have a list there, which npm ignores.
type Engines struct {
	Node string `json:"node"`
}

// UnmarshalJSON reads an object, and anything else as nothing.
func (e *Engines) UnmarshalJSON(text []byte) error {
	var object map[string]any
	if json.Unmarshal(text, &object) == nil {
		e.Node, _ = object["node"].(string)
	}
	return nil
}

// Workspaces is the field "workspaces": patterns of folders.
type Workspaces []string

// UnmarshalJSON reads a list, or an object with a list named packages.
func (w *Workspaces) UnmarshalJSON(text []byte) error {
	var list []string
	if json.Unmarshal(text, &list) == nil {
		*w = list
		return nil
	}
	var object struct {
		Packages []string `json:"packages"`
	}
	err := json.Unmarshal(text, &object)
	*w = object.Packages
	return err
}

// License is the field "license": an SPDX expression, or "".
type License string

// UnmarshalJSON reads a string, or the old form, an object with a type.
func (l *License) UnmarshalJSON(text []byte) error {
	var object struct {
		Type string `json:"type"`
	}
	if json.Unmarshal(text, (*string)(l)) != nil && json.Unmarshal(text, &object) == nil {
		*l = License(object.Type)
	}
	return nil
}

// Bin is the field "bin": the scripts behind a package's programs. In the short form the
// program has the package's name, which is "" here.
type Bin map[string]string

// UnmarshalJSON reads an object, or the short form, a string.
func (b *Bin) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*b = Bin{"": one}
		return nil
	}
	var all map[string]string
	if json.Unmarshal(text, &all) == nil {
		*b = all
	}
	return nil
}

// Parse reads a package.json.
func Parse(text []byte) (Package, error) {
	var p Package
	if err := json.Unmarshal(text, &p); err != nil {
		return Package{}, fmt.Errorf("package.json: %w", err)
	}
	return p, nil
}

// HasDependencies tells whether npm would install anything.
func (p Package) HasDependencies() bool {
	return len(p.Dependencies)+len(p.Development)+len(p.Optional)+len(p.Workspaces) > 0
}

// InstallScripts gives the application's own scripts that npm runs when it installs the
// dependencies. They may read and write any file.
func (p Package) InstallScripts() []string {
	var found []string
	for _, name := range []string{"preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare"} {
		if p.Scripts[name] != "" {
			found = append(found, name)
		}
	}
	return found
}

// Accepts tells whether the package runs on that release of Node.js, such as "20.19.2".
// A range that makes no sense accepts all, as it does for npm.
func (p Package) Accepts(node string) bool {
	wanted := strings.TrimSpace(p.Engines.Node)
	if wanted == "" {
		return true
	}
	constraint, err1 := semver.NewConstraint(wanted)
	version, err2 := semver.NewVersion(node)
	return err1 != nil || err2 != nil || constraint.Check(version)
}

// Lock is a package-lock.json or npm-shrinkwrap.json, of lockfileVersion 2 or 3.
type Lock struct {
	Version  int               `json:"lockfileVersion"`
	Packages map[string]Locked `json:"packages"` // by folder: "" is the application, "node_modules/a/node_modules/b" a package
}

// Locked is one entry of a lock file.
type Locked struct {
	Name        string   `json:"name"` // only when it is not the one its folder has
	Version     string   `json:"version"`
	Resolved    string   `json:"resolved"`  // where it is fetched from; "" is the registry
	Integrity   string   `json:"integrity"` // "sha512-" and base64
	InBundle    bool     `json:"inBundle"`  // it is in the archive of the package that it stands in
	License     License  `json:"license"`
	Development bool     `json:"dev"`
	Link        bool     `json:"link"` // a workspace
	OS          []string `json:"os"`
	CPU         []string `json:"cpu"`
	LibC        []string `json:"libc"`
	Bin         Bin      `json:"bin"`
}

// ParseLock reads a lock file.
func ParseLock(text []byte) (Lock, error) {
	var l Lock
	if err := json.Unmarshal(text, &l); err != nil {
		return Lock{}, err
	}
	if l.Version < 2 || l.Packages == nil {
		return Lock{}, fmt.Errorf("lockfileVersion %d is older than npm 7: run `npm install` with a newer npm and commit the file", l.Version)
	}
	return l, nil
}

// lockNames are the files that npm takes for a lock, the one that counts first.
var lockNames = []string{"npm-shrinkwrap.json", "package-lock.json"}

// FindLock gives the name of the lock file in dir that npm would use, or "".
func FindLock(dir string) string {
	for _, name := range lockNames {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return name
		}
	}
	return ""
}

// Installed is a package that a production install for Linux puts into node_modules.
type Installed struct {
	Folder    string // "node_modules/@scope/name"
	Name      string
	Version   string
	License   string
	Integrity string
}

// Installed gives the packages that a production install leaves on that kind of machine
// (npm's name for it: "x64", "arm64"), sorted by folder.
func (l Lock) Installed(cpu string) []Installed {
	var all []Installed
	for folder, p := range l.Packages {
		if folder == "" || p.Development || p.Link || !strings.Contains(folder, "node_modules/") {
			continue
		}
		if !allows(p.OS, "linux") || !allows(p.CPU, cpu) || !allows(p.LibC, "glibc") {
			continue
		}
		all = append(all, Installed{Folder: folder, Name: p.NameIn(folder), Version: p.Version, License: string(p.License), Integrity: p.Integrity})
	}
	slices.SortFunc(all, func(a, b Installed) int { return strings.Compare(a.Folder, b.Folder) })
	return all
}

// allows tells whether a list such as ["linux", "darwin"] or ["!win32"] allows the value.
func allows(list []string, value string) bool {
	if len(list) == 0 || slices.Contains(list, "any") {
		return true
	}
	if slices.Contains(list, "!"+value) {
		return false
	}
	return slices.Contains(list, value) || strings.HasPrefix(list[0], "!")
}

// NameIn gives the package's name; folder is where the lock file has it.
func (p Locked) NameIn(folder string) string {
	if p.Name != "" {
		return p.Name
	}
	_, name, _ := cutLast(folder, "node_modules/")
	return name
}

func cutLast(s, sep string) (before, after string, found bool) {
	at := strings.LastIndex(s, sep)
	if at < 0 {
		return s, s, false
	}
	return s[:at], s[at+len(sep):], true
}

// Script gives the script behind a program of a direct dependency, relative to the
// application's folder, such as "node_modules/next/dist/bin/next". Programs of development
// dependencies are not there when the application runs.
func (l Lock) Script(program string) (string, bool) {
	var folders []string
	for folder, p := range l.Packages {
		if p.Development || !strings.HasPrefix(folder, "node_modules/") || strings.Count(folder, "node_modules/") > 1 {
			continue
		}
		if _, ok := p.script(folder, program); ok {
			folders = append(folders, folder)
		}
	}
	if folders == nil {
		return "", false
	}
	slices.Sort(folders)
	script, _ := l.Packages[folders[0]].script(folders[0], program)
	return path.Join(folders[0], script), true
}

func (p Locked) script(folder, program string) (string, bool) {
	script, ok := p.Bin[program]
	if !ok && path.Base(p.NameIn(folder)) == program {
		script, ok = p.Bin[""]
	}
	return script, ok && script != "" && program != ""
}

// Read reads dir's package.json and its lock file; has tells whether there is one.
func Read(dir string) (p Package, l Lock, has bool, err error) {
	text, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return p, l, false, err
	}
	if p, err = Parse(text); err != nil {
		return p, l, false, err
	}
	name := FindLock(dir)
	if name == "" {
		return p, l, false, nil
	}
	text, err = os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return p, l, false, nil
	}
	if err == nil {
		l, err = ParseLock(text)
	}
	if err != nil {
		return p, l, false, fmt.Errorf("%s: %w", name, err)
	}
	return p, l, true, nil
}
