package tests

import (
	"bytes"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authorization "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	roles "plimsoll.dev/plimsoll/config/rbac"
	"plimsoll.dev/plimsoll/internal/executor/pod"
)

const controllers = "system:serviceaccount:plimsoll-system:plimsoll-controllers"

// testRoles binds the roles to people and asks the server what each may do.
func (b *bed) testRoles(t *testing.T) {
	b.bindRoles(t)
	eventually(t, "the roles are not added to Kubernetes' own", func() error {
		if !b.may(t, "edith", "update", "images", "", "team") {
			return fmt.Errorf("edit is not there yet")
		}
		return nil
	})
	tests := []struct {
		who, verb, resource, namespace string
		may                            bool
	}{
		{"vera", "list", "images", "team", true},
		{"vera", "watch", "builds", "team", true},
		{"vera", "update", "images", "team", false},
		{"vera", "list", "images", "team-a", false},
		{"edith", "create", "images", "team", true},
		{"edith", "create", "images", "team-a", false},
		{"edith", "update", "images/status", "team", false},
		{"edith", "create", "builds", "team", false},
		{"edith", "update", "builds", "team", false},
		{"edith", "patch", "builds/status", "team", false},
		{"edith", "delete", "builds", "team", true},
		{"edith", "create", "imagepolicies", "", false},
		{"edith", "create", "policyexceptions", "", false},
		{"edith", "create", "baseimages", "", false},
		{"edith", "create", "patches", "", false},
		{"adam", "create", "images", "team", true},
		{"adam", "deletecollection", "builds", "team", true},
		{"adam", "patch", "images/status", "team", false},
		{"pia", "create", "baseimages", "", true},
		{"pia", "create", "patches", "", true},
		{"pia", "update", "imagepolicies", "", false},
		{"pia", "create", "policyexceptions", "", false},
		{"sam", "update", "imagepolicies", "", true},
		{"sam", "create", "policyexceptions", "", true},
		{"sam", "create", "builders", "", false},
		{"sam", "create", "images", "team", false},

		{controllers, "watch", "images", "", true},
		{controllers, "patch", "images/status", "team", true},
		{controllers, "update", "images/finalizers", "team", true},
		{controllers, "create", "builds", "team", true},
		{controllers, "update", "images", "team", false},
		{controllers, "delete", "images", "team", false},
		{controllers, "patch", "imagepolicies", "", true},
		{controllers, "delete", "imagepolicies", "", false},
		{controllers, "get", "secrets", "team", true}, // where the role is bound
		{controllers, "list", "secrets", "team", false},
		{controllers, "get", "secrets", "team-a", false},
		{controllers, "get", "secrets", "kube-system", false},
		{controllers, "create", "pods", "plimsoll-steps", true},
		{controllers, "create", "pods/exec", "plimsoll-steps", true},
		{controllers, "create", "pods", "team", false},
		{controllers, "create", "pods/exec", "team", false},
		{controllers, "get", "secrets", "plimsoll-steps", false},
		{controllers, "create", "events", "team", true},
		{controllers, "create", "clusterrolebindings", "", false},
		{controllers, "watch", "namespaces", "", true}, // what administrators allow there
		{controllers, "patch", "namespaces", "", false},
		{"edith", "patch", "namespaces", "team", false},
		{"adam", "patch", "namespaces", "team", false},
		{controllers, "get", "nodes", "", false},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %s %s in %s", tt.who, tt.verb, tt.resource, tt.namespace), func(t *testing.T) {
			if got := b.may(t, tt.who, tt.verb, tt.resource, "", tt.namespace); got != tt.may {
				t.Errorf("want %t", tt.may)
			}
		})
	}
	if !b.may(t, controllers, "update", "leases", "controllers.plimsoll.dev", "plimsoll-system") || b.may(t, controllers, "update", "leases", "other", "plimsoll-system") {
		t.Error("want the right to one lease, and to no other")
	}
	var steps rbac.Role
	if err := b.client.Get(t.Context(), client.ObjectKey{Namespace: pod.DefaultNamespace, Name: "plimsoll-steps"}, &steps); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pod.Rules(), steps.Rules); diff != "" {
		t.Errorf("the role for steps is not what their executor needs:\n%s", diff)
	}
}

// bindRoles makes the roles and gives them to people: vera, edith and adam view, edit and administer
// the namespace team; pia and sam have the platform and its security.
func (b *bed) bindRoles(t *testing.T) {
	t.Helper()
	for _, name := range []string{"plimsoll-system", "plimsoll-steps"} {
		b.make(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	files, err := fs.Glob(roles.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := roles.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, document := range bytes.Split(text, []byte("\n---\n")) {
			if _, err := b.apply(t.Context(), object(t, string(document))); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
		}
	}
	for who, role := range map[string]string{"vera": "view", "edith": "edit", "adam": "admin", controllers: "plimsoll-image-secrets"} {
		b.make(t, &rbac.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Namespace: "team"},
			RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: "User", Name: who}},
		})
	}
	for who, role := range map[string]string{"pia": "plimsoll-platform", "sam": "plimsoll-security"} {
		b.make(t, &rbac.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"},
			RoleRef:    rbac.RoleRef{APIGroup: rbac.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbac.Subject{{APIGroup: rbac.GroupName, Kind: "User", Name: who}},
		})
	}
	// What view, edit and admin hold of ours is put together by a controller, one after another.
	for deadline := time.Now().Add(time.Minute); !b.may(t, "vera", "get", "images", "", "team") ||
		!b.may(t, "edith", "create", "images", "", "team") || !b.may(t, "adam", "deletecollection", "builds", "", "team"); <-time.After(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the roles of the cluster do not hold ours within a minute")
		}
	}
}

func (b *bed) make(t *testing.T, o client.Object) {
	t.Helper()
	if err := b.client.Create(t.Context(), o); err != nil {
		t.Fatal(err)
	}
}

// groups of the resources that rights are asked for.
var groups = map[string]string{"secrets": "", "pods": "", "events": "", "nodes": "", "leases": "coordination.k8s.io", "clusterrolebindings": rbac.GroupName}

// may asks the server whether somebody may do something.
func (b *bed) may(t *testing.T, who, verb, resource, name, namespace string) bool {
	t.Helper()
	resource, sub, _ := strings.Cut(resource, "/")
	group, known := groups[resource]
	if !known {
		group = "plimsoll.dev"
	}
	review := &authorization.SubjectAccessReview{Spec: authorization.SubjectAccessReviewSpec{
		User: who,
		ResourceAttributes: &authorization.ResourceAttributes{
			Namespace: namespace, Verb: verb, Group: group, Resource: resource, Subresource: sub, Name: name,
		},
	}}
	b.make(t, review)
	return review.Status.Allowed
}
