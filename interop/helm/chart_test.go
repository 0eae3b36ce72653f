package helm

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kubeyaml "k8s.io/apimachinery/pkg/util/yaml"
	security "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"plimsoll.dev/plimsoll/config/crd"
	"plimsoll.dev/plimsoll/config/rbac"
	"plimsoll.dev/plimsoll/internal/executor/pod"
)

const (
	chart      = "../../charts/plimsoll"
	system     = "plimsoll-system"
	kubernetes = "1.34.4" // that of the cluster, which rendering does not ask
)

var update = flag.Bool("update", false, "write what the chart renders to testdata")

// program gives the path of Helm, which is built when it is not yet.
var program = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "tool", "-n", "helm").Output()
	return strings.TrimSpace(string(out)), err
})

// helm runs Helm, and keeps what it would keep of its user in a folder of the test.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	dir := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+dir, "HELM_CONFIG_HOME="+dir, "HELM_DATA_HOME="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", errors.New(strings.TrimSpace(errs.String() + out.String()))
	}
	return out.String(), nil
}

// rendered gives the objects that the chart makes of values in testdata, and settings.
func rendered(t *testing.T, values string, set ...string) (text string, objects []*unstructured.Unstructured) {
	t.Helper()
	args := []string{"template", "plimsoll", chart, "--namespace", system, "--kube-version", kubernetes, "-f", "testdata/" + values + ".yaml"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	text, err := helm(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	return text, decode(t, text)
}

func decode(t *testing.T, text string) (objects []*unstructured.Unstructured) {
	t.Helper()
	decoder := kubeyaml.NewYAMLOrJSONDecoder(strings.NewReader(text), 1<<20)
	for {
		o := &unstructured.Unstructured{}
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return objects
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(o.Object) > 0 {
			objects = append(objects, o)
		}
	}
}

// find gives the object of that kind and name.
func find(t *testing.T, objects []*unstructured.Unstructured, kind, name string) *unstructured.Unstructured {
	t.Helper()
	for _, o := range objects {
		if o.GetKind() == kind && o.GetName() == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// settings are the values that the chart is rendered with, from few to all.
var settings = []string{"replicated", "single", "everything"}

func TestLint(t *testing.T) {
	for _, values := range settings {
		if out, err := helm(t, "lint", "--strict", chart, "--kube-version", kubernetes, "-f", "testdata/"+values+".yaml"); err != nil {
			t.Errorf("%s: %v\n%s", values, err, out)
		}
	}
}

// TestRendered holds what is rendered against what it was, the definitions left out.
func TestRendered(t *testing.T) {
	for _, values := range settings {
		got, _ := rendered(t, values, "definitions=false", "userRoles=false")
		file := filepath.Join("testdata", values+".golden")
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: run go test -run TestRendered -update if that is meant\n%s", values, diff)
		}
	}
}

// TestRefused: values that would make an installation which is not safe, or does not work.
func TestRefused(t *testing.T) {
	for _, test := range []struct {
		name, set, says string
	}{
		{"a tag", "image.repository=registry.example.com/plimsoll:1", "/image/repository"},
		{"a tag beside the digest", "image.tag=1", "tag"},
		{"latest", "image.digest=latest", "/image/digest"},
		{"no digest", "image.digest=", "scripts/images"},
		{"nowhere to publish", "publish=", "publish"},
		{"replicas without a database", "inventory.existingSecret=", "PostgreSQL"},
		{"replicas with a volume", "home.persistence.enabled=true", "replicas=1"},
		{"keys that go with a pod", "signing.existingSecret=", "signing.existingSecret"},
		{"an ingress without a name", "ingress.enabled=true", "ingress.host"},
		{"what there is not", "replica=3", "replica"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := helm(t, "template", "plimsoll", chart, "--kube-version", kubernetes, "-f", "testdata/replicated.yaml", "--set", test.set)
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("it says %v, want %q in it", err, test.says)
			}
		})
	}
}

// TestRestricted holds every pod against the restricted pod security standard, in its newest version
// and in that of the oldest Kubernetes that the chart is for, and against more than that.
func TestRestricted(t *testing.T) {
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks())
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range settings {
		_, objects := rendered(t, values)
		pods := 0
		for _, o := range objects {
			if o.GetKind() != "Deployment" {
				continue
			}
			pods++
			var d appsv1.Deployment
			if err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(o.Object, &d, true); err != nil {
				t.Fatal(err)
			}
			for _, version := range []security.Version{security.LatestVersion(), security.MajorMinorVersion(1, 31)} {
				for _, result := range evaluator.EvaluatePod(security.LevelVersion{Level: security.LevelRestricted, Version: version}, &d.Spec.Template.ObjectMeta, &d.Spec.Template.Spec) {
					if !result.Allowed {
						t.Errorf("%s: %s: %s: %s", values, d.Name, result.ForbiddenReason, result.ForbiddenDetail)
					}
				}
			}
			hardened(t, d.Name, d.Spec.Template.Spec)
		}
		if pods == 0 {
			t.Errorf("%s: there are no pods", values)
		}
	}
}

