package registry_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// writer pushes, moves and deletes one tag, and knows what may be found under it.
type writer struct {
	repo, tag string
	acked     string          // what was last confirmed; "" for nothing or a deletion
	tried     map[string]bool // what was begun since
	random    *rand.Rand
}

// TestKilledAtAnyMoment kills a serving, collecting process at 100 random points under
// load. Whatever a restart lists must be whole, and whatever was confirmed must be there.
func TestKilledAtAnyMoment(t *testing.T) {
	root := filepath.Join(t.TempDir(), "store")
	killUnderLoad(t, 100, 300*time.Millisecond, func() (string, *exec.Cmd) { return child(t, root, "2s") })
}

// killUnderLoad kills the servers that start gives, one after the other, each within the
// span.
func killUnderLoad(t *testing.T, kills int, span time.Duration, start func() (addr string, process *exec.Cmd)) {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	var writers []*writer
	for i := range 6 {
		writers = append(writers, &writer{
			repo: fmt.Sprintf("team%d/app", i%2), tag: fmt.Sprintf("v%d", i),
			tried: map[string]bool{}, random: rand.New(rand.NewPCG(seed, uint64(i+2))),
		})
	}
	pushes, longest := 0, 4*span
	for kill := range kills {
		addr, process := start()
		if err := inspect(addr, writers); err != nil {
			t.Fatalf("after %d kills: %v", kill, err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		counts := make([]int, len(writers))
		for i, w := range writers {
			wg.Go(func() {
				for ctx.Err() == nil {
					if w.step(ctx, addr) {
						counts[i]++
					}
				}
			})
		}
		time.Sleep(time.Duration(random.Int64N(int64(span)))) // the point is random, nothing is awaited
		if err := process.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		cancel()
		wg.Wait()
		process.Wait()
		confirmed := 0
		for _, n := range counts {
			confirmed += n
		}
		pushes += confirmed
		// On a slow machine a kill must wait longer to fall between pushes.
		if confirmed == 0 {
			span = min(span*3/2, longest)
		} else if confirmed > 6 {
			span = span * 9 / 10
		}
	}
	addr, _ := start()
	if err := inspect(addr, writers); err != nil {
		t.Fatalf("after the last kill: %v", err)
	}
	if pushes < kills {
		t.Errorf("only %d pushes were confirmed between %d kills: there was no load", pushes, kills)
	}
	t.Logf("%d confirmed pushes and deletions between %d kills", pushes, kills)
}

// plain sends what is meant for TLS without it: the client tries TLS first, and takes
// 300 ms to try anything else.
type plain struct{ http.RoundTripper }

func (p plain) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme = "http"
	return p.RoundTripper.RoundTrip(r)
}

func options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(plain{http.DefaultTransport}), remote.WithRetryBackoff(remote.Backoff{Steps: 1}), remote.WithJobs(2)}
}

// step does one thing and says whether it was confirmed.
func (w *writer) step(ctx context.Context, addr string) bool {
	to, err := name.ParseReference(fmt.Sprintf("%s/%s:%s", addr, w.repo, w.tag))
	if err != nil {
		panic(err)
	}
	if w.random.IntN(8) == 0 {
		w.tried[""] = true
		if remote.Delete(to, options(ctx)...) != nil {
			return false
		}
		w.acked, w.tried = "", map[string]bool{}
		return true
	}
	img, err := random.Image(20<<10, 3)
	if err != nil {
		panic(err)
	}
	direct := w.random.IntN(2) == 0
	if direct { // what our registry takes without the distribution project's help
		img = mutate.ConfigMediaType(mutate.MediaType(img, types.OCIManifestSchema1), types.OCIConfigJSON)
	}
	if w.random.IntN(3) == 0 {
		desc, err := subjectDescriptor(img)
		if err != nil {
			panic(err)
		}
		img = mutate.Subject(img, desc).(v1.Image) // of an image that is not there, which is allowed
	}
	d, err := img.Digest()
	if err != nil {
		panic(err)
	}
	w.tried[d.String()] = true
	if direct && postBlobs(ctx, to, img) != nil || remote.Write(to, img, options(ctx)...) != nil {
		return false
	}
	w.acked, w.tried = d.String(), map[string]bool{}
	return true
}

// postBlobs pushes all that the image needs, each in one request.
func postBlobs(ctx context.Context, to name.Reference, img v1.Image) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return err
	}
	for _, layer := range append(layers, config) {
		d, err := layer.Digest()
		if err != nil {
			return err
		}
		size, err := layer.Size()
		if err != nil {
			return err
		}
		content, err := layer.Compressed()
		if err != nil {
			return err
		}
		address := "http://" + to.Context().RegistryStr() + "/v2/" + to.Context().RepositoryStr() + "/blobs/uploads/?digest=" + d.String()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, content)
		if err != nil {
			return err
		}
		req.ContentLength = size
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("blob answered %s", resp.Status)
		}
	}
	return nil
}

// inspect checks everything that is listed.
func inspect(addr string, writers []*writer) error {
	listed := map[string]bool{}
	for _, repo := range []string{"team0/app", "team1/app"} {
		r, err := name.NewRepository(addr + "/" + repo)
		if err != nil {
			return err
		}
		tags, err := remote.List(r, options(context.Background())...)
		var refused *transport.Error
		if errors.As(err, &refused) && refused.StatusCode == http.StatusNotFound {
			continue // nothing was ever pushed there
		}
		if err != nil {
			return err
		}
		for _, tag := range tags {
			listed[repo+":"+tag] = true
		}
	}
	for _, w := range writers {
		at := w.repo + ":" + w.tag
		if !listed[at] {
			if w.acked != "" && !w.tried[""] {
				return fmt.Errorf("%s was confirmed as %s and is gone", at, w.acked)
			}
			w.acked = ""
			continue
		}
		to, err := name.ParseReference(addr + "/" + at)
		if err != nil {
			return err
		}
		img, err := remote.Image(to, options(context.Background())...)
		if err != nil {
			return fmt.Errorf("%s is listed and cannot be had: %w", at, err)
		}
		if err := validate.Image(img); err != nil {
			return fmt.Errorf("%s is not whole: %w", at, err)
		}
		d, err := img.Digest()
		if err != nil {
			return err
		}
		if d.String() != w.acked && !w.tried[d.String()] {
			return fmt.Errorf("%s is %s, which was not the last pushed", at, d)
		}
		w.acked, w.tried = d.String(), map[string]bool{}
	}
	return nil
}
