package status

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Turns bounds what takes long, so that what waits can say that it does: a bound on reconciles would
// leave it without a word.
type Turns chan struct{}

// Take waits for a turn; waits is called when there is none at once. Give hands it back.
func (t Turns) Take(ctx context.Context, waits func() error) error {
	select {
	case t <- struct{}{}:
		return nil
	default:
	}
	if err := waits(); err != nil {
		return err
	}
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Give hands a turn back.
func (t Turns) Give() { <-t }

// Show writes at once that a resource is being worked at, with an event, where that is news. before is
// what of it is written, and what Show gives is so from then on. o is the object of the status s.
func Show[O client.Object](ctx context.Context, c client.Client, events record.EventRecorder, before, o O, s *v1alpha1.Status, kind string, is metav1.ConditionStatus, reason, message string) (O, error) {
	Set(s, o.GetGeneration(), kind, is, reason, message)
	if err := Write(ctx, c, before, o); err != nil {
		return before, err
	}
	if o.GetResourceVersion() != before.GetResourceVersion() {
		events.Event(o, corev1.EventTypeNormal, reason, message)
	}
	return o.DeepCopyObject().(O), nil
}
