package pod

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Repository makes Images in one repository of a registry. Layers are there as they are,
// uncompressed, so that a layer's digest is its diffID: whoever has pushed it, it is found
// again without any list.
type Repository struct {
	registries   *oci.Registries
	push, pull   string
	architecture string
	agent        []byte // a layer's tar
	agentID      v1.Hash

	mu    sync.Mutex
	busy  map[string]chan struct{} // tags that are looked for or pushed; closed when done
	made  map[string]v1.Hash       // manifests by their tags
	sizes map[v1.Hash]int64        // of layers whose content was seen to be what their names say
}

// NewRepository gives the Images of the repository that this process knows as push and nodes
// as pull, both without a tag: "" is the same. agent is the path of the agent's program for
// the architecture.
func NewRepository(registries *oci.Registries, push, pull, agent, architecture string) (*Repository, error) {
	if pull == "" {
		pull = push
	}
	for _, name := range []string{push, pull} {
		if _, err := oci.ParseTag(name + ":steps"); err != nil {
			return nil, err
		}
	}
	program, err := readAgent(agent, architecture)
	if err != nil {
		return nil, fault.New(fault.NotFound, "read the agent of pods", agent, err).WithHint("build it with: make bin/agent")
	}
	r := &Repository{
		registries: registries, push: push, pull: pull, architecture: architecture,
		busy: map[string]chan struct{}{}, made: map[string]v1.Hash{}, sizes: map[v1.Hash]int64{},
	}
	if r.agent, err = agentLayer(program); err != nil {
		return nil, fault.New(fault.Failed, "read the agent of pods", agent, err)
	}
	r.agentID, _, err = v1.SHA256(bytes.NewReader(r.agent))
	return r, err
}

// readAgent reads a program that needs nothing but itself.
func readAgent(path, architecture string) ([]byte, error) {
	program, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, err
	}
	machines := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}
	if file.Machine != machines[architecture] {
		return nil, fmt.Errorf("it is for %s, not for %s", file.Machine, architecture)
	}
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		return nil, fmt.Errorf("it is not static: it needs %s", strings.Join(libraries, ", "))
	}
	return program, nil
}

// agentLayer gives the layer that holds the agent and nothing else.
func agentLayer(program []byte) ([]byte, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(AgentPath, "/"), Mode: 0o555, Size: int64(len(program))}); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	return layer.Bytes(), w.Close()
}

// Ref gives the reference of the image with these layers, which is pushed when it is not
// there; see Images.
func (r *Repository) Ref(ctx context.Context, layers []executor.Layer) (string, error) {
	tag := r.tag(layers)
	done, err := r.take(ctx, tag)
	if err != nil {
		return "", err
	}
	defer done()
	digest, err := r.ensure(ctx, tag, layers)
	if err != nil {
		return "", err
	}
	return r.pull + "@" + digest.String(), nil
}

// take waits until nobody else makes the image.
func (r *Repository) take(ctx context.Context, tag string) (done func(), err error) {
	for {
		r.mu.Lock()
		other := r.busy[tag]
		if other == nil {
			mine := make(chan struct{})
			r.busy[tag] = mine
			r.mu.Unlock()
			return func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				delete(r.busy, tag)
				close(mine)
			}, nil
		}
		r.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, fault.New(fault.Canceled, "push the image of a step", r.push, ctx.Err())
		}
	}
}

// tag names the image by all that is in it.
func (r *Repository) tag(layers []executor.Layer) string {
	sum := sha256.New()
	fmt.Fprintln(sum, r.architecture, r.agentID)
	for _, l := range layers {
		fmt.Fprintln(sum, l.DiffID)
	}
	return "step-" + hex.EncodeToString(sum.Sum(nil))
}

