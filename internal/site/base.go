package site

import (
	"context"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/build/builder"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/ledger"
)

// Publication says under which tags something is published, and how.
type Publication struct {
	Tag            oci.Reference
	AdditionalTags []oci.Reference // that name it, too, here or in other repositories
	NoEvidence     bool            // issue neither signature nor SBOM nor any other evidence

	// IfChanged publishes nothing where Tag names just that already. Else evidence is issued anew,
	// by which policies know for how new to take it.
	IfChanged bool

	Means
	Progress func(stage string, done, total int) // hears how far it is; nil hears nothing
}

// BaseRequest says which base to compose.
type BaseRequest struct {
	Publication
	Spec *v1alpha1.BaseImage // checked, with its defaults, as base/spec gives it
	base.Options

	// Composed hears of the exact packages before anything is published, and can still stop it;
	// nil hears nothing.
	Composed func(*base.Lock) error
}

// BuiltBase is a base that was composed.
type BuiltBase struct {
	Ref       string       `json:"ref"`
	Digest    string       `json:"digest"` // of the image, or of the index of several
	Images    []base.Built `json:"images"`
	Lock      *base.Lock   `json:"-"`
	Unchanged bool         `json:"-"` // the tag named just that before
}

// BuildBase composes a base, issues its evidence, moves its tags and tells the inventory.
func (s *Site) BuildBase(ctx context.Context, r BaseRequest) (*BuiltBase, error) {
	p, err := s.publication(ctx, r.Publication)
	if err != nil {
		return nil, err
	}
	defer p.end()
	s.filled.Store(true)
	composer := base.Builder{Home: s.Folder, Agent: s.Agent(), Progress: r.Progress}
	result, err := composer.Build(ctx, r.Spec, r.Options)
	if err != nil {
		return nil, err
	}
	if r.Composed != nil {
		if err := r.Composed(result.Lock); err != nil {
			return nil, err
		}
	}
	var images []ledger.Told
	for i, built := range result.Images {
		facts, err := ledger.FactsOfBase(r.Spec, result, i, r.Locked != nil)
		if err != nil {
			return nil, err
		}
		images = append(images, ledger.Told{Image: built.Image, Provenance: facts})
	}
	out := &BuiltBase{Ref: r.Tag.String(), Images: result.Images, Lock: result.Lock}
	out.Digest, out.Unchanged, err = p.publish(ctx, ledger.Made{Index: result.Index, Image: result.Images[0].Image}, images)
	return out, err
}

// BuilderRequest says which builder to put together.
type BuilderRequest struct {
	Publication
	Spec *builder.Spec
}

// BuiltBuilder is a builder that was put together.
type BuiltBuilder struct {
	Ref       string          `json:"ref"`
	Digest    string          `json:"digest"` // of the image, or of the index of several
	Images    []builder.Built `json:"images"`
	Unchanged bool            `json:"-"` // the tag named just that before
}

// BuildBuilder puts a builder together, issues its evidence, moves its tags and tells the inventory.
func (s *Site) BuildBuilder(ctx context.Context, r BuilderRequest) (*BuiltBuilder, error) {
	p, err := s.publication(ctx, r.Publication)
	if err != nil {
		return nil, err
	}
	defer p.end()
	s.filled.Store(true)
	maker := builder.Maker{Home: s.Folder, Registries: p.home.Registries, Progress: r.Progress}
	result, err := maker.Make(ctx, r.Spec)
	if err != nil {
		return nil, err
	}
	var images []ledger.Told
	for _, built := range result.Images {
		facts, err := ledger.FactsOfBuilder(r.Tag.String(), built)
		if err != nil {
			return nil, err
		}
		images = append(images, ledger.Told{Image: built.Image, Provenance: facts})
	}
	out := &BuiltBuilder{Ref: r.Tag.String(), Images: result.Images}
	out.Digest, out.Unchanged, err = p.publish(ctx, ledger.Made{Index: result.Index, Image: result.Images[0].Image}, images)
	return out, err
}

// publication is a Publication whose turn it is.
type publication struct {
	Publication
	home   *home.Home
	ledger *ledger.Ledger
	end    func()
}

// publication waits for the turn of the tag, and opens the keys before anything is made.
func (s *Site) publication(ctx context.Context, p Publication) (*publication, error) {
	end, err := s.tags.take(ctx, p.Tag.String())
	if err != nil {
		return nil, err
	}
	h := s.with(p.Means)
	l, err := ledger.Open(ctx, h, ledger.Options{NoEvidence: p.NoEvidence})
	if err != nil {
		end()
		return nil, err
	}
	return &publication{p, h, l, func() {
		_ = l.Close() // what it noted is told; else the next tells it
		end()
	}}, nil
}

// publish publishes what was made, and says whether the tag named that before.
func (p *publication) publish(ctx context.Context, made ledger.Made, images []ledger.Told) (named string, unchanged bool, err error) {
	digest, err := made.Digest()
	if err != nil {
		return "", false, err
	}
	before, err := p.home.Registries.Session().Head(ctx, p.Tag)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return "", false, err
	}
	if unchanged = before == digest; unchanged && p.IfChanged {
		return digest.String(), true, p.ledger.Also(ctx, p.Tag.At(digest), p.AdditionalTags...)
	}
	return digest.String(), unchanged, p.ledger.Publish(ctx, made, images, p.Tag, p.AdditionalTags...)
}
