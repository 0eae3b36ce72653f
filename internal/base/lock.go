package base

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
	"plimsoll.dev/plimsoll/internal/fault"
)

// LockKind is the kind of a Lock's document.
const LockKind = "BaseLock"

// Lock is the exact set of packages of a base: with the spec, all that decides its digest.
type Lock struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	Images     []LockedImage `json:"images"` // by architecture
}

// LockedImage is the packages of one architecture.
type LockedImage struct {
	Architecture string            `json:"architecture"`
	Packages     []Package         `json:"packages"` // by name
	Omitted      []OmittedRelation `json:"omitted,omitempty"`
}

// Package is one locked package.
type Package struct {
	Name          string `json:"name"`
	Version       string `json:"version"`
	Architecture  string `json:"architecture"` // its own: may be "all"
	Source        string `json:"source"`
	SourceVersion string `json:"sourceVersion"`
	Suite         string `json:"suite"`
	Filename      string `json:"filename"` // relative to the mirror of the suite
	SHA256        string `json:"sha256"`   // of the .deb, hex
	Size          int64  `json:"size"`     // of the .deb, bytes
	Requested     bool   `json:"requested,omitempty"`
	Why           string `json:"why"` // it is in
}

// String gives "name version".
func (p Package) String() string { return p.Name + " " + p.Version }

// OmittedRelation is a dependency that an omitted package would have satisfied.
type OmittedRelation struct {
	Packages []string `json:"packages"`
	By       string   `json:"by"`
	Relation string   `json:"relation"`
}

func lockedImage(architecture string, result resolve.Result) LockedImage {
	image := LockedImage{Architecture: architecture}
	for _, choice := range result.Packages {
		image.Packages = append(image.Packages, locked(choice))
	}
	for _, o := range result.Omissions {
		image.Omitted = append(image.Omitted, OmittedRelation{Packages: o.Packages, By: o.By, Relation: o.Field + ": " + o.Relation})
	}
	return image
}

func locked(choice resolve.Choice) Package {
	p := choice.Package
	return Package{
		Name: p.Name, Version: p.Version, Architecture: p.Architecture, Source: p.Source, SourceVersion: p.SourceVersion,
		Suite: p.Suite, Filename: p.Filename, SHA256: p.SHA256, Size: p.Size,
		Requested: choice.Why.By == "", Why: choice.Why.String(),
	}
}

// ReadLock reads a lock written by Save.
func ReadLock(path string) (*Lock, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "read lock", path, errors.Unwrap(err)).WithHint("write one first: run without --locked")
	}
	var l Lock
	if err := yaml.UnmarshalStrict(text, &l); err != nil {
		return nil, fault.New(fault.Usage, "read lock", path, err)
	}
	if err := l.check(); err != nil {
		return nil, fault.New(fault.Usage, "read lock", path, err).WithHint("write it again: run without --locked")
	}
	return &l, nil
}

// Save writes the lock aside and renames it to path.
func (l *Lock) Save(path string) error {
	text, err := yaml.Marshal(l)
	if err != nil {
		return err
	}
	text = append([]byte("# Written by `plimsoll base build --lock`. Do not edit; build exactly this with --locked.\n"), text...)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	aside, err := os.CreateTemp(filepath.Dir(path), ".lock-*")
	if err != nil {
		return fault.New(fault.Failed, "write lock", path, err)
	}
	defer os.Remove(aside.Name())
	_, err = aside.Write(text)
	if err = errors.Join(err, aside.Chmod(0o644), aside.Close()); err == nil {
		err = os.Rename(aside.Name(), path)
	}
	if err != nil {
		return fault.New(fault.Failed, "write lock", path, err)
	}
	return nil
}

var hexSum = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses locks that were not written by Save: file names and sums reach the disk.
func (l *Lock) check() error {
	if l.Kind != LockKind || len(l.Images) == 0 {
		return fmt.Errorf("want kind %s with images", LockKind)
	}
	for _, image := range l.Images {
		for i, p := range image.Packages {
			switch {
			case p.Name == "" || p.Version == "" || p.Suite == "":
				return fmt.Errorf("%s: package %d lacks a name, a version or a suite", image.Architecture, i)
			case !hexSum.MatchString(p.SHA256) || p.Size <= 0:
				return fmt.Errorf("%s: %s: bad sha256 or size", image.Architecture, p)
			case strings.HasPrefix(p.Filename, "/") || slices.Contains(strings.Split(p.Filename, "/"), ".."):
				return fmt.Errorf("%s: %s: bad filename %q", image.Architecture, p, p.Filename)
			case i > 0 && p.Name <= image.Packages[i-1].Name:
				return fmt.Errorf("%s: %s: packages are not in order of name, once each", image.Architecture, p)
			}
		}
	}
	return nil
}

// image gives the packages of the architecture.
func (l *Lock) image(architecture string) (LockedImage, error) {
	for _, image := range l.Images {
		if image.Architecture == architecture {
			return image, nil
		}
	}
	return LockedImage{}, fault.Newf(fault.Usage, "use lock", architecture, "the lock has no packages for this architecture").
		WithHint("write it again: run without --locked")
}

// satisfies tells whether the locked packages still answer the wanted ones: a lock made
// for another spec must not pass for this one.
func (i LockedImage) satisfies(wanted []string) error {
	for _, text := range wanted {
		want, err := index.ParseRelation(asRelation(text))
		if err != nil {
			return fault.New(fault.Usage, "read package", text, err)
		}
		at := slices.IndexFunc(i.Packages, func(p Package) bool { return p.Name == want.Name })
		if at < 0 || !want.Holds(i.Packages[at].Version) {
			return fault.Newf(fault.Usage, "use lock", text, "the spec wants it, the lock for "+i.Architecture+" does not have it").
				WithHint("the spec changed after the lock: run without --locked to write it again")
		}
	}
	return nil
}

// asRelation turns "name=version" into a relation as Debian writes it.
func asRelation(text string) string {
	if strings.Contains(text, "(") {
		return text
	}
	if name, version, ok := strings.Cut(text, "="); ok {
		return name + " (= " + version + ")"
	}
	return text
}
