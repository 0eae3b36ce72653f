package registry

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// contents is what is known of which manifest refers to which blob, by repository. It is
// learned from what is pushed and pulled here, and read from the store when that does not
// answer. Repositories not asked about for long are forgotten. Whoever only looks something up
// waits for nobody: every pull does.
type contents struct {
	clock atomic.Uint64
	mu    sync.RWMutex
	repos map[string]*holdings
	refs  int
}

// maxRefs is how many manifests and references to blobs are kept: some 200 bytes each, 50 MB
// in all. One repository that has more is kept while it is the one asked about.
const maxRefs = 1 << 18

// lookAgain is how old a look at the store may be that refuses a blob. Only a blob whose
// manifest another process took in meanwhile, and gave out, is refused by it.
const lookAgain = time.Second

// holdings is what is known of one repository.
type holdings struct {
	used atomic.Uint64 // when it was last asked about, by the clock of contents
	refs int           // guarded by the lock of contents

	looking            chan struct{} // filled by who reads the store
	looked, lookedTags time.Time     // when that was last begun

	mu    sync.RWMutex
	items map[digest.Digest]*item    // by canonical digest
	users map[digest.Digest][]*item  // by a blob's
	tags  map[digest.Digest][]string // sha256-….sig and its like, that named a manifest
}

// item is what is known of one manifest.
type item struct {
	digest  digest.Digest // canonical
	subject digest.Digest // that it names; "" for none
	typed   bool          // all it refers to is of types of evidence
	proven  atomic.Pointer[bool]
}

// of gives what is known of a repository.
func (c *contents) of(repo string) *holdings {
	c.mu.RLock()
	h := c.repos[repo]
	c.mu.RUnlock()
	if h == nil {
		h = c.begin(repo)
	}
	h.used.Store(c.clock.Add(1))
	return h
}

func (c *contents) begin(repo string) *holdings {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.repos[repo]; h != nil {
		return h
	}
	if c.repos == nil {
		c.repos = map[string]*holdings{}
	}
	h := &holdings{looking: make(chan struct{}, 1), items: map[digest.Digest]*item{}, users: map[digest.Digest][]*item{}, tags: map[digest.Digest][]string{}}
	c.repos[repo] = h
	return h
}

// grew counts what became known of a repository, or with less than none was forgotten, and
// forgets others where it is too much.
func (c *contents) grew(repo string, h *holdings, refs int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.repos[repo] != h {
		return // forgotten meanwhile
	}
	h.refs += refs
	c.refs += refs
	for c.refs > maxRefs && len(c.repos) > 1 {
		oldest := repo
		for name, other := range c.repos {
			if oldest == repo || name != repo && other.used.Load() < c.repos[oldest].used.Load() {
				oldest = name
			}
		}
		c.refs -= c.repos[oldest].refs
		delete(c.repos, oldest)
	}
}

func (h *holdings) item(canonical digest.Digest) *item {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.items[canonical]
}

// usersOf gives the manifests that refer to a blob.
func (h *holdings) usersOf(blob digest.Digest) []*item {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.users[blob])
}

// tagsOf gives the tags that keep evidence and named a manifest when they were last seen.
func (h *holdings) tagsOf(canonical digest.Digest) []string {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return slices.Clone(h.tags[canonical])
}

// add notes a manifest and what it refers to, and gives the one that was known already.
func (h *holdings) add(it *item, blobs []digest.Digest) (*item, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known := h.items[it.digest]; known != nil {
		return known, false
	}
	h.items[it.digest] = it
	for _, blob := range blobs {
		h.users[blob] = append(h.users[blob], it)
	}
	return it, true
}

// tag notes which tags name a manifest, and gives how many are new.
func (h *holdings) tag(it *item, names []string) (added int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		if signedBelow(name) != "" && !slices.Contains(h.tags[it.digest], name) {
			h.tags[it.digest] = append(h.tags[it.digest], name)
			added++
		}
	}
	return added
}

// prefer puts a manifest first among those that refer to a blob: it answered, and will again.
func (h *holdings) prefer(blob digest.Digest, it *item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if users := h.users[blob]; len(users) > 0 && users[0] != it {
		if i := slices.Index(users, it); i > 0 {
			users[0], users[i] = it, users[0]
		}
	}
}

