package source_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/source"
)

func TestRevisionOfGit(t *testing.T) {
	b := newBed(t)
	first := b.repository("src", map[string]string{"a/x": "1", "b/y": "1"})
	b.run("src", "git", "tag", "light")
	b.run("src", "git", "-c", "user.name=t", "-c", "user.email=t@example", "tag", "-a", "-m", "one", "heavy")
	b.write("src/b/y", "2")
	second := b.commit("src")
	branch := b.run("src", "git", "branch", "--show-current")
	for _, tt := range []struct{ name, ref, want string }{
		{"default branch", "", second},
		{"branch", branch, second},
		{"light tag", "light", first},
		{"tag that is an object gives its commit", "heavy", first},
		{"commit", first, first},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := b.fetcher().Revision(context.Background(), "file://"+b.path("src"), source.Options{Ref: tt.ref}, source.Revision{})
			if err != nil || got.ID != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
			s, _ := b.fetch(b.fetcher(), "file://"+b.path("src"), source.Options{Ref: tt.ref})
			if s.Revision != got.ID {
				t.Errorf("a fetch gives %s, a question %s", s.Revision, got.ID)
			}
		})
	}
	if _, err := b.fetcher().Revision(context.Background(), "file://"+b.path("src"), source.Options{Ref: "none"}, source.Revision{}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a branch that is not there: %v", err)
	}
	paths, err := b.fetcher().Changed(context.Background(), "file://"+b.path("src"), first, second)
	if diff := cmp.Diff([]string{"b/y"}, paths); err != nil || diff != "" {
		t.Errorf("what has changed: %v %s", err, diff)
	}
	gone := "0123456789012345678901234567890123456789"
	if _, err := b.fetcher().Changed(context.Background(), "file://"+b.path("src"), gone, second); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a commit that is gone: %v", err)
	}
}

func TestRevisionOfAnArchive(t *testing.T) {
	for _, header := range []string{"ETag", "Last-Modified"} {
		t.Run(header, func(t *testing.T) {
			var body atomic.Value
			var validator atomic.Value
			body.Store("one")
			validator.Store(map[string]string{"ETag": `"1"`, "Last-Modified": "Mon, 02 Nov 2026 10:00:00 GMT"}[header])
			full := 0
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				now := validator.Load().(string)
				w.Header().Set(header, now)
				if r.Header.Get("If-None-Match") == now || r.Header.Get("If-Modified-Since") == now {
					w.WriteHeader(http.StatusNotModified)
					return
				}
				full++
				_, _ = w.Write([]byte(body.Load().(string)))
			}))
			defer server.Close()
			ask := func(last source.Revision) source.Revision {
				t.Helper()
				now, err := (&source.Fetcher{Client: server.Client()}).Revision(context.Background(), server.URL+"/app.tar.gz", source.Options{}, last)
				if err != nil {
					t.Fatal(err)
				}
				return now
			}
			first := ask(source.Revision{})
			if again := ask(first); again != first || full != 1 {
				t.Errorf("again: %v, %d downloads", again, full)
			}
			body.Store("two")
			validator.Store(map[string]string{"ETag": `"2"`, "Last-Modified": "Mon, 02 Nov 2026 11:00:00 GMT"}[header])
			if changed := ask(first); changed.ID == first.ID || changed.Validator == first.Validator || full != 2 {
				t.Errorf("changed: %v, %d downloads", changed, full)
			}
		})
	}
}
