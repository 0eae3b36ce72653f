package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/source"
)

type buildOptions struct {
	tag, builder, runImage, cacheImage, network, process string
	env, envFiles, buildpacks, bindings, authorities     []string
	platforms                                            []string
	memory, cpus                                         string
	timeout                                              time.Duration
	source                                               source.Options
	clearCache, fresh, force, verbose                    bool
	accounting                                           accounting
}

func newBuild(env *Env) *cobra.Command {
	var o buildOptions
	cmd := &cobra.Command{
		Use:   "build SOURCE -t REF",
		Short: "Build an image from source",
		Long: `Build takes source code, finds the buildpacks that know what to do with it, runs them in
the sandbox, and pushes the image to REF: the application's layers on an approved base that
can be replaced later (plimsoll rebase).

SOURCE is a folder, a git URL (with #BRANCH, #TAG or #COMMIT, and :FOLDER after it), an
archive (.tar.gz, .zip) by path or URL, or oci://REF. Nothing is built when neither source,
builder, base nor settings have changed since the image that REF names was built.

docs/build.md tells all; docs/sources.md describes sources, docs/builders.md builders.` + "\n" + exitCodes,
		Example: `  plimsoll build . -t shop:1
  plimsoll build https://git.example.com/shop.git#v1.2:web -t registry.example.com/shop:1.2
  plimsoll build . -t shop:1 --network none --env BP_GO_TARGETS=./cmd/shop
  plimsoll build . -t shop:1 --platform linux/amd64,linux/arm64`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runBuild(cmd.Context(), env, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.tag, "tag", "t", "", "where to push the image")
	flags.StringVar(&o.builder, "builder", "", "builder image (default: the one project.toml names, else "+build.DefaultBuilder+")")
	flags.StringVar(&o.runImage, "run-image", "", "run image, one that the builder names (default: the builder's choice)")
	flags.StringVar(&o.source.Ref, "ref", "", "branch, tag or commit of a git source")
	flags.StringVar(&o.source.Subpath, "subpath", "", "folder of the source to build")
	flags.StringVar(&o.source.Checksum, "checksum", "", "sha256:… that an archive must have")
	flags.StringArrayVarP(&o.env, "env", "e", nil, "environment of the build: NAME=VALUE, or NAME to take this shell's")
	flags.StringArrayVar(&o.envFiles, "env-file", nil, "file with such a line for each variable")
	flags.StringArrayVarP(&o.buildpacks, "buildpack", "b", nil, "use these buildpacks of the builder, ID or ID@VERSION, instead of its order")
	flags.StringArrayVar(&o.bindings, "binding", nil, "folder of a service binding for the build: credentials, certificates")
	flags.StringArrayVar(&o.authorities, "ca-cert", nil, "file of PEM certificates that the build trusts, too")
	flags.StringVar(&o.network, "network", "host", "network of the build step: host or none")
	flags.StringSliceVar(&o.platforms, "platform", nil, "platforms to build for, such as linux/amd64,linux/arm64 (default: this machine's)")
	flags.StringVar(&o.memory, "memory", "", "most memory of each step that runs foreign code, such as 4Gi")
	flags.StringVar(&o.cpus, "cpus", "", "most processors of such a step, such as 2 or 500m")
	flags.DurationVar(&o.timeout, "timeout", 0, "longest time of such a step, such as 30m")
	flags.StringVar(&o.process, "process", "", "type of the process that starts by default")
	flags.StringVar(&o.cacheImage, "cache-image", "", "keep the build's cache in this image instead of on this machine")
	flags.BoolVar(&o.clearCache, "clear-cache", false, "begin with an empty cache")
	flags.BoolVar(&o.fresh, "fresh", false, "reuse no layer of the image that REF names now")
	flags.BoolVar(&o.force, "force", false, "build even if nothing has changed")
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "show all that the lifecycle prints")
	o.accounting.flags(cmd)
	_ = cmd.MarkFlagRequired("tag")
	return cmd
}

func runBuild(ctx context.Context, env *Env, o buildOptions, location string) error {
	request, err := o.request(env, location)
	if err != nil {
		return err
	}
	request.Log, request.Verbose, request.Progress = io.Writer(env.Err), o.verbose, env.note
	if env.format != "" {
		request.Log = nil // a script reads one document
	}
	started := time.Now()
	built, err := env.Site().Build(ctx, request)
	if err != nil {
		return err
	}
	return printBuilt(env, built, time.Since(started))
}

