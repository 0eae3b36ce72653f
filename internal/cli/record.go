package cli

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
)

// known gives what the inventory is to know of an image.
func known(ref oci.Reference, image v1.Image, contents artifact.Contents) (inventory.Image, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return inventory.Image{}, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return inventory.Image{}, err
	}
	out := inventory.Image{
		Reference: ref.String(), Contents: contents, Created: config.Created.Time, Size: manifest.Config.Size,
		Base:   inventory.Base{Name: manifest.Annotations[build.BaseNameAnnotation], Digest: manifest.Annotations[build.BaseDigestAnnotation]},
		Source: inventory.Source{URL: manifest.Annotations[build.SourceAnnotation], Revision: manifest.Annotations[build.RevisionAnnotation]},
		Labels: map[string]string{},
	}
	for _, l := range manifest.Layers {
		out.Size += l.Size
	}
	for name, value := range config.Config.Labels {
		const worth = 256 // bytes: what is longer is for machines
		if strings.HasPrefix(name, "org.opencontainers.image.") && len(value) <= worth {
			out.Labels[name] = value
		}
	}
	return out, nil
}

// known gives evidence as the inventory is to know it: just signed here, for the identity or
// with a key.
func (l *ledger) known(predicate string, manifest v1.Hash, identity string) inventory.Evidence {
	out := inventory.Evidence{PredicateType: predicate, Digest: manifest.String(), Stored: "bundle", VerifiedAt: time.Now(), Identity: identity}
	signer := l.issuer.Signers.Attestations
	if predicate == artifact.PredicateSignature || signer == nil {
		signer = l.issuer.Signers.Images
	}
	if signer != nil {
		out.KeyID = keys.Fingerprint(signer.PublicKey())
	}
	return out
}

// record tells the inventory of the images that are done, and matches what is new in them.
// The inventory is only an index: when it fails, the images stand, and that is said.
func (l *ledger) record(ctx context.Context) {
	if len(l.done) == 0 {
		return
	}
	images := l.done
	l.done, l.packages = nil, 0
	if err := l.env.record(ctx, images...); err != nil {
		l.env.untold(err)
	}
}

// tell tells the inventory something. It is only an index: when that fails, what was done stands,
// and that is said.
func (env *Env) tell(ctx context.Context, do func(*inventory.Inventory) error) {
	err := func() error {
		index, err := env.inventory(ctx)
		if err != nil {
			return err
		}
		defer index.Close()
		return do(index)
	}()
	if err != nil {
		env.untold(err)
	}
}

// untold says that the inventory does not know of what was done.
func (env *Env) untold(err error) {
	fmt.Fprintf(env.Err, "warning: the inventory was not told: %s\nhint: %s\n", visible(err.Error()), visible(cmp.Or(fault.HintOf(err), "run `plimsoll inventory rebuild` when that is mended")))
}

// record puts images into the inventory and matches those packages that no advisory was
// held against yet.
func (env *Env) record(ctx context.Context, images ...inventory.Image) error {
	index, err := env.inventory(ctx)
	if err != nil {
		return err
	}
	defer index.Close()
	return env.put(ctx, index, images...)
}

// put is record for an inventory that is open.
func (env *Env) put(ctx context.Context, index *inventory.Inventory, images ...inventory.Image) error {
	if err := index.Put(ctx, images...); err != nil {
		return err
	}
	a, err := env.advisories()
	if err != nil {
		return err
	}
	return a.matchNew(ctx, index)
}

// matchNew matches packages that no advisory was held against yet. Where a sync has put
// another database in the place of the one that was asked, it may have been done with the
// inventory before: then that one is asked about the same packages.
func (a *advisories) matchNew(ctx context.Context, index *inventory.Inventory) error {
	for which := (inventory.Which{Unmatched: true}); ; {
		before, _ := os.Stat(a.path()) // there may be none yet
		db, err := a.open(ctx)
		if fault.KindOf(err) == fault.NotFound {
			return nil // there is no feed yet: the first sync matches all
		}
		if err != nil {
			return err
		}
		names := []string{}
		match := matcher(db)
		_, err = index.Rematch(ctx, which, func(ctx context.Context, packages []inventory.Package) ([]inventory.Finding, error) {
			for _, p := range packages {
				if _, name, ok := p.AdvisoryKey(); ok {
					names = append(names, name)
				}
			}
			return match(ctx, packages)
		})
		_ = db.Close() // it was only read
		if err != nil || len(names) == 0 {
			return err
		}
		if now, err := os.Stat(a.path()); err == nil && os.SameFile(before, now) {
			return nil
		}
		which = inventory.Which{Names: names}
	}
}
