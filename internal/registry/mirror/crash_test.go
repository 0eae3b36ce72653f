package mirror_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// childHome makes the test binary run the imports of that home, in a process of its own.
const childHome = "PLIMSOLL_TEST_IMPORT_HOME"

func TestMain(m *testing.M) {
	if home := os.Getenv(childHome); home != "" {
		if err := runChild(home); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func runChild(home string) error {
	store, err := registry.Open(context.Background(), registry.Options{Root: filepath.Join(home, "registry")})
	if err != nil {
		return err
	}
	defer store.Close()
	m := mirror.New(mirror.Options{
		Registries: &oci.Registries{Agent: "test", Local: func(context.Context) (http.RoundTripper, error) { return store.Transport(), nil }},
		Dir:        filepath.Join(home, "imports"),
		Transport:  upstream.New(upstream.Options{Backoff: time.Millisecond, PerSecond: 10_000}),
	})
	imports, err := m.Load()
	if err != nil {
		return err
	}
	for _, i := range imports {
		report, err := m.Import(context.Background(), i, mirror.ImportOptions{})
		if err != nil {
			return err
		}
		for _, o := range report.Tags {
			fmt.Println(o.Tag, o.Result)
		}
		if err := report.Err(); err != nil {
			return err
		}
	}
	return nil
}

// child prepares a process that imports from the registry.
func child(t *testing.T, home string) (*exec.Cmd, *strings.Builder) {
	t.Helper()
	var said strings.Builder
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childHome+"="+home)
	cmd.Stdout, cmd.Stderr = &said, &said
	return cmd, &said
}

func childImport(t *testing.T, them *outside) (home string) {
	t.Helper()
	home = t.TempDir()
	text := fmt.Sprintf("apiVersion: plimsoll.dev/v1alpha1\nkind: ImageImport\nmetadata: {name: app}\nspec:\n  source: %s/app\n  tags: {patterns: ['*']}\n  destination: {repository: in/app}\n", them.address)
	if err := os.MkdirAll(filepath.Join(home, "imports"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "imports", "app.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

// A process that is killed, whatever it was about to ask for, has published nothing by halves, and
// the next one does the rest.
func TestImportKilled(t *testing.T) {
	them := ours(t)
	index := them.pushIndex(t, "app:1", platforms(t, "linux/amd64", "linux/arm64"))
	them.push(t, "app:2", 300_000)
	report := about(t, index, 500)
	them.put(t, "app@"+digestOf(t, report).String(), report)

	for request := 1; ; request++ {
		home := childImport(t, them)
		cmd, said := child(t, home)
		asked, reached := 0, make(chan struct{})
		var mu sync.Mutex
		them.whenAsked(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			mu.Lock()
			asked++
			mine := asked
			mu.Unlock()
			if mine == request {
				close(reached)
			}
			if mine >= request {
				<-r.Context().Done()
				return
			}
			next.ServeHTTP(w, r)
		})
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-reached:
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			<-ended
		case err := <-ended:
			if err != nil || request < 10 {
				t.Fatalf("it ended after %d requests: %v\n%s", asked, err, said)
			}
			return // it has no more requests to be killed at
		case <-time.After(time.Minute):
			cmd.Process.Kill()
			t.Fatalf("it stands still at request %d\n%s", request, said)
		}
		whatIsPublishedIsWhole(t, home, request)
		them.whenAsked(nil)
		again, said := child(t, home)
		if err := again.Run(); err != nil {
			t.Fatalf("run again after it was killed at request %d: %v\n%s", request, err, said)
		}
		if n := whatIsPublishedIsWhole(t, home, request); n != 2 {
			t.Errorf("run again after it was killed at request %d, it published %d tags", request, n)
		}
	}
}

// whatIsPublishedIsWhole gives how many tags there are.
func whatIsPublishedIsWhole(t *testing.T, home string, request int) int {
	t.Helper()
	store, err := registry.Open(t.Context(), registry.Options{Root: filepath.Join(home, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	via, published := remote.WithTransport(store.Transport()), 0
	for _, tag := range []string{"1", "2"} {
		ref, err := name.ParseReference("store.invalid/in/app:" + tag)
		if err != nil {
			t.Fatal(err)
		}
		d, err := remote.Get(ref, via)
		if err != nil {
			continue
		}
		published++
		if tag == "1" {
			whole, err := d.ImageIndex()
			if err == nil {
				err = validate.Index(whole)
			}
			if err != nil {
				t.Errorf("killed at request %d, it published half an index: %v", request, err)
			}
			listed, err := remote.Referrers(ref.Context().Digest(d.Digest.String()), via)
			if err != nil {
				t.Fatal(err)
			}
			if m, err := listed.IndexManifest(); err != nil || len(m.Manifests) != 1 {
				t.Errorf("killed at request %d, it published an image without what is attached to it: %v", request, err)
			}
			continue
		}
		whole, err := d.Image()
		if err == nil {
			err = validate.Image(whole)
		}
		if err != nil {
			t.Errorf("killed at request %d, it published half an image: %v", request, err)
		}
	}
	return published
}

// Two processes that run one import do the work once.
func TestImportTwice(t *testing.T) {
	them := theirs(t)
	them.push(t, "app:1", 500_000, 400_000)
	them.push(t, "app:2", 300_000)
	them.forget()
	home := childImport(t, them)
	var group sync.WaitGroup
	for range 3 {
		cmd, said := child(t, home)
		group.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
	group.Wait()
	fetched := map[string]int{}
	for _, asked := range them.requests() {
		if strings.HasPrefix(asked, "GET") && strings.Contains(asked, "/blobs/") {
			fetched[asked]++
		}
	}
	for asked, n := range fetched {
		if n > 1 {
			t.Errorf("%d times: %s", n, asked)
		}
	}
	if len(fetched) != 5 { // three layers, two configurations
		t.Errorf("got %v", fetched)
	}
}
