package cli

import (
	"context"
	"fmt"
	"io"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/spec"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
)

func newBase(env *Env) *cobra.Command {
	return group("base", "Compose and compare approved base images", newBaseBuild(env), newBaseDiff(env))
}

type baseBuildOptions struct {
	file, tag, lock string
	suites          []string
	locked, strict  bool
	accounting      accounting
}

func newBaseBuild(env *Env) *cobra.Command {
	var o baseBuildOptions
	cmd := &cobra.Command{
		Use:   "build -f FILE -t REF",
		Short: "Compose a base image from signed packages",
		Long: `Build reads a BaseImage from FILE, verifies the archive it names, chooses the packages,
composes them without running any, and pushes the image (an index, when the spec names
several architectures) to REF.

docs/base.md describes the file; examples/bases holds some.` + "\n" + exitCodes,
		Example: `  plimsoll base build -f examples/bases/run.yaml -t run:1
  plimsoll base build -f run.yaml -t registry.example.com/bases/run:1 --lock run.lock
  plimsoll base build -f run.yaml -t run:1 --lock run.lock --locked
  plimsoll base build -f run.yaml -t run:unpatched --suite trixie`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBaseBuild(cmd.Context(), env, o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "file of the BaseImage")
	flags.StringVarP(&o.tag, "tag", "t", "", "where to push the image")
	flags.StringVar(&o.lock, "lock", "", "file to write the exact packages to, or to read them from with --locked")
	flags.StringSliceVar(&o.suites, "suite", nil, "take packages from these suites instead of the spec's")
	flags.BoolVar(&o.locked, "locked", false, "build exactly the packages in the --lock file")
	flags.BoolVar(&o.strict, "strict", false, "fail where there would be a warning: a maintainer script not covered, a locked package no longer signed")
	o.accounting.flags(cmd)
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagRequired("tag")
	return cmd
}

func runBaseBuild(ctx context.Context, env *Env, o baseBuildOptions) error {
	// The process lives for less than a second and needs some 100 MB: memory is cheaper
	// than collecting it.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	if o.locked && o.lock == "" {
		return fault.Newf(fault.Usage, "read flags", "--locked", "it needs --lock FILE")
	}
	ref, err := oci.ParseTag(o.tag)
	if err != nil {
		return err
	}
	image, err := spec.Load(o.file)
	if err != nil {
		return err
	}
	if len(o.suites) > 0 {
		if err := spec.SetSuites(image, o.suites); err != nil {
			return err
		}
	}
	options := base.Options{Strict: o.strict}
	if o.locked {
		if options.Locked, err = base.ReadLock(o.lock); err != nil {
			return err
		}
	}
	progress := env.progress()
	built, err := env.Site().BuildBase(ctx, site.BaseRequest{
		Spec: image, Options: options,
		Publication: site.Publication{Tag: ref, NoEvidence: o.accounting.none, Progress: progress.update},
		Composed: func(lock *base.Lock) error {
			progress.close()
			if o.lock == "" || o.locked {
				return nil
			}
			return lock.Save(o.lock) // before the push: what is published must be locked
		},
	})
	progress.close()
	if err != nil {
		return err
	}
	return printBase(env, built)
}

func printBase(env *Env, out *site.BuiltBase) error {
	return env.print(out, func(w io.Writer) {
		printWarnings(env.Err, out.Images)
		fmt.Fprintf(w, "%s@%s\n", out.Ref, out.Digest)
		for _, image := range out.Images {
			fmt.Fprintf(w, "\nARCH\tLAYER\tPACKAGES\tSIZE\tDIGEST\n")
			for _, l := range image.Layers {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.19s\n", image.Architecture, l.Name, packageNames(l), size(l.Size), l.Digest)
			}
			fmt.Fprintf(w, "%s\ttotal\t%s\t%s\t%.19s\n", image.Architecture, plural(len(image.Layers), "layer"), size(image.Size), image.Digest)
		}
		fmt.Fprintf(w, "\nHARDENING\tRESULT\n")
		for _, check := range out.Images[0].Hardening {
			fmt.Fprintf(w, "%s\t%s\n", check.Name, passed(check.Passed))
		}
	})
}

// printWarnings writes each warning once, with the architectures it is about.
func printWarnings(w io.Writer, images []base.Built) {
	about := map[base.Warning][]string{}
	for _, image := range images {
		for _, warning := range base.Unaccepted(image.Warnings) {
			about[warning] = append(about[warning], image.Architecture)
		}
	}
	for _, image := range images {
		for _, warning := range base.Unaccepted(image.Warnings) {
			if architectures := about[warning]; architectures != nil {
				fmt.Fprintf(w, "warning: %s: %s: %s\n", strings.Join(architectures, ", "), warning.Package, warning.Missing)
				delete(about, warning)
			}
		}
	}
}

// packageNames gives the layer's packages with versions, shortened for a table.
func packageNames(l base.Layer) string {
	const shown = 2
	if len(l.Packages) <= shown {
		return strings.Join(l.Packages, " ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(l.Packages[:shown], " "), len(l.Packages)-shown)
}

func passed(ok bool) string {
	if ok {
		return "passed"
	}
	return "failed"
}
