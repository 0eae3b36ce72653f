package image

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// What an Image says of its webhooks.
const (
	ConditionWebhook = "Webhook"
	Hears            = "Hears"
)

// deafFor is how long what is wrong with the secret of webhooks is not looked at again.
const deafFor = time.Minute

// hearing is which Images are to have the secret of their webhooks looked at, whatever they say.
type hearing struct {
	mu    sync.Mutex
	doubt map[types.NamespacedName]bool
}

func (h *hearing) note(image types.NamespacedName) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.doubt == nil {
		h.doubt = map[types.NamespacedName]bool{}
	}
	h.doubt[image] = true
}

func (h *hearing) take(image types.NamespacedName) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.doubt[image]
	delete(h.doubt, image)
	return was
}

// ears looks at the secret of the Image's webhooks, where there is a reason to: a secret is a request to
// the API, so that one that was right is believed until the spec changes or a webhook finds otherwise.
func (r *Reconciler) ears(ctx context.Context, image *v1alpha1.Image) *metav1.Condition {
	name := types.NamespacedName{Namespace: image.Namespace, Name: image.Name}
	doubted := r.hearing.take(name)
	secret := image.Spec.Triggers.WebhookSecret
	if secret == nil || r.options.WebhookToken == nil {
		return nil
	}
	was := meta.FindStatusCondition(image.Status.Conditions, ConditionWebhook)
	if was != nil && was.Status == metav1.ConditionTrue && was.ObservedGeneration == image.Generation && !doubted {
		return was
	}
	switch err := r.options.WebhookToken(ctx, image.Namespace, string(secret.Name)); {
	case err == nil:
		return condition(metav1.ConditionTrue, Hears, "webhooks that are signed with the token of the secret "+string(secret.Name)+" are heard")
	case fault.KindOf(err) == fault.NotFound, fault.KindOf(err) == fault.Denied:
		return condition(metav1.ConditionFalse, status.OfError(err), "no webhook is heard: "+status.Message(err))
	}
	return was // the API does not answer
}

// hear puts what is said of webhooks into the wish.
func (f *facts) hear(w *wish) {
	if f.ears == nil {
		meta.RemoveStatusCondition(&w.status.Conditions, ConditionWebhook)
		return
	}
	status.Set(&w.status.Status, f.image.Generation, ConditionWebhook, f.ears.Status, f.ears.Reason, f.ears.Message)
	if f.ears.Status == metav1.ConditionFalse {
		w.lookAgain(deafFor)
	}
}
