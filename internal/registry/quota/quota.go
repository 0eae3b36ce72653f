// Package quota takes what a store holds and what is written to it, and gives how much each
// project has of what it may have; what would be more is refused.
//
// A blob counts once for a project, however many of its repositories name it, and so does an
// upload under way. Counts are made from the store when they are opened, and again from time
// to time: what other processes wrote is known only then.
package quota

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Options of Open.
type Options struct {
	// Every is how often all is counted anew. Zero: one hour.
	Every time.Duration
	// Logger gets counts that failed. Nil: nothing is logged.
	Logger *slog.Logger
}

// Quotas knows what each project holds. It is safe for concurrent use.
type Quotas struct {
	store *registry.Registry
	now   func() *settings.Settings
	o     Options

	mu       sync.Mutex
	projects map[string]*project // "" is of repositories that belong to none
	uploads  map[upload]*reservation
	counted  *settings.Settings // by which repositories were last counted
	later    []func()           // what came while a count is made; nil while none is
	started  bool               // all was counted once
	counting sync.Mutex
}

// project is what one holds.
type project struct {
	blobs    map[digest.Digest]int64 // canonical
	bytes    int64                   // of those
	reserved int64                   // of uploads and requests under way
	tags     map[string]map[string]bool
	entering map[string]int // repositories, and tags as "repository:tag", that requests under way may make
}

func newProject() *project {
	return &project{blobs: map[digest.Digest]int64{}, tags: map[string]map[string]bool{}, entering: map[string]int{}}
}

// upload names an upload under way.
type upload struct{ repository, id string }

// reservation is what an upload has taken.
type reservation struct {
	project string
	bytes   int64
	touched time.Time
}

// Open counts what is in the store. now gives the settings; nil ones, and projects without a
// quota, bound nothing. Errors are *fault.Error.
func Open(ctx context.Context, store *registry.Registry, now func() *settings.Settings, o Options) (*Quotas, error) {
	if o.Every == 0 {
		o.Every = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	q := &Quotas{store: store, now: now, o: o, projects: map[string]*project{}, uploads: map[upload]*reservation{}}
	return q, q.Recount(ctx)
}

// Check is the settings' check of quotas.
func Check(s *settings.Settings) *manifest.Problem {
	for i, p := range s.Projects {
		if p.Quota == nil {
			continue
		}
		field := fmt.Sprintf("spec.projects[%d].quota", i)
		switch {
		case p.Quota.Bytes.Sign() < 0:
			return manifest.Bad(field+".bytes", "it cannot be negative")
		case p.Quota.Repositories < 0:
			return manifest.Bad(field+".repositories", "it cannot be negative")
		case p.Quota.Tags < 0:
			return manifest.Bad(field+".tags", "it cannot be negative")
		}
	}
	return nil
}

// Run counts anew from time to time, and when repositories have come to belong to other
// projects, until ctx ends.
func (q *Quotas) Run(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		q.mu.Lock()
		moved := !sameProjects(q.counted, q.now())
		q.mu.Unlock()
		if !moved && time.Since(last) < q.o.Every {
			continue
		}
		if err := q.Recount(ctx); err != nil && ctx.Err() == nil {
			q.o.Logger.Error("what projects hold cannot be counted", "error", err)
		}
		last = time.Now()
	}
}

// sameProjects says whether repositories belong to the same projects by both.
func sameProjects(a, b *settings.Settings) bool {
	if a == b {
		return true
	}
	names := func(s *settings.Settings) (names []string) {
		if s != nil {
			for _, p := range s.Projects {
				names = append(names, p.Name)
			}
		}
		slices.Sort(names)
		return names
	}
	return slices.Equal(names(a), names(b))
}

// Recount counts what is in the store. Requests go on meanwhile: what they change is changed
// in the new counts as well. Errors are *fault.Error.
func (q *Quotas) Recount(ctx context.Context) error {
	q.counting.Lock()
	defer q.counting.Unlock()
	now, began := q.now(), time.Now()
	q.mu.Lock()
	q.later = []func(){}
	q.mu.Unlock()

	fresh, uploads, err := q.count(ctx, now)

	q.mu.Lock()
	defer q.mu.Unlock()
	later := q.later
	q.later = nil
	if err != nil {
		return err
	}
	for name, p := range q.projects { // what is under way goes on
		if p.reserved == 0 && len(p.entering) == 0 {
			continue
		}
		if fresh[name] == nil {
			fresh[name] = newProject()
		}
		fresh[name].entering = p.entering
		fresh[name].reserved = p.reserved
	}
	q.projects, q.counted = fresh, now
	for _, change := range later {
		change()
	}
	q.adopt(uploads, began)
	return nil
}