// forget drops manifests that are gone, and gives how much went with them.
func (h *holdings) forget(gone map[digest.Digest]bool) (refs int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for d := range gone {
		refs += 1 + len(h.tags[d])
		delete(h.items, d)
		delete(h.tags, d)
	}
	for blob, users := range h.users {
		left := slices.DeleteFunc(slices.Clone(users), func(it *item) bool { return gone[it.digest] })
		refs += len(users) - len(left)
		h.users[blob] = left
		if len(left) == 0 {
			delete(h.users, blob)
		}
	}
	return refs
}

// learn notes a manifest of the repository by its content, and the tags that name it.
func (q *quarantine) learn(ctx context.Context, repo string, content []byte, tags ...string) (*item, error) {
	h, d := q.contents.of(repo), digest.FromBytes(content)
	it := h.item(d)
	if it == nil {
		read, blobs, err := q.read(ctx, repo, d, content)
		if err != nil {
			return nil, err
		}
		added := false
		if it, added = h.add(read, blobs); added {
			q.contents.grew(repo, h, 1+len(blobs))
		}
	}
	if it.typed && h.tag(it, tags) > 0 {
		q.contents.grew(repo, h, 1)
	}
	return it, nil
}

// read gives what is to be known of a manifest, and the canonical digests of its blobs. One
// that cannot be read has none.
func (q *quarantine) read(ctx context.Context, repo string, d digest.Digest, content []byte) (*item, []digest.Digest, error) {
	it := &item{digest: d}
	m, err := parseStored(content)
	if err != nil {
		return it, nil, nil
	}
	var blobs []digest.Digest
	for _, blob := range m.blobs() {
		canonical, ok, err := q.store.canonical(ctx, repo, blob.Digest)
		if err != nil {
			return nil, nil, err
		}
		if ok {
			blobs = append(blobs, canonical)
		}
	}
	slices.Sort(blobs)
	blobs = slices.Compact(blobs)
	// Another registry may have taken in what readers understand in two ways.
	if strict, err := parseManifest(content); err == nil && strict.ofEvidence() {
		it.typed = true
		if strict.Subject != nil {
			it.subject = strict.Subject.Digest
		}
	}
	return it, blobs, nil
}

// look reads the manifests of a repository that are not known yet, and forgets those that are
// gone.
func (q *quarantine) look(ctx context.Context, repo string) error {
	h := q.contents.of(repo)
	return h.once(ctx, &h.looked, func() error {
		listed, err := q.store.digests(ctx, revisionsDir(repo))
		if err != nil {
			return err
		}
		gone := h.all()
		g, each := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for _, d := range listed {
			if d.Algorithm() != digest.Canonical { // that one is listed, too
				continue
			}
			if gone[d] {
				delete(gone, d)
				continue
			}
			g.Go(func() error {
				_, err := q.item(each, repo, d)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if len(gone) > 0 {
			q.contents.grew(repo, h, -h.forget(gone))
		}
		return nil
	})
}

// all gives the manifests that are known.
func (h *holdings) all() map[digest.Digest]bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := make(map[digest.Digest]bool, len(h.items))
	for d := range h.items {
		known[d] = true
	}
	return known
}

// lookAtTags reads which manifests the tags name that keep evidence.
func (q *quarantine) lookAtTags(ctx context.Context, repo string) error {
	h := q.contents.of(repo)
	return h.once(ctx, &h.lookedTags, func() error {
		names, err := q.store.names(ctx, tagsDir(repo))
		if err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(tag string) bool { return signedBelow(tag) == "" })
		g, each := errgroup.WithContext(ctx)
		g.SetLimit(8)
		for _, tag := range names {
			g.Go(func() error {
				d, err := q.tagged(each, repo, tag)
				if it := h.item(d); it != nil && it.typed {
					q.contents.grew(repo, h, h.tag(it, []string{tag}))
				}
				return err
			})
		}
		return g.Wait()
	})
}

// once reads the store, one reader at a time, unless that was just done.
func (h *holdings) once(ctx context.Context, last *time.Time, read func() error) error {
	select {
	case h.looking <- struct{}{}:
		defer func() { <-h.looking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if time.Since(*last) < lookAgain {
		return nil
	}
	begun := time.Now()
	if err := read(); err != nil {
		return err
	}
	*last = begun
	return nil
}
