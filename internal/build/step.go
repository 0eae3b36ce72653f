package build

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

// machine is the architecture that steps run on.
const machine = runtime.GOARCH

// RootFS gives the image's layers as the root filesystem of a step.
func RootFS(image v1.Image) ([]executor.Layer, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if len(config.RootFS.DiffIDs) != len(layers) {
		return nil, fmt.Errorf("the image has %d layers and %d diffIDs", len(layers), len(config.RootFS.DiffIDs))
	}
	out := make([]executor.Layer, len(layers))
	for i, l := range layers {
		out[i] = executor.Layer{
			DiffID: config.RootFS.DiffIDs[i].String(),
			Open:   func() (io.ReadCloser, error) { return l.Uncompressed() },
		}
	}
	return out, nil
}

// Folders that the phases share, as they see them.
const (
	layersPath   = cnb.LayersDir
	appPath      = cnb.AppDir
	platformPath = cnb.PlatformDir
	homePath     = "/home/cnb"
	ourPath      = "/plimsoll"        // what follows is in it
	statePath    = ourPath + "/state" // never written to by foreign code
	foundPath    = ourPath + "/found" // what detect found
	groupPath    = foundPath + "/group.toml"
	planPath     = foundPath + "/plan.toml"
	layoutPath   = ourPath + "/layout"
	cachePath    = ourPath + "/cache"
	launcherPath = ourPath + "/launcher"
	orderPath    = ourPath + "/order.toml"
)

// folders are in every phase: empty, in memory, where the phase mounts nothing else on
// them. So all phases of all builds share one root filesystem.
var folders = [...]string{layersPath, appPath, platformPath, homePath, ourPath}

// phase is one phase of the lifecycle as a step.
type phase struct {
	name    string // "analyze"
	program string // "analyzer"
	args    []string
	mounts  []executor.Mount
	env     []string
	network bool
	limits  executor.Limits
	out     io.Writer // of both streams
}

// do runs the phase and notes how long it took. The result of a phase that failed is an
// error of type *phaseError.
func (j *job) do(ctx context.Context, p phase) error {
	j.say(Note{Phase: p.name, Began: true})
	started := time.Now()
	tail := &tail{max: 64 << 10}
	out := io.Writer(tail)
	if p.out != nil {
		out = io.MultiWriter(tail, p.out)
	}
	env := append(j.env(), p.env...)
	result, err := j.platform.Executor.Run(ctx, executor.Step{
		Layers:  j.rootfs,
		Command: append([]string{cnb.LifecycleDir + "/" + p.program}, p.args...),
		Env:     env,
		Mounts:  withFolders(p.mounts),
		UID:     uint32(j.builder.UID), GID: uint32(j.builder.GID),
		Network: p.network, Limits: p.limits,
	}, out, out)
	j.phases = append(j.phases, Phase{Name: p.name, Duration: time.Since(started)})
	if err != nil {
		return err
	}
	if !result.OK() {
		return &phaseError{phase: p.name, result: result, output: tail.String()}
	}
	return nil
}

func withFolders(mounts []executor.Mount) []executor.Mount {
	for _, folder := range folders {
		if !slices.ContainsFunc(mounts, func(m executor.Mount) bool { return m.Target == folder }) {
			mounts = append(mounts, executor.Mount{Kind: executor.Tmpfs, Target: folder})
		}
	}
	return mounts
}

// tell runs the phase and says so.
func (j *job) tell(ctx context.Context, p phase) error {
	err := j.do(ctx, p)
	if err == nil {
		j.note("")
	}
	return err
}

// note says that the last phase has ended and what came of it.
func (j *job) note(text string) {
	last := j.phases[len(j.phases)-1]
	j.say(Note{Phase: last.Name, Duration: last.Duration, Text: text})
}

func (j *job) say(n Note) {
	if j.platform.Progress != nil {
		n.Architecture = j.architecture
		j.platform.Progress(n)
	}
}

// env is the environment that all phases have: the builder's and what the lifecycle wants.
func (j *job) env() []string {
	set := map[string]string{}
	var order []string
	put := func(entry string) {
		name, value, _ := strings.Cut(entry, "=")
		if _, ok := set[name]; !ok {
			order = append(order, name)
		}
		set[name] = value
	}
	for _, entry := range j.builder.Env {
		put(entry)
	}
	put("CNB_PLATFORM_API=" + j.platformAPI)
	put("CNB_EXPERIMENTAL_MODE=quiet")
	put("CNB_NO_COLOR=true")
	put("HOME=" + homePath)
	for _, entry := range j.settings.proxies() {
		put(entry)
	}
	var out []string
	for _, name := range order {
		out = append(out, name+"="+set[name])
	}
	return out
}

// phaseError says that the lifecycle ended a phase with an error.
type phaseError struct {
	phase  string
	result executor.Result
	output string // its last lines
}

func (e *phaseError) Error() string {
	switch e.result.Reason {
	case executor.OutOfMemory:
		return "it ran out of memory (--memory)"
	case executor.TimedOut:
		return "it took too long (--timeout)"
	case executor.Signaled:
		return "it was ended by signal " + e.result.Signal.String()
	}
	return fmt.Sprintf("it failed with exit status %d", e.result.ExitCode)
}

// Unwrap makes it a failure like others.
func (e *phaseError) Unwrap() error { return fault.Newf(fault.Failed, e.phase, "", "failed") }

// tail keeps the last bytes written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*t.max {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-t.max:]...)
	}
	return len(p), nil
}

func (t *tail) String() string { return string(t.buf[max(0, len(t.buf)-t.max):]) }