// ensure gives the digest of an image that is in the registry now.
func (r *Repository) ensure(ctx context.Context, tag string, layers []executor.Layer) (v1.Hash, error) {
	to, err := oci.ParseTag(r.push + ":" + tag)
	if err != nil {
		return v1.Hash{}, err
	}
	session := r.registries.Session()
	if digest, ok := r.known(tag); ok {
		if _, err := session.Head(ctx, to.At(digest)); err == nil {
			return digest, nil
		}
	}
	digest, ok := r.find(ctx, session, to, layers)
	if !ok {
		if digest, err = r.put(ctx, session, to, layers); err != nil {
			return v1.Hash{}, err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made[tag] = digest
	return digest, nil
}

func (r *Repository) known(tag string) (v1.Hash, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	digest, ok := r.made[tag]
	return digest, ok
}

// find gives the image that an earlier process has pushed, if it is one of just these layers.
func (r *Repository) find(ctx context.Context, session *oci.Session, to oci.Reference, layers []executor.Layer) (v1.Hash, bool) {
	found, err := session.Manifest(ctx, to)
	if err != nil || found.Image == nil || len(found.Image.Layers) != len(layers)+1 {
		return v1.Hash{}, false
	}
	for i, l := range found.Image.Layers {
		want := r.agentID.String()
		if i < len(layers) {
			want = layers[i].DiffID
		}
		if l.Digest.String() != want || l.MediaType != types.OCIUncompressedLayer {
			return v1.Hash{}, false
		}
	}
	return found.Digest, true
}

// put pushes the image: layers first, then what names them.
func (r *Repository) put(ctx context.Context, session *oci.Session, to oci.Reference, layers []executor.Layer) (v1.Hash, error) {
	config := v1.ConfigFile{OS: "linux", Architecture: r.architecture, RootFS: v1.RootFS{Type: "layers"}}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1}
	agent := executor.Layer{
		DiffID: r.agentID.String(),
		Open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(r.agent)), nil },
	}
	for _, l := range append(append([]executor.Layer{}, layers...), agent) {
		blob, err := r.putLayer(ctx, session, to, l)
		if err != nil {
			return v1.Hash{}, err
		}
		manifest.Layers = append(manifest.Layers, blob)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, blob.Digest)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return v1.Hash{}, err
	}
	manifest.Config = v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(raw))}
	if manifest.Config.Digest, _, err = v1.SHA256(bytes.NewReader(raw)); err != nil {
		return v1.Hash{}, err
	}
	if _, err := session.PutBlob(ctx, to, raw); err != nil {
		return v1.Hash{}, err
	}
	if raw, err = json.Marshal(manifest); err != nil {
		return v1.Hash{}, err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err == nil {
		_, err = session.PutManifest(ctx, to, manifest.MediaType, raw)
	}
	return digest, err
}

// putLayer pushes a layer whose content is what its name says.
func (r *Repository) putLayer(ctx context.Context, session *oci.Session, to oci.Reference, l executor.Layer) (v1.Descriptor, error) {
	digest, err := v1.NewHash(l.DiffID)
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := r.measure(ctx, digest, l)
	if err != nil {
		return v1.Descriptor{}, err
	}
	blob := v1.Descriptor{MediaType: types.OCIUncompressedLayer, Digest: digest, Size: size}
	_, err = session.PutStream(ctx, to, blob, l.Open)
	return blob, err
}

// measure gives a layer's size, after reading it once.
func (r *Repository) measure(ctx context.Context, digest v1.Hash, l executor.Layer) (int64, error) {
	r.mu.Lock()
	size, ok := r.sizes[digest]
	r.mu.Unlock()
	if ok {
		return size, nil
	}
	in, err := l.Open()
	if err != nil {
		return 0, fault.New(fault.KindOf(err), "open layer", l.DiffID, err)
	}
	defer in.Close()
	got, size, err := v1.SHA256(reading{ctx, in})
	if err != nil {
		return 0, fault.New(fault.KindOf(err), "read layer", l.DiffID, err)
	}
	if got != digest {
		return 0, fault.Newf(fault.Denied, "push layer", l.DiffID, "its content is "+got.String()).
			WithHint("the layer is damaged or made to do harm: build or fetch the image again")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sizes[digest] = size
	return size, nil
}

// reading ends with its context.
type reading struct {
	ctx context.Context
	in  io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}
