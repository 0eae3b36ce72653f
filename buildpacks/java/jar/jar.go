package jar

import (
	"archive/zip"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"plimsoll.dev/plimsoll/buildpacks/internal/sbom"
)

// The bounds of what is read: a jar in a jar is held in memory.
const (
	maxText   = 1 << 20
	maxNested = 512 << 20
	maxDepth  = 3
)

// Jar is what an archive says.
type Jar struct {
	Manifest Manifest
	Packages []sbom.Package // the archive itself first, then what is in it
}

// Read reads the archive at a path.
func Read(file string) (Jar, error) {
	f, err := os.Open(file)
	if err != nil {
		return Jar{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Jar{}, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return Jar{}, err
	}
	j, err := parse(filepath.Base(file), f, info.Size(), maxDepth)
	if err != nil {
		return Jar{}, fmt.Errorf("%s: %w", filepath.Base(file), err)
	}
	j.Packages[0].SHA256 = fmt.Sprintf("%x", sum.Sum(nil))
	return j, nil
}

// Main gives the class that `java -jar` starts, or "" when the file is no archive or says
// none.
func Main(file string) string {
	archive, err := zip.OpenReader(file)
	if err != nil {
		return ""
	}
	defer archive.Close()
	for _, entry := range archive.File {
		if strings.EqualFold(entry.Name, manifestName) {
			text, err := content(entry, maxText)
			if err != nil {
				return ""
			}
			return ParseManifest(string(text)).MainClass()
		}
	}
	return ""
}

// Parse reads an archive of that file name.
func Parse(name string, file []byte) (Jar, error) {
	return parse(name, bytes.NewReader(file), int64(len(file)), maxDepth)
}

func parse(name string, file io.ReaderAt, size int64, depth int) (Jar, error) {
	archive, err := zip.NewReader(file, size)
	if err != nil {
		return Jar{}, err
	}
	var j Jar
	var poms, nested []sbom.Package
	budget := int64(maxNested)
	for _, entry := range archive.File {
		switch {
		case strings.EqualFold(entry.Name, manifestName):
			text, err := content(entry, maxText)
			if err != nil {
				return Jar{}, err
			}
			j.Manifest = ParseManifest(string(text))
		case pomProperties.MatchString(entry.Name):
			text, err := content(entry, maxText)
			if err != nil {
				return Jar{}, err
			}
			if p, ok := coordinates(string(text)); ok {
				poms = append(poms, p)
			}
		case strings.HasSuffix(entry.Name, ".jar") && depth > 1:
			inner, size := parseNested(entry, budget, depth-1)
			budget -= size
			nested = append(nested, inner...)
		}
	}
	own, others := identify(name, j.Manifest, poms)
	j.Packages = append(append([]sbom.Package{own}, others...), nested...)
	return j, nil
}

// parseNested gives the packages of an archive in an archive, and its size. One that cannot
// be read, which is no reason for the application not to run, has its name only.
func parseNested(entry *zip.File, budget int64, depth int) ([]sbom.Package, int64) {
	name := path.Base(entry.Name)
	unread, _ := identify(name, nil, nil)
	text, err := content(entry, budget)
	if err != nil {
		return []sbom.Package{unread}, 0
	}
	inner, err := parse(name, bytes.NewReader(text), int64(len(text)), depth)
	if err != nil {
		inner.Packages = []sbom.Package{unread}
	}
	inner.Packages[0].SHA256 = fmt.Sprintf("%x", sha256.Sum256(text))
	return inner.Packages, int64(len(text))
}

const manifestName = "META-INF/MANIFEST.MF"

var pomProperties = regexp.MustCompile(`^META-INF/maven/[^/]+/[^/]+/pom\.properties$`)

// content gives an entry's content when it has no more than max bytes.
func content(entry *zip.File, max int64) ([]byte, error) {
	r, err := entry.Open()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", entry.Name, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(text)) > max {
		err = errors.New("it is too large")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", entry.Name, err)
	}
	return text, nil
}

// coordinates reads a pom.properties, as Maven's archiver writes it.
func coordinates(text string) (sbom.Package, bool) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			values[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	p := sbom.Package{Type: "maven", Namespace: values["groupId"], Name: values["artifactId"], Version: values["version"]}
	return p, p.Namespace != "" && p.Name != "" && p.Version != ""
}

var versioned = regexp.MustCompile(`^(.+?)-(\d.*)$`)

// identify tells the archive itself from what was merged into it: it is the only one with
// Maven's coordinates, or the one that the file is named after; without coordinates, what
// the file's name and the manifest say.
func identify(file string, m Manifest, poms []sbom.Package) (own sbom.Package, others []sbom.Package) {
	base := strings.TrimSuffix(file, ".jar")
	for i, p := range poms {
		if len(poms) == 1 || base == p.Name || base == p.Name+"-"+p.Version {
			others = append(others, poms[:i]...)
			return p, append(others, poms[i+1:]...)
		}
	}
	own = sbom.Package{Type: "generic", Name: base}
	if parts := versioned.FindStringSubmatch(base); parts != nil {
		own.Name, own.Version = parts[1], parts[2]
	}
	own.Version = cmp.Or(own.Version, m["implementation-version"], m["bundle-version"])
	if own.Namespace = m["implementation-vendor-id"]; own.Namespace != "" {
		own.Type = "maven"
	}
	return own, poms
}
