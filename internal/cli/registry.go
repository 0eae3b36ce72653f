package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
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
func (s *store) with(ctx context.Context, o registry.Options, do func(*registry.Registry) error) error {
	o.Root, o.Config = filepath.Join(s.env.Home, "registry"), s.config
	reg, err := registry.Open(ctx, o)
	if err != nil {
		return err
	}
	err = do(reg)
	if closed := reg.Close(); err == nil && closed != nil {
		return fault.New(fault.Failed, "close registry", o.Root, closed)
	}
	return err
}

func newRegistryList(s *store) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List the images of the store",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.with(cmd.Context(), registry.Options{}, func(reg *registry.Registry) error {
				entries, err := reg.List(cmd.Context())
				if err != nil {
					return err
				}
				if !all {
					entries = slices.DeleteFunc(entries, func(e registry.Entry) bool { return isSignature(e.Tag) })
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

// isSignature tells the tags below which signatures lie from those of images.
func isSignature(tag string) bool {
	_, ok := oci.SignatureTag(tag)
	return ok
}

func newRegistryRemove(s *store) *cobra.Command {
	return &cobra.Command{
		Use:   "rm REF...",
		Short: "Remove tags, or with a digest images and all their tags",
		Long: `Rm removes what each REF names from the local store. The room is won back by
"plimsoll registry gc".` + "\n" + exitCodes,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var done, gone []string
			var changed []oci.Reference
			err := s.with(cmd.Context(), registry.Options{}, func(reg *registry.Registry) error {
				for _, arg := range args {
					touched := s.env.touched(cmd.Context(), arg)
					names, err := removeReference(cmd.Context(), reg, arg)
					if err != nil {
						return err
					}
					done, gone, changed = append(done, arg), append(gone, names...), append(changed, touched...)
				}
				return nil
			})
			s.env.forget(cmd.Context(), gone)
			s.env.relearn(cmd.Context(), changed...)
			return errors.Join(err, s.env.recordRemoved(cmd.Context(), done))
		},
	}
}

// touched gives the manifests of which policies know less once the reference is removed: the one
// that a tag names, and those that what it names is about.
func (env *Env) touched(ctx context.Context, arg string) []oci.Reference {
	ref, err := oci.Parse(arg)
	if err != nil {
		return nil // removing it says so
	}
	m, err := env.Registries.Session().Manifest(ctx, ref)
	if err != nil {
		return nil
	}
	if m.Digest.String() != ref.Identifier() {
		return []oci.Reference{untagged(ref, m.Digest)}
	}
	var said struct {
		Subject *v1.Descriptor `json:"subject"`
	}
	if json.Unmarshal(m.Raw, &said) != nil || said.Subject == nil {
		return nil
	}
	return []oci.Reference{ref.At(said.Subject.Digest)}
}

// untagged gives the manifest of which policies know less once a tag names it no more: the image
// that the tag keeps signatures of, else what it named.
func untagged(tag oci.Reference, named v1.Hash) oci.Reference {
	if subject, ok := oci.SignatureTag(tag.Identifier()); ok {
		return tag.At(subject)
	}
	return tag.At(named)
}

// removeReference gives the references that name nothing any more.
func removeReference(ctx context.Context, reg *registry.Registry, arg string) (gone []string, err error) {
	ref, err := oci.Parse(arg)
	if err != nil {
		return nil, err
	}
	if !ref.IsLocal() {
		return nil, fault.Newf(fault.Usage, "remove", arg, "it names another registry").
			WithHint("give a REF without a host")
	}
	repository, what := ref.Context().RepositoryStr(), ref.Identifier()
	if !strings.Contains(what, ":") { // a tag
		return []string{repository + ":" + what}, reg.Remove(ctx, repository, what)
	}
	entries, err := reg.List(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.Repository == repository && e.Digest.String() == what {
			gone = append(gone, repository+":"+e.Tag)
		}
	}
	return gone, reg.Remove(ctx, repository, what)
}

// forget tells the inventory of references that name nothing any more.
func (env *Env) forget(ctx context.Context, gone []string) {
	if len(gone) == 0 {
		return
	}
	env.tell(ctx, func(index *inventory.Inventory) error { return index.Remove(ctx, gone...) })
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
	return s.with(ctx, registry.Options{}, func(reg *registry.Registry) error {
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
			return s.with(cmd.Context(), registry.Options{}, func(reg *registry.Registry) error {
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
