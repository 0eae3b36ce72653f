package extract

import (
	"encoding/json"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/purl"
)

// parseSyft reads syft's own form, of which a package's URL is enough.
func parseSyft(text []byte) ([]artifact.Package, error) {
	var all []artifact.Package
	err := bill.Each(text, "artifacts", func(raw json.RawMessage) error {
		var one struct {
			PURL string `json:"purl"`
		}
		if err := json.Unmarshal(raw, &one); err != nil {
			return err
		}
		if p, ok := purl.Parse(one.PURL); ok {
			all = append(all, p)
		}
		return nil
	})
	return bill.Sorted(all), err
}
