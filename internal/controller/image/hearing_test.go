package image

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestHearing follows one Image's webhooks: what it says, and how often the API is asked for it.
func TestHearing(t *testing.T) {
	var answer error
	asked := 0
	r := &Reconciler{hearing: &hearing{}, options: Options{WebhookToken: func(_ context.Context, namespace, name string) error {
		if asked++; namespace != "shop" || name != "hook" {
			t.Errorf("it asks for %s/%s", namespace, name)
		}
		return answer
	}}}
	i := &v1alpha1.Image{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", Generation: 1}}
	gone := fault.Newf(fault.NotFound, "read webhook secret", "shop/hook", "there is no such secret").WithHint("make it")
	away := fault.Newf(fault.Unavailable, "read webhook secret", "shop/hook", "timeout")
	const deaf = "no webhook is heard: read webhook secret: shop/hook: there is no such secret (make it)"
	for _, step := range []struct {
		name   string
		before func()
		answer error
		is     metav1.ConditionStatus // "" is that nothing is said
		reason string
		text   string
		asks   int
	}{
		{"none is wanted", nil, gone, "", "", "", 0},
		{"the secret is not there", func() { i.Spec.Triggers.WebhookSecret = &v1alpha1.LocalReference{Name: "hook"} }, gone, "False", status.Missing, deaf, 1},
		{"the API does not answer", nil, away, "False", status.Missing, deaf, 1},
		{"it is there", nil, nil, "True", Hears, "webhooks that are signed with the token of the secret hook are heard", 1},
		{"it is believed", nil, gone, "True", Hears, "webhooks that are signed with the token of the secret hook are heard", 0},
		{"a webhook found otherwise", func() { r.hearing.note(types.NamespacedName{Namespace: "shop", Name: "web"}) }, gone, "False", status.Missing, deaf, 1},
		{"another spec", func() { i.Generation++ }, nil, "True", Hears, "webhooks that are signed with the token of the secret hook are heard", 1},
		{"none is wanted any more", func() { i.Spec.Triggers.WebhookSecret = nil }, nil, "", "", "", 0},
	} {
		if step.before != nil {
			step.before()
		}
		answer, asked = step.answer, 0
		f := &facts{image: i, ears: r.ears(t.Context(), i)}
		w := wish{status: *i.Status.DeepCopy()}
		f.hear(&w)
		i.Status = w.status
		got := meta.FindStatusCondition(i.Status.Conditions, ConditionWebhook)
		switch {
		case step.is == "":
			if got != nil {
				t.Errorf("%s: it says %s", step.name, got.Message)
			}
		case got == nil || got.Status != step.is || got.Reason != step.reason || got.Message != step.text:
			t.Errorf("%s: it says %+v", step.name, got)
		case (step.is == metav1.ConditionFalse) != (w.again == deafFor):
			t.Errorf("%s: it looks again after %s", step.name, w.again)
		}
		if asked != step.asks {
			t.Errorf("%s: it asks the API %d times, want %d", step.name, asked, step.asks)
		}
	}
}
