package rebase_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/internal/build/cnb"
	"plimsoll.dev/plimsoll/internal/build/rebase"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// launch pushes an old and a new base, and apps on the old one.
func launch(b *bed, apps ...string) {
	b.Helper()
	old := b.run(nil, "libc=1", "openssl=1")
	b.push("run:1", old)
	b.push("run:2", b.run(nil, "libc=1", "openssl=2"))
	for _, app := range apps {
		b.push(app, b.app(old, b.at("run:2"), nil, "file of "+app))
	}
}

func TestManifestKeepsItsAccount(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	m := b.manifest("app:1")
	want := map[string]string{
		"org.opencontainers.image.revision":    "abc",
		"org.opencontainers.image.base.name":   b.at("run:2"),
		"org.opencontainers.image.base.digest": b.digest("run:2"),
	}
	if diff := cmp.Diff(want, m.Annotations); diff != "" {
		t.Errorf("annotations: -want +got\n%s", diff)
	}
	var packages []string
	for _, l := range m.Layers {
		packages = append(packages, l.Annotations[oci.PackagesAnnotation]+l.Annotations["test.file"])
	}
	if diff := cmp.Diff([]string{"libc=1", "openssl=2", "file of app:1"}, packages); diff != "" {
		t.Errorf("layers: -want +got\n%s", diff)
	}
	if err := validate.Image(b.pull("app:1"), validate.Fast); err != nil {
		t.Error(err)
	}
	again := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	if r.Status != rebase.StatusRebased || again.Status != rebase.StatusUnchanged || again.From != r.To || again.Pushed != 0 {
		t.Errorf("want rebased, then unchanged, got %+v and %+v", r, again)
	}
}

// TestNoLayerIsLost rebases an image without a history, of which the lifecycle would drop
// the first layer of the app.
func TestNoLayerIsLost(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	b.push("app:1", b.edit(b.pull("app:1"), func(c *v1.ConfigFile) { c.History = nil }))
	b.fleet(rebase.FleetOptions{}, "app:1")
	if m := b.manifest("app:1"); len(m.Layers) != 3 {
		t.Errorf("want all 3 layers, got %d", len(m.Layers))
	}
}

// TestTraffic holds the requests that an image costs, on which the speed depends.
func TestTraffic(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1", "app:2", "app:3", "other:1")
	b.watch(nil)
	b.fleet(rebase.FleetOptions{Jobs: 1}, "app:1", "app:2", "app:3", "other:1")
	want := map[string]int{
		"GET ping":       2,     // one finds out how, one does log in
		"GET manifests":  4 + 1, // those of the apps and of the base
		"GET blobs":      4 + 1, // their configurations
		"POST mount":     2,     // the changed layer, once for each repository
		"POST uploads":   4,     // the new configurations, each at once
		"HEAD manifests": 4,
		"PUT manifests":  4,
	}
	if diff := cmp.Diff(want, b.requests()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestDryRun(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	before := b.digest("app:1")
	b.watch(func(r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			t.Errorf("it wrote: %s %s", r.Method, r.URL)
		}
	})
	r := b.fleet(rebase.FleetOptions{DryRun: true}, "app:1")["app:1"]
	b.watch(nil)
	want := rebase.Change{
		Platform: "linux/amd64", RunImage: b.at("run:2"),
		From: b.at("run") + "@" + b.digest("run:1"), To: b.at("run") + "@" + b.digest("run:2"),
		Packages: []rebase.PackageChange{{Name: "openssl", From: "1", To: "2"}}, Known: true,
		New: 1, Shared: 2, Bytes: int64(len("package openssl=2")),
	}
	if diff := cmp.Diff([]rebase.Change{want}, r.Images); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if r.Status != rebase.StatusStale || b.digest("app:1") != before {
		t.Errorf("want it stale and left alone, got %+v", r)
	}
	if real := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]; real.To != r.To || real.Pushed != r.Pushed {
		t.Errorf("the dry run promised %s and %d bytes, it became %s and %d", r.To, r.Pushed, real.To, real.Pushed)
	}
}

// TestDryRunReadsTheOldBase looks at an image whose layers do not say what is in them, as
// the lifecycle's exporter leaves them.
func TestDryRunReadsTheOldBase(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	mute := b.manifest("app:1")
	for i := range mute.Layers {
		mute.Layers[i].Annotations = nil
	}
	raw, err := json.Marshal(mute)
	b.must(err)
	ref, err := oci.Parse(b.at("app:1"))
	b.must(err)
	_, err = b.registries.Session().PutManifest(t.Context(), ref, mute.MediaType, raw)
	b.must(err)
	r := b.fleet(rebase.FleetOptions{DryRun: true}, "app:1")["app:1"]
	if len(r.Images) != 1 || !r.Images[0].Known || len(r.Images[0].Packages) != 1 {
		t.Errorf("want the one changed package, got %+v", r)
	}
}

