// Package oci takes image references and gives images and indexes read from, or written
// to, the local store or a remote registry, whichever the reference names.
package oci

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"plimsoll.dev/plimsoll/internal/fault"
)

// localHost stands for the local store in references; no request to it leaves the process.
const localHost = "store.invalid"

// Registries reads and writes images.
type Registries struct {
	Local func(context.Context) (http.RoundTripper, error) // opens the local store, when first needed
	Keys  authn.Keychain                                   // credentials for remote registries; nil is the user's own
	Agent string                                           // User-Agent of requests

	// Remote carries requests to remote registries; nil asks them at once, and only once.
	Remote http.RoundTripper
}

// Reference is a parsed REF.
type Reference struct{ name.Reference }

// String gives the reference as the user wrote it: without a host for the local store.
func (r Reference) String() string {
	return strings.TrimPrefix(r.Reference.String(), localHost+"/")
}

// IsLocal tells whether the reference names the local store.
func (r Reference) IsLocal() bool { return r.Context().RegistryStr() == localHost }

// Parse reads a REF: "name[:tag][@digest]" is in the local store, "host/name…" in the
// registry of that host.
func Parse(text string) (Reference, error) {
	ref, err := name.ParseReference(text, name.WithDefaultRegistry(localHost), name.WithDefaultTag("latest"))
	if err != nil || climbs(ref.Context().RepositoryStr()) {
		return Reference{}, fault.Newf(fault.Usage, "read reference", text, whyNot(text)).
			WithHint(`want "name:tag" for the local store, or "host/name:tag"`)
	}
	return Reference{ref}, nil
}

