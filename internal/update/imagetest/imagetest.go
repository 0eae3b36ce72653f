// Package imagetest takes an image and a test, runs the image in a sandbox and gives whether
// it passes.
package imagetest

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/update/imagetest/probe"
)

// Tester runs tests. It is safe for concurrent use.
type Tester struct {
	// Executor runs the image. It has no network but a loopback of its own.
	Executor executor.Executor

	// Registries is where images are read.
	Registries *oci.Registries

	// Probe is the path of a program that needs no libraries, is anybody's to read, and is
	// package probe's Main: plimsoll-probe. Without one there are no HTTP tests.
	Probe string
}

// What a test may take.
const (
	timeout   = time.Minute
	mostTime  = time.Hour
	memory    = 2 << 30
	processes = 1024
	port      = 8080
)

// probePath is where the probe is inside.
const probePath = "/plimsoll/probe"

// Test gives nil when the image passes, and why not when it does not. The test sees the
// image's own files and settings, no secret and no network.
func (t *Tester) Test(ctx context.Context, reference, digest string, test v1alpha1.ImageTest) error {
	image, err := t.read(ctx, reference, digest)
	if err != nil {
		return err
	}
	step, err := t.step(image, test)
	if err != nil {
		return fault.New(fault.Usage, "run test", test.Name, err)
	}
	var told tail
	result, err := t.Executor.Run(ctx, step, io.Discard, &told)
	switch {
	case err != nil:
		return err
	case result.OK():
		return nil
	case result.Reason == executor.TimedOut:
		return fmt.Errorf("it has not ended within %s", step.Limits.Wall)
	case result.Reason == executor.OutOfMemory:
		return fmt.Errorf("it needs more than %d MB of memory", int64(memory)>>20)
	case test.HTTP != nil && told.line() != "":
		return errors.New(told.line())
	}
	return fmt.Errorf("it ends with %d", result.ExitCode)
}

func (t *Tester) read(ctx context.Context, reference, digest string) (v1.Image, error) {
	ref, err := oci.Parse(reference)
	if err != nil {
		return nil, err
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, fault.New(fault.Usage, "run a test", reference, err)
	}
	return t.Registries.Image(ctx, oci.Reference{Reference: ref.Context().Digest(hash.String())}, "")
}

// step gives the step that is the test.
func (t *Tester) step(image v1.Image, test v1alpha1.ImageTest) (executor.Step, error) {
	config, err := image.ConfigFile()
	if err != nil {
		return executor.Step{}, err
	}
	step := executor.Step{
		Env: environment(config.Config.Env), Dir: config.Config.WorkingDir,
		Limits: executor.Limits{Memory: memory, Pids: processes, Wall: timeout},
	}
	if test.Timeout != nil {
		step.Limits.Wall = min(test.Timeout.Duration, mostTime)
	}
	if step.Layers, err = layers(image, config); err != nil {
		return step, err
	}
	if step.UID, step.GID, err = user(config.Config.User); err != nil {
		return step, err
	}
	if test.HTTP == nil {
		step.Command = launched(config.Config, test.Command)
		return step, nil
	}
	return step, t.probed(&step, config.Config, test.HTTP)
}

// probed lets the step be the probe, which starts the image's program.
func (t *Tester) probed(step *executor.Step, config v1.Config, check *v1alpha1.HTTPCheck) error {
	if t.Probe == "" {
		return errors.New("there is no probe here that could ask it")
	}
	c := probe.Check{
		Command: slices.Concat(config.Entrypoint, config.Cmd), Path: cmp.Or(check.Path, "/"), Port: int(cmp.Or(check.Port, port)),
		Status: int(check.Status), Contains: check.Contains, Timeout: step.Limits.Wall,
	}
	if len(c.Command) == 0 {
		return errors.New("the image has no program of its own")
	}
	if !strings.HasPrefix(c.Path, "/") {
		return fmt.Errorf("the path %q does not begin with /", c.Path)
	}
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	step.Command = []string{probePath, probe.Argument, string(text)}
	step.Mounts = []executor.Mount{{Kind: executor.ReadOnly, Source: t.Probe, Target: probePath}}
	step.Limits.Wall += 5 * time.Second // the probe says why, sooner than it is killed
	return nil
}

// launched gives a command as the image would start it: images of buildpacks have their
// environment from the lifecycle's launcher (Cloud Native Buildpacks, platform.md, "Launcher").
func launched(config v1.Config, command []string) []string {
	const launcher = "/cnb/lifecycle/launcher"
	if len(config.Entrypoint) > 0 && strings.HasPrefix(config.Entrypoint[0], "/cnb/") {
		return slices.Concat([]string{launcher, "--"}, command)
	}
	return command
}

// layers gives the image's root filesystem.
func layers(image v1.Image, config *v1.ConfigFile) ([]executor.Layer, error) {
	all, err := image.Layers()
	if err != nil {
		return nil, err
	}
	if len(all) != len(config.RootFS.DiffIDs) {
		return nil, fmt.Errorf("the image has %d layers and %d diffIDs", len(all), len(config.RootFS.DiffIDs))
	}
	out := make([]executor.Layer, len(all))
	for i, layer := range all {
		out[i] = executor.Layer{DiffID: config.RootFS.DiffIDs[i].String(), Open: layer.Uncompressed}
	}
	return out, nil
}

// environment leaves out what no environment can be, and of a name that comes twice all but
// the last.
func environment(list []string) []string {
	last := map[string]int{}
	for i, entry := range list {
		if key, _, found := strings.Cut(entry, "="); found && key != "" {
			last[key] = i
		}
	}
	var env []string
	for i, entry := range list {
		if key, _, _ := strings.Cut(entry, "="); last[key] == i && key != "" && strings.Contains(entry, "=") {
			env = append(env, entry)
		}
	}
	return env
}

// nobody is who runs what says that it is root, or nobody: a step is never more.
const nobody = 65532

// user reads the user of a configuration, "UID" or "UID:GID" (OCI image-spec, config.md).
func user(text string) (uid, gid uint32, err error) {
	first, second, grouped := strings.Cut(text, ":")
	if first == "" || first == "0" || first == "root" {
		return nobody, nobody, nil
	}
	u, err := strconv.ParseUint(first, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("its user %q is not a number", first)
	}
	g := u
	if grouped {
		if g, err = strconv.ParseUint(second, 10, 32); err != nil {
			return 0, 0, fmt.Errorf("its group %q is not a number", second)
		}
	}
	return uint32(u), uint32(g), nil
}

// tail keeps the end of what is written.
type tail struct{ end []byte }

// maxTail bounds it, in bytes.
const maxTail = 500

func (t *tail) Write(p []byte) (int, error) {
	t.end = append(t.end, p...)
	if len(t.end) > maxTail {
		t.end = slices.Clone(t.end[len(t.end)-maxTail:])
	}
	return len(p), nil
}

// line gives the last line.
func (t *tail) line() string {
	text := bytes.TrimSpace(t.end)
	return strings.ToValidUTF8(string(text[bytes.LastIndexByte(text, '\n')+1:]), "\uFFFD")
}
