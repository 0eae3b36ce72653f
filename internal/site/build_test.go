package site

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/verify"
)

// wanted is what a build's evidence holds.
var wanted = []string{artifact.PredicateSignature, artifact.PredicateSPDX, artifact.PredicateCycloneDX, artifact.PredicateProvenance}

// vouched fails unless all evidence of what the tag names is there.
func (b *bed) vouched(tag string) {
	b.Helper()
	trust, err := b.Trust(b.Context(), home.Named{})
	if err != nil {
		b.Fatal(err)
	}
	report, err := verify.All(b.Context(), b.Registries.Session(), b.tag(tag), trust, wanted)
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		b.Errorf("%s: %v", tag, err)
	}
}

// TestBuild: an image is named by all its tags, each with all evidence beside it, and the inventory
// knows them; a second build finds nothing new, and gives a new tag what stands.
func TestBuild(t *testing.T) {
	b := newBed(t)
	r := b.request("team/shop:1", "hello")
	r.AdditionalTags = []oci.Reference{b.tag("team/shop:latest"), b.tag("mirror/shop:1")}
	first := b.built(r)
	r.AdditionalTags = append(r.AdditionalTags, b.tag("team/shop:stable"))
	second := b.built(r)
	if first.Unchanged || !second.Unchanged || first.Digest != second.Digest {
		t.Errorf("built %s (unchanged: %t), then %s (%t)", first.Digest, first.Unchanged, second.Digest, second.Unchanged)
	}
	tags := []string{"mirror/shop:1", "team/shop:1", "team/shop:latest", "team/shop:stable"}
	for _, tag := range tags {
		if got := b.head(tag); got != first.Digest {
			t.Errorf("%s names %s, want %s", tag, got, first.Digest)
		}
		b.vouched(tag)
	}
	index, err := b.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known, err := index.References(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(append([]string{"builder:1"}, tags...), known); diff != "" {
		t.Errorf("the inventory knows (-want +got)\n%s", diff)
	}
	if len(b.warned) > 0 {
		t.Errorf("warned: %q", b.warned)
	}
}

// TestTwoAtOnceOnOneTag: the second build begins when the tag names what the first one made.
func TestTwoAtOnceOnOneTag(t *testing.T) {
	b := newBed(t)
	entered, leave := make(chan struct{}), make(chan struct{})
	first, second := b.request("shop:1", "one"), b.request("shop:1", "two")
	fetch := first.Fetch
	first.Fetch = func(ctx context.Context, dir string) (artifact.Source, error) {
		close(entered)
		<-leave
		return fetch(ctx, dir)
	}
	seen := ""
	fetchSecond := second.Fetch
	second.Fetch = func(ctx context.Context, dir string) (artifact.Source, error) {
		seen = b.head("shop:1")
		return fetchSecond(ctx, dir)
	}
	results := make(chan *Built, 2)
	go func() { results <- b.built(first) }()
	<-entered
	go func() { results <- b.built(second) }()
	until(t, "the second build waits", func() bool {
		b.tags.mu.Lock()
		defer b.tags.mu.Unlock()
		one := b.tags.taken["shop:1"]
		return one != nil && one.waiting == 2
	})
	close(leave)
	one, two := <-results, <-results
	if seen != one.Digest {
		t.Errorf("the second build began when the tag named %q, want %q", seen, one.Digest)
	}
	if got := b.head("shop:1"); got != two.Digest || got == one.Digest {
		t.Errorf("the tag names %q, want what was asked for last: %q", got, two.Digest)
	}
}

// until waits for something that is soon so.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for !so() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not so: %s", what)
		}
	}
}
