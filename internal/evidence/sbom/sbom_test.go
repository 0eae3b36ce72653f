package sbom_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/bill"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/layer"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/spdx"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestMerge(t *testing.T) {
	const status = "var/lib/dpkg/status"
	release := reg("etc/os-release", osRelease)
	deb := func(name, version string) string {
		return "pkg:deb/debian/" + name + "@" + version + "?arch=amd64&distro=debian-13"
	}
	for _, c := range []struct {
		name   string
		layers [][]member
		want   []string
	}{
		{"a package stays in the layer that first brought it", [][]member{
			{release, reg(status, stanza("a", "1")+stanza("b", "1"))},
			{reg(status, stanza("a", "1")+stanza("b", "2")+stanza("c", "1"))},
			{reg(status, stanza("a", "1")+stanza("b", "2")+stanza("c", "1")+stanza("d", "1"))},
		}, []string{
			deb("a", "1") + " 0 " + status, deb("b", "2") + " 1 " + status,
			deb("c", "1") + " 1 " + status, deb("d", "1") + " 2 " + status,
		}},
		{"a removed package is gone", [][]member{
			{release, reg(status, stanza("a", "1")+stanza("b", "1"))},
			{reg(status, stanza("a", "1")+strings.Replace(stanza("b", "1"), "install ok installed", "deinstall ok config-files", 1))},
		}, []string{deb("a", "1") + " 0 " + status}},
		{"a whiteout hides a file", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0")), reg("node_modules/b/package.json", npmText("b", "1.0.0"))},
			{gone("node_modules/a/.wh.package.json")},
		}, []string{"pkg:npm/b@1.0.0 0 node_modules/b/package.json"}},
		{"a whiteout hides a folder", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0")), reg("node_modules/b/package.json", npmText("b", "1.0.0"))},
			{gone("node_modules/.wh.a")},
		}, []string{"pkg:npm/b@1.0.0 0 node_modules/b/package.json"}},
		{"an opaque folder hides what is below, not what comes with it", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))},
			{dir("node_modules"), reg("node_modules/b/package.json", npmText("b", "1.0.0")), gone("node_modules/.wh..wh..opq")},
		}, []string{"pkg:npm/b@1.0.0 1 node_modules/b/package.json"}},
		{"an opaque root hides all", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))}, {gone(".wh..wh..opq")},
		}, nil},
		{"a file in the place of a folder hides what was in it", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))}, {reg("node_modules", "x")},
		}, nil},
		{"a link in the place of a folder hides what was in it", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))},
			{{name: "node_modules/a", kind: tar.TypeSymlink, link: "../b"}},
		}, nil},
		{"a folder again hides nothing", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))}, {dir("node_modules"), dir("node_modules/a")},
		}, []string{"pkg:npm/a@1.0.0 0 node_modules/a/package.json"}},
		{"another version in the place of one", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0"))}, {reg("node_modules/a/package.json", npmText("a", "2.0.0"))},
		}, []string{"pkg:npm/a@2.0.0 1 node_modules/a/package.json"}},
		{"a package at two paths is one, but not in two layers", [][]member{
			{reg("a/node_modules/x/package.json", npmText("x", "1.0.0")), reg("b/node_modules/x/package.json", npmText("x", "1.0.0"))},
			{reg("c/node_modules/x/package.json", npmText("x", "1.0.0"))},
		}, []string{
			"pkg:npm/x@1.0.0 0 a/node_modules/x/package.json b/node_modules/x/package.json",
			"pkg:npm/x@1.0.0 1 c/node_modules/x/package.json",
		}},
		{"of a path that is twice in a layer, the last counts", [][]member{
			{reg("node_modules/a/package.json", npmText("a", "1.0.0")), reg("./node_modules//a/package.json", npmText("a", "2.0.0"))},
		}, []string{"pkg:npm/a@2.0.0 0 node_modules/a/package.json"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers []counted
			for _, members := range c.layers {
				layers = append(layers, layerOf(t, members...))
			}
			got := contents(t, sbom.New(sbom.Options{}), imageOf(layers...))
			if diff := cmp.Diff(c.want, lines(got)); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesThatNoPackageOwns(t *testing.T) {
	base := layerOf(t,
		reg("var/lib/dpkg/status", stanza("a", "1")),
		reg("var/lib/dpkg/info/a:amd64.list", "/.\n/bin\n/bin/a\n/etc/a.conf\n"),
		reg("usr/bin/a", "by dpkg, under its merged name"), reg("etc/a.conf", "by dpkg"), reg("etc/made", "by nobody"),
		reg("srv/node_modules/x/package.json", npmText("x", "1.0.0")), reg("srv/node_modules/x/lib/x.js", "by x"),
		reg("srv/site-packages/f-1.dist-info/METADATA", "Metadata-Version: 2.1\nName: F\nVersion: 1\n\n"),
		reg("srv/site-packages/f-1.dist-info/RECORD", "f/__init__.py,sha256=x,1\n../bin/f,,\n\"f/a,b.py\",,\n"),
		reg("srv/site-packages/f/__init__.py", "by f"), reg("srv/site-packages/f/a,b.py", "by f"),
		reg("srv/bin/f", "by f"), reg("srv/site-packages/loose.py", "by nobody"),
		member{name: "srv/linked", kind: tar.TypeLink, link: "etc/made"},
	)
	app := layerOf(t, reg("etc/a.conf", "changed by hand"), reg("app/main.sh", "#!/bin/sh\n"))
	got := contents(t, sbom.New(sbom.Options{}), imageOf(base, app))
	want := []string{"app/main.sh", "etc/a.conf", "etc/made", "srv/linked", "srv/site-packages/loose.py"}
	if diff := cmp.Diff(want, paths(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	file := artifact.File{Path: "etc/made", Size: 9, Layer: base.DiffID}
	file.SHA1, file.SHA256 = sums("by nobody")
	if diff := cmp.Diff(file, got.Files[2]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTooManyFiles: of files that no package owns a bill names so many that it can be
// verified, those that can be run first, and says how many it does not name.
func TestTooManyFiles(t *testing.T) {
	const listed, besides = 20_000, 5
	var few, long []member
	for i := range listed - 1 {
		few = append(few, reg(fmt.Sprintf("data/%05d", i), ""))
	}
	run := member{name: "zz/run", mode: 0o755}
	many := append(slices.Clone(few), run)
	for i := range besides {
		many = append(many, reg(fmt.Sprintf("late/%d", i), ""))
	}
	for i := range 2000 { // a path has at most 4096 bytes, of names of 255
		long = append(long, reg(fmt.Sprintf("%s/%05d", strings.Repeat(strings.Repeat("a", 250)+"/", 12)+"b", i), ""))
	}
	long = append(long, run)
	for _, c := range []struct {
		name     string
		files    []member
		unlisted int // -1: some
	}{
		{"as many as are named", append(few, run), 0},
		{"more", many, besides},
		{"long paths", long, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := contents(t, sbom.New(sbom.Options{}), imageOf(layerOf(t, c.files...)))
			if len(got.Files)+got.Unlisted != len(c.files) || c.unlisted >= 0 && got.Unlisted != c.unlisted || c.unlisted < 0 && got.Unlisted == 0 {
				t.Errorf("of %d files %d are listed and %d are not, want %d", len(c.files), len(got.Files), got.Unlisted, c.unlisted)
			}
			if !slices.Contains(paths(got), "zz/run") || !slices.IsSorted(paths(got)) {
				t.Error("what can be run is not listed, or the list is not sorted")
			}
			const most = 24 << 20 // bytes: two bills in two forms, in base64, are below the 128 MB that verifiers read
			if n := len(spdx.Encode(got, bill.About{})); n > most {
				t.Errorf("the bill has %d bytes", n)
			}
		})
	}
}

// TestALayerIsReadOnce shows that images on one base, asked for at once and again, open
// each layer once; and a scanner with the same cache none.
func TestALayerIsReadOnce(t *testing.T) {
	base := layerOf(t, reg("etc/os-release", osRelease), reg("var/lib/dpkg/status", stanza("a", "1")))
	one, two := layerOf(t, reg("one", "1")), layerOf(t, reg("two", "2"))
	options := sbom.Options{Cache: t.TempDir(), Jobs: 2}
	s := sbom.New(options)
	var all sync.WaitGroup
	for range 8 {
		for _, image := range []sbom.Image{imageOf(base, one), imageOf(base, two)} {
			all.Go(func() {
				if _, err := s.Contents(t.Context(), image); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	fresh := contents(t, sbom.New(sbom.Options{}), imageOf(base, one))
	cached := contents(t, sbom.New(options), imageOf(base, one))
	if diff := cmp.Diff(fresh, cached); diff != "" {
		t.Errorf("from the cache it is otherwise (-fresh +cached):\n%s", diff)
	}
	for name, l := range map[string]counted{"base": base, "one": one, "two": two} {
		want := int32(1)
		if name != "two" {
			want = 2 // once more without a cache
		}
		if got := l.opened.Load(); got != want {
			t.Errorf("%s was opened %d times, want %d", name, got, want)
		}
	}
}

// TestADamagedCacheIsNotTrusted changes a byte of what is kept, then the recipe.
func TestADamagedCacheIsNotTrusted(t *testing.T) {
	l := layerOf(t, reg("node_modules/a/package.json", npmText("a", "1.0.0")))
	options := sbom.Options{Cache: t.TempDir()}
	want := contents(t, sbom.New(options), imageOf(l))
	kept, err := filepath.Glob(filepath.Join(options.Cache, "*", "*.json"))
	if err != nil || len(kept) != 1 {
		t.Fatalf("%v, %v", kept, err)
	}
	whole, err := os.ReadFile(kept[0])
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]string{
		"another version": strings.Replace(string(whole), "1.0.0", "9.9.9", 1),
		"cut":             string(whole[:len(whole)/2]),
		"empty":           "",
	} {
		before := l.opened.Load()
		if err := os.WriteFile(kept[0], []byte(damage), 0o644); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, contents(t, sbom.New(options), imageOf(l))); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
		if l.opened.Load() != before+1 {
			t.Errorf("%s: the layer was not read again", name)
		}
		mended, err := os.ReadFile(kept[0])
		if err != nil || string(mended) != string(whole) {
			t.Errorf("%s: the cache was not mended: %v", name, err)
		}
	}
}

func TestCompressions(t *testing.T) {
	plain := tarOf(t, reg("node_modules/a/package.json", npmText("a", "1.0.0")))
	for name, packed := range map[string][]byte{"none": plain, "gzip": gzipped(t, plain), "zstd": zstded(t, plain)} {
		got := contents(t, sbom.New(sbom.Options{}), imageOf(bytesLayer(diffID(plain), packed)))
		if diff := cmp.Diff([]string{"pkg:npm/a@1.0.0 0 node_modules/a/package.json"}, lines(got)); diff != "" {
			t.Errorf("%s: (-want +got):\n%s", name, diff)
		}
	}
}

func TestRefuses(t *testing.T) {
	plain := tarOf(t, reg("a", strings.Repeat("x", 4096)))
	many := make([]member, 200)
	for i := range many {
		many[i] = reg("f"+strings.Repeat("i", i), "")
	}
	bound := layer.Options{MaxBytes: 64 << 10, MaxEntries: 100}
	for _, c := range []struct {
		name  string
		layer counted
		kind  fault.Kind
		says  string
	}{
		{"other bytes", bytesLayer(diffID([]byte("x")), plain), fault.Denied, "its bytes have the sum " + diffID(plain)},
		{"a cut tar", bytesLayer(diffID(plain), plain[:1000]), fault.Denied, "unexpected EOF"},
		{"cut gzip", bytesLayer(diffID(plain), gzipped(t, plain)[:40]), fault.Denied, "unexpected EOF"},
		{"garbage", bytesLayer(diffID(plain), []byte(strings.Repeat("garbage", 200))), fault.Denied, "tar"},
		{"a way out", layerOf(t, reg("a/../../etc/passwd", "x")), fault.Denied, "climbs out"},
		{"too many bytes", layerOf(t, reg("a", strings.Repeat("x", 100<<10))), fault.Denied, "larger"},
		{"too many packed bytes", bytesLayer(diffID(plain), gzipped(t, make([]byte, 1<<20))), fault.Denied, "larger"},
		{"too many entries", layerOf(t, many...), fault.Denied, "more than 100 entries"},
		{"no diffID", counted{sbom.Layer{DiffID: "../../x"}, nil}, fault.Denied, "no diffID"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := sbom.New(sbom.Options{Cache: t.TempDir(), Layer: bound}).Contents(t.Context(), imageOf(c.layer))
			if err == nil || fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("kind %d: %v; want kind %d and %q", fault.KindOf(err), err, c.kind, c.says)
			}
		})
	}
}

// TestHarmless holds that strange but possible entries are no reason to give up.
func TestHarmless(t *testing.T) {
	l := layerOf(t,
		member{name: "dev/null", kind: tar.TypeChar}, member{name: "run/pipe", kind: tar.TypeFifo},
		member{name: "up", kind: tar.TypeSymlink, link: "../../../../etc/shadow"},
		member{name: "hard", kind: tar.TypeLink, link: "../../etc/shadow"},
		member{name: "lost", kind: tar.TypeLink, link: "nowhere"},
		reg("node_modules/a/package.json", "{"), reg("var/lib/dpkg/status.d/b", "\x00\x01"),
		reg("usr/lib/x.jar", "PK\x03\x04 and nothing more"), member{name: "bin/x", text: "\x7fELF", mode: 0o755},
		reg("node_modules/c/package.json", npmText("c", "1.0.0")),
	)
	got := contents(t, sbom.New(sbom.Options{}), imageOf(l))
	if diff := cmp.Diff([]string{"pkg:npm/c@1.0.0 0 node_modules/c/package.json"}, lines(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var gaps []string
	for _, g := range got.Gaps {
		gaps = append(gaps, g.Path)
	}
	if diff := cmp.Diff([]string{"node_modules/a/package.json", "usr/lib/x.jar", "var/lib/dpkg/status.d/b"}, gaps); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
}

// TestAFailureEndsTheOthers has one layer that cannot be opened beside one that waits.
func TestAFailureEndsTheOthers(t *testing.T) {
	waits := sbom.Layer{DiffID: diffID([]byte("a")), Open: func(ctx context.Context) (io.ReadCloser, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	fails := sbom.Layer{DiffID: diffID([]byte("b")), Open: func(context.Context) (io.ReadCloser, error) {
		return nil, fault.Newf(fault.Unavailable, "fetch", "b", "the registry is away")
	}}
	_, err := sbom.New(sbom.Options{Jobs: 2}).Contents(t.Context(), sbom.Image{Layers: []sbom.Layer{waits, fails}})
	if fault.KindOf(err) != fault.Unavailable {
		t.Errorf("kind %d: %v", fault.KindOf(err), err)
	}
}

// TestAnothersEndIsNotOurs has one caller give up while two wait for the same layer.
func TestAnothersEndIsNotOurs(t *testing.T) {
	plain := tarOf(t, reg("a", "x"))
	opened := make(chan struct{}, 2)
	l := sbom.Layer{DiffID: diffID(plain), Open: func(ctx context.Context) (io.ReadCloser, error) {
		opened <- struct{}{}
		if len(opened) == 1 {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return io.NopCloser(strings.NewReader(string(plain))), nil
	}}
	s := sbom.New(sbom.Options{})
	image := sbom.Image{Layers: []sbom.Layer{l}}
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() {
		if _, err := s.Contents(ctx, image); !errors.Is(err, context.Canceled) {
			t.Errorf("the one that gave up: %v", err)
		}
	})
	both.Go(func() {
		for len(opened) == 0 { // the other flies already, and will not land by itself
			if t.Context().Err() != nil {
				return
			}
		}
		cancel()
		if _, err := s.Contents(t.Context(), image); err != nil {
			t.Errorf("the one that waited: %v", err)
		}
	})
	both.Wait()
}
