package rebase

import (
	"context"
	"errors"
	"iter"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// FleetOptions says how many images are rebased.
type FleetOptions struct {
	Options
	RunImage string        // "": the one each image names itself
	Tag      oci.Reference // where to write the only image; the zero value: its own tag moves
	DryRun   bool          // write nothing
	Hold     bool          // no tag moves: the result is in its repository under its digest
	Jobs     int           // images at a time; 0 is 16

	// Account is called for each image that was rebased, when the registry holds it but no
	// tag names it yet: an image without its account is never to be seen. nil calls nothing.
	Account func(ctx context.Context, session *oci.Session, moved Moved) error
}

// Moved is what was rebased by one reference.
type Moved struct {
	Ref    oci.Reference  // a reference in the repository it was written to
	Name   oci.Reference  // what was rebased
	Index  *v1.Descriptor // of the index of Images; nil for a single image
	Images []MovedImage   // those that changed
}

// MovedImage is one image on its new base.
type MovedImage struct {
	v1.Descriptor                // of its manifest
	Image                        // with the configuration
	Raw, RawConfig []byte        // of both
	From           v1.Descriptor // the image before
	BaseLayers     int           // how many of its layers are the base's
	Change         Change
}

// Fleet rebases every image that refs gives, and reports each once, one at a time, in no
// order: failures too. Nothing is kept of an image when it is done, so that any number
// will do. The error is that of refs, or of the context.
func Fleet(ctx context.Context, registries *oci.Registries, refs iter.Seq2[string, error], o FleetOptions, report func(Result)) error {
	session := registries.Session()
	f := &fleet{FleetOptions: o, session: session, bases: bases{session: session, found: map[string]*resolution{}}}
	if f.Jobs == 0 {
		f.Jobs = 16
	}
	var reporting sync.Mutex
	var workers errgroup.Group
	workers.SetLimit(f.Jobs)
	var failed error
	for ref, err := range refs {
		if failed = err; failed != nil || ctx.Err() != nil {
			break
		}
		workers.Go(func() error {
			result := f.one(ctx, ref)
			if ctx.Err() == nil { // else it was interrupted, not refused
				reporting.Lock()
				defer reporting.Unlock()
				report(result)
			}
			return nil
		})
	}
	_ = workers.Wait() // failures are results
	return errors.Join(failed, ctx.Err())
}

type fleet struct {
	FleetOptions
	session *oci.Session
	bases   bases
}

// tries is how often a tag may move under our hands before we give up.
const tries = 5

var errMoved = errors.New("its tag moves again and again: somebody else writes to it")

// one rebases what the text names.
func (f *fleet) one(ctx context.Context, text string) Result {
	result, err := f.named(ctx, text)
	if err == nil {
		return result
	}
	failure, ok := errors.AsType[*fault.Error](err)
	if !ok || failure.Which != text {
		failure = fault.New(fault.KindOf(err), "rebase", text, err)
	}
	return Result{Ref: text, Status: StatusFailed, Error: failure.Error(), Hint: fault.HintOf(failure), Err: failure}
}

func (f *fleet) named(ctx context.Context, text string) (result Result, err error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return result, err
	}
	to := ref
	if f.Tag.Reference != nil {
		to = f.Tag
	}
	if _, fixed := to.Reference.(name.Digest); fixed {
		return result, &fault.Error{Kind: fault.Usage, What: "it names a digest, which cannot move", Hint: "name a tag, or where to write with --tag"}
	}
	for range tries {
		result, err = f.try(ctx, ref, to)
		if !errors.Is(err, errMoved) {
			return result, err
		}
	}
	return result, &fault.Error{Kind: fault.Unavailable, What: err.Error(), Hint: "run it again when the other writer is done"}
}

// try reads, rebases and writes once.
func (f *fleet) try(ctx context.Context, ref, to oci.Reference) (Result, error) {
	result := Result{Ref: ref.String()}
	inPlace := to.Name() == ref.Name()
	if !inPlace {
		result.Tag = to.String()
	}
	old, err := f.session.Manifest(ctx, ref)
	if err != nil {
		return result, err
	}
	d, err := f.draft(ctx, ref, old)
	if err != nil {
		return result, err
	}
	result.From, result.To, result.Images = old.Digest.String(), d.Digest.String(), d.changes()
	switch {
	case d.Digest == old.Digest && inPlace:
		result.Status = StatusUnchanged
		return result, nil
	case f.DryRun:
		result.Status, result.Pushed = StatusStale, d.weight(to)
		return result, nil
	}
	result.Status = StatusRebased
	if result.Pushed, err = f.push(ctx, d, to); err != nil {
		return result, err
	}
	if err := f.account(ctx, ref, to, d); err != nil {
		return result, err
	}
	if f.Hold {
		sent, err := f.session.PutManifest(ctx, to.At(d.Digest), d.MediaType, d.Raw)
		result.Pushed += sent
		return result, err
	}
	if inPlace {
		// Registries cannot compare and swap: who writes between this look and our write
		// is overwritten, but who wrote since we read is not.
		now, err := f.session.Head(ctx, ref)
		if err != nil {
			return result, err
		}
		if now != old.Digest {
			return result, errMoved
		}
	}
	sent, err := f.session.PutManifest(ctx, to, d.MediaType, d.Raw)
	result.Pushed += sent
	return result, err
}

