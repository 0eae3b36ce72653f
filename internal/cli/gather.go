package cli

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/facts"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// gatherer finds out all that a policy may know of manifests: it joins what their layers hold,
// what is verified of them, and what advisories say. It is safe for concurrent use.
type gatherer struct {
	*rebuild
	facts      facts.Gatherer
	advisories *advisories
	stands     foundations
}

func (env *Env) gatherer(ctx context.Context) (*gatherer, error) {
	g := &gatherer{rebuild: env.rebuild(ctx), stands: foundations{wait: readBases, known: map[string]*foundation{}}}
	g.facts = facts.Gatherer{Contents: g.contents, Hardening: env.hardening()}
	said, err := env.signing()
	if err != nil {
		return nil, err
	}
	if g.facts.Builders, err = said.builders(); err != nil {
		return nil, err
	}
	if g.facts.Malware, err = env.malware(); err != nil {
		return nil, err
	}
	g.advisories, err = env.advisories()
	return g, err
}

// gathered is what is known of one manifest.
type gathered struct {
	artifact.Facts
	image *found // as the inventory is to know it; nil for what is no image, or cannot be read
}

// one finds out all of the manifest of a reference by digest, which those tags name. above is what
// VEX documents of the index that names it say.
func (g *gatherer) one(ctx context.Context, ref oci.Reference, tags []string, above []*vex.Document) (gathered, error) {
	top, err := g.session.Manifest(ctx, ref)
	if err != nil {
		return gathered{}, err
	}
	attached, err := attest.List(ctx, g.session, ref, top.Digest)
	if err != nil {
		return gathered{}, err
	}
	onBase := 0 // layers of the base's
	subject := facts.Subject{Tags: tags, Report: attest.Verify(top.Digest, attached, g.trust)}
	if top.Image != nil {
		if subject.Base, onBase, err = g.base(ctx, ref, top.Image); err != nil {
			return gathered{}, err
		}
	}
	known, err := g.facts.Gather(ctx, g.session, ref, subject)
	if err != nil {
		return gathered{}, err
	}
	for _, why := range known.Unknown {
		fmt.Fprintf(g.env.Err, "warning: %s: not all can be known: %s\n", ref, visible(why.Error()))
	}
	out := gathered{Facts: known.Facts}
	if known.Contents != nil && known.Contents.BaseLayers > onBase {
		out.Base = nil // its labels call layers the base's that are not
	}
	if out.Base == nil {
		out.Base = itself(out.Facts)
	}
	withoutBase(&out.Facts)
	if known.Contents == nil {
		return out, nil
	}
	images, err := g.env.Registries.Images(ctx, ref)
	if err != nil {
		return gathered{}, err
	}
	for _, image := range images { // there is one
		one, err := g.found(ref, image, *known.Contents, subject.Report, attached)
		if err != nil {
			return gathered{}, err
		}
		out.image = &one
	}
	return out, g.match(ctx, &out, above)
}

// withoutBase takes the packages of an image without a known base for its own: which of them a base
// brought is the word of whoever made the image.
func withoutBase(f *artifact.Facts) {
	if f.Base == nil && f.InBase != nil {
		f.InBase = make([]bool, len(f.InBase))
	}
}

// match adds what advisories say of the image's packages, and what VEX statements say of that.
func (g *gatherer) match(ctx context.Context, out *gathered, above []*vex.Document) error {
	image, contents := out.image, out.image.Contents
	documents, err := attachedStatements(image.digest, image.attached, g.trust)
	if err != nil {
		return err
	}
	about := vex.Image{Contents: contents, Digests: []string{contents.Image}, Repository: out.Image.Repository}
	image.silence("attestations of "+contents.Image, documents, about)
	db, err := g.advisories.open(ctx)
	if fault.KindOf(err) == fault.NotFound {
		return nil // there is no feed yet: nothing is known
	}
	if err != nil {
		return err
	}
	defer db.Close()
	findings, err := match.Contents(ctx, db, contents)
	if err != nil {
		return err
	}
	out.Findings = append([]artifact.Finding{}, vex.Apply(findings, about, append(documents, above...))...) // never nil: somebody looked
	out.Facts.Advisories = g.advisories.updated()
	out.Unadvised, err = unadvised(db, contents.Packages)
	return err
}