// request reads the flags.
func (o buildOptions) request(env *Env, location string) (site.BuildRequest, error) {
	r := site.BuildRequest{Location: location, Source: o.source, NoEvidence: o.accounting.none}
	r.RunImage, r.Fresh, r.Force = o.runImage, o.fresh, o.force
	var err error
	if r.Tag, err = oci.ParseTag(o.tag); err != nil {
		return r, err
	}
	if o.builder != "" {
		if r.Builder, err = oci.Parse(o.builder); err != nil {
			return r, err
		}
	}
	if o.cacheImage != "" {
		if r.Cache.Image, err = oci.ParseTag(o.cacheImage); err != nil {
			return r, err
		}
	}
	r.Cache.Clear = o.clearCache
	if r.Architectures, err = architecturesOf(o.platforms); err != nil {
		return r, err
	}
	if r.Settings, err = o.settings(env); err != nil {
		return r, err
	}
	return r, nil
}

func (o buildOptions) settings(env *Env) (build.Settings, error) {
	s := build.Settings{
		Buildpacks: o.buildpacks, Process: o.process,
		Client: build.ClientSettings(env.Getenv), Trust: build.ClientTrust(env.Getenv),
	}
	switch o.network {
	case "host":
	case "none":
		s.Offline = true
	default:
		return s, fault.Newf(fault.Usage, "read flags", "--network "+o.network, "want host or none")
	}
	var err error
	if s.Limits, err = o.limits(); err != nil {
		return s, err
	}
	if s.Environment, err = readVariables(env.Getenv, o.envFiles, o.env); err != nil {
		return s, err
	}
	for _, dir := range o.bindings {
		binding, err := build.ReadBinding(dir)
		if err != nil {
			return s, err
		}
		s.Bindings = append(s.Bindings, binding)
	}
	for _, path := range o.authorities {
		pem, err := readAuthorities(path)
		if err != nil {
			return s, err
		}
		s.Authorities = append(s.Authorities, pem...)
	}
	return s, nil
}

// limits reads quantities as Kubernetes has them.
func (o buildOptions) limits() (executor.Limits, error) {
	l := executor.Limits{Wall: o.timeout}
	if o.timeout < 0 {
		return l, fault.Newf(fault.Usage, "read flags", "--timeout "+o.timeout.String(), "it is negative")
	}
	for _, q := range []struct {
		flag, text string
		set        func(resource.Quantity)
	}{
		{"--memory", o.memory, func(q resource.Quantity) { l.Memory = q.Value() }},
		{"--cpus", o.cpus, func(q resource.Quantity) { l.MilliCPU = q.MilliValue() }},
	} {
		if q.text == "" {
			continue
		}
		quantity, err := resource.ParseQuantity(q.text)
		if err != nil || quantity.Sign() <= 0 {
			return l, fault.Newf(fault.Usage, "read flags", q.flag+" "+q.text, "want a quantity above zero, such as 500m, 2 or 4Gi")
		}
		q.set(quantity)
	}
	return l, nil
}

// architecturesOf reads "linux/amd64".
func architecturesOf(platforms []string) ([]string, error) {
	var out []string
	for _, p := range platforms {
		architecture, ok := strings.CutPrefix(p, "linux/")
		if !ok || !slices.Contains([]string{"amd64", "arm64"}, architecture) {
			return nil, fault.Newf(fault.Usage, "read flags", "--platform "+p, "want linux/amd64, linux/arm64 or both")
		}
		if !slices.Contains(out, architecture) {
			out = append(out, architecture)
		}
	}
	return out, nil
}

// note shows that a phase has ended.
func (env *Env) note(n build.Note) {
	if env.format != "" || n.Began {
		return
	}
	fmt.Fprintf(env.Err, "%-9s %6.1f s  %s\n", n.Phase, n.Duration.Seconds(), visible(n.Text))
}

func printBuilt(env *Env, out *site.Built, took time.Duration) error {
	return env.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s@%s\n", out.Ref, out.Digest)
		if out.Unchanged {
			fmt.Fprintf(w, "unchanged: built from this source, builder and base before (%.1f s)\n", took.Seconds())
			return
		}
		for _, image := range out.Images {
			fmt.Fprintf(w, "\nARCH\tLAYER\tSIZE\t\tDIGEST\n")
			for _, l := range image.Layers {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.19s\n", image.Architecture, visible(ledger.LayerName(l)), size(l.Size), reused(l.Reused), l.Digest)
			}
			fmt.Fprintf(w, "%s\ton %s\t\t\t%.19s\n", image.Architecture, visible(beforeAt(image.RunImage)), image.Digest)
		}
		fmt.Fprintf(w, "\nbuilt by %s in %.1f s\n", visible(strings.Join(out.Images[0].Buildpacks, ", ")), took.Seconds())
	})
}

func reused(yes bool) string {
	if yes {
		return "reused"
	}
	return "new"
}

func beforeAt(ref string) string {
	name, _, _ := strings.Cut(ref, "@")
	return name
}

// accounting are the flags of commands that make images.
type accounting struct{ none bool }

func (a *accounting) flags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&a.none, "no-evidence", false, "issue neither signature nor SBOM nor any other evidence")
}
