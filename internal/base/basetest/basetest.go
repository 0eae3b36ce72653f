// Package basetest takes an image and gives the tree that a host unpacks from it, having
// checked what must hold of every base: sound layers and no file that nobody accounts for.
package basetest

import (
	"archive/tar"
	"compress/gzip"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/internal/oci"
)

// File is one path of an unpacked image.
type File struct {
	Header *tar.Header
	Text   string // of a regular file of at most a mebibyte
	SHA256 string // of a regular file, hex
	MD5    string
	Layer  string // name of the topmost layer that holds it
	Owned  bool   // that layer is of packages, not the spec's own
}

// maxText bounds the bytes kept of one file that is not part of the inventory.
const maxText = 1 << 20

// Tree is the union of an image's layers, by path relative to the root.
type Tree map[string]*File

// Read unpacks the image in memory. It fails the test when a layer is not one that every
// runtime unpacks alike: a path twice in a layer, a file before its folder, a hard link
// into another layer, a folder that two layers describe differently, a name that leaves
// the root, or bytes that are not those of the manifest.
func Read(t testing.TB, image v1.Image) Tree {
	t.Helper()
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	tree := Tree{}
	for i, layer := range layers {
		about := manifest.Layers[i].Annotations
		name := about[oci.LayerAnnotation]
		diffID, err := tree.add(layer, name, about[oci.PackagesAnnotation] != "")
		if err != nil {
			t.Fatalf("layer %s: %v", name, err)
		}
		if want := config.RootFS.DiffIDs[i].Hex; diffID != want {
			t.Errorf("layer %s: its diffID is %s, the configuration says %s", name, diffID, want)
		}
	}
	return tree
}

func (tree Tree) add(layer v1.Layer, name string, owned bool) (string, error) {
	packed, err := layer.Compressed()
	if err != nil {
		return "", err
	}
	defer packed.Close()
	sum := sha256.New()
	checked := io.TeeReader(packed, sum)
	plain, err := open(layer, checked)
	if err != nil {
		return "", err
	}
	diffID := sha256.New()
	teed := io.TeeReader(plain, diffID)
	in := Tree{}
	for r := tar.NewReader(teed); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = tree.take(in, h, r, name, owned)
		}
		if err != nil {
			return "", err
		}
	}
	for _, rest := range []io.Reader{teed, checked} {
		if _, err := io.Copy(io.Discard, rest); err != nil {
			return "", err
		}
	}
	digest, err := layer.Digest()
	if got := hex.EncodeToString(sum.Sum(nil)); err != nil || got != digest.Hex {
		return "", fmt.Errorf("its bytes have the sum %s, not %s (%v)", got, digest.Hex, err)
	}
	return hex.EncodeToString(diffID.Sum(nil)), nil
}

func open(layer v1.Layer, packed io.Reader) (io.Reader, error) {
	kind, err := layer.MediaType()
	if err != nil {
		return nil, err
	}
	switch kind {
	case types.OCILayer:
		return gzip.NewReader(packed)
	case types.OCILayerZStd:
		return zstd.NewReader(packed)
	}
	return nil, fmt.Errorf("unknown media type %s", kind)
}

// take puts one entry of a layer in the tree; in holds what the layer has so far.
func (tree Tree) take(in Tree, h *tar.Header, r io.Reader, layer string, owned bool) error {
	at := strings.TrimSuffix(h.Name, "/")
	switch {
	case at == "" || at == "." || path.Clean("/" + at)[1:] != at:
		return fmt.Errorf("%q is no clean path below the root", h.Name)
	case in[at] != nil:
		return fmt.Errorf("%q stands in it twice", at)
	case path.Dir(at) != "." && tree[path.Dir(at)] == nil:
		return fmt.Errorf("%q comes before its folder", at)
	case path.Dir(at) != "." && tree[path.Dir(at)].Header.Typeflag != tar.TypeDir:
		return fmt.Errorf("%q lies below what is no folder", at)
	}
	f := &File{Header: h, Layer: layer, Owned: owned}
	old := tree[at]
	if old != nil && (old.Header.Typeflag == tar.TypeDir) != (h.Typeflag == tar.TypeDir) {
		return fmt.Errorf("%q is a folder in one layer and none in another", at)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if old != nil && facts(old.Header) != facts(h) {
			return fmt.Errorf("folder %q is %s in layer %s, %s here", at, facts(old.Header), old.Layer, facts(h))
		}
		f.Owned = owned || old != nil && old.Owned
	case tar.TypeReg:
		weak, strong, text := md5.New(), sha256.New(), &strings.Builder{}
		sinks := []io.Writer{weak, strong}
		if h.Size <= maxText || strings.HasPrefix(at, "var/lib/dpkg/") {
			sinks = append(sinks, text)
		}
		if _, err := io.Copy(io.MultiWriter(sinks...), r); err != nil {
			return err
		}
		f.MD5, f.SHA256, f.Text = hex.EncodeToString(weak.Sum(nil)), hex.EncodeToString(strong.Sum(nil)), text.String()
	case tar.TypeLink:
		target := in[h.Linkname]
		if target == nil || target.Header.Typeflag != tar.TypeReg {
			return fmt.Errorf("hard link %q to %q, which is no file that stands before it in the layer", at, h.Linkname)
		}
		if facts(target.Header) != facts(h) {
			return fmt.Errorf("hard link %q is %s, its target %s: unpacking would change the target", at, facts(h), facts(target.Header))
		}
		f.MD5, f.SHA256, f.Text = target.MD5, target.SHA256, target.Text
	case tar.TypeSymlink:
	default:
		return fmt.Errorf("%q has the type %q", at, h.Typeflag)
	}
	in[at], tree[at] = f, f
	return nil
}

