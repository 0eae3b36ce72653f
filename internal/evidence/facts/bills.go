package facts

import (
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/cyclonedx"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
)

// formats are the kinds of bills that are read, with the types that their predicates begin with.
func formats() []format {
	return []format{
		{"cyclonedx", artifact.PredicateCycloneDX, cyclonedx.Parse},
		{"spdx", artifact.PredicateSPDX, spdx.Parse},
	}
}

type format struct {
	name, predicate string
	parse           func([]byte) ([]artifact.Package, error)
}

// is says whether a predicate type is of the format, with or without a version behind it.
func (f format) is(kind string) bool {
	rest, ok := strings.CutPrefix(kind, f.predicate)
	return ok && (rest == "" || strings.HasPrefix(rest, "/"))
}

// sbomOf holds all verified bills together against what the layers hold; nil when there is
// none. One that cannot be read names nothing.
func sbomOf(known *Bills, claims []claim, c artifact.Contents) *artifact.SBOMFacts {
	out := &artifact.SBOMFacts{Formats: []string{}, Complete: len(c.Gaps) == 0}
	bills := 0
	named := map[string]artifact.Package{}
	for _, f := range formats() {
		for _, claim := range claims {
			if !f.is(claim.kind) {
				continue
			}
			bills++
			packages, err := known.parse(f, claim.predicate)
			if err != nil {
				continue
			}
			if !slices.Contains(out.Formats, f.name) {
				out.Formats = append(out.Formats, f.name)
			}
			out.Packages = max(out.Packages, len(packages))
			for _, p := range packages {
				named[sameName(p)+"@"+sameVersion(p)] = p
			}
		}
	}
	if bills == 0 {
		return nil
	}
	out.Unlisted, out.Absent = differences(named, c.Packages)
	return out
}

// differences gives the packages of the layers that no bill names, and those that a bill
// names, of kinds that would have been found, and the layers do not hold.
func differences(named map[string]artifact.Package, found []artifact.Package) (unlisted, absent []string) {
	here := map[string]bool{}
	for _, p := range found {
		name := sameName(p)
		key := name + "@" + sameVersion(p)
		here[key], here[name+"@"] = true, true
		if _, listed := named[key]; !listed {
			unlisted = append(unlisted, p.PURL())
		}
	}
	for key, p := range named {
		if !here[key] && slices.Contains(readTypes(), p.Type) {
			absent = append(absent, p.PURL())
		}
	}
	return listed(unlisted), listed(absent)
}

// readTypes are the kinds of packages that are found in layers wherever they are.
func readTypes() []string {
	return []string{"apk", "cargo", "composer", "deb", "gem", "golang", "maven", "npm", "nuget", "pypi", "rpm"}
}

// sameName gives one spelling for all that stand for the same package: bills of others
// differ in qualifiers and in what their ecosystem does not tell apart.
func sameName(p artifact.Package) string {
	name := p.Namespace + "/" + p.Name
	if p.Type == "pypi" {
		name = artifact.AdvisorySpelling("PyPI", p.Name)
	}
	return p.Type + "/" + strings.ToLower(name)
}

func sameVersion(p artifact.Package) string {
	if p.Type == "golang" {
		return strings.TrimPrefix(strings.TrimPrefix(p.Version, "go"), "v")
	}
	return p.Version
}
