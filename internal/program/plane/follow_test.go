package plane

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientset "k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller"
	"plimsoll.dev/plimsoll/internal/controller/bed"
	"plimsoll.dev/plimsoll/internal/fault"
)

// TestFollow has a home follow the policies of a real API server with the rights of the chart's
// registry, and while that is away.
func TestFollow(t *testing.T) {
	b, dir := bed.New(t), filepath.Join(t.TempDir(), "policies")
	reader := mayRead(t, b)
	const mine = "by-hand.yaml"
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, mine), []byte("# mine\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	old, sound, wrong := ruled("old", "true"), ruled("sound", "true"), ruled("wrong", "no such thing")
	for _, p := range []*v1alpha1.ImagePolicy{old, sound, wrong} {
		b.Create(t, p)
	}
	stop := followed(t, reader, dir)
	look(t, b, dir, mine, "imagepolicy-old.yaml", "imagepolicy-sound.yaml")

	waiver := &v1alpha1.PolicyException{ObjectMeta: metav1.ObjectMeta{Name: "waiver"}, Spec: v1alpha1.PolicyExceptionSpec{
		Owner: "team", Reason: "to test", Expires: metav1.NewTime(time.Now().AddDate(1, 0, 0)), Rules: []string{"sound/*"},
		Scope: v1alpha1.PolicyScope{Repositories: []string{"shop"}},
	}}
	b.Create(t, waiver)
	b.Change(t, wrong, func() { wrong.Spec.Rules[0].Expression = "true" })
	look(t, b, dir, mine, "imagepolicy-old.yaml", "imagepolicy-sound.yaml", "imagepolicy-wrong.yaml", "policyexception-waiver.yaml")
	b.Delete(t, waiver)
	look(t, b, dir, mine, "imagepolicy-old.yaml", "imagepolicy-sound.yaml", "imagepolicy-wrong.yaml")

	stop()
	b.Delete(t, old)
	b.Create(t, ruled("new", "true"))
	followed(t, reader, dir) // what it returns with stands at once
	if diff := cmp.Diff([]string{mine, "imagepolicy-new.yaml", "imagepolicy-sound.yaml", "imagepolicy-wrong.yaml"}, files(t, dir)); diff != "" {
		t.Error(diff)
	}

	stranger := rest.CopyConfig(reader)
	stranger.Impersonate.UserName = "stranger"
	if _, err := follow(t.Context(), stranger, controller.Options{SkipNames: true}, dir, slog.New(slog.DiscardHandler)); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("one who may not read them follows: %v", err)
	}
}

// mayRead gives the API as the chart's registry may use it.
func mayRead(t *testing.T, b *bed.Bed) *rest.Config {
	t.Helper()
	clients, err := clientset.NewForConfig(b.Config)
	if err != nil {
		t.Fatal(err)
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "registry"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"plimsoll.dev"}, Resources: []string{"imagepolicies", "policyexceptions"}, Verbs: []string{"get", "list", "watch"}},
	}}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "ClusterRole", Name: "registry"},
		Subjects: []rbacv1.Subject{{APIGroup: "rbac.authorization.k8s.io", Kind: "User", Name: "registry"}},
	}
	if _, err := clients.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := clients.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	reader := rest.CopyConfig(b.Config)
	reader.Impersonate.UserName = "registry"
	return reader
}

func ruled(name, expression string) *v1alpha1.ImagePolicy {
	return &v1alpha1.ImagePolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.ImagePolicySpec{
		Gates: v1alpha1.PolicyGates{Registry: "deny"},
		Rules: []v1alpha1.PolicyRule{{Name: "rule", Title: "a rule", Reason: "to test", Expression: expression}},
	}}
}

// followed has the folder follow, and gives what ends that and waits.
func followed(t *testing.T, target *rest.Config, dir string) (stop func()) {
	t.Helper()
	keep, err := follow(t.Context(), target, controller.Options{SkipNames: true}, dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- keep(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// look waits until the folder has these files.
func look(t *testing.T, b *bed.Bed, dir string, want ...string) {
	t.Helper()
	b.Until(t, func() string { return cmp.Diff(want, files(t, dir)) })
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), ".") { // one that is being written
			names = append(names, entry.Name())
		}
	}
	return names
}
