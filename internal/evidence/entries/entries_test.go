package entries_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/internal/evidence/entries"
	"plimsoll.dev/plimsoll/internal/fault"
)

const text = "a file"

func archive(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zipped(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func hashOf(t testing.TB, plain []byte) v1.Hash {
	t.Helper()
	hash, _, err := v1.SHA256(bytes.NewReader(plain))
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func TestEach(t *testing.T) {
	plain := archive(t)
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	trailed := append(bytes.Clone(plain), make([]byte, 4096)...)
	for name, c := range map[string]struct{ packed, plain []byte }{
		"plain":                   {plain, plain},
		"gzip":                    {zipped(t, plain), plain},
		"gzip in two parts":       {append(zipped(t, plain[:700]), zipped(t, plain[700:])...), plain},
		"zstd":                    {encoder.EncodeAll(plain, nil), plain},
		"padding after the end":   {zipped(t, trailed), trailed},
		"an archive without end":  {plain[:1024], plain[:1024]},
		"no bytes, as tools make": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			seen := ""
			err := entries.Each(t.Context(), static.NewLayer(c.packed, types.OCILayer), hashOf(t, c.plain), func(h *tar.Header, r io.Reader) error {
				content, err := io.ReadAll(r)
				seen += h.Name + ": " + string(content)
				return err
			})
			if want := "a: " + text; err != nil || seen != want && c.plain != nil {
				t.Errorf("%q, %v; want %q", seen, err, want)
			}
			if err := entries.Each(t.Context(), static.NewLayer(c.packed, types.OCILayer), hashOf(t, []byte("other")), ignore); fault.KindOf(err) != fault.Denied || err == nil {
				t.Errorf("under another name: %v, want a denial", err)
			}
		})
	}
}

func ignore(*tar.Header, io.Reader) error { return nil }

func TestEachGivesUp(t *testing.T) {
	plain := archive(t)
	layer, hash := static.NewLayer(plain, types.OCILayer), hashOf(t, plain)
	mine := errors.New("mine")
	if err := entries.Each(t.Context(), layer, hash, func(*tar.Header, io.Reader) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("%v, want the visitor's error", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := entries.Each(ctx, layer, hash, ignore); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}

// TestEachGivesUpWithinAFile: a file that is nearly all of a layer does not hold it up.
func TestEachGivesUpWithinAFile(t *testing.T) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: 8 << 20, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(make([]byte, 8<<20)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, hash := static.NewLayer(out.Bytes(), types.OCILayer), hashOf(t, out.Bytes())
	ctx, cancel := context.WithCancel(t.Context())
	err := entries.Each(ctx, layer, hash, func(_ *tar.Header, file io.Reader) error {
		cancel()
		if n, err := io.Copy(io.Discard, file); !errors.Is(err, context.Canceled) || n > 1<<20 {
			t.Errorf("read %d bytes after the end of the context, %v", n, err)
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
}
