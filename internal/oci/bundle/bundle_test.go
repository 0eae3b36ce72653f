package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

func harbour(t testing.TB, o ...registry.Option) string {
	server := httptest.NewServer(registry.New(append(o, registry.Logger(log.New(io.Discard, "", 0)))...))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func parsed(t testing.TB, text string) oci.Reference { return must[oci.Reference](t)(oci.Parse(text)) }

// fleet pushes an index of two images and a single image, each with a referrer, that with
// one of its own, and a signature tag. It gives their names without the host.
func fleet(t testing.TB, host string) []string {
	t.Helper()
	options := []name.Option{name.Insecure}
	put := func(text string, image v1.Image) v1.Descriptor {
		ref := must[name.Reference](t)(name.ParseReference(host+"/"+text, options...))
		if err := remote.Write(ref, image); err != nil {
			t.Fatal(err)
		}
		return v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: must[v1.Hash](t)(image.Digest()), Size: must[int64](t)(image.Size())}
	}
	make := func(size int64) v1.Image {
		return mutate.MediaType(must[v1.Image](t)(random.Image(size, 2)), types.OCIManifestSchema1)
	}
	attach := func(repository string, subject v1.Descriptor) {
		first := mutate.Subject(make(300), subject).(v1.Image)
		d := put(repository+"@"+must[v1.Hash](t)(first.Digest()).String(), first)
		second := mutate.Subject(make(200), d).(v1.Image)
		put(repository+"@"+must[v1.Hash](t)(second.Digest()).String(), second)
		put(repository+":"+strings.Replace(subject.Digest.String(), ":", "-", 1)+".sig", make(100))
	}
	attach("team/shop", put("team/shop:1", make(5000)))
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, architecture := range []string{"amd64", "arm64"} {
		image := make(4000)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
		attach("base", v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: must[v1.Hash](t)(image.Digest()), Size: must[int64](t)(image.Size())})
	}
	ref := must[name.Reference](t)(name.ParseReference(host+"/base:13", options...))
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	attach("base", v1.Descriptor{MediaType: types.OCIImageIndex, Digest: must[v1.Hash](t)(index.Digest()), Size: must[int64](t)(index.Size())})
	return []string{"team/shop:1", "base:13"}
}

func export(t testing.TB, host string, names ...string) (string, *Report) {
	t.Helper()
	var refs []oci.Reference
	for _, n := range names {
		refs = append(refs, parsed(t, host+"/"+n))
	}
	path := filepath.Join(t.TempDir(), "bundle.tar")
	file := must[*os.File](t)(os.Create(path))
	defer file.Close()
	report := must[*Report](t)(Write(t.Context(), (&oci.Registries{}).Session(), refs, file))
	return path, report
}

// TestThere and back: what arrives is what left, with all that was attached to it.
func TestThereAndBack(t *testing.T) {
	tests := []struct {
		name string
		far  []registry.Option
	}{
		{"to a registry with referrers", []registry.Option{registry.WithReferrersSupport(true)}},
		{"to one without", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			home, far := harbour(t, registry.WithReferrersSupport(true)), harbour(t, test.far...)
			names := fleet(t, home)
			path, report := export(t, home, names...)
			if len(report.Images) != 2 || report.Attached != 4*3 {
				t.Errorf("%d images with %d attached, want 2 with 12", len(report.Images), report.Attached)
			}
			b := must[*Bundle](t)(Open(path))
			defer b.Close()
			session := (&oci.Registries{}).Session()
			for _, image := range b.Names() {
				if _, err := b.Push(t.Context(), session, image, parsed(t, far+strings.TrimPrefix(image.Name, home))); err != nil {
					t.Fatal(err)
				}
			}
			for _, n := range names {
				if diff := cmp.Diff(tree(t, session, home+"/"+n), tree(t, session, far+"/"+n)); diff != "" {
					t.Errorf("%s (-home +far):\n%s", n, diff)
				}
			}
			back, _ := export(t, far, names...)
			// The hosts differ in the index; all else must be the same.
			if diff := cmp.Diff(entries(t, path), entries(t, back)); diff != "" {
				t.Errorf("what is exported again differs (-first +second):\n%s", diff)
			}
		})
	}
}

