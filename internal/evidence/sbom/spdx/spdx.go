// Package spdx takes the contents of an image and gives them as an SPDX 2.3 document in
// JSON, the same bytes for the same contents; and it reads such documents.
package spdx

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

const (
	namespace   = "https://plimsoll.dev/spdx/"
	imageID     = "SPDXRef-Image"
	noAssertion = "NOASSERTION"
)

// Encode gives the document (SPDX 2.3). Its namespace is made of a hash of all else in it.
func Encode(c artifact.Contents, about bill.About) []byte {
	e := encoder{about: about, refs: map[string]string{}}
	e.Out = make([]byte, 0, 4096+len(c.Packages)*1100+len(c.Files)*600)
	e.Open('{')
	e.Field("spdxVersion", "SPDX-2.3")
	e.Field("dataLicense", "CC0-1.0")
	e.Field("SPDXID", "SPDXRef-DOCUMENT")
	e.Field("name", about.Name)
	e.creation()
	e.Field("comment", remarks(c))
	ids := e.packages(c)
	fileIDs := e.files(c)
	e.relationships(ids, fileIDs)
	e.extracted()
	sum := sha256.Sum256(e.Out)
	e.Field("documentNamespace", namespace+hex.EncodeToString(sum[:]))
	e.Close('}')
	return e.Out
}

type encoder struct {
	bill.Writer
	about bill.About
	refs  map[string]string // licences that are not of SPDX's list -> their LicenseRef
}

func (e *encoder) creation() {
	e.Key("creationInfo")
	e.Open('{')
	e.Field("created", e.about.Stamp())
	e.Key("creators")
	e.Open('[')
	tool := "Tool: " + bill.Tool
	if e.about.Version != "" {
		tool += "-" + e.about.Version
	}
	e.Text(tool)
	e.Close(']')
	e.Close('}')
}

// remarks says what people must know who trust the document: what it could not see, and
// where others say otherwise.
func remarks(c artifact.Contents) string {
	var lines []string
	for _, g := range c.Gaps {
		lines = append(lines, "could not be read: "+g.Path+" (layer "+g.Layer+"): "+g.Why)
	}
	if c.Unlisted > 0 {
		lines = append(lines, strconv.Itoa(c.Unlisted)+" more files of no package are not listed")
	}
	for _, d := range c.Disagreements {
		lines = append(lines, "declared by "+d.DeclaredBy+": "+d.Package+": "+d.Why)
	}
	return strings.Join(lines, "\n")
}

// packages writes the image and what is in it, and gives the identifiers of the latter.
func (e *encoder) packages(c artifact.Contents) []string {
	e.Key("packages")
	e.Open('[')
	e.image(c)
	ids := make([]string, len(c.Packages))
	for i, p := range c.Packages {
		ids[i] = e.pkg(p)
	}
	e.Close(']')
	return ids
}

func (e *encoder) image(c artifact.Contents) {
	e.Open('{')
	e.Field("SPDXID", imageID)
	e.Field("name", e.about.Name)
	e.Field("versionInfo", c.Image)
	e.common()
	e.Field("supplier", noAssertion)
	e.Field("licenseDeclared", noAssertion)
	e.Field("primaryPackagePurpose", "CONTAINER")
	e.Field("comment", strings.TrimSpace("platform "+c.Platform+"; "+c.Distro.Name))
	if sum, ok := strings.CutPrefix(c.Image, "sha256:"); ok {
		e.checksums("", sum)
		e.reference(bill.ImageURL(e.about, c))
	}
	e.Close('}')
}

func (e *encoder) common() {
	e.Field("downloadLocation", noAssertion)
	e.Bool("filesAnalyzed", false)
	e.Field("licenseConcluded", noAssertion)
	e.Field("copyrightText", noAssertion)
}

func (e *encoder) pkg(p artifact.Package) string {
	url := p.PURL()
	id := "SPDXRef-Package-" + idText(p.Type+"-"+p.Name) + "-" + bill.Key(url, p.Layer, strings.Join(p.Paths, "\n"))
	e.Open('{')
	e.Field("SPDXID", id)
	e.Field("name", fullName(p))
	e.Field("versionInfo", p.Version)
	e.common()
	e.Field("supplier", supplier(p))
	e.Field("licenseDeclared", e.declared(p.Licenses))
	e.Field("sourceInfo", origin(p))
	e.checksums("", p.SHA256)
	e.reference(url)
	e.Close('}')
	return id
}

// fullName gives the name that the package's own world calls it by.
func fullName(p artifact.Package) string {
	switch {
	case p.Namespace == "" || p.Distro != "" || p.Type == "deb" || p.Type == "apk" || p.Type == "rpm":
		return p.Name
	case p.Type == "maven":
		return p.Namespace + ":" + p.Name
	}
	return p.Namespace + "/" + p.Name
}

