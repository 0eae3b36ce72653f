package judge

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
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/known"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/vex"
)

// Gatherer finds out all that a policy may know of manifests: it joins what their layers hold,
// what is verified of them, and what advisories say. It is safe for concurrent use.
type Gatherer struct {
	*known.Reader
	home   *home.Home
	facts  facts.Gatherer
	feeds  *feeds.Feeds
	stands foundations
}

// NewGatherer gives one for the home, as its configuration is now.
func NewGatherer(ctx context.Context, h *home.Home) (*Gatherer, error) {
	g := &Gatherer{Reader: known.NewReader(ctx, h), home: h, stands: foundations{wait: readBases, known: map[string]*foundation{}}}
	g.facts = facts.Gatherer{Contents: g.Contents, Hardening: h.Hardening(), Bills: h.Bills()}
	said, err := h.Signing()
	if err != nil {
		return nil, err
	}
	if g.facts.Builders, err = said.Builders(); err != nil {
		return nil, err
	}
	if g.facts.Malware, err = h.Malware(); err != nil {
		return nil, err
	}
	g.feeds, err = feeds.Open(h)
	return g, err
}

// gathered is what is known of one manifest.
type gathered struct {
	artifact.Facts
	image *known.Found // as the inventory is to know it; nil for what is no image, or cannot be read
}

// one finds out all of the manifest of a reference by digest, which those tags name. above is what
// VEX documents of the index that names it say.
func (g *Gatherer) one(ctx context.Context, ref oci.Reference, tags []string, above []*vex.Document) (gathered, error) {
	top, err := g.Session.Manifest(ctx, ref)
	if err != nil {
		return gathered{}, err
	}
	attached, err := g.home.Attached().List(ctx, g.Session, ref, top.Digest)
	if err != nil {
		return gathered{}, err
	}
	onBase := 0 // layers of the base's
	subject := facts.Subject{Manifest: &top, Tags: tags, Report: attest.Verify(top.Digest, attached, g.Trust)}
	if top.Image != nil {
		if subject.Base, onBase, err = g.base(ctx, ref, top.Image); err != nil {
			return gathered{}, err
		}
	}
	read, err := g.facts.Gather(ctx, g.Session, ref, subject)
	if err != nil {
		return gathered{}, err
	}
	for _, why := range read.Unknown {
		g.home.Warn(fmt.Sprintf("%s: not all can be known: %s", ref, why), "")
	}
	out := gathered{Facts: read.Facts}
	if read.Contents != nil && read.Contents.BaseLayers > onBase {
		out.Base = nil // its labels call layers the base's that are not
	}
	if out.Base == nil {
		out.Base = itself(out.Facts)
	}
	withoutBase(&out.Facts)
	if read.Contents == nil {
		return out, nil
	}
	found, err := g.Found(ref, read.Image, *read.Contents, subject.Report, attached)
	if err != nil {
		return gathered{}, err
	}
	out.image = &found
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
func (g *Gatherer) match(ctx context.Context, out *gathered, above []*vex.Document) error {
	image, contents := out.image, out.image.Contents
	documents, err := known.Statements(image.Digest, image.Attached, g.Trust)
	if err != nil {
		return err
	}
	about := vex.Image{Contents: contents, Digests: []string{contents.Image}, Repository: out.Image.Repository}
	image.Silence("attestations of "+contents.Image, documents, about)
	db, err := g.feeds.Database(ctx)
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
	out.Facts.Advisories = g.feeds.Updated()
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

// Fleet is a reference with all that it names: an image, or an index and its images.
type Fleet struct {
	top      artifact.Facts
	children []artifact.Facts // in the order in which the index names them
}

// Fleet finds out all of what a reference names.
func (g *Gatherer) Fleet(ctx context.Context, ref oci.Reference) (*Fleet, error) {
	top, err := g.Session.Manifest(ctx, ref)
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
		if above, err = known.StatementsOn(ctx, g.Session, ref, g.Trust, top.Digest); err != nil {
			return nil, err
		}
	}
	out := &Fleet{top: whole.Facts, children: make([]artifact.Facts, len(whole.Children))}
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
func (g *Gatherer) tags(ctx context.Context, ref oci.Reference, digest v1.Hash) ([]string, error) {
	var named []string
	if tag := ref.Identifier(); tag != digest.String() {
		named = append(named, tag)
	}
	if !ref.IsLocal() {
		return named, nil
	}
	all, err := g.Session.Tags(ctx, ref)
	if fault.KindOf(err) == fault.NotFound {
		return named, nil
	}
	if err != nil {
		return nil, err
	}
	for _, tag := range all[:min(len(all), maxTags)] {
		if _, signature := oci.SignatureTag(tag); signature {
			continue
		}
		at, err := oci.Parse(ref.Repository() + ":" + tag)
		if err != nil {
			continue
		}
		if h, err := g.Session.Head(ctx, at); err == nil && h == digest {
			named = append(named, tag)
		}
	}
	slices.Sort(named)
	return slices.Compact(named), nil
}

// All gives the facts of the reference first, then of those that its index names.
func (f *Fleet) All() []artifact.Facts { return append([]artifact.Facts{f.top}, f.children...) }

// Decide gives the verdict on all of it.
func (f *Fleet) Decide(set *policy.Set, where policy.Where, at time.Time) artifact.Verdict {
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