// TestTagMoves moves the tag between reading and writing: what came meanwhile is rebased,
// not overwritten.
func TestTagMoves(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1", "newer:1")
	newer := b.pull("newer:1")
	var moved atomic.Bool
	b.watch(func(r *http.Request) {
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/app/manifests/1") && !moved.Swap(true) {
			b.push("app:1", newer)
		}
	})
	r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	files := b.manifest("app:1").Layers
	if got := files[len(files)-1].Annotations["test.file"]; r.Status != rebase.StatusRebased || got != "file of newer:1" {
		t.Errorf("want the newer app rebased, got %q: %+v", got, r)
	}
}

func TestTagNeverRests(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	app, n := b.pull("app:1"), 0
	b.watch(func(r *http.Request) {
		if r.Method == http.MethodHead && strings.HasPrefix(r.UserAgent(), "test ") {
			n++
			b.push("app:1", mutate.Annotations(app, map[string]string{"n": fmt.Sprint(n)}).(v1.Image))
		}
	})
	r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	if r.Status != rebase.StatusFailed || fault.KindOf(r.Err) != fault.Unavailable || r.Hint == "" {
		t.Errorf("want it given up with a hint, got %+v", r)
	}
}

// TestInterrupted stops a fleet at every manifest in turn: each tag is old or new, never
// broken, and the next run does the rest.
func TestInterrupted(t *testing.T) {
	b := newBed(t)
	refs := []string{"a:1", "b:1", "c:1", "d:1"}
	launch(b, refs...)
	for stop := 1; stop <= 4; stop++ {
		ctx, cancel := context.WithCancel(t.Context())
		var puts atomic.Int32
		b.watch(func(r *http.Request) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") && puts.Add(1) == 1 {
				cancel()
			}
		})
		err := rebase.Fleet(ctx, b.registries, func(yield func(string, error) bool) {
			for _, ref := range refs {
				if !yield(b.at(ref), nil) {
					return
				}
			}
		}, rebase.FleetOptions{Jobs: 1}, func(rebase.Result) {})
		cancel()
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("want it canceled, got %v", err)
		}
		b.watch(nil)
		for _, ref := range refs {
			if err := validate.Image(b.pull(ref), validate.Fast); err != nil {
				t.Errorf("%s: %v", ref, err)
			}
		}
	}
	for ref, r := range b.fleet(rebase.FleetOptions{}, refs...) {
		if r.Status == rebase.StatusFailed || b.manifest(ref).Annotations["org.opencontainers.image.base.digest"] != b.digest("run:2") {
			t.Errorf("%s is not on the new base: %+v", ref, r)
		}
	}
}

func TestFailuresStopNoOthers(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1", "app:2", "app:3")
	b.push("app:2", b.edit(b.pull("app:2"), func(c *v1.ConfigFile) { c.Config.Labels[cnb.RebasableLabel] = "false" }))
	b.push("plain:1", b.run(nil, "libc=1"))
	results := b.fleet(rebase.FleetOptions{}, "app:1", "app:2", "absent:1", "plain:1", "app:3", "UPPER:1", "app@sha256:"+strings.Repeat("0", 64))
	want := map[string]rebase.Status{
		"app:1": "rebased", "app:2": "failed", "app:3": "rebased", "absent:1": "failed", "plain:1": "failed",
		"UPPER:1": "failed", "app@sha256:" + strings.Repeat("0", 64): "failed",
	}
	for ref, status := range want {
		r := results[ref]
		if r.Status != status {
			t.Errorf("%s: want %s, got %+v", ref, status, r)
		}
		if status == "failed" && (r.Hint == "" || !strings.Contains(r.Error, ref) || strings.Contains(r.Error, "\n")) {
			t.Errorf("%s: want one line that names it, and a hint, got %q, %q", ref, r.Error, r.Hint)
		}
	}
}

