package plane

import (
	"context"
	"sync"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// opinions are the verdicts on what Images have published.
type opinions struct {
	*Plane
	ctx   context.Context
	turns chan struct{} // images that are looked into at a time

	mu    sync.Mutex
	asked map[verdicts.Image]bool // that are being looked into
}

func (p *Plane) opinions(ctx context.Context) *opinions {
	return &opinions{Plane: p, ctx: ctx, turns: make(chan struct{}, judge.Gathers), asked: map[verdicts.Image]bool{}}
}

// verdict gives what the policies say of an image at the registry's gate, nil where there are none. An
// image of which that is not known is looked into, and its Image hears of it.
func (o *opinions) verdict(tag, digest string) (status *v1alpha1.VerdictStatus, known bool) {
	j := o.judge()
	ref, err := o.place(tag)
	if j == nil || err != nil {
		return nil, true
	}
	image := verdicts.Image{Repository: ref.Repository(), Digest: digest}
	v, known := j.Keeper().Standing(image)
	if !known {
		o.ask(j, image)
		return nil, false
	}
	action := v.At(artifact.GateRegistry)
	status = &v1alpha1.VerdictStatus{Action: string(action)}
	if action != artifact.ActionAllow {
		status.Reason, _ = judge.Reasons(v, artifact.GateRegistry)
	}
	return status, true
}

// patience is how long the end of a Build is held back for the verdict on what it made.
const patience = 10 * time.Second

// await waits until there is a verdict on an image, so that its Image's status is written once. Where
// that takes too long, or fails, the Image's reconciler asks again.
func (o *opinions) await(ctx context.Context, tag, digest string) {
	j := o.judge()
	ref, err := o.place(tag)
	if j == nil || err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, _ = j.Keeper().Verdict(ctx, verdicts.Image{Repository: ref.Repository(), Digest: digest})
}

// unanswered is how long looking into an image may take; its Image asks again then.
const unanswered = 5 * time.Minute

// ask has an image looked into, once at a time.
func (o *opinions) ask(j *judge.Judge, image verdicts.Image) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked[image] {
		return
	}
	o.asked[image] = true
	go func() {
		select {
		case o.turns <- struct{}{}:
		case <-o.ctx.Done():
			return
		}
		defer func() { <-o.turns }()
		ctx, cancel := context.WithTimeout(o.ctx, unanswered)
		defer cancel()
		_, err := j.Keeper().Verdict(ctx, image)
		o.mu.Lock()
		delete(o.asked, image)
		o.mu.Unlock()
		if err == nil {
			err = o.wake(o.ctx, client.MatchingFields{repositoryIndex: image.Repository})
		}
		if err != nil && o.ctx.Err() == nil {
			o.log.Warn("there is no verdict on an image", "repository", image.Repository, "digest", image.Digest, "error", err)
		}
	}()
}

// judge gives who keeps the verdicts; nil while there are no policies.
func (p *Plane) judge() *judge.Judge {
	if p.served == nil {
		return nil
	}
	p.served.mu.Lock()
	defer p.served.mu.Unlock()
	return p.served.judge
}

// repositoryIndex is the field by which the watch cache finds Images: the repository they publish to.
const repositoryIndex = "plimsoll.repository"

// indexRepositories has the manager's cache find Images by their repository.
func (p *Plane) indexRepositories(ctx context.Context, mgr ctrl.Manager) error {
	return mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Image{}, repositoryIndex, func(o client.Object) []string {
		ref, err := p.place(o.(*v1alpha1.Image).Spec.Tag)
		if err != nil {
			return nil // the Image says so itself
		}
		return []string{ref.Repository()}
	})
}

// judged has the Images of a repository looked at again: another verdict is known.
func (p *Plane) judged(ctx context.Context, change verdicts.Change) error {
	return p.wake(ctx, client.MatchingFields{repositoryIndex: change.Verdict.Repository})
}

// wake has Images looked at again.
func (p *Plane) wake(ctx context.Context, which ...client.ListOption) error {
	images := p.images.Load()
	if images == nil {
		return nil // they look for themselves when they begin
	}
	var list v1alpha1.ImageList
	if err := p.cache.List(ctx, &list, which...); err != nil {
		return err
	}
	for _, i := range list.Items {
		images.Wake(client.ObjectKeyFromObject(&i))
	}
	return nil
}
