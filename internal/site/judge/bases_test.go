package judge

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	media "github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/evidence/provenance"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/site/home"
)

// baseBed is a home with a store, its own keys, and what gathers facts of what is stored.
type baseBed struct {
	*testing.T
	home    *home.Home
	gather  *Gatherer
	signers attest.Signers
}

func newBaseBed(t *testing.T) *baseBed {
	t.Helper()
	r, err := registry.Open(t.Context(), registry.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	registries := &oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return r.Transport(), nil }, Agent: "test"}
	b := &baseBed{T: t, home: home.New(t.TempDir(), registries, home.Options{})}
	t.Cleanup(func() { _ = b.home.Close() })
	if b.signers, err = b.home.Signers(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.gather, err = NewGatherer(t.Context(), b.home); err != nil {
		t.Fatal(err)
	}
	return b
}

// put stores an image of amd64 and signs it, if somebody is to be believed who says that it is good.
func (b *baseBed) put(at string, image v1.Image, sign bool) v1.Hash {
	b.Helper()
	ref, err := oci.Parse(at)
	if err != nil {
		b.Fatal(err)
	}
	if err := b.home.Registries.PutImage(b.Context(), ref, image); err != nil {
		b.Fatal(err)
	}
	d, err := partial.Descriptor(image)
	if err != nil {
		b.Fatal(err)
	}
	if sign {
		evidence := []artifact.Evidence{attest.Sign(d.Digest)}
		if _, err := attest.Issue(b.Context(), b.home.Registries.Session(), ref, *d, evidence, b.signers, attest.Options{}); err != nil {
			b.Fatal(err)
		}
	}
	return d.Digest
}

// base gathers the facts of an image that says it stands on a base, and gives that part.
func (b *baseBed) base(ctx context.Context, image v1.Image, name, digest string) *artifact.BaseFacts {
	b.Helper()
	says := map[string]string{build.BaseNameAnnotation: name, build.BaseDigestAnnotation: digest}
	ref, err := oci.Parse("team/app@" + b.put("team/app:1", mutate.Annotations(image, says).(v1.Image), false).String())
	if err != nil {
		b.Fatal(err)
	}
	known, err := b.gather.one(ctx, ref, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	return known.Base
}

// on gives an image of amd64 with those layers.
func on(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, media.OCIManifestSchema1), media.OCIConfigJSON), layers...)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

