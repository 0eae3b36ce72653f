package base

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
	"plimsoll.dev/plimsoll/internal/fault"
)

// LockKind is the kind of a Lock's document.
const LockKind = "BaseLock"

// Lock is the exact set of packages of a base: with the spec, all that decides its digest.
type Lock struct {
	APIVersion string        `json:"apiVersion"`
	Kind       string        `json:"kind"`
	For        Wish          `json:"for"`
	Images     []LockedImage `json:"images"`        // by architecture
	Sum        string        `json:"sum,omitempty"` // SHA-256 of all else, hex: set by Save, so that an edit is seen
}

// Wish is what of the spec the lock answers, sorted.
type Wish struct {
	Suites   []string `json:"suites"`
	Packages []string `json:"packages"`
	Omit     []string `json:"omit,omitempty"`
}

func wishOf(spec *v1alpha1.BaseImageSpec) Wish {
	w := Wish{Suites: slices.Sorted(slices.Values(spec.Archive.Suites)), Packages: slices.Sorted(slices.Values(spec.Packages))}
	for _, o := range spec.Omit {
		w.Omit = append(w.Omit, o.Package)
	}
	slices.Sort(w.Omit)
	return w
}

// sum gives the hash of all but Sum.
func (l Lock) sum() (string, error) {
	l.Sum = ""
	text, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
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
	sealed := *l
	var err error
	if sealed.Sum, err = l.sum(); err != nil {
		return err
	}
	text, err := yaml.Marshal(sealed)
	if err != nil {
		return err
	}
	text = append([]byte("# Written by `plimsoll base build --lock`. Do not edit; build exactly this with --locked.\n"), text...)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return nil
	}
	if err := aside.WriteDurable(path, text); err != nil {
		return fault.New(fault.Failed, "write lock", path, err)
	}
	return nil
}

var (
	hexSum      = regexp.MustCompile(`^[0-9a-f]{64}$`)
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`) // Debian Policy 5.6.7; it becomes a file's name
)

// check refuses locks that were not written by Save: file names and sums reach the disk.
func (l *Lock) check() error {
	if l.APIVersion != v1alpha1.APIVersion || l.Kind != LockKind || len(l.Images) == 0 {
		return fmt.Errorf("want %s of %s with images", LockKind, v1alpha1.APIVersion)
	}
	if sum, err := l.sum(); err != nil || sum != l.Sum {
		return errors.New("it was edited after it was written: its sum is not that of its text")
	}
	for _, image := range l.Images {
		for i, p := range image.Packages {
			switch {
			case !packageName.MatchString(p.Name) || !packageName.MatchString(p.Source):
				return fmt.Errorf("%s: package %d: bad name %q or source %q", image.Architecture, i, p.Name, p.Source)
			case p.Version == "" || strings.ContainsAny(p.Version, "/ \t\n") || p.Suite == "":
				return fmt.Errorf("%s: %s: bad version, or no suite", image.Architecture, p)
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

// sets gives the packages of each of the spec's architectures.
func (l *Lock) sets(spec *v1alpha1.BaseImageSpec) ([]LockedImage, error) {
	if err := l.answers(spec); err != nil {
		return nil, err
	}
	sets := make([]LockedImage, len(spec.Architectures))
	for i, architecture := range spec.Architectures {
		var err error
		if sets[i], err = l.image(architecture); err != nil {
			return nil, err
		}
	}
	return sets, nil
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

// answers tells whether the lock was made for the spec: one that was made for another must
// not pass for this one's.
func (l *Lock) answers(spec *v1alpha1.BaseImageSpec) error {
	now := wishOf(spec)
	for _, list := range []struct {
		field     string
		then, now []string
	}{{"archive.suites", l.For.Suites, now.Suites}, {"packages", l.For.Packages, now.Packages}, {"omit", l.For.Omit, now.Omit}} {
		if !slices.Equal(list.then, list.now) {
			return fault.Newf(fault.Usage, "use lock", "spec."+list.field, fmt.Sprintf("the lock was made for [%s], the spec has [%s]",
				strings.Join(list.then, ", "), strings.Join(list.now, ", "))).
				WithHint("the spec changed after the lock: run without --locked to write it again")
		}
	}
	return nil
}

// agrees tells whether a .deb's own stanza is of the locked package.
func (p Package) agrees(control string) error {
	source, _, _ := strings.Cut(cmp.Or(fieldOf(control, "Source"), fieldOf(control, "Package")), " ")
	for _, field := range []struct{ name, locked, own string }{
		{"Package", p.Name, fieldOf(control, "Package")},
		{"Version", p.Version, fieldOf(control, "Version")},
		{"Architecture", p.Architecture, fieldOf(control, "Architecture")},
		{"Source", p.Source, source},
	} {
		if field.locked != field.own {
			return fmt.Errorf("the package says %s %q, not %q", field.name, field.own, field.locked)
		}
	}
	return nil
}
