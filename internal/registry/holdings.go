package registry

import (
	"context"
	"path"
	"strings"
	"time"

	storagedriver "github.com/distribution/distribution/v3/registry/storage/driver"
	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Holdings is what a repository holds.
type Holdings struct {
	Blobs   []digest.Digest   // by canonical digest, manifests included, each once
	Tags    []string          // that resolve
	Uploads map[string]Upload // those under way, by id
}

// Upload is what came of a blob so far.
type Upload struct {
	Bytes   int64
	Changed time.Time // when the last of it came; zero while nothing did
}

// Tagged is a tag as it stands.
type Tagged struct {
	Name   string
	Digest digest.Digest // as the manifest's author names it
	Pushed time.Time     // when the tag was last pushed, as the storage tells
}

// Reachable gives why the store cannot be read; nil when it can.
func (r *Registry) Reachable(ctx context.Context) error {
	if _, err := r.store.driver.Stat(ctx, "/"); err != nil && !isMissing(err) {
		return storeFault("read registry", "", err)
	}
	return nil
}

// Repositories calls each for every repository, in lexical order. Errors are *fault.Error,
// and those of each.
func (r *Registry) Repositories(ctx context.Context, each func(repository string) error) error {
	return storeFault("list repositories", "", r.store.repositories(ctx, each))
}

// Sizes gives the bytes of every blob in the store by its canonical digest. Errors are
// *fault.Error.
func (r *Registry) Sizes(ctx context.Context) (map[digest.Digest]int64, error) {
	sizes := map[digest.Digest]int64{}
	err := r.store.driver.Walk(ctx, blobsRoot, func(info storagedriver.FileInfo) error {
		dir, file := path.Split(info.Path())
		alg := path.Base(path.Dir(path.Dir(path.Clean(dir))))
		if d := digest.NewDigestFromEncoded(digest.Algorithm(alg), path.Base(dir)); !info.IsDir() && file == "data" && d.Validate() == nil {
			sizes[d] = info.Size()
		}
		return ctx.Err()
	})
	if isMissing(err) { // nothing was ever pushed, or it was collected meanwhile
		err = nil
	}
	return sizes, storeFault("measure registry", "", err)
}

// Holdings gives what a repository holds. Errors are *fault.Error.
func (r *Registry) Holdings(ctx context.Context, repository string) (Holdings, error) {
	h, err := r.store.holdings(ctx, repository)
	return h, storeFault("measure repository", repository, err)
}

func (s *store) holdings(ctx context.Context, repo string) (h Holdings, err error) {
	seen := map[digest.Digest]bool{}
	for dir, resolve := range map[string]func(context.Context, string, digest.Digest) (digest.Digest, bool, error){
		layersDir(repo): s.layer, revisionsDir(repo): s.revision,
	} {
		names, err := s.digests(ctx, dir)
		if err != nil {
			return h, err
		}
		for _, d := range names {
			if d.Algorithm() != digest.Canonical { // else its link says nothing but its name
				var ok bool
				if d, ok, err = resolve(ctx, repo, d); err != nil {
					return h, err
				} else if !ok {
					continue
				}
			}
			if !seen[d] {
				seen[d] = true
				h.Blobs = append(h.Blobs, d)
			}
		}
	}
	if h.Tags, _, err = s.liveTags(ctx, repo, "", -1); err != nil {
		return h, err
	}
	h.Uploads, err = s.uploads(ctx, repo)
	return h, err
}

func (s *store) uploads(ctx context.Context, repo string) (map[string]Upload, error) {
	dir := path.Join(repoDir(repo), "_uploads")
	ids, err := s.names(ctx, dir)
	if err != nil {
		return nil, err
	}
	uploads := map[string]Upload{}
	for _, id := range ids {
		info, err := s.driver.Stat(ctx, path.Join(dir, id, "data"))
		switch {
		case isMissing(err):
			uploads[id] = Upload{} // an object store shows it only when all is there
		case err != nil:
			return nil, err
		default:
			uploads[id] = Upload{info.Size(), info.ModTime()}
		}
	}
	return uploads, nil
}

// Size gives the bytes of a blob or manifest of the repository, and its canonical digest; ok
// is false when the repository has none such. Errors are *fault.Error.
func (r *Registry) Size(ctx context.Context, repository string, d digest.Digest) (canonical digest.Digest, size int64, ok bool, err error) {
	canonical, size, ok, err = r.store.size(ctx, repository, d)
	return canonical, size, ok, storeFault("measure blob", repository+"@"+d.String(), err)
}

func (s *store) size(ctx context.Context, repo string, d digest.Digest) (digest.Digest, int64, bool, error) {
	if !call.IsRepository(repo) || d.Validate() != nil {
		return "", 0, false, nil
	}
	canonical, ok, err := s.layer(ctx, repo, d)
	if err == nil && !ok {
		canonical, ok, err = s.revision(ctx, repo, d)
	}
	if err != nil || !ok {
		return "", 0, false, err
	}
	info, err := s.driver.Stat(ctx, path.Join(blobDir(canonical), "data"))
	if isMissing(err) {
		return "", 0, false, nil
	}
	if err != nil {
		return "", 0, false, err
	}
	return canonical, info.Size(), true, nil
}

// Tags gives the tags of a repository that resolve, in lexical order. Errors are
// *fault.Error.
func (r *Registry) Tags(ctx context.Context, repository string) ([]Tagged, error) {
	tags, err := r.store.tagged(ctx, repository)
	return tags, storeFault("list tags", repository, err)
}

func (s *store) tagged(ctx context.Context, repo string) ([]Tagged, error) {
	names, _, err := s.liveTags(ctx, repo, "", -1)
	if err != nil {
		return nil, err
	}
	digests, err := s.resolveTags(ctx, repo, names)
	if err != nil {
		return nil, err
	}
	tags := make([]Tagged, 0, len(names))
	for i, name := range names {
		info, err := s.driver.Stat(ctx, tagLink(repo, name))
		switch {
		case isMissing(err), digests[i] == "": // deleted since it was listed
		case err != nil:
			return nil, err
		default:
			tags = append(tags, Tagged{name, digests[i], info.ModTime()})
		}
	}
	return tags, nil
}

// Within gives the canonical digests of the manifest that a tag or digest names and of all
// manifests below it; none when there is no such manifest. Errors are *fault.Error.
func (r *Registry) Within(ctx context.Context, repository, reference string) ([]digest.Digest, error) {
	within, err := r.store.within(ctx, repository, reference)
	return within, storeFault("read manifest", repository, err)
}

// maxWithin bounds the manifests below one.
const maxWithin = 10_000

func (s *store) within(ctx context.Context, repo, reference string) ([]digest.Digest, error) {
	var found []digest.Digest
	seen := map[string]bool{reference: true}
	for todo := []string{reference}; len(todo) > 0 && len(found) < maxWithin; todo = todo[1:] {
		_, content, err := s.find(ctx, call.Endpoint{Kind: call.KindManifest, Repository: repo, Reference: todo[0]})
		if err != nil {
			return nil, err
		}
		if content == nil {
			continue
		}
		found = append(found, digest.FromBytes(content))
		m, err := parseStored(content)
		if err != nil {
			continue // it names nothing that anybody could read
		}
		for _, d := range m.Manifests {
			if name := d.Digest.String(); d.Digest.Validate() == nil && !seen[name] {
				seen[name] = true
				todo = append(todo, name)
			}
		}
	}
	return found, nil
}

// Untag removes a tag if it still names that manifest, and says whether it did. Blobs and
// manifests stay until they are collected. Errors are *fault.Error.
func (r *Registry) Untag(ctx context.Context, repository, tag string, was digest.Digest) (bool, error) {
	release, err := r.store.locks.exclusive(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	is, ok, err := r.store.link(ctx, tagLink(repository, tag))
	if err != nil || !ok || is != was || strings.Contains(tag, "/") {
		return false, storeFault("untag", repository+":"+tag, err)
	}
	err = r.store.remove(ctx, path.Join(tagsDir(repository), tag))
	return err == nil, storeFault("untag", repository+":"+tag, err)
}
