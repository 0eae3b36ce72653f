package resolve_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"plimsoll.dev/plimsoll/internal/testbed"
)

// TestTinyAsApt gives every tiny archive to apt itself, so that what the cases claim of
// Debian is Debian's and not ours.
func TestTinyAsApt(t *testing.T) {
	testbed.Tool(t, "apt-get")
	for _, test := range tinyCases {
		if test.apt == "-" {
			continue // cannot be said to apt
		}
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			want := test.want
			if test.apt == "none" {
				want = ""
			}
			got := strings.Join(tinyApt(t, tiny(test.archive), split(test.request)), ", ")
			if got != want {
				t.Errorf("apt gives %q, the case says %q", got, want)
			}
			if (test.apt != "") != (test.why != "") {
				t.Errorf("a difference from apt and its explanation come together")
			}
		})
	}
}

// tinyApt serves the archive from a folder and gives what apt would install, or nothing.
func tinyApt(t testing.TB, archive tiny, packages []string) []string {
	t.Helper()
	a := aptArchive{dir: t.TempDir()}
	for _, d := range []string{"etc/preferences.d", "etc/none", "etc/amd64", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	suites, files := archive.packagesFiles()
	var sources strings.Builder
	for _, suite := range suites {
		folder := filepath.Join(a.dir, "archive", suite)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "Packages"), []byte(files[suite]), 0o644); err != nil {
			t.Fatal(err)
		}
		sources.WriteString("deb [trusted=yes] file:" + folder + " ./\n")
	}
	for path, text := range map[string]string{"etc/amd64/test.list": sources.String(), "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	update := exec.Command("apt-get", append(a.options("amd64"), "-o", "APT::Sandbox::User=root", "update")...)
	update.Env = append(os.Environ(), "APT_CONFIG="+a.bareConfig(t), "LC_ALL=C")
	if out, err := update.CombinedOutput(); err != nil {
		t.Fatalf("apt-get update: %v\n%s", err, out)
	}
	set, _ := a.install(t, "amd64", packages)
	return set
}