// TestRunImages finds the run image by name and mirrors.
func TestRunImages(t *testing.T) {
	b, far := newBed(t), newBed(t)
	launch(b)
	old := b.run(nil, "libc=1", "openssl=1")
	far.push("run:2", b.run(nil, "libc=1", "openssl=2"))
	tests := []struct {
		name, reason   string
		image, mirrors string
		want           string // "" is a failure
	}{
		{"its own registry first", "a pull from near is fast, and may be all that is allowed", far.at("run:2"), b.at("run:2"), b.at("run:2")},
		{"the first that answers", "a mirror that is gone must not stop a fleet", b.at("gone:2"), far.at("run:2"), far.at("run:2")},
		{"elsewhere", "app and base need not be in one registry", far.at("run:2"), "", far.at("run:2")},
		{"local store", "a name without a host is in the local store", "run:2", "", "run:2"},
		{"nowhere", "", b.at("gone:2"), "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b.push("app:1", b.app(old, "x", func(m *cnb.LifecycleMetadata, _ *v1.ConfigFile) {
				m.RunImage.RunImage = cnb.RunImage{Image: tt.image}
				if tt.mirrors != "" {
					m.RunImage.Mirrors = []string{tt.mirrors}
				}
			}, "main"))
			r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
			got := ""
			if r.Status == rebase.StatusRebased {
				got = r.Images[0].RunImage
				if err := validate.Image(b.pull("app:1"), validate.Fast); err != nil {
					t.Error(err)
				}
			}
			if got != tt.want {
				t.Errorf("want %q, got %+v", tt.want, r)
			}
		})
	}
}

// TestElsewhere writes the result to another repository, and to another registry.
func TestElsewhere(t *testing.T) {
	b, far := newBed(t), newBed(t)
	launch(b, "app:1")
	before := b.digest("app:1")
	for _, to := range []*bed{b, far} {
		tag, err := oci.ParseTag(to.at("team/app:patched"))
		b.must(err)
		r := b.fleet(rebase.FleetOptions{Tag: tag}, "app:1")["app:1"]
		if r.Status != rebase.StatusRebased || r.Tag != tag.String() || to.digest("team/app:patched") != r.To || b.digest("app:1") != before {
			t.Errorf("got %+v", r)
		}
		if err := validate.Image(to.pull("team/app:patched"), validate.Fast); err != nil {
			t.Error(err)
		}
	}
}

func TestLocalStore(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	old := b.run(nil, "libc=1", "openssl=1")
	b.push("app:1", b.app(old, "run:2", nil, "main")) // the bed serves what the local store holds
	ref, err := oci.Parse("app:1")
	b.must(err)
	var r rebase.Result
	b.must(rebase.Fleet(t.Context(), b.registries, func(yield func(string, error) bool) { yield("app:1", nil) },
		rebase.FleetOptions{}, func(result rebase.Result) { r = result }))
	if r.Status != rebase.StatusRebased || r.Ref != ref.String() || r.Images[0].To != "run@"+b.digest("run:2") {
		t.Errorf("got %+v", r)
	}
	if got := b.manifest("app:1").Annotations["org.opencontainers.image.base.name"]; got != "run:2" {
		t.Errorf("base named %q", got)
	}
}

// forPlatform adds an image to an index.
func forPlatform(image v1.Image, architecture string, annotations map[string]string) mutate.IndexAddendum {
	system := "linux"
	if architecture == "unknown" {
		system = "unknown"
	}
	return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{
		Platform: &v1.Platform{OS: system, Architecture: architecture}, Annotations: annotations,
	}}
}

