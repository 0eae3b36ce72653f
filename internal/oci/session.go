package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/singleflight"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Annotations of layer descriptors in the manifests of bases, and of the images on them:
// with them two can be compared without reading a layer.
const (
	LayerAnnotation    = "dev.plimsoll.base.layer"    // the layer's name, the same over versions
	PackagesAnnotation = "dev.plimsoll.base.packages" // "name=version", separated by spaces
)

// A Session reads and writes many manifests and small blobs with as few requests as will
// do: it keeps connections and tokens, and remembers which blobs a repository holds. It
// is for commands that touch thousands of images; its memory does not grow with them.
type Session struct {
	registries *Registries

	logins singleflight.Group

	mu           sync.Mutex
	hosts        map[string]*client
	repositories map[string]*repository
}

// Session opens a session. It needs no closing.
func (r *Registries) Session() *Session {
	return &Session{registries: r, hosts: map[string]*client{}, repositories: map[string]*repository{}}
}

// Limits of what is read into memory.
const (
	maxManifest       = 8 << 20 // bytes; registries accept 4 MiB
	maxConfig         = 8 << 20 // bytes
	knownRepositories = 256     // more than workers touch at once
)

// Manifest is a manifest as it was read: an image's or an index's.
type Manifest struct {
	v1.Descriptor // media type, digest, size
	Raw           []byte
	Image         *v1.Manifest      // nil for an index
	Index         *v1.IndexManifest // nil for an image
}

// At gives a reference to the manifest or blob of that digest in the same repository.
func (r Reference) At(digest v1.Hash) Reference {
	return Reference{r.Context().Digest(digest.String())}
}

// Repository gives the name of the reference's repository as a user writes it.
func (r Reference) Repository() string { return strings.TrimPrefix(r.Context().Name(), localHost+"/") }

// Manifest reads the manifest that the reference names, and checks its digest.
func (s *Session) Manifest(ctx context.Context, ref Reference) (Manifest, error) {
	m, err := s.manifest(ctx, ref)
	return m, wrap("read image", ref, err)
}

func (s *Session) manifest(ctx context.Context, ref Reference) (Manifest, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return Manifest{}, err
	}
	answer, err := repo.do(ctx, http.MethodGet, "manifests/"+ref.Identifier(), request{accept: manifestTypes, limit: maxManifest})
	if err != nil {
		return Manifest{}, err
	}
	m, err := parseManifest(answer.header.Get("Content-Type"), answer.body)
	if err != nil {
		return Manifest{}, err
	}
	if want, ok := ref.Reference.(name.Digest); ok && want.DigestStr() != m.Digest.String() {
		return Manifest{}, bad("the registry gave %s instead", m.Digest)
	}
	if m.Image != nil {
		repo.learn(append(slices.Clone(m.Image.Layers), m.Image.Config)...)
	}
	return m, nil
}

// manifestTypes is the Accept header for manifests of every kind.
const manifestTypes = string(types.OCIManifestSchema1 + ", " + types.OCIImageIndex + ", " + types.DockerManifestSchema2 + ", " + types.DockerManifestList)

// parseManifest reads a manifest. Its own mediaType counts before the header's.
func parseManifest(contentType string, raw []byte) (Manifest, error) {
	image := &v1.Manifest{} // an index has the same head
	if err := json.Unmarshal(raw, image); err != nil {
		return Manifest{}, bad("the manifest is not valid: %v", err)
	}
	kind := image.MediaType
	if kind == "" {
		kind = types.MediaType(contentType)
	}
	digest, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Descriptor: v1.Descriptor{MediaType: kind, Digest: digest, Size: size}, Raw: raw}
	switch {
	case kind.IsImage():
		m.Image = image
	case kind.IsIndex():
		m.Index = &v1.IndexManifest{}
		err = json.Unmarshal(raw, m.Index)
	default:
		return m, bad("it is neither an image nor an index, but %q", kind)
	}
	return m, err
}

// Head gives the digest of what the reference names now.
func (s *Session) Head(ctx context.Context, ref Reference) (v1.Hash, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return v1.Hash{}, wrap("read image", ref, err)
	}
	answer, err := repo.do(ctx, http.MethodHead, "manifests/"+ref.Identifier(), request{accept: manifestTypes})
	if err != nil {
		return v1.Hash{}, wrap("read image", ref, err)
	}
	if digest, err := v1.NewHash(answer.header.Get("Docker-Content-Digest")); err == nil {
		return digest, nil
	}
	m, err := s.Manifest(ctx, ref) // a registry may leave the header out
	return m.Digest, err
}

// Config reads the configuration that a manifest of the repository names, and checks its
// digest.
func (s *Session) Config(ctx context.Context, ref Reference, manifest *v1.Manifest) (*v1.ConfigFile, error) {
	file, err := s.config(ctx, ref, manifest.Config)
	return file, wrap("read image", ref, err)
}

