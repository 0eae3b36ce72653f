package cli

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

// judge keeps the verdicts of this home while a registry is served: it supplies what the keeper
// of verdicts asks for, and watches for what others change.
type judge struct {
	env    *Env
	log    *slog.Logger
	gather *gatherer // replaced under mu
	index  *inventory.Inventory
	keeper *verdicts.Keeper
	seen   state
	stale  error  // why the policies of the files are not taken up; under mu
	set    string // digest of the policies that were last read; under mu

	takenUp func(ctx context.Context, set, why string) // hears of the policies that decide

	mu sync.Mutex
}

// state is what the verdicts were decided by, as far as others can change it.
type state struct {
	policies, trust, advisories string
	news                        inventory.Mark
}

// judge opens the verdicts of this home.
func (env *Env) judge(ctx context.Context, log *slog.Logger, o verdicts.Options) (*judge, error) {
	j := &judge{env: env, log: log}
	var err error
	if j.gather, err = env.gatherer(ctx); err != nil {
		return nil, err
	}
	if j.index, err = env.inventory(ctx); err != nil {
		return nil, err
	}
	// Before anything is read by it, so that no change is missed.
	j.seen = state{policies: env.policyState(), trust: env.trustState(), advisories: env.advisoryState()}
	if j.seen.news, err = j.index.Mark(ctx); err != nil {
		return nil, errors.Join(err, j.index.Close())
	}
	o.Log = log
	j.keeper, err = verdicts.Open(ctx, env.verdictsFolder(), j.load, j, keptVerdicts{j.index}, o)
	if err != nil {
		return nil, errors.Join(err, j.index.Close())
	}
	if was, err := os.ReadFile(j.trustFile()); err == nil && string(was) == j.seen.trust {
		return j, nil
	}
	if err := j.lookAnew(ctx); err != nil { // what is kept was verified by the word of others
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

func (env *Env) verdictsFolder() string { return filepath.Join(env.Home, "verdicts") }

// load reads the policies, and keeps in mind whether they can be.
func (j *judge) load(context.Context) (*policy.Set, error) {
	set, err := j.env.policies(policyOptions{})
	j.mu.Lock()
	defer j.mu.Unlock()
	j.stale = err
	if err == nil {
		j.set = set.Digest()
	}
	return set, err
}

// upToDate gives why the policies that count are not those of the files; nil when they are.
func (j *judge) upToDate() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.stale
}

// trustFile says who was trusted when what is kept of images was verified.
func (j *judge) trustFile() string { return filepath.Join(j.env.verdictsFolder(), "trust") }

// Close ends what goes on.
func (j *judge) Close() error { return errors.Join(j.keeper.Close(), j.index.Close()) }

// Gather implements verdicts.Facts: it looks into the image, and keeps what it finds.
func (j *judge) Gather(ctx context.Context, image verdicts.Image) (artifact.Facts, error) {
	ref, digest, err := at(image)
	if err != nil {
		return artifact.Facts{}, err
	}
	g := j.gatherer()
	tags, err := g.tags(ctx, ref, digest)
	if err != nil {
		return artifact.Facts{}, err
	}
	before, seen, err := j.Known(ctx, image)
	if err != nil {
		return artifact.Facts{}, err
	}
	known, err := g.one(ctx, ref, tags, nil)
	if err != nil {
		return artifact.Facts{}, err
	}
	if known.Image.Pushed = before.Image.Pushed; !seen && ref.IsLocal() {
		known.Image.Pushed = time.Now().UTC().Truncate(time.Second)
	}
	if known.image != nil {
		if err := j.keep(ctx, image.Repository, *known.image, tags); err != nil {
			return artifact.Facts{}, err
		}
	}
	known.Unadvised = nil // see each
	if err := j.index.PutFacts(ctx, known.Facts); err != nil {
		return artifact.Facts{}, err
	}
	kept, _, err := j.Known(ctx, image) // as everybody else will be told
	return kept, err
}

func (j *judge) gatherer() *gatherer {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.gather
}

// keep tells the inventory of the image by its tags; one without any by its digest, unless it is
// known by something else.
func (j *judge) keep(ctx context.Context, repository string, image found, tags []string) error {
	var all []found
	for _, tag := range tags {
		one := image
		one.Reference = repository + ":" + tag
		all = append(all, one)
	}
	if len(tags) == 0 {
		missing, err := j.index.Missing(ctx, []string{image.Contents.Image})
		if err != nil || len(missing) == 0 {
			return err
		}
		all = append(all, image)
	}
	return j.gatherer().keep(ctx, j.index, all)
}

// learner gives a judge that keeps no verdicts, for commands: it finds out what others decide on.
func (env *Env) learner(ctx context.Context, index *inventory.Inventory) (*judge, error) {
	g, err := env.gatherer(ctx)
	return &judge{env: env, gather: g, index: index}, err
}

// learn gathers the facts of all that a reference names, so that whoever keeps verdicts decides
// anew.
func (j *judge) learn(ctx context.Context, text string) error {
	ref, err := oci.Parse(text)
	if err != nil {
		return err
	}
	top, err := j.gather.session.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	known, err := j.Gather(ctx, verdicts.Image{Repository: ref.Repository(), Digest: top.Digest.String()})
	for _, child := range known.Children {
		if err == nil {
			_, err = j.Gather(ctx, verdicts.Image{Repository: ref.Repository(), Digest: child})
		}
	}
	return err
}

// relearn gathers the facts of images anew, of which some are kept: they were made again and their
// evidence issued again, or some of that, or a tag, was removed.
func (env *Env) relearn(ctx context.Context, refs ...oci.Reference) {
	if len(refs) == 0 {
		return
	}
	env.tell(ctx, func(index *inventory.Inventory) error {
		which := inventory.Selection{Of: []inventory.Manifest{}}
		for _, ref := range refs {
			which.Of = append(which.Of, inventory.Manifest{Repository: ref.Repository(), Digest: ref.Identifier()})
		}
		var kept []verdicts.Image
		err := index.Facts(ctx, which, func(f artifact.Facts) error {
			kept = append(kept, verdicts.Image{Repository: f.Image.Repository, Digest: f.Image.Digest})
			return nil
		})
		if err != nil || len(kept) == 0 {
			return err
		}
		j, err := env.learner(ctx, index)
		if err != nil {
			return err
		}
		for _, image := range kept {
			if err = j.learn(ctx, image.String()); err != nil && fault.KindOf(err) != fault.NotFound { // else there is none any more
				return err
			}
		}
		return nil
	})
}

// at gives the image's reference.
func at(image verdicts.Image) (oci.Reference, v1.Hash, error) {
	digest, err := v1.NewHash(image.Digest)
	if err != nil {
		return oci.Reference{}, digest, err
	}
	ref, err := oci.Parse(image.String())
	return ref, digest, err
}

// Known implements verdicts.Facts.
func (j *judge) Known(ctx context.Context, image verdicts.Image) (known artifact.Facts, ok bool, err error) {
	which := inventory.Selection{Of: []inventory.Manifest{{Repository: image.Repository, Digest: image.Digest}}}
	err = j.each(ctx, which, func(f artifact.Facts) error {
		known, ok = f, true
		return nil
	})
	return known, ok, err
}

// each gives what is kept of manifests. What others than the manifest decide is not kept, but
// looked up: of which ecosystems there are advisories now, and who vouches for its base.
func (j *judge) each(ctx context.Context, which inventory.Selection, yield func(artifact.Facts) error) error {
	g := j.gatherer()
	db, err := g.advisories.open(ctx)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if db != nil { // else there is no feed yet
		defer db.Close()
	}
	// Who made an image chose where its base is asked for, and all images wait for the answers.
	looking, cancel := context.WithTimeout(ctx, renewBases)
	defer cancel()
	var packages []artifact.Package // images that hold the same come one after the other
	var ecosystems []string
	return j.index.Facts(ctx, which, func(f artifact.Facts) error {
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
func (j *judge) All(ctx context.Context) iter.Seq2[artifact.Facts, error] {
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

// watchEvery is how often the judge looks for what others have changed.
const watchEvery = 500 * time.Millisecond

// watch has verdicts decided anew when the policies of the home change, and when other
// processes tell the inventory something; until ctx ends.
func (j *judge) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := j.env.policyState(); now != j.seen.policies {
			changed := changedFiles(j.seen.policies, now)
			j.seen.policies = now
			j.reload(ctx, changed)
		}
		if now := j.env.trustState(); now != j.seen.trust {
			was := j.seen.trust
			if j.seen.trust = now; !j.distrust(ctx) {
				j.seen.trust = was // it is tried again
			}
		}
		if now := j.env.advisoryState(); now != j.seen.advisories {
			j.seen.advisories = now
			j.recompute(ctx)
		}
		if err := j.hearNews(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("the inventory does not say what is new", "error", err)
		}
	}
}

// hearNews has what the inventory tells anew decided anew; all, where a base is among it.
func (j *judge) hearNews(ctx context.Context) error {
	news, mark, err := j.index.News(ctx, j.seen.news)
	if err != nil {
		return err
	}
	j.seen.news = mark
	if len(news) == 0 {
		return nil
	}
	changed := make([]verdicts.Image, len(news))
	based := false
	for i, m := range news {
		changed[i] = verdicts.Image(m)
		based = j.gatherer().stands.forget(m.Digest) || based
	}
	j.keeper.FindingsChanged(changed...)
	if based {
		j.recompute(ctx)
	}
	return nil
}

func (j *judge) recompute(ctx context.Context) {
	if _, err := j.keeper.Recompute(ctx); err != nil && ctx.Err() == nil {
		j.log.Error("verdicts are not decided anew", "error", err)
	}
}

func (j *judge) reload(ctx context.Context, changed []string) {
	stats, err := j.keeper.Reload(ctx)
	if err != nil {
		j.log.Error("the policies are not taken up: the former ones stay", "error", err)
		return
	}
	j.log.Info("took up the policies", "images", stats.Images, "verdictsChanged", stats.Changed)
	j.tell(ctx, "changed: "+strings.Join(changed, ", "))
}

// tell says which policies decide now.
func (j *judge) tell(ctx context.Context, why string) {
	j.mu.Lock()
	set := j.set
	j.mu.Unlock()
	j.takenUp(ctx, set, why)
}

// distrust forgets who was believed: other keys and identities may be trusted now. It is false
// where not all images are looked into anew.
func (j *judge) distrust(ctx context.Context) bool {
	g, err := j.env.gatherer(ctx)
	if err != nil {
		j.log.Error("whom to trust cannot be read anew: the former ones stay", "error", err)
		return true
	}
	j.mu.Lock()
	j.gather = g
	j.mu.Unlock()
	if err := j.lookAnew(ctx); err != nil {
		j.log.Error("others are trusted, and images are not looked into anew yet", "error", err)
		return false
	}
	return true
}

// lookAnew has all images looked into by the word of those who are trusted now, and notes who
// that is for the next start.
func (j *judge) lookAnew(ctx context.Context) error {
	changed := map[string][]string{} // digests by repository
	for f, err := range j.All(ctx) {
		if err != nil {
			return err
		}
		changed[f.Image.Repository] = append(changed[f.Image.Repository], f.Image.Digest)
	}
	for repository, digests := range changed {
		if err := j.keeper.Changed(repository, digests...); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		j.log.Info("others are trusted: images are looked into anew", "repositories", len(changed))
	}
	return aside.WriteDurable(j.trustFile(), []byte(j.seen.trust))
}

// policyState tells whether the files of policies are the same as before.
func (env *Env) policyState() string { return stateOf(env.policyFolder()) }

// trustState tells whether those who are trusted are the same as before.
func (env *Env) trustState() string {
	state := stateOf(filepath.Join(env.Home, "keys")) + fileState(filepath.Join(env.Home, "signing.yaml"))
	s, err := env.signing()
	if err != nil {
		return state
	}
	for _, name := range slices.Concat([]string{s.Images, s.Attestations, s.Trust.Root}, s.Trust.Images, s.Trust.Attestations) {
		state += fileState(s.at(name)) // "" of a service or a variable
	}
	return state
}

// advisoryState tells whether the advisories are the same as before.
func (env *Env) advisoryState() string {
	return fileState(filepath.Join(env.Home, "advisories.db")) + fileState(filepath.Join(env.Home, "advisories.matched"))
}

func stateOf(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err.Error()
	}
	var state strings.Builder
	for _, e := range entries {
		state.WriteString(fileState(filepath.Join(folder, e.Name())))
	}
	return state.String()
}

func fileState(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d\n", path, info.Size(), info.ModTime().UnixNano())
}
