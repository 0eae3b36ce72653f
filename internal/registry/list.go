package registry

import (
	"context"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Entry is one tag of a repository.
type Entry struct {
	Repository string        `json:"repository"`
	Tag        string        `json:"tag"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	// Size is the bytes of the manifest and of all it refers to, each blob counted once:
	// for an index, of all its images.
	Size int64 `json:"size"`
}

// List gives every tag of the store, in the order of repositories and tags. Errors are
// *fault.Error.
func (r *Registry) List(ctx context.Context) ([]Entry, error) {
	entries := []Entry{}
	err := r.store.repositories(ctx, func(repo string) error {
		tags, _, err := r.store.liveTags(ctx, repo, "", -1)
		if err != nil {
			return err
		}
		digests, err := r.store.resolveTags(ctx, repo, tags)
		if err != nil {
			return err
		}
		for i, tag := range tags {
			e := Entry{Repository: repo, Tag: tag, Digest: digests[i]}
			if err := r.store.measure(ctx, &e); err != nil {
				return err
			}
			if e.MediaType != "" { // else deleted since it was listed
				entries = append(entries, e)
			}
		}
		return nil
	})
	if err != nil {
		return nil, storeFault("list registry", "", err)
	}
	return entries, nil
}

func (s *store) measure(ctx context.Context, e *Entry) error {
	seen := map[digest.Digest]bool{}
	todo := []digest.Digest{e.Digest}
	for len(todo) > 0 {
		d := todo[0]
		todo = todo[1:]
		if seen[d] {
			continue
		}
		seen[d] = true
		content, ok, err := s.manifest(ctx, e.Repository, d)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		m, err := parseStored(content)
		if err != nil {
			return fmt.Errorf("manifest %s@%s cannot be read: %w", e.Repository, d, err)
		}
		if d == e.Digest {
			e.MediaType = m.kind()
		}
		e.Size += int64(len(content))
		for _, blob := range m.blobs() {
			if !seen[blob.Digest] {
				seen[blob.Digest] = true
				e.Size += blob.Size
			}
		}
		for _, child := range m.Manifests {
			todo = append(todo, child.Digest)
		}
	}
	return nil
}

// Remove deletes a tag, or with a digest the manifest and every tag of it. Blobs stay
// until they are collected. Errors are *fault.Error: NotFound when there is none such.
func (r *Registry) Remove(ctx context.Context, repo, reference string) error {
	which := repo + ":" + reference
	if strings.Contains(reference, ":") {
		which = repo + "@" + reference
	}
	target := path.Join("/v2", repo, "manifests", reference)
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, "http://store.local"+target, http.NoBody)
	if err != nil {
		return fault.New(fault.Usage, "remove", which, err)
	}
	answer := newAnswer()
	r.handler.ServeHTTP(answer, request)
	switch answer.status {
	case http.StatusAccepted:
		return nil
	case http.StatusNotFound:
		return fault.Newf(fault.NotFound, "remove", which, "no such image").
			WithHint("`plimsoll registry list` shows what there is")
	case http.StatusBadRequest:
		return fault.Newf(fault.Usage, "remove", which, "not a valid reference")
	case http.StatusMethodNotAllowed:
		return fault.Newf(fault.Denied, "remove", which, "the registry is read-only")
	}
	return fault.Newf(fault.Failed, "remove", which, http.StatusText(answer.status))
}
