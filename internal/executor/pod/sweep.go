package pod

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

// ended is how long ago the executor of a pod that has ended is dead that has not deleted it.
const ended = 10 * time.Minute

// Sweep deletes the pods of steps whose executors are gone: those of an earlier process of
// this owner, those past their time, and those that ended long ago. What ran in them ended
// when their executors' streams did.
func (e *Executor) Sweep(ctx context.Context) error {
	pods, err := e.client.CoreV1().Pods(e.opt.Namespace).List(ctx, metav1.ListOptions{LabelSelector: nameLabel + "=" + stepName})
	if err != nil {
		return fault.New(fault.Unavailable, "find what is left of steps", e.opt.Namespace, err)
	}
	var failed error
	for _, p := range pods.Items {
		if e.orphan(&p, time.Now()) {
			failed = errors.Join(failed, e.remove(ctx, &p))
		}
	}
	return failed
}

// orphan says whether nobody will delete the pod.
func (e *Executor) orphan(p *corev1.Pod, now time.Time) bool {
	if p.DeletionTimestamp != nil || p.Labels[selfLabel] == e.self {
		return false
	}
	if p.Labels[ownerLabel] == e.opt.Owner {
		return true
	}
	expires, err := time.Parse(time.RFC3339, p.Annotations[expiresNote])
	return err != nil || now.After(expires) || hasEnded(p) && now.Sub(lastChange(p)) > ended
}

func hasEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// lastChange gives when a pod's last container ended.
func lastChange(p *corev1.Pod) time.Time {
	last := p.CreationTimestamp.Time
	for _, c := range p.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && t.FinishedAt.After(last) {
			last = t.FinishedAt.Time
		}
	}
	return last
}

// remove deletes a pod, and no other of its name.
func (e *Executor) remove(ctx context.Context, p *corev1.Pod) error {
	err := e.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fault.New(fault.Unavailable, "delete the pod of a step", where(p), err)
}
