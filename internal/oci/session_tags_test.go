package oci

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestTags(t *testing.T) {
	for _, c := range []struct {
		name  string
		serve func(w http.ResponseWriter, query string)
		want  []string
		fails string
	}{
		{"one page", func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"tags":["a","b"]}`) }, []string{"a", "b"}, ""},
		{"none", func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"tags":null}`) }, nil, ""},
		{"pages, wherever their links lead", func(w http.ResponseWriter, query string) {
			if !strings.Contains(query, "last=") {
				w.Header().Set("Link", `<https://elsewhere.example/v2/x/tags/list?last=a>; rel="next"`)
				fmt.Fprint(w, `{"tags":["a"]}`)
				return
			}
			fmt.Fprint(w, `{"tags":["b"]}`)
		}, []string{"a", "b"}, ""},
		{"no end of pages", func(w http.ResponseWriter, _ string) {
			w.Header().Set("Link", `</v2/x/tags/list?last=a>; rel="next"`)
			fmt.Fprint(w, `{"tags":["a"]}`)
		}, nil, "more than"},
		{"no end of tags", func(w http.ResponseWriter, _ string) {
			w.Header().Set("Link", `</v2/x/tags/list?last=a>; rel="next"`)
			fmt.Fprint(w, `{"tags":["a"`+strings.Repeat(`,"a"`, 150_000)+`]}`)
		}, nil, "more than"},
		{"a page without end", func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `{"tags":[`+strings.Repeat(" ", maxTagPage)+`]}`) }, nil, "more than"},
		{"no list", func(w http.ResponseWriter, _ string) { fmt.Fprint(w, `[]`) }, nil, "not valid"},
		{"no such repository", func(w http.ResponseWriter, _ string) { w.WriteHeader(http.StatusNotFound) }, nil, "no such"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, host := harbour(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if !strings.HasSuffix(r.URL.Path, "/tags/list") {
						next.ServeHTTP(w, r)
						return
					}
					c.serve(w, r.URL.RawQuery)
				})
			})
			got, err := s.Tags(t.Context(), parsed(t, host+"/app"))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("got %v, want %q", err, c.fails)
			}
			if c.name == "no such repository" && fault.KindOf(err) != fault.NotFound {
				t.Errorf("got kind %v", fault.KindOf(err))
			}
		})
	}
}

func TestHasBlob(t *testing.T) {
	s, host := harbour(t, plain)
	ref := parsed(t, host+"/app:1")
	layer := store(t, s, ref, []byte("layer"))
	other := describe(t, layer.MediaType, []byte("another"))
	for digest, want := range map[v1.Hash]bool{layer.Digest: true, other.Digest: false} {
		if got, err := s.HasBlob(t.Context(), ref, digest); err != nil || got != want {
			t.Errorf("%s: got %v, %v", digest, got, err)
		}
	}
}