func (s *Session) config(ctx context.Context, ref Reference, d v1.Descriptor) (*v1.ConfigFile, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return nil, err
	}
	answer, err := repo.do(ctx, http.MethodGet, "blobs/"+d.Digest.String(), request{limit: maxConfig})
	if err != nil {
		return nil, err
	}
	if got, _, err := v1.SHA256(bytes.NewReader(answer.body)); err != nil || got != d.Digest {
		return nil, bad("the registry gave other bytes than %s", d.Digest)
	}
	file, err := v1.ParseConfigFile(bytes.NewReader(answer.body))
	if err != nil {
		return nil, bad("the configuration is not valid: %v", err)
	}
	return file, nil
}

// Copy brings a blob of one repository to another that may hold it already: by a mount
// where both are in one registry, else by sending it. It gives the bytes that were sent.
func (s *Session) Copy(ctx context.Context, to, from Reference, blob v1.Descriptor) (int64, error) {
	sent, err := s.copy(ctx, to, from, blob)
	return sent, wrap("push layer", to, err)
}

func (s *Session) copy(ctx context.Context, to, from Reference, blob v1.Descriptor) (int64, error) {
	repo, err := s.repository(ctx, to)
	if err != nil {
		return 0, err
	}
	if repo.knows(blob.Digest) || len(blob.URLs) > 0 { // layers with addresses of their own are not pushed
		return 0, nil
	}
	var sent int64 // by this caller; others who wait for the same blob sent nothing
	_, err, _ = repo.flights.Do(blob.Digest.Hex, func() (_ any, err error) {
		if repo.knows(blob.Digest) {
			return nil, nil
		}
		if sent, err = s.bring(ctx, repo, from, blob); err == nil {
			repo.learn(blob)
		}
		return nil, err
	})
	return sent, err
}

// bring mounts the blob, or finds it there, or sends it.
func (s *Session) bring(ctx context.Context, to *repository, source Reference, blob v1.Descriptor) (int64, error) {
	from := source.Context()
	if to.name.RegistryStr() == from.RegistryStr() && to.name != from {
		if to.mount(ctx, blob.Digest, from.RepositoryStr()) {
			return 0, nil
		}
	}
	if there, err := to.has(ctx, blob.Digest); there || err != nil {
		return 0, err
	}
	holder, err := s.repository(ctx, source)
	if err != nil {
		return 0, err
	}
	return blob.Size, to.upload(ctx, blob, func() (io.ReadCloser, error) { return holder.open(ctx, blob.Digest) })
}

// PutBlob writes a blob of a few kilobytes, such as a configuration, to the reference's
// repository. It gives the bytes that were sent.
func (s *Session) PutBlob(ctx context.Context, to Reference, data []byte) (int64, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(data))
	if err != nil {
		return 0, wrap("push blob", to, err)
	}
	return s.PutDescribed(ctx, to, v1.Descriptor{Digest: digest, Size: size}, data)
}

// PutDescribed is PutBlob for who knows the data's digest and size already.
func (s *Session) PutDescribed(ctx context.Context, to Reference, blob v1.Descriptor, data []byte) (int64, error) {
	repo, err := s.repository(ctx, to)
	if err != nil || repo.knows(blob.Digest) {
		return 0, wrap("push blob", to, err)
	}
	if err := repo.upload(ctx, blob, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }); err != nil {
		return blob.Size, wrap("push blob", to, err)
	}
	repo.learn(blob)
	return blob.Size, nil
}

// PutManifest writes a manifest to the reference: a tag moves to it, a digest must be
// its own. All that it names must be there. It gives the bytes that were sent.
func (s *Session) PutManifest(ctx context.Context, to Reference, mediaType types.MediaType, raw []byte) (int64, error) {
	repo, err := s.repository(ctx, to)
	if err == nil {
		_, err = repo.do(ctx, http.MethodPut, "manifests/"+to.Identifier(), request{contentType: string(mediaType), data: raw})
	}
	return int64(len(raw)), wrap("push image", to, err)
}

// repository gives what the session knows of the reference's repository, at first how to
// log in.
func (s *Session) repository(ctx context.Context, ref Reference) (*repository, error) {
	key := ref.Context().Name()
	if repo := s.known(key); repo != nil {
		return repo, nil
	}
	made, err, _ := s.logins.Do(key, func() (any, error) {
		if repo := s.known(key); repo != nil {
			return repo, nil
		}
		repo := &repository{name: ref.Context(), held: map[string]bool{}}
		var err error
		if repo.reads, repo.writes, err = s.clients(ctx, ref); err == nil {
			s.keep(key, repo)
		}
		return repo, err
	})
	if err != nil {
		return nil, err
	}
	return made.(*repository), nil
}

func (s *Session) known(key string) *repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.repositories[key]
}

// keep remembers the repository, and forgets another when there are many: what is asked
// twice is only slower.
func (s *Session) keep(key string, repo *repository) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for other := range s.repositories {
		if len(s.repositories) < knownRepositories {
			break
		}
		delete(s.repositories, other)
	}
	s.repositories[key] = repo
}

// bad is a fault of what a registry gave, which asking again will not mend.
func bad(format string, args ...any) error {
	return &fault.Error{What: fmt.Sprintf(format, args...)}
}
