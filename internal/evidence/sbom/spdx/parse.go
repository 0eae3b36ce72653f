package spdx

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/purl"
)

// Parse gives the packages of an SPDX 2.x document in JSON that have a package URL, sorted
// by it; each once. The text's own size bounds its cost.
func Parse(text []byte) ([]artifact.Package, error) {
	var head struct {
		Version string `json:"spdxVersion"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(head.Version, "SPDX-2.") {
		return nil, fmt.Errorf("it is no SPDX 2 document: its spdxVersion is %q", head.Version)
	}
	var all []artifact.Package
	err := bill.Each(text, "packages", func(raw json.RawMessage) error {
		var d described
		if err := json.Unmarshal(raw, &d); err != nil {
			return err
		}
		if p, ok := d.pkg(); ok {
			all = append(all, p)
		}
		return nil
	})
	return bill.Sorted(all), err
}

// described is what is read of a package (SPDX 2.3, section 7).
type described struct {
	Version  string `json:"versionInfo"`
	Declared string `json:"licenseDeclared"`
	Purpose  string `json:"primaryPackagePurpose"`
	Supplier string `json:"supplier"`
	Refs     []struct {
		Type    string `json:"referenceType"`
		Locator string `json:"referenceLocator"`
	} `json:"externalRefs"`
}

func (d described) pkg() (artifact.Package, bool) {
	at := slices.IndexFunc(d.Refs, func(r struct {
		Type    string `json:"referenceType"`
		Locator string `json:"referenceLocator"`
	}) bool {
		return r.Type == "purl"
	})
	if at < 0 || d.Purpose == "CONTAINER" {
		return artifact.Package{}, false
	}
	p, ok := purl.Parse(d.Refs[at].Locator)
	if !ok {
		return p, false
	}
	if expression, ok := license.Expression(d.Declared); ok {
		p.Licenses = []string{expression}
	}
	if _, name, ok := strings.Cut(d.Supplier, ": "); ok {
		p.Supplier = name
	}
	return p, true
}
