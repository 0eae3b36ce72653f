package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/oci"
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
	ledger, err := env.ledger(ctx, o.accounting)
	if err != nil {
		return err
	}
	progress := env.progress()
	maker := builder.Maker{Home: env.Home, Registries: env.Registries, Progress: progress.update}
	result, err := maker.Make(ctx, spec)
	progress.close()
	if err != nil {
		return err
	}
	var images []told
	for _, built := range result.Images {
		facts, err := factsOfBuilder(ref.String(), built)
		if err != nil {
			return err
		}
		images = append(images, told{built.Image, facts})
	}
	made := pushable{result.Index, result.Images[0].Image}
	if err := ledger.publish(ctx, made, ref, images); err != nil {
		return err
	}
	digest, err := made.digest()
	if err != nil {
		return err
	}
	return printBuilder(env, builtBuilder{Ref: ref.String(), Digest: digest, Images: result.Images})
}

// builtBuilder is what `builder build` gives a script.
type builtBuilder struct {
	Ref    string          `json:"ref"`
	Digest string          `json:"digest"`
	Images []builder.Built `json:"images"`
}

func printBuilder(env *Env, out builtBuilder) error {
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
