// Package cyclonedx takes the contents of an image and gives them as a CycloneDX 1.6 bill of
// materials in JSON, the same bytes for the same contents; and it reads such bills.
package cyclonedx

import (
	"crypto/sha256"
	"fmt"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
)

const (
	imageRef = "image"

	// Names of properties (CycloneDX 1.6, "properties"); "plimsoll:" is ours.
	layerProperty    = "plimsoll:layer"   // diffID of the layer that brought it
	foundByProperty  = "plimsoll:foundBy" // "image", or the buildpack that declared it
	ownerProperty    = "plimsoll:owner"   // the distribution's package that ships it
	platformProperty = "plimsoll:platform"
	baseProperty     = "plimsoll:baseLayers"
	gapProperty      = "plimsoll:unread"       // a file that could not be read, and why
	unlistedProperty = "plimsoll:unlisted"     // how many files of no package are not listed
	disagreeProperty = "plimsoll:disagreement" // what is declared otherwise, and by whom
)

// Encode gives the bill. Its serial number is made of a hash of all else in it.
func Encode(c artifact.Contents, about bill.About) []byte {
	e := encoder{about: about}
	e.Out = make([]byte, 0, 4096+len(c.Packages)*900+len(c.Files)*500)
	e.Open('{')
	e.Field("bomFormat", "CycloneDX")
	e.Field("specVersion", "1.6")
	e.Number("version", 1)
	e.metadata(c)
	refs := e.components(c)
	e.dependencies(refs)
	e.compositions(c)
	e.Field("serialNumber", serial(e.Out))
	e.Close('}')
	return e.Out
}

type encoder struct {
	bill.Writer
	about bill.About
}

