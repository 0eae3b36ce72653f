package extract

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/google/osv-scalibr/extractor/filesystem/language/java/archive"
	"github.com/google/osv-scalibr/extractor/filesystem/language/java/groupid"

	"plimsoll.dev/plimsoll/artifact"
)

// Bounds of one Java archive with all that lie in it.
const (
	maxJarDepth    = 4
	maxJarInflated = 256 * mib // unpacked nested archives and texts, together
	maxJarText     = mib       // a manifest, a pom.properties
	maxJars        = 20_000
)

// jar reads Java archives: what Maven left in them, their manifest, the archives in them.
// It does so itself: a hostile one may say that a nested archive is small.
func jar() Extractor {
	return Extractor{
		Name: "java archive", Limit: 2048 * mib,
		Wants: func(p string, _ fs.FileMode) bool { return archive.IsArchive(p) },
		Read: func(ctx context.Context, f File) (Found, error) {
			r := jarReader{ctx: ctx, left: maxJarInflated}
			zipped, err := openZip(f.Body, f.Size)
			if err != nil {
				if path.Ext(f.Path) == ".jmod" || !looksZipped(f) {
					return Found{}, nil // the JDK's own form, or another thing of that name
				}
				return Found{}, err
			}
			if err := r.read(zipped, f.Path, 1); err != nil {
				r.found.Gaps = append(r.found.Gaps, err.Error())
			}
			r.found.Owns = []Owned{{Path: f.Path}}
			r.found.Whole = r.own
			return r.found, nil
		},
	}
}

func looksZipped(f File) bool {
	var head [4]byte
	_, _ = f.Body.ReadAt(head[:], 0)
	return string(head[:2]) == "PK"
}

// jarReader goes through an archive and those in it.
type jarReader struct {
	ctx   context.Context
	found Found
	left  int64 // bytes that may still be unpacked
	jars  int
	own   int // as Found.Whole: of the archive that was read last, at the end the outermost
}

// read adds the packages of the archive that is called name.
func (r *jarReader) read(zipped *zip.Reader, name string, depth int) error {
	if r.jars++; r.jars > maxJars || depth > maxJarDepth {
		return fmt.Errorf("%s: too many archives in each other", name)
	}
	var told []artifact.Package
	var about manifest
	for _, member := range zipped.File {
		if err := r.ctx.Err(); err != nil {
			return err
		}
		var err error
		switch base := path.Base(member.Name); {
		case base == "pom.properties":
			var p artifact.Package
			if p, err = r.properties(member); p.Name != "" && p.Version != "" {
				told = append(told, p)
			}
		case strings.EqualFold(member.Name, "META-INF/MANIFEST.MF"):
			about, err = r.manifest(member)
		case archive.IsArchive(member.Name) && member.UncompressedSize64 > 0:
			err = r.nested(member, name+"/"+member.Name, depth)
		}
		if err != nil {
			r.found.Gaps = append(r.found.Gaps, fmt.Sprintf("%s: %v", member.Name, err))
		}
	}
	told, own := whole(name, told, about)
	r.own = 0
	if own >= 0 {
		r.own = len(r.found.Packages) + own + 1
	}
	if depth > 1 {
		for i := range told {
			told[i].Paths = []string{name}
		}
	}
	r.found.Packages = append(r.found.Packages, told...)
	return nil
}

// whole gives the packages of an archive, and which of them is the archive itself, or -1.
// Where Maven left no word of that one, name and manifest tell of it.
func whole(name string, told []artifact.Package, about manifest) ([]artifact.Package, int) {
	stem := strings.TrimSuffix(path.Base(name), path.Ext(name))
	own := slices.IndexFunc(told, func(p artifact.Package) bool { return strings.HasPrefix(stem, p.Name) })
	if own < 0 && len(told) == 1 && about.agrees(told[0].Version) {
		own = 0
	}
	if own >= 0 {
		told[own].Licenses = about.licenses
		return told, own
	}
	if p := about.pkg(name); p.Name != "" {
		return append(told, p), len(told)
	}
	return told, -1
}

func (r *jarReader) text(member *zip.File, limit int64) ([]byte, error) {
	text, err := inflate(member, min(limit, r.left))
	r.left -= int64(len(text))
	return text, err
}