func TestIndex(t *testing.T) {
	b, far := newBed(t), newBed(t)
	arm := func(c *v1.ConfigFile) { c.Architecture = "arm64" }
	bases := map[string]v1.Image{"amd64": b.run(nil, "libc=1", "openssl=1"), "arm64": b.run(arm, "libc=1a", "openssl=1a")}
	newer := mutate.AppendManifests(empty.Index,
		forPlatform(b.run(arm, "libc=1a", "openssl=2a"), "arm64", nil), forPlatform(b.run(nil, "libc=1", "openssl=2"), "amd64", nil))
	b.pushIndex("run:2", newer)
	apps := map[string]v1.Image{}
	for architecture, base := range bases {
		apps[architecture] = b.app(base, b.at("run:2"), nil, "main for "+architecture)
	}
	about, err := apps["amd64"].Digest()
	b.must(err)
	index := mutate.AppendManifests(empty.Index,
		forPlatform(apps["amd64"], "amd64", map[string]string{"mine": "kept"}), forPlatform(apps["arm64"], "arm64", nil),
		forPlatform(b.run(nil, "attestation=1"), "unknown", map[string]string{"vnd.docker.reference.digest": about.String()}),
		forPlatform(b.run(nil, "artifact=1"), "unknown", nil),
	)
	index = mutate.Annotations(index, map[string]string{"org.opencontainers.image.base.digest": "old", "mine": "kept"}).(v1.ImageIndex)
	b.pushIndex("app:1", index)
	tag, err := oci.ParseTag(far.at("app:1"))
	b.must(err)
	b.fleet(rebase.FleetOptions{Tag: tag}, "app:1")
	r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	if r.Status != rebase.StatusRebased || len(r.Images) != 2 || r.To != b.digest("app:1") || far.digest("app:1") != r.To {
		t.Fatalf("got %+v", r)
	}
	got, err := remote.Index(b.ref("app:1"))
	b.must(err)
	m, err := got.IndexManifest()
	b.must(err)
	var kinds []string
	for _, d := range m.Manifests {
		kinds = append(kinds, d.Platform.Architecture+d.Annotations["mine"])
	}
	if diff := cmp.Diff([]string{"amd64kept", "arm64", "unknown"}, kinds); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if m.Annotations["mine"] != "kept" || m.Annotations["org.opencontainers.image.base.digest"] != b.digest("run:2") {
		t.Errorf("annotations %v", m.Annotations)
	}
	for i, want := range []string{"openssl=2", "openssl=2a"} {
		image, err := got.Image(m.Manifests[i].Digest)
		b.must(err)
		if err := validate.Image(image, validate.Fast); err != nil {
			t.Error(err)
		}
		manifest, err := image.Manifest()
		b.must(err)
		if !slices.ContainsFunc(manifest.Layers, func(l v1.Descriptor) bool { return l.Annotations[oci.PackagesAnnotation] == want }) {
			t.Errorf("%s is not in it", want)
		}
	}
	if again := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]; again.Status != rebase.StatusUnchanged {
		t.Errorf("want unchanged, got %+v", again)
	}
}

// TestIndexWithoutItsPlatform is refused whole: an index is rebased or left alone.
func TestIndexWithoutItsPlatform(t *testing.T) {
	b := newBed(t)
	b.pushIndex("run:2", mutate.AppendManifests(empty.Index, forPlatform(b.run(nil, "libc=2"), "amd64", nil)))
	arm := func(c *v1.ConfigFile) { c.Architecture = "arm64" }
	b.pushIndex("app:1", mutate.AppendManifests(empty.Index,
		forPlatform(b.app(b.run(nil, "libc=1"), b.at("run:2"), nil, "main"), "amd64", nil),
		forPlatform(b.app(b.run(arm, "libc=1a"), b.at("run:2"), nil, "main"), "arm64", nil)))
	before := b.digest("app:1")
	r := b.fleet(rebase.FleetOptions{}, "app:1")["app:1"]
	if r.Status != rebase.StatusFailed || !strings.Contains(r.Error, "linux/arm64") || b.digest("app:1") != before {
		t.Errorf("got %+v", r)
	}
}

// TestIndexAlone has indexes of unusual form.
func TestIndexAlone(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	app, err := remote.Head(b.ref("app:1"))
	b.must(err)
	ref, err := oci.Parse(b.at("app:index"))
	b.must(err)
	const unsaid = `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%d}]}`
	_, err = b.registries.Session().PutManifest(t.Context(), ref, types.OCIImageIndex, fmt.Appendf(nil, unsaid, app.Digest, app.Size))
	b.must(err)
	if r := b.fleet(rebase.FleetOptions{}, "app:index")["app:index"]; r.Status != rebase.StatusRebased || r.To != b.digest("app:index") {
		t.Errorf("media type and platform not said: got %+v", r)
	}
	inner := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: b.pull("app:1")})
	b.pushIndex("app:nested", mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner}))
	b.pushIndex("app:empty", empty.Index)
	for _, name := range []string{"app:nested", "app:empty"} {
		if r := b.fleet(rebase.FleetOptions{}, name)[name]; r.Status != rebase.StatusFailed {
			t.Errorf("%s: want a refusal, got %+v", name, r)
		}
	}
}

func TestEndOfReferencesIsToldWithItsCause(t *testing.T) {
	b := newBed(t)
	launch(b, "app:1")
	broken := errors.New("broken pipe")
	var results []rebase.Result
	err := rebase.Fleet(t.Context(), b.registries, func(yield func(string, error) bool) {
		_ = yield(b.at("app:1"), nil) && yield("", broken)
	}, rebase.FleetOptions{}, func(r rebase.Result) { results = append(results, r) })
	if !errors.Is(err, broken) || len(results) != 1 || results[0].Status != rebase.StatusRebased {
		t.Errorf("want the first done and the cause, got %v, %+v", err, results)
	}
}
