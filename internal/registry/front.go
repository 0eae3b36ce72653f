package registry

import (
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strconv"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// front stands before the distribution project's handler: it answers what that does not
// do or does differently, and passes on the rest.
type front struct {
	next       http.Handler
	store      *store
	quarantine *quarantine // nil: none
	readOnly   bool
	log        *slog.Logger
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, ok := call.Parse(r.URL.Path)
	switch {
	case f.readOnly && r.Method != http.MethodGet && r.Method != http.MethodHead:
		call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the registry is read-only"}.Write(w)
	case !ok:
		call.Refusal{Status: http.StatusNotFound, Code: "UNSUPPORTED", Message: "no such endpoint"}.Write(w)
	case to.Kind == call.KindOther, to.Kind == call.KindCatalog:
		f.next.ServeHTTP(w, r)
	case !call.IsRepository(to.Repository):
		call.Bad("NAME_INVALID", "the repository name is not valid").Write(w)
	case to.Kind == call.KindManifest:
		f.manifests(w, r, to)
	case to.Kind == call.KindReferrers:
		f.referrers(w, r, to)
	case to.Kind == call.KindTags:
		f.tags(w, r, to)
	case to.Kind == call.KindUpload:
		f.uploads(w, r, to)
	default:
		f.blobs(w, r, to)
	}
}

// blobs handles /v2/<name>/blobs/<digest>. A client that asks whether a blob is there will not
// send it again, so the blob's life is prolonged first.
func (f *front) blobs(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	d := digest.Digest(to.Reference)
	if r.Method != http.MethodHead && r.Method != http.MethodGet {
		f.next.ServeHTTP(asNamed(w, to.Repository, d), r)
		return
	}
	if d.Validate() != nil {
		call.Bad("DIGEST_INVALID", "the digest is not valid").Write(w)
		return
	}
	if r.Method == http.MethodHead {
		if err := f.leaseIn(r, to.Repository, d); err != nil {
			broken(w, f.log, err)
			return
		}
	}
	canonical, linked, err := f.store.layer(r.Context(), to.Repository, d)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	if !linked {
		unknown(w, to.Kind)
		return
	}
	call.RecordOf(r.Context()).Digest = d.String()
	if !f.quarantine.admitsBlob(w, r, to, canonical) {
		return
	}
	if f.store.root != "" {
		f.serveFile(w, r, to, canonical)
		return
	}
	f.next.ServeHTTP(asNamed(w, to.Repository, d), r)
}

// uploads passes on an upload request. One that completes or mounts a blob may find its
// content in the store already.
func (f *front) uploads(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	if f.readOnly {
		call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "the registry is read-only"}.Write(w)
		return
	}
	query := r.URL.Query()
	// The next handler would take its parameters from a form in the body, too, where nobody saw
	// what is asked for: a mount out of a repository that is closed to who asks.
	r = r.WithContext(r.Context())
	r.Form, r.PostForm = query, url.Values{}
	repo, wanted := to.Repository, digest.Digest(query.Get("digest"))
	mounts := r.Method == http.MethodPost && query.Get("mount") != ""
	if mounts {
		repo, wanted = query.Get("from"), digest.Digest(query.Get("mount"))
		may, err := f.quarantine.mounts(r, repo, wanted)
		if err != nil {
			broken(w, f.log, err)
			return
		}
		if !may { // as if it were not there: the client is to send it
			f.next.ServeHTTP(w, plainUpload(r))
			return
		}
	}
	if wanted != "" && (r.Method == http.MethodPut || r.Method == http.MethodPost) {
		if err := f.leaseIn(r, repo, wanted); err != nil {
			broken(w, f.log, err)
			return
		}
	}
	if mounts && wanted.Validate() == nil && wanted.Algorithm() != digest.Canonical {
		if done, err := f.mount(w, r, to.Repository, repo, wanted); err != nil {
			broken(w, f.log, err)
			return
		} else if done {
			return
		}
		r = plainUpload(r) // the next handler would link the blob to where it is not
	}
	w = asNamed(w, to.Repository, wanted)
	if r.Method == http.MethodPost && !mounts && wanted != "" {
		f.post(w, r, to, wanted)
		return
	}
	f.next.ServeHTTP(w, r)
}

// plainUpload gives the request that begins an upload of nothing in particular.
func plainUpload(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.URL.RawQuery, r.Form = "", url.Values{}
	return r
}

// mount links a blob from another repository under a digest that is not canonical. It
// gives false when there is nothing to mount.
func (f *front) mount(w http.ResponseWriter, r *http.Request, repo, from string, d digest.Digest) (bool, error) {
	if !call.IsRepository(from) {
		return false, nil
	}
	canonical, ok, err := f.store.layer(r.Context(), from, d)
	if err != nil || !ok {
		return false, err
	}
	if there, err := f.store.hasData(r.Context(), canonical); err != nil || !there {
		return false, err
	}
	if err := f.store.linkBlob(r.Context(), repo, d, canonical); err != nil {
		return false, err
	}
	blobCreated(w, repo, d)
	return true, nil
}

// asNamed makes the response name a blob by the digest the client used, where the store
// knows it by another algorithm's.
func asNamed(w http.ResponseWriter, repo string, d digest.Digest) http.ResponseWriter {
	if d.Validate() != nil || d.Algorithm() == digest.Canonical {
		return w
	}
	return &renamer{ResponseWriter: w, repo: repo, digest: d}
}

type renamer struct {
	http.ResponseWriter
	repo   string
	digest digest.Digest
}

func (n *renamer) WriteHeader(status int) {
	if h := n.Header(); h.Get("Docker-Content-Digest") != "" {
		h.Set("Docker-Content-Digest", n.digest.String())
		if h.Get("Etag") != "" {
			h.Set("Etag", strconv.Quote(n.digest.String()))
		}
		if h.Get("Location") != "" {
			h.Set("Location", path.Join("/v2", n.repo, "blobs", n.digest.String()))
		}
	}
	n.ResponseWriter.WriteHeader(status)
}

func (n *renamer) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// leaseIn prolongs the life of a blob that the repository may know by another digest.
func (f *front) leaseIn(r *http.Request, repo string, d digest.Digest) error {
	if d.Validate() != nil {
		return nil // the next handler says so
	}
	if d.Algorithm() != digest.Canonical && call.IsRepository(repo) {
		canonical, ok, err := f.store.layer(r.Context(), repo, d)
		if err != nil || !ok {
			return err
		}
		d = canonical
	}
	return f.store.lease(r.Context(), path.Join(blobDir(d), "data"))
}
