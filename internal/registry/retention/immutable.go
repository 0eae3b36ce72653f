package retention

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Immutable keeps tags that do not move where they are. It knows of what passes its own door:
// two servers over one store may each let a new tag be made at the same moment.
type Immutable struct {
	store *registry.Registry
	now   func() *settings.Settings

	mu   sync.Mutex
	busy map[string]*turn // by repository
}

// turn is held by whoever changes a repository's tags.
type turn struct {
	sync.Mutex
	waiting int
}

// NewImmutable gives the one of a store. now gives the settings, which may be nil.
func NewImmutable(store *registry.Registry, now func() *settings.Settings) *Immutable {
	return &Immutable{store: store, now: now, busy: map[string]*turn{}}
}

// maxManifest is the largest manifest that the store takes, in bytes.
const maxManifest = 4 << 20

// Door refuses to move or remove a tag that is there and does not move, to remove what it
// needs, and lets alone whoever may approve. To push the same again is no change.
func (m *Immutable) Door(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, ok := call.Parse(r.URL.Path)
		changes := r.Method == http.MethodPut && to.Kind == call.KindManifest ||
			r.Method == http.MethodDelete && (to.Kind == call.KindManifest || to.Kind == call.KindBlob)
		if !ok || !changes || !call.IsRepository(to.Repository) || mayMove(r.Context(), to.Repository) {
			next.ServeHTTP(w, r)
			return
		}
		rules := m.rules(to.Repository)
		if len(rules.immutable) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		change := &change{Immutable: m, rules: rules, to: to, next: next}
		if r.Method == http.MethodPut {
			change.put(w, r)
			return
		}
		change.remove(w, r)
	})
}

func mayMove(ctx context.Context, repository string) bool {
	who := call.PrincipalOf(ctx) // nobody passes this door from within the process
	return who != nil && (who.May(call.ActionApprove, repository) || who.May(call.ActionAdmin, repository))
}

// rules gives those of the repository's project. Settings were checked when they were read.
func (m *Immutable) rules(repository string) *rules {
	s := m.now()
	if s == nil {
		return &rules{}
	}
	project := s.ProjectOf(repository)
	if project == nil {
		return &rules{}
	}
	compiled, _ := compile(project, "")
	return compiled
}

// change is one request that changes tags.
type change struct {
	*Immutable
	rules *rules
	to    call.Endpoint
	next  http.Handler
}

// put lets a manifest through whose tags are new, or name it already.
func (c *change) put(w http.ResponseWriter, r *http.Request) {
	tags := r.URL.Query()["tag"]
	if !strings.Contains(c.to.Reference, ":") {
		tags = append(slices.Clone(tags), c.to.Reference)
	}
	tags = slices.DeleteFunc(tags, func(tag string) bool { return !c.rules.fixed(tag) })
	if len(tags) == 0 {
		c.next.ServeHTTP(w, r)
		return
	}
	content, err := io.ReadAll(io.LimitReader(r.Body, maxManifest+1))
	rest := r.Body
	r = r.Clone(r.Context())
	// What follows, or why nothing does, is for the store to see.
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(content), after(rest, err)), rest}

	defer c.wait(c.to.Repository)()
	for _, tag := range tags {
		moves, err := c.moves(r.Context(), tag, content)
		if err != nil {
			failed().Write(w)
			return
		}
		if moves {
			refuse(w, r, fmt.Sprintf("%s:%s does not move: the project's tags %s are immutable; push another tag, or ask an admin, or one who is publisher and approver",
				c.to.Repository, tag, strings.Join(c.patterns(), ", ")))
			return
		}
	}
	c.next.ServeHTTP(w, r)
}

// after gives the rest of a body, or the error with which it ended.
func after(rest io.Reader, err error) io.Reader {
	if err == nil {
		return rest
	}
	return broken{err}
}

type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

// moves says whether the tag is there, and names something else than the content.
func (c *change) moves(ctx context.Context, tag string, content []byte) (bool, error) {
	within, err := c.store.Within(ctx, c.to.Repository, tag)
	return len(within) > 0 && within[0] != digest.FromBytes(content), err
}

// patterns gives those of the project, as they are written.
func (c *change) patterns() []string {
	return c.now().ProjectOf(c.to.Repository).ImmutableTags
}

// remove lets a deletion through that takes nothing from a tag that does not move.
func (c *change) remove(w http.ResponseWriter, r *http.Request) {
	defer c.wait(c.to.Repository)()
	tag, err := c.needs(r.Context())
	switch {
	case err != nil:
		failed().Write(w)
	case tag != "":
		refuse(w, r, fmt.Sprintf("%s:%s is immutable, and needs it; ask an admin", c.to.Repository, tag))
	default:
		c.next.ServeHTTP(w, r)
	}
}

// needs gives the tag that does not move and would lose what is to be removed, "" when there
// is none. Blobs are not looked for: they go when no manifest needs them.
func (c *change) needs(ctx context.Context) (string, error) {
	if !strings.Contains(c.to.Reference, ":") {
		if !c.rules.fixed(c.to.Reference) {
			return "", nil
		}
		within, err := c.store.Within(ctx, c.to.Repository, c.to.Reference)
		if len(within) == 0 {
			return "", err
		}
		return c.to.Reference, err
	}
	goes := digest.Digest(c.to.Reference)
	if canonical, _, ok, err := c.store.Size(ctx, c.to.Repository, goes); err != nil {
		return "", err
	} else if ok {
		goes = canonical
	}
	tags, err := c.store.Tags(ctx, c.to.Repository)
	if err != nil {
		return "", err
	}
	for _, t := range tags {
		if !c.rules.fixed(t.Name) {
			continue
		}
		if c.to.Kind == call.KindBlob {
			return t.Name, nil
		}
		within, err := c.store.Within(ctx, c.to.Repository, t.Name)
		if err != nil || slices.Contains(within, goes) {
			return t.Name, err
		}
	}
	return "", nil
}

// wait waits until nobody else changes tags of the repository, and gives how to let others.
func (m *Immutable) wait(repository string) (leave func()) {
	m.mu.Lock()
	t := m.busy[repository]
	if t == nil {
		t = &turn{}
		m.busy[repository] = t
	}
	t.waiting++
	m.mu.Unlock()
	t.Lock()
	return func() {
		t.Unlock()
		m.mu.Lock()
		defer m.mu.Unlock()
		if t.waiting--; t.waiting == 0 {
			delete(m.busy, repository)
		}
	}
}

func refuse(w http.ResponseWriter, r *http.Request, message string) {
	call.RecordOf(r.Context()).Why = message
	call.Refusal{Status: http.StatusForbidden, Code: "DENIED", Message: message}.Write(w)
}

func failed() call.Refusal {
	return call.Refusal{Status: http.StatusInternalServerError, Code: "UNKNOWN", Message: "the store failed"}
}
