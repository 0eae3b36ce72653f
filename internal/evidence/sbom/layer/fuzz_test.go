package layer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/evidence/sbom/layer"
	"plimsoll.dev/plimsoll/internal/fault"
)

func tarOf(t testing.TB, headers ...*tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, strings.Repeat("x", int(h.Size))); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func file(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Typeflag: tar.TypeReg, Size: size, Mode: 0o644}
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

func diffID(plain []byte) string {
	sum := sha256.Sum256(plain)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// FuzzRead reads arbitrary bytes as a layer. It must end, refuse as a fault, leave nothing
// in its folder, and tell only of clean paths; what it gives survives the cache.
func FuzzRead(f *testing.F) {
	for _, seed := range [][]byte{
		tarOf(f, file("node_modules/a/package.json", 3), file("a/.wh.b", 0), file("a/.wh..wh..opq", 0)),
		tarOf(f, file("../a", 1)), tarOf(f, &tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../x"}),
		tarOf(f, &tar.Header{Name: "usr/share/doc/a", Typeflag: tar.TypeSymlink, Linkname: "/../b"}, file("usr/share/doc/b/copyright", 5)),
		gzipped(f, tarOf(f, file("x.jar", 9))), {0x28, 0xb5, 0x2f, 0xfd, 0}, {0x1f, 0x8b}, nil,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, packed []byte) {
		temp := t.TempDir()
		bound := layer.Options{Temp: temp, MaxBytes: 1 << 20, MaxEntries: 1000}
		id := diffID(packed)
		record, err := layer.Read(t.Context(), id, bytes.NewReader(packed), bound)
		if left, dirErr := os.ReadDir(temp); dirErr != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, dirErr)
		}
		if err != nil {
			if fault.KindOf(err) != fault.Denied {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			return
		}
		for _, tell := range record.Tells {
			if path.Clean("/" + tell.Path)[1:] != tell.Path {
				t.Errorf("it tells of %q", tell.Path)
			}
		}
		text, err := json.Marshal(record)
		if err != nil {
			t.Fatal(err)
		}
		var again layer.Record
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatal(err)
		}
		if len(again.Tells) != len(record.Tells) || len(again.Files) != len(record.Files) || len(again.Over) != len(record.Over) {
			t.Error("the cache gives another record")
		}
	})
}

// TestHostile reads what is made to exhaust: it must end within bounds.
func TestHostile(t *testing.T) {
	var many []*tar.Header
	for i := range 100_000 {
		many = append(many, file(fmt.Sprintf("d%d/%d", i%100, i), 0))
	}
	deep := strings.Repeat("d/", 1900) + "package.json"
	sparse := &tar.Header{Name: "sparse", Typeflag: tar.TypeReg, Size: 1, Format: tar.FormatPAX, PAXRecords: map[string]string{
		"VENDOR.x": "1",
	}}
	for _, c := range []struct {
		name    string
		plain   []byte
		options layer.Options
		refused bool
		files   int
	}{
		{"a hundred thousand entries", tarOf(t, many...), layer.Options{}, false, 100_000},
		{"more entries than are read", tarOf(t, many...), layer.Options{MaxEntries: 99_999}, true, 0},
		{"folders in folders", tarOf(t, file(deep, 2)), layer.Options{}, false, 1},
		{"a longer name than any", tarOf(t, file(strings.Repeat("d/", 3000)+"x", 0)), layer.Options{}, true, 0},
		{"records of others", tarOf(t, sparse), layer.Options{}, false, 1},
		{"a header that promises more than there is", cut(tarOf(t, file("big", 1<<20))), layer.Options{}, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			record, err := layer.Read(t.Context(), diffID(c.plain), bytes.NewReader(gzipped(t, c.plain)), c.options)
			if (err != nil) != c.refused {
				t.Fatal(err)
			}
			if err == nil && len(record.Files) != c.files {
				t.Errorf("%d files, want %d", len(record.Files), c.files)
			}
		})
	}
}

func cut(plain []byte) []byte { return plain[:len(plain)/2] }

// TestTheSameBytesGiveTheSameRecord reads a layer with everything in it twice.
func TestTheSameBytesGiveTheSameRecord(t *testing.T) {
	var headers []*tar.Header
	for i := range 500 {
		headers = append(headers, file(fmt.Sprintf("a/%d", (i*7919)%500), int64(i)))
	}
	plain := tarOf(t, headers...)
	read := func() *layer.Record {
		record, err := layer.Read(t.Context(), diffID(plain), bytes.NewReader(plain), layer.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return record
	}
	if diff := cmp.Diff(read(), read()); diff != "" {
		t.Error(diff)
	}
}
