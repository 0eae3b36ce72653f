package registry

import (
	"context"
	"encoding/json"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// The referrers index is one small file an entry: no file is shared, so no writer waits
// for another and a kill leaves an entry whole or not there. An entry is written before
// its manifest; a listing leaves out what has no manifest.

func subjectsDir(repo string) string { return path.Join(referrerRoot, repo, "_subjects") }

func subjectDir(repo string, subject digest.Digest) string {
	return path.Join(subjectsDir(repo), subject.Algorithm().String(), subject.Encoded())
}

func entryPath(repo string, subject, referrer digest.Digest) string {
	return path.Join(subjectDir(repo, subject), referrer.Algorithm().String()+"-"+referrer.Encoded())
}

func (s *store) putReferrer(ctx context.Context, repo string, subject digest.Digest, entry v1.Descriptor) error {
	content, err := json.Marshal(entry)
	if err != nil {
		return err
	}
	return s.driver.PutContent(ctx, entryPath(repo, subject, entry.Digest), content)
}

// referrers gives the descriptors of the manifests that name the subject, in the order
// of their digests.
func (s *store) referrers(ctx context.Context, repo string, subject digest.Digest) ([]v1.Descriptor, error) {
	dir := subjectDir(repo, subject)
	names, err := s.names(ctx, dir)
	if err != nil {
		return nil, err
	}
	found := make([]v1.Descriptor, 0, len(names))
	for _, name := range names {
		d, ok := entryDigest(name)
		if !ok {
			continue
		}
		if _, live, err := s.revision(ctx, repo, d); err != nil {
			return nil, err
		} else if !live {
			continue
		}
		content, err := s.driver.GetContent(ctx, path.Join(dir, name))
		if isMissing(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var entry v1.Descriptor
		if err := json.Unmarshal(content, &entry); err != nil {
			return nil, err
		}
		found = append(found, entry)
	}
	return found, nil
}

func entryDigest(name string) (digest.Digest, bool) {
	alg, hex, ok := strings.Cut(name, "-")
	d := digest.NewDigestFromEncoded(digest.Algorithm(alg), hex)
	return d, ok && d.Validate() == nil
}

// RebuildReport says what Rebuild found.
type RebuildReport struct {
	Repositories int `json:"repositories"`
	Manifests    int `json:"manifests"` // read
	Referrers    int `json:"referrers"` // entries written
	Stale        int `json:"stale"`     // entries removed, whose manifests are gone
}

// Rebuild makes the referrers index again from the manifests in the store. It may run
// beside pushes: it writes what a push would write. Errors are *fault.Error.
func (r *Registry) Rebuild(ctx context.Context) (RebuildReport, error) {
	var report RebuildReport
	err := r.store.repositories(ctx, func(repo string) error {
		report.Repositories++
		return r.store.rebuild(ctx, repo, &report)
	})
	if err != nil {
		return report, storeFault("rebuild referrers", "", err)
	}
	if report.Stale, err = r.store.sweepReferrers(ctx, false); err != nil {
		return report, storeFault("rebuild referrers", "", err)
	}
	return report, nil
}

func (s *store) rebuild(ctx context.Context, repo string, report *RebuildReport) error {
	revisions, err := s.digests(ctx, revisionsDir(repo))
	if err != nil {
		return err
	}
	// A manifest pushed by another digest than its canonical one is listed by that.
	renamed := map[digest.Digest]bool{}
	for _, d := range revisions {
		if d.Algorithm() == digest.Canonical {
			continue
		}
		canonical, ok, err := s.revision(ctx, repo, d)
		if err != nil {
			return err
		}
		renamed[canonical] = ok
	}
	for _, d := range revisions {
		if renamed[d] {
			continue
		}
		content, ok, err := s.manifest(ctx, repo, d)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		report.Manifests++
		m, err := parseStored(content)
		if err != nil || m.Subject == nil || m.Subject.Digest.Validate() != nil {
			continue // taken in by another registry on this store: nothing to list
		}
		entry := m.referrer(d, int64(len(content)))
		if err := s.putReferrer(ctx, repo, m.Subject.Digest, entry); err != nil {
			return err
		}
		report.Referrers++
	}
	return nil
}
