package builder

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
)

// phases are the names by which the one lifecycle program knows what to do.
var phases = []string{"analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer"}

// lifecycle is the lifecycle for one architecture.
type lifecycle struct {
	cnb.LifecycleInfo

	files tree
}

// lifecycle reads the lifecycle for the architecture.
func (w *work) lifecycle(ctx context.Context, architecture string) (*lifecycle, error) {
	source := w.spec.Builder.Spec.Lifecycle
	var l *lifecycle
	var err error
	if source.Image != "" {
		l, err = w.lifecycleImage(ctx, source.Image, architecture)
	} else {
		l, err = w.lifecycleFolder(source.Path, architecture)
	}
	if err != nil {
		return nil, w.spec.wrap("spec.lifecycle", err, "docs/builders.md, \"Lifecycle\", says what it is made of")
	}
	return l, nil
}

// lifecycleFolder reads a folder with a program for each architecture, or what the
// lifecycle's makers publish: an archive for one.
func (w *work) lifecycleFolder(name, architecture string) (*lifecycle, error) {
	folder, err := w.folder(name)
	if err != nil {
		return nil, err
	}
	const descriptor = "lifecycle.toml"
	l := &lifecycle{}
	text, err := readIn(folder, descriptor)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(name, descriptor), err)
	}
	if err := l.decode(text); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(name, descriptor), err)
	}
	programs := filepath.Join(folder, "linux", architecture)
	if !isFolder(programs) {
		programs = filepath.Join(folder, "lifecycle")
	}
	if !isFolder(programs) {
		return nil, fmt.Errorf("%s has nothing for linux/%s", name, architecture)
	}
	return l, l.putPrograms(programs, architecture)
}

func (w *work) lifecycleImage(ctx context.Context, name, architecture string) (*lifecycle, error) {
	ref, err := oci.Parse(name)
	if err != nil {
		return nil, err
	}
	image, err := w.Registries.Image(ctx, ref, architecture)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	l := &lifecycle{}
	if l.LifecycleInfo, err = lifecycleOf(config); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	folder, err := os.MkdirTemp(w.temp, "lifecycle")
	if err != nil {
		return nil, err
	}
	files := mutate.Extract(image)
	defer files.Close()
	if err := unpack(files, folder, strings.TrimPrefix(cnb.LifecycleDir, "/")+"/"); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return l, l.putPrograms(folder, architecture)
}

// putPrograms adds the programs in the folder, by all their names.
func (l *lifecycle) putPrograms(folder, architecture string) error {
	l.files = tree{}
	if err := l.files.putAll(cnb.LifecycleDir, folder); err != nil {
		return err
	}
	for _, program := range []string{"lifecycle", "launcher"} {
		if err := checkProgram(filepath.Join(folder, program), architecture); err != nil {
			return err
		}
		f := l.files[path.Join(cnb.LifecycleDir, program)]
		f.mode |= 0o111
		l.files.put(path.Join(cnb.LifecycleDir, program), f)
	}
	for _, phase := range phases {
		l.files.put(path.Join(cnb.LifecycleDir, phase), file{mode: fs.ModeSymlink | 0o777, link: "lifecycle"})
	}
	return nil
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// checkProgram refuses a program for another architecture, which would fail only in the
// first build.
func checkProgram(name, architecture string) error {
	info, err := os.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s: there is no such file", name)
	}
	program, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("%s: it is no program for Linux", name)
	}
	defer program.Close()
	if program.Machine != machines[architecture] {
		return fmt.Errorf("%s: it is for %s, not for %s", name, program.Machine, architecture)
	}
	return nil
}

// decode reads a lifecycle.toml.
func (l *lifecycle) decode(text string) error {
	var d cnb.LifecycleDescriptor
	if _, err := toml.Decode(text, &d); err != nil {
		return err
	}
	l.LifecycleInfo = complete(cnb.LifecycleInfo{Version: d.Lifecycle.Version, API: d.API, APIs: d.APIs})
	if l.Version == "" || len(l.APIs.Buildpack.Supported) == 0 || len(l.APIs.Platform.Supported) == 0 {
		return errors.New("want lifecycle.version, apis.buildpack.supported and apis.platform.supported")
	}
	return nil
}

// lifecycleOf reads which lifecycle an image says that it has: in labels of its own, or in
// the builder's, where older ones have it.
func lifecycleOf(config *v1.ConfigFile) (cnb.LifecycleInfo, error) {
	var builder cnb.BuilderMetadata
	if err := cnb.DecodeLabel(config, cnb.BuilderMetadataLabel, &builder); err != nil {
		return cnb.LifecycleInfo{}, fmt.Errorf("label %s: %w", cnb.BuilderMetadataLabel, err)
	}
	info := builder.Lifecycle
	if text := config.Config.Labels[cnb.LifecycleVersionLabel]; text != "" {
		info.Version = text
	}
	if err := cnb.DecodeLabel(config, cnb.LifecycleAPIsLabel, &info.APIs); err != nil {
		return cnb.LifecycleInfo{}, fmt.Errorf("label %s: %w", cnb.LifecycleAPIsLabel, err)
	}
	info = complete(info)
	if len(info.APIs.Platform.Supported) == 0 {
		return cnb.LifecycleInfo{}, fmt.Errorf("it does not say which lifecycle it has: it lacks the label %s", cnb.LifecycleAPIsLabel)
	}
	return info, nil
}

// complete fills in the lists of versions from the single ones, or these from the lists.
func complete(l cnb.LifecycleInfo) cnb.LifecycleInfo {
	l.API.Buildpack = fill(&l.APIs.Buildpack, l.API.Buildpack)
	l.API.Platform = fill(&l.APIs.Platform, l.API.Platform)
	return l
}

// fill gives the lowest version.
func fill(all *cnb.APIVersions, lowest string) string {
	if len(all.Supported) == 0 && lowest != "" {
		all.Supported = []string{lowest}
	}
	for _, v := range slices.Concat(all.Deprecated, all.Supported) {
		if lowest == "" || cnb.CompareAPI(v, lowest) < 0 {
			lowest = v
		}
	}
	if all.Deprecated == nil {
		all.Deprecated = []string{} // readers of the label want a list
	}
	return lowest
}
