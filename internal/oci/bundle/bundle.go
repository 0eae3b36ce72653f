// Package bundle takes images with all that is attached to them from registries and gives
// one file, and back: for sites without a way out.
//
// The file is an OCI image layout (image-spec, image-layout.md) as a tar archive. Its index
// names every image with org.opencontainers.image.ref.name, and the referrers and older
// signature tags of each beside it, so that common tools read it, too.
package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
)

// nameAnnotation names an entry of the index (OCI image-spec, annotations.md). Ours are
// full references without digest.
const nameAnnotation = "org.opencontainers.image.ref.name"

// Bounds of what is read from a bundle: it comes from elsewhere.
const (
	maxIndex   = 64 << 20 // bytes of index.json
	maxJSON    = 8 << 20  // bytes of a manifest
	maxEntries = 1_000_000
)

// Bundle is an open bundle. Nothing in it has been verified yet but its shape; every blob
// is checked against its digest when it is read.
type Bundle struct {
	file  *os.File
	name  string
	blobs map[string]section // by digest in hex

	named    []Named
	attached map[string][]Attached // by the digest of what they are attached to
}

// section is where a file of the archive lies.
type section struct{ offset, size int64 }

var blobPath = regexp.MustCompile(`^blobs/sha256/([0-9a-f]{64})$`)

// Open reads what the bundle of that path says it holds. Its errors are *fault.Error.
func Open(path string) (*Bundle, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.NotFound, "open bundle", path, err).WithHint("name a file that `plimsoll export` wrote")
	}
	b := &Bundle{file: file, name: path, blobs: map[string]section{}, attached: map[string][]Attached{}}
	if err := b.read(); err != nil {
		file.Close()
		return nil, fault.New(fault.Usage, "open bundle", path, err).
			WithHint("it is no bundle, or was cut off on its way: export it again and compare the files")
	}
	return b, nil
}

// Close closes the file.
func (b *Bundle) Close() error { return b.file.Close() }

// read goes through the archive's headers, and then through its index.
func (b *Bundle) read() error {
	in := tar.NewReader(b.file)
	layout := false
	var index *v1.IndexManifest
	for count := 0; ; count++ {
		header, err := in.Next()
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
			return err
		case count > maxEntries:
			return fmt.Errorf("it has more than %d files", maxEntries)
		case header.Typeflag == tar.TypeDir:
		case header.Typeflag != tar.TypeReg:
			return fmt.Errorf("%q in it is no plain file", header.Name)
		case header.Name == "oci-layout":
			layout = true
		case header.Name == "index.json" && index == nil:
			index, err = readIndex(in)
		default:
			err = b.add(header)
		}
		if err != nil {
			return err
		}
	}
	if !layout || index == nil {
		return fmt.Errorf("it holds no OCI image layout")
	}
	return b.sort(index)
}

// add notes where a blob lies.
func (b *Bundle) add(header *tar.Header) error {
	match := blobPath.FindStringSubmatch(header.Name)
	if match == nil {
		return fmt.Errorf("%q does not belong in a bundle", header.Name)
	}
	if _, twice := b.blobs[match[1]]; twice {
		return fmt.Errorf("%q is in it twice", header.Name)
	}
	offset, err := b.file.Seek(0, io.SeekCurrent)
	b.blobs[match[1]] = section{offset, header.Size}
	return err
}

func readIndex(in io.Reader) (*v1.IndexManifest, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxIndex+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxIndex {
		return nil, fmt.Errorf("its index.json is larger than %d bytes", maxIndex)
	}
	index := &v1.IndexManifest{}
	if err := json.Unmarshal(data, index); err != nil {
		return nil, fmt.Errorf("its index.json: %w", err)
	}
	return index, nil
}

