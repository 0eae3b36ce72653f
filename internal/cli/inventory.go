package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/known"
	"plimsoll.dev/plimsoll/internal/site/served"
)

func newInventory(env *Env) *cobra.Command {
	return group("inventory", "Keep the index over all images", newInventoryStatus(env), newInventoryRebuild(env))
}

func newInventoryStatus(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Count what the inventory knows",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			index, err := env.home().Inventory(cmd.Context())
			if err != nil {
				return err
			}
			stats, err := index.Stats(cmd.Context())
			if err != nil {
				return err
			}
			return printStats(env, stats)
		},
	}
}

func printStats(env *Env, s inventory.Stats) error {
	return env.print(s, func(w io.Writer) {
		fmt.Fprintf(w, "images\t%d, %d with those of the past\n", s.Images, s.Known)
		fmt.Fprintf(w, "packages\t%d, in %d sets of %d combinations\n", s.Packages, s.Sets, s.Stacks)
		fmt.Fprintf(w, "findings\t%d, of %d advisories\n", s.Findings, s.Advisories)
		fmt.Fprintf(w, "size\t%s\n", size(s.Bytes))
	})
}

func newInventoryRebuild(env *Env) *cobra.Command {
	file := ""
	cmd := &cobra.Command{
		Use:   "rebuild [REF...]",
		Short: "Read images from their registries into the inventory",
		Long: `Rebuild reads every image of the local store, or those that the REFs name, and puts what is in
them, what is attached to them and whom the home trusts of its signers into the inventory. The
index can be lost: this makes it again. References of the local store that name nothing any more
are noted as gone.

The inventory is $PLIMSOLL_INVENTORY (sqlite:PATH or postgres://…), else in this home.
docs/inventory.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll inventory rebuild
  plimsoll inventory rebuild --file fleet.txt`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runInventoryRebuild(cmd.Context(), env, file, args)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "file with a REF on each line; - is standard input")
	return cmd
}

func runInventoryRebuild(ctx context.Context, env *Env, file string, args []string) error {
	refs, whole, err := env.rebuilt(ctx, file, args)
	if err != nil {
		return err
	}
	index, err := env.home().Inventory(ctx)
	if err != nil {
		return err
	}
	r := known.NewReader(ctx, env.home())
	seen := map[string]bool{}
	failed := 0
	for text, err := range refs {
		if err != nil {
			return err
		}
		seen[text] = true
		images, err := r.Read(ctx, text)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed++
			env.warn(text+": "+err.Error(), "")
			continue
		}
		if err := r.Keep(ctx, index, images); err != nil {
			return err
		}
	}
	// Other homes may share another database: what this store lacks, theirs may have.
	if whole && env.Getenv(home.InventoryVariable) == "" {
		if err := removeGone(ctx, index, seen); err != nil {
			return err
		}
	}
	stats, err := index.Stats(ctx)
	if err != nil {
		return err
	}
	if err := printStats(env, stats); err != nil || failed == 0 {
		return err
	}
	return fault.Newf(fault.Failed, "rebuild the inventory", "", fmt.Sprintf("%d of %d references could not be read, and no answer will know of them", failed, len(seen))).
		WithHint("each one's warning says why")
}

// rebuilt gives the references to read: those given, else all of the local store, which
// whole tells.
func (env *Env) rebuilt(ctx context.Context, file string, args []string) (refs iter.Seq2[string, error], whole bool, err error) {
	if file != "" || len(args) > 0 {
		o := rebaseOptions{file: file}
		o.Jobs = 1
		refs, err = o.refs(env, args)
		return refs, false, err
	}
	var names []string
	err = served.With(ctx, env.home(), registry.Options{}, func(reg *registry.Registry) error {
		entries, err := reg.List(ctx)
		for _, e := range entries {
			if _, signature := oci.SignatureTag(e.Tag); !signature {
				names = append(names, e.Repository+":"+e.Tag)
			}
		}
		return err
	})
	return func(yield func(string, error) bool) {
		for _, n := range names {
			if !yield(n, nil) {
				return
			}
		}
	}, true, err
}

// removeGone notes which references of the local store name nothing any more.
func removeGone(ctx context.Context, index *inventory.Inventory, seen map[string]bool) error {
	known, err := index.References(ctx, "")
	if err != nil {
		return err
	}
	gone := slices.DeleteFunc(known, func(text string) bool {
		ref, err := oci.Parse(text)
		return err != nil || !ref.IsLocal() || seen[text]
	})
	if len(gone) == 0 {
		return nil
	}
	return index.Remove(ctx, gone...)
}
