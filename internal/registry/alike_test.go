package registry_test

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry"
)

// Kinds of manifests beside ociManifest.
const (
	ociIndex       = "application/vnd.oci.image.index.v1+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// twin is a registry and the folder it keeps.
type twin struct {
	t    *testing.T
	url  string
	root string
	two  bool // it takes a blob only in two requests
}

// twins gives ours and one of the distribution project alone: what ours does by itself
// must come to the same.
func twins(t *testing.T) []*twin {
	ours, theirs := t.TempDir(), t.TempDir()
	return []*twin{
		{t, "http://" + serve(t, open(t, registry.Options{Root: ours}), registry.ServeOptions{}), ours, false},
		{t, distribution(t, theirs), theirs, true},
	}
}

// blob pushes one and gives its descriptor.
func (w *twin) blob(repo, mediaType string, content []byte) string {
	w.t.Helper()
	d := digest.FromBytes(content)
	method, to := http.MethodPost, w.url+"/v2/"+repo+"/blobs/uploads/"
	if w.two {
		method, to = http.MethodPut, w.url+do(w.t, http.DefaultClient, method, to, "", nil).Header.Get("Location")+"&"
	} else {
		to += "?"
	}
	if resp := do(w.t, http.DefaultClient, method, to+"digest="+d.String(), "application/octet-stream", content); resp.StatusCode != http.StatusCreated {
		w.t.Fatalf("blob answered %s", resp.Status)
	}
	return descriptor(mediaType, content)
}

func descriptor(mediaType string, content []byte) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, mediaType, digest.FromBytes(content), len(content))
}

// tree gives the files of the store and what is in them.
func (w *twin) tree() map[string]string {
	w.t.Helper()
	files := map[string]string{}
	top := filepath.Join(w.root, "docker")
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[strings.TrimPrefix(path, top)] = string(content)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return files
}

// ask gives all that a client sees of an answer.
func (w *twin) ask(method, path string, header http.Header, body string) map[string]string {
	w.t.Helper()
	req, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	seen := map[string]string{"status": resp.Status, "body": string(content)}
	for _, name := range []string{"Content-Type", "Content-Length", "Docker-Content-Digest", "Docker-Distribution-Api-Version", "Etag", "Location"} {
		seen[name] = resp.Header.Get(name)
	}
	return seen
}

// TestStoredAlike pushes images to both registries: they must keep the same files, so
// that either can go on with the other's.
func TestStoredAlike(t *testing.T) {
	both := twins(t)
	for _, w := range both {
		config := w.blob("team/app", "application/vnd.oci.image.config.v1+json", []byte("{}"))
		layer := w.blob("team/app", "application/vnd.oci.image.layer.v1.tar", []byte("layer"))
		empty := w.blob("team/app", "application/vnd.oci.image.layer.v1.tar", nil)
		w.blob("team/app", "", []byte("layer")) // again
		image := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[%s,%s]}`, config, layer, empty)
		other := strings.Replace(image, ":2,", `:2, "annotations":{"a":"b"},`, 1)
		for _, push := range [][2]string{
			{"v1", image}, {"v1", image}, {"v2", image}, {"v1", other},
			{digest.FromString(image).String(), image},
			{"docker", strings.Replace(image, ":2,", `:2,"mediaType":"`+dockerManifest+`",`, 1)},
		} {
			kind := ociManifest
			if push[0] == "docker" {
				kind = dockerManifest
			}
			got := w.ask(http.MethodPut, "/v2/team/app/manifests/"+push[0], http.Header{"Content-Type": {kind}}, push[1])
			if !strings.HasPrefix(got["status"], "201") || got["Docker-Content-Digest"] != digest.FromString(push[1]).String() {
				t.Errorf("%s at %s: %v", push[0], w.url, got)
			}
		}
	}
	if diff := cmp.Diff(both[1].tree(), both[0].tree()); diff != "" {
		t.Errorf("-theirs +ours\n%s", diff)
	}
}

// TestAnsweredAlike asks both registries over one store for manifests of all kinds.
func TestAnsweredAlike(t *testing.T) {
	both := twins(t)
	ours := both[0]
	both[1].url = distribution(t, ours.root)
	config := ours.blob("a", "application/vnd.oci.image.config.v1+json", []byte("{}"))
	image := fmt.Sprintf(`{"schemaVersion":2,"config":%s,"layers":[]}`, config)
	child := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}`, ociManifest, digest.FromString(image), len(image))
	named := func(kind, text string) string {
		return strings.Replace(text, ":2,", fmt.Sprintf(`:2,"mediaType":%q,`, kind), 1)
	}
	index := `{"schemaVersion":2,"manifests":[` + child + `]}`
	for _, m := range [][3]string{
		{"unnamed", ociManifest, image}, {"unnamed-index", ociIndex, index}, {"image", ociManifest, named(ociManifest, image)},
		{"index", ociIndex, named(ociIndex, index)}, {"docker", dockerManifest, named(dockerManifest, image)}, {"list", dockerList, named(dockerList, index)},
	} {
		if got := ours.ask(http.MethodPut, "/v2/a/manifests/"+m[0], http.Header{"Content-Type": {m[1]}}, m[2]); !strings.HasPrefix(got["status"], "201") {
			t.Fatalf("%s: %v", m[0], got)
		}
		for _, accept := range []string{ociManifest, ociIndex, dockerManifest, dockerList, "text/html", ociIndex + ";q=0.5, " + ociManifest, dockerList + "," + dockerManifest} {
			for _, known := range []string{"", digest.FromString(m[2]).String(), `"` + digest.FromString(m[2]).String() + `"`, `"other"`} {
				for _, method := range []string{http.MethodGet, http.MethodHead} {
					for _, reference := range []string{m[0], digest.FromString(m[2]).String()} {
						header := http.Header{"Accept": {accept}, "If-None-Match": {known}}
						want, got := both[1].ask(method, "/v2/a/manifests/"+reference, header, ""), ours.ask(method, "/v2/a/manifests/"+reference, header, "")
						if want["status"] == "304 Not Modified" {
							delete(got, "Etag") // which such an answer ought to carry
							delete(want, "Etag")
							delete(got, "Docker-Content-Digest")
							delete(want, "Docker-Content-Digest")
						}
						if diff := cmp.Diff(want, got); diff != "" {
							t.Errorf("%s %s, accepting %s, knowing %s: -theirs +ours\n%s", method, m[0], accept, known, diff)
						}
					}
				}
			}
		}
	}
}

