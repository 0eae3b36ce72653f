package program

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/inspect"
	"plimsoll.dev/plimsoll/internal/evidence/attest"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// TestOverrides: a home's overrides reach what npm, the go command and pip install, from the
// registries that this machine's clients use, and the sources stay as they are.
func TestOverrides(t *testing.T) {
	b := harbour(t, true)
	t.Run("npm", func(t *testing.T) { overrideNPM(b.in(t)) })
	t.Run("go", func(t *testing.T) { overrideGo(b.in(t)) })
	t.Run("python", func(t *testing.T) { overridePython(b.in(t)) })
}

func overrideNPM(b *bench) {
	t := b.t
	app := filepath.Join(t.TempDir(), "ferry")
	if err := os.CopyFS(app, os.DirFS("testdata/ferry")); err != nil {
		t.Fatal(err)
	}
	before := b.build(app, "-t", "ferry:1", "--clear-cache")
	if got, want := b.ask("ferry:1", "/"), "lodash 4.17.15, lodash-of-old 4.17.11, minimist 0.0.8, mkdirp 0.5.1"; got != want {
		t.Fatalf("it runs with %s, want %s", got, want)
	}

	b.plimsoll("override", "add", "npm", "lodash", "4.17.11", "--reason", "high enough but for one", "--except", "**")
	b.plimsoll("override", "add", "npm", "mkdirp", "0.5.1", "--reason", "high enough")
	if same := b.build(app, "-t", "ferry:1"); !same.Unchanged || same.Digest != before.Digest {
		t.Errorf("overrides that change nothing made %s of %s", same.Digest, before.Digest)
	}

	b.plimsoll("override", "add", "npm", "lodash", "4.17.21", "--reason", "prototype pollution", "--advisory", "CVE-2020-8203", "--repository", "ferry*")
	b.plimsoll("override", "add", "npm", "minimist", "1.2.6", "--reason", "prototype pollution")
	said := b.refuse(fault.Failed, "build", app, "-t", "ferry:1")
	if !strings.Contains(said, "minimist 1.2.6 is of another major than 0.0.8") {
		t.Errorf("refused with %s", said)
	}
	b.plimsoll("override", "add", "npm", "minimist", "1.2.6", "--reason", "prototype pollution", "--major")
	raised := b.build(app, "-t", "ferry:1")
	if got, want := b.ask("ferry:1", "/"), "lodash 4.17.21, lodash-of-old 4.17.21, minimist 1.2.6, mkdirp 0.5.1"; got != want {
		t.Errorf("it runs with %s, want %s", got, want)
	}
	again := b.build(app, "-t", "ferry-again:1", "--clear-cache")
	if again.Digest != raised.Digest {
		t.Errorf("built again: %s and %s\n%s", again.Digest, raised.Digest, differing(raised, again))
	}
	if same := b.build(app, "-t", "ferry:1"); !same.Unchanged {
		t.Error("nothing has changed, but it was built again")
	}
	want := []build.Overridden{
		{Name: "npm-lodash", Ecosystem: "npm", Package: "lodash", From: []string{"4.17.11", "4.17.15"}, To: "4.17.21"},
		{Name: "npm-minimist", Ecosystem: "npm", Package: "minimist", From: []string{"0.0.8"}, To: "1.2.6", Major: true},
	}
	var report inspect.Report
	if err := json.Unmarshal([]byte(b.plimsoll("inspect", "ferry:1", "-o", "json")), &report); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, report.Image.Build.Overrides); diff != "" {
		t.Error(diff)
	}
	b.provenanceHas("ferry:1",
		`{"name":"npm-lodash","ecosystem":"npm","package":"lodash","version":"4.17.21","reason":"prototype pollution","advisories":["CVE-2020-8203"]}`,
		`{"override":"npm-minimist","ecosystem":"npm","package":"minimist","from":["0.0.8"],"to":"1.2.6"}`)

	after, err := os.ReadFile(filepath.Join(app, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile("testdata/ferry/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(after, original) {
		t.Error("the source was changed")
	}

	b.plimsoll("override", "remove", "npm-lodash", "npm-minimist", "npm-mkdirp")
	if back := b.build(app, "-t", "ferry:1"); back.Digest != before.Digest {
		t.Errorf("without overrides it is %s again, want %s", back.Digest, before.Digest)
	}
}

// provenanceHas looks for texts in the provenance of an image in the local store.
func (b *bench) provenanceHas(ref string, texts ...string) {
	b.t.Helper()
	local := &store{root: filepath.Join(b.home, "registry")}
	defer local.close()
	parsed, err := oci.Parse(ref)
	if err != nil {
		b.t.Fatal(err)
	}
	session := (&oci.Registries{Local: local.open}).Session()
	top, err := session.Manifest(b.t.Context(), parsed)
	if err != nil {
		b.t.Fatal(err)
	}
	found, err := attest.List(b.t.Context(), session, parsed, top.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, a := range found {
		var bundle struct {
			Envelope struct{ Payload []byte } `json:"dsseEnvelope"`
		}
		if a.Predicate != artifact.PredicateProvenance || json.Unmarshal(a.Raw, &bundle) != nil {
			continue
		}
		for _, text := range texts {
			if !strings.Contains(string(bundle.Envelope.Payload), text) {
				b.t.Errorf("its provenance lacks %s: %s", text, bundle.Envelope.Payload)
			}
		}
		return
	}
	b.t.Errorf("%s has no provenance", ref)
}

func overrideGo(b *bench) {
	t := b.t
	app := exampleApp(t, "go")
	b.plimsoll("override", "add", "Go", "github.com/go-chi/chi/v5", "v5.2.4", "--reason", "a test")
	b.build(app, "-t", "pilot:1")
	if got := b.plimsoll("sbom", "pilot:1"); !strings.Contains(got, "pkg:golang/github.com/go-chi/chi/v5@5.2.4") && !strings.Contains(got, "5.2.4") {
		t.Errorf("it holds %s", got)
	}
	vendored := exampleApp(t, "go")
	for name, text := range map[string]string{
		"vendor/modules.txt": "# github.com/go-chi/chi/v5 v5.2.3\n## explicit\ngithub.com/go-chi/chi/v5\n", "vendor/github.com/go-chi/chi/v5/chi.go": "package chi\n",
	} {
		path := filepath.Join(vendored, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if said := b.refuse(fault.Failed, "build", vendored, "-t", "vendored:1"); !strings.Contains(said, "go mod vendor") {
		t.Errorf("refused with %s", said)
	}
	b.plimsoll("override", "remove", "go-github-com-go-chi-chi-v5")
}

// overridePython serves an index of its own: knots 1.0 wants a rope below 1.1, 1.1 wants any.
func overridePython(b *bench) {
	t := b.t
	folder := t.TempDir()
	for _, wheel := range [][3]string{{"rope", "1.0", ""}, {"rope", "1.1", ""}, {"rope", "2.0", ""}, {"knots", "1.0", "rope<1.1"}, {"knots", "1.1", "rope"}} {
		writeWheel(t, folder, wheel[0], wheel[1], wheel[2])
	}
	index := httptest.NewServer(http.FileServer(http.Dir(folder)))
	defer index.Close()
	b.plimsoll("override", "add", "PyPI", "rope", "1.1", "--reason", "a test")
	for _, test := range []struct {
		name, requirements string
		hashed             bool
		want               string // what the application prints
		fail               string // what is said instead
	}{
		{name: "pinned", requirements: "rope==1.0\n", want: "rope 1.1"},
		{name: "pinned by hashes", requirements: "rope==1.0", hashed: true, want: "rope 1.1"},
		{name: "a range", requirements: "rope<1.1\n", want: "rope 1.1"},
		{name: "high enough", requirements: "rope==2.0\n", want: "rope 2.0"},
		{name: "a dependency of one that allows it", requirements: "knots==1.1\nrope<2\n", want: "rope 1.1"},
		{name: "a dependency of one that does not", requirements: "knots==1.0\n", fail: "no versions fit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := b.in(t)
			app := t.TempDir()
			if test.hashed {
				test.requirements += " --hash=sha256:" + strings.Repeat("0", 64) + "\n"
			}
			for name, text := range map[string]string{"requirements.txt": test.requirements, "app.py": "import rope\nprint('rope', rope.VERSION)\n"} {
				if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			args := []string{"build", app, "-t", "rope:1", "--env", "PIP_INDEX_URL=" + index.URL + "/simple"}
			if test.fail != "" {
				if said := b.refuse(fault.Failed, args...); !strings.Contains(said, test.fail) {
					t.Errorf("refused with %s", said)
				}
				return
			}
			b.plimsoll(args...)
			if got := strings.TrimSpace(b.plimsoll("run", "rope:1")); got != test.want {
				t.Errorf("it prints %q, want %q", got, test.want)
			}
		})
	}
	b.plimsoll("override", "remove", "pypi-rope")
}

// writeWheel puts a project of one file into a simple index (PEP 503) in the folder.
func writeWheel(t *testing.T, folder, name, version, requires string) {
	t.Helper()
	dir := filepath.Join(folder, "simple", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	info := fmt.Sprintf("%s-%s.dist-info/", name, version)
	metadata := fmt.Sprintf("Metadata-Version: 2.1\nName: %s\nVersion: %s\n", name, version)
	if requires != "" {
		metadata += "Requires-Dist: " + requires + "\n"
	}
	files := [][2]string{
		{name + "/__init__.py", fmt.Sprintf("VERSION = %q\n", version)},
		{info + "METADATA", metadata},
		{info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"},
		{info + "RECORD", fmt.Sprintf("%s/__init__.py,,\n%[2]sMETADATA,,\n%[2]sWHEEL,,\n%[2]sRECORD,,\n", name, info)},
	}
	var out bytes.Buffer
	archive := zip.NewWriter(&out)
	for _, file := range files {
		w, err := archive.Create(file[0])
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(file[1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%s-py3-none-any.whl", name, version)), out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
