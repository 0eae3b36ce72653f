package plane

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/update"
)

// covering keeps the scopes of Patches.
type covering struct {
	mu     sync.Mutex
	scopes map[types.UID]scope
}

type scope struct {
	generation int64
	has        update.Scope
	refused    bool // the Patch says so itself
}

// hold says which campaign sees to an Image that would be built for these reasons: image.Options has
// more. What people have changed themselves is never held.
func (c *campaigns) hold(image *v1alpha1.Image, reasons []v1alpha1.BuildReason) string {
	types := map[v1alpha1.ReasonType]bool{}
	for _, r := range reasons {
		switch r.Type {
		case v1alpha1.ReasonBase, v1alpha1.ReasonAdvisory, v1alpha1.ReasonBuildpack:
			types[r.Type] = true
		default:
			return ""
		}
	}
	p, h := c.covered(context.Background(), image, func(p *v1alpha1.Patch, h held) bool { // it is in memory
		return h.underWay || h.stands && c.charged(p.Spec.Target, image, types)
	})
	switch {
	case p == nil:
		return ""
	case h.failed:
		return fmt.Sprintf("the campaign %s has failed, and keeps its images where they are until that Patch is deleted: kubectl describe patch %[1]s", p.Name)
	case h.underWay:
		return fmt.Sprintf("the campaign %s will see to it: kubectl describe patch %[1]s", p.Name)
	}
	return fmt.Sprintf("the Patch %s decides what moves by itself: kubectl describe patch %[1]s", p.Name)
}

// sees gives the name of the Patch by which an Image is moved; a word where that cannot be told.
func (c *campaigns) sees(ctx context.Context, image *v1alpha1.Image) string {
	p, _ := c.covered(ctx, image, func(_ *v1alpha1.Patch, h held) bool { return h.underWay || h.stands })
	if p == nil {
		return "campaign"
	}
	return p.Name
}

// covered gives the first Patch in whose scope the Image is, and for which that is true; nil is none.
func (c *campaigns) covered(ctx context.Context, image *v1alpha1.Image, by func(*v1alpha1.Patch, held) bool) (*v1alpha1.Patch, held) {
	ref, err := c.place(image.Spec.Tag)
	if err != nil {
		return nil, held{} // the Image says so itself
	}
	var list v1alpha1.PatchList
	if err := c.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, held{} // the cache is ending
	}
	for i := range list.Items {
		p := &list.Items[i]
		if h := holding(p); by(p, h) && c.covers(ctx, p, image, ref.Repository()) {
			return p, h
		}
	}
	return nil, held{}
}

// held is how a Patch holds Images back.
type held struct {
	generation int64
	underWay   bool // a campaign of it is, or has failed
	failed     bool // it was halted or taken back
	stands     bool // it waits for changes
}

func holding(p *v1alpha1.Patch) held {
	h := held{generation: p.Generation}
	if !p.DeletionTimestamp.IsZero() {
		return h
	}
	h.stands = p.Spec.Automatic
	switch p.Status.Phase {
	case v1alpha1.PatchDone:
	case v1alpha1.PatchHalted, v1alpha1.PatchRolledBack:
		h.underWay, h.failed = true, true // what its tests have refused is not to come by itself
	case "":
		// It was declared a moment ago, unless it cannot be worked off.
		h.underWay = !p.Spec.Automatic && !meta.IsStatusConditionFalse(p.Status.Conditions, v1alpha1.ConditionSucceeded)
	default:
		h.underWay = true
	}
	return h
}

// charged says whether a Patch that stands is in charge of an Image with those reasons: of bases where
// it names bases, and of nothing where it names advisories. That a builder alone is another is no
// finding, and no campaign would ever see to it.
func (p *Plane) charged(t v1alpha1.PatchTarget, image *v1alpha1.Image, reasons map[v1alpha1.ReasonType]bool) bool {
	if t.All || t.Exploited || len(t.Severities) > 0 {
		return reasons[v1alpha1.ReasonBase] || reasons[v1alpha1.ReasonAdvisory]
	}
	on := untagged(p.base(image.Status.Inputs.RunImage))
	return reasons[v1alpha1.ReasonBase] && slices.ContainsFunc(t.Bases, func(base string) bool { return untagged(p.base(base)) == on })
}

// base gives the name of a base where it is, as the inventory has it.
func (p *Plane) base(name string) string {
	placed, err := p.placed(name)
	if err != nil {
		return name // nothing is known by it
	}
	return placed
}

// untagged cuts the tag off a reference.
func untagged(reference string) string {
	if colon := strings.LastIndexByte(reference, ':'); colon > strings.LastIndexByte(reference, '/') {
		return reference[:colon]
	}
	return reference
}

// covers says whether what the Image publishes, to that repository, is in the Patch's scope.
func (c *campaigns) covers(ctx context.Context, p *v1alpha1.Patch, image *v1alpha1.Image, repository string) bool {
	s := c.scope(p)
	own := func() map[string]string { return c.configured(ctx, image) }
	return !s.refused && s.has.Has(repository, own, labelsOf(image))
}

// scope gives that of the Patch.
func (c *covering) scope(p *v1alpha1.Patch) scope {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, known := c.scopes[p.UID]
	if !known || s.generation != p.Generation {
		has, err := update.NewScope(p.Spec.Scope)
		s = scope{p.Generation, has, err != nil}
		if c.scopes == nil || len(c.scopes) > mostScopes {
			c.scopes = map[types.UID]scope{}
		}
		c.scopes[p.UID] = s
	}
	return s
}

// mostScopes bounds the scopes that are kept, some of Patches that are gone.
const mostScopes = 1000
