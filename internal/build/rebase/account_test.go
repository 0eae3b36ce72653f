package rebase_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestAccountComesBeforeTheTag: an image is accounted for when it is in the registry and
// no tag names it yet, and without its account none ever does.
func TestAccountComesBeforeTheTag(t *testing.T) {
	b := newBed(t)
	launch(b, "single:1", "many:1")
	b.pushIndex("many:1", mutate.AppendManifests(empty.Index, forPlatform(b.pull("many:1"), "amd64", nil)))
	for _, ref := range []string{"single:1", "many:1"} {
		before := b.digest(ref)
		var moved []rebase.Moved
		o := rebase.FleetOptions{Account: func(ctx context.Context, session *oci.Session, m rebase.Moved) error {
			moved = append(moved, m)
			for _, image := range m.Images {
				if _, err := session.Manifest(ctx, m.Ref.At(image.Digest)); err != nil {
					t.Errorf("%s: the image is not there yet: %v", ref, err)
				}
			}
			if now := b.digest(ref); now != before {
				t.Errorf("%s: its tag has moved to %s", ref, now)
			}
			if len(moved) == 1 {
				return errors.New("the key is gone")
			}
			return nil
		}}
		if r := b.fleet(o, ref)[ref]; r.Status != rebase.StatusFailed || b.digest(ref) != before {
			t.Errorf("%s: without an account it is %s", ref, r.Status)
		}
		r := b.fleet(o, ref)[ref]
		if r.Status != rebase.StatusRebased || len(moved) != 2 {
			t.Fatalf("%s: %s after %d accounts: %s", ref, r.Status, len(moved), r.Error)
		}
		m := moved[1]
		if m.Name.String() != r.Ref || len(m.Images) != 1 || m.Images[0].BaseLayers != 2 || m.Images[0].From.Digest == m.Images[0].Digest {
			t.Errorf("%s: the account is of %+v", ref, m)
		}
		top := m.Images[0].Descriptor
		if m.Index != nil {
			top = *m.Index
		}
		if top.Digest.String() != b.digest(ref) {
			t.Errorf("%s: the account is of %s, the tag names %s", ref, top.Digest, b.digest(ref))
		}
	}
}
