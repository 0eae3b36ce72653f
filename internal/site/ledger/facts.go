package ledger

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/source"
)

// named gives the image of a reference by its repository, its tag and the digest after "@".
func named(reference string) provenance.Image {
	name, digest, _ := strings.Cut(reference, "@")
	ref, err := oci.Parse(name)
	if err != nil {
		return provenance.Image{Repository: name, Digest: digest} // what somebody else wrote into a label
	}
	image := provenance.Image{Repository: ref.Repository(), Digest: digest}
	if strings.HasSuffix(name, ":"+ref.Identifier()) {
		image.Tag = ref.Identifier()
	}
	return image
}

// FactsOfBuild gives how an application's image was built, from what was asked for and what
// the platform noted on the image.
func FactsOfBuild(asked source.Options, request build.Request, result *build.Result, built build.Built) (provenance.Build, error) {
	manifest, err := built.Image.Manifest()
	if err != nil {
		return provenance.Build{}, err
	}
	used := manifest.Annotations[build.BuilderAnnotation]
	name, _, _ := strings.Cut(used, "@")
	var bindings []string
	for _, b := range request.Settings.Bindings {
		bindings = append(bindings, b.Name)
	}
	config, err := built.Image.ConfigFile()
	if err != nil {
		return provenance.Build{}, err
	}
	var metadata cnb.BuildMetadata
	if err := cnb.DecodeLabel(config, cnb.BuildMetadataLabel, &metadata); err != nil {
		return provenance.Build{}, err
	}
	declared, raised := overridden(result.Overrides)
	return provenance.Build{
		Parameters: provenance.BuildParameters{
			Source:      provenance.SourceParameters{URI: result.Source.URL(), Ref: asked.Ref, Subpath: asked.Subpath},
			Platform:    "linux/" + built.Architecture,
			Builder:     name,
			RunImage:    request.RunImage,
			Buildpacks:  request.Settings.Buildpacks,
			Environment: slices.Sorted(maps.Keys(request.Settings.Environment)),
			Bindings:    slices.Sorted(slices.Values(bindings)),
			Network:     network(request.Settings),
			Process:     request.Settings.Process,
			Overrides:   declared,
		},
		Source:     result.Source,
		Builder:    named(used),
		RunImage:   named(built.RunImage),
		Internal:   provenance.BuildDetails{Buildpacks: built.Buildpacks, Raised: raised},
		Byproducts: byproducts(built),
		Lifecycle:  metadata.Launcher.Version,
	}, nil
}

// overridden gives the overrides that bore on a source, and what they raised in it as far as its
// lock files tell.
func overridden(all []build.Overridden) (declared []provenance.Override, raised []provenance.Raised) {
	for _, o := range all {
		declared = append(declared, provenance.Override{
			Name: o.Name, Ecosystem: o.Ecosystem, Package: o.Package, Version: o.To, Major: o.Major, Reason: o.Reason, Advisories: o.Advisories,
		})
		if len(o.From) > 0 {
			raised = append(raised, provenance.Raised{Override: o.Name, Ecosystem: o.Ecosystem, Package: o.Package, From: o.From, To: o.To})
		}
	}
	return declared, raised
}

// network names the network of the build step as the command line does.
func network(s build.Settings) string {
	if s.Offline {
		return "none"
	}
	return "host"
}

// byproducts names the layers that a build made, by what is in each: what the image
// consists of beside its base.
func byproducts(built build.Built) []provenance.Resource {
	var out []provenance.Resource
	for _, l := range built.Layers {
		algorithm, hex, ok := strings.Cut(l.Digest, ":")
		if !ok {
			continue
		}
		out = append(out, provenance.Resource{Name: LayerName(l), Digest: map[string]string{algorithm: hex}})
	}
	return out
}

// FactsOfBase gives how a base was composed. Who served the archive and where its keyring
// lies is this machine's business, and an address may hold credentials; what was served is
// known by its signed hashes.
func FactsOfBase(spec *v1alpha1.BaseImage, result *base.Result, i int, locked bool) (provenance.Base, error) {
	told := spec.Spec
	told.Archive.Mirror, told.Archive.Mirrors, told.Archive.Keyring = "", nil, ""
	text, err := json.Marshal(told)
	if err != nil {
		return provenance.Base{}, fmt.Errorf("encode spec: %w", err)
	}
	facts := provenance.Base{Parameters: provenance.BaseParameters{
		Spec: text, Platform: "linux/" + result.Images[i].Architecture, Locked: locked,
	}}
	for _, set := range result.Lock.Images {
		if set.Architecture != result.Images[i].Architecture {
			continue
		}
		for _, p := range set.Packages {
			facts.Packages = append(facts.Packages, provenance.DebianPackage{Name: p.Name, Version: p.Version, Arch: p.Architecture, SHA256: p.SHA256})
		}
	}
	return facts, nil
}

// FactsOfBuilder gives what a builder was made of, as the image itself says, and what it was held against.
func FactsOfBuilder(name string, built builder.Built) (provenance.Builder, error) {
	read, err := builder.Read(name, built.Image)
	if err != nil {
		return provenance.Builder{}, err
	}
	facts := provenance.Builder{Parameters: provenance.BuilderParameters{Platform: "linux/" + built.Architecture}}
	if o := read.Origin; o != nil {
		facts.Parameters.Build, facts.Build = o.Build.Image, named(o.Build.Image+"@"+o.Build.Digest)
	}
	for _, run := range built.Run {
		facts.Parameters.Run = append(facts.Parameters.Run, run.Image)
		facts.Run = append(facts.Run, named(run.Image+"@"+run.Digest))
	}
	for _, b := range read.Buildpacks {
		facts.Parameters.Buildpacks = append(facts.Parameters.Buildpacks, cnb.FullName(b.ID, b.Version))
		part := provenance.Resource{Name: cnb.FullName(b.ID, b.Version)}
		if algorithm, hex, ok := strings.Cut(read.Layers[b.ID][b.Version].LayerDiffID, ":"); ok {
			part.Digest = map[string]string{algorithm: hex}
		}
		facts.Parts = append(facts.Parts, part)
	}
	return facts, nil
}

// factsOfRebase gives how an image came onto its new base.
func factsOfRebase(moved rebase.Moved, image rebase.MovedImage) provenance.Rebase {
	from := named(moved.Name.String())
	from.Digest = image.From.Digest.String()
	to := named(image.Change.RunImage)
	_, to.Digest, _ = strings.Cut(image.Change.To, "@")
	return provenance.Rebase{
		Image: from, From: named(image.Change.From), To: to, Forced: image.Change.Forced,
		Source: sourceOnImage(image.Manifest.Annotations),
	}
}

// sourceOnImage gives what the annotations of an image say of its source.
func sourceOnImage(annotations map[string]string) provenance.Resource {
	r := provenance.Resource{Name: "source", URI: annotations[build.SourceAnnotation], Digest: map[string]string{}}
	if hex, ok := strings.CutPrefix(annotations[build.SourceDigestAnnotation], "sha256:"); ok {
		r.Digest["plimsollTree1"] = hex
	}
	if revision := annotations[build.RevisionAnnotation]; revision != "" {
		r.Annotations = map[string]string{"revision": revision}
	}
	return r
}

// LayerName says what is in a layer that a build made, and who made it.
func LayerName(l build.Layer) string {
	if l.Buildpack == "" {
		return l.Name
	}
	return l.Name + " (" + l.Buildpack + ")"
}
