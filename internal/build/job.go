package build

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// job is the build for one architecture.
type job struct {
	platform      *Platform
	request       Request
	settings      Settings
	source        artifact.Source
	builder       *builder.Builder
	architecture  string
	work          *work               // of this architecture
	builders      map[string]v1.Image // the builder's images by architecture
	builderDigest string
	platformAPI   string
	rootfs        []executor.Layer
	overrides     overrides

	run      runBase
	previous *previous // nil when there is none
	order    order
	group    []cnb.GroupEntry
	cache    *cache
	phases   []Phase
}

// runBase is the image that the application will stand on.
type runBase struct {
	choice cnb.RunImage  // as the builder names it
	ref    oci.Reference // that it was read from: the image or a mirror
	image  v1.Image
	config *v1.ConfigFile
	digest string
}

// build gives the image: the one that is there when nothing has changed, else a new one.
func (j *job) build(ctx context.Context) (*Built, error) {
	if err := j.lookBack(ctx); err != nil {
		return nil, err
	}
	if !j.request.Force && j.current(ctx) {
		built, err := j.unchanged()
		if err != nil {
			return nil, err
		}
		return built, j.enforce(ctx, built.Image)
	}
	if err := j.prepare(ctx); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context) error{j.analyze, j.detect, j.choose, j.restore, j.compile, j.export} {
		if err := step(ctx); err != nil {
			return nil, j.explain(err)
		}
	}
	j.note("on " + j.run.choice.Image)
	built, err := j.account()
	if err != nil {
		return nil, fault.New(fault.Failed, "read exported image", j.subject(), err)
	}
	if err := j.enforce(ctx, built.Image); err != nil {
		return nil, err
	}
	return built, j.cache.keep(ctx)
}

// prepare makes the folders of the phases and reads what they start from.
func (j *job) prepare(ctx context.Context) error {
	for _, dir := range []string{"layers", "state", "found", "layout", "tmp"} {
		if err := os.MkdirAll(j.work.path(dir), 0o755); err != nil {
			return fault.New(fault.Failed, "make work folder", j.work.dir, err)
		}
	}
	var err error
	if j.platformAPI, err = choosePlatformAPI(j.request.Builder.String(), j.builder); err != nil {
		return err
	}
	if j.rootfs, err = RootFS(j.builder.Image); err != nil {
		return fault.New(fault.Failed, "read builder", j.request.Builder.String(), err)
	}
	if j.order, err = j.chooseOrder(); err != nil {
		return err
	}
	first, err := j.firstRun()
	if err != nil {
		return err
	}
	if err := j.take(ctx, first); err != nil {
		return err
	}
	if err := j.writeProject(); err != nil {
		return err
	}
	if j.previous != nil {
		if err := j.previous.write(inLayout(j.work.path("layout"), layoutPrevious)); err != nil {
			return fault.New(fault.Failed, "read previous image", j.request.Tag.String(), err)
		}
	}
	j.cache, err = j.platform.openCache(ctx, j)
	return err
}

// take reads the run image and puts it where the lifecycle finds it.
func (j *job) take(ctx context.Context, choice cnb.RunImage) error {
	run, err := j.platform.runImage(ctx, choice, j.request.Tag, j.architecture)
	if err != nil {
		return err
	}
	j.run = *run
	if err := writeSparse(inLayout(j.work.path("layout"), layoutRun), run.image); err != nil {
		return fault.New(fault.Failed, "read run image", run.ref.String(), err)
	}
	var text bytes.Buffer
	images := struct {
		Images []runEntry `toml:"images"`
	}{[]runEntry{{choice.Image, choice.Mirrors}}}
	if err := toml.NewEncoder(&text).Encode(images); err != nil {
		return err
	}
	return j.writeState("run.toml", text.Bytes())
}

// writeProject tells the exporter where the source is from (CNB platform.md,
// "project-metadata.toml").
func (j *job) writeProject() error {
	version, metadata := map[string]any{}, map[string]any{}
	put := func(to map[string]any, name, value string) {
		if value != "" {
			to[name] = value
		}
	}
	if j.source.Clean && j.source.Revision != "" {
		put(version, "commit", j.source.Revision)
	}
	put(version, "digest", j.source.Digest)
	put(metadata, "repository", j.source.URL())
	put(metadata, "path", j.source.Subpath)
	var text bytes.Buffer
	err := toml.NewEncoder(&text).Encode(map[string]any{"source": map[string]any{
		"type": string(j.source.Kind), "version": version, "metadata": metadata,
	}})
	if err != nil {
		return err
	}
	return j.writeState("project-metadata.toml", text.Bytes())
}

// writeState writes a file for the lifecycle. The lifecycle of a builder that may be
// anybody's could have put a link there, which would be followed.
func (j *job) writeState(name string, text []byte) error {
	path := j.work.path("state", name)
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o644)
}

// runEntry is an image in run.toml (CNB platform.md, "run.toml").
type runEntry struct {
	Image   string   `toml:"image"`
	Mirrors []string `toml:"mirrors,omitempty"`
}

// choosePlatformAPI gives the highest version of the Platform API that both sides speak.
// Before 0.12 the lifecycle knows no OCI layout.
func choosePlatformAPI(name string, b *builder.Builder) (string, error) {
	speaks := slices.Concat(b.Lifecycle.APIs.Platform.Supported, b.Lifecycle.APIs.Platform.Deprecated)
	for _, api := range []string{"0.15", "0.14", "0.13", "0.12"} {
		if slices.Contains(speaks, api) {
			return api, nil
		}
	}
	return "", fault.Newf(fault.Usage, "read builder", name, fmt.Sprintf("its lifecycle %s speaks Platform API %s; 0.12 to 0.15 are needed", b.Lifecycle.Version, strings.Join(speaks, ", "))).
		WithHint("use a builder with lifecycle 0.17 or newer")
}

// before compares versions "0.N".
func before(a, b string) bool {
	minor := func(s string) int {
		_, text, _ := strings.Cut(s, ".")
		n, _ := strconv.Atoi(text)
		return n
	}
	return minor(a) < minor(b)
}

// launcher gives a file with the launcher for the job's architecture, or "" when the one
// in the builder's own root filesystem is right.
func (j *job) launcher() (string, error) {
	if j.architecture == machine {
		return "", nil
	}
	image, ok := j.builders[j.architecture]
	if !ok {
		return "", fault.Newf(fault.Usage, "find launcher", j.request.Builder.String(), "it has no image for "+j.architecture).
			WithHint("build the builder for " + j.architecture + " too: architectures in its spec")
	}
	path := j.work.path("launcher")
	found, err := extractFile(image, strings.TrimPrefix(cnb.LifecycleDir, "/")+"/launcher", path)
	if err == nil && !found {
		err = fmt.Errorf("the builder has no %s/launcher", cnb.LifecycleDir)
	}
	if err != nil {
		return "", fault.New(fault.Failed, "find launcher for "+j.architecture, j.request.Builder.String(), err)
	}
	return filepath.Clean(path), os.Chmod(path, 0o755)
}
