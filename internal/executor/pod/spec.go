package pod

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/internal/executor"
)

// What marks the pods of steps.
const (
	nameLabel   = "app.kubernetes.io/name"
	stepName    = "plimsoll-step"
	ownerLabel  = "plimsoll.dev/owner"
	selfLabel   = "plimsoll.dev/process" // of the executor's process
	network     = "plimsoll.dev/network" // "none" on pods without; as an annotation, too, which a node of ours obeys
	expiresNote = "plimsoll.dev/expires" // RFC 3339: a living executor has deleted the pod by then
	volumesPath = "/.plimsoll-volumes"   // in the first container
	without     = "none"                 // the network of a step without one
	agentName   = "agent"                // the first container
	stepCommand = "step"                 // the second
	hostname    = "step"                 // of every step's machine
)

// grace is how much longer than a step may last its pod may: the time to fetch an image and
// to carry folders.
const grace = time.Hour

// spec gives the step's pod.
func (r *run) spec() *corev1.Pod {
	e := r.executor
	lifetime := e.opt.MaxWall
	if wall := r.step.Limits.Wall; wall > 0 {
		lifetime = wall
	}
	lifetime += grace
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: "step-", Namespace: e.opt.Namespace,
			Labels: map[string]string{nameLabel: stepName, ownerLabel: e.opt.Owner, selfLabel: e.self},
			Annotations: map[string]string{
				expiresNote: time.Now().Add(e.opt.StartTimeout + lifetime).UTC().Format(time.RFC3339),
				"cluster-autoscaler.kubernetes.io/safe-to-evict": "false", "karpenter.sh/do-not-disrupt": "true",
			},
		},
		Spec: corev1.PodSpec{
			ServiceAccountName: e.opt.ServiceAccount, AutomountServiceAccountToken: new(false), EnableServiceLinks: new(false),
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(int64(lifetime.Seconds())),
			TerminationGracePeriodSeconds: new(int64(5)), Hostname: hostname,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: new(true), RunAsUser: new(int64(r.step.UID)), RunAsGroup: new(int64(r.step.GID)),
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Volumes:    r.plan.volumes,
			Containers: []corev1.Container{r.agentContainer()},
		},
	}
	if e.opt.PullSecret != "" {
		pod.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: e.opt.PullSecret}}
	}
	if len(r.step.Command) > 0 {
		pod.Spec.Containers = append(pod.Spec.Containers, r.stepContainer())
	}
	if !r.step.Network {
		pod.Labels[network], pod.Annotations[network] = without, without
	}
	r.placement.apply(&pod.Spec, e.opt.Architecture)
	return pod
}

// agentContainer is the first container. The kubelet starts a pod's containers in order, and
// each after the former's postStart hook has ended, which the agent holds back until the
// volumes are filled: files among them are mounted one by one, and must be there by then.
func (r *run) agentContainer() corev1.Container {
	c := r.container(agentName, "serve", volumesPath)
	c.Lifecycle = &corev1.Lifecycle{PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{AgentPath, "hold"}}}}
	if len(r.step.Command) == 0 {
		c.Lifecycle = nil
	}
	for _, v := range r.plan.volumes {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: path.Join(volumesPath, v.Name)})
	}
	// What it writes to folders in memory counts as its own. A list of a million files takes
	// 200 MB.
	c.Resources = corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("32Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("512Mi")},
	}
	return c
}

func (r *run) stepContainer() corev1.Container {
	c := r.container(stepCommand, "step")
	c.VolumeMounts = r.plan.mounts
	c.Resources = resources(r.step.Limits, r.placement.Requests)
	return c
}

func (r *run) container(name string, args ...string) corev1.Container {
	return corev1.Container{
		Name: name, Image: r.image, ImagePullPolicy: corev1.PullIfNotPresent,
		Command: append([]string{AgentPath}, args...),
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), Privileged: new(false),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// resources asks for what a step may use, unless less was asked for.
func resources(l executor.Limits, requests corev1.ResourceList) corev1.ResourceRequirements {
	limits := corev1.ResourceList{}
	if l.MilliCPU > 0 {
		limits[corev1.ResourceCPU] = *resource.NewMilliQuantity(l.MilliCPU, resource.DecimalSI)
	}
	if l.Memory > 0 {
		limits[corev1.ResourceMemory] = *resource.NewQuantity(l.Memory, resource.BinarySI)
	}
	asked := maps.Clone(limits)
	for name, quantity := range requests {
		if limit, ok := limits[name]; !ok || quantity.Cmp(limit) < 0 {
			asked[name] = quantity
		}
	}
	return corev1.ResourceRequirements{Limits: limits, Requests: asked}
}

var notInLabels = regexp.MustCompile(`[^A-Za-z0-9_.-]+`)

// label gives text as a label's value (Kubernetes, "Labels and Selectors").
func label(text string) string {
	text = notInLabels.ReplaceAllString(text, "-")
	return strings.Trim(text[:min(len(text), 63)], "-_.")
}

// where names the pod in errors.
func where(pod *corev1.Pod) string { return fmt.Sprintf("%s/%s", pod.Namespace, pod.Name) }
