package tag

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/status"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/pattern"
)

// The reasons why an Image is refused that no other kind has.
const (
	NotAllowed       = "TagNotAllowed"
	SourceNotAllowed = "SourceNotAllowed"
)

// Refusal says why nothing may be built for an Image, as a condition does.
type Refusal struct{ Reason, Message string }

// Refuse gives why the Image may not publish what it wants to, or not read what it is made from;
// nil where it may. It holds the control plane's own registry only: others have guards of their own,
// and the service account's logins.
func (r Registry) Refuse(ctx context.Context, c client.Reader, i *v1alpha1.Image) (*Refusal, error) {
	for _, text := range append(texts(i), i.Spec.Cache.Image) {
		if text == "" {
			continue
		}
		name, own, err := r.Name(text)
		if err != nil {
			return &Refusal{NotAllowed, err.Error()}, nil
		}
		if own {
			if ok, err := may(ctx, c, i.Namespace, name); err != nil || !ok {
				return refuse(NotAllowed, "publish to", i.Namespace, name), err
			}
		}
		claims, err := claimsSeen(ctx, c, name, i.Namespace)
		if err != nil {
			return nil, err
		}
		if len(claims) > 0 && claims[0].GetUID() != i.UID {
			return &Refusal{status.TagTaken, fmt.Sprintf("%s publishes %s: give this one another tag, or delete that one", called(claims[0]), name)}, nil
		}
	}
	if from := i.Spec.Source.Artifact; from != nil {
		return r.refuseSource(ctx, c, i.Namespace, from.Image)
	}
	return nil, nil
}

// refuseSource refuses a source in the control plane's own registry that is another's: it would be
// read there without a login, past the gate.
func (r Registry) refuseSource(ctx context.Context, c client.Reader, namespace, text string) (*Refusal, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return &Refusal{SourceNotAllowed, err.Error()}, nil
	}
	if !ref.IsLocal() {
		return nil, nil
	}
	if ok, err := may(ctx, c, namespace, ref.Repository()); err != nil || !ok {
		return refuse(SourceNotAllowed, "read", namespace, ref.Repository()), err
	}
	return nil, nil
}

func refuse(reason, what, namespace, name string) *Refusal {
	return &Refusal{reason, fmt.Sprintf("Images of the namespace %s may not %s %s: take a name below %[1]s/, or have an administrator allow this one: kubectl annotate namespace %[1]s %s=%s",
		namespace, what, name, v1alpha1.AnnotationRepositories, repository(name))}
}

// repository cuts the tag off a name.
func repository(name string) string {
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon]
	}
	return name
}

// may says whether Images of the namespace may have the repository, with a tag or without, in the
// control plane's own registry.
func may(ctx context.Context, c client.Reader, namespace, name string) (bool, error) {
	repository := repository(name)
	if strings.HasPrefix(repository, namespace+"/") && !reserved(repository) {
		return true, nil
	}
	var found metav1.PartialObjectMetadata
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	if err := c.Get(ctx, client.ObjectKey{Name: namespace}, &found); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return allows(found.Annotations[v1alpha1.AnnotationRepositories], repository), nil
}

// mostPatterns bounds those of a Namespace that count.
const mostPatterns = 256

// allows says whether the text of the annotation is like the repository.
func allows(text, repository string) bool {
	if reserved(repository) {
		return false
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	for _, word := range words[:min(len(words), mostPatterns)] {
		if p, err := pattern.New(word); err == nil && p.Like(repository) {
			return true
		}
	}
	return false
}

// reserved says that what has the name is Plimsoll's own: the root filesystems of build steps, say.
func reserved(name string) bool { return strings.HasPrefix(name, "plimsoll/") }