// tree lists the digests of an image, its children and all that is attached to them.
func tree(t testing.TB, session *oci.Session, text string) []string {
	t.Helper()
	var out []string
	var walk func(ref oci.Reference)
	walk = func(ref oci.Reference) {
		m := must[oci.Manifest](t)(session.Manifest(t.Context(), ref))
		out = append(out, m.Digest.String())
		if m.Index != nil {
			for _, c := range m.Index.Manifests {
				walk(ref.At(c.Digest))
			}
		}
		for _, r := range must[oci.Referrers](t)(session.Referrers(t.Context(), ref, m.Digest)).Manifests {
			walk(ref.At(r.Digest))
		}
		if sig, err := session.Manifest(t.Context(), ref.Tag(strings.Replace(m.Digest.String(), ":", "-", 1)+".sig")); err == nil {
			out = append(out, "sig "+sig.Digest.String())
		}
	}
	walk(parsed(t, text))
	slices.Sort(out) // registries list in an order of their own
	return out
}

// entries lists the archive's files but its index.
func entries(t testing.TB, path string) []string {
	t.Helper()
	file := must[*os.File](t)(os.Open(path))
	defer file.Close()
	var out []string
	for in := tar.NewReader(file); ; {
		header, err := in.Next()
		if err == io.EOF {
			slices.Sort(out)
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Name != "index.json" {
			out = append(out, header.Name)
		}
	}
}

// TestServed reads a bundle as if it were the registry it is from.
func TestServed(t *testing.T) {
	host := harbour(t, registry.WithReferrersSupport(true))
	names := fleet(t, host)
	path, _ := export(t, host, names...)
	b := must[*Bundle](t)(Open(path))
	defer b.Close()
	served := (&oci.Registries{Local: func(context.Context) (http.RoundTripper, error) { return b.Transport(), nil }}).Session()
	for _, n := range names {
		want, got := tree(t, (&oci.Registries{}).Session(), host+"/"+n), tree(t, served, n)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-registry +bundle):\n%s", n, diff)
		}
	}
	for _, text := range []string{"team/shop:2", "none:1", "base:sha256-" + strings.Repeat("ab", 32) + ".sig"} {
		if _, err := served.Manifest(t.Context(), parsed(t, text)); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %v, want that it is not found", text, err)
		}
	}
}

func TestSameBytes(t *testing.T) {
	host := harbour(t, registry.WithReferrersSupport(true))
	names := fleet(t, host)
	first, _ := export(t, host, names...)
	second, _ := export(t, host, names...)
	if !bytes.Equal(must[[]byte](t)(os.ReadFile(first)), must[[]byte](t)(os.ReadFile(second))) {
		t.Error("the same images give two bundles")
	}
}

// TestTampered changes each byte range that matters, and looks that it is noticed before
// the far registry names anything.
func TestTampered(t *testing.T) {
	home := harbour(t, registry.WithReferrersSupport(true))
	names := fleet(t, home)
	path, _ := export(t, home, names...)
	good := must[[]byte](t)(os.ReadFile(path))
	b := must[*Bundle](t)(Open(path))
	defer b.Close()
	image := b.Names()[0]
	m := must[oci.Manifest](t)(b.Manifest(image.Descriptor))
	signature := b.Attached(image.Digest)[0]
	flip := func(d v1.Descriptor) []byte {
		out := bytes.Clone(good)
		out[b.blobs[d.Digest.Hex].offset+d.Size/2] ^= 1
		return out
	}
	tests := []struct {
		name string
		data []byte
		ok   bool
	}{
		{"untouched", good, true},
		{"a layer", flip(m.Image.Layers[0]), false},
		{"the configuration", flip(m.Image.Config), false},
		{"the manifest", flip(image.Descriptor), false},
		{"what is attached", flip(signature.Descriptor), false},
		{"cut off", good[:len(good)/2], false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b.tar")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			far := harbour(t, registry.WithReferrersSupport(true))
			to := parsed(t, far+"/team/shop:1")
			session := (&oci.Registries{}).Session()
			b, err := Open(path)
			if err == nil {
				defer b.Close()
				if err := b.Check(t.Context()); (err == nil) != test.ok || err != nil && fault.KindOf(err) != fault.Denied {
					t.Errorf("checked: %v, want ok %t", err, test.ok)
				}
				_, err = b.Push(t.Context(), session, b.Names()[0], to)
			}
			if (err == nil) != test.ok {
				t.Fatalf("error %v, want ok %t", err, test.ok)
			}
			if _, err := session.Head(t.Context(), to); (err == nil) != test.ok {
				t.Errorf("the tag is there: %t, want %t", err == nil, test.ok)
			}
		})
	}
}