// serial gives a URN of a UUID in version 8, whose bits are the maker's own (RFC 9562,
// section 5.8).
func serial(text []byte) string {
	sum := sha256.Sum256(text)
	sum[6], sum[8] = sum[6]&0x0f|0x80, sum[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

func (e *encoder) metadata(c artifact.Contents) {
	e.Key("metadata")
	e.Open('{')
	e.Field("timestamp", e.about.Stamp())
	e.Key("tools")
	e.Open('{')
	e.Key("components")
	e.Open('[')
	e.Open('{')
	e.Field("type", "application")
	e.Field("name", bill.Tool)
	e.Field("version", e.about.Version)
	e.Close('}')
	e.Close(']')
	e.Close('}')
	e.Key("component")
	e.Open('{')
	e.Field("type", "container")
	e.Field("bom-ref", imageRef)
	e.Field("name", e.about.Name)
	e.Field("version", c.Image)
	e.hashes("", strings.TrimPrefix(c.Image, "sha256:"))
	e.Field("purl", bill.ImageURL(e.about, c))
	e.properties(imageProperties(c))
	e.Close('}')
	e.Close('}')
}

type property struct{ name, value string }

func imageProperties(c artifact.Contents) []property {
	all := []property{{platformProperty, c.Platform}}
	for _, l := range c.Layers {
		all = append(all, property{layerProperty, l})
	}
	if c.BaseLayers > 0 {
		all = append(all, property{baseProperty, fmt.Sprint(c.BaseLayers)})
	}
	for _, g := range c.Gaps {
		all = append(all, property{gapProperty, g.Path + ": " + g.Why})
	}
	if c.Unlisted > 0 {
		all = append(all, property{unlistedProperty, fmt.Sprint(c.Unlisted)})
	}
	for _, d := range c.Disagreements {
		all = append(all, property{disagreeProperty, d.DeclaredBy + ": " + d.Package + ": " + d.Why})
	}
	return all
}

func (e *encoder) properties(all []property) {
	e.Key("properties")
	e.Open('[')
	for _, p := range all {
		if p.value != "" {
			e.Open('{')
			e.Field("name", p.name)
			e.Field("value", p.value)
			e.Close('}')
		}
	}
	e.Close(']')
}

// components writes the distribution, the packages and the files, and gives their refs.
func (e *encoder) components(c artifact.Contents) []string {
	refs := make([]string, 0, 1+len(c.Packages)+len(c.Files))
	e.Key("components")
	e.Open('[')
	if c.Distro.ID != "" {
		refs = append(refs, "os")
		e.Open('{')
		e.Field("type", "operating-system")
		e.Field("bom-ref", "os")
		e.Field("name", c.Distro.ID)
		e.Field("version", c.Distro.Version)
		e.Field("description", c.Distro.Name)
		e.Close('}')
	}
	for _, p := range c.Packages {
		refs = append(refs, e.pkg(p))
	}
	for _, f := range c.Files {
		refs = append(refs, e.file(f))
	}
	e.Close(']')
	return refs
}

func (e *encoder) pkg(p artifact.Package) string {
	url := p.PURL()
	ref := url + "#" + bill.Key(p.Layer, strings.Join(p.Paths, "\n"))
	e.Open('{')
	e.Field("type", kind(p))
	e.Field("bom-ref", ref)
	if p.Supplier != "" {
		e.Key("supplier")
		e.Open('{')
		e.Field("name", p.Supplier)
		e.Close('}')
	}
	e.Field("group", p.Namespace)
	e.Field("name", p.Name)
	e.Field("version", p.Version)
	e.hashes("", p.SHA256)
	e.licenses(p.Licenses)
	e.Field("purl", url)
	properties := []property{{layerProperty, p.Layer}, {ownerProperty, p.Owner}}
	for _, by := range p.FoundBy {
		properties = append(properties, property{foundByProperty, by})
	}
	e.properties(properties)
	if len(p.Paths) > 0 {
		e.Key("evidence")
		e.Open('{')
		e.Key("occurrences")
		e.Open('[')
		for _, path := range p.Paths {
			e.Open('{')
			e.Field("location", path)
			e.Close('}')
		}
		e.Close(']')
		e.Close('}')
	}
	e.Close('}')
	return ref
}

func kind(p artifact.Package) string {
	if p.Type == "generic" {
		return "platform"
	}
	return "library"
}

// licenses writes identifiers, or one expression, or names (CycloneDX 1.6,
// "licenseChoice": a list of licences, or of exactly one expression).
func (e *encoder) licenses(all []string) {
	if len(all) == 0 {
		return
	}
	e.Key("licenses")
	e.Open('[')
	for _, l := range all {
		e.Open('{')
		if _, ok := license.Expression(l); ok && len(all) == 1 && !license.IsID(l) {
			e.Field("expression", l)
			e.Close('}')
			break
		}
		e.Key("license")
		e.Open('{')
		if license.IsID(l) {
			e.Field("id", l)
		} else {
			e.Field("name", l)
		}
		e.Close('}')
		e.Close('}')
	}
	e.Close(']')
}

func (e *encoder) hashes(sha1, sha256 string) {
	if sha1 == "" && sha256 == "" {
		return
	}
	e.Key("hashes")
	e.Open('[')
	for _, h := range [][2]string{{"SHA-1", sha1}, {"SHA-256", sha256}} {
		if h[1] != "" {
			e.Open('{')
			e.Field("alg", h[0])
			e.Field("content", h[1])
			e.Close('}')
		}
	}
	e.Close(']')
}

func (e *encoder) file(f artifact.File) string {
	ref := "file:" + f.Path
	e.Open('{')
	e.Field("type", "file")
	e.Field("bom-ref", ref)
	e.Field("name", f.Path)
	e.hashes(f.SHA1, f.SHA256)
	e.properties([]property{{layerProperty, f.Layer}})
	e.Close('}')
	return ref
}

func (e *encoder) dependencies(refs []string) {
	e.Key("dependencies")
	e.Open('[')
	e.Open('{')
	e.Field("ref", imageRef)
	e.Key("dependsOn")
	e.Open('[')
	for _, ref := range refs {
		e.Text(ref)
	}
	e.Close(']')
	e.Close('}')
	e.Close(']')
}

// compositions says whether the bill is whole (CycloneDX 1.6, "compositions").
func (e *encoder) compositions(c artifact.Contents) {
	aggregate := "unknown" // a library that is linked in leaves no trace
	if len(c.Gaps) > 0 || c.Unlisted > 0 {
		aggregate = "incomplete"
	}
	e.Key("compositions")
	e.Open('[')
	e.Open('{')
	e.Field("aggregate", aggregate)
	e.Key("assemblies")
	e.Open('[')
	e.Text(imageRef)
	e.Close(']')
	e.Close('}')
	e.Close(']')
}
