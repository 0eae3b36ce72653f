package maintscript

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestParseSysusers(t *testing.T) {
	got, err := ParseSysusers("demo.conf", []byte(`# comment
u  demo     101       "The \"demo\" server" /var/lib/demo /bin/sh
u! shared   200:users -
g  extra    -
m  demo     extra
r  -        500-900
u  owned    /usr/bin/owned 'An owner'
u  sshd     -:65534 "No group of its own"
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Accounts{
		Users: []User{
			{Name: "demo", UID: 101, System: true, Group: "demo", Home: "/var/lib/demo", Shell: "/bin/sh", Comment: `The "demo" server`},
			{Name: "shared", UID: 200, System: true, Group: "users"},
			{Name: "owned", UID: AnyID, System: true, Group: "owned", Comment: "An owner"},
			{Name: "sshd", UID: AnyID, System: true, Group: "65534", Comment: "No group of its own"}},
		Groups:  []Group{{"demo", 101, true}, {"extra", AnyID, true}, {"owned", AnyID, true}},
		Members: []Member{{"demo", "extra"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"u", "x name", "u a:b 1", "u name minus", "m name", `u name 1 "open`, "u name 1 a:b"} {
		if _, err := ParseSysusers("demo.conf", []byte("\n"+bad)); err == nil || !strings.Contains(err.Error(), "demo.conf: line 2") {
			t.Errorf("%q: error = %v", bad, err)
		}
	}
}

func TestParseTmpfiles(t *testing.T) {
	got, err := ParseTmpfiles("demo.conf", []byte(`# comment
d /run/demo/ 0750 demo adm 10d
D %S/demo - - -
L+ /etc/mtab - - - - ../proc/self/mounts
L /etc/factory
f /etc/text 0640 root root - some words
f+ /etc/empty
d /tmp/x
d /home/%u
d! /run/boot
x /var/lib/keep
z /dev/kvm 0660 root kvm
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Path{
		{Path: "/run/demo", Kind: Directory, Mode: "0750", Owner: "demo", Group: "adm"},
		{Path: "/var/lib/demo", Kind: Directory},
		{Path: "/etc/mtab", Kind: Symlink, Target: "../proc/self/mounts", Replace: true},
		{Path: "/etc/factory", Kind: Symlink, Target: "/usr/share/factory/etc/factory", KeepOld: true},
		{Path: "/etc/text", Kind: File, Mode: "0640", Owner: "root", Group: "root", Content: "some words", KeepOld: true},
		{Path: "/etc/empty", Kind: File},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"d", "d relative", "d* /x", `d "/x`, `"" /x`} {
		if _, err := ParseTmpfiles("demo.conf", []byte("\n"+bad)); err == nil || !strings.Contains(err.Error(), "demo.conf: line 2") {
			t.Errorf("%q: error = %v", bad, err)
		}
	}
}

func TestLinks(t *testing.T) {
	all := []Alternative{
		{Name: "editor", Link: "/usr/bin/editor", Path: "/usr/bin/nano", Priority: 40},
		{Name: "editor", Link: "/usr/bin/editor", Path: "/usr/bin/vim", Priority: 50,
			Slaves: []Slave{{"editor.1.gz", "/usr/share/man/man1/editor.1.gz", "/usr/share/man/man1/vim.1.gz"}}},
		{Name: "awk", Link: "/usr/bin/awk", Path: "/usr/bin/mawk", Priority: 5},
		{Name: "awk", Link: "/usr/bin/awk", Path: "/usr/bin/gawk", Priority: 5},
		{Name: "gone", Link: "/usr/bin/gone", Path: "/usr/bin/removed", Priority: 5},
	}
	want := []Link{
		{"/etc/alternatives/awk", "/usr/bin/gawk"},
		{"/etc/alternatives/editor", "/usr/bin/vim"},
		{"/usr/bin/awk", "/etc/alternatives/awk"},
		{"/usr/bin/editor", "/etc/alternatives/editor"},
	}
	there := func(p string) bool { return p != "/usr/bin/removed" && !strings.HasSuffix(p, ".gz") }
	if diff := cmp.Diff(want, Links(Available(all, there))); diff != "" {
		t.Error(diff)
	}
	slices.Reverse(all)
	if diff := cmp.Diff(want, Links(Available(all, there))); diff != "" {
		t.Errorf("the order matters: %s", diff)
	}
	if n := len(Links(all)); n != 8 {
		t.Errorf("%d links with everything there, want 8", n)
	}
}

// TestLinksAreUpdateAlternatives runs Debian's own program in a root of its own.
func TestLinksAreUpdateAlternatives(t *testing.T) {
	tool, root := testbed.Tool(t, "update-alternatives"), t.TempDir()
	for _, dir := range []string{"etc/alternatives", "usr/bin", "usr/share/man/man1", "var/lib/dpkg/alternatives", "var/log"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"usr/bin/a", "usr/bin/b", "usr/bin/c", "usr/share/man/man1/a.1.gz", "usr/share/man/man1/b.1.gz"} {
		if err := os.WriteFile(filepath.Join(root, file), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var all []Alternative
	for i, p := range []string{"b", "c", "a"} {
		all = append(all, Alternative{Name: "x", Link: "/usr/bin/x", Path: "/usr/bin/" + p, Priority: []int{20, -5, 10}[i],
			Slaves: []Slave{{"x.1.gz", "/usr/share/man/man1/x.1.gz", "/usr/share/man/man1/" + p + ".1.gz"}, {"gone", "/usr/bin/gone", "/usr/bin/none"}}})
	}
	all = append(all, Alternative{Name: "solo", Link: "/usr/bin/solo", Path: "/usr/bin/c", Priority: 0})
	for _, a := range all {
		args := []string{"--root", root, "--log", filepath.Join(root, "log"), "--quiet", "--install", a.Link, a.Name, a.Path, strconv.Itoa(a.Priority)}
		for _, s := range a.Slaves {
			args = append(args, "--slave", s.Link, s.Name, s.Path)
		}
		if out, err := exec.Command(tool, args...).CombinedOutput(); err != nil {
			t.Fatalf("update-alternatives: %v\n%s", err, out)
		}
	}
	var want []Link
	err := filepath.WalkDir(root, func(full string, d fs.DirEntry, err error) error {
		if err == nil && d.Type()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(full)
			want = append(want, Link{Path: strings.TrimPrefix(full, root), Target: strings.TrimPrefix(target, root)})
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	there := func(p string) bool { _, err := os.Stat(filepath.Join(root, p)); return err == nil }
	if diff := cmp.Diff(want, Links(Available(all, there))); diff != "" || len(want) != 6 {
		t.Errorf("links (-update-alternatives +ours):\n%s", diff)
	}
}

func TestParseJinfo(t *testing.T) {
	got, err := ParseJinfo(".java.jinfo", []byte("name=java-21\nalias=x y\npriority=2111\nsection=main\n\nhl java /usr/lib/jvm/j/bin/java\njdk javac /usr/lib/jvm/j/bin/javac\nplugin mozilla.so /usr/lib/jvm/j/lib/plugin.so\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Alternative{
		{Name: "java", Link: "/usr/bin/java", Path: "/usr/lib/jvm/j/bin/java", Priority: 2111},
		{Name: "javac", Link: "/usr/bin/javac", Path: "/usr/lib/jvm/j/bin/javac", Priority: 2111},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, bad := range []string{"priority=high", "hl java", "hl ../java /x", "hl java relative"} {
		if _, err := ParseJinfo(".java.jinfo", []byte("\n"+bad)); err == nil || !strings.Contains(err.Error(), ".java.jinfo: line 2") {
			t.Errorf("%q: error = %v", bad, err)
		}
	}
}

// FuzzDeclarative holds that any file is read or refused, and that nothing read leaves
// the image or breaks an account file.
func FuzzDeclarative(f *testing.F) {
	f.Add("u a 1 \"b\" /c /d\ng e -\nm a e\n")
	f.Add("d /run/x 0755 root root -\nL+ /etc/a - - - - b\nf /x - - - - t\n")
	f.Add("priority=1\nhl java /usr/bin/java\n")
	f.Fuzz(func(t *testing.T, text string) {
		if a, err := ParseSysusers("f", []byte(text)); err == nil {
			for _, u := range a.Users {
				if !validName(u.Name) || strings.ContainsAny(u.Comment+u.Home+u.Shell, ":\n") {
					t.Fatalf("user %+v", u)
				}
			}
		}
		if paths, err := ParseTmpfiles("f", []byte(text)); err == nil {
			for _, p := range paths {
				if !strings.HasPrefix(p.Path, "/") || strings.Contains(p.Path+"/", "/../") {
					t.Fatalf("path %q", p.Path)
				}
			}
		}
		if list, err := ParseJinfo("f", []byte(text)); err == nil {
			for _, a := range list {
				if !validAlternative(a) {
					t.Fatalf("alternative %+v", a)
				}
			}
		}
	})
}
