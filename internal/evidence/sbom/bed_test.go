package sbom_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/zstd"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom"
)

// member is one entry of a layer.
type member struct {
	name string
	kind byte // default tar.TypeReg
	text string
	link string
	mode int64 // default 0644
}

func reg(name, text string) member { return member{name: name, text: text} }

func dir(name string) member { return member{name: name, kind: tar.TypeDir, mode: 0o755} }

func gone(name string) member { return member{name: name} }

func tarOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		h := &tar.Header{Name: m.name, Typeflag: tar.TypeReg, Size: int64(len(m.text)), Linkname: m.link, Mode: 0o644}
		if m.kind != 0 {
			h.Typeflag = m.kind
		}
		if m.mode != 0 {
			h.Mode = m.mode
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, m.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func diffID(plain []byte) string {
	sum := sha256.Sum256(plain)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// counted is a layer that knows how often it was opened.
type counted struct {
	sbom.Layer
	opened *atomic.Int32
}

func bytesLayer(id string, packed []byte) counted {
	opened := &atomic.Int32{}
	return counted{sbom.Layer{DiffID: id, Open: func(context.Context) (io.ReadCloser, error) {
		opened.Add(1)
		return io.NopCloser(bytes.NewReader(packed)), nil
	}}, opened}
}

func layerOf(t testing.TB, members ...member) counted {
	t.Helper()
	plain := tarOf(t, members...)
	return bytesLayer(diffID(plain), plain)
}

func gzipped(t testing.TB, plain []byte) []byte {
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

func zstded(t testing.TB, plain []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(plain, nil)
}

const imageDigest = "sha256:1111111111111111111111111111111111111111111111111111111111111111"

func imageOf(layers ...counted) sbom.Image {
	image := sbom.Image{Digest: imageDigest, Platform: "linux/amd64"}
	for _, l := range layers {
		image.Layers = append(image.Layers, l.Layer)
	}
	return image
}

// contents scans, and must succeed.
func contents(t testing.TB, s *sbom.Scanner, image sbom.Image) artifact.Contents {
	t.Helper()
	c, err := s.Contents(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// lines gives packages in short, one a line: URL, numbers of their layers, paths.
func lines(c artifact.Contents) []string {
	var out []string
	for _, p := range c.Packages {
		number := "-"
		for i, l := range c.Layers {
			if l == p.Layer {
				number = string(rune('0' + i))
			}
		}
		out = append(out, p.PURL()+" "+number+" "+strings.Join(p.Paths, " "))
	}
	return out
}

func paths(c artifact.Contents) []string {
	var out []string
	for _, f := range c.Files {
		out = append(out, f.Path)
	}
	return out
}

func npmText(name, version string) string {
	return `{"name":"` + name + `","version":"` + version + `","license":"MIT"}`
}

// stanza is a package of dpkg's database.
func stanza(name, version string, more ...string) string {
	return "Package: " + name + "\nStatus: install ok installed\nMaintainer: Jo Doe <jo@example.com>\nArchitecture: amd64\nVersion: " +
		version + "\n" + strings.Join(more, "") + "Description: x\n\n"
}

const osRelease = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_ID=\"13\"\n"

func sums(text string) (one, two string) {
	a, b := sha1.Sum([]byte(text)), sha256.Sum256([]byte(text))
	return hex.EncodeToString(a[:]), hex.EncodeToString(b[:])
}
