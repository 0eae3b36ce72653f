package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest is the largest manifest taken, in bytes (OCI distribution-spec 1.1,
// "Pushing Manifests": at least 4 MiB).
const maxManifest = 4 << 20

const (
	mediaTypeDockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	mediaTypeDockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// manifest is what the registry has to know of a manifest or index of any kind.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Manifests     []v1.Descriptor   `json:"manifests"`
	Blobs         []v1.Descriptor   `json:"blobs"`
	Subject       *v1.Descriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// parseManifest reads a manifest. It refuses one in which a key occurs twice, or twice
// but for its case: readers differ in which of the two they take, and then what is
// verified is not what is run, and what is collected may still be needed.
func parseManifest(content []byte) (*manifest, error) {
	m := &manifest{}
	if err := json.Unmarshal(content, m); err != nil {
		return nil, err
	}
	if err := checkKeys(content); err != nil {
		return nil, err
	}
	if m.Subject != nil {
		if err := m.Subject.Digest.Validate(); err != nil {
			return nil, fmt.Errorf("subject: %w", err)
		}
	}
	return m, nil
}

// kind gives the media type: the manifest's own, else what its shape says.
func (m *manifest) kind() string {
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil:
		return v1.MediaTypeImageIndex
	}
	return v1.MediaTypeImageManifest
}

// plain says that this is an OCI image, of which there is nothing to be asked but that its
// parts be there.
func (m *manifest) plain(contentType string) bool {
	if contentType == "" {
		contentType = m.kind()
	}
	if contentType != v1.MediaTypeImageManifest || m.MediaType != "" && m.MediaType != contentType ||
		m.SchemaVersion != 2 || m.Config == nil || m.Manifests != nil || m.Blobs != nil {
		return false
	}
	for _, d := range m.blobs() {
		if len(d.URLs) > 0 || slices.Contains(manifestKinds, d.MediaType) || d.Digest.Validate() != nil {
			return false
		}
	}
	return true
}

// algorithm gives the one by which the manifest names its parts, and so itself when it is
// pushed by tag; the canonical one when its parts do not agree or there are none.
func (m *manifest) algorithm() digest.Algorithm {
	alg := digest.Algorithm("")
	for _, d := range m.needs() {
		if d.Validate() != nil || alg != "" && alg != d.Algorithm() {
			return digest.Canonical
		}
		alg = d.Algorithm()
	}
	if alg == "" {
		return digest.Canonical
	}
	return alg
}

// needs gives the digests of all that the manifest refers to, but for its subject.
func (m *manifest) needs() []digest.Digest {
	var all []digest.Digest
	for _, d := range append(m.blobs(), m.Manifests...) {
		all = append(all, d.Digest)
	}
	return all
}

// blobs gives what the manifest refers to that is not a manifest itself.
func (m *manifest) blobs() []v1.Descriptor {
	var all []v1.Descriptor
	if m.Config != nil {
		all = append(all, *m.Config)
	}
	all = append(all, m.Layers...)
	return append(all, m.Blobs...)
}

// referrer gives the descriptor under which the manifest is listed with its subject
// (OCI distribution-spec 1.1, "Listing Referrers").
func (m *manifest) referrer(d digest.Digest, size int64) v1.Descriptor {
	desc := v1.Descriptor{
		MediaType: m.kind(), Digest: d, Size: size,
		ArtifactType: m.ArtifactType, Annotations: m.Annotations,
	}
	if desc.ArtifactType == "" && m.Config != nil {
		desc.ArtifactType = m.Config.MediaType
	}
	return desc
}

const maxDepth = 64

// object is one that checkKeys is within; an array has no keys.
type object struct {
	keys  map[string]bool
	fold  bool // its keys are compared without their case
	atKey bool
	last  string
}

// checkKeys gives an error for JSON, known to be valid, that is not an object, or in
// which an object has two keys that some reader takes for one.
func checkKeys(content []byte) error {
	if text := bytes.TrimLeft(content, " \t\r\n"); len(text) == 0 || text[0] != '{' {
		return errors.New("not a JSON object")
	}
	within := []*object{{fold: true}}
	for i := 0; i < len(content); i++ {
		top := within[len(within)-1]
		switch content[i] {
		case '{', '[':
			if len(within) > maxDepth {
				return errors.New("nested too deeply")
			}
			inner := &object{fold: top.fold && top.last != "annotations"} // those keys are data
			if content[i] == '{' {
				inner.keys, inner.atKey = map[string]bool{}, true
			}
			within = append(within, inner)
		case '}', ']':
			within = within[:len(within)-1]
		case ',':
			top.atKey = top.keys != nil
		case '"':
			end := stringEnd(content, i)
			if top.atKey {
				if err := top.add(content[i : end+1]); err != nil {
					return err
				}
			}
			i = end
		}
	}
	return nil
}

// stringEnd gives where the string that begins at i has its closing quote.
func stringEnd(content []byte, i int) int {
	for i++; content[i] != '"'; i++ {
		if content[i] == '\\' {
			i++
		}
	}
	return i
}

func (o *object) add(quoted []byte) error {
	key := string(quoted[1 : len(quoted)-1])
	if strings.ContainsRune(key, '\\') || !utf8.ValidString(key) {
		if err := json.Unmarshal(quoted, &key); err != nil {
			return err
		}
	}
	folded := key
	if o.fold {
		folded = foldKey(key)
	}
	if o.keys[folded] {
		return fmt.Errorf("key %q occurs twice", key)
	}
	o.keys[folded], o.atKey, o.last = true, false, key
	return nil
}

// foldKey gives what encoding/json compares of a key: it takes "layer\u017f" for "layers".
func foldKey(key string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r - 'a' + 'A'
		}
		if r < utf8.RuneSelf {
			return r
		}
		least := r
		for n := unicode.SimpleFold(r); n != r; n = unicode.SimpleFold(n) {
			least = min(least, n)
		}
		return least
	}, key)
}
