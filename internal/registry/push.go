package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// manifests handles /v2/<name>/manifests/<reference>.
func (f *front) manifests(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	if strings.Contains(to.Reference, ":") && digest.Digest(to.Reference).Validate() != nil {
		call.Bad("DIGEST_INVALID", "the digest is not valid").Write(w)
		return
	}
	switch r.Method {
	case http.MethodPut:
		f.putManifest(w, r, to)
	case http.MethodDelete:
		f.deleteManifest(w, r, to)
	case http.MethodGet:
		f.pull(w, r, to)
	case http.MethodHead:
		// A client that sends an index asks so whether it need send an image of it.
		if d := digest.Digest(to.Reference); strings.Contains(to.Reference, ":") {
			if err := f.store.lease(r.Context(), path.Join(revisionDir(to.Repository, d), "link")); err != nil {
				broken(w, f.log, err)
				return
			}
		}
		f.pull(w, r, to)
	default:
		f.next.ServeHTTP(w, r)
	}
}

// push is one manifest on its way in.
type push struct {
	call.Endpoint
	content   []byte
	manifest  *manifest
	canonical digest.Digest
	digest    digest.Digest // as its author names it; often canonical
	tags      []string      // to point at it
}

var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// readPush reads and checks the manifest. The refusal is nil when it may be stored.
func readPush(w http.ResponseWriter, r *http.Request, to call.Endpoint) (*push, *call.Refusal) {
	content, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxManifest))
	if errors.As(err, new(*http.MaxBytesError)) {
		return nil, &call.Refusal{Status: http.StatusRequestEntityTooLarge, Code: "SIZE_INVALID", Message: "a manifest may have 4 MiB"}
	}
	if err != nil {
		return nil, &call.Refusal{Status: http.StatusBadRequest, Code: "MANIFEST_INVALID", Message: "the manifest was cut short"}
	}
	m, err := parseManifest(content)
	if err != nil {
		return nil, &call.Refusal{Status: http.StatusBadRequest, Code: "MANIFEST_INVALID", Message: err.Error()}
	}
	p := &push{Endpoint: to, content: content, manifest: m, canonical: digest.FromBytes(content), tags: r.URL.Query()["tag"]}
	if strings.Contains(to.Reference, ":") {
		p.digest = digest.Digest(to.Reference)
	} else {
		p.digest = m.algorithm().FromBytes(content)
		p.tags = append([]string{to.Reference}, p.tags...)
	}
	for _, tag := range p.tags {
		if !tagName.MatchString(tag) {
			return nil, &call.Refusal{Status: http.StatusBadRequest, Code: "TAG_INVALID", Message: "the tag is not valid"}
		}
	}
	if p.digest.Algorithm().FromBytes(content) != p.digest {
		return nil, &call.Refusal{Status: http.StatusBadRequest, Code: "DIGEST_INVALID", Message: "the manifest has another digest"}
	}
	return p, nil
}

// putManifest stores a manifest: its entry in the referrers index first, so that no
// manifest with a subject can be there unlisted.
func (f *front) putManifest(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	p, refused := readPush(w, r, to)
	if refused != nil {
		refused.Write(w)
		return
	}
	answer, err := f.storeManifest(r, p)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	if answer.status == http.StatusCreated {
		p.note(call.RecordOf(r.Context()))
		f.quarantine.pushed(r.Context(), p)
	}
	answer.copyTo(w)
}

