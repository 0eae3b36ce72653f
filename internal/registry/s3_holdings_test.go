package registry_test

import (
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry"
)

// s3Holdings: an object store tells as a folder does what is in it, and loses a tag as it does.
func s3Holdings(t *testing.T, server *s3Server) {
	config := server.config(t, server.bucket(t, "holdings"))
	reg := open(t, registry.Options{Config: config})
	if sizes, err := reg.Sizes(t.Context()); err != nil || len(sizes) > 0 {
		t.Fatalf("an empty bucket holds %v: %v", sizes, err)
	}
	named := digest.Digest(write(t, reg, "store.local/team/app:1.0", image(t, 4096, 2)))
	held, err := reg.Holdings(t.Context(), "team/app")
	if err != nil {
		t.Fatal(err)
	}
	sizes, err := reg.Sizes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(held.Blobs) != 4 || len(sizes) != 4 || !slices.Contains(held.Blobs, named) {
		t.Errorf("%d blobs are held and %d measured, want 4: %v", len(held.Blobs), len(sizes), held.Blobs)
	}
	for _, blob := range held.Blobs {
		if _, size, ok, err := reg.Size(t.Context(), "team/app", blob); !ok || err != nil || size != sizes[blob] {
			t.Errorf("%s has %d bytes by itself and %d of all: %v", blob, size, sizes[blob], err)
		}
	}
	tags, err := reg.Tags(t.Context(), "team/app")
	if err != nil || len(tags) != 1 || tags[0].Digest != named || tags[0].Pushed.IsZero() {
		t.Errorf("%+v: %v", tags, err)
	}
	if done, err := reg.Untag(t.Context(), "team/app", "1.0", named); !done || err != nil {
		t.Errorf("%t, %v", done, err)
	}
	if tags, err := reg.Tags(t.Context(), "team/app"); err != nil || len(tags) > 0 {
		t.Errorf("%+v: %v", tags, err)
	}
}