// climbs says whether a repository has parts that name no folder of their own. Names come from
// labels and bundles too, and servers take such a part out of an address before they look.
func climbs(repository string) bool {
	for part := range strings.SplitSeq(repository, "/") {
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}

// whyNot says what is wrong with a reference that cannot be parsed.
func whyNot(text string) string {
	switch {
	case text == "":
		return "it is empty"
	case strings.Contains(text, "://"):
		return "it is an address, not a reference: leave out what stands before the host"
	case strings.ToLower(text) != text:
		return "names are in lower case"
	}
	return "a name has lower-case letters, digits and . _ - /, a tag letters, digits and . _ -"
}

// ParseTag is Parse for something that is to be written: a digest cannot be chosen.
func ParseTag(text string) (Reference, error) {
	ref, err := Parse(text)
	if err != nil {
		return ref, err
	}
	if _, ok := ref.Reference.(name.Tag); !ok {
		return ref, fault.Newf(fault.Usage, "read reference", text, "it names a digest, which is not known before the image is made").
			WithHint("name a tag")
	}
	return ref, nil
}

// options gives what requests about the reference need.
func (r *Registries) options(ctx context.Context, ref Reference) ([]remote.Option, error) {
	options := []remote.Option{remote.WithContext(ctx), remote.WithUserAgent(r.Agent), remote.WithJobs(4)}
	if ref.IsLocal() {
		local, err := r.Local(ctx)
		if err != nil {
			return nil, err
		}
		return append(options, remote.WithTransport(local)), nil
	}
	keys := r.Keys
	if keys == nil {
		keys = authn.DefaultKeychain
	}
	return append(options, remote.WithAuthFromKeychain(keys), remote.WithTransport(&guarded{next: r.carrier()})), nil
}

// carrier gives what carries requests to remote registries.
func (r *Registries) carrier() http.RoundTripper {
	if r.Remote != nil {
		return r.Remote
	}
	return remote.DefaultTransport
}

// Get reads what the reference names: an image or an index.
func (r *Registries) Get(ctx context.Context, ref Reference) (*remote.Descriptor, error) {
	options, err := r.options(ctx, ref)
	if err != nil {
		return nil, err
	}
	d, err := remote.Get(ref, options...)
	if err != nil {
		return nil, failure("read image", ref, err)
	}
	return d, nil
}

// Images reads what the reference names, an image or an index, as images by architecture.
func (r *Registries) Images(ctx context.Context, ref Reference) (map[string]v1.Image, error) {
	d, err := r.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	images, err := byArchitecture(d)
	return images, wrap("read image", ref, err)
}

// Image reads the image of the architecture ("" is this machine's) that the reference
// names, itself or in an index.
func (r *Registries) Image(ctx context.Context, ref Reference, architecture string) (v1.Image, error) {
	images, err := r.Images(ctx, ref)
	if err != nil {
		return nil, err
	}
	if architecture == "" {
		architecture = runtime.GOARCH
	}
	if image, ok := images[architecture]; ok {
		return image, nil
	}
	return nil, fault.Newf(fault.NotFound, "read image", ref.String(), "it has no image for "+architecture)
}

func byArchitecture(d *remote.Descriptor) (map[string]v1.Image, error) {
	images := map[string]v1.Image{}
	if !d.MediaType.IsIndex() {
		image, err := d.Image()
		if err != nil {
			return nil, err
		}
		if err := bounded(image); err != nil {
			return nil, err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return nil, err
		}
		images[config.Architecture] = image
		return images, nil
	}
	index, err := d.ImageIndex()
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	for _, m := range manifest.Manifests {
		if !m.MediaType.IsImage() || m.Platform == nil || m.Platform.OS != "linux" || m.Platform.Architecture == "unknown" {
			continue
		}
		if images[m.Platform.Architecture] != nil {
			continue // the first counts, as it does for whoever pulls
		}
		image, err := index.Image(m.Digest)
		if err != nil {
			return nil, err
		}
		if err := bounded(image); err != nil {
			return nil, err
		}
		images[m.Platform.Architecture] = image
	}
	return images, nil
}

// bounded refuses an image whose configuration is larger than any that is meant well: it is
// read into memory. A size below zero would be any.
func bounded(image v1.Image) error {
	m, err := image.Manifest()
	if err != nil {
		return err
	}
	if m.Config.Size < 0 || m.Config.Size > maxConfig {
		return bad("its configuration has %d bytes, at most %d are read", m.Config.Size, maxConfig)
	}
	return nil
}

// PutImage writes the image.
func (r *Registries) PutImage(ctx context.Context, ref Reference, image v1.Image) error {
	options, err := r.options(ctx, ref)
	if err != nil {
		return err
	}
	return wrap("push image", ref, remote.Write(ref, image, options...))
}

// PutIndex writes the index and all that it names.
func (r *Registries) PutIndex(ctx context.Context, ref Reference, index v1.ImageIndex) error {
	options, err := r.options(ctx, ref)
	if err != nil {
		return err
	}
	return wrap("push index", ref, remote.WriteIndex(ref, index, options...))
}

func wrap(what string, ref Reference, err error) error {
	if err == nil {
		return nil
	}
	return failure(what, ref, err)
}

// failure turns a registry's answer into a fault with a hint.
func failure(what string, ref Reference, err error) error {
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) {
		return fault.New(fault.KindOf(err), what, ref.String(), err)
	}
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return fault.New(fault.Unavailable, what, ref.String(), err).WithHint("check that the registry can be reached")
	}
	why := fmt.Errorf("the registry answered %d", answer.StatusCode)
	if len(answer.Errors) > 0 {
		why = fmt.Errorf("%w: %s", why, told(answer.Errors[0]))
	}
	switch answer.StatusCode {
	case http.StatusNotFound:
		return fault.Newf(fault.NotFound, what, ref.String(), "there is no such image").WithHint("check the name and the tag")
	case http.StatusUnauthorized, http.StatusForbidden:
		return fault.New(fault.Denied, what, ref.String(), why).WithHint(deniedHint(ref, answer))
	}
	return fault.New(fault.Failed, what, ref.String(), why)
}

// told gives what a registry says of an error. Its detail has no form of its own, and is for
// programs (OCI distribution-spec 1.1, "Error Codes").
func told(d transport.Diagnostic) string {
	if d.Message == "" {
		return string(d.Code)
	}
	return string(d.Code) + ": " + d.Message
}

// deniedHint tells one who is known and may not from one who has to say who he is.
func deniedHint(ref Reference, answer *transport.Error) string {
	if answer.StatusCode == http.StatusForbidden && len(answer.Errors) > 0 && answer.Errors[0].Code == transport.DeniedErrorCode {
		if strings.Contains(answer.Errors[0].Message, "quarantined") {
			return "who may inspect the repository gets it all the same: a publisher, or a robot that is allowed inspect"
		}
		return "ask an admin of the registry for what you lack, or log in as somebody else"
	}
	return "log in to " + ref.Context().RegistryStr() + " with your registry client"
}
