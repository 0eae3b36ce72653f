package registry

import (
	"context"
	"path"
	"time"

	"github.com/opencontainers/go-digest"
)

// node is a manifest of one repository, with what it holds on to.
type node struct {
	digest  digest.Digest // canonical
	names   []digest.Digest
	content []byte
	holds   []digest.Digest // canonical digests of its parts
	subject digest.Digest   // canonical; "" for none
	young   bool
}

// sweepUntagged removes the manifests of one repository that nothing holds. It works
// alone, so that no tag can come to hold what is about to go.
func (c *collection) sweepUntagged(ctx context.Context, repo string) error {
	before := c.before
	if c.o.UntaggedAfter != nil {
		stays, ok := c.o.UntaggedAfter(repo)
		if !ok {
			return nil
		}
		if limit := time.Now().Add(-stays); limit.Before(before) {
			before = limit
		}
	}
	release, err := c.locks.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	nodes, err := c.nodes(ctx, repo, before)
	if err != nil {
		return err
	}
	roots, err := c.roots(ctx, repo, nodes)
	if err != nil {
		return err
	}
	live := reach(nodes, roots)
	for _, n := range parentsFirst(nodes, live) {
		c.report.Manifests++
		if c.o.DryRun {
			for _, name := range n.names {
				c.marks.spurned[repo+"@"+name.String()] = true
			}
			continue
		}
		if err := c.forget(ctx, repo, n.content); err != nil {
			return err
		}
	}
	return nil
}