// sort tells images that are named from what is attached to them.
func (b *Bundle) sort(index *v1.IndexManifest) error {
	for _, d := range index.Manifests {
		name := d.Annotations[nameAnnotation]
		d.Annotations = nil // they are the index's own
		if subject, tag := signatureTag(name); subject != "" {
			b.attached[subject] = append(b.attached[subject], Attached{tag, d})
			continue
		}
		if name != "" {
			b.named = append(b.named, Named{name, d})
			continue
		}
		m, err := b.Manifest(d)
		if err != nil {
			return err
		}
		if m.Image != nil && m.Image.Subject != nil {
			subject := m.Image.Subject.Digest.String()
			b.attached[subject] = append(b.attached[subject], Attached{"", d})
		}
	}
	return nil
}

// signatureTag gives the digest that the tag of a name speaks of, and the tag, if it is one
// below which older tools keep signatures.
func signatureTag(name string) (subject, tag string) {
	tag = name[strings.LastIndexByte(name, ':')+1:]
	digest, ok := oci.SignatureTag(tag)
	if !ok {
		return "", ""
	}
	return digest.String(), tag
}

// Named is an image that a bundle names.
type Named struct {
	Name string // full reference, "registry/repository:tag"; without a registry from a local store
	v1.Descriptor
}

// Names gives the named images in the order of the index, without signature tags.
func (b *Bundle) Names() []Named { return b.named }

// Manifest reads a manifest of the bundle, checked against its digest.
func (b *Bundle) Manifest(d v1.Descriptor) (oci.Manifest, error) {
	if d.Size > maxJSON {
		return oci.Manifest{}, b.bad("the manifest %s has %d bytes", d.Digest, d.Size)
	}
	raw, err := b.Blob(d)
	if err != nil {
		return oci.Manifest{}, err
	}
	m := oci.Manifest{Descriptor: v1.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}, Raw: raw}
	if d.MediaType.IsIndex() {
		m.Index = &v1.IndexManifest{}
		err = json.Unmarshal(raw, m.Index)
	} else {
		m.Image = &v1.Manifest{}
		err = json.Unmarshal(raw, m.Image)
	}
	if err != nil {
		return m, b.bad("the manifest %s is not valid: %v", d.Digest, err)
	}
	return m, nil
}

// Blob reads a blob of a few megabytes at most, checked against its digest.
func (b *Bundle) Blob(d v1.Descriptor) ([]byte, error) {
	const most = 64 << 20
	if d.Size > most {
		return nil, b.bad("%s has %d bytes: more than the %d that are read", d.Digest, d.Size, most)
	}
	in, err := b.Stream(d)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(in); err != nil {
		return nil, b.bad("%v", err)
	}
	return out.Bytes(), nil
}

// Stream reads a blob of any size; its end is an error unless it was just that blob.
func (b *Bundle) Stream(d v1.Descriptor) (io.ReadCloser, error) {
	at, ok := b.blobs[d.Digest.Hex]
	switch {
	case d.Digest.Algorithm != "sha256" || !ok:
		return nil, b.bad("%s is not in it", d.Digest)
	case at.size != d.Size:
		return nil, b.bad("%s has %d bytes in it, not %d", d.Digest, at.size, d.Size)
	}
	return oci.Verified(io.NopCloser(io.NewSectionReader(b.file, at.offset, at.size)), d), nil
}

// Attached gives the manifests that are attached to an image: its referrers, and what older
// tools keep below tags made of its digest.
func (b *Bundle) Attached(subject v1.Hash) []Attached { return b.attached[subject.String()] }

// Attached is a manifest that is attached to an image.
type Attached struct {
	Tag string // below which older tools keep it; "" for a referrer
	v1.Descriptor
}

func (b *Bundle) bad(format string, args ...any) error {
	return fault.Newf(fault.Failed, "read bundle", b.name, fmt.Sprintf(format, args...)).
		WithHint("it was damaged or changed on its way: export it again and compare the files")
}

// layers gives the blobs that a manifest names, its configuration last.
func layers(m *v1.Manifest) []v1.Descriptor {
	var out []v1.Descriptor
	for _, l := range m.Layers {
		if len(l.URLs) == 0 { // such layers are never pushed
			out = append(out, l)
		}
	}
	return append(out, m.Config)
}
