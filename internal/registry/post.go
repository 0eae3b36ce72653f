package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// smallBlob is how large a blob may be, in bytes, to be taken in memory: configurations,
// signatures and bills of materials are.
const smallBlob = 256 << 10

// post takes a blob in a single POST (OCI distribution-spec 1.1, "Single POST").
func (f *front) post(w http.ResponseWriter, r *http.Request, to call.Endpoint, d digest.Digest) {
	begins := r.ContentLength == 0 && d.Validate() == nil && d != d.Algorithm().FromBytes(nil)
	switch {
	case begins: // the content is to follow in requests of its own
		f.next.ServeHTTP(w, r)
	case d.Validate() != nil:
		call.Bad("DIGEST_INVALID", "the digest is not valid").Write(w)
	case r.ContentLength < 0 || r.ContentLength > smallBlob:
		f.postLarge(w, r, to, d)
	default:
		f.postSmall(w, r, to, d)
	}
}

// postSmall stores the blob without an upload that could be resumed, which would take
// longer than all else.
func (f *front) postSmall(w http.ResponseWriter, r *http.Request, to call.Endpoint, d digest.Digest) {
	content := make([]byte, r.ContentLength)
	if _, err := io.ReadFull(r.Body, content); err != nil {
		call.Bad("BLOB_UPLOAD_INVALID", "the blob was cut short").Write(w)
		return
	}
	if d.Algorithm().FromBytes(content) != d {
		call.Bad("DIGEST_INVALID", "the blob has another digest").Write(w)
		return
	}
	if err := f.store.keepBlob(r.Context(), to.Repository, d, content); err != nil {
		broken(w, f.log, err)
		return
	}
	blobCreated(w, to.Repository, d)
}

// keepBlob stores a blob whose digest was checked, and links it to the repository, by the
// digest its author uses.
func (s *store) keepBlob(ctx context.Context, repo string, d digest.Digest, content []byte) error {
	canonical := d
	if d.Algorithm() != digest.Canonical { // else it was leased by the name it was asked for
		canonical = digest.FromBytes(content)
		if err := s.lease(ctx, path.Join(blobDir(canonical), "data")); err != nil {
			return err
		}
	}
	// A sweep may be about to remove what another write to the same place left.
	release, err := s.locks.shared(ctx)
	if err != nil {
		return err
	}
	defer release()
	ctx = context.WithoutCancel(ctx) // once begun, a push is finished even when its client has gone
	return s.putBlob(ctx, canonical, content, links(repo, d, canonical)...)
}

// putBlob stores content by its canonical digest, unless it is there, and then what names it.
func (s *store) putBlob(ctx context.Context, d digest.Digest, content []byte, names ...small) error {
	there, err := s.hasData(ctx, d)
	if err != nil {
		return err
	}
	if !there {
		names = slices.Insert(names, 0, small{path.Join(blobDir(d), "data"), content})
	}
	return s.put(ctx, names...)
}

// put writes small files in this order.
func (s *store) put(ctx context.Context, files ...small) error {
	if f, ok := s.driver.(folder); ok && len(files) > 0 {
		return f.put(files...)
	}
	for _, file := range files {
		if err := s.driver.PutContent(ctx, file.path, file.content); err != nil {
			return err
		}
	}
	return nil
}

// linkBlob makes the repository hold a blob.
func (s *store) linkBlob(ctx context.Context, repo string, d, canonical digest.Digest) error {
	return s.put(ctx, links(repo, d, canonical)...)
}

// links are what makes a repository hold a blob, by the digest its author uses and by the canonical
// one.
func links(repo string, d, canonical digest.Digest) (out []small) {
	for _, name := range slices.Compact([]digest.Digest{canonical, d}) {
		out = append(out, small{layerLink(repo, name), []byte(canonical)})
	}
	return out
}

func blobCreated(w http.ResponseWriter, repo string, d digest.Digest) {
	h := w.Header()
	h.Set("Docker-Distribution-Api-Version", "registry/2.0")
	h.Set("Location", path.Join("/v2", repo, "blobs", d.String()))
	h.Set("Docker-Content-Digest", d.String())
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
}

// postLarge takes the blob as the two requests the next handler knows.
func (f *front) postLarge(w http.ResponseWriter, r *http.Request, to call.Endpoint, d digest.Digest) {
	begin, begun := plainUpload(r), newAnswer()
	begin.Body, begin.ContentLength = http.NoBody, 0
	begin.Header.Del("Content-Length")
	f.next.ServeHTTP(begun, begin)
	location, err := url.Parse(begun.header.Get("Location"))
	if begun.status != http.StatusAccepted || err != nil {
		begun.copyTo(w)
		return
	}
	put := r.Clone(r.Context())
	query := location.Query()
	query.Set("digest", d.String())
	put.Method, put.URL, put.Form = http.MethodPut, location, query
	put.URL.RawQuery = query.Encode()
	f.next.ServeHTTP(w, put)
}
