package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/oci"
)

func newBuilderInspect(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "inspect REF",
		Short: "Show what a builder is made of, whoever made it",
		Long: `Inspect reads a builder of Cloud Native Buildpacks: as whom it builds, with which
lifecycle, on which run images, and its buildpacks in the order in which they are tried.` + "\n" + exitCodes,
		Example: `  plimsoll builder inspect builder:1
  plimsoll builder inspect registry.example.com/builders/main:1 -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, err := inspectBuilder(cmd.Context(), env, args[0])
			if err != nil {
				return err
			}
			return env.print(all, func(w io.Writer) { tableOfBuilders(w, all) })
		},
	}
}

// inspectedBuilder is a builder for one architecture, as a script sees it.
type inspectedBuilder struct {
	Architecture string              `json:"architecture"`
	Description  string              `json:"description,omitempty"`
	User         string              `json:"user"` // "uid:gid" of build steps
	Distro       string              `json:"distro,omitempty"`
	Stack        string              `json:"stack,omitempty"`
	Lifecycle    cnb.LifecycleInfo   `json:"lifecycle"`
	RunImages    []inspectedRun      `json:"runImages"`
	Buildpacks   []cnb.BuildpackInfo `json:"buildpacks"`
	Order        cnb.Order           `json:"order"`
}

type inspectedRun struct {
	cnb.RunImage
	Buildpacks []string `json:"buildpacks,omitempty"`
}

func inspectBuilder(ctx context.Context, env *Env, name string) ([]inspectedBuilder, error) {
	ref, err := oci.Parse(name)
	if err != nil {
		return nil, err
	}
	images, err := env.Registries.Images(ctx, ref)
	if err != nil {
		return nil, err
	}
	var all []inspectedBuilder
	for _, architecture := range slices.Sorted(maps.Keys(images)) {
		b, err := builder.Read(ref.String(), images[architecture])
		if err != nil {
			return nil, err
		}
		out := inspectedBuilder{
			Architecture: architecture, Description: b.Description, User: fmt.Sprintf("%d:%d", b.UID, b.GID),
			Distro: b.Distro.String(), Stack: b.StackID, Lifecycle: b.Lifecycle, Buildpacks: b.Buildpacks, Order: b.Order,
		}
		for _, run := range b.RunImages {
			out.RunImages = append(out.RunImages, inspectedRun(run))
		}
		all = append(all, out)
	}
	return all, nil
}

func tableOfBuilders(w io.Writer, all []inspectedBuilder) {
	for i, b := range all {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "ARCH\t%s\n", b.Architecture)
		fmt.Fprintf(w, "DESCRIPTION\t%s\n", orDash(b.Description))
		fmt.Fprintf(w, "BUILDS ON\t%s\n", orDash(strings.TrimSpace(b.Distro+" "+b.Stack)))
		fmt.Fprintf(w, "AS USER\t%s\n", b.User)
		fmt.Fprintf(w, "LIFECYCLE\t%s, Platform API %s\n", b.Lifecycle.Version, strings.Join(b.Lifecycle.APIs.Platform.Supported, " "))
		fmt.Fprintf(w, "\nRUN IMAGE\tFOR\n")
		for _, run := range b.RunImages {
			fmt.Fprintf(w, "%s\t%s\n", run.Image, orAll(run.Buildpacks))
		}
		fmt.Fprintf(w, "\nORDER\tBUILDPACKS\n")
		for i, group := range b.Order {
			var names []string
			for _, entry := range group.Group {
				name := cnb.FullName(entry.ID, entry.Version)
				if entry.Optional {
					name = "[" + name + "]"
				}
				names = append(names, name)
			}
			fmt.Fprintf(w, "%d\t%s\n", i+1, strings.Join(names, " "))
		}
	}
}

func orAll(buildpacks []string) string {
	if len(buildpacks) == 0 {
		return "all others"
	}
	return strings.Join(buildpacks, " ")
}