// unadvised gives the ecosystems of the packages of which the database knows nothing.
func unadvised(db *advisory.Database, packages []artifact.Package) ([]string, error) {
	missing, err := match.Missing(db, artifact.Contents{Packages: packages})
	var names []string
	for _, m := range missing {
		names = append(names, m.Ecosystem)
	}
	slices.Sort(names)
	return names, err
}

// updated is since when all feeds are up to date: the time of the one that was so longest ago;
// zero where one never was.
func (a *advisories) updated() time.Time {
	var oldest time.Time
	for i, s := range a.store.Status(a.feeds, time.Now()) {
		if i == 0 || s.Synced.Before(oldest) {
			oldest = s.Synced
		}
	}
	return oldest
}

// fleet is a reference with all that it names: an image, or an index and its images.
type fleet struct {
	top      artifact.Facts
	children []artifact.Facts // in the order in which the index names them
}

// fleet finds out all of what a reference names.
func (g *gatherer) fleet(ctx context.Context, ref oci.Reference) (*fleet, error) {
	top, err := g.session.Manifest(ctx, ref)
	if err != nil {
		return nil, err
	}
	tags, err := g.tags(ctx, ref, top.Digest)
	if err != nil {
		return nil, err
	}
	whole, err := g.one(ctx, ref.At(top.Digest), tags, nil)
	if err != nil {
		return nil, err
	}
	var above []*vex.Document
	if len(whole.Children) > 0 {
		if above, err = statementsOn(ctx, g.session, ref, g.trust, top.Digest); err != nil {
			return nil, err
		}
	}
	out := &fleet{top: whole.Facts, children: make([]artifact.Facts, len(whole.Children))}
	several, ctx := errgroup.WithContext(ctx)
	several.SetLimit(2)
	for i, child := range whole.Children {
		several.Go(func() error {
			digest, err := v1.NewHash(child)
			if err != nil {
				return err
			}
			one, err := g.one(ctx, ref.At(digest), nil, above)
			out.children[i] = one.Facts
			return err
		})
	}
	return out, several.Wait()
}

// maxTags is how many tags of a repository are looked at.
const maxTags = 1000

// tags gives the tags that name a manifest: of a local repository all, of another's only the one
// by which it was asked for, for each would be a request.
func (g *gatherer) tags(ctx context.Context, ref oci.Reference, digest v1.Hash) ([]string, error) {
	var named []string
	if tag := ref.Identifier(); tag != digest.String() {
		named = append(named, tag)
	}
	if !ref.IsLocal() {
		return named, nil
	}
	all, err := g.session.Tags(ctx, ref)
	if fault.KindOf(err) == fault.NotFound {
		return named, nil
	}
	if err != nil {
		return nil, err
	}
	for _, tag := range all[:min(len(all), maxTags)] {
		at, err := oci.Parse(ref.Repository() + ":" + tag)
		if err != nil {
			continue
		}
		if h, err := g.session.Head(ctx, at); err == nil && h == digest && !isSignature(tag) {
			named = append(named, tag)
		}
	}
	slices.Sort(named)
	return slices.Compact(named), nil
}

// all gives the facts of the reference first, then of those that its index names.
func (f *fleet) all() []artifact.Facts { return append([]artifact.Facts{f.top}, f.children...) }

// decide gives the verdict on all of it.
func (f *fleet) decide(set *policy.Set, where policy.Where, at time.Time) artifact.Verdict {
	verdict := set.Decide(f.top, where, at)
	if f.top.Image.Kind != artifact.KindIndex {
		return verdict
	}
	children := make([]policy.Child, len(f.children))
	for i, child := range f.children {
		v := set.Decide(child, where, at)
		children[i] = policy.Child{Digest: child.Image.Digest, Platform: child.Image.Platform, Verdict: &v}
	}
	return policy.Join(verdict, children)
}
