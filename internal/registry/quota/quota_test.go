package quota_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Each way to send a blob is held to the quota, whether it tells its length or not.
func TestBytes(t *testing.T) {
	begin := func(b *bed) string {
		return b.want(202, "POST", "/v2/team/app/blobs/uploads/", nil).Get("Location")
	}
	complete := func(location string, content []byte) string {
		u, err := url.Parse(location)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		q.Set("digest", digest.FromBytes(content).String())
		u.RawQuery = q.Encode()
		return u.String()
	}
	ways := map[string]func(b *bed, content []byte) (int, string){
		"one POST": func(b *bed, content []byte) (int, string) {
			status, _, text := b.ask("POST", post("team/app", content), bytes.NewReader(content))
			return status, text
		},
		"one POST of unknown length": func(b *bed, content []byte) (int, string) {
			status, _, text := b.ask("POST", post("team/app", content), unsized(content))
			return status, text
		},
		"POST, PUT": func(b *bed, content []byte) (int, string) {
			status, _, text := b.ask("PUT", complete(begin(b), content), bytes.NewReader(content))
			return status, text
		},
		"POST, PUT of unknown length": func(b *bed, content []byte) (int, string) {
			status, _, text := b.ask("PUT", complete(begin(b), content), unsized(content))
			return status, text
		},
		"in parts": func(b *bed, content []byte) (int, string) {
			location := begin(b)
			for len(content) > 0 {
				n := min(300_000, len(content))
				status, header, text := b.ask("PATCH", location, bytes.NewReader(content[:n]))
				if status != 202 {
					return status, text
				}
				location, content = header.Get("Location"), content[n:]
			}
			return 202, ""
		},
		"in parts of unknown length": func(b *bed, content []byte) (int, string) {
			status, _, text := b.ask("PATCH", begin(b), unsized(content))
			return status, text
		},
	}
	for name, send := range ways {
		t.Run(name, func(t *testing.T) {
			b := serve(t, bytesOf(3<<20))
			if status, text := send(b, random(2<<20)); status/100 != 2 {
				t.Fatalf("what fits: %d %s", status, text)
			}
			if status, text := send(b, random(2<<20)); status != 403 || !strings.Contains(text, `"code":"DENIED"`) || !strings.Contains(text, "quota") {
				t.Fatalf("what does not fit: %d %s", status, text)
			}
			if u := b.usage("team"); u.Bytes+u.Reserved > 3<<20 || u.Bytes+u.Reserved < 2<<20 {
				t.Errorf("%+v", u)
			}
			if err := b.quotas.Recount(t.Context()); err != nil {
				t.Fatal(err)
			}
			if u := b.usage("team"); u.Bytes+u.Reserved > 3<<20 || u.Bytes+u.Reserved < 2<<20 {
				t.Errorf("counted anew: %+v", u)
			}
		})
	}
}

func TestExactlyAsMuchAsThereIsRoomFor(t *testing.T) {
	b := serve(t, bytesOf(3<<20))
	content := random(3 << 20)
	b.want(201, "POST", post("team/app", content), unsized(content))
	b.want(403, "POST", post("team/app", []byte("x")), strings.NewReader("x"))
	b.want(201, "POST", post("team/app", nil), http.NoBody)
	b.want(201, "POST", post("team/other", content), bytes.NewReader(content)) // it is there already
	b.want(403, "PUT", "/v2/team/app/manifests/v1", strings.NewReader(index(1)))
	if u := b.usage("team"); u.Bytes != 3<<20 || u.Reserved != 0 {
		t.Errorf("%+v", u)
	}
}

