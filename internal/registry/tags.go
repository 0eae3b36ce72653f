package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"sort"
	"strconv"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// tags handles /v2/<name>/tags/list (OCI distribution-spec 1.1, "Listing Tags"). It lists
// only tags that resolve: the distribution project lists each tag folder, also the one
// a killed push or deletion left half made.
func (f *front) tags(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "tags are pushed and deleted as manifests"}.Write(w)
		return
	}
	query := r.URL.Query()
	limit := -1
	if n := query.Get("n"); n != "" {
		parsed, err := strconv.Atoi(n)
		if err != nil || parsed < 0 {
			call.Bad("PAGINATION_NUMBER_INVALID", "n is not a number of tags").Write(w)
			return
		}
		limit = min(parsed, maxListed)
	}
	known, err := f.store.names(r.Context(), path.Join(repoDir(to.Repository), "_manifests"))
	if err == nil && known == nil {
		call.Refusal{Status: http.StatusNotFound, Code: "NAME_UNKNOWN", Message: "the repository has no manifests"}.Write(w)
		return
	}
	tags, more, err := f.store.liveTags(r.Context(), to.Repository, query.Get("last"), limit)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	if more {
		next := url.Values{"n": {strconv.Itoa(limit)}, "last": {tags[len(tags)-1]}}
		w.Header().Set("Link", "<"+path.Join("/v2", to.Repository, "tags", "list")+"?"+next.Encode()+`>; rel="next"`)
	}
	writeJSON(w, r, "application/json", struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{to.Repository, tags})
}

// liveTags gives at most limit tags after last, in lexical order, and whether there are
// more. A negative limit means all.
func (s *store) liveTags(ctx context.Context, repo, last string, limit int) ([]string, bool, error) {
	names, err := s.names(ctx, tagsDir(repo))
	if err != nil {
		return nil, false, err
	}
	names = names[sort.Search(len(names), func(i int) bool { return names[i] > last }):]
	tags := []string{}
	const page = 128
	for len(names) > 0 {
		n := min(page, len(names))
		live, err := s.resolveTags(ctx, repo, names[:n])
		if err != nil {
			return nil, false, err
		}
		for i, d := range live {
			if d == "" {
				continue
			}
			if limit >= 0 && len(tags) == limit {
				return tags, limit > 0, nil
			}
			tags = append(tags, names[i])
		}
		names = names[n:]
	}
	return tags, false, nil
}

// resolveTags gives each tag's manifest, "" for a tag that has none.
func (s *store) resolveTags(ctx context.Context, repo string, tags []string) ([]digest.Digest, error) {
	resolved := make([]digest.Digest, len(tags))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, tag := range tags {
		g.Go(func() error {
			d, ok, err := s.link(ctx, tagLink(repo, tag))
			if err != nil || !ok {
				return err
			}
			if _, ok, err = s.revision(ctx, repo, d); ok {
				resolved[i] = d
			}
			return err
		})
	}
	return resolved, g.Wait()
}

func writeJSON(w http.ResponseWriter, r *http.Request, mediaType string, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		call.Refusal{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "the answer cannot be written"}.Write(w)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}
