package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
)

func newBuilder(env *Env) *cobra.Command {
	return group("builder", "Make and inspect the images that builds run in", newBuilderBuild(env), newBuilderInspect(env))
}

type builderBuildOptions struct {
	file, tag  string
	accounting accounting
}

func newBuilderBuild(env *Env) *cobra.Command {
	var o builderBuildOptions
	cmd := &cobra.Command{
		Use:   "build -f FILE -t REF",
		Short: "Put bases, buildpacks and a lifecycle together as a builder",
		Long: `Build reads a Builder from FILE, checks that its bases, buildpacks and lifecycle fit
together, and pushes the builder image (an index, when the spec names several
architectures) to REF. Any platform for Cloud Native Buildpacks can build with it.

docs/builders.md describes the file; examples/builders holds one.` + "\n" + exitCodes,
		Example: `  plimsoll builder build -f examples/builders/builder.yaml -t builder:1
  plimsoll builder build -f builder.yaml -t registry.example.com/builders/main:1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runBuilderBuild(cmd.Context(), env, o) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "file of the Builder")
	flags.StringVarP(&o.tag, "tag", "t", "", "where to push the image")
	o.accounting.flags(cmd)
	_ = cmd.MarkFlagRequired("file")
	_ = cmd.MarkFlagRequired("tag")
	return cmd
}

func runBuilderBuild(ctx context.Context, env *Env, o builderBuildOptions) error {
	ref, err := oci.ParseTag(o.tag)
	if err != nil {
		return err
	}
	spec, err := builder.Load(o.file)
	if err != nil {
		return err
	}
	progress := env.progress()
	built, err := env.Site().BuildBuilder(ctx, site.BuilderRequest{
		Spec: spec, Publication: site.Publication{Tag: ref, NoEvidence: o.accounting.none, Progress: progress.update},
	})
	progress.close()
	if err != nil {
		return err
	}
	return printBuilder(env, built)
}

func printBuilder(env *Env, out *site.BuiltBuilder) error {
	return env.print(out, func(w io.Writer) {
		fmt.Fprintf(w, "%s@%s\n", out.Ref, out.Digest)
		for _, image := range out.Images {
			total := image.BaseSize
			fmt.Fprintf(w, "\nARCH\tLAYER\tSIZE\tDIGEST\n")
			fmt.Fprintf(w, "%s\tbuild base, %s\t%s\t\n", image.Architecture, plural(image.BaseLayers, "layer"), size(image.BaseSize))
			for _, l := range image.Layers {
				total += l.Size
				fmt.Fprintf(w, "%s\t%s\t%s\t%.19s\n", image.Architecture, l.Name, size(l.Size), l.Digest)
			}
			fmt.Fprintf(w, "%s\ttotal\t%s\t%.19s\n", image.Architecture, size(total), image.Digest)
		}
	})
}
