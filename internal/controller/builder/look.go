package builder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// basesIndex is the field by which the watch cache finds Builders: the images they stand on.
const basesIndex = "bases"

// basesOf gives those of a Builder, in one spelling.
func basesOf(o client.Object) []string {
	b, ok := o.(*v1alpha1.Builder)
	if !ok {
		return nil
	}
	var names []string
	for _, text := range append([]string{string(b.Spec.Build.Image)}, runImages(b)...) {
		if ref, err := oci.Parse(text); err == nil && !slices.Contains(names, ref.String()) {
			names = append(names, ref.String())
		}
	}
	return names
}

func runImages(b *v1alpha1.Builder) []string {
	var all []string
	for _, run := range b.Spec.Run {
		all = append(all, string(run.Image))
	}
	return all
}

// standsOn gives the Builders that stand on what a BaseImage publishes.
func (r *Reconciler) standsOn(ctx context.Context, o client.Object) []ctrl.Request {
	name, err := tag.Of(o)
	if err != nil {
		return nil
	}
	var list v1alpha1.BuilderList
	if err := r.client.List(ctx, &list, client.MatchingFields{basesIndex: name}); err != nil {
		return nil
	}
	var all []ctrl.Request
	for i := range list.Items {
		all = append(all, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return all
}

// found is what a Builder's references name now.
type found struct {
	made     string // digest of all that makes another builder when it changes
	run      []v1alpha1.RunStatus
	waits    []string // BaseImages that have no image yet
	missing  []string // references that nobody publishes
	lookedUp []string // references that no BaseImage keeps
}

// look finds out what the Builder's references name: of what BaseImages keep from the watch cache,
// of anything else from its registry.
func (r *Reconciler) look(ctx context.Context, b *v1alpha1.Builder) (*found, error) {
	f, made := &found{}, sha256.New()
	build, err := r.base(ctx, f, string(b.Spec.Build.Image))
	if err != nil {
		return nil, err
	}
	fmt.Fprintln(made, build)
	for _, run := range b.Spec.Run {
		digest, err := r.base(ctx, f, string(run.Image))
		if err != nil {
			return nil, err
		}
		f.run = append(f.run, v1alpha1.RunStatus{
			Published:  v1alpha1.Published{Image: string(run.Image), Digest: digest},
			Buildpacks: buildpacksOf(run),
		})
	}
	sources := []string{string(b.Spec.Lifecycle.Image)}
	for _, source := range b.Spec.Buildpacks {
		sources = append(sources, string(source.Image))
	}
	for _, source := range sources {
		if source == "" {
			continue // a path: it changes with the program that brings it
		}
		digest, err := r.maker.Digest(ctx, source)
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(made, source, digest)
	}
	f.made = hex.EncodeToString(made.Sum(nil))
	return f, nil
}

// base gives what one base names, or notes that it has to be waited for.
func (r *Reconciler) base(ctx context.Context, f *found, text string) (string, error) {
	ref, err := oci.Parse(text)
	if err != nil {
		return "", err
	}
	if digest := ref.Identifier(); strings.HasPrefix(digest, "sha256:") {
		return digest, nil // nothing moves it
	}
	name := ref.String()
	claims, err := tag.Claims(ctx, r.client, name)
	if err != nil {
		return "", err
	}
	if len(claims) > 0 {
		if base, ok := claims[0].(*v1alpha1.BaseImage); ok {
			if !names(base.Status.Published, name) {
				note(&f.waits, v1alpha1.BaseImageKind+"/"+base.Name)
				return "", nil
			}
			return base.Status.Published.Digest, nil
		}
	}
	note(&f.lookedUp, name)
	digest, err := r.maker.Digest(ctx, name)
	if fault.KindOf(err) == fault.NotFound {
		note(&f.missing, name)
		return "", nil
	}
	return digest, err
}

// waitsFor says what is not there yet of what the Builder stands on; "" is nothing.
func (f *found) waitsFor() string {
	var out []string
	if len(f.waits) > 0 {
		out = append(out, "no image yet: "+strings.Join(f.waits, ", "))
	}
	if len(f.missing) > 0 {
		out = append(out, "nobody publishes "+strings.Join(f.missing, ", ")+": declare a BaseImage with that tag, or push it (kubectl get baseimages)")
	}
	return strings.Join(out, "; ")
}

// names says whether what was published is under the tag: the status may speak of an earlier one.
func names(p *v1alpha1.Published, tag string) bool {
	return p != nil && (p.Image == tag || strings.HasSuffix(p.Image, "/"+tag))
}

// note puts a name behind the others, once.
func note(all *[]string, name string) {
	if !slices.Contains(*all, name) {
		*all = append(*all, name)
	}
}

func buildpacksOf(run v1alpha1.RunBase) []string {
	var all []string
	for _, id := range run.Buildpacks {
		all = append(all, string(id))
	}
	return all
}
