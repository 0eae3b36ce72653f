package pod

import (
	"context"
	"maps"

	corev1 "k8s.io/api/core/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// Placement says on which nodes the pods of steps run, and what they ask of them.
type Placement struct {
	Scheduling v1alpha1.BuildScheduling
	// Requests of cpu and memory that are lower than the step's limits; those that are not
	// named are the limits.
	Requests corev1.ResourceList
}

type placementKey struct{}

// With gives a context whose steps run where the placement says.
func With(ctx context.Context, p Placement) context.Context {
	return context.WithValue(ctx, placementKey{}, p)
}

func placementOf(ctx context.Context) Placement {
	p, _ := ctx.Value(placementKey{}).(Placement)
	return p
}

func (p Placement) apply(spec *corev1.PodSpec, architecture string) {
	s := p.Scheduling
	spec.NodeSelector = map[string]string{corev1.LabelOSStable: "linux", corev1.LabelArchStable: architecture}
	maps.Copy(spec.NodeSelector, s.NodeSelector)
	spec.Tolerations, spec.Affinity = s.Tolerations, s.Affinity
	spec.PriorityClassName, spec.RuntimeClassName, spec.SchedulerName = s.PriorityClassName, s.RuntimeClassName, s.SchedulerName
}
