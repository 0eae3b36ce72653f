package build

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Names of images in the layout folder that the lifecycle sees in place of registries.
const (
	layoutHost     = "layout.invalid"
	layoutRun      = layoutHost + "/run:latest"
	layoutPrevious = layoutHost + "/previous:latest"
	layoutApp      = layoutHost + "/app:latest"
)

// inLayout gives the folder of the image "host/name:tag" below the layout folder (CNB
// platform.md, "OCI layout": registry/repository/tag).
func inLayout(dir, name string) string {
	host, rest := filepath.Split(name)
	repository, tag, _ := strings.Cut(rest, ":")
	return filepath.Join(dir, host, repository, tag)
}

// writeSparse writes the image's manifest and configuration as an OCI layout, and of its
// layers only those in blobs. The lifecycle asks for no more: what it does not change, it
// refers to.
func writeSparse(dir string, image v1.Image, blobs ...v1.Layer) error {
	manifest, err := image.RawManifest()
	if err != nil {
		return err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return err
	}
	descriptor, err := descriptorOf(image)
	if err != nil {
		return err
	}
	configName, err := image.ConfigName()
	if err != nil {
		return err
	}
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{descriptor}})
	if err != nil {
		return err
	}
	sums := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(sums, 0o755); err != nil {
		return err
	}
	for path, data := range map[string][]byte{
		filepath.Join(dir, "oci-layout"):           []byte(`{"imageLayoutVersion":"1.0.0"}`),
		filepath.Join(dir, "index.json"):           index,
		filepath.Join(sums, descriptor.Digest.Hex): manifest,
		filepath.Join(sums, configName.Hex):        config,
	} {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	for _, layer := range blobs {
		if err := writeBlob(sums, layer); err != nil {
			return err
		}
	}
	return nil
}

func descriptorOf(image v1.Image) (v1.Descriptor, error) {
	mediaType, err := image.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := image.Size()
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}, err
}

func writeBlob(sums string, layer v1.Layer) error {
	digest, err := layer.Digest()
	if err != nil {
		return err
	}
	r, err := layer.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := os.Create(filepath.Join(sums, digest.Hex))
	if err != nil {
		return err
	}
	_, err = f.ReadFrom(r)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return err
}

// exported is what the exporter left in the layout folder.
type exported struct {
	config *v1.ConfigFile
	layers []v1.Layer // those on top of the run image, bottom first; nil where the exporter wrote none
}

// sound says what is in a folder beside folders and files. The lifecycle of the builder
// wrote there, and a builder may be anybody's.
func sound(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !d.Type().IsRegular() {
			err = fmt.Errorf("the lifecycle left %q, which is no file", d.Name())
		}
		return err
	})
}

// maxDocument bounds an index, a manifest and a configuration, in bytes.
const maxDocument = 16 << 20

// bounded says that a document in the layout is too large to be read.
func bounded(path string) error {
	st, err := os.Stat(path)
	if err == nil && st.Size() > maxDocument {
		err = fmt.Errorf("the exporter left a document of %d bytes", st.Size())
	}
	return err
}

// readExported reads the image that was exported upon run.
func readExported(dir string, run *v1.ConfigFile) (*exported, error) {
	if err := bounded(filepath.Join(dir, "index.json")); err != nil {
		return nil, err
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	manifests, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(manifests.Manifests) != 1 {
		return nil, fmt.Errorf("want one image in the layout, got %d", len(manifests.Manifests))
	}
	sums := filepath.Join(dir, "blobs", "sha256")
	if err := bounded(filepath.Join(sums, manifests.Manifests[0].Digest.Hex)); err != nil {
		return nil, err
	}
	image, err := index.Image(manifests.Manifests[0].Digest)
	if err != nil {
		return nil, err
	}
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	if err := bounded(filepath.Join(sums, manifest.Config.Digest.Hex)); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	base := run.RootFS.DiffIDs
	if len(config.RootFS.DiffIDs) < len(base) || !slices.Equal(config.RootFS.DiffIDs[:len(base)], base) {
		return nil, fmt.Errorf("the exported image does not stand on the run image")
	}
	if len(manifest.Layers) != len(config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("the exported image has %d layers and %d diffIDs", len(manifest.Layers), len(config.RootFS.DiffIDs))
	}
	out := &exported{config: config}
	for i, descriptor := range manifest.Layers[len(base):] {
		var layer v1.Layer
		if _, err := os.Stat(filepath.Join(sums, descriptor.Digest.Hex)); err == nil {
			blob, err := image.LayerByDigest(descriptor.Digest)
			if err != nil {
				return nil, err
			}
			layer = named{blob, config.RootFS.DiffIDs[len(base)+i]}
		}
		out.layers = append(out.layers, layer)
	}
	return out, nil
}

// named is a layer whose diffID is known, so that it need not be unpacked to find it.
type named struct {
	v1.Layer

	diffID v1.Hash
}

func (n named) DiffID() (v1.Hash, error) { return n.diffID, nil }