func supplier(p artifact.Package) string {
	name := strings.Join(strings.Fields(p.Supplier), " ")
	if name == "" {
		return noAssertion
	}
	if before, mail, ok := strings.Cut(strings.TrimSuffix(name, ">"), " <"); ok {
		name = before + " (" + mail + ")"
	}
	switch p.Type {
	case "npm", "pypi", "gem", "cargo":
		return "Person: " + name
	}
	return "Organization: " + name
}

// origin says where a package is from: the layer, the files that tell of it, who knows it.
func origin(p artifact.Package) string {
	var parts []string
	add := func(what, text string) {
		if text != "" {
			parts = append(parts, what+" "+text)
		}
	}
	add("layer", p.Layer)
	add("found in", strings.Join(p.Paths, ", "))
	add("known by", strings.Join(p.FoundBy, ", "))
	add("shipped by", p.Owner)
	return strings.Join(parts, "; ")
}

func (e *encoder) checksums(sha1, sha256 string) {
	if sha1 == "" && sha256 == "" {
		return
	}
	e.Key("checksums")
	e.Open('[')
	for _, sum := range [][2]string{{"SHA1", sha1}, {"SHA256", sha256}} {
		if sum[1] == "" {
			continue
		}
		e.Open('{')
		e.Field("algorithm", sum[0])
		e.Field("checksumValue", sum[1])
		e.Close('}')
	}
	e.Close(']')
}

func (e *encoder) reference(url string) {
	e.Key("externalRefs")
	e.Open('[')
	e.Open('{')
	e.Field("referenceCategory", "PACKAGE-MANAGER")
	e.Field("referenceType", "purl")
	e.Field("referenceLocator", url)
	e.Close('}')
	e.Close(']')
}

// declared joins licences to one expression (SPDX 2.3, annex D); those that are none get a
// LicenseRef.
func (e *encoder) declared(licenses []string) string {
	if len(licenses) == 0 {
		return noAssertion
	}
	terms := make([]string, len(licenses))
	for i, l := range licenses {
		expression, ok := e.refs[l]
		if !ok {
			if expression, ok = license.Expression(l); !ok {
				expression = "LicenseRef-" + idText(l) + "-" + bill.Key(l)
			}
			e.refs[l] = expression
		}
		if len(licenses) > 1 && strings.Contains(expression, " OR ") {
			expression = "(" + expression + ")"
		}
		terms[i] = expression
	}
	return strings.Join(terms, " AND ")
}

// extracted writes the licences that are not of SPDX's list (SPDX 2.3, section 10).
func (e *encoder) extracted() {
	var own []string
	for text, ref := range e.refs {
		if strings.HasPrefix(ref, "LicenseRef-") {
			own = append(own, text)
		}
	}
	if own == nil {
		return
	}
	slices.Sort(own)
	e.Key("hasExtractedLicensingInfos")
	e.Open('[')
	for _, text := range own {
		e.Open('{')
		e.Field("licenseId", e.refs[text])
		e.Field("name", text)
		e.Field("extractedText", text)
		e.Close('}')
	}
	e.Close(']')
}

func (e *encoder) files(c artifact.Contents) []string {
	if len(c.Files) == 0 {
		return nil
	}
	ids := make([]string, len(c.Files))
	e.Key("files")
	e.Open('[')
	for i, f := range c.Files {
		ids[i] = "SPDXRef-File-" + bill.Key(f.Path)
		e.Open('{')
		e.Field("SPDXID", ids[i])
		e.Field("fileName", "./"+f.Path)
		e.checksums(f.SHA1, f.SHA256)
		e.Field("licenseConcluded", noAssertion)
		e.Field("copyrightText", noAssertion)
		e.Field("comment", "layer "+f.Layer)
		e.Close('}')
	}
	e.Close(']')
	return ids
}

func (e *encoder) relationships(packages, files []string) {
	e.Key("relationships")
	e.Open('[')
	e.relationship("SPDXRef-DOCUMENT", "DESCRIBES", imageID)
	for _, ids := range [][]string{packages, files} {
		for _, id := range ids {
			e.relationship(imageID, "CONTAINS", id)
		}
	}
	e.Close(']')
}

func (e *encoder) relationship(from, kind, to string) {
	e.Open('{')
	e.Field("spdxElementId", from)
	e.Field("relationshipType", kind)
	e.Field("relatedSpdxElement", to)
	e.Close('}')
}

// maxID bounds the part of an identifier that is there for people.
const maxID = 60

// idText gives the text with letters, digits, dots and dashes only (SPDX 2.3, section 3.2).
func idText(text string) string {
	text = text[:min(len(text), maxID)]
	return strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '-'
	}, text)
}