// To name a blob that is there lets no other content pass.
func TestAnotherBlobsDigestBuysNothing(t *testing.T) {
	b := serve(t, bytesOf(1<<20))
	content := random(1 << 20)
	b.want(201, "POST", post("team/app", content), bytes.NewReader(content))
	for name, body := range map[string]io.Reader{"known": bytes.NewReader(random(3 << 20)), "unknown": unsized(random(3 << 20))} {
		if status, _, text := b.ask("POST", post("team/app", content), body); status != 403 {
			t.Errorf("%s length: %d %s", name, status, text)
		}
	}
	b.want(201, "POST", post("team/app", content), unsized(content))
	if u := b.usage("team"); u.Bytes != 1<<20 || u.Reserved != 0 {
		t.Errorf("%+v", u)
	}
}

// A mount for which there is no room looks like one of a blob that is not there.
func TestMount(t *testing.T) {
	b := serve(t, bytesOf(2<<20))
	small, large := random(1<<20), random(3<<20)
	for _, content := range [][]byte{small, large} {
		b.want(201, "POST", post("free/app", content), bytes.NewReader(content))
	}
	mount := func(content []byte) string {
		return "/v2/team/app/blobs/uploads/?from=free/app&mount=" + digest.FromBytes(content).String()
	}
	b.want(201, "POST", mount(small), nil)
	b.want(202, "POST", mount(large), nil)
	b.want(202, "POST", mount([]byte("not there")), nil)
	if u := b.usage("team"); u.Bytes != 1<<20 || u.Reserved != 0 {
		t.Errorf("%+v", u)
	}
}

func TestAnUploadThatIsGivenUpGivesBack(t *testing.T) {
	b := serve(t, bytesOf(2<<20))
	location := b.want(202, "POST", "/v2/team/app/blobs/uploads/", nil).Get("Location")
	location = b.want(202, "PATCH", location, bytes.NewReader(random(1<<20))).Get("Location")
	content := random(3 << 19)
	b.want(403, "POST", post("team/app", content), bytes.NewReader(content))
	b.want(204, "DELETE", location, nil)
	b.want(201, "POST", post("team/app", content), bytes.NewReader(content))
}

func TestCountsSurviveARestart(t *testing.T) {
	b := serve(t, bytesOf(1<<30))
	content := random(1 << 20)
	for _, repository := range []string{"team/app", "team/other", "free/app", "nobodys"} {
		b.want(201, "POST", post(repository, content), bytes.NewReader(content))
		for i := range 3 {
			b.want(201, "PUT", fmt.Sprintf("/v2/%s/manifests/v%d", repository, i), strings.NewReader(index(i)))
		}
	}
	b.want(201, "PUT", "/v2/team/app/manifests/sha256-"+strings.Repeat("a", 64)+".sig", strings.NewReader(index(0)))
	b.want(202, "DELETE", "/v2/team/app/manifests/v0", nil)
	b.want(202, "DELETE", "/v2/team/other/manifests/"+digest.FromString(index(1)).String(), nil)
	location := b.want(202, "POST", "/v2/team/app/blobs/uploads/", nil).Get("Location")
	b.want(202, "PATCH", location, bytes.NewReader(random(1000)))

	size := int64(len(index(0)))
	want := []quota.Usage{
		{Project: "", Bytes: 1<<20 + 3*size, Repositories: 1, Tags: 3},
		{Project: "free", Bytes: 1<<20 + 3*size, Repositories: 1, Tags: 3},
		{Project: "team", Bytes: 1<<20 + 3*size, BytesLimit: 1 << 30, Reserved: 1000, Repositories: 2, Tags: 4},
	}
	if diff := cmp.Diff(want, b.quotas.Usage()); diff != "" {
		t.Errorf("as it was counted along the way: %s", diff)
	}
	again, err := quota.Open(t.Context(), b.reg, func() *settings.Settings { return b.setting }, quota.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, again.Usage()); diff != "" {
		t.Errorf("as it was counted anew: %s", diff)
	}
}