// TestOthersSignaturesStay: what is below the older tag at the far end is kept beside what
// comes with the bundle.
func TestOthersSignaturesStay(t *testing.T) {
	home, far := harbour(t, registry.WithReferrersSupport(true)), harbour(t, registry.WithReferrersSupport(true))
	names := fleet(t, home)
	path, _ := export(t, home, names...)
	b := must[*Bundle](t)(Open(path))
	defer b.Close()
	session := (&oci.Registries{}).Session()
	image := b.Names()[0]
	to := parsed(t, far+"/team/shop:1")
	push := func() {
		if _, err := b.Push(t.Context(), session, image, to); err != nil {
			t.Fatal(err)
		}
	}
	push()
	tag := to.Tag(strings.Replace(image.Digest.String(), ":", "-", 1) + ".sig")
	others := mutate.MediaType(must[v1.Image](t)(random.Image(100, 1)), types.OCIManifestSchema1)
	if err := remote.Write(tag.Reference, others); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		push()
		m := must[oci.Manifest](t)(session.Manifest(t.Context(), tag))
		if len(m.Image.Layers) != 3 { // two of the bundle's, one of the other's
			t.Errorf("%d signatures are there, want all 3", len(m.Image.Layers))
		}
	}
}

func TestNoBundle(t *testing.T) {
	pack := func(files ...string) []byte {
		var out bytes.Buffer
		a := &archive{Writer: tar.NewWriter(&out)}
		for i := 0; i < len(files); i += 2 {
			a.file(files[i], []byte(files[i+1]))
		}
		a.Close()
		return out.Bytes()
	}
	const layout = `{"imageLayoutVersion":"1.0.0"}`
	blob := "blobs/sha256/" + strings.Repeat("ab", 32)
	tests := []struct {
		name string
		data []byte
	}{
		{"nothing", nil},
		{"text", []byte(strings.Repeat("hello ", 500))},
		{"no index", pack("oci-layout", layout)},
		{"a path that leads out", pack("oci-layout", layout, "index.json", `{}`, "../../etc/passwd", "x")},
		{"a blob twice", pack("oci-layout", layout, "index.json", `{}`, blob, "x", blob, "y")},
		{"an index that is none", pack("oci-layout", layout, "index.json", `[]`)},
		{"an entry without its blob", pack("oci-layout", layout, "index.json", `{"manifests":[{"digest":"sha256:`+strings.Repeat("ab", 32)+`","size":4}]}`)},
		{"a size below zero", pack("oci-layout", layout, "index.json", `{"manifests":[{"digest":"sha256:`+strings.Repeat("ab", 32)+`","size":-4}]}`, blob, "x")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "b.tar")
			if err := os.WriteFile(path, test.data, 0o600); err != nil {
				t.Fatal(err)
			}
			b, err := Open(path)
			if err == nil {
				b.Close()
				t.Fatal("it opens")
			}
			if fault.HintOf(err) == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

// FuzzOpen reads all that a bundle says it holds.
func FuzzOpen(f *testing.F) {
	host := harbour(f, registry.WithReferrersSupport(true))
	path, _ := export(f, host, fleet(f, host)...)
	f.Add(must[[]byte](f)(os.ReadFile(path)))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "b.tar")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := Open(path)
		if err != nil {
			return
		}
		defer b.Close()
		for _, n := range b.Names() {
			m, err := b.Manifest(n.Descriptor)
			if err != nil || m.Image == nil {
				continue
			}
			for _, l := range layers(m.Image) {
				if _, err := b.Stream(l); err != nil {
					continue
				}
			}
			b.Attached(n.Digest)
		}
	})
}
