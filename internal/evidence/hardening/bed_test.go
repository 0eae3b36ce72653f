package hardening_test

import (
	"archive/tar"
	"bytes"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"plimsoll.dev/plimsoll/internal/evidence/hardening"
)

// entry is one of a layer: a file, unless its mode says folder or it has a link.
type entry struct {
	name, text string
	mode       int64 // 0 is 0644
	kind       byte  // 0 is a regular file
	link       string
	xattr      string // security.capability
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.text))}
		if e.mode == 0 {
			h.Mode = 0o644
		}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if e.xattr != "" {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": e.xattr}
		}
		_, err := io.WriteString(headerOf(t, w, h), e.text)
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func headerOf(t testing.TB, w *tar.Writer, h *tar.Header) io.Writer {
	t.Helper()
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	return w
}

func layerOf(t testing.TB, plain []byte) v1.Layer {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(plain)), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func imageOf(t testing.TB, config v1.Config, history []string, layers ...[]byte) v1.Image {
	t.Helper()
	image := v1.Image(empty.Image)
	for _, plain := range layers {
		var err error
		if image, err = mutate.AppendLayers(image, layerOf(t, plain)); err != nil {
			t.Fatal(err)
		}
	}
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Config, file.History = "linux", "amd64", config, nil
	for _, step := range history {
		file.History = append(file.History, v1.History{CreatedBy: step, EmptyLayer: true})
	}
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}

func report(t testing.TB, image v1.Image) hardening.Report {
	t.Helper()
	r, err := hardening.New("").Report(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func paths(files []hardening.File) []string {
	var out []string
	for _, f := range files {
		out = append(out, f.Mode+" "+f.Path)
	}
	return out
}
