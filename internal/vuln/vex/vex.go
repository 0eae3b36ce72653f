// Package vex takes findings and OpenVEX documents and gives the findings with those
// suppressed that somebody has looked at and found not to count.
//
// The format is OpenVEX v0.2.0 (github.com/openvex/spec). A document is a claim: whose
// documents are read is the caller's to decide.
package vex

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Document is one OpenVEX document.
type Document struct {
	From       string // the file or attestation that it was read from
	Author     string
	Written    time.Time // when it was last updated
	Version    int
	Statements []Statement
}

// Newest gives of several documents of one signer about one image the one that counts: the
// last that was written, and of those of one time the highest version. The others it
// replaces, for a registry keeps them and anybody can attach them again: what a newer one
// leaves out is withdrawn. There are several where nothing tells them apart.
func Newest(documents []*Document) []*Document {
	var newest []*Document
	for _, d := range documents {
		order := -1
		if len(newest) > 0 {
			order = cmp.Or(newest[0].Written.Compare(d.Written), cmp.Compare(newest[0].Version, d.Version))
		}
		switch {
		case order < 0:
			newest = []*Document{d}
		case order == 0:
			newest = append(newest, d)
		}
	}
	return newest
}

// Status is what a statement says (OpenVEX v0.2.0, "Status Labels").
type Status string

// The statuses. The first two suppress a finding.
const (
	NotAffected        Status = "not_affected"
	Fixed              Status = "fixed"
	Affected           Status = "affected"
	UnderInvestigation Status = "under_investigation"
)

// Statement says how one vulnerability concerns some products.
type Statement struct {
	Names         []string // of the vulnerability
	Products      []Product
	Time          time.Time
	Status        Status
	Justification string // one of OpenVEX's words, or ""
	Note          string // the impact statement, else the notes on the status
}

// Product is an image or a package, and the parts of it that a statement is about: none
// are all.
type Product struct {
	Component
	Parts []Component
}

// Component names software by any of its identifiers. One that has none of these is
// something that nothing here is.
type Component struct {
	PURLs  []packageurl.PackageURL
	SHA256 []string // hexadecimal
}

// Image is what findings are about: the contents, and every name a product may have.
type Image struct {
	Contents artifact.Contents

	// Digests are those by which the image is known besides its own manifest's: its index's.
	Digests []string

	// Repository is "registry.example/team/app", to be found as pkg:oci/app with that
	// repository_url where a product has no digest; "" is found by digest only.
	Repository string
}

// Load reads the file.
func Load(path string) (*Document, error) {
	f, err := os.Open(path)
	if err != nil {
		kind := fault.Failed
		if errors.Is(err, fs.ErrNotExist) {
			kind = fault.NotFound
		}
		return nil, fault.New(kind, "read VEX document", path, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil {
		return nil, fault.New(fault.Failed, "read VEX document", path, err)
	}
	return Parse(data, path, "")
}

// Apply gives a copy of the findings in which those are suppressed that the newest
// statement about them says do not count. Of two statements of one time, the one that
// suppresses less is heard.
func Apply(findings []artifact.Finding, image Image, documents []*Document) []artifact.Finding {
	byName := map[string][]said{}
	for _, d := range documents {
		for i := range d.Statements {
			for _, name := range d.Statements[i].Names {
				byName[name] = append(byName[name], said{&d.Statements[i], d})
			}
		}
	}
	out := slices.Clone(findings)
	for i := range out {
		f := &out[i]
		about := subject{image: image, p: f.Package}
		var newest said
		for _, name := range append([]string{f.ID}, f.Aliases...) {
			for _, s := range byName[name] {
				if s.after(newest) && about.concerns(s.statement) {
					newest = s
				}
			}
		}
		if newest.statement != nil {
			f.Suppressed = newest.suppression()
		}
	}
	return out
}

// said is a statement and who made it.
type said struct {
	statement *Statement
	document  *Document
}

func (s said) after(other said) bool {
	if other.statement == nil {
		return true
	}
	if order := s.statement.Time.Compare(other.statement.Time); order != 0 {
		return order > 0
	}
	return !s.suppresses() && other.suppresses()
}

func (s said) suppresses() bool {
	return s.statement.Status == NotAffected || s.statement.Status == Fixed
}

func (s said) suppression() *artifact.Suppression {
	if !s.suppresses() {
		return nil
	}
	return &artifact.Suppression{
		Status: string(s.statement.Status), Justification: s.statement.Justification,
		Statement: s.statement.Note, Author: s.document.Author, From: s.document.From,
	}
}
