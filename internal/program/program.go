// Package program takes the operating system's arguments, streams and environment and
// gives a running plimsoll: it is the one place that knows every adapter and joins them.
package program

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"

	"golang.org/x/term"

	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/program/plane"
	"plimsoll.dev/plimsoll/internal/site"
)

// Host is what the operating system gives: streams and environment.
type Host struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
	Terminal bool // Err is a terminal a person looks at
}

// System gives the host this process runs on.
func System() Host {
	width, _, err := term.GetSize(int(os.Stderr.Fd())) // a terminal without a size shows no bars
	return Host{
		In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv,
		Terminal: err == nil && width > 0 && os.Getenv("TERM") != "dumb",
	}
}

// Run parses the arguments, does what they say and gives the exit status.
func Run(ctx context.Context, host Host, args []string) int {
	folder, err := home(host.Getenv)
	if err != nil {
		fmt.Fprintf(host.Err, "plimsoll: %v\nhint: %s\n", err, fault.HintOf(err))
		return fault.ExitCode(err)
	}
	local := &store{root: filepath.Join(folder, "registry")}
	defer local.close()
	steps := &steps{dir: filepath.Join(folder, "cache", "roots"), getenv: host.Getenv}
	defer steps.close(ctx)
	env := &cli.Env{
		In: host.In, Out: host.Out, Err: host.Err, Terminal: host.Terminal,
		Version: version(), Home: folder,
		Registries: &oci.Registries{Local: local.open, Agent: "plimsoll/" + version()},
		Executor:   func() (executor.Executor, error) { return steps.open(ctx) },
		Getenv:     host.Getenv,
		Up: func(ctx context.Context, s *site.Site, o cli.UpOptions, ready func(cli.UpState)) error {
			return plane.Run(ctx, s, o, slog.New(slog.NewTextHandler(host.Err, nil)), ready)
		},
		ControlPlane: func(ctx context.Context) (cli.ControlPlane, error) { return plane.Running(ctx, folder) },
		Follow: func(ctx context.Context, s *site.Site) (func(context.Context) error, error) {
			return plane.Follow(ctx, s, slog.New(slog.NewTextHandler(host.Err, nil)))
		},
		Kubectl: func(ctx context.Context, args []string) error {
			return plane.Kubectl(ctx, folder, host.Getenv, host.In, host.Out, host.Err, args)
		},
		Logs: func(ctx context.Context, o cli.LogsOptions) error {
			return plane.Logs(ctx, folder, host.Getenv, host.Out, host.Err, o)
		},
	}
	return cli.Run(ctx, env, args)
}

// home gives the folder of the local store and its caches: $PLIMSOLL_HOME, else
// plimsoll in the XDG data folder (XDG Base Directory Specification, "Environment variables").
// There is no other: a folder that others may write to would let them into the caches.
func home(getenv func(string) string) (string, error) {
	if dir := getenv("PLIMSOLL_HOME"); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "plimsoll"), nil
	}
	if dir := getenv("HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, ".local", "share", "plimsoll"), nil
	}
	return "", fault.Newf(fault.Usage, "find the home folder", "", "neither PLIMSOLL_HOME nor HOME is set").
		WithHint("set PLIMSOLL_HOME to a folder of your own")
}

// release is set by the linker (-X) for released binaries.
var release string

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
