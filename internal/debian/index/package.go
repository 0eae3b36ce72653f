package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"

	"pault.ag/go/debian/version"
)

// Package is one stanza of a Packages file (Debian Policy 5.3, and the repository format's
// "Packages" indices): one version of one binary package, as a suite offers it.
type Package struct {
	Name          string // checked: letters, digits and "+-._" only
	Version       string // checked: epoch:upstream-revision
	Architecture  string // such as "amd64", or "all"
	MultiArch     string // "", "no", "same", "foreign" or "allowed"
	Source        string // source package's name; the package's own where the stanza has none
	SourceVersion string // the source's version; the package's own where the stanza has none
	Section       string
	Priority      string
	Filename      string // of the .deb, slash-separated, relative to the archive's root; checked
	SHA256        string // of the .deb, 64 lower-case hex digits
	Suite         string // as named to Open
	Size          int64  // of the .deb, in bytes
	InstalledSize int64  // in KiB, as its maintainer estimated it

	Essential bool
	Important bool // "Protected: yes", or "Important: yes" as apt spells it

	// The relation fields as the stanza has them. Relations parses them.
	PreDepends, Depends, Conflicts, Breaks, Replaces, Provides, Recommends string

	// Mention is the place of Name among all names that the Packages file mentions, in
	// its stanzas and their relations, from 0. apt decides between equally good
	// providers by it: the last mentioned wins.
	Mention int
}

// String gives "name version".
func (p *Package) String() string { return p.Name + " " + p.Version }

// CompareVersions orders two version strings as dpkg does (Debian Policy 5.6.12): negative
// when a is older than b. A string that is no version is older than all others.
func CompareVersions(a, b string) int {
	if a == b {
		return 0
	}
	va, errA := version.Parse(a)
	vb, errB := version.Parse(b)
	switch {
	case errA != nil && errB != nil:
		return strings.Compare(a, b)
	case errA != nil:
		return -1
	case errB != nil:
		return 1
	}
	return version.Compare(va, vb)
}

// newPackage reads a stanza strictly: what is missing, malformed or made to escape the
// archive's root is an error.
func newPackage(s *stanza) (*Package, error) {
	p := &Package{
		Name: s.get("Package"), Version: s.get("Version"), Architecture: s.get("Architecture"),
		MultiArch: s.get("Multi-Arch"), Section: s.get("Section"), Priority: s.get("Priority"),
		Filename: strings.TrimPrefix(s.get("Filename"), "./"), SHA256: strings.ToLower(s.get("SHA256")),
		Essential:  s.get("Essential") == "yes",
		Important:  s.get("Protected") == "yes" || s.get("Important") == "yes",
		PreDepends: s.get("Pre-Depends"), Depends: s.get("Depends"), Conflicts: s.get("Conflicts"),
		Breaks: s.get("Breaks"), Replaces: s.get("Replaces"), Provides: s.get("Provides"),
		Recommends: s.get("Recommends"),
	}
	p.Source, p.SourceVersion = splitSource(s.get("Source"), p.Name, p.Version)
	var err error
	if p.Size, err = strconv.ParseInt(s.get("Size"), 10, 64); err != nil || p.Size < 0 {
		return nil, fmt.Errorf("package %q: Size %q is no number of bytes", p.Name, s.get("Size"))
	}
	if text := s.get("Installed-Size"); text != "" {
		if p.InstalledSize, err = strconv.ParseInt(text, 10, 64); err != nil || p.InstalledSize < 0 {
			return nil, fmt.Errorf("package %q: Installed-Size %q is no number of KiB", p.Name, text)
		}
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

// splitSource reads "Source: name (version)".
func splitSource(text, name, version string) (string, string) {
	source, rest, found := strings.Cut(text, "(")
	if source = strings.TrimSpace(source); source == "" {
		source = name
	}
	if found {
		version = strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), ")"))
	}
	return source, version
}

