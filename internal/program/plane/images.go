package plane

import (
	"context"
	"net/http"
	"runtime"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/image"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/queue"
	"plimsoll.dev/plimsoll/internal/controller/webhook"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

// setUpImages adds what keeps Images built. It gives what it serves, by path.
func (p *Plane) setUpImages(ctx context.Context, mgr ctrl.Manager) (map[string]http.Handler, error) {
	steps, err := p.steps(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.indexRepositories(ctx, mgr); err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	store := logs.New(p.site.Path("logs"), 0)
	images, err := image.Setup(mgr, sources{p, mgr.GetAPIReader()}, image.Options{Overrides: p.overrides, Verdict: p.verdict})
	if err == nil {
		err = build.Setup(mgr, worker{p, mgr.GetClient(), steps}, store, build.Options{Limits: queue.Limits{Total: p.parallel()}})
	}
	if err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	p.cache = mgr.GetClient()
	p.images.Store(images)
	if err := webhook.Index(mgr.GetFieldIndexer()); err != nil {
		return nil, fault.New(fault.Failed, "set up the controllers", "", err)
	}
	hooks := webhook.Handler(webhook.Cluster{Cache: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Leading: mgr.Elected()}, images)
	return map[string]http.Handler{
		"GET /logs/": logs.Handler(store, mgr.GetClient()), "POST /webhooks": hooks, "POST /webhooks/": hooks,
	}, nil
}

// parallel is how many builds from source run at a time.
func (p *Plane) parallel() int {
	if p.o.Parallel > 0 {
		return p.o.Parallel
	}
	return max(1, runtime.NumCPU()/2)
}

// overrides gives those that hold for what is published under the tag.
func (p *Plane) overrides(tag string, all []v1alpha1.DependencyOverride, now time.Time) image.Held {
	var held image.Held
	ref, err := p.place(tag)
	if err != nil {
		return held
	}
	set, err := override.New(all...)
	if err != nil {
		return held // each of them says for itself what is wrong
	}
	holding := set.For(ref.Repository(), now)
	held.Digest = holding.Digest()
	var text []string
	for _, o := range holding {
		held.Advisories = append(held.Advisories, o.Spec.Advisories...)
		text = append(text, o.Spec.Ecosystem+" "+o.Spec.Package+" from "+o.Spec.Version+" on: "+o.Spec.Reason)
		if end := o.Spec.Expires; end != nil && (held.Until.IsZero() || end.Time.Before(held.Until)) {
			held.Until = end.Time
		}
	}
	held.Text = strings.Join(text, "\n")
	return held
}

// verdict gives what the policies say of an image at the registry's gate; nil is not known.
func (p *Plane) verdict(tag, digest string) *v1alpha1.VerdictStatus {
	j := p.judge()
	ref, err := p.place(tag)
	if j == nil || err != nil {
		return nil
	}
	v, known := j.Keeper().Standing(verdicts.Image{Repository: ref.Repository(), Digest: digest})
	if !known {
		return nil
	}
	action := v.At(artifact.GateRegistry)
	status := &v1alpha1.VerdictStatus{Action: string(action)}
	if action != artifact.ActionAllow {
		status.Reason, _ = judge.Reasons(v, artifact.GateRegistry)
	}
	return status
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
	images := p.images.Load()
	if images == nil {
		return nil // they look for themselves when they begin
	}
	var list v1alpha1.ImageList
	if err := p.cache.List(ctx, &list, client.MatchingFields{repositoryIndex: change.Verdict.Repository}); err != nil {
		return err
	}
	for _, i := range list.Items {
		images.Wake(client.ObjectKeyFromObject(&i))
	}
	return nil
}
