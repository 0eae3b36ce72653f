package plane

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/config/crd"
	"plimsoll.dev/plimsoll/config/rbac"
	"plimsoll.dev/plimsoll/internal/fault"
)

// fieldOwner is whom server-side apply names for what a control plane itself declares.
const fieldOwner = "plimsoll"

// declare makes the cluster know the resources, as this version of them is, and what people may do
// with them, and waits until it serves them.
func declare(ctx context.Context, c client.Client) error {
	var names []string
	apply := func(object *unstructured.Unstructured) error {
		return c.Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(fieldOwner), client.ForceOwnership)
	}
	err := each(crd.Files, func(object *unstructured.Unstructured) error {
		names = append(names, object.GetName())
		return apply(object)
	})
	if err == nil {
		err = each(rbac.Users, apply)
	}
	if err != nil {
		return fault.New(fault.Failed, "declare the resources", "", err).WithHint("may this kubeconfig's user create custom resource definitions and cluster roles? The chart does it for a cluster's administrators")
	}
	for _, name := range names {
		if err := established(ctx, c, name); err != nil {
			return fault.New(fault.Unavailable, "declare the resources", name, err)
		}
	}
	return nil
}

// logReader is the service account of a home's own cluster by which `plimsoll logs` reads: its
// administrator has a certificate, which nobody but the API server can look at.
var logReader = client.ObjectKey{Namespace: metav1.NamespaceSystem, Name: "plimsoll-log-reader"}

// letReadLogs declares the logReader, who may read the logs of Builds and nothing else.
func letReadLogs(ctx context.Context, c client.Client) error {
	named := func(version, kind, namespace string, object map[string]any) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: object}
		o.SetAPIVersion(version)
		o.SetKind(kind)
		o.SetNamespace(namespace)
		o.SetName(logReader.Name)
		return o
	}
	const rights = "rbac.authorization.k8s.io"
	for _, o := range []*unstructured.Unstructured{
		named("v1", "ServiceAccount", logReader.Namespace, map[string]any{"automountServiceAccountToken": false}),
		named(rights+"/v1", "ClusterRole", "", map[string]any{"rules": []any{map[string]any{
			"apiGroups": []any{v1alpha1.GroupVersion.Group}, "resources": []any{"builds/log"}, "verbs": []any{"get"},
		}}}),
		named(rights+"/v1", "ClusterRoleBinding", "", map[string]any{
			"roleRef":  map[string]any{"apiGroup": rights, "kind": "ClusterRole", "name": logReader.Name},
			"subjects": []any{map[string]any{"kind": "ServiceAccount", "namespace": logReader.Namespace, "name": logReader.Name}},
		}),
	} {
		err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
			err := c.Apply(ctx, client.ApplyConfigurationFromUnstructured(o), client.FieldOwner(fieldOwner), client.ForceOwnership)
			return !apierrors.IsNotFound(err), client.IgnoreNotFound(err) // the namespace is being made when a cluster is new
		})
		if err != nil {
			return fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
	}
	return nil
}

// each decodes every document of the files.
func each(files fs.FS, do func(*unstructured.Unstructured) error) error {
	paths, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			object := &unstructured.Unstructured{}
			if err := yaml.Unmarshal([]byte(document), &object.Object); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			if len(object.Object) == 0 {
				continue
			}
			if err := do(object); err != nil {
				return fmt.Errorf("%s: %w", object.GetName(), err)
			}
		}
	}
	return nil
}

// established waits until the API serves the definition.
func established(ctx context.Context, c client.Client, name string) error {
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		var definition apiextensions.CustomResourceDefinition
		if err := c.Get(ctx, client.ObjectKey{Name: name}, &definition); err != nil {
			return false, err
		}
		for _, condition := range definition.Status.Conditions {
			if condition.Type == apiextensions.Established {
				return condition.Status == apiextensions.ConditionTrue, nil
			}
		}
		return false, nil
	})
}

// bootScheme knows what is read and written before the controllers start.
func bootScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	_ = apiextensions.AddToScheme(scheme) // it fails only for a type that is registered twice
	metav1.AddToGroupVersion(scheme, metav1.SchemeGroupVersion)
	return scheme
}
