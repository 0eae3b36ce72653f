// Package tests takes the definitions of the resources and gives what a real API server says of
// them.
package tests

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	rbac "k8s.io/api/rbac/v1"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgo "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/config/crd"
	"plimsoll.dev/plimsoll/internal/cluster"
	"plimsoll.dev/plimsoll/internal/cluster/clustertest"
)

// bed is an API server that has the definitions.
type bed struct {
	cluster *cluster.Cluster
	client  client.Client
	kubectl string
}

// owner is by whom tests apply.
const owner = client.FieldOwner("tests")

func newBed(t *testing.T) *bed {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgo.AddToScheme, apiextensions.AddToScheme, rbac.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := clustertest.Start(t)
	api, err := client.New(c.Config(), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{cluster: c, client: api, kubectl: clustertest.Program(t)}
	for _, definition := range definitions(t) {
		if err := api.Create(t.Context(), definition.DeepCopy()); err != nil {
			t.Fatal(err)
		}
	}
	for _, definition := range definitions(t) {
		b.awaitEstablished(t, definition.Name)
	}
	return b
}

// definitions gives those of the resources, by name.
func definitions(t *testing.T) []*apiextensions.CustomResourceDefinition {
	t.Helper()
	files, err := fs.Glob(crd.Files, "*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var out []*apiextensions.CustomResourceDefinition
	for _, file := range files {
		text, err := crd.Files.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var d apiextensions.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &d); err != nil {
			t.Fatal(file, err)
		}
		out = append(out, &d)
	}
	return out
}

// awaitEstablished waits until resources of the definition can be made, and fails where the server
// finds something wrong with its schema or its names.
func (b *bed) awaitEstablished(t *testing.T, name string) {
	t.Helper()
	var d apiextensions.CustomResourceDefinition
	eventually(t, name+" is not established", func() error {
		if err := b.client.Get(t.Context(), client.ObjectKey{Name: name}, &d); err != nil {
			return err
		}
		if !slices.ContainsFunc(d.Status.Conditions, func(c apiextensions.CustomResourceDefinitionCondition) bool {
			return c.Type == apiextensions.Established && c.Status == apiextensions.ConditionTrue
		}) {
			return errors.New("not yet")
		}
		return nil
	})
	for _, c := range d.Status.Conditions {
		if c.Type == apiextensions.NonStructuralSchema && c.Status == apiextensions.ConditionTrue {
			t.Errorf("%s: %s", name, c.Message)
		}
	}
}

// eventually asks until there is no error, for half a minute.
func eventually(t *testing.T, what string, ask func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// object reads a resource.
func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &o.Object); err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	return o
}

// apply applies a copy of the object, and gives what the server made of it.
func (b *bed) apply(ctx context.Context, o *unstructured.Unstructured, options ...client.ApplyOption) (*unstructured.Unstructured, error) {
	o = o.DeepCopy()
	err := b.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), append(options, owner)...)
	return o, err
}

// typeOfValue is what the server says before the message of a rule.
var typeOfValue = regexp.MustCompile(`^Invalid value: "[a-z]*": `)

// problems gives what the server finds wrong, as "field: message".
func problems(err error) []string {
	var status *apierrors.StatusError
	if !errors.As(err, &status) || status.ErrStatus.Details == nil {
		return []string{fmt.Sprint(err)}
	}
	var out []string
	for _, cause := range status.ErrStatus.Details.Causes {
		out = append(out, cause.Field+": "+typeOfValue.ReplaceAllString(cause.Message, ""))
	}
	return out
}

// run runs kubectl and gives what it prints.
func (b *bed) run(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), b.kubectl, append([]string{"kubectl", "--kubeconfig", b.cluster.Kubeconfig(), "--cache-dir", t.TempDir()}, args...)...)
	cmd.Env = append(os.Environ(), "COLUMNS=200")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
