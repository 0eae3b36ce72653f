package registry

import (
	"log/slog"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
)

// front stands before the distribution project's handler: it answers what that does not
// do or does differently, and passes on the rest.
type front struct {
	next     http.Handler
	store    *store
	readOnly bool
	log      *slog.Logger
	tagged   func(repository, tag string) // nil: nobody listens
}

// route is what a request's path names.
type route struct {
	kind string // "manifests", "blobs", "uploads", "tags", "referrers"
	repo string
	ref  string // a tag, a digest or an upload's id; may be empty
}

// repoName is <name> of OCI distribution-spec 1.1, "Pulling Manifests".
var repoName = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)

// maxName keeps a repository's path within what filesystems and the distribution
// project's reference package take.
const maxName = 255

// parseRoute reads a path from its end: a repository may be named like an endpoint.
func parseRoute(path string) (route, bool) {
	rest, ok := strings.CutPrefix(path, "/v2/")
	cut := strings.LastIndexByte(rest, '/')
	if !ok || cut < 0 {
		return route{}, false
	}
	head, ref := rest[:cut], rest[cut+1:]
	if repo, ok := strings.CutSuffix(head, "/blobs/uploads"); ok && repo != "" {
		return route{kind: "uploads", repo: repo, ref: ref}, true
	}
	cut = strings.LastIndexByte(head, '/')
	if cut <= 0 || ref == "" {
		return route{}, false
	}
	to := route{kind: head[cut+1:], repo: head[:cut], ref: ref}
	switch to.kind {
	case "blobs":
		if ref == "uploads" {
			to.kind, to.ref = "uploads", ""
		}
		return to, true
	case "manifests", "referrers":
		return to, true
	case "tags":
		return to, ref == "list"
	}
	return route{}, false
}

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, ok := parseRoute(r.URL.Path)
	switch {
	case f.readOnly && r.Method != http.MethodGet && r.Method != http.MethodHead:
		refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "the registry is read-only"}.write(w)
	case !ok && r.URL.Path != "/v2/" && r.URL.Path != "/v2" && r.URL.Path != "/v2/_catalog":
		refusal{http.StatusNotFound, "UNSUPPORTED", "no such endpoint"}.write(w)
	case !ok:
		f.next.ServeHTTP(w, r)
	case len(to.repo) > maxName || !repoName.MatchString(to.repo):
		badRequest("NAME_INVALID", "the repository name is not valid").write(w)
	case to.kind == "manifests":
		f.manifests(w, r, to)
	case to.kind == "referrers":
		f.referrers(w, r, to)
	case to.kind == "tags":
		f.tags(w, r, to)
	case to.kind == "uploads":
		f.uploads(w, r, to)
	default:
		f.blobs(w, r, to)
	}
}

// blobs passes on a blob request. A client that asks whether a blob is there will not
// send it again, so the blob's life is prolonged first.
func (f *front) blobs(w http.ResponseWriter, r *http.Request, to route) {
	d := digest.Digest(to.ref)
	if r.Method == http.MethodHead {
		if err := f.leaseIn(r, to.repo, d); err != nil {
			broken(w, f.log, err)
			return
		}
	}
	if (r.Method == http.MethodHead || r.Method == http.MethodGet) && f.store.root != "" && d.Validate() == nil {
		f.serveFile(w, r, to)
		return
	}
	f.next.ServeHTTP(asNamed(w, to.repo, d), r)
}

// uploads passes on an upload request. One that completes or mounts a blob may find its
// content in the store already.
func (f *front) uploads(w http.ResponseWriter, r *http.Request, to route) {
	if f.readOnly {
		refusal{http.StatusMethodNotAllowed, "UNSUPPORTED", "the registry is read-only"}.write(w)
		return
	}
	query := r.URL.Query()
	repo, wanted := to.repo, digest.Digest(query.Get("digest"))
	mounts := r.Method == http.MethodPost && query.Get("mount") != ""
	if mounts {
		repo, wanted = query.Get("from"), digest.Digest(query.Get("mount"))
	}
	if wanted != "" && (r.Method == http.MethodPut || r.Method == http.MethodPost) {
		if err := f.leaseIn(r, repo, wanted); err != nil {
			broken(w, f.log, err)
			return
		}
	}
	if mounts && wanted.Validate() == nil && wanted.Algorithm() != digest.Canonical {
		if done, err := f.mount(w, r, to.repo, repo, wanted); err != nil {
			broken(w, f.log, err)
			return
		} else if done {
			return
		}
		r = r.Clone(r.Context())
		r.URL.RawQuery = "" // the next handler would link the blob to where it is not
	}
	w = asNamed(w, to.repo, wanted)
	if r.Method == http.MethodPost && !mounts && wanted != "" {
		f.post(w, r, to, wanted)
		return
	}
	f.next.ServeHTTP(w, r)
}

// mount links a blob from another repository under a digest that is not canonical. It
// gives false when there is nothing to mount.
func (f *front) mount(w http.ResponseWriter, r *http.Request, repo, from string, d digest.Digest) (bool, error) {
	if len(from) > maxName || !repoName.MatchString(from) {
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
	if d.Algorithm() != digest.Canonical && repoName.MatchString(repo) {
		canonical, ok, err := f.store.layer(r.Context(), repo, d)
		if err != nil || !ok {
			return err
		}
		d = canonical
	}
	return f.store.lease(r.Context(), path.Join(blobDir(d), "data"))
}
