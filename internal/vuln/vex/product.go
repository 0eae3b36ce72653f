package vex

import (
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
)

// subject is a package in an image, which a statement may be about.
type subject struct {
	image Image
	p     artifact.Package
	purl  *packageurl.PackageURL // p's, once it was asked for
}

// concerns says whether the statement is about the package in the image: a part of the image,
// the package itself, or a part of another package that the image has.
func (s *subject) concerns(statement *Statement) bool {
	return slices.ContainsFunc(statement.Products, func(product Product) bool {
		if len(product.Parts) == 0 {
			return s.image.is(product.Component) || s.is(product.Component)
		}
		if !slices.ContainsFunc(product.Parts, s.is) {
			return false
		}
		return s.image.is(product.Component) || slices.ContainsFunc(s.image.Contents.Packages, func(whole artifact.Package) bool {
			return isWithin(s.p, whole) && (&subject{p: whole}).is(product.Component)
		})
	})
}

// is says whether the component is the package: its package URL in whole, or one that leaves
// parts of it open, such as the version.
func (s *subject) is(c Component) bool {
	if len(c.PURLs) == 0 {
		return false
	}
	if s.purl == nil {
		purl, err := packageurl.FromString(s.p.PURL())
		if err != nil {
			return false
		}
		s.purl = &purl
	}
	has := s.purl.Qualifiers.Map()
	return slices.ContainsFunc(c.PURLs, func(said packageurl.PackageURL) bool {
		if said.Type != s.purl.Type || said.Namespace != s.purl.Namespace || said.Name != s.purl.Name {
			return false
		}
		if said.Version != "" && strings.TrimPrefix(said.Version, "v") != strings.TrimPrefix(s.purl.Version, "v") {
			return false
		}
		return !slices.ContainsFunc(said.Qualifiers, func(q packageurl.Qualifier) bool { return has[q.Key] != q.Value })
	})
}

// isWithin says whether all files that tell of p are the other's, or inside them: a Go
// program and its modules, a jar and those in it. What is elsewhere in the image, too, is
// not only a part.
func isWithin(p, other artifact.Package) bool {
	return len(p.Paths) > 0 && !slices.ContainsFunc(p.Paths, func(path string) bool {
		return !slices.ContainsFunc(other.Paths, func(whole string) bool {
			rest, inside := strings.CutPrefix(path, whole)
			return inside && (rest == "" || strings.ContainsAny(rest[:1], "/!:"))
		})
	})
}

// is says whether the component is the image.
func (image Image) is(c Component) bool {
	digests := append([]string{image.Contents.Image}, image.Digests...)
	if slices.ContainsFunc(c.SHA256, func(sum string) bool { return slices.Contains(digests, "sha256:"+sum) }) {
		return true
	}
	return slices.ContainsFunc(c.PURLs, func(purl packageurl.PackageURL) bool {
		switch {
		case purl.Type != packageurl.TypeOCI:
			return false
		case purl.Version != "":
			return slices.Contains(digests, purl.Version)
		}
		return image.isNamed(purl)
	})
}

// isNamed says whether the package URL without a digest names the image's repository
// (purl-spec, types/oci). A name in any registry, or a tag, which moves, is no image.
func (image Image) isNamed(purl packageurl.PackageURL) bool {
	qualifiers := purl.Qualifiers.Map()
	url := qualifiers["repository_url"]
	if image.Repository == "" || url == "" || qualifiers["tag"] != "" {
		return false
	}
	return image.Repository == url && strings.HasSuffix(url, "/"+purl.Name) || image.Repository == url+"/"+purl.Name
}