func (p *Package) check() error {
	if !isName(p.Name) {
		return fmt.Errorf("Package %.60q is no package name", p.Name)
	}
	if _, err := version.Parse(p.Version); err != nil {
		return fmt.Errorf("package %s: Version %.60q: %w", p.Name, p.Version, err)
	}
	if !isName(p.Source) {
		return fmt.Errorf("package %s: Source %.60q is no package name", p.Name, p.Source)
	}
	if _, err := version.Parse(p.SourceVersion); err != nil {
		return fmt.Errorf("package %s: Source version %.60q: %w", p.Name, p.SourceVersion, err)
	}
	if !isName(p.Architecture) {
		return fmt.Errorf("package %s: Architecture %.60q is none", p.Name, p.Architecture)
	}
	switch p.MultiArch {
	case "", "no", "same", "foreign", "allowed":
	default:
		return fmt.Errorf("package %s: Multi-Arch %.60q is not no, same, foreign or allowed", p.Name, p.MultiArch)
	}
	if err := checkFilename(p.Filename); err != nil {
		return fmt.Errorf("package %s: Filename %.200q: %w", p.Name, p.Filename, err)
	}
	if len(p.SHA256) != 64 || strings.Trim(p.SHA256, "0123456789abcdef") != "" {
		return fmt.Errorf("package %s: SHA256 %.80q is not 64 hex digits", p.Name, p.SHA256)
	}
	return nil
}

// isName says whether dpkg takes s for a package name: it starts with a letter or digit
// and holds only those and "+-._".
func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z'
		if !alnum && (i == 0 || c != '+' && c != '-' && c != '.' && c != '_') {
			return false
		}
	}
	return s != "" && len(s) < 256
}

// checkFilename holds a path inside the archive: a fetch joins it to a mirror's address
// and to a cache folder, so nothing in it may lead elsewhere.
func checkFilename(name string) error {
	switch {
	case name == "":
		return errors.New("missing")
	case len(name) > 1024:
		return errors.New("longer than 1024 bytes")
	case path.IsAbs(name):
		return errors.New("an absolute path")
	case path.Clean(name) != name, name == ".", name == "..", strings.HasPrefix(name, "../"):
		return errors.New("not a plain path below the archive's root")
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c >= 0x7f || c == '\\' || c == '?' || c == '#' {
			return fmt.Errorf("holds the byte %q", c)
		}
	}
	return nil
}

// text lists the string fields in the order of a record. It is the record's schema: a
// change to it is a change of formatVersion.
func (p *Package) text() []*string {
	return []*string{
		&p.Name, &p.Version, &p.Architecture, &p.MultiArch, &p.Source, &p.SourceVersion,
		&p.Section, &p.Priority, &p.Filename, &p.SHA256, &p.PreDepends, &p.Depends,
		&p.Conflicts, &p.Breaks, &p.Replaces, &p.Provides, &p.Recommends,
	}
}

const (
	flagEssential = 1 << iota
	flagImportant
)

// appendRecord gives the package as the bytes of an index record.
func (p *Package) appendRecord(b []byte) []byte {
	for _, s := range p.text() {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	flags := uint64(0)
	if p.Essential {
		flags |= flagEssential
	}
	if p.Important {
		flags |= flagImportant
	}
	for _, n := range []uint64{uint64(p.Size), uint64(p.InstalledSize), uint64(p.Mention), flags} {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

var errRecord = errors.New("the index is damaged: a record ends early")

// readRecord is appendRecord's way back. One copy of the bytes backs all strings, so that
// none of them outlives the mapped file wrongly.
func readRecord(b []byte) (*Package, error) {
	p := new(Package)
	text, pos := string(b), 0
	number := func() (uint64, bool) {
		n, size := binary.Uvarint(b[pos:])
		if size <= 0 {
			return 0, false
		}
		pos += size
		return n, true
	}
	for _, s := range p.text() {
		n, ok := number()
		if !ok || n > uint64(len(b)-pos) {
			return nil, errRecord
		}
		*s = text[pos : pos+int(n)]
		pos += int(n)
	}
	var numbers [4]uint64
	for i := range numbers {
		n, ok := number()
		if !ok || n > math.MaxInt64 {
			return nil, errRecord
		}
		numbers[i] = n
	}
	p.Size, p.InstalledSize, p.Mention = int64(numbers[0]), int64(numbers[1]), int(numbers[2])
	p.Essential = numbers[3]&flagEssential != 0
	p.Important = numbers[3]&flagImportant != 0
	return p, nil
}