// count gives what the store holds now, by project, and the uploads under way.
func (q *Quotas) count(ctx context.Context, now *settings.Settings) (map[string]*project, map[upload]*reservation, error) {
	fresh, uploads := map[string]*project{}, map[upload]*reservation{}
	sizes, err := q.store.Sizes(ctx)
	if err != nil {
		return nil, nil, err
	}
	err = q.store.Repositories(ctx, func(repository string) error {
		h, err := q.store.Holdings(ctx, repository)
		if err != nil {
			return err
		}
		if len(h.Blobs)+len(h.Uploads) == 0 {
			return nil // all of it was collected
		}
		name := projectOf(now, repository)
		p := fresh[name]
		if p == nil {
			p = newProject()
			fresh[name] = p
		}
		for _, d := range h.Blobs {
			if size, ok := sizes[d]; ok {
				p.add(d, size)
			}
		}
		p.setTags(repository, h.Tags)
		for id, u := range h.Uploads {
			uploads[upload{repository, id}] = &reservation{project: name, bytes: u.Bytes, touched: u.Changed}
		}
		return nil
	})
	return fresh, uploads, err
}

// settled is after how long without a byte an upload is none of a request under way.
const settled = 10 * time.Minute

// adopt takes over what the store held of uploads when a count began. One that is not known
// yet, but young, is of a request under way, which has taken room for it; there are none at
// the start.
func (q *Quotas) adopt(found map[upload]*reservation, began time.Time) {
	for key, r := range q.uploads {
		switch is := found[key]; {
		case !r.touched.Before(began):
		case is == nil:
			q.release(key)
		default:
			q.of(r.project).reserved += is.bytes - r.bytes
			r.bytes = is.bytes
		}
	}
	for key, r := range found {
		if q.uploads[key] == nil && (!q.started || began.Sub(r.touched) > settled) {
			q.uploads[key] = r
			q.of(r.project).reserved += r.bytes
		}
	}
	q.started = true
}

// release gives back what an upload has taken. The lock is held.
func (q *Quotas) release(key upload) {
	if r := q.uploads[key]; r != nil {
		q.of(r.project).reserved -= r.bytes
		delete(q.uploads, key)
	}
}

// of gives what the project holds. The lock is held.
func (q *Quotas) of(name string) *project {
	p := q.projects[name]
	if p == nil {
		p = newProject()
		q.projects[name] = p
	}
	return p
}

// change changes what a project holds, also in counts that are being made. The change must
// come to the same when it is made twice.
func (q *Quotas) change(name string, change func(*project)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	change(q.of(name))
	if q.later != nil {
		q.later = append(q.later, func() { change(q.of(name)) })
	}
}

func (p *project) add(d digest.Digest, size int64) {
	if _, ok := p.blobs[d]; !ok {
		p.blobs[d] = size
		p.bytes += size
	}
}

// setTags says which tags a repository has. Those below which signatures lie are not counted:
// they come and go with what they are about.
func (p *project) setTags(repository string, names []string) {
	tags := map[string]bool{}
	for _, tag := range names {
		if !isEvidence(tag) {
			tags[tag] = true
		}
	}
	p.tags[repository] = tags
}

func isEvidence(tag string) bool {
	_, ok := oci.SignatureTag(tag)
	return ok
}

// counts gives how many repositories and tags a project has, with those under way.
func (p *project) counts() (repositories, tags int) {
	repositories = len(p.tags)
	for _, of := range p.tags {
		tags += len(of)
	}
	for name := range p.entering {
		repository, tag, isTag := strings.Cut(name, ":")
		switch {
		case isTag && !p.tags[repository][tag]:
			tags++
		case !isTag && p.tags[repository] == nil:
			repositories++
		}
	}
	return repositories, tags
}

func projectOf(s *settings.Settings, repository string) string {
	if s == nil {
		return ""
	}
	if p := s.ProjectOf(repository); p != nil {
		return p.Name
	}
	return ""
}

// Usage is what a project holds, and may hold; a limit of zero is none.
type Usage struct {
	Project           string `json:"project"` // "" is of repositories that belong to none
	Bytes             int64  `json:"bytes"`
	Reserved          int64  `json:"reserved"` // bytes of uploads under way
	BytesLimit        int64  `json:"bytesLimit,omitempty"`
	Repositories      int    `json:"repositories"`
	RepositoriesLimit int    `json:"repositoriesLimit,omitempty"`
	Tags              int    `json:"tags"`
	TagsLimit         int    `json:"tagsLimit,omitempty"`
}

// Usage gives what each project holds, in the order of their names.
func (q *Quotas) Usage() []Usage {
	now := q.now()
	q.mu.Lock()
	defer q.mu.Unlock()
	names := map[string]bool{}
	for name := range q.projects {
		names[name] = true
	}
	if now != nil {
		for _, p := range now.Projects {
			names[p.Name] = true
		}
	}
	all := make([]Usage, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		p, u := q.of(name), Usage{Project: name}
		u.Bytes, u.Reserved = p.bytes, p.reserved
		u.Repositories, u.Tags = p.counts()
		l := limitsOf(now, name)
		u.BytesLimit, u.RepositoriesLimit, u.TagsLimit = l.bytes, l.repositories, l.tags
		all = append(all, u)
	}
	return all
}

// limits of a project; zero is none.
type limits struct {
	bytes        int64
	repositories int
	tags         int
}

func limitsOf(s *settings.Settings, name string) limits {
	if s == nil {
		return limits{}
	}
	p := s.Project(name)
	if p == nil || p.Quota == nil {
		return limits{}
	}
	return limits{p.Quota.Bytes.Value(), p.Quota.Repositories, p.Quota.Tags}
}
