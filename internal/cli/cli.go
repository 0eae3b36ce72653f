// Package cli takes arguments and gives what a person or a script sees: tables, JSON or
// YAML on standard output, progress and one-line errors on standard error, an exit code.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// Env is what every command needs of the world outside.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool   // Err is a terminal: draw progress bars
	Version  string // of this program
	Home     string // folder of the local store and its caches

	Registries *oci.Registries                   // the local store and the remote ones
	Executor   func() (executor.Executor, error) // runs steps; opened when first needed
	Getenv     func(string) string               // the user's environment

	// Up runs a control plane until ctx ends, and says when it is ready; Kubectl runs Kubernetes'
	// own command on it.
	Up      func(ctx context.Context, s *site.Site, o UpOptions, ready func(UpState)) error
	Kubectl func(ctx context.Context, args []string) error

	// Follow has the home's policies be those of the cluster that this program runs in as a pod, and
	// returns once they are; keep has them stay so until ctx ends.
	Follow func(ctx context.Context, s *site.Site) (keep func(context.Context) error, err error)

	// Logs writes the log of a Build to Out.
	Logs func(ctx context.Context, o LogsOptions) error

	// ControlPlane gives that of this home; nil where none runs.
	ControlPlane func(ctx context.Context) (ControlPlane, error)

	format format // of results and errors, from -o

	opening sync.Once
	opened  *site.Site // see Site
}

// Site gives the site of the home, which commands share; Run closes it.
func (env *Env) Site() *site.Site {
	env.opening.Do(func() {
		env.opened = site.New(env.Home, env.Registries, site.Options{
			Options:  home.Options{Version: env.Version, Getenv: env.Getenv, Password: env.askPassword(), Warn: env.warn},
			Executor: env.Executor,
		})
	})
	return env.opened
}

// home gives what is configured in the home.
func (env *Env) home() *home.Home { return env.Site().Home }

// warn shows what is wrong and stops nothing.
func (env *Env) warn(warning, hint string) {
	text := "warning: " + visible(warning) + "\n"
	if hint != "" {
		text += "hint: " + visible(hint) + "\n"
	}
	fmt.Fprint(env.Err, text) // at once: others may warn at the same time
}

const exitCodes = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 denied by policy or verification.`

// Run does what the arguments say and gives the exit code.
func Run(ctx context.Context, env *Env, args []string) int {
	root := newRoot(env)
	root.SetArgs(args)
	env.format = formatIn(args)
	defer env.Site().Close()
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	err = asUsage(cmd, err)
	if ctx.Err() != nil {
		err = fault.Newf(fault.Canceled, strings.TrimPrefix(cmd.CommandPath(), "plimsoll "), "", "interrupted").WithHint("nothing is half-written: run it again")
	}
	if exited, ok := errors.AsType[*Exited](err); ok {
		if exited.Hint != "" {
			fmt.Fprintf(env.Err, "hint: %s\n", exited.Hint)
		}
		return exited.Code
	}
	printError(env, err)
	return fault.ExitCode(err)
}

// Exited says that another program, run in this one's stead, has failed and said why: its exit code is
// this one's, and nothing is told twice.
type Exited struct {
	Code int    // 1 or more
	Hint string // what the program could not know; may be empty
}

// Error implements error.
func (e *Exited) Error() string { return fmt.Sprintf("exit status %d", e.Code) }

func newRoot(env *Env) *cobra.Command {
	root := &cobra.Command{
		Use:   "plimsoll",
		Short: "Build container images from approved parts, account for them, keep them patched",
		Long: `Plimsoll composes base images from signed packages, keeps them in a registry of its own,
and replaces them package by package when a fix arrives.

A REF without a registry host is in the local store ($PLIMSOLL_HOME, else the XDG data
folder); a REF with one is pushed there with your own credentials.
` + exitCodes,
		Version:       env.Version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.SetIn(env.In)
	root.SetOut(env.Out)
	root.SetErr(env.Err)
	root.SetVersionTemplate("plimsoll {{.Version}}\n")
	root.PersistentFlags().VarP(&env.format, "output", "o", "result and error format: table, json or yaml")
	_ = root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "yaml"}, cobra.ShellCompDirectiveNoFileComp))
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fault.New(fault.Usage, "read flags", cmd.CommandPath(), err).WithHint("run `" + cmd.CommandPath() + " --help`")
	})
	root.AddCommand(newBuild(env), newRun(env), newBase(env), newBuilder(env), newInspect(env), newRebase(env), newRegistry(env), newKey(env), newVerify(env), newExport(env), newImport(env), newFeed(env), newSBOM(env), newQuery(env), newInventory(env), newScan(env), newAttest(env), newPolicy(env), newOverride(env), newPatch(env), newConvert(env), newUp(env), newLogs(env), newKubectl(env), newCache(env))
	return root
}

// group gives a command that only holds others.
func group(use, short string, sub ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		return cmd.Help()
	}}
	cmd.AddCommand(sub...)
	return cmd
}

// asUsage turns cobra's own complaints about words and counts into usage faults.
func asUsage(cmd *cobra.Command, err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return err
	}
	text := err.Error()
	for _, start := range []string{"unknown command", "accepts ", "requires at least", "required flag", "if any flags in the group", "invalid argument"} {
		if strings.HasPrefix(text, start) {
			return fault.New(fault.Usage, "read arguments", cmd.CommandPath(), err).WithHint("run `" + cmd.CommandPath() + " --help`")
		}
	}
	return err
}
