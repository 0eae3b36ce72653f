package registry

import (
	"context"
	"errors"
	"os"
	"path"
	"sort"
	"strings"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// store is what lies under the registry: the distribution project's layout, documented
// in its registry/storage/paths.go, and our own tree beside it.
type store struct {
	driver   storagedriver.StorageDriver
	root     string // the local folder; "" for an object store
	locks    *locks
	readOnly bool
}

const (
	layoutRoot   = "/docker/registry/v2"
	reposRoot    = layoutRoot + "/repositories"
	blobsRoot    = layoutRoot + "/blobs"
	referrerRoot = "/plimsoll/referrers/v1"
)

func blobDir(d digest.Digest) string {
	return path.Join(blobsRoot, d.Algorithm().String(), d.Encoded()[:2], d.Encoded())
}

func repoDir(repo string) string { return path.Join(reposRoot, repo) }

func revisionsDir(repo string) string { return path.Join(repoDir(repo), "_manifests", "revisions") }

func revisionDir(repo string, d digest.Digest) string {
	return path.Join(revisionsDir(repo), d.Algorithm().String(), d.Encoded())
}

func tagsDir(repo string) string { return path.Join(repoDir(repo), "_manifests", "tags") }

func tagLink(repo, tag string) string { return path.Join(tagsDir(repo), tag, "current", "link") }

func layersDir(repo string) string { return path.Join(repoDir(repo), "_layers") }

func layerLink(repo string, d digest.Digest) string {
	return path.Join(layersDir(repo), d.Algorithm().String(), d.Encoded(), "link")
}

// isMissing says whether the driver found nothing at a path.
func isMissing(err error) bool {
	return errors.As(err, new(storagedriver.PathNotFoundError)) || errors.Is(err, os.ErrNotExist) ||
		errors.Is(err, unix.ENOTDIR)
}

// names lists what lies in a folder, sorted, without what an interrupted write left.
// A folder that is not there holds nothing.
func (s *store) names(ctx context.Context, dir string) ([]string, error) {
	paths, err := s.driver.List(ctx, dir)
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(paths))
	for _, p := range paths {
		if name := path.Base(p); !strings.HasSuffix(name, ".tmp") {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names, nil
}

// digests lists <alg>/<hex> under a folder.
func (s *store) digests(ctx context.Context, dir string) ([]digest.Digest, error) {
	algs, err := s.names(ctx, dir)
	if err != nil {
		return nil, err
	}
	var found []digest.Digest
	for _, alg := range algs {
		hexes, err := s.names(ctx, path.Join(dir, alg))
		if err != nil {
			return nil, err
		}
		for _, hex := range hexes {
			if d := digest.NewDigestFromEncoded(digest.Algorithm(alg), hex); d.Validate() == nil {
				found = append(found, d)
			}
		}
	}
	return found, nil
}

// link reads a link file: the canonical digest of what it names. ok is false when there
// is none.
func (s *store) link(ctx context.Context, file string) (d digest.Digest, ok bool, err error) {
	content, err := s.driver.GetContent(ctx, file)
	if isMissing(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, err
	}
	d, err = digest.Parse(string(content))
	return d, err == nil, err
}

// revision gives the canonical digest of a manifest the repository holds.
func (s *store) revision(ctx context.Context, repo string, d digest.Digest) (digest.Digest, bool, error) {
	return s.link(ctx, path.Join(revisionDir(repo, d), "link"))
}

// manifest reads a manifest of the repository; ok is false when it holds none such.
func (s *store) manifest(ctx context.Context, repo string, d digest.Digest) (content []byte, ok bool, err error) {
	canonical, ok, err := s.revision(ctx, repo, d)
	if err != nil || !ok {
		return nil, false, err
	}
	content, err = s.driver.GetContent(ctx, path.Join(blobDir(canonical), "data"))
	if isMissing(err) {
		return nil, false, nil
	}
	return content, err == nil, err
}

// repositories calls each for every repository that has manifests, layers or uploads,
// in lexical order.
func (s *store) repositories(ctx context.Context, each func(repo string) error) error {
	return s.repositoriesUnder(ctx, "", each)
}

func (s *store) repositoriesUnder(ctx context.Context, repo string, each func(repo string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	children, err := s.names(ctx, repoDir(repo))
	if err != nil {
		return err
	}
	isRepo := false
	for _, c := range children {
		isRepo = isRepo || c == "_manifests" || c == "_layers" || c == "_uploads"
	}
	if isRepo && repo != "" {
		if err := each(repo); err != nil {
			return err
		}
	}
	for _, c := range children {
		if strings.HasPrefix(c, "_") {
			continue
		}
		if err := s.repositoriesUnder(ctx, path.Join(repo, c), each); err != nil {
			return err
		}
	}
	return nil
}

// remove deletes a path; one that is not there is no error.
func (s *store) remove(ctx context.Context, p string) error {
	if err := s.driver.Delete(ctx, p); err != nil && !isMissing(err) {
		return err
	}
	return nil
}

// layer gives the canonical digest of a blob the repository holds.
func (s *store) layer(ctx context.Context, repo string, d digest.Digest) (digest.Digest, bool, error) {
	return s.link(ctx, layerLink(repo, d))
}

// holds says whether the repository has a blob: that it is linked, and its content there.
func (s *store) holds(ctx context.Context, repo string, d digest.Digest) (bool, error) {
	canonical := d
	var ok bool
	var err error
	if d.Algorithm() == digest.Canonical {
		// Such a link says nothing but its own name, so it need not be read.
		ok, err = s.exists(ctx, layerLink(repo, d))
	} else {
		canonical, ok, err = s.layer(ctx, repo, d)
	}
	if err != nil || !ok {
		return false, err
	}
	return s.hasData(ctx, canonical)
}

func (s *store) hasData(ctx context.Context, canonical digest.Digest) (bool, error) {
	return s.exists(ctx, path.Join(blobDir(canonical), "data"))
}

func (s *store) exists(ctx context.Context, file string) (bool, error) {
	_, err := s.driver.Stat(ctx, file)
	if isMissing(err) {
		return false, nil
	}
	return err == nil, err
}
