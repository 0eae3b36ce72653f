package oci

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Referrers are the manifests that name a subject (OCI distribution-spec 1.1, "Listing
// Referrers").
type Referrers struct {
	Manifests []v1.Descriptor // with their annotations and artifact types

	// Tagged says that the registry has no referrers API: they are in the index that the
	// tag ReferrersTag names, and who adds one writes that index ("Referrers Tag Schema").
	Tagged bool
}

// Limits of a list of referrers.
const (
	maxReferrers = 4096
	maxPages     = 64
)

// Referrers lists what refers to the manifest of that digest in the reference's
// repository. Nothing is listed of a subject that is not there.
func (s *Session) Referrers(ctx context.Context, ref Reference, subject v1.Hash) (Referrers, error) {
	found, err := s.referrers(ctx, ref, subject)
	return found, wrap("list referrers", ref.At(subject), err)
}

func (s *Session) referrers(ctx context.Context, ref Reference, subject v1.Hash) (Referrers, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return Referrers{}, err
	}
	var all []v1.Descriptor
	path := "referrers/" + subject.String()
	for range maxPages {
		answer, err := repo.do(ctx, http.MethodGet, path, request{accept: string(types.OCIImageIndex), limit: maxManifest})
		if len(all) == 0 && lacksReferrers(answer, err) {
			return s.taggedReferrers(ctx, ref, subject)
		}
		if err != nil {
			return Referrers{}, err
		}
		index := v1.IndexManifest{}
		if err := json.Unmarshal(answer.body, &index); err != nil {
			return Referrers{}, bad("the list of referrers is not valid: %v", err)
		}
		if all = append(all, index.Manifests...); len(all) > maxReferrers {
			break
		}
		next, more := answer.nextPage()
		if !more {
			return Referrers{Manifests: all}, nil
		}
		path = "referrers/" + subject.String() + "?" + next
	}
	return Referrers{}, bad("more than %d manifests refer to it", maxReferrers)
}

// lacksReferrers tells the answers of registries without the referrers API: an error of
// their own, or a page that is no index.
func lacksReferrers(a answer, err error) bool {
	if err == nil {
		kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
		return kind != string(types.OCIImageIndex)
	}
	return slices.Contains([]int{
		http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
	}, a.status)
}

// nextPage gives the query of the next page (RFC 8288). Only the query is taken: the
// registry may not send elsewhere.
func (a answer) nextPage() (string, bool) {
	for _, link := range a.header.Values("Link") {
		target, params, ok := strings.Cut(strings.TrimSpace(link), ">")
		if !ok || !strings.HasPrefix(target, "<") || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
			continue
		}
		if next, err := url.Parse(target[1:]); err == nil && next.RawQuery != "" {
			return next.RawQuery, true
		}
	}
	return "", false
}

func (s *Session) taggedReferrers(ctx context.Context, ref Reference, subject v1.Hash) (Referrers, error) {
	m, err := s.manifest(ctx, ref.ReferrersTag(subject))
	if fault.KindOf(failure("", ref, err)) == fault.NotFound || err == nil && m.Index == nil {
		return Referrers{Tagged: true}, nil // some tools give that tag to a copy of the image itself
	}
	if err != nil {
		return Referrers{}, err
	}
	if len(m.Index.Manifests) > maxReferrers {
		return Referrers{}, bad("more than %d manifests refer to it", maxReferrers)
	}
	return Referrers{Manifests: m.Index.Manifests, Tagged: true}, nil
}

// ReferrersTag gives the tag that stands for the referrers API where a registry has none
// (OCI distribution-spec 1.1, "Referrers Tag Schema").
func (r Reference) ReferrersTag(subject v1.Hash) Reference {
	return r.Tag(subject.Algorithm + "-" + subject.Hex)
}

// Tag gives a reference to that tag in the same repository.
func (r Reference) Tag(tag string) Reference { return Reference{r.Context().Tag(tag)} }

// maxBlob is how large a blob may be, in bytes, to be read into memory.
const maxBlob = 64 << 20

// Blob reads a blob into memory, and checks it against the descriptor.
func (s *Session) Blob(ctx context.Context, ref Reference, blob v1.Descriptor) ([]byte, error) {
	if blob.Size < 0 || blob.Size > maxBlob {
		return nil, wrap("read blob", ref, bad("%s has %d bytes: at most %d are read", blob.Digest, blob.Size, maxBlob))
	}
	body, err := s.Open(ctx, ref, blob)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var out bytes.Buffer
	out.Grow(int(min(blob.Size, 1<<20)) + bytes.MinRead) // more only when it comes in fact
	_, err = out.ReadFrom(body)
	return out.Bytes(), wrap("read blob", ref, err)
}

// Delete removes the manifest that the reference names by its digest. It gives false where
// the registry does not let manifests be removed; that there is none is no error.
func (s *Session) Delete(ctx context.Context, ref Reference) (bool, error) {
	repo, err := s.repository(ctx, ref)
	if err != nil {
		return false, wrap("delete manifest", ref, err)
	}
	answer, err := repo.do(ctx, http.MethodDelete, "manifests/"+ref.Identifier(), request{})
	switch answer.status {
	case http.StatusNotFound:
		return true, nil
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return false, nil
	}
	return err == nil, wrap("delete manifest", ref, err)
}
