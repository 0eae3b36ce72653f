package plane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/cli"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/fault"
)

// answersWithin is how long the API may take to say that it is there.
const answersWithin = 3 * time.Second

// running is cli.ControlPlane.
type running struct{ client client.Client }

// Running gives the control plane of the home in the folder; nil where none runs.
func Running(ctx context.Context, home string) (cli.ControlPlane, error) {
	path := filepath.Join(home, "kubernetes", "admin.kubeconfig")
	if _, err := os.Stat(path); err != nil {
		return nil, nil
	}
	target, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fault.New(fault.Failed, "read kubeconfig", path, err)
	}
	scheme, err := controller.Scheme()
	if err != nil {
		return nil, err
	}
	target.Timeout = answersWithin
	c, err := client.New(target, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil // it is from a time when one ran
	}
	asking, done := context.WithTimeout(ctx, answersWithin)
	defer done()
	err = c.List(asking, &v1alpha1.PatchList{}, client.Limit(1))
	switch {
	case err == nil:
		return running{c}, nil
	case apierrors.ReasonForError(err) == "": // no API has said that
		return nil, ctx.Err()
	}
	return nil, fault.New(fault.Unavailable, "ask the control plane", target.Host, err)
}

// Images implements cli.ControlPlane.
func (r running) Images(ctx context.Context) (builds func(reference string) bool, labels func(reference string) map[string]string, err error) {
	var list v1alpha1.ImageList
	if err := r.client.List(ctx, &list); err != nil {
		return nil, nil, unreachable("list Images of", "the control plane", err)
	}
	byTag := map[string]*v1alpha1.Image{}
	for n := range list.Items {
		i := &list.Items[n]
		for _, tag := range append([]string{i.Spec.Tag}, i.Spec.AdditionalTags...) {
			byTag[tag] = i
		}
	}
	find := func(reference string) *v1alpha1.Image {
		for { // with --publish, tags are below a registry that it alone knows
			if i := byTag[reference]; i != nil {
				return i
			}
			_, below, found := strings.Cut(reference, "/")
			if !found {
				return nil
			}
			reference = below
		}
	}
	builds = func(reference string) bool {
		i := find(reference)
		return i != nil && !i.Spec.Suspend
	}
	labels = func(reference string) map[string]string {
		if i := find(reference); i != nil {
			return labelsOf(i)
		}
		return nil
	}
	return builds, labels, nil
}

// Declare implements cli.ControlPlane.
func (r running) Declare(ctx context.Context, name string, spec v1alpha1.PatchSpec) error {
	var p v1alpha1.Patch
	p.Name, p.Spec = name, spec
	err := r.client.Create(ctx, &p)
	if apierrors.IsAlreadyExists(err) {
		err = r.change(ctx, name, &p, func() error {
			if p.Status.CompletedAt != nil {
				return fault.Newf(fault.Failed, "declare the patch", name, "the one of that name has ended").
					WithHint("give this one another --name, or remove that: plimsoll kubectl delete patch " + name)
			}
			p.Spec = spec
			return nil
		})
	}
	if err != nil {
		return declared(name, err)
	}
	return r.kept(ctx, name, p.Generation)
}

// kept waits until the campaign of a Patch is.
func (r running) kept(ctx context.Context, name string, generation int64) error {
	const within = time.Minute
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for began := time.Now(); ; {
		var p v1alpha1.Patch
		if err := r.client.Get(ctx, client.ObjectKey{Name: name}, &p); err != nil {
			return declared(name, err)
		}
		said := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionSucceeded)
		switch seen := p.Status.ObservedGeneration >= generation; {
		case seen && p.Status.Phase != "":
			return nil
		case seen && said != nil && said.Status == "False":
			return fault.Newf(fault.Usage, "declare the patch", name, said.Message)
		case time.Since(began) > within:
			return fault.Newf(fault.Unavailable, "declare the patch", name, "nobody has begun its campaign").
				WithHint("what the control plane says: plimsoll kubectl describe patch " + name)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Pause implements cli.ControlPlane.
func (r running) Pause(ctx context.Context, name string, paused bool) error {
	var p v1alpha1.Patch
	return r.change(ctx, name, &p, func() error {
		p.Spec.Paused = paused
		return nil
	})
}

// change changes a Patch as it was read.
func (r running) change(ctx context.Context, name string, p *v1alpha1.Patch, how func() error) error {
	const tries = 5
	var err error
	for range tries {
		*p = v1alpha1.Patch{}
		if err = r.client.Get(ctx, client.ObjectKey{Name: name}, p); err != nil {
			break
		}
		before := p.DeepCopy()
		if err = how(); err != nil {
			return err
		}
		err = r.client.Patch(ctx, p, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(err) {
			break
		}
	}
	if err != nil {
		return declared(name, err)
	}
	return nil
}

// declared gives what the API has said of a Patch as a fault.
func declared(name string, err error) error {
	_, known := errors.AsType[*fault.Error](err)
	switch {
	case known || errors.Is(err, context.Canceled):
		return err
	case apierrors.IsNotFound(err):
		return fault.New(fault.NotFound, "find the patch", name, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return fault.New(fault.Usage, "declare the patch", name, err)
	}
	return unreachable("declare the patch", name, err)
}
