package judge

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/facts"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/oci"
)

// itself gives a base as what it stands on: a base that this platform composed.
func itself(f artifact.Facts) *artifact.BaseFacts {
	if f.Provenance == nil || f.Provenance.BuildType != provenance.BaseType {
		return nil
	}
	b := &artifact.BaseFacts{Name: f.Image.Repository, Digest: f.Image.Digest, Created: f.Provenance.Finished, Verified: len(f.Signatures) > 0}
	if b.Created.IsZero() {
		b.Created = f.Image.Created
	}
	if b.Verified {
		b.By = f.Signatures[0].By
	}
	return b
}

// foundations remembers what is known of bases for a short while: a fleet stands on few.
type foundations struct {
	wait  time.Duration // for one
	mu    sync.Mutex
	known map[string]*foundation // by repository@digest and architecture
}

// foundation is one of them.
type foundation struct {
	artifact.BaseFacts
	layers []v1.Hash // diffIDs; none where it could not be read
	read   time.Time
}

// keepBases is for how long: a signature that somebody adds to a base counts after it.
const keepBases = 30 * time.Second

// readBases is how long a base may take to be read: the image's maker chose where it is asked for,
// and others wait.
const readBases = 10 * time.Second

// base gives the base that the image says it stands on, if it does, and how many of its layers are
// the base's: whoever made the image wrote that, so the layers must begin with the base's.
func (g *Gatherer) base(ctx context.Context, ref oci.Reference, manifest *v1.Manifest) (*artifact.BaseFacts, int, error) {
	name, digest := manifest.Annotations[build.BaseNameAnnotation], manifest.Annotations[build.BaseDigestAnnotation]
	hash, err := v1.NewHash(digest)
	if err != nil {
		return nil, 0, nil // it says nothing that could be looked at
	}
	config, err := g.Session.Config(ctx, ref, manifest)
	if err != nil {
		return nil, 0, nil // what is no image stands on nothing
	}
	at, err := oci.Parse(name)
	if err != nil {
		return nil, 0, nil
	}
	b, err := g.stands.look(ctx, g, at.At(hash), config.Architecture)
	if err != nil {
		return nil, 0, err
	}
	if !standsOn(config.RootFS.DiffIDs, b.layers) {
		return nil, 0, nil // it says so, and its layers are others, or nobody can tell
	}
	told := b.BaseFacts
	told.Name = name
	return &told, len(b.layers), nil
}

// standsOn says whether the layers begin with those of a base. All begin with none, so a base
// without layers is nobody's.
func standsOn(layers, base []v1.Hash) bool {
	return len(base) > 0 && len(base) <= len(layers) && slices.Equal(base, layers[:len(base)])
}

func (b *foundations) look(ctx context.Context, g *Gatherer, ref oci.Reference, architecture string) (*foundation, error) {
	key := ref.String() + " " + architecture
	b.mu.Lock()
	known := b.known[key]
	b.mu.Unlock()
	if known != nil && time.Since(known.read) < keepBases {
		return known, nil
	}
	read, err := g.readBase(ctx, ref, architecture)
	if err != nil {
		return nil, err
	}
	const most = 10_000
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.known) >= most {
		clear(b.known)
	}
	b.known[key] = read
	return read, nil
}

// renew looks up who vouches for the base of an image now, and when it was last made.
func (b *foundations) renew(ctx context.Context, g *Gatherer, f *artifact.Facts) error {
	if f.Base == nil || f.Base.Name == "" || f.Base.Digest == f.Image.Digest {
		return nil // none, or the image itself
	}
	hash, err := v1.NewHash(f.Base.Digest)
	if err != nil {
		return nil
	}
	at, err := oci.Parse(f.Base.Name)
	if err != nil {
		return nil
	}
	_, architecture, _ := strings.Cut(f.Image.Platform, "/")
	architecture, _, _ = strings.Cut(architecture, "/")
	known, err := b.look(ctx, g, at.At(hash), architecture)
	if err != nil {
		return err
	}
	if len(known.layers) == 0 {
		return nil // its registry does not answer: what was known of it stays
	}
	told := *f.Base
	told.Verified, told.By, told.Created = known.Verified, known.By, known.Created
	f.Base = &told
	return nil
}

// forget forgets what is known of the manifest as a base, and says whether anything was.
func (b *foundations) forget(digest string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	known := false
	for key, one := range b.known {
		if one.Digest == digest {
			delete(b.known, key)
			known = true
		}
	}
	return known
}

// readBase finds out what is known of a base. One that is nowhere to be found has no layers.
func (g *Gatherer) readBase(all context.Context, ref oci.Reference, architecture string) (*foundation, error) {
	ctx, cancel := context.WithTimeout(all, g.stands.wait)
	defer cancel()
	out := &foundation{BaseFacts: artifact.BaseFacts{Digest: ref.Identifier()}, read: time.Now()}
	images, err := g.home.Registries.Images(ctx, ref)
	if err != nil {
		return out, all.Err()
	}
	image, there := images[architecture]
	if !there {
		return out, nil
	}
	config, err := image.ConfigFile()
	if err != nil {
		return out, all.Err()
	}
	digest, err := v1.NewHash(ref.Identifier())
	if err != nil {
		return nil, err
	}
	attached, err := g.home.Attached().List(ctx, g.Session, ref, digest)
	if err != nil {
		return out, all.Err()
	}
	out.layers, out.Created = config.RootFS.DiffIDs, config.Created.Time
	report := attest.Verify(digest, attached, g.Trust)
	if finished := facts.Finished(report); !finished.IsZero() {
		out.Created = finished
	}
	for _, c := range report.Checks {
		if c.Verified && c.Predicate == artifact.PredicateSignature {
			out.Verified, out.By = true, c.By
		}
	}
	return out, nil
}