// facts gives mode and owner as one text, and extended attributes.
func facts(h *tar.Header) string {
	text := fmt.Sprintf("%04o %d:%d", h.Mode, h.Uid, h.Gid)
	for name, value := range h.PAXRecords {
		if strings.HasPrefix(name, "SCHILY.xattr.") {
			text += fmt.Sprintf(" %s=%x", name, value)
		}
	}
	return text
}

const (
	statusDir = "var/lib/dpkg/status.d/"
	infoDir   = "var/lib/dpkg/info/"
)

// isInventory tells the lists of what belongs to no package.
func isInventory(at string) bool {
	return strings.HasPrefix(at, "var/lib/plimsoll/") && strings.HasSuffix(at, "/files")
}

// CheckInventory fails the test when a path of the image, a folder or a link among them, is
// an orphan. Every path stands in the list of a package (var/lib/dpkg/info/*.list) whose
// layer ships it, or in that of what the spec and Plimsoll made (var/lib/plimsoll/*/files).
// A package's files and hard links stand with their right sum in its inventory, too
// (var/lib/dpkg/status.d). Nothing is listed that is not there.
func (tree Tree) CheckInventory(t testing.TB) {
	t.Helper()
	left := map[string]string{} // what must still be accounted for
	for at, f := range tree {
		left[at] = "in layer " + f.Layer
	}
	summed := tree.checkSums(t)
	for at, f := range tree {
		listed := []string{}
		switch {
		case strings.HasPrefix(at, infoDir) && strings.HasSuffix(at, ".list") && f.Owned:
			listed = tree.checkList(t, at, summed)
		case isInventory(at):
			for line := range strings.Lines(f.Text) {
				file, err := tree.made(strings.TrimSuffix(line, "\n"))
				if err != nil {
					t.Errorf("%s: %v", at, err)
				}
				listed = append(listed, file)
			}
		}
		for _, file := range listed {
			delete(left, file)
		}
	}
	if diff := cmp.Diff(map[string]string{}, left); diff != "" {
		t.Errorf("no inventory accounts for (-none +orphans):\n%s", diff)
	}
}

// checkSums compares the image with the packages' sums and gives the paths that have one.
func (tree Tree) checkSums(t testing.TB) map[string]bool {
	t.Helper()
	summed := map[string]bool{}
	for at, f := range tree {
		if !strings.HasPrefix(at, statusDir) || f.Header.Typeflag != tar.TypeReg {
			continue
		}
		for file, sum := range sums(at, f.Text) {
			summed[file] = true
			if got := tree[file]; got == nil || got.MD5 != sum {
				t.Errorf("%s lists %s with MD5 %s, which is not what the image has", at, file, sum)
			}
		}
	}
	return summed
}

// checkList compares a package's list, as dpkg keeps it, with the image and gives its paths.
func (tree Tree) checkList(t testing.TB, at string, summed map[string]bool) []string {
	t.Helper()
	var listed []string
	lines := strings.Split(strings.TrimSuffix(tree[at].Text, "\n"), "\n")
	if lines[0] != "/." {
		t.Errorf("%s begins with %q, not with the root", at, lines[0])
	}
	for _, line := range lines[1:] {
		file := strings.TrimPrefix(line, "/")
		f := tree[file]
		if f == nil || !f.Owned {
			t.Errorf("%s lists %s, which no package ships in the image", at, line)
			continue
		}
		own := strings.HasPrefix(file, statusDir) || strings.HasPrefix(file, infoDir)
		hasBytes := f.Header.Typeflag == tar.TypeReg || f.Header.Typeflag == tar.TypeLink
		if hasBytes && !own && !summed[file] {
			t.Errorf("%s lists %s, which has no sum", at, line)
		}
		listed = append(listed, file)
	}
	return listed
}

// sums reads a package's inventory: the lines of .md5sums, or the Conffiles of its stanza.
func sums(at, text string) map[string]string {
	found := map[string]string{}
	conffiles := false
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasSuffix(at, ".md5sums") {
			sum, file, _ := strings.Cut(line, "  ")
			found[file] = sum
			continue
		}
		if !strings.HasPrefix(line, " ") {
			conffiles = line == "Conffiles:"
			continue
		}
		if file, sum, ok := strings.Cut(strings.TrimSpace(line), " "); ok && conffiles {
			found[strings.TrimPrefix(file, "/")] = sum
		}
	}
	return found
}

// made reads one line of the inventory of made files, and compares it with the image.
func (tree Tree) made(line string) (string, error) {
	kind, rest, _ := strings.Cut(line, "  /")
	file, target, _ := strings.Cut(rest, " -> ")
	f := tree[file]
	if f == nil {
		return file, fmt.Errorf("it lists /%s, which is not in the image", file)
	}
	ok := false
	switch kind {
	case "list":
		ok = isInventory(file) && f.Header.Typeflag == tar.TypeReg
	case "dir":
		ok = f.Header.Typeflag == tar.TypeDir
	case "link":
		ok = f.Header.Linkname == target && f.Header.Typeflag != tar.TypeDir
	default:
		ok = f.SHA256 == kind
	}
	if !ok {
		return file, fmt.Errorf("%q is not what the image has: type %q, link %q, SHA-256 %s", line, f.Header.Typeflag, f.Header.Linkname, f.SHA256)
	}
	return file, nil
}
