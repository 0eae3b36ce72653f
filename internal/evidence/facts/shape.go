package facts

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
)

// shape is what a manifest is, told by what is in it. Runtimes in Go read manifests and
// configurations with encoding/json, whatever the case of a name and whatever the type of a
// blob; so does this, lest an image pass for something else.
type shape struct {
	kind     artifact.Kind
	digest   string
	manifest manifest
	config   *v1.ConfigFile // of an image
	layers   []string       // diffIDs
	children []string
}

// manifest is one of an image, of an index or of both: which, its members tell.
type manifest struct {
	MediaType    types.MediaType   `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       *[]v1.Descriptor  `json:"layers"`
	Manifests    *[]v1.Descriptor  `json:"manifests"`
	Annotations  map[string]string `json:"annotations"`
}

func shapeOf(in Input) (shape, error) {
	sum := sha256.Sum256(in.Manifest)
	s := shape{digest: "sha256:" + hex.EncodeToString(sum[:])}
	err := json.Unmarshal(in.Manifest, &s.manifest)
	if err == nil {
		err = unambiguous(in.Manifest, "mediaType", "config", "layers", "manifests")
	}
	if err != nil {
		return s, fmt.Errorf("the manifest is not valid: %w", err)
	}
	m := s.manifest
	served := types.MediaType(in.MediaType)
	if m.MediaType != "" && m.MediaType != served {
		return s, fmt.Errorf("the manifest says that it is %.80q, and the registry that it is %.80q", m.MediaType, served)
	}
	switch isIndex, isManifest := m.Manifests != nil, m.Config != nil || m.Layers != nil; {
	case isIndex && isManifest:
		return s, errors.New("the manifest is an index and an image at once: readers differ in what they take it for")
	case isIndex && served.IsIndex():
		s.kind, s.children = artifact.KindIndex, childrenOf(*m.Manifests)
		return s, nil
	case isManifest && m.Config != nil && served.IsImage():
		return s, s.configured(in.Config)
	}
	return s, fmt.Errorf("the manifest is not shaped as %.80q is", served)
}

// configured reads the configuration. With layers to mount, a runtime starts it: it is an
// image, by whatever media types.
func (s *shape) configured(raw []byte) error {
	sum := sha256.Sum256(raw)
	if want := s.manifest.Config.Digest.String(); want != "sha256:"+hex.EncodeToString(sum[:]) {
		return fmt.Errorf("its configuration is not %s", want)
	}
	s.kind = artifact.KindArtifact
	var probe struct {
		RootFS json.RawMessage `json:"rootfs"`
	}
	if json.Unmarshal(raw, &probe) != nil || len(probe.RootFS) == 0 {
		return nil
	}
	config, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err == nil {
		err = unambiguous(raw, "rootfs", "config", "os", "architecture", "variant")
	}
	if err != nil {
		return fmt.Errorf("its configuration has layers and is not valid: %w", err)
	}
	s.kind, s.config = artifact.KindImage, config
	for _, l := range config.RootFS.DiffIDs {
		s.layers = append(s.layers, l.String())
	}
	return nil
}

// childrenOf gives the digests that an index names, each once. What BuildKit attests stands
// among them for a platform that no runtime has.
func childrenOf(all []v1.Descriptor) []string {
	const kind, attestation = "vnd.docker.reference.type", "attestation-manifest"
	out := []string{}
	for _, d := range all {
		aside := d.Annotations[kind] == attestation && d.Platform != nil && d.Platform.OS == "unknown" && d.Platform.Architecture == "unknown"
		if digest := d.Digest.String(); !aside && !slices.Contains(out, digest) {
			out = append(out, digest)
		}
	}
	return out
}

// facts gives what the manifest and its configuration say.
func (s shape) facts(in Input) artifact.ImageFacts {
	m := s.manifest
	out := artifact.ImageFacts{
		Repository: in.Repository, Digest: s.digest, Tags: slices.Sorted(slices.Values(in.Tags)), Pushed: in.Pushed.UTC(),
		Kind: s.kind, MediaType: in.MediaType, ArtifactType: cut(m.ArtifactType), Annotations: labels(m.Annotations),
	}
	if m.Config != nil {
		out.Size = max(0, m.Config.Size)
		if s.kind == artifact.KindArtifact && out.ArtifactType == "" {
			out.ArtifactType = cut(string(m.Config.MediaType))
		}
	}
	if m.Layers != nil {
		out.Layers = len(*m.Layers)
		for _, l := range *m.Layers {
			if out.Size += max(0, l.Size); out.Size < 0 {
				out.Size = 1<<63 - 1
			}
		}
	}
	if c := s.config; c != nil {
		out.Platform = cut((&v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}).String())
		out.Created = c.Created.UTC()
		out.Labels, out.User = labels(c.Config.Labels), cut(c.Config.User)
		out.Entrypoint, out.Command = texts(c.Config.Entrypoint), texts(c.Config.Cmd)
		out.Ports = listed(slices.Collect(maps.Keys(c.Config.ExposedPorts)))
	}
	return out
}

// labels bounds names and values. What is longer is for machines: those that a lifecycle
// notes take tens of kilobytes in every image.
func labels(all map[string]string) map[string]string {
	if len(all) == 0 {
		return nil
	}
	out := make(map[string]string, len(all))
	for name, value := range all {
		out[cut(name)] = cut(value)
	}
	return out
}

// texts bounds the words of a command.
func texts(all []string) []string {
	out := slices.Clone(all)
	for i := range out {
		out[i] = cut(out[i])
	}
	return out
}
