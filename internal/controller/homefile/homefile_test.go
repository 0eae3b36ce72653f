package homefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

func TestFilesStayInTheirFolder(t *testing.T) {
	for _, name := range []string{"../up", "a/b", "/etc/passwd", "..", ".hidden", "a\x00b", "a\nb: c", "", "UP", "a b", "-a", strings.Repeat("a", 254)} {
		if text, err := homefile.Text("ImageImport", name, nil); fault.KindOf(err) != fault.Usage {
			t.Errorf("%q was taken: %v %q", name, err, text)
		}
	}
	folder := homefile.Folder{Dir: t.TempDir()}
	long := strings.Repeat("a", 253)
	for _, name := range []string{"a", "a.b", "a..b", long, long[:252] + "b"} {
		text, err := homefile.Text("ImageImport", name, map[string]string{"a": "b"})
		if err != nil {
			t.Fatal(err)
		}
		if changed, err := folder.Put("ImageImport", name, text); err != nil || !changed {
			t.Errorf("%.20s: %t, %v", name, changed, err)
		}
		if changed, err := folder.Put("ImageImport", name, text); err != nil || changed {
			t.Errorf("%.20s again: %t, %v", name, changed, err)
		}
	}
	entries, err := os.ReadDir(folder.Dir)
	if err != nil || len(entries) != 5 {
		t.Errorf("5 names made %d files (%v)", len(entries), err)
	}
}

func TestFilesOfOthersAreLeftAlone(t *testing.T) {
	folder := homefile.Folder{Dir: t.TempDir()}
	text, err := homefile.Text("ImagePolicy", "mine", nil)
	if err != nil {
		t.Fatal(err)
	}
	ofAnother, err := homefile.Text("ImagePolicy", "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, there := range []string{"# mine\n", "", string(ofAnother)} {
		path := folder.Path("ImagePolicy", "mine")
		if err := os.WriteFile(path, []byte(there), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.Put("ImagePolicy", "mine", text); !errors.Is(err, homefile.ErrTaken) {
			t.Errorf("over %q: %v", there, err)
		}
		if err := folder.Remove("ImagePolicy", "mine"); err != nil {
			t.Error(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != there {
			t.Errorf("%q became %q, %v", there, got, err)
		}
	}
}

func TestRemove(t *testing.T) {
	folder := homefile.Folder{Dir: filepath.Join(t.TempDir(), "none yet")}
	if err := folder.Remove("ImagePolicy", "a"); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
	text, err := homefile.Text("ImagePolicy", "a", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Put("ImagePolicy", "a", text); err != nil {
		t.Fatal(err)
	}
	if err := folder.Remove("ImagePolicy", "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.Get("ImagePolicy", "a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

// FuzzText has whatever text a resource may hold read back from its file as it was. Only of control
// characters it may be said that they cannot.
func FuzzText(f *testing.F) {
	for _, seed := range []string{"plain", "a: b", "- a\n- b", "# no comment", "---\nkind: Other", "\t\"'\\ \r\n", "1e3", "yes", "null", "~", "{{", "\u0085\u2028\ufeff\x00\x1b", "!!binary a", "&a *a", " | >", "0x10", "2026-01-01"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return // JSON, in which resources come, has no such texts
		}
		want := v1alpha1.DependencyOverrideSpec{Reason: value, Package: value, Advisories: []string{value, "b"}}
		text, err := homefile.Text(v1alpha1.DependencyOverrideKind, "a", want)
		if fault.KindOf(err) == fault.Usage && strings.ContainsFunc(value, unicode.IsControl) {
			return // said, not lost
		}
		if err != nil {
			t.Fatal(err)
		}
		var got v1alpha1.DependencyOverride
		if _, err := manifest.Decode(text, v1alpha1.DependencyOverrideKind, &got); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got.Spec); diff != "" || got.Name != "a" {
			t.Errorf("%q: %s\n%s", got.Name, diff, text)
		}
	})
}
