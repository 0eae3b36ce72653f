// Package sbom takes the layers of an image and gives its artifact.Contents: all packages
// that are in it, with the layer that brought each, the files that no package owns, and
// where the image is not as its buildpacks declare.
package sbom

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/recent"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/layer"
	"plimsoll.dev/plimsoll/internal/fault"
)

// Image is one image of one platform.
type Image struct {
	Digest     string            // of its manifest, "sha256:…"
	Platform   string            // "linux/amd64", "linux/arm64/v8"
	Labels     map[string]string // of its configuration
	Layers     []Layer           // the lowest first
	BaseLayers int               // how many of them are the base's; 0 asks the labels
}

// Layer is one layer of an image.
type Layer struct {
	DiffID string // "sha256:…", of the uncompressed tar
	// Blob is "sha256:…" of the bytes that Open gives, where an image's maker says which diffID
	// they have. "" where whoever gives the layer knows.
	Blob string
	// Open gives its bytes, compressed with gzip or zstd or not at all. It is not called
	// for bytes that were read before.
	Open func(context.Context) (io.ReadCloser, error)
}

// Options are for a Scanner. The zero value is good, and keeps nothing on disk.
type Options struct {
	Cache string        // folder for what is known of layers; "" keeps it in memory only
	Jobs  int           // layers that are read at once; 0 is one a processor
	Layer layer.Options // bounds of one layer
}

// Scanner gives the contents of images. It is safe for use by many at once, and remembers
// layers, and the layers that images have in common.
type Scanner struct {
	options Options
	jobs    chan struct{} // one place for each layer that may be read
	flights flights
	layers  *recent.Values[*prepared] // by diffID
	states  *recent.Values[*state]    // by the hash of a list of layers
	proofs  *recent.Values[string]    // diffIDs of what was read, by Blob
}

// What a Scanner remembers, in bytes as they are guessed by the things kept.
const (
	keepLayers = 96 << 20
	keepStates = 32 << 20
	keepProofs = 8 << 20
)

// New gives a Scanner.
func New(options Options) *Scanner {
	if options.Jobs <= 0 {
		options.Jobs = runtime.GOMAXPROCS(0)
	}
	return &Scanner{
		options: options, jobs: make(chan struct{}, options.Jobs),
		layers: recent.New[*prepared](keepLayers), states: recent.New[*state](keepStates), proofs: recent.New[string](keepProofs),
	}
}

var diffIDForm = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// Contents gives what is in the image. Each layer that is not yet known is read once, by
// whoever asks first.
func (s *Scanner) Contents(ctx context.Context, image Image) (artifact.Contents, error) {
	ids := make([]string, len(image.Layers))
	for i, l := range image.Layers {
		if ids[i] = l.DiffID; !diffIDForm.MatchString(l.DiffID) {
			return artifact.Contents{}, fault.Newf(fault.Denied, "read image", image.Digest, fmt.Sprintf("%.80q is no diffID", l.DiffID))
		}
	}
	merged, err := s.merged(ctx, image.Layers, ids)
	if err == nil {
		err = s.prove(ctx, image.Layers)
	}
	if err != nil {
		return artifact.Contents{}, err
	}
	c := artifact.Contents{
		Image: image.Digest, Platform: image.Platform, Distro: merged.distro(), Layers: ids,
		BaseLayers: image.BaseLayers, Gaps: merged.gaps(),
	}
	c.Files, c.Unlisted = merged.listed()
	exported := readExported(image.Labels)
	if c.BaseLayers == 0 {
		c.BaseLayers = exported.baseLayers(ids)
	}
	c.Packages = merged.packages(c.Distro)
	c.Packages, c.Disagreements = exported.join(c.Packages, merged)
	return c, nil
}

// merged gives the layers as one. It begins with the longest list of lowest layers that
// is known already, as images on one base have it in common.
func (s *Scanner) merged(ctx context.Context, layers []Layer, ids []string) (*state, error) {
	chains := chainsOf(ids)
	from, current := 0, &state{}
	for i := len(ids); i > 0; i-- {
		if known, ok := s.states.Get(chains[i-1]); ok {
			from, current = i, known
			break
		}
	}
	rest, err := s.read(ctx, layers[from:])
	if err != nil {
		return nil, err
	}
	for i, l := range rest {
		current = current.under(l)
		s.states.Put(chains[from+i], current, current.size())
	}
	return current, nil
}

// read gives what is known of the layers; those that are not known are read side by side.
func (s *Scanner) read(ctx context.Context, layers []Layer) ([]*prepared, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	out := make([]*prepared, len(layers))
	done := make(chan error)
	waiting := 0
	for i, l := range layers {
		if known, ok := s.layers.Get(l.DiffID); ok {
			out[i] = known
			continue
		}
		waiting++
		go func() {
			var err error
			out[i], err = s.layer(ctx, l)
			done <- err
		}()
	}
	var first error
	for range waiting {
		if err := <-done; err != nil && first == nil {
			first = err
			cancel(err)
		}
	}
	return out, first
}

// path gives where the cache keeps a layer.
func (s *Scanner) path(diffID string) string {
	hex := diffID[len("sha256:"):]
	return filepath.Join(s.options.Cache, hex[:2], hex+".json")
}