func TestRepositoriesAndTags(t *testing.T) {
	b := serve(t, &v1alpha1.RegistryQuota{Repositories: 2, Tags: 3})
	put := func(want int, path string) {
		t.Helper()
		b.want(want, "PUT", "/v2/"+path, strings.NewReader(index(0)))
	}
	put(201, "team/a/manifests/v1")
	put(201, "team/b/manifests/v1")
	put(403, "team/c/manifests/v1")
	b.want(403, "POST", "/v2/team/c/blobs/uploads/", nil)
	put(201, "team/a/manifests/v1") // it is there
	put(201, "team/a/manifests/v2")
	put(403, "team/a/manifests/v3")
	put(403, "team/a/manifests/"+digest.FromString(index(0)).String()+"?tag=v3")
	put(201, "team/a/manifests/"+digest.FromString(index(0)).String())
	put(201, "team/a/manifests/sha256-"+strings.Repeat("a", 64)+".sig")
	b.want(202, "DELETE", "/v2/team/a/manifests/v2", nil)
	put(201, "team/a/manifests/v3")
	put(201, "free/a/manifests/v1")
}

// Fifty clients push at once; what is stored never is more than the quota.
func TestManyPushAtOnce(t *testing.T) {
	const limit, each, clients = 8 << 20, 1 << 20, 50
	b := serve(t, bytesOf(limit))
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[int]int{}
	for i := range clients {
		all.Go(func() {
			content := random(each)
			var body io.Reader = bytes.NewReader(content)
			if i%2 == 0 {
				body = unsized(content)
			}
			status, _, _ := b.ask("POST", post(fmt.Sprintf("team/app%d", i%5), content), body)
			mu.Lock()
			defer mu.Unlock()
			got[status]++
		})
	}
	stop := make(chan struct{})
	var counting sync.WaitGroup
	counting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := b.quotas.Recount(context.Background()); err != nil {
				t.Error(err)
				return
			}
			if u := b.usage("team"); u.Bytes > limit {
				t.Errorf("%+v", u)
			}
		}
	})
	all.Wait()
	close(stop)
	counting.Wait()
	if got[201]+got[403] != clients || got[201] == 0 || got[201] > limit/each {
		t.Errorf("answers by status: %v", got)
	}
	u := b.usage("team")
	if want := int64(got[201]) * each; u.Bytes != want || u.Bytes+u.Reserved > limit {
		t.Errorf("%d pushes were taken, and %+v is counted", got[201], u)
	}
}

// Settings that change are taken up: limits at once, whose a repository is soon.
func TestChangedSettings(t *testing.T) {
	b := serve(t, bytesOf(1000))
	content := random(900)
	b.want(201, "POST", post("team/app", content), bytes.NewReader(content))
	b.setting = parse(t, bytesOf(10_000))
	content = random(900)
	b.want(201, "POST", post("team/app", content), bytes.NewReader(content))
	b.setting = parse(t, bytesOf(1000))
	b.want(403, "POST", post("team/app", []byte("x")), strings.NewReader("x"))

	var mu sync.Mutex
	now := b.setting
	q, err := quota.Open(t.Context(), b.reg, func() *settings.Settings { mu.Lock(); defer mu.Unlock(); return now }, quota.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { q.Run(ctx) })
	defer running.Wait()
	defer cancel()
	mu.Lock()
	now = nil
	mu.Unlock()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if u := q.Usage(); len(u) == 1 && u[0].Project == "" && u[0].Bytes == 1800 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", q.Usage())
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for quotas, want := range map[string]string{
		"{bytes: -1}":        "line 6: spec.projects[0].quota.bytes: it cannot be negative",
		"{tags: -1}":         "line 6: spec.projects[0].quota.tags: it cannot be negative",
		"{repositories: -1}": "line 6: spec.projects[0].quota.repositories: it cannot be negative",
	} {
		text := "apiVersion: plimsoll.dev/v1alpha1\nkind: Registry\nmetadata: {name: here}\nspec:\n  projects:\n  - {name: team, quota: " + quotas + "}\n"
		if _, err := settings.Parse([]byte(text), "", quota.Check); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", quotas, err, want)
		}
	}
}
