// Package provenance takes how an image came about and gives the predicate that says so:
// SLSA Provenance v1 (slsa.dev/spec/v1.0/provenance), by one of the build types that
// docs/provenance.md describes. It is written outside of every sandbox, from what the
// platform itself saw; nothing in it comes from a build step.
package provenance

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"plimsoll.dev/plimsoll/artifact"
)

// The build types: each names its schema in docs/provenance.md.
const (
	BuildType   = "https://plimsoll.dev/provenance#build-v1"
	RebaseType  = "https://plimsoll.dev/provenance#rebase-v1"
	BaseType    = "https://plimsoll.dev/provenance#base-v1"
	BuilderType = "https://plimsoll.dev/provenance#builder-v1"
)

// Platform is the builder's identity (runDetails.builder.id): plimsoll on a machine its
// user trusts, with steps confined in a sandbox.
const Platform = "https://plimsoll.dev/provenance#platform-local"

// Run is one run of the platform.
type Run struct {
	ID                string            // of the invocation; unique
	Started, Finished time.Time         // by this machine's clock
	Versions          map[string]string // of the platform's parts: "plimsoll", "lifecycle"
}

// Resource is a thing a build took in or left behind besides its image: a
// ResourceDescriptor of in-toto (spec/v1/resource_descriptor.md).
type Resource struct {
	Name        string            `json:"name,omitempty"`
	URI         string            `json:"uri,omitempty"`
	Digest      map[string]string `json:"digest,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Image is a container image by name and digest.
type Image struct {
	Repository string // with its host, if it is not in the local store
	Tag        string // as it was asked for; "" when by digest
	Digest     string // "sha256:…"
}

// resource names the image by its package URL (purl-spec, PURL-TYPES, oci).
func (i Image) resource(role string) Resource {
	qualifiers := map[string]string{"repository_url": i.Repository}
	if i.Tag != "" {
		qualifiers["tag"] = i.Tag
	}
	short := strings.ToLower(i.Repository[strings.LastIndexByte(i.Repository, '/')+1:])
	purl := packageurl.NewPackageURL(packageurl.TypeOCI, "", short, i.Digest, packageurl.QualifiersFromMap(qualifiers), "")
	return Resource{Name: role, URI: purl.ToString(), Digest: digestSet(i.Digest)}
}

// digestSet reads "algorithm:hex".
func digestSet(digest string) map[string]string {
	algorithm, hex, ok := strings.Cut(digest, ":")
	if !ok {
		return nil
	}
	return map[string]string{algorithm: hex}
}

// sourceResource names the source. A path of this machine is never told; the tree's own
// digest is (docs/sources.md), under a name that nobody takes for a file's hash.
func sourceResource(s artifact.Source) Resource {
	r := Resource{Name: "source", URI: s.URL(), Digest: map[string]string{}}
	if hex, ok := strings.CutPrefix(s.Digest, "sha256:"); ok {
		r.Digest["plimsollTree1"] = hex
	}
	switch {
	case s.Revision == "":
	case strings.HasPrefix(s.Revision, "sha256:"):
		r.Digest["sha256"] = strings.TrimPrefix(s.Revision, "sha256:")
	default:
		r.Digest["gitCommit"] = s.Revision
		if r.URI != "" && !strings.HasPrefix(r.URI, "git") {
			r.URI = "git+" + r.URI
		}
	}
	if s.Kind == artifact.DirectorySource && s.Revision != "" && !s.Clean {
		// What was built is not that commit: only the tree's digest tells what was.
		delete(r.Digest, "gitCommit")
		r.Annotations = map[string]string{"basedOnCommit": s.Revision, "clean": "false"}
	}
	return r
}

// predicate is the JSON of SLSA Provenance v1.
type predicate struct {
	BuildDefinition struct {
		BuildType            string     `json:"buildType"`
		ExternalParameters   any        `json:"externalParameters"`
		InternalParameters   any        `json:"internalParameters,omitempty"`
		ResolvedDependencies []Resource `json:"resolvedDependencies,omitempty"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version,omitempty"`
		} `json:"builder"`
		Metadata struct {
			InvocationID string    `json:"invocationId,omitempty"`
			StartedOn    time.Time `json:"startedOn,omitzero"`
			FinishedOn   time.Time `json:"finishedOn,omitzero"`
		} `json:"metadata"`
		Byproducts []Resource `json:"byproducts,omitempty"`
	} `json:"runDetails"`
}

// encode gives the predicate's JSON.
func (run Run) encode(buildType string, external, internal any, dependencies, byproducts []Resource) (json.RawMessage, error) {
	var p predicate
	p.BuildDefinition.BuildType = buildType
	p.BuildDefinition.ExternalParameters = external
	p.BuildDefinition.InternalParameters = internal
	p.BuildDefinition.ResolvedDependencies = dependencies
	p.RunDetails.Builder.ID = Platform
	p.RunDetails.Builder.Version = run.Versions
	p.RunDetails.Metadata.InvocationID = run.ID
	p.RunDetails.Metadata.StartedOn = run.Started.UTC().Truncate(time.Millisecond)
	p.RunDetails.Metadata.FinishedOn = run.Finished.UTC().Truncate(time.Millisecond)
	p.RunDetails.Byproducts = byproducts
	return json.Marshal(p)
}
