package builder

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzUnpack unpacks anything into a folder beside one that must stay as it is.
func FuzzUnpack(f *testing.F) {
	for _, h := range [][]tar.Header{
		{{Name: "a/b", Typeflag: tar.TypeReg}},
		{{Name: "../beside/x", Typeflag: tar.TypeReg}},
		{{Name: "/../../beside/x", Typeflag: tar.TypeReg}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../beside"}, {Name: "l/x", Typeflag: tar.TypeReg}},
		{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/"}, {Name: "h", Typeflag: tar.TypeLink, Linkname: "l/etc/passwd"}},
		{{Name: "d", Typeflag: tar.TypeChar}},
		{{Name: "a", Typeflag: tar.TypeReg}, {Name: "a", Typeflag: tar.TypeReg}},
	} {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, header := range h {
			_ = w.WriteHeader(&header)
		}
		_ = w.Close()
		f.Add(out.Bytes())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		into, beside := filepath.Join(dir, "into"), filepath.Join(dir, "beside")
		for _, folder := range []string{into, beside} {
			if err := os.Mkdir(folder, 0o755); err != nil {
				t.Fatal(err)
			}
		}
		_ = unpack(bytes.NewReader(text), into, "")
		for _, folder := range []string{dir, beside} {
			found, err := os.ReadDir(folder)
			if want := map[string]int{dir: 2, beside: 0}[folder]; err != nil || len(found) != want {
				t.Fatalf("%s holds %v, %v", folder, found, err)
			}
		}
		files := tree{}
		if err := files.putAll("/cnb/x", into); err != nil {
			t.Fatal(err)
		}
		for name, file := range files {
			if !strings.HasPrefix(name, "/cnb") {
				t.Errorf("%s would leave its folder", name)
			}
			if info, err := os.Lstat(file.from); file.from != "" && (err != nil || info.Mode()&fs.ModeType != 0) {
				t.Errorf("%s would be read from %s: %v", name, file.from, err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("apiVersion: plimsoll.dev/v1alpha1\nkind: Builder\nmetadata: {name: a}\nspec:\n  build: {image: b}\n  run: [{image: r}]\n  lifecycle: {path: l}\n  buildpacks: [{path: p}]\n  order: [{group: [{id: a/b}]}]\n"))
	f.Add([]byte("kind: Builder\nspec: {order: [{group: [{id: 1}]}]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := Parse("builder.yaml", text)
		if err != nil {
			return
		}
		if bad := check(&spec.Builder); bad != nil {
			t.Errorf("what Parse takes does not pass its own check: %v", bad)
		}
	})
}

func FuzzDescriptor(f *testing.F) {
	f.Add("api = \"0.12\"\n[buildpack]\nid = \"a/b\"\nversion = \"1\"\n[[targets]]\nos = \"linux\"\n[[targets.distros]]\nname = \"x\"\n")
	f.Add("api = 1\n[[order]]\n[[order.group]]\nid = \"x\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		m := &module{}
		if m.decode(text) != nil {
			return
		}
		if id := m.Buildpack.ID; strings.Contains(id, "..") && filepath.Clean(id) != id || strings.HasPrefix(m.Buildpack.Version, ".") {
			t.Errorf("%s would leave its folder", m.Buildpack)
		}
		l := &lifecycle{}
		_ = l.decode(text)
	})
}
