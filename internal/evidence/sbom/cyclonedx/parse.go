package cyclonedx

import (
	"encoding/json"
	"errors"
	"fmt"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/license"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/purl"
)

// maxDepth is how deep components may lie in each other.
const maxDepth = 8

// Parse gives the packages of a CycloneDX bill in JSON, of any version, that have a package
// URL, sorted by it; each once. The text's own size bounds its cost.
func Parse(text []byte) ([]artifact.Package, error) {
	var head struct {
		Format string `json:"bomFormat"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	if head.Format != "CycloneDX" {
		return nil, fmt.Errorf("it is no CycloneDX bill: its bomFormat is %q", head.Format)
	}
	var all []artifact.Package
	err := components(text, 1, &all)
	return bill.Sorted(all), err
}

// component is what is read of one (CycloneDX 1.6, "components").
type component struct {
	Type     string `json:"type"`
	PURL     string `json:"purl"`
	Supplier struct {
		Name string `json:"name"`
	} `json:"supplier"`
	Licenses   json.RawMessage `json:"licenses"`
	Components json.RawMessage `json:"components"`
}

// components reads those that the object in text has, and those in them.
func components(text []byte, depth int, into *[]artifact.Package) error {
	if depth > maxDepth {
		return errors.New("components lie too deep in each other")
	}
	return bill.Each(text, "components", func(raw json.RawMessage) error {
		var c component
		if err := json.Unmarshal(raw, &c); err != nil {
			return err
		}
		if p, ok := purl.Parse(c.PURL); ok && c.Type != "file" && c.Type != "container" {
			p.Licenses, p.Supplier = licenses(c.Licenses), c.Supplier.Name
			if len(*into) == bill.MaxEntries {
				return fmt.Errorf("there are more than %d", bill.MaxEntries)
			}
			*into = append(*into, p)
		}
		if len(c.Components) == 0 || string(c.Components) == "null" {
			return nil
		}
		return components(raw, depth+1, into)
	})
}

// licenses reads a list of licences, each by its identifier, its name or an expression.
func licenses(raw json.RawMessage) []string {
	var list []struct {
		License struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"license"`
		Expression string `json:"expression"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var all []string
	for _, l := range list {
		for _, text := range []string{l.License.ID, l.License.Name, l.Expression} {
			if text = license.Of(text); text != "" {
				all = append(all, text)
				break
			}
		}
	}
	return all
}
