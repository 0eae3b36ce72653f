package cli

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

type runOptions struct {
	env, envFiles []string
	network       string
	process       string
}

func newRun(env *Env) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run REF [-- ARGUMENT...]",
		Short: "Run an image in the sandbox, to try it",
		Long: `Run starts an image's program on this machine as the image's own user, on a read-only root
filesystem with an empty /tmp and /run, until it ends or you interrupt it. It is for trying
an image where there is no container engine; it restarts and publishes nothing.` + "\n" + exitCodes,
		Example: `  plimsoll run shop:1 --env PORT=8080
  plimsoll run shop:1 --process worker
  plimsoll run shop:1 --network none -- --help`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runRun(cmd.Context(), env, o, args[0], args[1:]) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.env, "env", "e", nil, "environment: NAME=VALUE, or NAME to take this shell's")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "file with such a line for each variable")
	flags.StringVar(&o.network, "network", "host", "host: this machine's network; none: a loopback of its own")
	flags.StringVar(&o.process, "process", "", "type of the process to start, of an image made by buildpacks")
	return cmd
}

func runRun(ctx context.Context, env *Env, o runOptions, name string, arguments []string) error {
	if o.network != "host" && o.network != "none" {
		return fault.Newf(fault.Usage, "read flags", "--network "+o.network, "want host or none")
	}
	ref, err := oci.Parse(name)
	if err != nil {
		return err
	}
	image, err := env.Registries.Image(ctx, ref, "")
	if err != nil {
		return err
	}
	variables, err := readVariables(env.Getenv, o.envFiles, o.env)
	if err != nil {
		return err
	}
	step, err := stepOf(image, variables, o.process, arguments)
	if err != nil {
		return fault.New(fault.Usage, "run image", ref.String(), err)
	}
	step.Network = o.network == "host"
	steps, err := env.Executor()
	if err != nil {
		return err
	}
	result, err := steps.Run(ctx, step, env.Out, env.Err)
	return ended(ref, result, err)
}

// ended says what a program's end means to whoever ran it. To interrupt a server is the
// only way to end one, and no failure.
func ended(ref oci.Reference, result executor.Result, err error) error {
	if fault.KindOf(err) == fault.Canceled {
		return nil
	}
	if err != nil {
		return err
	}
	if !result.OK() {
		return fault.Newf(fault.Failed, "run image", ref.String(), fmt.Sprintf("it ended with status %d", result.ExitCode)).
			WithHint("what it printed is above; other arguments and variables: -- ARGUMENT..., --env")
	}
	return nil
}

// stepOf gives the image's program as a step (OCI image-spec, config.md).
func stepOf(image v1.Image, variables map[string]string, process string, arguments []string) (executor.Step, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return executor.Step{}, err
	}
	layers, err := build.RootFS(image)
	if err != nil {
		return executor.Step{}, err
	}
	config := file.Config
	step := executor.Step{Layers: layers, Dir: config.WorkingDir, Env: environment(config.Env, variables)}
	if step.UID, step.GID, err = numericUser(config.User); err != nil {
		return step, err
	}
	entrypoint, command := config.Entrypoint, config.Cmd
	if process != "" {
		entrypoint, command = []string{"/cnb/process/" + process}, nil // CNB platform.md, "Outputs" of export
	}
	if len(arguments) > 0 {
		command = arguments
	}
	if step.Command = slices.Concat(entrypoint, command); len(step.Command) == 0 {
		return step, fmt.Errorf("it names no program: give one after --")
	}
	return step, nil
}

func environment(image []string, variables map[string]string) []string {
	all := map[string]string{"HOME": "/tmp"} // where the image's user can write
	for _, entry := range image {
		name, value, _ := strings.Cut(entry, "=")
		all[name] = value
	}
	maps.Copy(all, variables)
	var out []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, name+"="+all[name])
	}
	return out
}

// numericUser reads "uid" or "uid:gid"; without any it is root, as image-spec has it.
func numericUser(user string) (uid, gid uint32, err error) {
	first, second, grouped := strings.Cut(user, ":")
	for _, part := range []struct {
		text string
		to   *uint32
	}{{first, &uid}, {second, &gid}} {
		if part.text == "" && (user == "" || !grouped) {
			continue
		}
		n, err := strconv.ParseUint(part.text, 10, 32)
		if err != nil || n > executor.MaxID {
			return 0, 0, fmt.Errorf("its user %q is not uid:gid in numbers up to %d", user, executor.MaxID)
		}
		*part.to = uint32(n)
	}
	return uid, gid, nil
}
