package base_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// varied is packages that use all that could depend on order, clock or machine.
func varied() []pkg {
	var all []pkg
	for i := range 6 {
		p := pkg{Name: fmt.Sprintf("lib%02d", i), Compression: []string{"gz", "xz", "zst"}[i%3], Fields: map[string]string{"Source": fmt.Sprintf("src%d", i/2)}}
		for j := range 5 {
			p.Files = append(p.Files, debarchive.File{Path: fmt.Sprintf("usr/lib/p%d/f%d", i, j), Content: strings.Repeat("x", i*1000+j), Mode: 0o640 + int64(j)&4})
		}
		p.Files = append(p.Files, hardlink(fmt.Sprintf("usr/lib/p%d/link", i), fmt.Sprintf("usr/lib/p%d/f0", i)), dir("var/shared", 0),
			debarchive.File{Path: fmt.Sprintf("usr/bin/cap%d", i), Content: "c", Xattr: map[string]string{"security.capability": "\x01\x80", "user.b": "2", "user.a": "1"}})
		all = append(all, p)
	}
	return all
}

func variedSpec(s *v1alpha1.BaseImageSpec) {
	s.Environment = map[string]string{"B": "2", "A": "1", "C": "3"}
	s.Labels = map[string]string{"z": "1", "y": "2"}
	s.Accounts.Users = []v1alpha1.User{{Name: "app", UID: 1000, GID: 1000, Home: "/home/app", Shell: "/bin/false"}}
	s.Paths = []v1alpha1.Path{{Path: "/srv/x", Type: v1alpha1.PathFile, Content: "x", UID: ptr(1000)}, {Path: "/var/shared", Type: v1alpha1.PathExisting, Mode: "0700"}}
}

func newVariedBed(t testing.TB) *bed {
	b := newBed(t, varied()...)
	variedSpec(&b.image.Spec)
	return b
}

// childVar holds, in a child process, the home and the image to build.
const childVar = "PLIMSOLL_TEST_CHILD"

// TestMain lets the test binary build a base as another process, with the umask, time
// zone and processors the parent chose, and print its digest.
func TestMain(m *testing.M) {
	job := os.Getenv(childVar)
	if job == "" {
		os.Exit(m.Run())
	}
	var child childJob
	if err := json.Unmarshal([]byte(job), &child); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	unix.Umask(child.Umask)
	result, err := (&base.Builder{Home: child.Home, Agent: "test"}).Build(context.Background(), child.Image, base.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(result.Images[0].Digest)
	os.Exit(0)
}

type childJob struct {
	Home  string
	Umask int
	Image *v1alpha1.BaseImage
}

// inChild builds the bed's image in another process.
func (b *bed) inChild(umask int, environment ...string) string {
	b.t.Helper()
	job, err := json.Marshal(childJob{Home: b.home, Umask: umask, Image: b.image})
	if err != nil {
		b.t.Fatal(err)
	}
	child := exec.CommandContext(b.t.Context(), os.Args[0])
	child.Env = append(append(os.Environ(), childVar+"="+string(job)), environment...)
	child.Stderr = os.Stderr
	out, err := child.Output()
	if err != nil {
		b.t.Fatalf("the child: %v", err)
	}
	return strings.TrimSpace(string(out))
}

func TestSameLockSameDigest(t *testing.T) {
	b := newVariedBed(t)
	want := b.build().Images[0].Digest
	tree := b.tree() // all layers from the cache
	if got := b.build().Images[0].Digest; got != want {
		t.Errorf("from the layer cache: want %s, got %s", want, got)
	}
	if mode(tree, "var/shared") != "0700 0:0" {
		t.Errorf("var/shared: %s", mode(tree, "var/shared"))
	}
	fresh := func() { b.home = t.TempDir() }
	check := func(name, got string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: want %s, got %s", name, want, got)
		}
	}
	fresh()
	check("another home", b.build().Images[0].Digest)
	fresh()
	check("another time zone and umask", b.inChild(0o077, "TZ=Pacific/Kiritimati", "LC_ALL=tr_TR.UTF-8"))
	check("again with its cache", b.inChild(0o022, "TZ=America/St_Johns"))
	for _, processors := range []string{"1", "8"} {
		fresh()
		check("GOMAXPROCS "+processors, b.inChild(0o022, "GOMAXPROCS="+processors))
	}
	fresh()
	shuffled := varied()
	slices.Reverse(shuffled)
	b.rewrite(shuffled...)
	slices.Reverse(b.image.Spec.Packages)
	check("shuffled archive and spec", b.build().Images[0].Digest)
}

