// Package ledger takes what was made and gives an account of it: evidence of each image before a tag
// names it, and what the inventory and the policies are to know afterwards.
package ledger

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/keys"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/feeds"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/known"
)

// Ledger accounts for what is made at one time: it issues the evidence of each image before
// a tag names it, and tells the inventory afterwards.
type Ledger struct {
	home    *home.Home
	issuer  *evidence.Issuer // nil: nothing is issued
	session *oci.Session
	run     provenance.Run

	mu    sync.Mutex
	moves map[string]move // rebased, by reference, until a tag names them

	untold   untold
	telling  sync.Mutex
	done     []inventory.Image // to be told to the inventory
	packages int               // in those of a fleet
}

// Options are what Open may be told.
type Options struct {
	NoEvidence bool // issue neither signature nor SBOM nor any other evidence
}

// Open opens the keys, so that nothing is made where they cannot be opened, and tells the inventory
// of what others were killed over. Close it.
func Open(ctx context.Context, h *home.Home, o Options) (*Ledger, error) {
	settle(ctx, h)
	l := &Ledger{home: h, untold: untold{folder: untoldFolder(h)}, session: h.Registries.Session(), moves: map[string]move{}, run: provenance.Run{
		ID: rand.Text(), Started: time.Now(), Versions: map[string]string{"plimsoll": h.Version},
	}}
	if o.NoEvidence {
		return l, nil
	}
	signers, err := h.Signers(ctx)
	if err != nil {
		return nil, err
	}
	l.issuer = &evidence.Issuer{
		Contents: h.Contents(), Hardening: h.Hardening(),
		Signers: signers, Version: h.Version, Attached: h.Attached(), Bills: h.Bills(),
	}
	if l.issuer.Keyless, err = h.Keyless(); err != nil {
		return nil, err
	}
	scanner, err := h.Malware()
	if scanner != nil { // else the interface would hold a nil of its own
		l.issuer.Malware = scanner
	}
	return l, err
}

// Close ends it.
func (l *Ledger) Close() error { return l.untold.close() }

// Told is an image with what its maker tells of it.
type Told struct {
	Image v1.Image

	// Provenance says how the image came about; nil where nobody here saw it.
	Provenance interface {
		Predicate(provenance.Run) (json.RawMessage, error)
	}
}

// Publish pushes what was made, issues the evidence of every image, and moves the tag last: who sees
// the image by its name finds its evidence beside it. Then the other tags name it, too, and the
// inventory hears of all.
func (l *Ledger) Publish(ctx context.Context, made Made, images []Told, to oci.Reference, others ...oci.Reference) error {
	top, raw, err := made.manifest()
	if err != nil {
		return err
	}
	if l.issuer == nil {
		if err := made.push(ctx, l.home.Registries, to); err != nil {
			return err
		}
		_, err = l.name(ctx, to.At(top.Digest), others)
		return err
	}
	if err := made.push(ctx, l.home.Registries, to.At(top.Digest)); err != nil {
		return err
	}
	if err := l.account(ctx, to, top, images); err != nil {
		return err
	}
	if err := l.untold.note(moves, to.String()); err != nil {
		return err
	}
	if _, err = l.session.PutManifest(ctx, to, top.MediaType, raw); err != nil {
		return err
	}
	moved, named := l.name(ctx, to.At(top.Digest), others)
	l.done = append(l.done, called(l.done, moved)...)
	l.Record(ctx)
	for _, tag := range firsts(append([]oci.Reference{to}, moved...)) {
		l.learn(ctx, tag.At(top.Digest))
	}
	return named
}

// called gives the images by other names.
func called(images []inventory.Image, names []oci.Reference) []inventory.Image {
	var out []inventory.Image
	for _, name := range names {
		for _, image := range images {
			image.Reference = name.String()
			out = append(out, image)
		}
	}
	return out
}

// firsts gives the first tag of each repository.
func firsts(tags []oci.Reference) []oci.Reference {
	seen := map[string]bool{}
	return slices.DeleteFunc(tags, func(tag oci.Reference) bool {
		known := seen[tag.Repository()]
		seen[tag.Repository()] = true
		return known
	})
}

