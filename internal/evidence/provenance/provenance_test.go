package provenance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"plimsoll.dev/plimsoll/artifact"
)

const digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var (
	started = time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC)
	run     = Run{ID: "42", Started: started, Finished: started.Add(1500 * time.Millisecond), Versions: map[string]string{"plimsoll": "1.2.3"}}
	source  = artifact.Source{Kind: artifact.GitSource, Location: "https://git.example/shop", Revision: strings.Repeat("ab", 20), Digest: digest, Clean: true}
)

// TestPredicatesAreSLSA reads each predicate with in-toto's own types and rules.
func TestPredicatesAreSLSA(t *testing.T) {
	image := Image{Repository: "registry.example/team/Shop", Tag: "1", Digest: digest}
	tests := []struct {
		name string
		made interface {
			Predicate(Run) (json.RawMessage, error)
		}
		buildType    string
		dependencies []string // names, or URIs without one
	}{
		{"build", Build{Parameters: BuildParameters{Platform: "linux/amd64", Builder: "builder:1", Network: "none"}, Lifecycle: "0.21.17", Source: source, Builder: image, RunImage: image}, BuildType, []string{"source", "builder", "runImage"}},
		{"rebase", Rebase{Image: image, From: image, To: image, Source: sourceResource(source)}, RebaseType, []string{"rebasedFrom", "runImage", "previousRunImage", "source"}},
		{"rebase of unknown source", Rebase{Image: image, From: image, To: image}, RebaseType, []string{"rebasedFrom", "runImage", "previousRunImage"}},
		{"base", Base{Parameters: BaseParameters{Spec: json.RawMessage(`{"packages":["libc6"]}`)}, Packages: []DebianPackage{{"libc6", "2.41-12", "amd64", digest[7:]}}}, BaseType, []string{"pkg:deb/debian/libc6@2.41-12?arch=amd64"}},
		{"builder", Builder{Parameters: BuilderParameters{Build: "build:1", Run: []string{"run:1"}, Platform: "linux/amd64"}, Build: image, Run: []Image{image}, Parts: []Resource{{Name: "lifecycle", Digest: digestSet(digest)}}}, BuilderType, []string{"buildImage", "runImage", "lifecycle"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			raw, err := test.made.Predicate(run)
			if err != nil {
				t.Fatal(err)
			}
			var read slsa.Provenance
			if err := protojson.Unmarshal(raw, &read); err != nil {
				t.Fatalf("%v in %s", err, raw)
			}
			if err := read.Validate(); err != nil {
				t.Errorf("%v in %s", err, raw)
			}
			if got := read.GetBuildDefinition().GetBuildType(); got != test.buildType {
				t.Errorf("build type %q, want %q", got, test.buildType)
			}
			var names []string
			for _, d := range read.GetBuildDefinition().GetResolvedDependencies() {
				if d.GetName() == "" {
					names = append(names, d.GetUri())
				} else {
					names = append(names, d.GetName())
				}
			}
			if diff := cmp.Diff(test.dependencies, names); diff != "" {
				t.Errorf("dependencies (-want +got):\n%s", diff)
			}
			if got := read.GetRunDetails().GetMetadata().GetFinishedOn().AsTime(); !got.Equal(run.Finished) {
				t.Errorf("finished on %s, want %s", got, run.Finished)
			}
		})
	}
}

func TestSourceResource(t *testing.T) {
	commit := strings.Repeat("ab", 20)
	tree := map[string]string{"plimsollTree1": digest[7:]}
	with := func(key, value string) map[string]string {
		return map[string]string{"plimsollTree1": digest[7:], key: value}
	}
	tests := []struct {
		name, reason string
		source       artifact.Source
		want         Resource
	}{
		{"git", "a commit is known by its id", source,
			Resource{Name: "source", URI: "git+https://git.example/shop", Digest: with("gitCommit", commit)}},
		{"a plain folder", "its path is nobody's business", artifact.Source{Kind: artifact.DirectorySource, Location: "/home/ann/shop", Digest: digest},
			Resource{Name: "source", Digest: tree}},
		{"a clean work tree", "it is its commit", artifact.Source{Kind: artifact.DirectorySource, Location: "/home/ann/shop", Origin: "ssh://git@git.example/shop", Revision: commit, Digest: digest, Clean: true},
			Resource{Name: "source", URI: "git+ssh://git@git.example/shop", Digest: with("gitCommit", commit)}},
		{"an edited work tree", "it is not its commit", artifact.Source{Kind: artifact.DirectorySource, Location: "/home/ann/shop", Origin: "https://git.example/shop", Revision: commit, Digest: digest},
			Resource{Name: "source", URI: "git+https://git.example/shop", Digest: tree, Annotations: map[string]string{"basedOnCommit": commit, "clean": "false"}}},
		{"an archive", "the file's own hash", artifact.Source{Kind: artifact.ArchiveSource, Location: "https://dl.example/shop.tgz", Revision: digest, Digest: digest, Clean: true},
			Resource{Name: "source", URI: "https://dl.example/shop.tgz", Digest: with("sha256", digest[7:])}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, sourceResource(test.source)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.reason, diff)
			}
		})
	}
}

func TestImageByPackageURL(t *testing.T) {
	got := Image{Repository: "registry.example/team/Shop", Tag: "1", Digest: digest}.resource("runImage").URI
	want := "pkg:oci/shop@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855?repository_url=registry.example%2Fteam%2FShop&tag=1"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
