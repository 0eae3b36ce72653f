package registry

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/go-digest"
)

// marks are the blobs that manifests need, by canonical digest.
type marks struct {
	*store
	needed map[digest.Digest]bool
	read   map[string]bool // repository@digest of the manifests looked at
	// spurned are manifests that a dry run would have removed, by repository@digest.
	spurned map[string]bool
}

func newMarks(s *store) *marks {
	return &marks{store: s, needed: map[digest.Digest]bool{}, read: map[string]bool{}, spurned: map[string]bool{}}
}

// refresh marks what the manifests need that came since it was last called.
func (m *marks) refresh(ctx context.Context) error {
	return m.repositories(ctx, func(repo string) error {
		revisions, err := m.digests(ctx, revisionsDir(repo))
		if err != nil {
			return err
		}
		for _, d := range revisions {
			key := repo + "@" + d.String()
			if m.read[key] || m.spurned[key] {
				continue
			}
			ok, err := m.mark(ctx, repo, d)
			if err != nil {
				return err
			}
			if ok {
				m.read[key] = true
			}
		}
		return nil
	})
}

// mark gives false for a revision whose manifest was deleted: it may come back.
func (m *marks) mark(ctx context.Context, repo string, d digest.Digest) (bool, error) {
	content, ok, err := m.manifest(ctx, repo, d)
	if err != nil || !ok {
		return false, err
	}
	parsed, err := parseStored(content)
	if err != nil {
		// To go on without knowing what it needs could remove that.
		return false, fmt.Errorf("manifest %s@%s cannot be read: %w", repo, d, err)
	}
	m.needed[digest.FromBytes(content)] = true
	for _, need := range parsed.needs() {
		canonical, ok, err := m.canonical(ctx, repo, need)
		if err != nil {
			return false, err
		}
		if ok {
			m.needed[canonical] = true
		}
	}
	return true, nil
}

// canonical gives the digest by which the store keeps what a manifest names.
func (s *store) canonical(ctx context.Context, repo string, d digest.Digest) (digest.Digest, bool, error) {
	if d.Validate() != nil {
		return "", false, nil
	}
	if d.Algorithm() == digest.Canonical {
		return d, true, nil
	}
	if c, ok, err := s.layer(ctx, repo, d); err != nil || ok {
		return c, ok, err
	}
	return s.revision(ctx, repo, d)
}

// parseStored reads a manifest that was taken in, perhaps by another registry with
// laxer checks.
func parseStored(content []byte) (*manifest, error) {
	m := &manifest{}
	return m, json.Unmarshal(content, m)
}