// learn has what was made decided anew. Where the home has policies, facts are kept from the start:
// whoever serves it so hears of a base that was built again, and decides on what stands on that.
func (l *Ledger) learn(ctx context.Context, ref oci.Reference) {
	if files, _ := os.ReadDir(l.home.PolicyFolder()); len(files) == 0 || !ref.IsLocal() {
		judge.Relearn(ctx, l.home, ref)
		return
	}
	l.home.Tell(ctx, func(*inventory.Inventory) error {
		j, err := judge.NewLearner(ctx, l.home)
		if err != nil {
			return err
		}
		return j.Learn(ctx, ref.String())
	})
}

// account issues the evidence of all images that top, one of them or their index, names.
func (l *Ledger) account(ctx context.Context, in oci.Reference, top v1.Descriptor, images []Told) error {
	for _, t := range images {
		subject, err := l.subject(in, t)
		if err != nil {
			return err
		}
		image, err := l.issue(ctx, l.session, subject)
		if err != nil {
			return err
		}
		l.done = append(l.done, image)
	}
	if !top.MediaType.IsIndex() {
		return nil
	}
	_, err := l.issuer.Sign(ctx, l.session, in, top)
	return err
}

// issue issues the evidence of an image, and gives what the inventory is to know of it.
func (l *Ledger) issue(ctx context.Context, session *oci.Session, subject evidence.Subject) (inventory.Image, error) {
	issued, err := l.issuer.Issue(ctx, session, subject)
	if err != nil {
		return inventory.Image{}, err
	}
	l.warn(subject.Ref.String(), issued.Evidence)
	warnOfLeft(l.home, subject.Ref, issued.Left)
	image, err := known.Of(subject.Ref, subject.Image, issued.Contents)
	for i, e := range issued.Evidence {
		image.Evidence = append(image.Evidence, l.attached(e.PredicateType, issued.Identity, "bundle", issued.Attached[i].String()))
		if older := issued.Older[i]; older != "" {
			image.Evidence = append(image.Evidence, l.attached(e.PredicateType, issued.Identity, "tag", older))
		}
	}
	return image, err
}

// subject gives the image with its provenance.
func (l *Ledger) subject(to oci.Reference, t Told) (evidence.Subject, error) {
	d, err := partial.Descriptor(t.Image)
	if err != nil {
		return evidence.Subject{}, fmt.Errorf("describe image: %w", err)
	}
	s := evidence.Subject{Ref: to, Descriptor: *d, Image: t.Image}
	if t.Provenance == nil {
		return s, nil
	}
	run := l.run
	run.Finished = time.Now()
	predicate, err := t.Provenance.Predicate(run)
	s.Others = []artifact.Evidence{{Subject: d.Digest.String(), PredicateType: artifact.PredicateProvenance, Predicate: predicate}}
	return s, err
}

// attached gives evidence as the inventory is to know it: just signed here, for the identity or
// with a key, and where it lies.
func (l *Ledger) attached(predicate, identity, stored, where string) inventory.Evidence {
	out := inventory.Evidence{PredicateType: predicate, Digest: where, Stored: stored, VerifiedAt: time.Now(), Identity: identity}
	signer := l.issuer.Signers.Attestations
	if predicate == artifact.PredicateSignature || signer == nil {
		signer = l.issuer.Signers.Images
	}
	if signer != nil {
		out.KeyID = keys.Fingerprint(signer.PublicKey())
	}
	return out
}

// Record tells the inventory of the images that are done, and matches what is new in them.
// The inventory is only an index: when it fails, the images stand, and that is said.
func (l *Ledger) Record(ctx context.Context) {
	l.telling.Lock()
	defer l.telling.Unlock()
	l.record(ctx)
}

func (l *Ledger) record(ctx context.Context) {
	if len(l.done) == 0 {
		return
	}
	images := l.done
	l.done, l.packages = nil, 0
	l.home.Tell(ctx, func(*inventory.Inventory) error {
		if err := feeds.Put(ctx, l.home, images...); err != nil {
			return err
		}
		var refs []string
		for _, image := range images {
			refs = append(refs, image.Reference)
		}
		return l.untold.note(told, refs...)
	})
}
