package report

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/CycloneDX/cyclonedx-go"

	"plimsoll.dev/plimsoll/artifact"
)

// WriteCycloneDX writes the scan as a vulnerability exploitability exchange (CycloneDX 1.6,
// "VEX"): the packages that are affected, the vulnerabilities, and what VEX statements say
// of them. A vulnerability is there once for each package, for they are judged one by one.
func WriteCycloneDX(w io.Writer, s Scan) error {
	bom := cyclonedx.NewBOM()
	bom.SpecVersion = cyclonedx.SpecVersion1_6
	bom.JSONSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"
	bom.Metadata = &cyclonedx.Metadata{
		Tools:     &cyclonedx.ToolsChoice{Components: &[]cyclonedx.Component{{Type: cyclonedx.ComponentTypeApplication, Name: "plimsoll", Version: s.Version}}},
		Component: &cyclonedx.Component{BOMRef: s.Contents.Image, Type: cyclonedx.ComponentTypeContainer, Name: cmp.Or(s.Reference, s.Contents.Image), Version: s.Contents.Image},
	}
	if !s.Finished.IsZero() {
		bom.Metadata.Timestamp = s.Finished.UTC().Format(time.RFC3339)
	}
	if lines := s.Incomplete(); len(lines) > 0 {
		var properties []cyclonedx.Property
		for _, line := range lines {
			properties = append(properties, cyclonedx.Property{Name: "plimsoll:incomplete", Value: line})
		}
		bom.Metadata.Properties = &properties
	}
	components := map[string]cyclonedx.Component{}
	vulnerabilities := []cyclonedx.Vulnerability{}
	seen := map[string]int{} // by reference: a package may be in several places
	for i := range s.Findings {
		f := &s.Findings[i]
		purl := f.Package.PURL()
		components[purl] = component(f.Package, purl)
		v := vulnerability(f, purl)
		switch at, known := seen[v.BOMRef]; {
		case !known:
			seen[v.BOMRef] = len(vulnerabilities)
			vulnerabilities = append(vulnerabilities, v)
		case f.Suppressed == nil:
			vulnerabilities[at] = v // what counts in one place counts
		}
	}
	list := make([]cyclonedx.Component, 0, len(components))
	for _, c := range components {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b cyclonedx.Component) int { return cmp.Compare(a.BOMRef, b.BOMRef) })
	bom.Components, bom.Vulnerabilities = &list, &vulnerabilities
	return cyclonedx.NewBOMEncoder(w, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
}

func component(p artifact.Package, purl string) cyclonedx.Component {
	return cyclonedx.Component{BOMRef: purl, Type: cyclonedx.ComponentTypeLibrary, Group: p.Namespace, Name: p.Name, Version: p.Version, PackageURL: purl}
}

func vulnerability(f *artifact.Finding, purl string) cyclonedx.Vulnerability {
	v := cyclonedx.Vulnerability{
		BOMRef: f.ID + "#" + purl, ID: f.ID, Description: f.Summary, Source: &cyclonedx.Source{Name: f.Source},
		Ratings: &[]cyclonedx.VulnerabilityRating{rating(f)}, Analysis: analysis(f),
		Affects: &[]cyclonedx.Affects{{Ref: purl, Range: &[]cyclonedx.AffectedVersions{{Version: f.Package.Version, Status: status(f)}}}},
	}
	if len(f.Aliases) > 0 {
		references := make([]cyclonedx.VulnerabilityReference, 0, len(f.Aliases))
		for _, alias := range f.Aliases {
			references = append(references, cyclonedx.VulnerabilityReference{ID: alias, Source: &cyclonedx.Source{Name: f.Source}})
		}
		v.References = &references
	}
	if !f.Published.IsZero() {
		v.Published = f.Published.Format(time.RFC3339)
	}
	if f.Fixed != "" {
		v.Recommendation = fmt.Sprintf("Update to %s: %s.", f.Fixed, f.Remedy)
	}
	properties := []cyclonedx.Property{{Name: "plimsoll:state", Value: f.State}, {Name: "plimsoll:remedy", Value: string(f.Remedy)}}
	if f.KnownExploited {
		properties = append(properties, cyclonedx.Property{Name: "plimsoll:knownExploited", Value: "true"})
	}
	if f.EPSS > 0 {
		properties = append(properties, cyclonedx.Property{Name: "plimsoll:epss", Value: fmt.Sprint(f.EPSS)})
	}
	v.Properties = &properties
	return v
}

func rating(f *artifact.Finding) cyclonedx.VulnerabilityRating {
	r := cyclonedx.VulnerabilityRating{Severity: cyclonedx.Severity(f.Severity)} // the words are the same
	if f.Vector == "" {
		return r
	}
	r.Score, r.Vector = &f.Score, f.Vector
	switch {
	case strings.HasPrefix(f.Vector, "CVSS:4.0/"):
		r.Method = cyclonedx.ScoringMethodCVSSv4
	case strings.HasPrefix(f.Vector, "CVSS:3.1/"):
		r.Method = cyclonedx.ScoringMethodCVSSv31
	case strings.HasPrefix(f.Vector, "CVSS:3.0/"):
		r.Method = cyclonedx.ScoringMethodCVSSv3
	default:
		r.Method = cyclonedx.ScoringMethodCVSSv2
	}
	return r
}

func status(f *artifact.Finding) cyclonedx.VulnerabilityStatus {
	if f.Suppressed != nil {
		return cyclonedx.VulnerabilityStatusNotAffected
	}
	return cyclonedx.VulnerabilityStatusAffected
}

// analysis says what is known of the impact: what VEX says, else that nobody has looked at
// it. OpenVEX's own word stays in the detail, for not all have a counterpart.
func analysis(f *artifact.Finding) *cyclonedx.VulnerabilityAnalysis {
	a := &cyclonedx.VulnerabilityAnalysis{State: cyclonedx.IASInTriage}
	if f.Fixed != "" {
		a.Response = &[]cyclonedx.ImpactAnalysisResponse{cyclonedx.IARUpdate}
	}
	s := f.Suppressed
	if s == nil {
		return a
	}
	a = &cyclonedx.VulnerabilityAnalysis{State: cyclonedx.IASNotAffected}
	if s.Status == "fixed" {
		a.State = cyclonedx.IASResolved
	}
	switch s.Justification {
	case "component_not_present", "vulnerable_code_not_present":
		a.Justification = cyclonedx.IAJCodeNotPresent
	case "vulnerable_code_not_in_execute_path":
		a.Justification = cyclonedx.IAJCodeNotReachable
	case "inline_mitigations_already_exist":
		a.Justification = cyclonedx.IAJProtectedByMitigatingControl
	}
	said := slices.DeleteFunc([]string{s.Justification, s.Statement, s.Author}, func(s string) bool { return s == "" })
	a.Detail = strings.Join(said, ": ")
	return a
}
