// Package builder takes bases, buildpacks, their order and a lifecycle, and gives a builder
// image; and it reads any builder image back.
package builder

import (
	"context"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/oci/layer"
)

// Maker makes builder images. It is safe for concurrent use, also by several processes with
// the same home.
type Maker struct {
	Home       string // folder for caches
	Registries *oci.Registries

	// Progress hears of each finished item of a stage; nil hears nothing.
	Progress func(stage string, done, total int)
}

// Result is a builder, not yet pushed.
type Result struct {
	Images []Built       // by architecture
	Index  v1.ImageIndex // of all Images; nil when there is only one
}

// Built is the image of one architecture.
type Built struct {
	Architecture string  `json:"architecture"`
	Digest       string  `json:"digest"`
	BaseLayers   int     `json:"baseLayers"` // the build base's
	BaseSize     int64   `json:"baseSize"`   // compressed bytes
	Run          []Base  `json:"run"`        // what it was held against
	Layers       []Layer `json:"layers"`     // on top of them

	Image v1.Image `json:"-"`
}

// Layer is what a builder has on top of its build base.
type Layer struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // compressed bytes
	Cached bool   `json:"cached"`
}

// Make makes the image of every architecture of the spec.
func (m *Maker) Make(ctx context.Context, spec *Spec) (*Result, error) {
	temp, err := os.MkdirTemp("", "plimsoll-builder-")
	if err != nil {
		return nil, fault.New(fault.Failed, "make builder", spec.Name, err)
	}
	defer os.RemoveAll(temp)
	w := &work{
		Maker: m, spec: spec, temp: temp, unpacked: map[string]string{},
		layers: layer.NewCache(filepath.Join(m.Home, "cache", "layers"), "gzip"),
	}
	bases, err := w.bases(ctx)
	if err != nil {
		return nil, err
	}
	result := &Result{}
	for _, architecture := range spec.Builder.Spec.Architectures {
		built, err := w.make(ctx, bases, architecture)
		if err != nil {
			return nil, err
		}
		result.Images = append(result.Images, built)
	}
	if len(result.Images) > 1 {
		result.Index = indexOf(result.Images)
	}
	return result, nil
}

// work is the making of one builder.
type work struct {
	*Maker

	spec     *Spec
	temp     string            // folder of this work alone
	unpacked map[string]string // archive -> folder
	layers   *layer.Cache
}

// make makes the image of one architecture.
func (w *work) make(ctx context.Context, bases *bases, architecture string) (Built, error) {
	target, err := w.target(bases, architecture)
	if err != nil {
		return Built{}, err
	}
	life, err := w.lifecycle(ctx, architecture)
	if err != nil {
		return Built{}, err
	}
	modules, err := w.modules(ctx, architecture)
	if err != nil {
		return Built{}, err
	}
	order, err := w.order(modules)
	if err != nil {
		return Built{}, err
	}
	if err := w.checkModules(modules, life, target); err != nil {
		return Built{}, err
	}
	if err := w.checkChoice(modules); err != nil {
		return Built{}, err
	}
	layers, err := w.layersOf(ctx, target, life, modules, order)
	if err != nil {
		return Built{}, err
	}
	return w.assemble(target, life, modules, order, layers)
}