// TestJudgedAlike pushes manifests in which there is something to object to.
func TestJudgedAlike(t *testing.T) {
	both := twins(t)
	const tar = "application/vnd.oci.image.layer.v1.tar"
	var config, layer string
	for _, w := range both {
		config = w.blob("a", "application/vnd.oci.image.config.v1+json", []byte("{}"))
		layer = w.blob("a", tar, []byte("layer"))
		w.blob("other", tar, []byte("elsewhere"))
		w.blob("a", tar, []byte("lost"))
		hex := digest.FromString("lost").Encoded()
		if err := os.Remove(filepath.Join(w.root, "docker/registry/v2/blobs/sha256", hex[:2], hex, "data")); err != nil {
			t.Fatal(err)
		}
	}
	image := `{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `]}`
	with := func(more string) string { return strings.Replace(image, "[", "["+more+",", 1) }
	linked := func(mediaType, url string, content string) string {
		return strings.Replace(descriptor(mediaType, []byte(content)), "}", fmt.Sprintf(`,"urls":[%q]}`, url), 1)
	}
	for _, c := range []struct{ name, contentType, manifest string }{
		{"good", ociManifest, image},
		{"of an unknown type", "text/plain", image},
		{"with a parameter", ociManifest + "; charset=utf-8", image},
		{"said to be an index", ociIndex, image},
		{"said to be docker's", dockerManifest, image},
		{"says it is an index", ociManifest, strings.Replace(image, ":2,", `:2,"mediaType":"`+ociIndex+`",`, 1)},
		{"image and index", ociManifest, strings.Replace(image, ":2,", `:2,"manifests":[],`, 1)},
		{"image and null", ociManifest, strings.Replace(image, ":2,", `:2,"manifests":null,`, 1)},
		{"version 1", ociManifest, strings.Replace(image, ":2,", ":1,", 1)},
		{"no version", ociManifest, strings.Replace(image, `"schemaVersion":2,`, "", 1)},
		{"no configuration", ociManifest, `{"schemaVersion":2,"layers":[` + layer + `]}`},
		{"no layers", ociManifest, `{"schemaVersion":2,"config":` + config + `}`},
		{"layer of another repository", ociManifest, with(descriptor(tar, []byte("elsewhere")))},
		{"layer nobody has", ociManifest, with(descriptor(tar, []byte("nowhere")))},
		{"layer whose content is gone", ociManifest, with(descriptor(tar, []byte("lost")))},
		{"layer without a digest", ociManifest, with(`{"mediaType":"` + tar + `","size":1}`)},
		{"layer by an unknown digest", ociManifest, with(`{"mediaType":"` + tar + `","digest":"md5:d41d8cd98f00b204e9800998ecf8427e","size":1}`)},
		{"layer from afar", ociManifest, with(linked("application/vnd.oci.image.layer.nondistributable.v1.tar", "https://example.com/", "nowhere"))},
		{"layer from a bad address", ociManifest, with(linked("application/vnd.oci.image.layer.nondistributable.v1.tar", "ftp://example.com/", "nowhere"))},
		{"here and at a bad address", ociManifest, with(linked(tar, "ftp://example.com/", "layer"))},
		{"docker's foreign layer", ociManifest, with(descriptor("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("nowhere")))},
		{"image as a layer", ociManifest, with(descriptor(ociManifest, []byte("layer")))},
	} {
		var seen []string
		for _, w := range both {
			got := w.ask(http.MethodPut, "/v2/a/manifests/v1", http.Header{"Content-Type": {c.contentType}}, c.manifest)
			_, code, _ := strings.Cut(got["body"], `"code":"`)
			code, _, _ = strings.Cut(code, `"`)
			seen = append(seen, got["status"]+" "+code)
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: ours %s, theirs %s", c.name, seen[0], seen[1])
		}
	}
}
