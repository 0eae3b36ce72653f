package registry

import (
	"context"
	"encoding/json"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// pull answers GET and HEAD of a manifest as the next handler does, which would read it
// as JSON five times. It leaves to that the clients which do not take the manifest as
// it is.
func (f *front) pull(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	named, content, err := f.store.find(r.Context(), to)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	if content == nil {
		unknown(w, to.Kind)
		return
	}
	kind := kindOf(content)
	record := call.RecordOf(r.Context())
	record.Digest, record.MediaType = named.String(), kind
	if !f.quarantine.admits(w, r, to, content) {
		return
	}
	if !takes(r, kind) {
		if f.quarantine.binds(r, to.Repository) {
			r = byDigest(r, to.Repository, named) // what was judged, not what a tag names by now
		}
		f.next.ServeHTTP(w, r)
		return
	}
	h, etag := w.Header(), strconv.Quote(named.String())
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("Docker-Content-Digest", named.String())
	h.Set("Etag", etag)
	if known := r.Header.Values("If-None-Match"); slices.Contains(known, etag) || slices.Contains(known, named.String()) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method != http.MethodHead {
		w.Write(content)
	}
}

// byDigest gives the request for what it names by this digest. The next handler chooses no
// other manifest for that, as it does for a tag of an index that the client does not take.
func byDigest(r *http.Request, repo string, d digest.Digest) *http.Request {
	r = r.Clone(r.Context())
	r.URL.Path, r.URL.RawPath = path.Join("/v2", repo, "manifests", d.String()), ""
	return r
}

// find gives the manifest that a tag or digest names, with the digest by which its author
// named it; nil when there is none.
func (s *store) find(ctx context.Context, to call.Endpoint) (named digest.Digest, content []byte, err error) {
	named = digest.Digest(to.Reference)
	if !strings.Contains(to.Reference, ":") {
		if !tagName.MatchString(to.Reference) {
			return "", nil, nil
		}
		var ok bool
		if named, ok, err = s.link(ctx, tagLink(to.Repository, to.Reference)); err != nil || !ok {
			return "", nil, err
		}
	}
	content, _, err = s.manifest(ctx, to.Repository, named)
	return named, content, err
}

// manifestKinds are the media types that clients know manifests by.
var manifestKinds = []string{v1.MediaTypeImageManifest, v1.MediaTypeImageIndex, mediaTypeDockerManifest, mediaTypeDockerList}

// kindOf gives the media type of a manifest in the store, "" for what is none.
func kindOf(content []byte) string {
	var m struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     string          `json:"mediaType"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(content, &m); err != nil || m.SchemaVersion != 2 {
		return ""
	}
	if m.MediaType != "" {
		return m.MediaType
	}
	if m.Manifests != nil && string(m.Manifests) != "null" {
		return v1.MediaTypeImageIndex
	}
	return v1.MediaTypeImageManifest
}

// takes says whether a client takes a manifest of the kind as it is. One that takes
// anything is given anything.
func takes(r *http.Request, kind string) bool {
	if !slices.Contains(manifestKinds, kind) {
		return false
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if accept == "" || strings.Contains(accept, "*/*") || strings.Contains(accept, "application/*") {
		return true
	}
	for one := range strings.SplitSeq(accept, ",") {
		one, _, _ = strings.Cut(one, ";") // preferences do not matter: there is one to be had
		if strings.EqualFold(strings.TrimSpace(one), kind) {
			return true
		}
	}
	return false
}
