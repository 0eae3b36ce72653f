package quota

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Door refuses what would take a project past its quota: before a body is read where its
// length is known, else when it grows too long.
func (q *Quotas) Door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := call.Parse(r.URL.Path)
		reads := r.Method == http.MethodGet || r.Method == http.MethodHead
		if !ok || reads || !call.IsRepository(to.Repository) || to.Kind != call.KindUpload && to.Kind != call.KindManifest {
			next.ServeHTTP(w, r)
			return
		}
		c := &visit{Quotas: q, next: next, to: to, project: projectOf(q.now(), to.Repository)}
		if r.Method == http.MethodDelete {
			c.remove(w, r)
			return
		}
		leave, refusal := q.enter(c.project, c.names(r))
		if refusal != nil {
			refuse(w, r, *refusal)
			return
		}
		defer leave()
		c.write(w, r)
	})
}

// refuse answers, and lets those who listen know.
func refuse(w http.ResponseWriter, r *http.Request, refusal call.Refusal) {
	call.RecordOf(r.Context()).Why = refusal.Message
	w.Header().Set("Connection", "close") // the rest of the body is not wanted
	refusal.Write(w)
	if r.Header.Get("Expect") != "" { // it sends nothing until it is asked to
		return
	}
	// A client that still sends when the connection ends may never look at the answer.
	_ = http.NewResponseController(w).Flush()
	_, _ = io.CopyN(io.Discard, r.Body, drained)
}

// drained is how much of a body is read that is refused, in bytes.
const drained = 16 << 20

// visit is one request that writes.
type visit struct {
	*Quotas
	next    http.Handler
	to      call.Endpoint
	project string
}

// names gives what the request may make: the repository, and tags as "repository:tag".
func (c *visit) names(r *http.Request) []string {
	names := []string{c.to.Repository}
	for _, tag := range c.tags(r) {
		names = append(names, c.to.Repository+":"+tag)
	}
	return names
}

// tags gives those that a push lets name its manifest.
func (c *visit) tags(r *http.Request) []string {
	if c.to.Kind != call.KindManifest {
		return nil
	}
	tags := r.URL.Query()["tag"]
	if !strings.Contains(c.to.Reference, ":") {
		tags = append(slices.Clone(tags), c.to.Reference)
	}
	return slices.DeleteFunc(tags, isEvidence)
}

// enter counts the names as there while a request may make them, and refuses those for which
// there is no room. A name that is there already takes none.
func (q *Quotas) enter(name string, names []string) (leave func(), refusal *call.Refusal) {
	l := limitsOf(q.now(), name)
	q.mu.Lock()
	defer q.mu.Unlock()
	p := q.of(name)
	repositories, tags := p.counts()
	for _, n := range names {
		p.entering[n]++
	}
	leave = func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		p := q.of(name) // counts may have been made anew
		for _, n := range names {
			if p.entering[n]--; p.entering[n] <= 0 {
				delete(p.entering, n)
			}
		}
	}
	repositoriesThen, tagsThen := p.counts()
	switch {
	case l.repositories > 0 && repositoriesThen > max(l.repositories, repositories):
		refusal = denied("repositories", fmt.Sprintf("project %s has as many repositories as it may: %d", name, l.repositories), int64(l.repositories), int64(repositories))
	case l.tags > 0 && tagsThen > max(l.tags, tags):
		refusal = denied("tags", fmt.Sprintf("project %s has as many tags as it may: %d", name, l.tags), int64(l.tags), int64(tags))
	default:
		return leave, nil
	}
	for _, n := range names { // as leave, which would wait for the lock
		if p.entering[n]--; p.entering[n] <= 0 {
			delete(p.entering, n)
		}
	}
	return nil, refusal
}

// over is what a refusal tells programs.
type over struct {
	Quota string `json:"quota"`
	Limit int64  `json:"limit"`
	Used  int64  `json:"used"`
}

func denied(quota, message string, limit, used int64) *call.Refusal {
	return &call.Refusal{
		Status: http.StatusForbidden, Code: "DENIED", Detail: over{quota, limit, used},
		Message: "quota: " + message + "; remove what is not needed, or ask for more",
	}
}

func (q *Quotas) full(name string) call.Refusal {
	limit := limitsOf(q.now(), name).bytes
	q.mu.Lock()
	defer q.mu.Unlock()
	used := q.of(name).bytes + q.of(name).reserved
	return *denied("bytes", fmt.Sprintf("project %s has %d of the %d bytes it may have, and there is no room for this", name, used, limit), limit, used)
}

