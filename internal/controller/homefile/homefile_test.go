package homefile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/controller/homefile"
	"plimsoll.dev/plimsoll/internal/fault"
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
