package build_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// webApp leaves a layer with the word and a process that prints it.
func webApp(word string) map[string]string {
	return map[string]string{"build.sh": `set -e
mkdir -p $1/word
printf ` + word + ` > $1/word/word
printf '[types]\nlaunch = true\ncache = true\n' > $1/word.toml
printf '[[processes]]\ntype = "web"\ncommand = ["cat"]\nargs = ["/layers/test_script/word/word"]\ndefault = true\n' > $1/launch.toml
`}
}

func digestOf(files map[string]string) string {
	text, _ := json.Marshal(files) // maps are written in order
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// TestImage holds what a build gives against what it was asked.
func TestImage(t *testing.T) {
	b := newBed(t)
	request := b.request("app:1", webApp("ahoy"))
	result := b.build(request)
	image := result.Images[0].Image
	if got := file(t, image, "layers/test_script/word/word"); got != "ahoy" {
		t.Errorf("the layer holds %q", got)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || config.Config.WorkingDir != "/workspace" || strings.Join(config.Config.Entrypoint, " ") != "/cnb/process/web" {
		t.Errorf("user %q, folder %q, entrypoint %q", config.Config.User, config.Config.WorkingDir, config.Config.Entrypoint)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if got := manifest.Layers[0].Annotations["dev.plimsoll.base.layer"]; got != "run:1" {
		t.Errorf("the base's layer lost its name: %q", got)
	}
	for name, want := range map[string]string{
		build.BaseNameAnnotation: "run:1", build.SourceDigestAnnotation: "sha256:" + digestOf(webApp("ahoy")),
		build.CreatedAnnotation: "1980-01-01T00:00:01Z",
	} {
		if got := manifest.Annotations[name]; got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	if label := config.Config.Labels["io.buildpacks.lifecycle.metadata"]; !strings.Contains(label, `"reference":"run@sha256:`) {
		t.Errorf("the run image is not named by digest: %s", label)
	}
	if same := b.build(request); !same.Unchanged || same.Images[0].Digest != result.Images[0].Digest {
		t.Error("nothing has changed, but it was built again")
	}
	request.Force = true
	if again := b.build(request); again.Unchanged || again.Images[0].Digest != result.Images[0].Digest {
		t.Errorf("forced: unchanged %t, %s, want %s", again.Unchanged, again.Images[0].Digest, result.Images[0].Digest)
	}
	result.Close()
}

// counted is an app that shows how often its cache was there.
var counted = map[string]string{"build.sh": `set -e
mkdir -p $1/count $1/show
echo x >> $1/count/count
cp $1/count/count $1/show/count
printf '[types]\ncache = true\n' > $1/count.toml
printf '[types]\nlaunch = true\n' > $1/show.toml
`}

const countFile = "layers/test_script/show/count"

func TestCache(t *testing.T) {
	b := newBed(t)
	request := b.request("app:1", counted)
	request.Force = true
	for want := 1; want <= 3; want++ {
		if got := strings.Count(file(t, b.build(request).Images[0].Image, countFile), "x"); got != want {
			t.Errorf("build %d finds %d", want, got-1)
		}
	}
	request.Cache.Clear = true
	if got := strings.Count(file(t, b.build(request).Images[0].Image, countFile), "x"); got != 1 {
		t.Errorf("a cleared cache holds %d", got-1)
	}
}

func TestCacheImage(t *testing.T) {
	b := newBed(t)
	request := b.request("app:1", counted)
	request.Force, request.Cache.Image = true, b.ref("cache:1")
	b.build(request)
	if _, err := os.Stat(filepath.Join(b.platform.Home, "cache", "builds")); err == nil {
		t.Error("there is a cache on this machine")
	}
	if got := strings.Count(file(t, b.build(request).Images[0].Image, countFile), "x"); got != 2 {
		t.Errorf("the second build finds %d", got-1)
	}
}

// TestCacheImageIsNothingElse: no image is taken for a cache, or replaced by one.
func TestCacheImageIsNothingElse(t *testing.T) {
	b := newBed(t)
	for _, name := range []string{"app:1", "run:1"} {
		request := b.request("app:1", counted)
		request.Cache.Image = b.ref(name)
		_, err := b.platform.Build(t.Context(), request)
		if fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, fault.HintOf(err))
		}
	}
}

// TestCacheImageIsBounded: a small image that unpacks to a large cache fills no disk.
func TestCacheImageIsBounded(t *testing.T) {
	b := newBed(t)
	request := b.request("app:1", map[string]string{"build.sh": `set -e
mkdir -p $1/big
head -c 2000000 /dev/zero > $1/big/big
printf '[types]\ncache = true\n' > $1/big.toml
`})
	request.Force, request.Cache.Image = true, b.ref("cache:1")
	b.build(request).Close()
	b.platform.CacheBytes = 1 << 20
	if _, err := b.platform.Build(t.Context(), request); err == nil || !strings.Contains(err.Error(), "larger") || fault.HintOf(err) == "" {
		t.Errorf("it says %v, hint %q", err, fault.HintOf(err))
	}
	if left := b.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestParallelBuilds: builds of one image at a time share a cache and never see each
// other's.
func TestParallelBuilds(t *testing.T) {
	b := newBed(t)
	request := b.request("app:1", counted)
	request.Force = true
	b.build(request)
	var group sync.WaitGroup
	for range 6 {
		group.Go(func() {
			result, err := b.platform.Build(t.Context(), request)
			if err != nil {
				t.Error(err)
				return
			}
			defer result.Close()
			if got := strings.Count(file(t, result.Images[0].Image, countFile), "x"); got < 2 || got > 7 {
				t.Errorf("it finds %d", got-1)
			}
		})
	}
	group.Wait()
	if got := strings.Count(file(t, b.build(request).Images[0].Image, countFile), "x"); got < 3 {
		t.Errorf("after all of them there are %d", got-1)
	}
}

func TestCacheIsBounded(t *testing.T) {
	b := newBed(t)
	b.platform.CacheBytes = 3 << 20
	big := map[string]string{"build.sh": `set -e
mkdir -p $1/big
head -c 2000000 /dev/urandom > $1/big/big
printf '[types]\ncache = true\n' > $1/big.toml
`}
	for _, tag := range []string{"a:1", "b:1", "c:1"} {
		b.build(b.request(tag, big))
	}
	var bytes int64
	_ = filepath.Walk(filepath.Join(b.platform.Home, "cache", "builds"), func(_ string, st os.FileInfo, err error) error {
		if err == nil && st.Mode().IsRegular() {
			bytes += st.Size()
		}
		return nil
	})
	if bytes == 0 || bytes > b.platform.CacheBytes {
		t.Errorf("the caches hold %d bytes, want some, and at most %d", bytes, b.platform.CacheBytes)
	}
}

// TestForeignCodeIsAlone: what runs in detect and build sees none of what is ours.
func TestForeignCodeIsAlone(t *testing.T) {
	b := newBed(t)
	t.Setenv("PLIMSOLL_SECRET", "sesame")
	files := webApp("ahoy")
	files["build.sh"] = `set -e
for f in /plimsoll/cache /plimsoll/layout /plimsoll/launcher ` + b.platform.Home + `; do
	if [ -e $f ]; then echo "sees $f"; exit 1; fi
done
if echo x > /plimsoll/state/group.toml; then echo "writes state"; exit 1; fi
if echo x > /etc/x; then echo "writes the root"; exit 1; fi
if env | grep -q sesame; then echo "sees the environment"; exit 1; fi
if wget -q -O- -T 2 http://127.0.0.1:1; then exit 1; fi
[ $(id -u) = 1001 ]
` + files["build.sh"]
	request := b.request("app:1", files)
	request.Settings.Offline = true
	b.build(request)
}

// TestHostileLayers: links that a build plants where the exporter reads lead nowhere.
func TestHostileLayers(t *testing.T) {
	b := newBed(t)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("sesame"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, script := range map[string]string{
		"a layer is a link":        `ln -s ` + filepath.Dir(secret) + ` $1/word; printf '[types]\nlaunch = true\n' > $1/word.toml`,
		"a file is a link":         `mkdir $1/word; ln -s ` + secret + ` $1/word/secret; printf '[types]\nlaunch = true\n' > $1/word.toml`,
		"a layer's data is a link": `mkdir $1/word; ln -s ` + secret + ` $1/word.toml`,
		"a store is a link":        `ln -s ` + secret + ` $1/store.toml`,
		"an SBOM is a link":        `mkdir $1/word; ln -s ` + secret + ` $1/word.sbom.cdx.json; printf '[types]\nlaunch = true\n' > $1/word.toml`,
		"an app file is a link":    `ln -s ` + secret + ` secret`,
	} {
		t.Run(name, func(t *testing.T) {
			result, err := b.platform.Build(t.Context(), b.request("app:1", map[string]string{"build.sh": script}))
			if err != nil {
				if strings.Contains(err.Error(), "sesame") {
					t.Errorf("the error tells it: %v", err)
				}
				return
			}
			defer result.Close()
			for _, path := range []string{"layers/test_script/word/secret", "workspace/secret", "layers/sbom/launch/test_script/word/sbom.cdx.json"} {
				if got := file(t, result.Images[0].Image, path); strings.Contains(got, "sesame") {
					t.Errorf("%s holds the secret", path)
				}
			}
		})
	}
}

// TestSettings: variables, bindings and authorities reach build steps and never the image.
func TestSettings(t *testing.T) {
	b := newBed(t)
	files := webApp("ahoy")
	files["build.sh"] = `set -e
[ "$BP_WORD" = sesame ]
[ "$HTTP_PROXY" = http://proxy.invalid:1 ]
[ "$(cat $SERVICE_BINDING_ROOT/npm/token)" = sesame ]
[ "$(cat $SERVICE_BINDING_ROOT/npm/type)" = npmrc ]
[ "$(cat $SSL_CERT_FILE)" = authority ]
[ "$(cat $SERVICE_BINDING_ROOT/plimsoll-authorities/authorities.pem)" = authority ]
` + files["build.sh"]
	request := b.request("app:1", files)
	request.Settings = build.Settings{
		Environment: map[string]string{"BP_WORD": "sesame"},
		Client:      map[string]string{"HTTP_PROXY": "http://proxy.invalid:1", "BP_WORD": "overridden"},
		Bindings:    []build.Binding{{Name: "npm", Files: map[string][]byte{"type": []byte("npmrc"), "token": []byte("sesame")}}},
		Authorities: []byte("authority"),
	}
	image := b.build(request).Images[0].Image
	config, err := image.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if all := string(config) + string(manifest); strings.Contains(all, "sesame") || strings.Contains(all, "proxy.invalid") {
		t.Errorf("the image tells a setting: %s", all)
	}
}

func TestFailures(t *testing.T) {
	b := newBed(t)
	for _, tt := range []struct {
		name  string
		files map[string]string
		edit  func(*build.Request)
		kind  fault.Kind
		wants []string
	}{
		{"nothing fits", map[string]string{"x": ""}, nil, fault.Usage, []string{"no buildpack fits: script: no build.sh"}},
		{"detect fails", map[string]string{"detect.sh": "echo boom; exit 7"}, nil, fault.Failed, []string{"boom"}},
		{"build fails", map[string]string{"build.sh": "echo main.c:1: boom >&2; exit 1"}, nil, fault.Failed, []string{"main.c:1: boom"}},
		{"build fails silently", map[string]string{"build.sh": "exit 1"}, nil, fault.Failed, []string{"without a word"}},
		{"malformed metadata", map[string]string{"build.sh": "echo '[types' > $1/x.toml; mkdir $1/x"}, nil, fault.Failed, nil},
		{"another language", map[string]string{"Cargo.toml": ""}, nil, fault.Usage, []string{"no buildpack fits"}},
		{"a builder of the source's own", map[string]string{"project.toml": "[_]\nschema-version = \"0.2\"\n[io.buildpacks]\nbuilder = \"registry.invalid/evil:1\"\n"},
			func(r *build.Request) { r.Builder = oci.Reference{} }, fault.Denied, []string{"the source names it"}},
		{"too much time", map[string]string{"build.sh": "sleep 60"}, func(r *build.Request) { r.Settings.Limits.Wall = 300 * time.Millisecond }, fault.Failed, []string{"--timeout"}},
		{"too much memory", map[string]string{"build.sh": "head -c 200000000 /dev/zero > /plimsoll/x; sleep 60"},
			func(r *build.Request) { r.Settings.Limits = executor.Limits{Memory: 32 << 20, Wall: 20 * time.Second} }, fault.Failed, nil},
		{"base not approved", webApp("x"), func(r *build.Request) { r.RunImage = "build:1" }, fault.Denied, []string{"not an approved base"}},
		{"no such process", webApp("x"), func(r *build.Request) { r.Settings.Process = "none" }, fault.Failed, []string{"none"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			request := b.request("bad:1", tt.files)
			if tt.edit != nil {
				tt.edit(&request)
			}
			_, err := b.platform.Build(t.Context(), request)
			if fault.KindOf(err) != tt.kind || fault.HintOf(err) == "" {
				t.Errorf("kind %v, hint %q: %v", fault.KindOf(err), fault.HintOf(err), err)
			}
			for _, want := range tt.wants {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("it says %v, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %q", err)
			}
			if left := b.left(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestInterrupt ends a build while it fetches, between phases, and in the middle of one.
func TestInterrupt(t *testing.T) {
	b := newBed(t)
	for _, at := range []string{"fetch", "analyze", "detect", "restore"} {
		t.Run("after "+at, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			b.platform.Progress = func(n build.Note) {
				if n.Phase == at && !n.Began {
					stop()
				}
			}
			request := b.request("app:1", webApp("ahoy"))
			if fetch := request.Fetch; at == "fetch" {
				request.Fetch = func(ctx context.Context, dir string) (artifact.Source, error) {
					stop()
					return fetch(ctx, dir)
				}
			}
			_, err := b.platform.Build(ctx, request)
			b.interrupted(err)
		})
	}
	t.Run("in build", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		b.platform.Progress, b.platform.Log = nil, writer(stop)
		ended := make(chan error, 1)
		go func() {
			_, err := b.platform.Build(ctx, b.request("app:1", map[string]string{"build.sh": "echo begun; sleep 60"}))
			ended <- err
		}()
		select {
		case err := <-ended:
			b.interrupted(err)
		case <-time.After(20 * time.Second):
			t.Fatal("it goes on")
		}
	})
}

// interrupted fails unless the build was canceled and left nothing.
func (b *bed) interrupted(err error) {
	b.t.Helper()
	if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Canceled {
		b.t.Errorf("want it canceled, got %v", err)
	}
	if left := b.left(); len(left) > 0 {
		b.t.Errorf("left behind: %v", left)
	}
}

// writer calls itself when it is written to.
type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

// TestDeadBuildsAreSwept: the folder of a build that was killed goes with the next one.
func TestDeadBuildsAreSwept(t *testing.T) {
	b := newBed(t)
	dead := filepath.Join(b.platform.Home, "cache", "work", "build-dead")
	writeFiles(t, dead, map[string]string{"layers/x": "x"})
	writeFiles(t, filepath.Dir(dead), map[string]string{"build-dead.lock": ""})
	result := b.build(b.request("app:1", webApp("ahoy")))
	if _, err := os.Stat(dead); err == nil {
		t.Error("it is still there")
	}
	result.Close()
	if left := b.left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