// storeManifest holds off collection from the check that the manifest's blobs are there
// until the manifest itself protects them.
func (f *front) storeManifest(r *http.Request, p *push) (*answer, error) {
	// Once begun, a push is finished even when its client has gone.
	ctx := context.WithoutCancel(r.Context())
	release, err := f.store.locks.shared(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	if err := f.store.leaseParts(ctx, p); err != nil {
		return nil, err
	}
	subject := p.manifest.Subject
	if subject != nil {
		entry := p.manifest.referrer(p.digest, int64(len(p.content)))
		if err := f.store.putReferrer(ctx, p.Repository, subject.Digest, entry); err != nil {
			return nil, err
		}
	}
	if complete, err := f.store.putImage(ctx, p, r.Header.Get("Content-Type")); err != nil {
		return nil, err
	} else if !complete {
		passed := newAnswer()
		f.next.ServeHTTP(passed, p.request(ctx, r))
		if passed.status != http.StatusCreated {
			return passed, f.dropEntry(ctx, p)
		}
	}
	return p.created(), f.store.point(ctx, p)
}

// putImage stores the manifest of an image of which the repository holds every part. It
// gives false for one of another kind, or in which there is anything to object to: the
// next handler judges those.
func (s *store) putImage(ctx context.Context, p *push, contentType string) (bool, error) {
	if !p.manifest.plain(contentType) {
		return false, nil
	}
	if stands, err := s.stands(ctx, p); err != nil || stands {
		return stands, err
	}
	for _, part := range p.manifest.needs() {
		if held, err := s.holds(ctx, p.Repository, part); err != nil || !held {
			return false, err
		}
	}
	link := small{path.Join(revisionDir(p.Repository, p.canonical), "link"), []byte(p.canonical)}
	return true, s.putBlob(ctx, p.canonical, p.content, link)
}

// stands says that the repository has the manifest already, and a tag will keep it: whoever
// wants no image seen before all about it is there pushes it by its digest first. What it
// needs is there since then, and a local store's lock keeps it so until the tag is written.
func (s *store) stands(ctx context.Context, p *push) (bool, error) {
	if s.root == "" || len(p.tags) == 0 {
		return false, nil
	}
	link := path.Join(revisionDir(p.Repository, p.canonical), "link")
	if linked, err := s.exists(ctx, link); err != nil || !linked {
		return false, err
	}
	return s.hasData(ctx, p.canonical)
}

// note says what was stored.
func (p *push) note(record *call.Record) {
	record.Digest, record.Canonical, record.MediaType = p.digest.String(), p.canonical.String(), p.manifest.kind()
	record.Tags, record.Size = p.tags, int64(len(p.content))
	if p.manifest.Subject != nil {
		record.Subject = p.manifest.Subject.Digest.String()
	}
}

// created gives the answer to a push that was stored.
func (p *push) created() *answer {
	a := newAnswer()
	a.header.Set("Docker-Distribution-Api-Version", "registry/2.0")
	a.header.Set("Docker-Content-Digest", p.digest.String())
	a.header.Set("Location", path.Join("/v2", p.Repository, "manifests", p.digest.String()))
	if subject := p.manifest.Subject; subject != nil {
		a.header.Set("OCI-Subject", subject.Digest.String())
	}
	for _, tag := range p.tags {
		a.header.Add("OCI-Tag", tag)
	}
	a.WriteHeader(http.StatusCreated)
	return a
}

// request gives the push as the next handler takes it: with a media type, and by its
// canonical digest, for the tags are ours to write.
func (p *push) request(ctx context.Context, r *http.Request) *http.Request {
	r = r.Clone(ctx)
	r.URL.Path = path.Join("/v2", p.Repository, "manifests", p.canonical.String())
	r.URL.RawPath, r.URL.RawQuery = "", ""
	if r.Header.Get("Content-Type") == "" {
		r.Header.Set("Content-Type", p.manifest.kind())
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(p.content)), int64(len(p.content))
	return r
}

// point writes the links that name a stored manifest. A manifest with another digest than
// the canonical one gets a link from that to the canonical one, as the distribution
// project does it for blobs; its tags then name it as its author does.
func (s *store) point(ctx context.Context, p *push) error {
	if p.digest != p.canonical {
		file := path.Join(revisionDir(p.Repository, p.digest), "link")
		if err := s.driver.PutContent(ctx, file, []byte(p.canonical)); err != nil {
			return err
		}
	}
	for _, tag := range p.tags {
		entry := path.Join(tagsDir(p.Repository), tag, "index", p.digest.Algorithm().String(), p.digest.Encoded(), "link")
		if err := s.put(ctx, small{entry, []byte(p.digest)}, small{tagLink(p.Repository, tag), []byte(p.digest)}); err != nil {
			return err
		}
	}
	return nil
}

// dropEntry takes back the entry of a manifest that was refused.
func (f *front) dropEntry(ctx context.Context, p *push) error {
	if p.manifest.Subject == nil {
		return nil
	}
	if _, live, err := f.store.revision(ctx, p.Repository, p.digest); err != nil || live {
		return err
	}
	return f.store.remove(ctx, entryPath(p.Repository, p.manifest.Subject.Digest, p.digest))
}

// deleteManifest removes a tag or a manifest, and then the manifest's entry in the
// referrers index.
func (f *front) deleteManifest(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	answer, err := f.removeManifest(r, to)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	answer.copyTo(w)
}

func (f *front) removeManifest(r *http.Request, to call.Endpoint) (*answer, error) {
	ctx := context.WithoutCancel(r.Context())
	release, err := f.store.locks.shared(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	answer := newAnswer()
	gone, tags, content, err := f.store.named(ctx, to)
	if err != nil {
		return nil, err
	}
	r = r.Clone(ctx)
	byDigest := strings.Contains(to.Reference, ":") && content != nil
	if byDigest {
		r.URL.Path, r.URL.RawPath = path.Join("/v2", to.Repository, "manifests", digest.FromBytes(content).String()), ""
	}
	f.next.ServeHTTP(answer, r)
	if answer.status != http.StatusAccepted {
		return answer, nil
	}
	record := call.RecordOf(ctx)
	record.Digest, record.Tags = gone.String(), tags
	if content != nil {
		record.Canonical = digest.FromBytes(content).String()
	}
	if m, err := parseStored(content); err == nil && m.Subject != nil {
		record.Subject = m.Subject.Digest.String()
	}
	if byDigest {
		return answer, f.store.forget(ctx, to.Repository, content)
	}
	return answer, nil
}

// named gives what goes when a tag or a manifest is deleted: with a manifest, all its tags.
// The content is nil when there is no such manifest.
func (s *store) named(ctx context.Context, to call.Endpoint) (d digest.Digest, tags []string, content []byte, err error) {
	d, content, err = s.find(ctx, to)
	if err != nil || content == nil || !strings.Contains(to.Reference, ":") {
		return d, []string{to.Reference}, content, err
	}
	all, _, err := s.liveTags(ctx, to.Repository, "", -1)
	if err != nil {
		return d, nil, nil, err
	}
	digests, err := s.resolveTags(ctx, to.Repository, all)
	if err != nil {
		return d, nil, nil, err
	}
	canonical := digest.FromBytes(content)
	for i, tagged := range digests {
		if is, _, err := s.revision(ctx, to.Repository, tagged); err != nil {
			return d, nil, nil, err
		} else if is == canonical {
			tags = append(tags, all[i])
		}
	}
	return d, tags, content, nil
}

// forget removes what else names a manifest that was deleted.
func (s *store) forget(ctx context.Context, repo string, content []byte) error {
	m, err := parseManifest(content)
	for _, alg := range []digest.Algorithm{digest.Canonical, digest.SHA384, digest.SHA512} {
		d := alg.FromBytes(content)
		if err := s.remove(ctx, revisionDir(repo, d)); err != nil {
			return err
		}
		if err != nil || m.Subject == nil {
			continue
		}
		if err := s.remove(ctx, entryPath(repo, m.Subject.Digest, d)); err != nil {
			return err
		}
	}
	return nil
}

// referrers handles /v2/<name>/referrers/<digest> (OCI distribution-spec 1.1, "Listing
// Referrers").
func (f *front) referrers(w http.ResponseWriter, r *http.Request, to call.Endpoint) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		call.Refusal{Status: http.StatusMethodNotAllowed, Code: "UNSUPPORTED", Message: "referrers can only be read"}.Write(w)
		return
	}
	subject := digest.Digest(to.Reference)
	if subject.Validate() != nil {
		call.Bad("DIGEST_INVALID", "the digest is not valid").Write(w)
		return
	}
	found, err := f.store.referrers(r.Context(), to.Repository, subject)
	if err != nil {
		broken(w, f.log, err)
		return
	}
	if wanted := r.URL.Query().Get("artifactType"); wanted != "" {
		kept := found[:0]
		for _, d := range found {
			if d.ArtifactType == wanted {
				kept = append(kept, d)
			}
		}
		found = kept
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	found, ok := f.quarantine.lists(w, r, to, found)
	if !ok {
		return
	}
	index := v1.Index{MediaType: v1.MediaTypeImageIndex, Manifests: found}
	index.SchemaVersion = 2
	writeJSON(w, r, v1.MediaTypeImageIndex, index)
}

// answer holds a small response until its lock is given back: a client that is slow to
// read it must not hold up a collection.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newAnswer() *answer { return &answer{header: http.Header{}} }

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(p)
}

func (a *answer) copyTo(w http.ResponseWriter) {
	for k, v := range a.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(max(a.status, http.StatusOK))
	w.Write(a.body.Bytes())
}
