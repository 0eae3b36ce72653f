package plane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/controller/baseimage"
	"plimsoll.dev/plimsoll/internal/debian/archive"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
)

// bases is baseimage.Builder in the site.
type bases struct{ *Plane }

// Build implements baseimage.Builder.
func (b bases) Build(ctx context.Context, image *v1alpha1.BaseImage, tag string) (baseimage.Result, error) {
	ref, err := b.place(tag)
	if err != nil {
		return baseimage.Result{}, err
	}
	built, err := b.site.BuildBase(ctx, site.BaseRequest{
		Publication: site.Publication{Tag: ref, IfChanged: !b.vouchAgain(ref), Means: b.means("baseimage", image.Name)},
		Spec:        image,
	})
	if err != nil {
		return baseimage.Result{}, err
	}
	first := built.Images[0]
	result := baseimage.Result{Image: tag, Digest: built.Digest}
	for _, l := range first.Layers {
		result.Packages += len(l.Packages)
	}
	if before := image.Status.Published; before != nil && before.Digest != built.Digest {
		if result.Changes, err = b.changes(ctx, ref, before.Digest, built.Digest, first.Architecture); err != nil {
			b.log.Warn("what has changed in a base is not told", "baseimage", image.Name, "error", err)
		}
	}
	return result, nil
}

// vouchEvery is how often it is said anew of a base that has not changed that it is as new as its
// archive: policies go by when that was last said.
const vouchEvery = 24 * time.Hour

// vouchAgain says that the base is to be vouched for again, and remembers that it was.
func (b bases) vouchAgain(ref oci.Reference) bool {
	sum := sha256.Sum256([]byte(ref.String()))
	stamp := b.site.Path("cache", "vouched", hex.EncodeToString(sum[:]))
	last, err := os.Stat(stamp)
	if err == nil && time.Since(last.ModTime()) < vouchEvery {
		return false
	}
	return aside.WriteBytes(stamp, nil) == nil && !errors.Is(err, fs.ErrNotExist)
}

// changes gives the packages that differ between two images of one repository.
func (b bases) changes(ctx context.Context, in oci.Reference, from, to, architecture string) ([]string, error) {
	var images [2]v1.Image
	for i, text := range []string{from, to} {
		digest, err := v1.NewHash(text)
		if err != nil {
			return nil, err
		}
		if images[i], err = b.site.Registries.Image(ctx, in.At(digest), architecture); err != nil {
			return nil, err
		}
	}
	diff, err := base.Compare(architecture, images[0], images[1])
	if err != nil {
		return nil, err
	}
	var out []string
	for _, c := range diff.Packages {
		switch {
		case c.From == "":
			out = append(out, fmt.Sprintf("%s %s is new", c.Name, c.To))
		case c.To == "":
			out = append(out, fmt.Sprintf("%s %s is gone", c.Name, c.From))
		default:
			out = append(out, fmt.Sprintf("%s %s → %s", c.Name, c.From, c.To))
		}
	}
	return out, nil
}

// Signed implements baseimage.Builder.
func (b bases) Signed(from v1alpha1.Archive) ([]archive.Suite, *archive.Keyring, error) {
	composer := base.Builder{Home: b.site.Folder, Agent: b.site.Agent()}
	return composer.Signed(from)
}

// place gives where something with that tag is published: a tag without a registry is in the one
// that --publish names, else in the home's own.
func (p *Plane) place(tag string) (oci.Reference, error) {
	ref, err := oci.ParseTag(tag)
	if err != nil || !ref.IsLocal() || p.o.Publish == "" {
		return ref, err
	}
	if ref, err = oci.ParseTag(p.o.Publish + "/" + tag); err != nil {
		return ref, fault.New(fault.Usage, "read flags", "--publish "+p.o.Publish, err).WithHint("want a registry, or a folder in one: registry.example.com/team")
	}
	return ref, nil
}

// placed gives the name of a base where it is: one without a registry is where place has it. None
// stays none.
func (p *Plane) placed(name string) (string, error) {
	if name == "" || p.o.Publish == "" {
		return name, nil
	}
	ref, err := oci.Parse(name)
	if err != nil || !ref.IsLocal() {
		return name, err
	}
	return p.o.Publish + "/" + name, nil
}

// reach gives the name by which nodes pull what the reference names.
func (p *Plane) reach(ref oci.Reference) string {
	if ref.IsLocal() && p.served != nil {
		return p.served.reach + "/" + ref.String()
	}
	return ref.String()
}

// means are those of work that is done for a resource: its warnings are logged with its name.
func (p *Plane) means(kind, name string) site.Means {
	return site.Means{Warn: func(warning, hint string) { p.log.Warn(warning, kind, name, "hint", hint) }}
}
