package builder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/BurntSushi/toml"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// module is a buildpack for one architecture. Its layer is made of its files, or taken as
// it is from a package, where several may share one.
type module struct {
	cnb.Descriptor

	field string // of the spec it comes from
	files tree
	layer v1.Layer
}

// modules reads all buildpacks for the architecture.
func (w *work) modules(ctx context.Context, architecture string) ([]*module, error) {
	var all []*module
	for i, source := range w.spec.Builder.Spec.Buildpacks {
		field := fmt.Sprintf("spec.buildpacks[%d]", i)
		found, err := w.source(ctx, source, architecture)
		if err != nil {
			return nil, w.spec.wrap(field, err, "docs/builders.md, \"Buildpacks\", says what one is made of")
		}
		for _, m := range found {
			m.field = field
			if twin := find(all, m.Buildpack.ID, m.Buildpack.Version); twin == nil {
				all = append(all, m)
			} else if !twin.same(m) {
				return nil, w.spec.fault(fault.Usage, field, fmt.Sprintf("%s is in %s already, with other content", m.Buildpack, twin.field)).
					WithHint("leave one of them out")
			}
		}
	}
	return all, nil
}

// same tells whether both come in the same layer of a package: packages share parts.
func (m *module) same(other *module) bool {
	if m.layer == nil || other.layer == nil {
		return false
	}
	a, errA := m.layer.DiffID()
	b, errB := other.layer.DiffID()
	return errA == nil && errB == nil && a == b
}

// find gives the module, or nil. Without a version it is the only one of that id.
func find(all []*module, id, version string) *module {
	var found *module
	for _, m := range all {
		if m.Buildpack.ID != id || version != "" && m.Buildpack.Version != version {
			continue
		}
		if found != nil {
			return nil
		}
		found = m
	}
	return found
}

// source reads the buildpacks of one source: one in a folder, all of a package.
func (w *work) source(ctx context.Context, source v1alpha1.BuildpackSource, architecture string) ([]*module, error) {
	if source.Image != "" {
		ref, err := oci.Parse(source.Image)
		if err != nil {
			return nil, err
		}
		image, err := w.Registries.Image(ctx, ref, architecture)
		if err != nil {
			return nil, err
		}
		return packaged(image)
	}
	folder, err := w.folder(source.Path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(folder, "oci-layout")); err == nil {
		return w.inLayout(folder, architecture)
	}
	m, err := inFolder(folder, architecture)
	return []*module{m}, err
}

// folder gives the folder at the path, or one with what the archive there holds.
func (w *work) folder(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, errors.Unwrap(err))
	}
	if info.IsDir() {
		return filepath.EvalSymlinks(name)
	}
	if folder, ok := w.unpacked[name]; ok {
		return folder, nil
	}
	folder, err := os.MkdirTemp(w.temp, "archive")
	if err != nil {
		return "", err
	}
	if err := unpackFile(name, folder); err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	w.unpacked[name] = folder
	return folder, nil
}

// inFolder reads the buildpack in the folder. What is for one architecture only lies in
// linux/ARCHITECTURE; then the descriptor beside it is for all.
func inFolder(folder, architecture string) (*module, error) {
	const descriptor = "buildpack.toml"
	content := folder
	if own := filepath.Join(folder, "linux", architecture); isFolder(own) {
		content = own
	} else if isFolder(filepath.Join(folder, "linux")) {
		return nil, fmt.Errorf("%s has nothing for linux/%s", folder, architecture)
	}
	m := &module{files: tree{}}
	text, err := readIn(folder, descriptor)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, descriptor), err)
	}
	if err := m.decode(text); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(folder, descriptor), err)
	}
	at := path.Join(cnb.BuildpacksDir, cnb.EscapeID(m.Buildpack.ID), m.Buildpack.Version)
	if err := m.files.putAll(at, content); err != nil {
		return nil, err
	}
	m.files.putText(path.Join(at, descriptor), text)
	if len(m.Order) > 0 {
		return m, nil
	}
	for _, program := range []string{"bin/detect", "bin/build"} {
		f, ok := m.files[path.Join(at, program)]
		if !ok || f.mode&0o111 == 0 {
			return nil, fmt.Errorf("%s: it is missing, or not executable", filepath.Join(content, program))
		}
	}
	return m, nil
}

// decode reads a buildpack.toml.
func (m *module) decode(text string) error {
	if _, err := toml.Decode(text, &m.Descriptor); err != nil {
		return err
	}
	switch b := m.Buildpack; {
	case !buildpackID.MatchString(b.ID):
		return fmt.Errorf("buildpack.id: bad id %q", b.ID)
	case !version.MatchString(b.Version):
		return fmt.Errorf("buildpack.version: bad version %q", b.Version)
	case m.API == "":
		return errors.New("api: it is missing")
	case len(m.Order) > 0 && len(m.Targets)+len(m.Stacks) > 0:
		return errors.New("order: a buildpack that is made of others has no targets and stacks of its own")
	}
	return nil
}

// packaged reads the buildpacks of a package (distribution.md, "Buildpackage").
func packaged(image v1.Image) ([]*module, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	var layers cnb.BuildpackLayers
	if err := cnb.DecodeLabel(config, cnb.BuildpackLayersLabel, &layers); err != nil {
		return nil, fmt.Errorf("label %s: %w", cnb.BuildpackLayersLabel, err)
	}
	if len(layers) == 0 {
		return nil, fmt.Errorf("it is no packaged buildpack: it lacks the label %s", cnb.BuildpackLayersLabel)
	}
	var all []*module
	for id, versions := range layers {
		for version, about := range versions {
			diffID, err := v1.NewHash(about.LayerDiffID)
			if err != nil {
				return nil, fmt.Errorf("label %s: %s: %w", cnb.BuildpackLayersLabel, cnb.FullName(id, version), err)
			}
			layer, err := image.LayerByDiffID(diffID)
			if err != nil {
				return nil, fmt.Errorf("it has no layer for %s: %w", cnb.FullName(id, version), err)
			}
			m := &module{layer: layer}
			m.API, m.Targets, m.Stacks, m.Order = about.API, about.Targets, about.Stacks, about.Order
			m.Buildpack = cnb.BuildpackInfo{ID: id, Version: version, Name: about.Name, Homepage: about.Homepage}
			all = append(all, m)
		}
	}
	slices.SortFunc(all, byName)
	return all, nil
}

// inLayout reads the buildpacks of a package on disk. Their layers are kept, for the folder
// may be gone before the builder is pushed.
func (w *work) inLayout(folder, architecture string) ([]*module, error) {
	image, err := imageIn(folder, architecture)
	if err != nil {
		return nil, err
	}
	all, err := packaged(image)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		from := m.layer
		m.layer, _, err = w.layers.Of(func(out io.Writer) error {
			in, err := from.Uncompressed()
			if err != nil {
				return err
			}
			_, err = io.Copy(out, in)
			return errors.Join(err, in.Close())
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// imageIn gives the image of the architecture in the OCI layout in the folder.
func imageIn(folder, architecture string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(folder)
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if !m.MediaType.IsImage() {
			continue
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		if config.Architecture == architecture || config.Architecture == "" {
			return image, nil
		}
	}
	return nil, fmt.Errorf("it has no image for linux/%s", architecture)
}

// readIn gives the text of a file in the folder, and follows no link out of it.
func readIn(folder, name string) (string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return "", err
	}
	defer root.Close()
	text, err := root.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", errors.New("there is no such file")
	}
	return string(text), err
}

func isFolder(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
