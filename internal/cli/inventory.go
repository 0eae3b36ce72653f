package cli

import (
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
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
			index, err := env.inventory(cmd.Context())
			if err != nil {
				return err
			}
			defer index.Close()
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
	index, err := env.inventory(ctx)
	if err != nil {
		return err
	}
	defer index.Close()
	r := env.rebuild(ctx)
	seen := map[string]bool{}
	failed := 0
	for text, err := range refs {
		if err != nil {
			return err
		}
		seen[text] = true
		images, err := r.read(ctx, text)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			failed++
			fmt.Fprintf(env.Err, "warning: %s: %s\n", visible(text), visible(err.Error()))
			continue
		}
		if err := r.keep(ctx, index, images); err != nil {
			return err
		}
	}
	// Other homes may share another database: what this store lacks, theirs may have.
	if whole && env.Getenv(inventoryVariable) == "" {
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
	s := store{env: env}
	err = s.with(ctx, registry.Options{}, func(reg *registry.Registry) error {
		entries, err := reg.List(ctx)
		for _, e := range entries {
			if !isSignature(e.Tag) {
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

// rebuild reads images for the inventory.
type rebuild struct {
	env      *Env
	session  *oci.Session
	contents *sbom.Scanner
	trust    attest.Trust // the zero value, where nobody is trusted
}

func (env *Env) rebuild(ctx context.Context) *rebuild {
	return &rebuild{env: env, session: env.Registries.Session(), contents: env.contents(), trust: env.trustOfHome(ctx)}
}

// found is an image as the inventory is to know it, and what VEX statements say of it.
type found struct {
	inventory.Image
	digest   v1.Hash
	attached []attest.Attached // to the image itself
	silenced []silenced
}

// silenced is what VEX statements from one place say.
type silenced struct {
	from       string
	statements []inventory.Suppression
}

// read gives every image that the reference names.
func (r *rebuild) read(ctx context.Context, text string) ([]found, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return nil, err
	}
	top, err := r.session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := r.env.Registries.Images(ctx, ref.At(top.Digest))
	if err != nil {
		return nil, err
	}
	var out []found
	for _, image := range images {
		one, err := r.one(ctx, ref, image)
		if err != nil {
			return nil, err
		}
		if err := r.silence(ctx, &one, ref, top.Digest); err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func (r *rebuild) one(ctx context.Context, ref oci.Reference, image v1.Image) (found, error) {
	subject, err := sbom.ImageOf(image)
	if err != nil {
		return found{}, err
	}
	contents, err := r.contents.Contents(ctx, subject)
	if err != nil {
		return found{}, err
	}
	digest, err := image.Digest()
	if err != nil {
		return found{}, err
	}
	attached, err := attest.List(ctx, r.session, ref, digest)
	if err != nil {
		return found{}, err
	}
	return r.found(ref, image, contents, attest.Verify(digest, attached, r.trust), attached)
}

// found gives the image as the inventory is to know it.
func (r *rebuild) found(ref oci.Reference, image v1.Image, contents artifact.Contents, report attest.Report, attached []attest.Attached) (found, error) {
	out := found{attached: attached}
	var err error
	if out.Image, err = known(ref, image, contents); err != nil {
		return found{}, err
	}
	if out.digest, err = image.Digest(); err != nil {
		return found{}, err
	}
	for _, c := range report.Checks {
		out.Evidence = append(out.Evidence, r.evidence(c))
	}
	return out, nil
}

// silence adds what the VEX documents say that are attached to the image, and to what the
// reference names where that is its index.
func (r *rebuild) silence(ctx context.Context, image *found, ref oci.Reference, top v1.Hash) error {
	own, err := attachedStatements(image.digest, image.attached, r.trust)
	if err != nil {
		return err
	}
	about := vex.Image{Contents: image.Contents, Digests: []string{top.String()}, Repository: ref.Repository()}
	image.silence("attestations of "+image.digest.String(), own, about)
	if top == image.digest {
		return nil
	}
	ofIndex, err := statementsOn(ctx, r.session, ref, r.trust, top)
	if err != nil {
		return err
	}
	image.silence("attestations of "+top.String()+" on "+image.digest.String(), ofIndex, about)
	return nil
}

// silence notes what the documents say, which are from there.
func (f *found) silence(from string, documents []*vex.Document, about vex.Image) {
	f.silenced = append(f.silenced, silenced{from, suppressions(documents, about)})
}

// keep puts images into the inventory.
func (r *rebuild) keep(ctx context.Context, index *inventory.Inventory, images []found) error {
	var all []inventory.Image
	for _, image := range images {
		all = append(all, image.Image)
	}
	if err := r.env.put(ctx, index, all...); err != nil {
		return err
	}
	for _, image := range images {
		for _, s := range image.silenced {
			if err := index.Suppress(ctx, s.from, s.statements); err != nil {
				return err
			}
		}
	}
	return nil
}

// evidence gives one thing that is attached, with who signed it when that is somebody the
// home trusts.
func (r *rebuild) evidence(c attest.Check) inventory.Evidence {
	out := inventory.Evidence{PredicateType: c.Predicate, Digest: c.Manifest, Stored: "tag"}
	if slices.Contains(c.Forms, attest.AsReferrer) {
		out.Stored = "bundle"
	}
	if !c.Verified {
		return out
	}
	out.VerifiedAt, out.Identity = time.Now(), c.By
	for _, key := range slices.Concat(r.trust.Images.Keys, r.trust.Attestations.Keys) {
		if key.Name == c.By {
			out.KeyID, out.Identity = keys.Fingerprint(key.Public), ""
		}
	}
	return out
}