// write passes on a push of a manifest, or a part of an upload, as far as there is room.
func (c *visit) write(w http.ResponseWriter, r *http.Request) {
	free := c.holds(digest.Digest(r.URL.Query().Get("digest"))) // a longer body has another digest
	m := &meter{ReadCloser: r.Body, q: c.Quotas, project: c.project, free: free, granted: free}
	if more := r.ContentLength - free; more > 0 {
		m.exact = true
		if c.take(c.project, more, more) == 0 {
			refuse(w, r, c.full(c.project))
			return
		}
		m.granted += more
	}
	answer := &overruled{ResponseWriter: w, meter: m, refuse: func() { refuse(w, r, c.full(c.project)) }}
	passed := c.mounting(r, m)
	passed.Body = m
	defer c.settle(answer, r, m)
	c.next.ServeHTTP(answer, passed)
	answer.end()
}

// holds gives the bytes of a blob that the project has; 0 when it has none such.
func (c *visit) holds(d digest.Digest) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.of(c.project).blobs[d]
}

// mounting gives a copy of the request. One that would mount a blob takes the room for it, and
// where there is none it begins an upload instead: a refusal would tell of a blob that the
// client may not be allowed to know of. Whoever has it can send it, and is refused then.
func (c *visit) mounting(r *http.Request, m *meter) *http.Request {
	r = r.Clone(r.Context())
	query := r.URL.Query()
	d := digest.Digest(query.Get("mount"))
	if c.to.Kind != call.KindUpload || r.Method != http.MethodPost || d == "" || c.holds(d) > 0 {
		return r
	}
	_, size, ok, err := c.store.Size(r.Context(), query.Get("from"), d)
	if err != nil || !ok || size == 0 {
		return r // the store says what there is to say
	}
	if taken := c.take(c.project, size, size); taken > 0 {
		m.granted += taken
		return r
	}
	query.Del("mount")
	query.Del("from")
	r.URL.RawQuery = query.Encode()
	return r
}

// settle counts what a request came to.
func (c *visit) settle(answer *overruled, r *http.Request, m *meter) {
	key := upload{c.to.Repository, c.to.Reference}
	created := answer.status == http.StatusCreated
	var stored digest.Digest
	var size int64
	if created {
		named := digest.Digest(answer.Header().Get("Docker-Content-Digest"))
		canonical, n, ok, err := c.store.Size(context.WithoutCancel(r.Context()), c.to.Repository, named)
		if err == nil && ok {
			stored, size = canonical, n
		} else if err != nil {
			c.o.Logger.Error("a blob was not counted", "repository", c.to.Repository, "digest", named, "error", err)
		}
	}
	tags := c.tags(r)
	c.change(c.project, func(p *project) {
		if stored != "" {
			p.add(stored, size)
		}
		if created && p.tags[c.to.Repository] == nil {
			p.tags[c.to.Repository] = map[string]bool{}
		}
		for _, tag := range tags {
			if created {
				p.tags[c.to.Repository][tag] = true
			}
		}
	})
	// What an upload has taken stays taken until it ends: it lies in the store.
	c.mu.Lock()
	defer c.mu.Unlock()
	left, taken := m.granted-m.free, max(0, m.read-m.free)
	resumable := c.to.Kind == call.KindUpload && c.to.Reference != ""
	switch {
	case resumable && created:
		c.release(key)
	case resumable && taken > 0:
		if c.uploads[key] == nil {
			c.uploads[key] = &reservation{project: c.project}
		}
		c.uploads[key].bytes += taken
		c.uploads[key].touched = time.Now()
		left -= taken
	}
	c.of(c.project).reserved -= left
}

// remove passes on a deletion, and counts what is left.
func (c *visit) remove(w http.ResponseWriter, r *http.Request) {
	answer := &overruled{ResponseWriter: w, meter: &meter{}}
	c.next.ServeHTTP(answer, r)
	if answer.status >= 300 {
		return
	}
	if c.to.Kind == call.KindUpload {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.release(upload{c.to.Repository, c.to.Reference})
		return
	}
	// With a manifest go all its tags. Its bytes stay until they are collected and counted anew.
	tags, err := c.store.Tags(context.WithoutCancel(r.Context()), c.to.Repository)
	if err != nil {
		c.o.Logger.Error("tags were not counted", "repository", c.to.Repository, "error", err)
		return
	}
	var names []string
	for _, tag := range tags {
		names = append(names, tag.Name)
	}
	c.change(c.project, func(p *project) { p.setTags(c.to.Repository, names) })
}
