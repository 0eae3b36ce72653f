package facts

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
)

// Builder is a builder that a site knows (SLSA v1.1, "Verifying artifacts": which builder a
// signer may speak for, and what level it is known for).
type Builder struct {
	ID    string   // runDetails.builder.id
	By    []string // keys and identities that may speak for it; nil: any that is trusted
	Level int      // SLSA build level, 0 to 3
}

// OurBuilder gives plimsoll itself, with the level of a machine that nobody calls hosted
// (docs/provenance.md, "platform local").
func OurBuilder() []Builder { return []Builder{{ID: provenance.Platform, Level: 1}} }

// oldProvenance is the predicate type before SLSA v1.0.
const oldProvenance = "https://slsa.dev/provenance/v0.2"

// provenanceOf gives the build and its source, by the verified provenance of the highest
// level, and of those the newest.
func provenanceOf(claims []claim, builders []Builder) (*artifact.ProvenanceFacts, *artifact.SourceFacts) {
	if builders == nil {
		builders = OurBuilder()
	}
	type account struct {
		build  artifact.ProvenanceFacts
		source *artifact.SourceFacts
	}
	var best *account
	for _, c := range claims {
		var read func(claim) (artifact.ProvenanceFacts, *artifact.SourceFacts, error)
		switch c.kind {
		case artifact.PredicateProvenance:
			read = readProvenance
		case oldProvenance:
			read = readOldProvenance
		default:
			continue
		}
		build, source, err := read(c)
		if err != nil || build.Builder == "" {
			continue // as if there were none
		}
		build.By, build.Level = c.by, levelOf(builders, build.Builder, c.by)
		if best == nil || cmp.Or(cmp.Compare(build.Level, best.build.Level), build.Finished.Compare(best.build.Finished)) > 0 {
			best = &account{build, source}
		}
	}
	if best == nil {
		return nil, nil
	}
	return &best.build, best.source
}

// Finished gives when the newest build that verified SLSA Provenance v1 tells of ended; zero where
// none says. An image that is built again to the same digest is as new as its provenance.
func Finished(r attest.Report) time.Time {
	var newest time.Time
	for _, c := range claimsOf(r) {
		if c.kind != artifact.PredicateProvenance {
			continue
		}
		if build, _, err := readProvenance(c); err == nil && build.Finished.After(newest) {
			newest = build.Finished
		}
	}
	return newest
}

// levelOf gives 0 for a builder that nobody knows, or for which the signer may not speak.
func levelOf(builders []Builder, id, by string) int {
	level := 0
	for _, b := range builders {
		if b.ID == id && (b.By == nil || slices.Contains(b.By, by)) {
			level = max(level, min(b.Level, 3))
		}
	}
	return level
}