// nodes gives the manifests of a repository; those from before are not young.
func (c *collection) nodes(ctx context.Context, repo string, before time.Time) (map[digest.Digest]*node, error) {
	revisions, err := c.digests(ctx, revisionsDir(repo))
	if err != nil {
		return nil, err
	}
	nodes := map[digest.Digest]*node{}
	for _, d := range revisions {
		content, ok, err := c.manifest(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		if !ok {
			continue
		}
		n := nodes[digest.FromBytes(content)]
		if n == nil {
			if n, err = c.node(ctx, repo, content); err != nil {
				return nil, err
			}
			nodes[n.digest] = n
		}
		n.names = append(n.names, d)
		_, old, err := c.old(ctx, path.Join(revisionDir(repo, d), "link"), before)
		if err != nil {
			return nil, err
		}
		n.young = n.young || !old
	}
	return nodes, nil
}

func (c *collection) node(ctx context.Context, repo string, content []byte) (*node, error) {
	n := &node{digest: digest.FromBytes(content), content: content}
	m, err := parseStored(content)
	if err != nil {
		n.young = true // what cannot be read is kept
		return n, nil
	}
	for _, need := range m.needs() {
		d, ok, err := c.canonical(ctx, repo, need)
		if err != nil {
			return nil, err
		}
		if ok {
			n.holds = append(n.holds, d)
		}
	}
	if m.Subject != nil {
		n.subject, _, err = c.canonical(ctx, repo, m.Subject.Digest)
	}
	return n, err
}

// roots gives the manifests that tags name, those to be retained and those too young to be
// judged.
func (c *collection) roots(ctx context.Context, repo string, nodes map[digest.Digest]*node) ([]digest.Digest, error) {
	tags, err := c.names(ctx, tagsDir(repo))
	if err != nil {
		return nil, err
	}
	named, err := c.resolveTags(ctx, repo, tags)
	if err != nil {
		return nil, err
	}
	var roots []digest.Digest
	kept := keepsSignaturesOnly(tags)
	for i, d := range named {
		canonical, ok, err := c.canonical(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		if !ok || c.o.DryRun && c.o.Gone != nil && c.o.Gone(repo, tags[i]) {
			continue
		}
		if subject := signedBelow(tags[i]); subject != "" && !kept && nodes[canonical] != nil {
			nodes[canonical].subject = subject // it lives as long as what it speaks of
			continue
		}
		roots = append(roots, canonical)
	}
	for d, n := range nodes {
		if n.young || c.o.Retain != nil && c.o.Retain(repo, d) {
			roots = append(roots, d)
		}
	}
	return roots, nil
}

// reach gives all that the roots hold: their parts, the referrers of what is live, and
// the parts of those.
func reach(nodes map[digest.Digest]*node, roots []digest.Digest) map[digest.Digest]bool {
	referrers := map[digest.Digest][]digest.Digest{}
	for d, n := range nodes {
		if n.subject != "" {
			referrers[n.subject] = append(referrers[n.subject], d)
		}
	}
	live := map[digest.Digest]bool{}
	for len(roots) > 0 {
		d := roots[len(roots)-1]
		roots = roots[:len(roots)-1]
		if live[d] {
			continue
		}
		live[d] = true
		roots = append(roots, referrers[d]...)
		if n := nodes[d]; n != nil {
			roots = append(roots, n.holds...)
		}
	}
	return live
}

// parentsFirst gives the dead, each after all that hold it: a kill between two removals
// leaves no index whose images are gone.
func parentsFirst(nodes map[digest.Digest]*node, live map[digest.Digest]bool) []*node {
	held := map[digest.Digest]int{}
	for d, n := range nodes {
		for _, part := range n.holds {
			if !live[d] {
				held[part]++
			}
		}
	}
	var ready, order []*node
	for d, n := range nodes {
		if !live[d] && held[d] == 0 {
			ready = append(ready, n)
		}
	}
	for len(ready) > 0 {
		n := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		order = append(order, n)
		for _, part := range n.holds {
			if held[part]--; held[part] == 0 && nodes[part] != nil && !live[part] {
				ready = append(ready, nodes[part])
			}
		}
	}
	return order
}

// sweepTags removes what a killed push or deletion left of a tag. No client sees such a
// tag; it only takes room.
func (c *collection) sweepTags(ctx context.Context, repo string) error {
	dead, err := c.deadTags(ctx, repo)
	if err != nil || len(dead) == 0 || c.root == "" {
		return err
	}
	release, err := c.locks.exclusive(ctx)
	if err != nil {
		return err
	}
	defer release()
	if dead, err = c.deadTags(ctx, repo); err != nil {
		return err
	}
	for _, tag := range dead {
		c.report.Tags++
		if c.o.DryRun {
			continue
		}
		if err := c.remove(ctx, path.Join(tagsDir(repo), tag)); err != nil {
			return err
		}
	}
	return nil
}

func (c *collection) deadTags(ctx context.Context, repo string) ([]string, error) {
	tags, err := c.names(ctx, tagsDir(repo))
	if err != nil {
		return nil, err
	}
	named, err := c.resolveTags(ctx, repo, tags)
	if err != nil {
		return nil, err
	}
	var dead []string
	for i, d := range named {
		if d != "" {
			continue
		}
		if _, old, err := c.old(ctx, path.Join(tagsDir(repo), tags[i]), c.before); err != nil {
			return nil, err
		} else if old {
			dead = append(dead, tags[i])
		}
	}
	return dead, nil
}

// sweepUploads gives up uploads that have stood still for long.
func (c *collection) sweepUploads(ctx context.Context, repo string) error {
	dir := path.Join(repoDir(repo), "_uploads")
	ids, err := c.names(ctx, dir)
	if err != nil {
		return err
	}
	limit := c.before.Add(c.o.Grace - c.o.Uploads)
	for _, id := range ids {
		stale := false
		for _, file := range []string{"data", "startedat"} {
			_, old, err := c.old(ctx, path.Join(dir, id, file), limit)
			if err != nil {
				return err
			}
			if stale = old; old {
				break
			}
			if _, err := c.driver.Stat(ctx, path.Join(dir, id, file)); err == nil {
				break // the data is younger than the start
			}
		}
		if !stale {
			continue
		}
		c.report.Uploads++
		if c.o.DryRun {
			continue
		}
		if err := c.remove(ctx, path.Join(dir, id)); err != nil {
			return err
		}
	}
	return nil
}

// sweepReferrers removes the entries of manifests that are gone.
func (s *store) sweepReferrers(ctx context.Context, dryRun bool) (int, error) {
	removed := 0
	err := s.repositories(ctx, func(repo string) error {
		subjects, err := s.digests(ctx, subjectsDir(repo))
		if err != nil {
			return err
		}
		for _, subject := range subjects {
			// Most subjects have nothing to sweep, and that needs no lock.
			stale, err := s.staleEntries(ctx, repo, subject)
			if err != nil {
				return err
			}
			if dryRun || len(stale) == 0 {
				removed += len(stale)
				continue
			}
			n, err := s.sweepSubject(ctx, repo, subject)
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
func (s *store) sweepSubject(ctx context.Context, repo string, subject digest.Digest) (int, error) {
	release, err := s.locks.exclusive(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	stale, err := s.staleEntries(ctx, repo, subject)
	if err != nil {
		return 0, err
	}
	for i, d := range stale {
		if err := s.remove(ctx, entryPath(repo, subject, d)); err != nil {
			return i, err
		}
	}
	return len(stale), nil
}

func (s *store) staleEntries(ctx context.Context, repo string, subject digest.Digest) ([]digest.Digest, error) {
	names, err := s.names(ctx, subjectDir(repo, subject))
	if err != nil {
		return nil, err
	}
	var stale []digest.Digest
	for _, name := range names {
		d, ok := entryDigest(name)
		if !ok {
			continue
		}
		_, live, err := s.revision(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		if !live {
			stale = append(stale, d)
		}
	}
	return stale, nil
}
