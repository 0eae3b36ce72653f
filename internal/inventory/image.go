package inventory

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Image is what the index takes of one image of one platform.
type Image struct {
	// Reference is what names it, with registry and repository and a tag or a digest:
	// "registry.example/team/app:1.2", "app@sha256:…". Without either the tag is "latest".
	// A reference names at most one image of each platform at a time.
	Reference string

	Contents artifact.Contents

	Created time.Time // as its config says; zero when that says nothing
	Pushed  time.Time // when the registry got it; zero: now
	Size    int64     // of its config and compressed layers, bytes
	Base    Base
	Source  Source
	Labels  map[string]string // those worth asking for; names and values up to 1 KiB

	Evidence []Evidence
}

// Base is the image that another stands on; the zero Base is none or an unknown one.
type Base struct {
	Name   string `json:"name,omitempty"`   // as the image names it (org.opencontainers.image.base.name)
	Digest string `json:"digest,omitempty"` // of its manifest
}

// Source is where an image's own part comes from.
type Source struct {
	URL      string `json:"url,omitempty"`
	Revision string `json:"revision,omitempty"`
}

// Evidence is one claim about an image and where it lies.
type Evidence struct {
	PredicateType string    `json:"predicateType"`        // as in package artifact
	Digest        string    `json:"digest,omitempty"`     // of the manifest or blob that holds it
	Stored        string    `json:"stored,omitempty"`     // how: "bundle", "tag" or another word
	KeyID         string    `json:"keyID,omitempty"`      // of the key that signed it
	Identity      string    `json:"identity,omitempty"`   // of the signer, where a certificate says so
	VerifiedAt    time.Time `json:"verifiedAt,omitempty"` // zero: nobody verified it, so signed-by does not hold
}

// Bounds of what is kept of one image; what comes from outside can be hostile.
const (
	maxText     = 1 << 10 // bytes of one name, version or label
	maxPaths    = 32      // of one package in one layer
	maxLicences = 16      // of one package
	maxLabels   = 64
	maxEvidence = 256
	maxLayers   = 1 << 10
	maxPackages = 1 << 17
)

// clean gives a text that every database takes, cut to the bound.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	if !utf8.ValidString(s) || strings.Contains(s, "\x00") {
		s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	}
	return s
}

// check refuses an image that cannot be kept whole.
func check(image *Image) error {
	c := image.Contents
	refuse := func(why string) error { return fault.Newf(fault.Usage, "take an image in", image.Reference, why) }
	if repository, _ := splitReference(image.Reference); repository == "" || len(image.Reference) > maxText || clean(image.Reference) != image.Reference {
		return refuse("the reference is not understood")
	}
	if _, err := digestBytes(c.Image); err != nil || c.Image == "" {
		return refuse(fmt.Sprintf("%q is no digest", c.Image))
	}
	if _, err := digestBytes(image.Base.Digest); err != nil {
		return refuse("the base's digest: " + err.Error())
	}
	if len(c.Layers) > maxLayers || len(c.Packages) > maxPackages {
		return refuse("it has more layers or packages than an image can have")
	}
	for _, layer := range c.Layers {
		if d, err := digestBytes(layer); err != nil || len(d) != 32 {
			return refuse(fmt.Sprintf("layer %q is no SHA-256 digest", layer))
		}
	}
	return nil
}

// splitReference gives the repository and the tail, which is ":TAG" or "@DIGEST".
func splitReference(reference string) (repository, tail string) {
	if at := strings.IndexByte(reference, '@'); at >= 0 {
		return reference[:at], reference[at:]
	}
	if colon := strings.LastIndexByte(reference, ':'); colon > strings.LastIndexByte(reference, '/') {
		return reference[:colon], reference[colon:]
	}
	return reference, ":latest"
}

// digestBytes gives the bytes of an OCI digest: 32 for SHA-256, 64 for SHA-512, none for
// "".
func digestBytes(digest string) ([]byte, error) {
	if digest == "" {
		return []byte{}, nil
	}
	algorithm, digits, _ := strings.Cut(digest, ":")
	sum, err := hex.DecodeString(digits)
	switch {
	case err != nil, digits != strings.ToLower(digits):
	case algorithm == "sha256" && len(sum) == 32, algorithm == "sha512" && len(sum) == 64:
		return sum, nil
	}
	return nil, fmt.Errorf("%q is no digest of SHA-256 or SHA-512", clean(digest))
}

// digestText gives back what digestBytes took.
func digestText(sum []byte) string {
	text := make([]byte, 0, len("sha512:")+2*sha512.Size)
	switch len(sum) {
	case sha256.Size:
		text = append(text, "sha256:"...)
	case sha512.Size:
		text = append(text, "sha512:"...)
	default:
		return ""
	}
	return string(hex.AppendEncode(text, sum))
}

// layerBytes joins diffIDs that check has seen.
func layerBytes(layers []string) []byte {
	all := make([]byte, 0, 32*len(layers)) // never nil, which a database takes for NULL
	for _, layer := range layers {
		sum, _ := digestBytes(layer)
		all = append(all, sum...)
	}
	return all
}