// resource is a ResourceDescriptor of in-toto, or a material of SLSA v0.2.
type resource struct {
	Name        string            `json:"name"`
	URI         string            `json:"uri"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]any    `json:"annotations"`
}

// readProvenance reads SLSA Provenance v1.
func readProvenance(c claim) (artifact.ProvenanceFacts, *artifact.SourceFacts, error) {
	var p struct {
		BuildDefinition struct {
			BuildType            string          `json:"buildType"`
			ExternalParameters   json.RawMessage `json:"externalParameters"`
			ResolvedDependencies []resource      `json:"resolvedDependencies"`
		} `json:"buildDefinition"`
		RunDetails struct {
			Builder struct {
				ID string `json:"id"`
			} `json:"builder"`
			Metadata struct {
				StartedOn  time.Time `json:"startedOn"`
				FinishedOn time.Time `json:"finishedOn"`
			} `json:"metadata"`
		} `json:"runDetails"`
	}
	if err := c.read(&p); err != nil {
		return artifact.ProvenanceFacts{}, nil, err
	}
	d, m := p.BuildDefinition, p.RunDetails.Metadata
	build := artifact.ProvenanceFacts{Builder: cut(p.RunDetails.Builder.ID), BuildType: cut(d.BuildType), Started: m.StartedOn.UTC(), Finished: m.FinishedOn.UTC()}
	at := slices.IndexFunc(d.ResolvedDependencies, func(r resource) bool { return r.Name == "source" })
	if at < 0 {
		at = slices.IndexFunc(d.ResolvedDependencies, func(r resource) bool { return strings.HasPrefix(r.URI, "git+") })
	}
	if at < 0 {
		return build, nil, nil
	}
	source := sourceOf(d.ResolvedDependencies[at])
	switch d.BuildType {
	case provenance.BuildType:
		var asked provenance.BuildParameters
		if err := json.Unmarshal(d.ExternalParameters, &asked); err != nil {
			return build, nil, err
		}
		source.Kind, source.Ref = kindOf(d.ResolvedDependencies[at]), cmp.Or(source.Ref, cut(asked.Source.Ref))
	case provenance.RebaseType:
		var asked provenance.RebaseParameters
		if err := json.Unmarshal(d.ExternalParameters, &asked); err != nil || asked.Vouched {
			return build, nil, err // what the image said of its source nobody who is trusted had signed
		}
		source.Kind = kindOf(d.ResolvedDependencies[at])
	}
	return build, source, nil
}

// readOldProvenance reads SLSA Provenance v0.2.
func readOldProvenance(c claim) (artifact.ProvenanceFacts, *artifact.SourceFacts, error) {
	var p struct {
		Builder struct {
			ID string `json:"id"`
		} `json:"builder"`
		BuildType  string `json:"buildType"`
		Invocation struct {
			ConfigSource resource `json:"configSource"`
		} `json:"invocation"`
		Metadata struct {
			Started  time.Time `json:"buildStartedOn"`
			Finished time.Time `json:"buildFinishedOn"`
		} `json:"metadata"`
	}
	if err := c.read(&p); err != nil {
		return artifact.ProvenanceFacts{}, nil, err
	}
	build := artifact.ProvenanceFacts{Builder: cut(p.Builder.ID), BuildType: cut(p.BuildType), Started: p.Metadata.Started.UTC(), Finished: p.Metadata.Finished.UTC()}
	if p.Invocation.ConfigSource.URI == "" {
		return build, nil, nil
	}
	return build, sourceOf(p.Invocation.ConfigSource), nil
}

// sourceOf reads what names a source: its address may end in "@REF", and a commit is called
// gitCommit, or sha1 by older tools.
func sourceOf(r resource) *artifact.SourceFacts {
	s := &artifact.SourceFacts{}
	s.URL, s.Ref = addressOf(r.URI)
	commit := cmp.Or(r.Digest["gitCommit"], r.Digest["sha1"])
	file := r.Digest["sha256"]
	switch {
	case commit != "":
		s.Revision, s.Clean = cut(commit), true
	case file != "":
		s.Revision, s.Clean = "sha256:"+cut(file), true
	}
	if r.Annotations["clean"] == "false" {
		s.Revision, s.Clean = "", false
	}
	return s
}

// kindOf tells the kinds of source apart that our own provenance names (docs/provenance.md,
// "build v1").
func kindOf(r resource) string {
	switch {
	case r.Annotations["basedOnCommit"] != nil, r.URI == "":
		return string(artifact.DirectorySource)
	case r.Digest["gitCommit"] != "":
		return string(artifact.GitSource)
	case strings.HasPrefix(r.URI, "oci://"):
		return string(artifact.ImageSource)
	case r.Digest["sha256"] != "":
		return string(artifact.ArchiveSource)
	}
	return string(artifact.DirectorySource)
}

// addressOf gives an address as people write it, without password and query, and the ref
// behind it.
func addressOf(uri string) (address, ref string) {
	uri = strings.TrimPrefix(uri, "git+")
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || strings.ContainsFunc(uri, unicode.IsControl) {
		return "", ""
	}
	u.Path, ref, _ = strings.Cut(u.Path, "@")
	u.RawPath, u.RawQuery, u.Fragment, u.RawFragment = "", "", "", ""
	if u.User != nil {
		u.User = url.User(u.User.Username())
		if u.Scheme != "ssh" {
			u.User = nil // a token may stand where a name does
		}
	}
	return cut(u.String()), cut(ref)
}
