package pod

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What Objects names.
const (
	DefaultNamespace      = "plimsoll-steps"
	DefaultServiceAccount = "plimsoll-step"
)

// Rules are the rights that an executor needs, in the namespace of steps and nowhere else.
// WebSockets ask for "get" of pods/exec, SPDY for "create".
func Rules() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"create", "get", "list", "watch", "delete"}},
		{APIGroups: []string{""}, Resources: []string{"pods/exec"}, Verbs: []string{"create", "get"}},
	}
}

// Objects are what a cluster needs to have before steps run in it: their namespace, with the
// restricted pod security standard enforced; their service account, which has no rights; and
// the policies that nobody connects to a step, and a step without network to nobody.
func Objects() []client.Object {
	meta := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, Namespace: DefaultNamespace, Labels: map[string]string{nameLabel: stepName}}
	}
	policy := func(name string, types []networkingv1.PolicyType, labels map[string]string) client.Object {
		return &networkingv1.NetworkPolicy{
			TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
			ObjectMeta: meta(name),
			Spec:       networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: labels}, PolicyTypes: types},
		}
	}
	namespace := meta(DefaultNamespace)
	namespace.Namespace = ""
	for _, mode := range []string{"enforce", "audit", "warn"} {
		namespace.Labels["pod-security.kubernetes.io/"+mode] = "restricted"
	}
	return []client.Object{
		&corev1.Namespace{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}, ObjectMeta: namespace},
		&corev1.ServiceAccount{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"}, ObjectMeta: meta(DefaultServiceAccount),
			AutomountServiceAccountToken: new(false),
		},
		policy("steps", []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}, map[string]string{nameLabel: stepName}),
		policy("steps-without-network", []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
			map[string]string{network: without}),
	}
}
