package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/oci"
)

func newBaseDiff(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "diff REF REF",
		Short: "Show what changes from one base to another, and what it costs to ship",
		Long: `Diff compares two bases: packages added, removed and changed, layers shared and new,
and the compressed bytes that a host which has the first must fetch to get the second.` + "\n" + exitCodes,
		Example: "  plimsoll base diff run:1 run:2",
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			diffs, err := diffBases(cmd.Context(), env, args[0], args[1])
			if err != nil {
				return err
			}
			return env.print(diffs, func(w io.Writer) { tableOfDiffs(w, diffs) })
		},
	}
}

func diffBases(ctx context.Context, env *Env, from, to string) ([]base.Diff, error) {
	a, err := oci.Parse(from)
	if err != nil {
		return nil, err
	}
	b, err := oci.Parse(to)
	if err != nil {
		return nil, err
	}
	old, err := env.Registries.Images(ctx, a)
	if err != nil {
		return nil, err
	}
	new, err := env.Registries.Images(ctx, b)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(old)
	maps.Copy(all, new)
	var diffs []base.Diff
	for _, architecture := range slices.Sorted(maps.Keys(all)) {
		d := base.Diff{Architecture: architecture}
		switch {
		case old[architecture] == nil:
			d.OnlyIn = b.String()
		case new[architecture] == nil:
			d.OnlyIn = a.String()
		default:
			if d, err = base.Compare(architecture, old[architecture], new[architecture]); err != nil {
				return nil, err
			}
		}
		diffs = append(diffs, d)
	}
	return diffs, nil
}

func tableOfDiffs(w io.Writer, diffs []base.Diff) {
	for i, d := range diffs {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if d.OnlyIn != "" {
			fmt.Fprintf(w, "%s: only in %s\n", d.Architecture, d.OnlyIn)
			continue
		}
		fmt.Fprintf(w, "ARCH\tPACKAGE\tFROM\tTO\n")
		for _, p := range d.Packages {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", d.Architecture, p.Name, orDash(p.From), orDash(p.To))
		}
		fmt.Fprintf(w, "\nARCH\tNEW LAYER\tSIZE\tDIGEST\n")
		for _, l := range d.Layers {
			if l.New {
				fmt.Fprintf(w, "%s\t%s\t%s\t%.19s\n", d.Architecture, l.Name, size(l.Size), l.Digest)
			}
		}
		fmt.Fprintf(w, "\n%s: %s changed, %s new, %d shared; %s to ship, %s already there\n",
			d.Architecture, plural(len(d.Packages), "package"), plural(d.NewLayers, "layer"), d.SharedLayers, size(d.BytesToShip), size(d.BytesShared))
	}
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