func TestManyBuildsAtOnce(t *testing.T) {
	b := newVariedBed(t)
	digests := make(chan string, 2)
	for range cap(digests) {
		go func() {
			child := *b
			digests <- child.inChild(0o022)
		}()
	}
	here := b.build().Images[0].Digest
	for range cap(digests) {
		if got := <-digests; got != here {
			t.Errorf("want %s, got %s", here, got)
		}
	}
	noLeftovers(t, b.home)
}

func TestCompression(t *testing.T) {
	b := newVariedBed(t)
	plain := map[string]basetest.Tree{}
	for _, compression := range []string{"gzip", "zstd"} {
		b.image.Spec.Layering.Compression = compression
		plain[compression] = b.tree()
	}
	facts := func(tree basetest.Tree) map[string]string {
		all := map[string]string{}
		for at, f := range tree {
			all[at] = fmt.Sprintf("%s %s %s", mode(tree, at), f.SHA256, f.Header.Linkname)
		}
		return all
	}
	if diff := cmp.Diff(facts(plain["gzip"]), facts(plain["zstd"])); diff != "" {
		t.Error(diff)
	}
}

func TestArchitectures(t *testing.T) {
	both := debarchive.Suite{Name: "test", Architectures: []string{"amd64", "arm64"}, Packages: []pkg{system()}}
	for _, architecture := range both.Architectures {
		both.Packages = append(both.Packages, pkg{Name: "native", Architecture: architecture, Files: []debarchive.File{reg("usr/bin/native", architecture)}})
	}
	b := newBed(t)
	b.archive.Rewrite(t, both)
	b.image.Spec.Packages = []string{"base-files", "native"}
	b.image.Spec.Architectures = []string{"amd64", "arm64"}
	result := b.build()
	index, err := result.Index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, architecture := range b.image.Spec.Architectures {
		tree := basetest.Read(t, result.Images[i].Image)
		tree.CheckInventory(t)
		config, err := result.Images[i].Image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		m := index.Manifests[i]
		if text(tree, "usr/bin/native") != architecture || config.Architecture != architecture || m.Platform.Architecture != architecture || m.Digest.String() != result.Images[i].Digest {
			t.Errorf("%s: file %q, configuration %q, index %+v", architecture, text(tree, "usr/bin/native"), config.Architecture, m)
		}
	}
}

func TestConfig(t *testing.T) {
	b := newBed(t)
	s := &b.image.Spec
	s.Environment = map[string]string{"B": "2", "PATH": "/usr/bin"}
	s.Entrypoint, s.Command, s.WorkingDirectory, s.Labels = []string{"/usr/bin/x"}, []string{"-v"}, "/srv", map[string]string{"team": "a"}
	file, err := b.build().Images[0].Image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	got := fmt.Sprintf("%s/%s %s %s %s %s %s %s", file.OS, file.Architecture, c.User, c.Env, c.Entrypoint, c.Cmd, c.WorkingDir, c.Labels)
	if want := "linux/amd64 65532:65532 [B=2 PATH=/usr/bin] [/usr/bin/x] [-v] /srv map[dev.plimsoll.base:bed io.buildpacks.base.distro.name:test team:a]"; got != want {
		t.Errorf("want %s\n got %s", want, got)
	}
	if len(file.History) != len(file.RootFS.DiffIDs) {
		t.Errorf("%d entries of history for %d layers", len(file.History), len(file.RootFS.DiffIDs))
	}
	if file.Created.Unix() != debarchive.MTime {
		t.Errorf("it is dated %s, not by its newest file", file.Created)
	}
}
