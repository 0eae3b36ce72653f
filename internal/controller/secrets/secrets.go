// Package secrets takes an Image and gives what its service account lets it use: logins of
// registries and git servers, variables and service bindings.
//
// Whoever may write an Image must not learn through it what he could not read: only what the
// service account lists is read, only in the Image's own namespace, each time anew, and it is of
// a type that never prints itself.
package secrets

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Resolved is what an Image may use. It is never written anywhere.
type Resolved struct {
	Logins
	Environment map[string]Hidden // of detect and build, those that are no secrets too
	Bindings    []Binding

	// Hide is what of Environment and Bindings logs must not have. It is exported for the sake of package
	// fmt, which prints unexported fields without asking them.
	Hide []Hidden
}

// Logins are those of a service account.
type Logins struct {
	Registries []RegistryLogin
	Git        []GitLogin
}

// Binding is a service binding (servicebinding.io, "Workload Projection").
type Binding struct {
	Name  string
	Files map[string]Hidden
}

// maxListed bounds the secrets that a service account may list: each is a request to the API.
const maxListed = 64

// Resolve reads what the Image may use. reader must ask the API itself: secrets are in no cache.
// Errors are *fault.Error and name secrets, never what is in them: Denied for what the service
// account does not list, NotFound for what is not there, Unavailable when the API does not answer.
func Resolve(ctx context.Context, reader client.Reader, image *v1alpha1.Image) (Resolved, error) {
	a, err := open(ctx, reader, image.Namespace, image.Spec.ServiceAccountName)
	if err != nil {
		return Resolved{}, err
	}
	r := Resolved{Environment: map[string]Hidden{}}
	if r.Logins, err = a.logins(ctx); err != nil {
		return Resolved{}, err
	}
	for _, variable := range image.Spec.Build.Env {
		value, secret, ok, err := a.variable(ctx, variable)
		if err != nil {
			return Resolved{}, err
		}
		if !ok {
			continue
		}
		r.Environment[variable.Name] = value
		if secret {
			r.Hide = append(r.Hide, value)
		}
	}
	for _, ref := range image.Spec.Build.Bindings {
		binding, err := a.binding(ctx, ref.Name)
		if err != nil {
			return Resolved{}, err
		}
		r.Bindings = append(r.Bindings, binding)
		for name, file := range binding.Files {
			if name != "type" && name != "provider" {
				r.Hide = append(r.Hide, file)
			}
		}
	}
	return r, nil
}

// ResolveLogins reads only the logins of a service account: what asking a source and rebasing need.
func ResolveLogins(ctx context.Context, reader client.Reader, namespace, serviceAccount string) (Logins, error) {
	a, err := open(ctx, reader, namespace, serviceAccount)
	if err != nil {
		return Logins{}, err
	}
	return a.logins(ctx)
}

// tokenKey is the key of a webhook's secret.
const tokenKey = "token"

// WebhookToken reads what webhooks of the Image are signed with, from the secret that spec.triggers
// names. Errors are as Resolve's; NotFound is a secret that is not there, too, and one without the key.
func WebhookToken(ctx context.Context, reader client.Reader, namespace, name string) (Hidden, error) {
	const what = "read webhook secret"
	var s corev1.Secret
	if err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &s); err != nil {
		gone := failed(what, namespace, name, err)
		if gone.Kind == fault.NotFound {
			gone = fault.Newf(fault.NotFound, what, namespace+"/"+name, "there is no such secret").
				WithHint(fmt.Sprintf("kubectl --namespace %s create secret generic %s --from-literal=%s=…", namespace, name, tokenKey))
		}
		return "", gone
	}
	if len(s.Data[tokenKey]) == 0 {
		return "", fault.Newf(fault.NotFound, what, namespace+"/"+name, fmt.Sprintf("it has no key %q", tokenKey)).
			WithHint("put what webhooks are signed with under that key")
	}
	return Hidden(s.Data[tokenKey]), nil
}

// account is a service account whose secrets are read, each at most once.
type account struct {
	reader    client.Reader
	namespace string
	name      string
	listed    []string // secrets of its namespace, in their order
	read      map[string]*corev1.Secret
}

// open reads the service account. A namespace without a "default" one has nothing to use.
func open(ctx context.Context, reader client.Reader, namespace, name string) (*account, error) {
	if name == "" {
		name = "default"
	}
	a := &account{reader: reader, namespace: namespace, name: name, read: map[string]*corev1.Secret{}}
	var found corev1.ServiceAccount
	err := reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &found)
	if apierrors.IsNotFound(err) && name == "default" {
		return a, nil
	}
	if err != nil {
		failed := a.failed("read service account", name, err)
		if apierrors.IsNotFound(err) {
			failed = failed.WithHint(fmt.Sprintf("kubectl --namespace %s create serviceaccount %s, or name another in spec.serviceAccountName", namespace, name))
		}
		return nil, failed
	}
	for _, ref := range found.ImagePullSecrets {
		a.list(ref.Name)
	}
	for _, ref := range found.Secrets {
		a.list(ref.Name) // its field namespace means nothing (Kubernetes API, ServiceAccount)
	}
	if len(a.listed) > maxListed {
		return nil, fault.Newf(fault.Usage, "read service account", namespace+"/"+name, fmt.Sprintf("it lists %d secrets, more than %d", len(a.listed), maxListed))
	}
	return a, nil
}

func (a *account) list(name string) {
	if name != "" && !slices.Contains(a.listed, name) {
		a.listed = append(a.listed, name)
	}
}

