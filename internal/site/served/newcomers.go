package served

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/known"
)

// newcomers are the images that others push to a registry that is served, and those they
// delete, until the inventory was told of them.
type newcomers struct {
	log *slog.Logger

	mu    sync.Mutex
	refs  map[string]bool // false: it is deleted
	first time.Time       // of those that wait
	last  time.Time
}

// How long pushes must have been quiet until the inventory is told, and how long it waits
// at most: looking into images takes what those who push want, too.
const (
	quietFor   = 2 * time.Second
	waitAtMost = time.Minute
)

// hear notes the tags that a push let name an image, and those that a deletion removed.
func (n *newcomers) hear(r *call.Record) {
	if !r.OK() || r.Endpoint.Kind != call.KindManifest || !r.Writes() {
		return
	}
	for _, tag := range r.Tags {
		n.noteOf(r.Endpoint.Repository, tag, r.Method != http.MethodDelete)
	}
}

// note notes a tag that names another image now.
func (n *newcomers) note(repository, tag string) { n.noteOf(repository, tag, true) }

func (n *newcomers) noteOf(repository, tag string, here bool) {
	if _, signature := oci.SignatureTag(tag); signature {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = time.Now()
	if len(n.refs) == 0 {
		n.first = n.last
	}
	n.refs[repository+":"+tag] = here
}

// due gives those that have waited long enough, each once, and whether they are still there.
func (n *newcomers) due(all bool) map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.refs) == 0 || !all && time.Since(n.last) < quietFor && time.Since(n.first) < waitAtMost {
		return nil
	}
	refs := n.refs
	n.refs = map[string]bool{}
	return refs
}

// watch tells the inventory until the function it gives is called, which waits for what
// is under way.
func (n *newcomers) watch(ctx context.Context, h *home.Home) (stop func()) {
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
				n.tell(ctx, h, n.due(false))
			}
		}
	}()
	return func() {
		cancel()
		<-ended
		// What waits is told before the end, if that is soon done.
		last, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer done()
		n.tell(last, h, n.due(true))
	}
}

func (n *newcomers) tell(ctx context.Context, h *home.Home, refs map[string]bool) {
	if len(refs) == 0 {
		return
	}
	index, err := h.Inventory(ctx)
	if err != nil {
		n.log.Warn("the inventory was not told", "images", len(refs), "error", err)
		return
	}
	r := known.NewReader(ctx, h)
	for _, ref := range slices.Sorted(maps.Keys(refs)) {
		if err := tellOf(ctx, r, index, ref, refs[ref]); err != nil {
			n.log.Warn("the inventory was not told", "image", ref, "error", err)
		}
	}
	n.log.Info("told the inventory", "images", len(refs))
}

func tellOf(ctx context.Context, r *known.Reader, index *inventory.Inventory, ref string, here bool) error {
	if !here {
		return index.Remove(ctx, ref)
	}
	images, err := r.Read(ctx, ref)
	if err != nil {
		return err
	}
	return r.Keep(ctx, index, images)
}
