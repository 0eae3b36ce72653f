package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/site/caches"
)

func newCache(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "Show what is kept to be quick, and remove what is longest unused",
		Long: `Cache shows what this home keeps only to be quick, and how much each of it may hold: fetched and
unpacked packages, made layers, what buildpacks keep, what was found in layers, and layers as steps
see them. All of it can be made again. What is beyond its bound goes once a day, with "plimsoll up"
hourly; what was not used for the longest time goes first.

` + caches.Variable + ` says what all of it may hold together, such as 20G; docs/caches.md tells more.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCache(cmd.Context(), env) },
	}
	cmd.AddCommand(newCachePrune(env))
	return cmd
}

func runCache(ctx context.Context, env *Env) error {
	kept, err := env.Site().Caches()
	if err != nil {
		return err
	}
	all, err := kept.List(ctx)
	if err != nil {
		return err
	}
	return env.print(all, func(w io.Writer) {
		fmt.Fprintln(w, "CACHE\tENTRIES\tBYTES\tOF")
		for _, c := range all {
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\n", c.Name, c.Entries, size(c.Bytes), size(c.Bound))
		}
	})
}

type cachePruneOptions struct {
	max string
	all bool
}

func newCachePrune(env *Env) *cobra.Command {
	var o cachePruneOptions
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove what is longest unused, beyond the bounds",
		Long: `Prune removes what was not used for the longest time until each cache is within its bound. It may run
beside builds and a control plane: what was used within the last hour stays, and with --all nothing
fails but is made again.` + "\n" + exitCodes,
		Example: `  plimsoll cache prune
  plimsoll cache prune --max 10G
  plimsoll cache prune --all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCachePrune(cmd.Context(), env, o) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.max, "max", "", "what all caches may hold together, such as 10G, instead of $"+caches.Variable)
	flags.BoolVar(&o.all, "all", false, "remove all that is not in use")
	cmd.MarkFlagsMutuallyExclusive("max", "all")
	return cmd
}

func runCachePrune(ctx context.Context, env *Env, o cachePruneOptions) error {
	kept, err := env.Site().Caches()
	if err != nil {
		return err
	}
	if o.max != "" {
		total, err := caches.Bytes("read flags", "--max "+o.max, o.max)
		if err != nil {
			return err
		}
		kept = kept.Within(total)
	}
	all, err := kept.Prune(ctx, caches.PruneOptions{All: o.all})
	if err != nil {
		return err
	}
	return env.print(all, func(w io.Writer) {
		fmt.Fprintln(w, "CACHE\tREMOVED\tBYTES\tLEFT\tBYTES\tOF")
		for _, c := range all {
			fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%s\t%s\n", c.Name, c.Removed.Entries, size(c.Removed.Bytes), c.Entries, size(c.Bytes), size(c.Bound))
		}
	})
}