// secret reads one that the service account lists; nil when it is not there.
func (a *account) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	if !slices.Contains(a.listed, name) {
		return nil, fault.Newf(fault.Denied, "use secret", a.namespace+"/"+name, fmt.Sprintf("the service account %q does not list it", a.name)).
			WithHint(fmt.Sprintf("add it to the account's secrets: kubectl --namespace %s edit serviceaccount %s", a.namespace, a.name))
	}
	if s, ok := a.read[name]; ok {
		return s, nil
	}
	var s corev1.Secret
	err := a.reader.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: name}, &s)
	switch {
	case apierrors.IsNotFound(err):
		a.read[name] = nil
		return nil, nil
	case err != nil:
		return nil, a.failed("read secret", name, err)
	}
	a.read[name] = &s
	return &s, nil
}

// failed gives the fault of a request to the API.
func (a *account) failed(what, name string, err error) *fault.Error {
	return failed(what, a.namespace, name, err)
}

func failed(what, namespace, name string, err error) *fault.Error {
	switch {
	case apierrors.IsNotFound(err):
		return fault.New(fault.NotFound, what, namespace+"/"+name, err)
	case apierrors.IsForbidden(err):
		return fault.Newf(fault.Denied, what, namespace+"/"+name, "the controllers may read no secrets in this namespace").WithHint(bind(namespace, err))
	case apierrors.IsUnauthorized(err):
		return fault.New(fault.Denied, what, namespace+"/"+name, err)
	}
	return fault.New(fault.Unavailable, what, namespace+"/"+name, err)
}

// asked is the service account that an API server has refused, in what it says of that.
var asked = regexp.MustCompile(`system:serviceaccount:([a-z0-9-]+:[a-z0-9.-]+)`)

// bind says how whoever administers a namespace lets the controllers build there.
func bind(namespace string, refused error) string {
	account := "plimsoll-system:plimsoll-controllers"
	if m := asked.FindStringSubmatch(refused.Error()); m != nil {
		account = m[1]
	}
	return fmt.Sprintf("kubectl --namespace %s create rolebinding plimsoll-image-secrets --clusterrole=plimsoll-image-secrets --serviceaccount=%s", namespace, account)
}

// variable gives the value of a variable; ok is false for an optional one that is not there.
func (a *account) variable(ctx context.Context, v corev1.EnvVar) (value Hidden, secret, ok bool, err error) {
	from := v.ValueFrom
	switch {
	case from == nil:
		return Hidden(v.Value), false, true, nil
	case from.SecretKeyRef != nil:
		value, ok, err = a.secretKey(ctx, v.Name, from.SecretKeyRef)
		return value, true, ok, err
	case from.ConfigMapKeyRef != nil:
		value, ok, err = a.configKey(ctx, v.Name, from.ConfigMapKeyRef)
		return value, false, ok, err
	}
	return "", false, false, fault.Newf(fault.Usage, "read variable", v.Name, "want a value, or one from secretKeyRef or configMapKeyRef: a build is no pod")
}

func (a *account) secretKey(ctx context.Context, variable string, ref *corev1.SecretKeySelector) (Hidden, bool, error) {
	s, err := a.secret(ctx, ref.Name)
	if err != nil {
		return "", false, err
	}
	if s != nil {
		if value, ok := s.Data[ref.Key]; ok {
			return Hidden(value), true, nil
		}
	}
	return absent(variable, "secret", a.namespace+"/"+ref.Name, ref.Key, ref.Optional)
}

func (a *account) configKey(ctx context.Context, variable string, ref *corev1.ConfigMapKeySelector) (Hidden, bool, error) {
	var c corev1.ConfigMap
	err := a.reader.Get(ctx, types.NamespacedName{Namespace: a.namespace, Name: ref.Name}, &c)
	if err != nil && !apierrors.IsNotFound(err) {
		return "", false, a.failed("read config map", ref.Name, err)
	}
	if value, ok := c.Data[ref.Key]; ok && err == nil {
		return Hidden(value), true, nil
	}
	return absent(variable, "config map", a.namespace+"/"+ref.Name, ref.Key, ref.Optional)
}

// absent gives what a key that is not there comes to.
func absent(variable, kind, name, key string, optional *bool) (Hidden, bool, error) {
	if optional != nil && *optional {
		return "", false, nil
	}
	return "", false, fault.Newf(fault.NotFound, "read variable", variable, fmt.Sprintf("the %s %s has no key %q", kind, name, key)).
		WithHint("make it, or say optional: true")
}

// binding gives a secret as a service binding.
func (a *account) binding(ctx context.Context, name string) (Binding, error) {
	s, err := a.secret(ctx, name)
	if err != nil {
		return Binding{}, err
	}
	if s == nil {
		return Binding{}, fault.Newf(fault.NotFound, "read binding", a.namespace+"/"+name, "there is no such secret")
	}
	b := Binding{Name: name, Files: map[string]Hidden{}}
	for key, value := range s.Data {
		b.Files[key] = Hidden(value)
	}
	const prefix = "servicebinding.io/"
	if kind := string(s.Type); b.Files["type"] == "" && len(kind) > len(prefix) && kind[:len(prefix)] == prefix {
		b.Files["type"] = Hidden(kind[len(prefix):])
	}
	if b.Files["type"] == "" {
		return Binding{}, fault.Newf(fault.Usage, "read binding", a.namespace+"/"+name, "it does not say of which type it is").
			WithHint("give the secret a key `type`, or the type servicebinding.io/TYPE")
	}
	return b, nil
}
