package hardening_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/hardening"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestLayersHideAsTheyDoInAContainer is about the one thing that per-layer summaries can get
// wrong: what the image as a whole shows.
func TestLayersHideAsTheyDoInAContainer(t *testing.T) {
	su := entry{name: "usr/bin/su", mode: 0o4755, text: "x"}
	link := entry{name: "bin", kind: tar.TypeSymlink, link: "usr/bin"}
	for _, c := range []struct {
		name   string
		layers [][]entry
		want   []string
	}{
		{"alone", [][]entry{{su}}, []string{"4755 usr/bin/su"}},
		{"with a leading slash and dots", [][]entry{{{name: "/./usr/../usr/bin/su", mode: 0o4755, text: "x"}}}, []string{"4755 usr/bin/su"}},
		{"not a program", [][]entry{{{name: "a", mode: 0o4644, text: "x"}}}, nil},
		{"the bit taken away above", [][]entry{{su}, {{name: "usr/bin/su", mode: 0o755, text: "x"}}}, nil},
		{"taken out", [][]entry{{su}, {{name: "usr/bin/.wh.su"}}}, nil},
		{"its folder taken out", [][]entry{{su}, {{name: "usr/.wh.bin"}}}, nil},
		{"its folder emptied", [][]entry{{su}, {{name: "usr/bin/.wh..wh..opq"}}}, nil},
		{"a folder above emptied", [][]entry{{su}, {{name: "usr/.wh..wh..opq"}}}, nil},
		{"all emptied", [][]entry{{su}, {{name: ".wh..wh..opq"}}}, nil},
		{"its folder made a file", [][]entry{{su}, {{name: "usr/bin"}}}, nil},
		{"its folder there again", [][]entry{{su}, {{name: "usr/bin/", kind: tar.TypeDir, mode: 0o755}}}, []string{"4755 usr/bin/su"}},
		{"emptied and made anew in one layer", [][]entry{{su}, {{name: "usr/bin/.wh..wh..opq"}, {name: "usr/bin/su", mode: 0o2755, text: "x"}}}, []string{"2755 usr/bin/su"}},
		{"taken out below, put in above", [][]entry{{{name: "usr/bin/.wh.su"}}, {su}}, []string{"4755 usr/bin/su"}},
		{"another taken out", [][]entry{{su}, {{name: "usr/bin/.wh.sudo"}}}, []string{"4755 usr/bin/su"}},
		{"taken out through a link", [][]entry{{link, su}, {{name: "bin/.wh.su"}}}, nil},
		{"put in through a link, taken out", [][]entry{{link}, {{name: "bin/su", mode: 0o4755, text: "x"}}, {{name: "usr/bin/.wh.su"}}}, nil},
		{"put in through a link that comes again", [][]entry{{link}, {{name: "bin/su", mode: 0o4755, text: "x"}}, {link}}, []string{"4755 bin/su"}},
		{"twice in one layer", [][]entry{{su, {name: "usr/bin/su", mode: 0o755, text: "x"}}}, nil},
		{"a further name", [][]entry{{su, {name: "usr/bin/us", kind: tar.TypeLink, link: "usr/bin/su", mode: 0o4755}}}, []string{"4755 usr/bin/su", "4755 usr/bin/us"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var layers [][]byte
			for _, entries := range c.layers {
				layers = append(layers, tarOf(t, entries...))
			}
			if diff := cmp.Diff(c.want, paths(report(t, imageOf(t, v1.Config{}, nil, layers...)).SetID)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatAnIntruderLikes(t *testing.T) {
	const raw = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	r := report(t, imageOf(t, v1.Config{User: "app"}, nil, tarOf(t,
		entry{name: "usr/bin/dash", mode: 0o755}, entry{name: "usr/bin/sh", kind: tar.TypeSymlink, link: "dash"},
		entry{name: "usr/bin/x86_64-linux-gnu-gcc-14", mode: 0o755}, entry{name: "usr/bin/pip3.13", mode: 0o755},
		entry{name: "layers/node/bin/npm", kind: tar.TypeSymlink, link: "../lib/npm"},
		entry{name: "usr/sbin/sshd", mode: 0o755}, entry{name: "usr/share/bash/sh", mode: 0o755}, entry{name: "usr/bin/bashful", mode: 0o755},
		entry{name: "usr/bin/zsh", mode: 0o644}, // cannot be run
		entry{name: "usr/bin/ping", mode: 0o755, text: "x", xattr: raw},
		entry{name: "tmp/", kind: tar.TypeDir, mode: 0o1777}, entry{name: "srv/", kind: tar.TypeDir, mode: 0o777},
		entry{name: "etc/open", mode: 0o666, text: "x"}, entry{name: "etc/link", kind: tar.TypeSymlink, mode: 0o777, link: "open"},
	)))
	var programs []string
	for _, p := range r.Programs {
		programs = append(programs, string(p.Kind)+" "+p.Path)
	}
	want := []string{"package-manager layers/node/bin/npm", "shell usr/bin/dash", "package-manager usr/bin/pip3.13",
		"shell usr/bin/sh", "compiler usr/bin/x86_64-linux-gnu-gcc-14", "remote-access usr/sbin/sshd"}
	if diff := cmp.Diff(want, programs); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"666 etc/open", "777 srv"}, paths(r.WorldWritable)); diff != "" {
		t.Error(diff)
	}
	if len(r.Capabilities) != 1 || r.Capabilities[0].Path != "usr/bin/ping" || r.Capabilities[0].Capabilities != fmt.Sprintf("%x", raw) {
		t.Errorf("capabilities: %+v", r.Capabilities)
	}
	results := map[string]hardening.Result{}
	for _, c := range r.Checks {
		results[c.ID] = c.Result
	}
	for id, want := range map[string]hardening.Result{
		"CIS-DI-4.1": hardening.Warn, "CIS-DI-4.2": hardening.Info, "CIS-DI-4.3": hardening.Warn, "CIS-DI-4.6": hardening.Info,
		"CIS-DI-4.8": hardening.Pass, "CIS-DI-4.9": hardening.Pass, "CIS-DI-4.10": hardening.Pass,
		"PLM-1": hardening.Warn, "PLM-2": hardening.Fail, "PLM-3": hardening.Pass, "PLM-5": hardening.Warn, "PLM-6": hardening.Info,
	} {
		if results[id] != want {
			t.Errorf("%s: %s, want %s", id, results[id], want)
		}
	}
}

// TestManyFindings is about an image that would drown what matters.
func TestManyFindings(t *testing.T) {
	var many []entry
	for i := range 10_001 {
		many = append(many, entry{name: fmt.Sprint(i), mode: 0o666})
	}
	r := report(t, imageOf(t, v1.Config{}, nil, tarOf(t, append(many, entry{name: "bin/sshd", mode: 0o755})...)))
	if r.Skipped.More != 2 || !slices.Contains(r.TestResult().FailedTests, "PLM-7") {
		t.Errorf("%+v, failed %v", r.Skipped, r.TestResult().FailedTests)
	}
}

func TestUser(t *testing.T) {
	for value, want := range map[string]hardening.Result{
		"": hardening.Fail, "root": hardening.Fail, "0": hardening.Fail, "0:1000": hardening.Fail, "00": hardening.Fail, ":5": hardening.Fail,
		"app": hardening.Warn, "-1": hardening.Warn, "99999999999": hardening.Warn,
		"1000": hardening.Pass, "65532:65532": hardening.Pass,
	} {
		if got := report(t, imageOf(t, v1.Config{User: value}, nil)).Checks[0]; got.Result != want {
			t.Errorf("%q: %+v, want %s", value, got, want)
		}
	}
}

func TestHistory(t *testing.T) {
	for _, c := range []struct {
		history []string
		want    map[string]hardening.Result
	}{
		{[]string{"ADD rootfs.tar.xz / # buildkit", "RUN /bin/sh -c apt-get update && apt-get install -y curl"},
			map[string]hardening.Result{"CIS-DI-4.7": hardening.Pass, "CIS-DI-4.9": hardening.Pass}},
		{[]string{"FROM x", "/bin/sh -c #(nop) ADD file:1 in /a", "/bin/sh -c apt-get update"},
			map[string]hardening.Result{"CIS-DI-4.7": hardening.Warn, "CIS-DI-4.9": hardening.Warn}},
	} {
		for _, check := range report(t, imageOf(t, v1.Config{}, c.history)).Checks {
			if want := c.want[check.ID]; want != "" && check.Result != want {
				t.Errorf("%q: %+v, want %s", c.history, check, want)
			}
		}
	}
}

func TestKeepsByDiffID(t *testing.T) {
	folder := t.TempDir()
	image := imageOf(t, v1.Config{}, nil, tarOf(t, entry{name: "usr/bin/su", mode: 0o4755, text: "x"}), tarOf(t, entry{name: "usr/bin/.wh.su"}))
	first, err := hardening.New(folder).Report(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	second, err := hardening.New(folder).Report(t.Context(), unreadable{image})
	if err != nil {
		t.Fatalf("it reads layers that are kept: %v", err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
	kept, err := filepath.Glob(filepath.Join(folder, "*", "*"))
	if err != nil || len(kept) != 2 {
		t.Fatal(kept, err)
	}
	for _, path := range kept { // a disk that lies
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text[len(text)-1] ^= 1
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := hardening.New(folder).Report(t.Context(), unreadable{image}); !errors.Is(err, errUnreadable) {
		t.Errorf("it takes damaged summaries: %v", err)
	}
}

var errUnreadable = errors.New("not to be read")

// unreadable is an image whose layers cannot be read.
type unreadable struct{ v1.Image }

func (u unreadable) Layers() ([]v1.Layer, error) {
	layers, err := u.Image.Layers()
	for i := range layers {
		layers[i] = unreadableLayer{layers[i]}
	}
	return layers, err
}

type unreadableLayer struct{ v1.Layer }

func (unreadableLayer) Compressed() (io.ReadCloser, error)   { return nil, errUnreadable }
func (unreadableLayer) Uncompressed() (io.ReadCloser, error) { return nil, errUnreadable }

// swapped is an image whose only layer is another than its configuration says.
type swapped struct {
	v1.Image
	says  v1.Hash
	layer v1.Layer
}

func (s swapped) Layers() ([]v1.Layer, error) { return []v1.Layer{s.layer}, nil }

func (s swapped) Manifest() (*v1.Manifest, error) { return oneLayer, nil }

var oneLayer = &v1.Manifest{Layers: make([]v1.Descriptor, 1)}

func (s swapped) ConfigFile() (*v1.ConfigFile, error) {
	return &v1.ConfigFile{RootFS: v1.RootFS{DiffIDs: []v1.Hash{s.says}}}, nil
}

func TestALayerCannotSpeakForAnother(t *testing.T) {
	good, bad := layerOf(t, tarOf(t, entry{name: "a"})), layerOf(t, tarOf(t, entry{name: "usr/bin/su", mode: 0o4755, text: "x"}))
	folder := t.TempDir()
	scanner := hardening.New(folder)
	diffID, err := good.DiffID()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := scanner.Report(t.Context(), swapped{empty.Image, diffID, bad}); fault.KindOf(err) != fault.Denied || err == nil {
		t.Errorf("%v, want a denial", err)
	}
	if _, kept := scanner.Kept(diffID); kept {
		t.Error("what it said is kept")
	}
	if _, err := scanner.Report(t.Context(), swapped{empty.Image, diffID, good}); err != nil {
		t.Errorf("the honest one: %v", err)
	}
}

func TestLayersOfAnotherNumber(t *testing.T) {
	image := imageOf(t, v1.Config{}, nil, tarOf(t, entry{name: "a"}), tarOf(t, entry{name: "b"}))
	scanner := hardening.New("")
	if _, err := scanner.Report(t.Context(), image); err != nil { // from here on no layer need be read
		t.Fatal(err)
	}
	if _, err := scanner.Report(t.Context(), fewer{image}); fault.KindOf(err) != fault.Denied || err == nil {
		t.Errorf("%v, want a denial", err)
	}
}

// fewer is an image whose manifest lists one layer of its configuration.
type fewer struct{ v1.Image }

func (f fewer) Manifest() (*v1.Manifest, error) { return oneLayer, nil }

func TestDamagedLayers(t *testing.T) {
	whole := tarOf(t, entry{name: "a", text: strings.Repeat("text", 10000)})
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write(whole); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{
		"not a tar":     bytes.Repeat([]byte("a"), 2000),
		"cut":           whole[:3000],
		"cut gzip":      packed.Bytes()[:packed.Len()/2],
		"gzip of noise": append([]byte{0x1f, 0x8b}, bytes.Repeat([]byte{7}, 100)...),
		"zstd of noise": append([]byte{0x28, 0xb5, 0x2f, 0xfd}, bytes.Repeat([]byte{7}, 100)...),
	} {
		layer := static.NewLayer(text, types.OCILayer)
		says, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hardening.New("").Report(t.Context(), swapped{empty.Image, says, layer}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestEvidence(t *testing.T) {
	image := imageOf(t, v1.Config{}, nil, tarOf(t, entry{name: "a"}))
	var first []byte
	for range 3 {
		evidence, err := hardening.New("").Evidence(t.Context(), image)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if evidence.Subject != digest.String() || evidence.PredicateType != artifact.PredicateHardening {
			t.Errorf("%+v", evidence)
		}
		if first == nil {
			first = evidence.Predicate
		}
		if !bytes.Equal(first, evidence.Predicate) {
			t.Errorf("the same image gives %s and %s", first, evidence.Predicate)
		}
		var read hardening.Report
		if err := json.Unmarshal(evidence.Predicate, &read); err != nil || !slices.ContainsFunc(read.Checks, func(c hardening.Check) bool { return c.ID == "PLM-1" }) {
			t.Errorf("%v in %s", err, evidence.Predicate)
		}
		if bytes.Contains(evidence.Predicate, []byte("null")) {
			t.Errorf("a list is null: %s", evidence.Predicate)
		}
	}
}

func TestTestResult(t *testing.T) {
	for _, c := range []struct {
		user   string
		layers [][]byte
		want   string
		failed []string
	}{
		{"1000", nil, "PASSED", []string{}},
		{"1000", [][]byte{tarOf(t, entry{name: "bin/sh", mode: 0o755})}, "WARNED", []string{}},
		{"0", nil, "FAILED", []string{"CIS-DI-4.1"}},
	} {
		r := report(t, imageOf(t, v1.Config{User: c.user}, nil, c.layers...))
		got := r.TestResult()
		if got.Result != c.want || !slices.Equal(got.FailedTests, c.failed) {
			t.Errorf("%q: %+v, want %s", c.user, got, c.want)
		}
		if n := len(got.PassedTests) + len(got.WarnedTests) + len(got.FailedTests); n != len(r.Checks) {
			t.Errorf("%d of %d checks are told", n, len(r.Checks))
		}
	}
}
