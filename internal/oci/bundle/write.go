package bundle

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// Report says what a bundle holds.
type Report struct {
	Images   []Named `json:"images"`
	Attached int     `json:"attached"` // manifests that are attached to them
	Blobs    int     `json:"blobs"`
	Bytes    int64   `json:"bytes"` // of the archive
}

// Write puts the images of the references into w, each with all its platforms and with
// what is attached to it. The same registries give the same bytes.
func Write(ctx context.Context, session *oci.Session, refs []oci.Reference, w io.Writer) (*Report, error) {
	c := collection{session: session, seen: map[string]bool{}, blobs: map[string]place{}}
	for _, ref := range refs {
		if err := c.take(ctx, ref); err != nil {
			return nil, err
		}
	}
	counted := &counter{w: w}
	out := bufio.NewWriterSize(counted, 1<<20)
	if err := c.write(ctx, out); err != nil {
		return nil, err
	}
	if err := out.Flush(); err != nil {
		return nil, fault.New(fault.Failed, "write bundle", "", err)
	}
	c.report.Blobs, c.report.Bytes = len(c.blobs), counted.n
	return &c.report, nil
}

// collection is all that goes into a bundle: manifests in memory, blobs by their place.
type collection struct {
	session   *oci.Session
	entries   []v1.Descriptor // of the index
	manifests []oci.Manifest  // children before their parents
	seen      map[string]bool // entries and manifests
	blobs     map[string]place
	report    Report
}

// place is where a blob is read.
type place struct {
	ref  oci.Reference
	blob v1.Descriptor
}

// take reads what a reference names, and all that belongs to it.
func (c *collection) take(ctx context.Context, ref oci.Reference) error {
	m, err := c.session.Manifest(ctx, ref)
	if err != nil {
		return err
	}
	named := Named{nameOf(ref, m.Digest), m.Descriptor}
	c.list(m, named.Name)
	c.report.Images = append(c.report.Images, named)
	return c.image(ctx, ref, m)
}

// nameOf gives the name that the image gets at the other end. One that is known by its
// digest only gets a tag made of that.
func nameOf(ref oci.Reference, digest v1.Hash) string {
	if tag, ok := ref.Reference.(name.Tag); ok {
		return ref.Repository() + ":" + tag.TagStr()
	}
	return ref.Repository() + ":" + digest.Algorithm + "-" + digest.Hex
}

// list adds an entry to the index, once.
func (c *collection) list(m oci.Manifest, name string) {
	key := name + "@" + m.Digest.String()
	if c.seen[key] {
		return
	}
	c.seen[key] = true
	d := v1.Descriptor{MediaType: m.MediaType, Digest: m.Digest, Size: m.Size}
	if name != "" {
		d.Annotations = map[string]string{nameAnnotation: name}
	}
	c.entries = append(c.entries, d)
}

// image takes a manifest, what it names and what is attached to it.
func (c *collection) image(ctx context.Context, ref oci.Reference, m oci.Manifest) error {
	if c.seen[m.Digest.String()] {
		return nil
	}
	c.seen[m.Digest.String()] = true
	if m.Index != nil {
		for _, child := range m.Index.Manifests {
			below, err := c.session.Manifest(ctx, ref.At(child.Digest))
			if err != nil {
				return err
			}
			if err := c.image(ctx, ref, below); err != nil {
				return err
			}
		}
	} else {
		for _, blob := range layers(m.Image) {
			c.blobs[blob.Digest.Hex] = place{ref, blob}
		}
	}
	c.manifests = append(c.manifests, m)
	return c.attached(ctx, ref, m.Digest)
}

// attached takes what is attached to a manifest, and to that in turn.
func (c *collection) attached(ctx context.Context, ref oci.Reference, subject v1.Hash) error {
	referrers, err := c.session.Referrers(ctx, ref, subject)
	if err != nil {
		return err
	}
	for _, d := range referrers.Manifests {
		if err := c.attach(ctx, ref, ref.At(d.Digest), ""); err != nil {
			return err
		}
	}
	for _, ending := range oci.SignatureEndings {
		tag := ref.SignatureTag(subject, ending)
		err := c.attach(ctx, ref, tag, nameOf(tag, subject))
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return nil
}

func (c *collection) attach(ctx context.Context, ref, at oci.Reference, name string) error {
	m, err := c.session.Manifest(ctx, at)
	if err != nil {
		return err
	}
	c.list(m, name)
	c.report.Attached++
	return c.image(ctx, ref, m)
}

// write gives the archive: index and manifests first, so that a reader knows early what
// comes.
func (c *collection) write(ctx context.Context, w io.Writer) error {
	index, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: c.entries})
	if err != nil {
		return err
	}
	out := &archive{Writer: tar.NewWriter(w)}
	out.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	out.file("index.json", index)
	for _, m := range c.manifests {
		out.file("blobs/sha256/"+m.Digest.Hex, m.Raw)
		delete(c.blobs, m.Digest.Hex) // a layer may have the same bytes
	}
	for _, hex := range slices.Sorted(maps.Keys(c.blobs)) {
		if err := c.copy(ctx, out, c.blobs[hex]); err != nil {
			return err
		}
	}
	return errors.Join(out.err, out.Close())
}

func (c *collection) copy(ctx context.Context, out *archive, p place) error {
	in, err := c.session.Open(ctx, p.ref, p.blob)
	if err != nil {
		return err
	}
	defer in.Close()
	out.header("blobs/sha256/"+p.blob.Digest.Hex, p.blob.Size)
	if out.err == nil {
		_, out.err = io.Copy(out, in)
	}
	if out.err != nil {
		return fault.New(fault.Failed, "write bundle", p.ref.String(), out.err)
	}
	return nil
}

// archive writes files that are the same whoever writes them, until the first error.
type archive struct {
	*tar.Writer
	err error
}

func (a *archive) header(path string, size int64) {
	if a.err == nil {
		a.err = a.WriteHeader(&tar.Header{
			Typeflag: tar.TypeReg, Name: path, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatPAX,
		})
	}
}

func (a *archive) file(path string, data []byte) {
	a.header(path, int64(len(data)))
	if a.err == nil {
		_, a.err = io.Copy(a, bytes.NewReader(data))
	}
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
