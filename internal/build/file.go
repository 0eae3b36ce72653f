package build

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// maxExtracted bounds a file taken out of an image, in bytes.
const maxExtracted = 256 << 20

// extractFile writes the image's regular file of that name ("a/b", no leading slash) to
// the path. It looks from the top layer down and reads no layer below the one that has it.
func extractFile(image v1.Image, name, to string) (bool, error) {
	layers, err := image.Layers()
	if err != nil {
		return false, err
	}
	for i := len(layers) - 1; i >= 0; i-- {
		found, err := extractFrom(layers[i], name, to)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func extractFrom(layer v1.Layer, name, to string) (bool, error) {
	r, err := layer.Uncompressed()
	if err != nil {
		return false, err
	}
	defer r.Close()
	entries := tar.NewReader(r)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		if h.Typeflag != tar.TypeReg || path.Clean("/"+h.Name) != "/"+name {
			continue
		}
		if h.Size > maxExtracted {
			return false, fmt.Errorf("%s has %d bytes", h.Name, h.Size)
		}
		f, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
		if err != nil {
			return false, err
		}
		_, err = io.Copy(f, entries)
		return true, errors.Join(err, f.Close())
	}
}
