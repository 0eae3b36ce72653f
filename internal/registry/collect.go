package registry

import (
	"context"
	"path"

	"github.com/opencontainers/go-digest"
)

// sweepReferrers removes the entries of manifests that are gone.
func (s *store) sweepReferrers(ctx context.Context, dryRun bool) (int, error) {
	removed := 0
	err := s.repositories(ctx, func(repo string) error {
		subjects, err := s.digests(ctx, subjectsDir(repo))
		if err != nil {
			return err
		}
		for _, subject := range subjects {
			n, err := s.sweepSubject(ctx, repo, subject, dryRun)
			removed += n
			if err != nil {
				return err
			}
		}
		return nil
	})
	return removed, err
}

// sweepSubject works alone: a push writes its entry before its manifest.
func (s *store) sweepSubject(ctx context.Context, repo string, subject digest.Digest, dryRun bool) (int, error) {
	release, err := s.locks.exclusive(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	names, err := s.names(ctx, subjectDir(repo, subject))
	if err != nil {
		return 0, err
	}
	removed := 0
	for _, name := range names {
		d, ok := entryDigest(name)
		if !ok {
			continue
		}
		if _, live, err := s.revision(ctx, repo, d); err != nil {
			return removed, err
		} else if live {
			continue
		}
		removed++
		if dryRun {
			continue
		}
		if err := s.remove(ctx, path.Join(subjectDir(repo, subject), name)); err != nil {
			return removed, err
		}
	}
	return removed, nil
}
