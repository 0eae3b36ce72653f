package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
)

func (j *job) mount(kind executor.MountKind, folder, target string) executor.Mount {
	return executor.Mount{Kind: kind, Source: j.work.path(folder), Target: target}
}

func (j *job) owner() []string {
	return []string{"-uid", strconv.Itoa(j.builder.UID), "-gid", strconv.Itoa(j.builder.GID)}
}

func (j *job) quiet() io.Writer {
	if j.platform.Verbose {
		return j.platform.log()
	}
	return nil
}

func (j *job) analyze(ctx context.Context) error {
	args := []string{
		"-layout", "-layout-dir", layoutPath, "-layers", layersPath, "-analyzed", statePath + "/analyzed.toml",
		"-run", statePath + "/run.toml", "-run-image", layoutRun, "-previous-image", layoutPrevious,
	}
	return j.tell(ctx, phase{
		name: "analyze", program: "analyzer", args: append(append(args, j.owner()...), layoutApp), out: j.quiet(),
		mounts: []executor.Mount{
			j.mount(executor.ReadWrite, "layers", layersPath), j.mount(executor.ReadWrite, "state", statePath),
			j.mount(executor.ReadOnly, "layout", layoutPath),
		},
	})
}

func (j *job) detect(ctx context.Context) error {
	foreign, err := j.foreign()
	if err != nil {
		return err
	}
	args := []string{
		"-app", appPath, "-layers", layersPath, "-platform", platformPath, "-order", j.order.path,
		"-analyzed", statePath + "/analyzed.toml", "-group", groupPath, "-plan", planPath,
		"-log-level", "debug", // its output says what each buildpack wanted
	}
	err = j.do(ctx, phase{
		name: "detect", program: "detector", args: args, out: j.quiet(), env: foreign.env, limits: j.settings.Limits,
		mounts: append(foreign.mounts,
			j.mount(executor.ReadOnly, "workspace", appPath), j.mount(executor.ReadOnly, "state", statePath),
			j.mount(executor.ReadWrite, "found", foundPath)),
	})
	if err != nil {
		return err
	}
	if j.group, err = readGroup(j.work.path("found")); err != nil {
		return fault.New(fault.Failed, "read what detect found", j.subject(), err).
			WithHint("a buildpack wrote to it: see which with --verbose")
	}
	var names []string
	for _, entry := range j.group {
		names = append(names, cnb.FullName(entry.ID, entry.Version))
	}
	j.note(strings.Join(names, ", "))
	return nil
}

// readGroup reads group.toml. Foreign code could write there: links are not followed out,
// and nothing waits on a pipe.
func readGroup(dir string) ([]cnb.GroupEntry, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile("group.toml", os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("group.toml is no file"))
	}
	var group cnb.Group
	if _, err := toml.NewDecoder(io.LimitReader(f, 1<<20)).Decode(&group); err != nil {
		return nil, fmt.Errorf("group.toml: %w", err)
	}
	return group.Group, nil
}

// choose takes the run image that the builder names for the detected buildpacks, where
// that is another than the default.
func (j *job) choose(ctx context.Context) error {
	choice, err := j.chosenRun()
	if err != nil {
		return err
	}
	if choice.Image == j.run.choice.Image {
		return nil
	}
	if err := j.take(ctx, choice); err != nil {
		return err
	}
	return j.analyze(ctx)
}

func (j *job) restore(ctx context.Context) error {
	args := []string{
		"-layers", layersPath, "-group", groupPath, "-analyzed", statePath + "/analyzed.toml",
		"-cache-dir", cachePath, "-layout", "-layout-dir", layoutPath,
	}
	if !before(j.platformAPI, "0.14") {
		args = append(args, "-run", statePath+"/run.toml")
	}
	return j.tell(ctx, phase{
		name: "restore", program: "restorer", args: append(args, j.owner()...), out: j.quiet(),
		mounts: []executor.Mount{
			j.mount(executor.ReadWrite, "layers", layersPath), j.mount(executor.ReadWrite, "state", statePath),
			j.mount(executor.ReadOnly, "found", foundPath), j.mount(executor.ReadOnly, "layout", layoutPath), j.cacheMount(),
		},
	})
}

// compile is the build phase.
func (j *job) compile(ctx context.Context) error {
	foreign, err := j.foreign()
	if err != nil {
		return err
	}
	args := []string{
		"-app", appPath, "-layers", layersPath, "-platform", platformPath,
		"-analyzed", statePath + "/analyzed.toml", "-group", groupPath, "-plan", planPath,
	}
	if !j.platform.Verbose {
		args = append(args, "-log-level", "warn")
	}
	return j.tell(ctx, phase{
		name: "build", program: "builder", args: args, out: j.platform.log(), env: foreign.env, network: !j.settings.Offline, limits: j.settings.Limits,
		mounts: append(foreign.mounts,
			j.mount(executor.ReadWrite, "workspace", appPath), j.mount(executor.ReadWrite, "layers", layersPath),
			j.mount(executor.ReadOnly, "state", statePath), j.mount(executor.ReadOnly, "found", foundPath)),
	})
}

func (j *job) export(ctx context.Context) error {
	launcher, err := j.launcher()
	if err != nil {
		return err
	}
	args := []string{
		"-layout", "-layout-dir", layoutPath, "-app", appPath, "-layers", layersPath, "-cache-dir", cachePath,
		"-group", groupPath, "-analyzed", statePath + "/analyzed.toml", "-run", statePath + "/run.toml",
		"-project-metadata", statePath + "/project-metadata.toml", "-report", statePath + "/report.toml",
	}
	mounts := []executor.Mount{
		j.mount(executor.ReadOnly, "workspace", appPath), j.mount(executor.ReadWrite, "layers", layersPath),
		j.mount(executor.ReadWrite, "state", statePath), j.mount(executor.ReadOnly, "found", foundPath),
		j.mount(executor.ReadWrite, "layout", layoutPath), j.cacheMount(), j.mount(executor.ReadWrite, "tmp", "/tmp"),
	}
	if launcher != "" {
		args = append(args, "-launcher", launcherPath)
		mounts = append(mounts, executor.Mount{Source: launcher, Target: launcherPath})
	}
	if j.settings.Process != "" {
		args = append(args, "-process-type", j.settings.Process)
	}
	var env []string
	if j.source.Clean && !j.source.Time.IsZero() {
		env = append(env, "SOURCE_DATE_EPOCH="+strconv.FormatInt(j.source.Time.Unix(), 10))
	}
	return j.do(ctx, phase{
		name: "export", program: "exporter", args: append(append(args, j.owner()...), layoutApp),
		out: j.quiet(), mounts: mounts, env: env,
	})
}

func (j *job) cacheMount() executor.Mount {
	return executor.Mount{Kind: executor.ReadWrite, Source: j.cache.dir, Target: cachePath}
}
