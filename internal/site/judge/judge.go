// Package judge takes a home and a manifest and gives the verdict of the home's policies on it, now
// and whenever something changes that bears on it.
package judge

import (
	"context"
	"errors"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/together"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
)

// Judge keeps the verdicts of a home while a registry is served: it supplies what the keeper
// of verdicts asks for, and watches for what others change.
type Judge struct {
	home   *home.Home
	log    *slog.Logger
	gather *Gatherer // replaced under mu
	index  *inventory.Inventory
	keeper *verdicts.Keeper
	seen   state

	findings *together.Batch[*finding]
	keeping

	stale error  // why the policies of the files are not taken up; under mu
	set   string // digest of the policies that were last read; under mu

	// TakenUp hears of the policies that decide from now on, by their digest, and why; nil hears
	// nothing. It is set before Watch.
	TakenUp func(ctx context.Context, set, why string)

	mu sync.Mutex
}

// state is what the verdicts were decided by, as far as others can change it.
type state struct {
	policies, trust, advisories string
	news                        inventory.Mark
}

// Open opens the verdicts of a home that has policies. One process at a time keeps them.
func Open(ctx context.Context, h *home.Home, log *slog.Logger, o verdicts.Options) (*Judge, error) {
	j, err := NewLearner(ctx, h)
	if err != nil {
		return nil, err
	}
	j.log = log
	// Before anything is read by it, so that no change is missed.
	j.seen = state{policies: PolicyState(h), trust: trustState(h), advisories: advisoryState(h)}
	if j.seen.news, err = j.index.Mark(ctx); err != nil {
		return nil, err
	}
	o.Log = log
	j.keeper, err = verdicts.Open(ctx, h.VerdictsFolder(), j.load, j, keptVerdicts{j.index}, o)
	if err != nil {
		return nil, err
	}
	if was, err := os.ReadFile(j.trustFile()); err == nil && string(was) == j.seen.trust {
		return j, nil
	}
	if err := j.lookAnew(ctx); err != nil { // what is kept was verified by the word of others
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// load reads the policies, and keeps in mind whether they can be.
func (j *Judge) load(context.Context) (*policy.Set, error) {
	set, err := j.home.Policies(home.PolicySource{})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stale = err
	if err == nil {
		j.set = set.Digest()
	}
	return set, err
}

// UpToDate gives why the policies that count are not those of the files; nil when they are.
func (j *Judge) UpToDate() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stale
}

// trustFile says who was trusted when what is kept of images was verified.
func (j *Judge) trustFile() string { return filepath.Join(j.home.VerdictsFolder(), "trust") }

// Close ends what goes on.
func (j *Judge) Close() error { return j.keeper.Close() }

// Keeper gives what keeps the verdicts.
func (j *Judge) Keeper() *verdicts.Keeper { return j.keeper }

// Gather implements verdicts.Facts: it looks into the image, and keeps what it finds.
func (j *Judge) Gather(ctx context.Context, image verdicts.Image) (artifact.Facts, error) {
	ref, digest, err := At(image)
	if err != nil {
		return artifact.Facts{}, err
	}
	g := j.gatherer()
	tags, err := g.tags(ctx, ref, digest)
	if err != nil {
		return artifact.Facts{}, err
	}
	known, err := g.one(ctx, ref, tags, nil)
	if err != nil {
		return artifact.Facts{}, err
	}
	return j.keep(ctx, &finding{gathered: known, at: inventory.Manifest(image), tags: tags, local: ref.IsLocal()})
}

func (j *Judge) gatherer() *Gatherer {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gather
}

// At gives the image's reference.
func At(image verdicts.Image) (oci.Reference, v1.Hash, error) {
	digest, err := v1.NewHash(image.Digest)
	if err != nil {
		return oci.Reference{}, digest, err
	}
	ref, err := oci.Parse(image.String())
	return ref, digest, err
}

// Level gives the SLSA build level of an image by its provenance; 0 where nothing is known of it.
func (j *Judge) Level(ctx context.Context, image verdicts.Image) int {
	kept, err := j.index.Kept(ctx, inventory.Manifest(image))
	if of := kept[inventory.Manifest(image)]; err == nil && of.Provenance != nil {
		return of.Provenance.Level
	}
	return 0
}

// Known implements verdicts.Facts.
func (j *Judge) Known(ctx context.Context, image verdicts.Image) (kept artifact.Facts, ok bool, err error) {
	which := inventory.Selection{Of: []inventory.Manifest{inventory.Manifest(image)}}
	err = j.each(ctx, which, func(f artifact.Facts) error {
		kept, ok = f, true
		return nil
	})
	return kept, ok, err
}

// each gives what is kept of manifests. What others than the manifest decide is not kept, but
// looked up: of which ecosystems there are advisories now, and who vouches for its base.
func (j *Judge) each(ctx context.Context, which inventory.Selection, yield func(artifact.Facts) error) error {
	g := j.gatherer()
	var db *advisory.Database // opened for the first one; nil where there is no feed yet
	defer func() {
		if db != nil {
			_ = db.Close() // it was only read
		}
	}()
	// Who made an image chose where its base is asked for, and all images wait for the answers.
	looking, cancel := context.WithTimeout(ctx, renewBases)
	defer cancel()
	var packages []artifact.Package // images that hold the same come one after the other
	var ecosystems []string
	first := true
	return j.index.Facts(ctx, which, func(f artifact.Facts) (err error) {
		if first {
			first = false
			if db, err = g.feeds.Database(ctx); err != nil && fault.KindOf(err) != fault.NotFound {
				return err
			}
		}
		if db != nil && !same(packages, f.Packages) {
			packages = f.Packages
			if ecosystems, err = unadvised(db, packages); err != nil {
				return err
			}
		}
		f.Unadvised = ecosystems
		withoutBase(&f)
		if looking.Err() == nil {
			if err := g.stands.renew(looking, g, &f); err != nil && ctx.Err() != nil {
				return err
			}
		}
		return yield(f)
	})
}

// renewBases is how long all bases together may take to be looked up; of those left out, what was
// known stays.
const renewBases = 15 * time.Second

// same says whether both are one slice.
func same(a, b []artifact.Package) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// All implements verdicts.Facts.
func (j *Judge) All(ctx context.Context) iter.Seq2[artifact.Facts, error] {
	return streamed(func(yield func(artifact.Facts) error) error {
		return j.each(ctx, inventory.Selection{}, yield)
	})
}

// keptVerdicts implements verdicts.Store with the inventory.
type keptVerdicts struct{ index *inventory.Inventory }

func (k keptVerdicts) All(ctx context.Context) iter.Seq2[artifact.Verdict, error] {
	return streamed(func(yield func(artifact.Verdict) error) error {
		return k.index.Verdicts(ctx, inventory.Selection{}, yield)
	})
}

func (k keptVerdicts) Save(ctx context.Context, all []artifact.Verdict) error {
	return k.index.SetVerdicts(ctx, all...)
}

var errEnough = errors.New("no more is wanted")

// streamed gives as a sequence what is told by calls.
func streamed[T any](each func(func(T) error) error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		err := each(func(value T) error {
			if !yield(value, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			var none T
			yield(none, err)
		}
	}
}