// nested reads an archive in the archive.
func (r *jarReader) nested(member *zip.File, name string, depth int) error {
	if depth >= maxJarDepth {
		return errors.New("it lies too deep")
	}
	text, err := r.text(member, r.left)
	if err != nil {
		return err
	}
	inner, err := openZip(bytes.NewReader(text), int64(len(text)))
	if err != nil {
		return err
	}
	return r.read(inner, name, depth+1)
}

// properties reads a pom.properties (Apache Maven Archiver, "pom.properties content").
func (r *jarReader) properties(member *zip.File) (artifact.Package, error) {
	text, err := r.text(member, maxJarText)
	p := artifact.Package{Type: "maven"}
	for line := range bytes.Lines(text) {
		key, value, _ := strings.Cut(string(line), "=")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "groupId":
			p.Namespace = value
		case "artifactId":
			p.Name = value
		case "version":
			p.Version = value
		}
	}
	if strings.Contains(p.Namespace+p.Name+p.Version, "${") {
		p.Name = "" // a template, of a plug-in that makes projects
	}
	return p, err
}

// manifest is what is read of a MANIFEST.MF (JAR file specification, "JAR Manifest").
type manifest struct {
	fields   map[string]string // those of the main section, by name in lower case
	licenses []string
}

func (r *jarReader) manifest(member *zip.File) (manifest, error) {
	text, err := r.text(member, maxJarText)
	m := manifest{fields: map[string]string{}}
	last := ""
	for line := range bytes.Lines(text) {
		s := strings.TrimRight(string(line), "\r\n")
		switch {
		case s == "":
			if len(m.fields) > 0 {
				m.licenses = bundleLicenses(m.fields["bundle-license"])
				return m, err
			}
		case s[0] == ' ':
			m.fields[last] += s[1:]
		default:
			key, value, _ := strings.Cut(s, ":")
			last = strings.ToLower(key)
			m.fields[last] = strings.TrimSpace(value)
		}
	}
	m.licenses = bundleLicenses(m.fields["bundle-license"])
	return m, err
}

// bundleLicenses gives the licences of OSGi's Bundle-License (OSGi Core, 3.2.1.10) that
// are identifiers; the others are addresses and titles.
func bundleLicenses(text string) []string {
	var all []string
	for one := range strings.SplitSeq(text, ",") {
		name, _, _ := strings.Cut(one, ";")
		if name = strings.Trim(strings.TrimSpace(name), `"`); isExpression(name) {
			all = append(all, licensesOf(name)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// agrees says whether the version could be the archive's own: where the manifest has
// another, the only word of Maven's is that of a library whose classes were put in.
func (m manifest) agrees(version string) bool {
	said := false
	for _, field := range []string{"implementation-version", "bundle-version", "specification-version"} {
		v := m.fields[field]
		if v != "" && (strings.HasPrefix(v, version) || strings.HasPrefix(version, v)) {
			return true
		}
		said = said || v != ""
	}
	return !said
}

// pkg gives the archive's own package by its manifest and its name.
func (m manifest) pkg(name string) artifact.Package {
	p := artifact.Package{Type: "maven", Licenses: m.licenses}
	if props := archive.ParseFilename(name); props != nil {
		p.Name, p.Version, p.Namespace = props.ArtifactID, props.Version, props.GroupID
	} else {
		p.Name = strings.TrimSuffix(path.Base(name), path.Ext(name))
		p.Version = cmp.Or(m.fields["implementation-version"], m.fields["bundle-version"],
			m.fields["specification-version"], m.fields["plugin-version"])
	}
	symbolic, _, _ := strings.Cut(m.fields["bundle-symbolicname"], ";")
	for _, candidate := range []string{
		groupid.FromArtifactID(p.Name), m.fields["implementation-vendor-id"], symbolic, m.fields["automatic-module-name"],
	} {
		if candidate = strings.TrimSpace(candidate); strings.Contains(candidate, ".") && !strings.ContainsAny(candidate, " /") {
			p.Namespace = strings.TrimSuffix(candidate, "."+p.Name)
			break
		}
	}
	// Packages from before the days of reversed domains have their own name as group.
	p.Namespace = cmp.Or(p.Namespace, p.Name)
	p.Supplier = m.fields["implementation-vendor"]
	return p
}
