// Package status takes what a reconciler found and gives the status of its resource: conditions
// that change only when what they say does, written only when they differ, and a decision about
// every error: is it tried again, or does it wait for somebody?
package status

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maxMessage bounds a condition's message in bytes. The API takes 32 KiB; nobody reads as much.
const maxMessage = 2 << 10

// Set puts a condition, and has the status speak of the generation.
func Set(s *v1alpha1.Status, generation int64, kind string, is metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		message = strings.ToValidUTF8(message[:maxMessage], "") + "…"
	}
	s.ObservedGeneration = generation
	meta.SetStatusCondition(&s.Conditions, metav1.Condition{
		Type: kind, Status: is, Reason: reason, Message: message, ObservedGeneration: generation,
	})
}

// Holds says whether the condition is true, and was found so of that generation.
func Holds(s *v1alpha1.Status, generation int64, kind string) bool {
	c := meta.FindStatusCondition(s.Conditions, kind)
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == generation
}

// Awaited says that nobody has tried yet to have the condition true for that generation, or tries just
// now: it says nothing of an earlier failure.
func Awaited(s *v1alpha1.Status, generation int64, kind string) bool {
	c := meta.FindStatusCondition(s.Conditions, kind)
	if c == nil || c.ObservedGeneration != generation {
		return true
	}
	return slices.Contains([]string{Queued, Building, WaitsFor, TagTaken}, c.Reason)
}

// Says gives the reason of the condition, or "".
func Says(s *v1alpha1.Status, kind string) string {
	if c := meta.FindStatusCondition(s.Conditions, kind); c != nil {
		return c.Reason
	}
	return ""
}

// Tell makes an event of each condition that has become false, is so for another reason, or is so
// no more.
func Tell(events record.EventRecorder, o client.Object, before, after *v1alpha1.Status) {
	for _, c := range after.Conditions {
		old := meta.FindStatusCondition(before.Conditions, c.Type)
		failed := old != nil && old.Status == metav1.ConditionFalse
		switch {
		case c.Status == metav1.ConditionFalse && (!failed || old.Reason != c.Reason):
			events.Eventf(o, corev1.EventTypeWarning, c.Reason, "not %s: %s", c.Type, Brief(c.Message))
		case c.Status == metav1.ConditionTrue && failed:
			events.Eventf(o, corev1.EventTypeNormal, c.Reason, "%s again: %s", c.Type, Brief(c.Message))
		}
	}
}

// maxBrief bounds the text of an event in bytes (Kubernetes API, Event: at most 1 KiB).
const maxBrief = 1000

// Brief gives the first line of a message, as events have it.
func Brief(message string) string {
	line, _, _ := strings.Cut(message, "\n")
	if len(line) > maxBrief {
		line = strings.ToValidUTF8(line[:maxBrief], "") + "…"
	}
	return line
}

// Message gives an error as people read it in a condition, with what they can do about it.
func Message(err error) string {
	if hint := fault.HintOf(err); hint != "" {
		return err.Error() + " (" + hint + ")"
	}
	return err.Error()
}

// Write sends the status of after where it differs from that of before, and refuses to write over
// one that it has not seen.
func Write(ctx context.Context, c client.Client, before, after client.Object) error {
	patch, err := client.MergeFrom(before).Data(after)
	if err != nil || string(patch) == "{}" {
		return err
	}
	return c.Status().Update(ctx, after) // a patch costs the API server more: it reads and writes it once again
}

// Next gives when to look again. What somebody must change, has refused or has not put there yet
// is looked at again at the interval only; 0 is never. Any other error may mend itself: it goes
// back to the queue, which waits longer each time.
func Next(err error, interval time.Duration) (ctrl.Result, error) {
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: Soon}, nil // the cache was behind: the newer one is on its way
	}
	switch fault.KindOf(err) {
	case fault.Usage, fault.Denied, fault.NotFound:
		return ctrl.Result{RequeueAfter: interval}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: interval}, nil
}

// Soon is when to look again at what the watch cache does not have yet.
const Soon = 100 * time.Millisecond

// Backoff is how long a queue waits before it tries what failed again: a second at first, then
// twice as long each time, at most ten minutes.
func Backoff() workqueue.TypedRateLimiter[reconcile.Request] {
	return workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Second, 10*time.Minute)
}
