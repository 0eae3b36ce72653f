package cli

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/registry/call"
)

// newcomers are the images that others push to a registry that is served, until the
// inventory was told of them.
type newcomers struct {
	log *slog.Logger

	mu    sync.Mutex
	refs  map[string]bool
	first time.Time // of those that wait
	last  time.Time
}

// How long pushes must have been quiet until the inventory is told, and how long it waits
// at most: looking into images takes what those who push want, too.
const (
	quietFor   = 2 * time.Second
	waitAtMost = time.Minute
)

// hear notes the tags that a push let name an image.
func (n *newcomers) hear(r *call.Record) {
	if !r.OK() || r.Method != http.MethodPut { // a deletion names tags, too
		return
	}
	for _, tag := range r.Tags {
		n.note(r.Endpoint.Repository, tag)
	}
}

func (n *newcomers) note(repository, tag string) {
	if isSignature(tag) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = time.Now()
	if len(n.refs) == 0 {
		n.first = n.last
	}
	n.refs[repository+":"+tag] = true
}

// due gives those that have waited long enough, each once.
func (n *newcomers) due(all bool) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.refs) == 0 || !all && time.Since(n.last) < quietFor && time.Since(n.first) < waitAtMost {
		return nil
	}
	refs := slices.Sorted(maps.Keys(n.refs))
	clear(n.refs)
	return refs
}

// watch tells the inventory until the function it gives is called, which waits for what
// is under way.
func (n *newcomers) watch(ctx context.Context, env *Env) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(quietFor / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				n.tell(ctx, env, n.due(false))
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		// What waits is told before the end, if that is soon done.
		last, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer done()
		n.tell(last, env, n.due(true))
	}
}

func (n *newcomers) tell(ctx context.Context, env *Env, refs []string) {
	if len(refs) == 0 {
		return
	}
	index, err := env.inventory(ctx)
	if err != nil {
		n.log.Warn("the inventory was not told", "images", len(refs), "error", err)
		return
	}
	defer index.Close()
	r := env.rebuild(ctx)
	for _, ref := range refs {
		images, err := r.read(ctx, ref)
		if err == nil {
			err = r.keep(ctx, index, images)
		}
		if err != nil {
			n.log.Warn("the inventory was not told", "image", ref, "error", err)
		}
	}
	n.log.Info("told the inventory", "images", len(refs))
}