// account lets the caller account for what was pushed.
func (f *fleet) account(ctx context.Context, ref, to oci.Reference, d *draft) error {
	if f.Account == nil {
		return nil
	}
	if _, err := f.session.PutManifest(ctx, to.At(d.Digest), d.MediaType, d.Raw); err != nil {
		return err
	}
	moved := Moved{Ref: to, Name: ref}
	if d.Index != nil {
		moved.Index = &d.Descriptor
	}
	for _, p := range d.parts {
		if !p.Unchanged {
			moved.Images = append(moved.Images, MovedImage{
				Descriptor: p.Descriptor, Image: p.Image, Raw: p.raw, RawConfig: p.RawConfig, From: p.was, BaseLayers: len(p.on.Manifest.Layers), Change: p.change,
			})
		}
	}
	return f.Account(ctx, f.session, moved)
}

// part is one image of a draft.
type part struct {
	*Rebased
	v1.Descriptor
	was    v1.Descriptor // the image before
	raw    []byte        // its manifest
	on     Base          // the new base
	from   oci.Reference // where the base is
	change Change
}

// draft is what is to be written: an image, or an index and its images.
type draft struct {
	oci.Manifest
	ref   oci.Reference // where it was read
	parts []part
	kept  []v1.Descriptor // what else the index names
}

func (f *fleet) draft(ctx context.Context, ref oci.Reference, old oci.Manifest) (*draft, error) {
	if old.Index != nil {
		return f.draftIndex(ctx, ref, old)
	}
	p, err := f.part(ctx, ref, old)
	if err != nil {
		return nil, err
	}
	return &draft{Manifest: oci.Manifest{Descriptor: p.Descriptor, Raw: p.raw, Image: p.Manifest}, ref: ref, parts: []part{*p}}, nil
}

// part rebases one image.
func (f *fleet) part(ctx context.Context, ref oci.Reference, old oci.Manifest) (*part, error) {
	app, err := readImage(ctx, f.session, ref, old)
	if err != nil {
		return nil, err
	}
	var metadata cnb.LifecycleMetadata
	if err := cnb.DecodeLabel(app.Config, cnb.LifecycleMetadataLabel, &metadata); err != nil {
		return nil, refuse("", "its label %s is not valid: %v", cnb.LifecycleMetadataLabel, err)
	}
	runImage := f.RunImage
	if runImage == "" {
		if runImage, err = f.bases.choose(ctx, ref, metadata); err != nil {
			return nil, err
		}
	}
	p := &part{}
	if p.on, p.from, err = f.bases.at(ctx, runImage, app.Config); err != nil {
		return nil, err
	}
	if p.Rebased, err = Rebase(app, p.on, f.Options); err != nil {
		return nil, err
	}
	p.was, p.Descriptor, p.raw = old.Descriptor, old.Descriptor, old.Raw
	if !p.Unchanged {
		if p.Descriptor, p.raw, err = encode(p.Manifest.MediaType, p.Manifest); err != nil {
			return nil, err
		}
	}
	p.change = Change{
		Platform: targetOf(app.Config).platform(), RunImage: runImage,
		From: metadata.RunImage.Reference, To: p.on.reference(), Forced: p.Forced,
	}
	p.change.layers(app.Manifest.Layers, p.Manifest.Layers)
	p.change.packages(f.oldBase(ctx, p, metadata), p.on.Manifest.Layers)
	return p, nil
}

// oldBase gives the layers the app stood on. Where they do not say what is in them, a dry
// run looks whether the old base is still there and does.
func (f *fleet) oldBase(ctx context.Context, p *part, metadata cnb.LifecycleMetadata) []v1.Descriptor {
	if _, ok := versions(p.OldBase); ok || !f.DryRun {
		return p.OldBase
	}
	if old := f.bases.resolve(ctx, metadata.RunImage.Reference); old.err == nil && old.top.Image != nil {
		return old.top.Image.Layers
	}
	return p.OldBase
}

func (d *draft) changes() []Change {
	all := make([]Change, len(d.parts))
	for i, p := range d.parts {
		all[i] = p.change
	}
	return all
}