// claiming gives an image whose label says that all of its layers are the base's.
func claiming(t *testing.T, layers ...v1.Layer) v1.Image {
	t.Helper()
	image := on(t, layers...)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Labels = map[string]string{
		cnb.LifecycleMetadataLabel: `{"runImage":{"topLayer":"` + config.RootFS.DiffIDs[len(layers)-1].String() + `"}}`,
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}

func someLayer(t *testing.T) v1.Layer {
	t.Helper()
	l, err := random.Layer(512, media.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestClaimedBase: what an image says it stands on is a fact where its layers begin with that
// base's, and nowhere else. Who may push chooses the annotations.
func TestClaimedBase(t *testing.T) {
	b := newBaseBed(t)
	below, above, mine := someLayer(t), someLayer(t), someLayer(t)
	approved := b.put("bases/web:1", on(t, below), true).String()
	hollow := b.put("bases/hollow:1", on(t), true).String()
	unsigned := b.put("team/mine:1", on(t, mine), false).String()
	for _, c := range []struct {
		name, reason string
		image        v1.Image
		at, digest   string
		want         *artifact.BaseFacts
	}{
		{"is so", "its layers begin with the base's", on(t, below, above), "bases/web:1", approved, &artifact.BaseFacts{Name: "bases/web:1", Digest: approved, Verified: true}},
		{"other layers", "it only says so", on(t, above), "bases/web:1", approved, nil},
		{"the base on top", "what is below is of nobody knows whom", on(t, above, below), "bases/web:1", approved, nil},
		{"fewer layers", "it has not all of the base", on(t), "bases/web:1", approved, nil},
		{"a base without layers", "all images begin with none", on(t, above), "bases/hollow:1", hollow, nil},
		{"a base that is not there", "nobody can tell", on(t, below, above), "bases/gone:1", approved, nil},
		{"a name that is none", "nobody can tell", on(t, below, above), "../bases/web:1", approved, nil},
		{"a digest that is none", "nobody can tell", on(t, below, above), "bases/web:1", "sha256:ab", nil},
		{"labels that claim its own layers for the base's", "then what else it says of its base is no fact either", claiming(t, below, above), "bases/web:1", approved, nil},
		{"nobody signed it", "it stands on that, for what it is worth", on(t, mine, above), "team/mine:1", unsigned, &artifact.BaseFacts{Name: "team/mine:1", Digest: unsigned}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, b.base(t.Context(), c.image, c.at, c.digest), cmpopts.IgnoreFields(artifact.BaseFacts{}, "By", "Created")); diff != "" {
				t.Errorf("%s (-want +got)\n%s", c.reason, diff)
			}
		})
	}
}

// TestBaseIsAsNewAsItsBuild: a base that was built again to the same digest is new, by provenance
// that is verified and by no other's word.
func TestBaseIsAsNewAsItsBuild(t *testing.T) {
	b := newBaseBed(t)
	below, above := someLayer(t), someLayer(t)
	base := on(t, below)
	digest := b.put("bases/web:1", base, true)
	created := func() time.Time {
		t.Helper()
		b.gather.stands.forget(digest.String())
		return b.base(t.Context(), on(t, below, above), "bases/web:1", digest.String()).Created
	}
	if got := created(); !got.IsZero() {
		t.Errorf("without provenance it was made %s, want as its configuration says", got)
	}
	stranger, err := home.New(t.TempDir(), nil, home.Options{}).Signers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	built := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		signers  attest.Signers
		finished time.Time
		want     time.Time
	}{{b.signers, built, built}, {b.signers, built.Add(time.Hour), built.Add(time.Hour)}, {stranger, built.Add(2 * time.Hour), built.Add(time.Hour)}} {
		b.account(base, c.signers, c.finished)
		if got := created(); !got.Equal(c.want) {
			t.Errorf("made %s, want %s", got, c.want)
		}
	}
	facts := artifact.Facts{Image: artifact.ImageFacts{Platform: "linux/amd64"}, Base: &artifact.BaseFacts{Name: "bases/web:1", Digest: digest.String()}}
	if err := b.gather.stands.renew(t.Context(), b.gather, &facts); err != nil || !facts.Base.Created.Equal(built.Add(time.Hour)) {
		t.Errorf("renewed: %v, %+v", err, facts.Base)
	}
}

// account issues provenance of bases/web:1.
func (b *baseBed) account(base v1.Image, signers attest.Signers, finished time.Time) {
	b.Helper()
	ref, err := oci.Parse("bases/web:1")
	if err != nil {
		b.Fatal(err)
	}
	d, err := partial.Descriptor(base)
	if err != nil {
		b.Fatal(err)
	}
	predicate, err := provenance.Base{}.Predicate(provenance.Run{ID: "1", Started: finished, Finished: finished})
	if err != nil {
		b.Fatal(err)
	}
	evidence := []artifact.Evidence{{Subject: d.Digest.String(), PredicateType: artifact.PredicateProvenance, Predicate: predicate}}
	if _, err := attest.Issue(b.Context(), b.home.Registries.Session(), ref, *d, evidence, signers, attest.Options{}); err != nil {
		b.Fatal(err)
	}
}

// TestClaimedBaseAtAHostThatHangs: who may push names a host that takes a connection and says
// nothing. It holds up the facts of that image for a while, and gives it no base.
func TestClaimedBaseAtAHostThatHangs(t *testing.T) {
	b := newBaseBed(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	image := on(t, someLayer(t))
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	b.gather.stands.wait = 100 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if got := b.base(ctx, image, listener.Addr().String()+"/bases/web:1", digest.String()); got != nil {
		t.Errorf("got %+v", got)
	}
}

// TestBaseThatIsAway: who vouched for a base did so, though its registry does not answer just now.
func TestBaseThatIsAway(t *testing.T) {
	b := newBaseBed(t)
	known := artifact.BaseFacts{Name: "127.0.0.1:1/bases/web:1", Digest: b.put("bases/web:1", on(t, someLayer(t)), true).String(), Verified: true, By: "ann"}
	facts := artifact.Facts{Image: artifact.ImageFacts{Platform: "linux/amd64"}, Base: &known}
	if err := b.gather.stands.renew(t.Context(), b.gather, &facts); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&known, facts.Base); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