// hardened asks for what the standard does not.
func hardened(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	for _, c := range spec.Containers {
		if s := c.SecurityContext; s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
			t.Errorf("%s: %s writes to its root", name, c.Name)
		}
		if _, digest, ok := strings.Cut(c.Image, "@sha256:"); !ok || len(digest) != 64 || strings.Contains(filepath.Base(c.Image[:strings.Index(c.Image, "@")]), ":") {
			t.Errorf("%s: %s is not an image by its digest alone", name, c.Image)
		}
		if c.LivenessProbe == nil || c.ReadinessProbe == nil || c.Resources.Limits.Memory().IsZero() {
			t.Errorf("%s: %s has no probes, or no bound of its memory", name, c.Name)
		}
		for _, env := range c.Env {
			if strings.Contains(env.Value, "://") && strings.Contains(env.Value, "@") {
				t.Errorf("%s: %s holds a login", name, env.Name)
			}
		}
	}
}

// TestDefinitions: the chart has the definitions of this version, and Helm does not take them away.
func TestDefinitions(t *testing.T) {
	_, objects := rendered(t, "replicated")
	files, err := crd.Files.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := crd.Files.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		want := decode(t, string(text))[0]
		got := find(t, objects, "CustomResourceDefinition", want.GetName())
		if got.GetAnnotations()["helm.sh/resource-policy"] != "keep" {
			t.Errorf("%s goes with a release", want.GetName())
		}
		if diff := cmp.Diff(want.Object["spec"], got.Object["spec"]); diff != "" {
			t.Errorf("%s: %s", want.GetName(), diff)
		}
	}
}

// TestRoles: the chart gives the rights of config/rbac and no others, in its own namespaces.
func TestRoles(t *testing.T) {
	renamed := strings.NewReplacer("plimsoll-system", system, "plimsoll-steps", "steps")
	_, objects := rendered(t, "replicated", "steps.namespace=steps")
	wanted := 0
	for _, name := range []string{"controllers.yaml", "users.yaml"} {
		text, err := rbac.Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range decode(t, renamed.Replace(string(text))) {
			wanted++
			got := find(t, objects, want.GetKind(), want.GetName())
			for label, value := range want.GetLabels() {
				if got.GetLabels()[label] != value {
					t.Errorf("%s lacks the label %s", got.GetName(), label)
				}
			}
			want.SetLabels(nil)
			got = got.DeepCopy()
			got.SetLabels(nil)
			if diff := cmp.Diff(want.Object, got.Object); diff != "" {
				t.Errorf("%s %s: %s", got.GetKind(), got.GetName(), diff)
			}
		}
	}
	have := 0
	for _, o := range objects {
		if strings.HasPrefix(o.GetAPIVersion(), "rbac.") || o.GetKind() == "ServiceAccount" && o.GetName() != pod.DefaultServiceAccount {
			have++
		}
	}
	if have != wanted {
		t.Errorf("there are %d roles, bindings and accounts, want %d", have, wanted)
	}
}

// TestSteps: the steps' namespace is what the executor of pods prepares a cluster with; beyond that
// only what a step with a network may reach is narrowed, and never widened.
func TestSteps(t *testing.T) {
	_, objects := rendered(t, "replicated")
	for _, object := range pod.Objects() {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
		if err != nil {
			t.Fatal(err)
		}
		want := &unstructured.Unstructured{Object: fields}
		got := find(t, objects, want.GetKind(), want.GetName()).DeepCopy()
		if got.GetNamespace() != want.GetNamespace() {
			t.Errorf("%s %s is in %q", got.GetKind(), got.GetName(), got.GetNamespace())
		}
		for label, value := range want.GetLabels() {
			if strings.HasPrefix(label, "pod-security.") && got.GetLabels()[label] != value {
				t.Errorf("%s: %s is %q", got.GetName(), label, got.GetLabels()[label])
			}
		}
		for _, o := range []*unstructured.Unstructured{want, got} {
			delete(o.Object, "metadata")
			delete(o.Object, "status")
			if spec, ok := o.Object["spec"].(map[string]any); ok && len(spec) == 0 {
				delete(o.Object, "spec")
			}
		}
		if diff := cmp.Diff(want.Object, got.Object); diff != "" {
			t.Errorf("%s: %s", object.GetName(), diff)
		}
	}
	with := find(t, objects, "NetworkPolicy", "steps-with-network")
	selects, _, err := unstructured.NestedSlice(with.Object, "spec", "podSelector", "matchExpressions")
	if err != nil {
		t.Fatal(err)
	}
	want := []any{map[string]any{"key": "plimsoll.dev/network", "operator": "NotIn", "values": []any{"none"}}}
	if diff := cmp.Diff(want, selects); diff != "" {
		t.Errorf("policies add up, so what lets steps out may not select those without a network: %s", diff)
	}
}
