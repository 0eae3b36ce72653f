package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/served"
)

// store says which store a registry command works on.
type store struct {
	env    *Env
	config string
}

func newRegistry(env *Env) *cobra.Command {
	s := &store{env: env}
	cmd := group("registry", "Serve and keep the registry the images live in",
		newRegistryServe(s), newRegistryList(s), newRegistryRemove(s), newRegistryCollect(s), newRegistryReindex(s), newRegistryImport(s), newRegistryImports(s),
		newRegistryRobot(env), newRegistryLogin(env), newRegistryLogout(env),
		newRegistryAudit(env), newRegistryEvents(env), newRegistryRetention(s), newRegistryUsage(s))
	cmd.Long = `The registry's store is the folder registry in $PLIMSOLL_HOME (else in the XDG data
folder). Every command may run beside a server on the same store.

docs/registry.md tells more.` + "\n" + exitCodes
	cmd.PersistentFlags().StringVar(&s.config, "config", "", "configuration in the distribution project's format, whose storage is used in place of the folder")
	return cmd
}

// with opens the store for the length of one call.
func (s *store) with(ctx context.Context, do func(*registry.Registry) error) error {
	return served.With(ctx, s.env.home(), registry.Options{Config: s.config}, do)
}

func newRegistryList(s *store) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the images of the store",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(cmd.Context(), func(reg *registry.Registry) error {
				entries, err := reg.List(cmd.Context())
				if err != nil {
					return err
				}
				if !all {
					entries = slices.DeleteFunc(entries, func(e registry.Entry) bool {
						_, signature := oci.SignatureTag(e.Tag)
						return signature
					})
				}
				return s.env.print(entries, func(w io.Writer) {
					fmt.Fprintln(w, "REPOSITORY\tTAG\tDIGEST\tSIZE")
					for _, e := range entries {
						fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", e.Repository, e.Tag, e.Digest, size(e.Size))
					}
				})
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "also the tags below which signatures lie (sha256-….sig, .att, .sbom)")
	return cmd
}

func newRegistryRemove(s *store) *cobra.Command {
	return &cobra.Command{
		Use:   "rm REF...",
		Short: "Remove tags, or with a digest images and all their tags",
		Long: `Rm removes what each REF names from the local store. The room is won back by
"plimsoll registry gc".` + "\n" + exitCodes,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.with(cmd.Context(), func(reg *registry.Registry) error {
				return served.Remove(cmd.Context(), s.env.home(), reg, s.env.warningLog(), args)
			})
		},
	}
}

func newRegistryCollect(s *store) *cobra.Command {
	var o registry.CollectOptions
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what no image needs",
		Long: `Gc removes blobs that no manifest needs, uploads that were given up, and what interrupted
pushes left. It may run beside servers and pushes on the same machine.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRegistryCollect(cmd.Context(), s, o) },
	}
	flags := cmd.Flags()
	flags.DurationVar(&o.Grace, "grace", time.Hour, "spare what is younger: longer than a push takes")
	flags.BoolVar(&o.Untagged, "untagged", false, "also remove manifests that no tag, no index and no live subject holds")
	flags.BoolVar(&o.DryRun, "dry-run", false, "only say what would be removed")
	return cmd
}

func runRegistryCollect(ctx context.Context, s *store, o registry.CollectOptions) error {
	switch {
	case o.Grace < 0:
		return fault.Newf(fault.Usage, "read flags", "--grace", "it cannot be negative")
	case o.Grace == 0:
		o.Grace = time.Nanosecond // the zero Grace means the default
	}
	return s.with(ctx, func(reg *registry.Registry) error {
		report, err := reg.Collect(ctx, o)
		if err != nil {
			return err
		}
		return s.env.print(report, func(w io.Writer) {
			fmt.Fprintln(w, "REMOVED\tCOUNT")
			if report.DryRun {
				fmt.Fprintln(w, "(dry run: nothing was)\t")
			}
			fmt.Fprintf(w, "manifests\t%d\nblobs\t%d (%s)\nlayer links\t%d\ntags\t%d\nreferrer entries\t%d\nuploads\t%d\n",
				report.Manifests, report.Blobs, size(report.Bytes), report.Links, report.Tags, report.Referrers, report.Uploads)
			fmt.Fprintf(w, "\n%d blobs kept in %d repositories\n", report.Kept, report.Repositories)
		})
	})
}

func newRegistryReindex(s *store) *cobra.Command {
	return &cobra.Command{
		Use:   "reindex",
		Short: "Make the referrers index again from the store",
		Long: `Reindex reads every manifest and makes the index of referrers again. It is needed only for
a store that another registry wrote to.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(cmd.Context(), func(reg *registry.Registry) error {
				report, err := reg.Rebuild(cmd.Context())
				if err != nil {
					return err
				}
				return s.env.print(report, func(w io.Writer) {
					fmt.Fprintln(w, "REPOSITORIES\tMANIFESTS\tREFERRERS\tSTALE")
					fmt.Fprintf(w, "%d\t%d\t%d\t%d\n", report.Repositories, report.Manifests, report.Referrers, report.Stale)
				})
			})
		},
	}
}

// warningLog gives a command's own log: what is wrong, on standard error.
func (env *Env) warningLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(env.Err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}
