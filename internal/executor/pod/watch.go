package pod

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/fault"
)

// watcher follows one pod.
type watcher struct {
	executor *Executor
	created  *corev1.Pod
	fail     context.CancelCauseFunc
	started  func() // the command runs

	mu        sync.Mutex
	pod       *corev1.Pod
	notPulled time.Time // since when its image has not been pulled
	scheduled chan struct{}
}

func newWatcher(e *Executor, created *corev1.Pod, fail context.CancelCauseFunc) *watcher {
	return &watcher{executor: e, created: created, fail: fail, pod: created, scheduled: make(chan struct{})}
}

// follow looks at the pod until ctx ends, and fails the run when the pod can no longer do
// its work. A watch that ends is begun again.
func (w *watcher) follow(ctx context.Context) {
	for ctx.Err() == nil {
		if err := w.look(ctx); err != nil {
			w.fail(err)
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second): // an API server that is away comes back
		}
	}
}

// look follows the pod until it is lost or the watch ends.
func (w *watcher) look(ctx context.Context) error {
	pods := w.executor.client.CoreV1().Pods(w.created.Namespace)
	now, err := pods.Get(ctx, w.created.Name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return w.lost("it was deleted")
	case err != nil:
		return nil
	case now.UID != w.created.UID:
		return w.lost("it was deleted")
	}
	if err := w.see(now); err != nil {
		return err
	}
	stream, err := pods.Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + w.created.Name, ResourceVersion: now.ResourceVersion,
	})
	if err != nil {
		return nil
	}
	defer stream.Stop()
	for event := range stream.ResultChan() {
		seen, ok := event.Object.(*corev1.Pod)
		if !ok {
			return nil // the watch is too old
		}
		if event.Type == "DELETED" {
			return w.lost("it was deleted")
		}
		if err := w.see(seen); err != nil {
			return err
		}
	}
	return nil
}

// see takes in what the pod is now.
func (w *watcher) see(pod *corev1.Pod) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pod = pod
	if pod.Spec.NodeName != "" && !isClosed(w.scheduled) {
		close(w.scheduled)
	}
	if err := w.gone(pod); err != nil {
		return err
	}
	for _, c := range pod.Status.ContainerStatuses {
		if wait := c.State.Waiting; wait != nil {
			if err := w.waits(wait); err != nil {
				return err
			}
		}
	}
	return nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// gone says why the pod is lost, if it is.
func (w *watcher) gone(pod *corev1.Pod) error {
	if pod.DeletionTimestamp != nil {
		return w.lost("it was deleted")
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.DisruptionTarget && c.Status == corev1.ConditionTrue {
			return w.lost(c.Reason + ": " + c.Message)
		}
	}
	// A pod whose own containers have failed has no reason: its stream says how.
	if pod.Status.Phase == corev1.PodFailed && pod.Status.Reason != "" {
		return w.lost(pod.Status.Reason + ": " + pod.Status.Message)
	}
	if pod.Status.Phase == corev1.PodUnknown {
		return w.lost("its node is not heard of")
	}
	for _, c := range pod.Status.ContainerStatuses {
		if t := c.State.Terminated; t != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
			return notStarted(pod, t.Message)
		}
	}
	return nil
}

func (w *watcher) lost(why string) error {
	return fault.Newf(fault.Unavailable, "run step as a pod", where(w.created), strings.TrimSuffix(strings.TrimSpace(why), ":"))
}

// notStarted says why a container could not be.
func notStarted(pod *corev1.Pod, why string) error {
	if strings.Contains(why, "not a directory") || strings.Contains(why, "is a directory") {
		return fault.Newf(fault.Usage, "make mount point", where(pod), "a folder and a file cannot be mounted on each other: "+why)
	}
	if strings.Contains(why, "OOM") {
		why += " (the memory limit is too low to start anything)"
	}
	return fault.Newf(fault.Failed, "run step as a pod", where(pod), why)
}

// waits says whether a container waits in vain.
func (w *watcher) waits(wait *corev1.ContainerStateWaiting) error {
	switch wait.Reason {
	case "InvalidImageName", "CreateContainerConfigError":
		return fault.Newf(fault.Failed, "run step as a pod", where(w.created), wait.Reason+": "+wait.Message)
	case "RunContainerError", "CreateContainerError":
		return notStarted(w.created, wait.Message)
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable":
		if w.notPulled.IsZero() {
			w.notPulled = time.Now()
		}
		if time.Since(w.notPulled) > w.executor.opt.PullTimeout {
			return fault.Newf(fault.Unavailable, "pull the image of a step", where(w.created), wait.Message).
				WithHint("nodes must reach the registry of the steps' images, trust its certificate and have the pull secret's rights")
		}
	}
	return nil
}

// late says why the pod has not started in time.
func (w *watcher) late() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	why := "no node has taken it up"
	for _, c := range w.pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Message != "" {
			why = c.Message
		}
	}
	if w.pod.Spec.NodeName != "" {
		why = fmt.Sprintf("node %s has not started it", w.pod.Spec.NodeName)
	}
	for _, c := range w.pod.Status.ContainerStatuses {
		if wait := c.State.Waiting; wait != nil && wait.Message != "" {
			why += ": " + wait.Reason + ": " + wait.Message
		}
	}
	return fault.Newf(fault.Unavailable, "run step as a pod", where(w.created), fmt.Sprintf("after %s %s", w.executor.opt.StartTimeout, why)).
		WithHint("look at the nodes' room and the step's limits, or let it wait longer")
}

// autopsy waits for what the kubelet says of a container that has ended, and says whether it
// was killed for want of memory.
func (w *watcher) autopsy(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		pod, err := w.executor.client.CoreV1().Pods(w.created.Namespace).Get(ctx, w.created.Name, metav1.GetOptions{})
		if err == nil {
			for _, c := range pod.Status.ContainerStatuses {
				if t := c.State.Terminated; t != nil && c.Name == stepCommand {
					return t.Reason == "OOMKilled"
				}
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}
