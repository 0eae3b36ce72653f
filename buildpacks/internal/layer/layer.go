// Package layer takes a layer that a buildpack has filled and gives it to libcnb.
package layer

import (
	"errors"
	"os"

	"github.com/buildpacks/libcnb"
)

// Filled is a layer that needs no more work: libcnb only writes its metadata and
// environment. Buildpacks fill their layers in the order in which they need each other,
// which a list of contributors that run later does not allow.
func Filled(l libcnb.Layer) libcnb.LayerContributor { return filled{l} }

type filled struct{ layer libcnb.Layer }

func (f filled) Name() string { return f.layer.Name }

func (f filled) Contribute(libcnb.Layer) (libcnb.Layer, error) { return f.layer, nil }

// Open gives the layer of that name, with what the last build wrote about it. Its folder
// exists only when the layer is cached and was there in the last build: a launch layer that
// has no folder when the build ends is taken over from the last image.
func Open(layers libcnb.Layers, name string, types libcnb.LayerTypes) (libcnb.Layer, error) {
	l, err := layers.Layer(name)
	if err != nil {
		return libcnb.Layer{}, err
	}
	l.LayerTypes = types
	if l.Metadata == nil {
		l.Metadata = map[string]any{}
	}
	return l, nil
}

// Text gives what the last build wrote about the layer under the key, or "".
func Text(l libcnb.Layer, key string) string {
	text, _ := l.Metadata[key].(string)
	return text
}

// Empty makes the layer an empty folder.
func Empty(l libcnb.Layer) error {
	return errors.Join(os.RemoveAll(l.Path), os.MkdirAll(l.Path, 0o755))
}
