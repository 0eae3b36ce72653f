package base_test

import (
	"archive/tar"
	"crypto/md5"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/base/capability"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

func TestMergedUsr(t *testing.T) {
	tree := newBed(t, pkg{Name: "old", Files: []debarchive.File{
		reg("bin/tool", "tool"), reg("lib/x86_64-linux-gnu/liby.so", "y"), reg("lib64/ld.so", "ld"), symlink("sbin/alias", "../bin/tool"),
		hardlink("bin/twin", "bin/tool"),
	}}).tree()
	for at, want := range map[string]string{
		"usr/bin/tool": "tool", "usr/bin/twin": "tool", "usr/lib/x86_64-linux-gnu/liby.so": "y", "usr/lib64/ld.so": "ld",
		"bin/tool": "absent", "lib/x86_64-linux-gnu": "absent",
	} {
		if got := text(tree, at); got != want {
			t.Errorf("%s: want %q, got %q", at, want, got)
		}
	}
	for at, target := range map[string]string{"bin": "usr/bin", "lib64": "usr/lib64", "usr/sbin/alias": "../bin/tool"} {
		if f := tree[at]; f == nil || f.Header.Linkname != target {
			t.Errorf("%s is no symlink to %s: %+v", at, target, f)
		}
	}
	if sums := text(tree, "var/lib/dpkg/status.d/old.md5sums"); !strings.Contains(sums, "  usr/bin/tool\n") {
		t.Errorf("the inventory has the paths as they are in the image, got\n%s", sums)
	}
}

func TestDocumentation(t *testing.T) {
	p := pkg{Name: "doc", Files: []debarchive.File{
		reg("usr/share/doc/doc/copyright", "free"), reg("usr/share/doc/doc/changelog.gz", "c"), reg("usr/share/doc/doc/examples/x", "x"),
		reg("usr/share/man/man1/doc.1.gz", "m"), reg("usr/share/info/doc.info", "i"), reg("usr/share/doc/empty/README", "r"),
		symlink("usr/share/doc/libdoc", "doc"), reg("usr/share/documents/kept", "k"),
	}}
	b := newBed(t, p)
	tree := b.tree()
	for at, want := range map[string]bool{
		"usr/share/doc/doc/copyright": true, "usr/share/doc/libdoc": true, "usr/share/documents/kept": true,
		"usr/share/doc/doc/changelog.gz": false, "usr/share/doc/doc/examples": false, "usr/share/man/man1/doc.1.gz": false,
		"usr/share/info/doc.info": false, "usr/share/doc/empty": false,
	} {
		if got := tree[at] != nil; got != want {
			t.Errorf("%s is in the image: %v, want %v", at, got, want)
		}
	}
	b.image.Spec.Hardening.Documentation = true
	if tree := b.tree(); tree["usr/share/man/man1/doc.1.gz"] == nil || tree["usr/share/doc/doc/examples/x"] == nil {
		t.Error("hardening.documentation keeps it all")
	}
}

func TestSetuid(t *testing.T) {
	b := newBed(t, pkg{Name: "su", Files: []debarchive.File{
		{Path: "usr/bin/su", Content: "su", Mode: 0o4755}, {Path: "usr/bin/ssh-agent", Content: "a", Mode: 0o2755},
		{Path: "usr/bin/sudoedit", Type: tar.TypeLink, Link: "usr/bin/su", Mode: 0o4755},
		dir("var/mail", 0o2775),
	}})
	result := b.build()
	tree := basetest.Read(t, result.Images[0].Image)
	for at, want := range map[string]string{
		"usr/bin/su": "0755 0:0", "usr/bin/ssh-agent": "0755 0:0", "usr/bin/sudoedit": "0755 0:0", "var/mail": "2775 0:0",
	} {
		if got := mode(tree, at); got != want {
			t.Errorf("%s: want %s, got %s", at, want, got)
		}
	}
	var details string
	for _, c := range result.Images[0].Hardening {
		if strings.Contains(c.Name, "setuid") {
			details = strings.Join(c.Details, "\n")
		}
	}
	if !strings.Contains(details, "/usr/bin/su") || !strings.Contains(details, "/usr/bin/ssh-agent") {
		t.Errorf("the report does not say what lost its bits: %q", details)
	}
	b.image.Spec.Hardening.AllowSetuid = []string{"/usr/bin/su"}
	tree = b.tree()
	if got := mode(tree, "usr/bin/su") + ", " + mode(tree, "usr/bin/ssh-agent"); got != "4755 0:0, 0755 0:0" {
		t.Errorf("only what is allowed keeps its bits, got %s", got)
	}
}

func TestStatus(t *testing.T) {
	p := pkg{Name: "server", Version: "2:1.5-3", Conffiles: []string{"/etc/server.conf", "/etc/server.d/gone.conf"}, Files: []debarchive.File{
		reg("usr/sbin/server", "server"), reg("etc/server.conf", "port=1\n"), reg("etc/server.d/gone.conf", "x"), symlink("usr/sbin/alias", "server"),
		hardlink("usr/sbin/twin", "usr/sbin/server"), reg("usr/share/man/man8/server.8", "m"), reg("usr/lib/a space", "s"),
	}}
	b := newBed(t, p)
	b.image.Spec.Exclude = []string{"/etc/server.d/**"}
	tree := b.tree()
	sum := func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) }
	wantStatus := p.Control() + "Conffiles:\n /etc/server.conf " + sum("port=1\n") + "\n"
	if diff := cmp.Diff(wantStatus, text(tree, "var/lib/dpkg/status.d/server")); diff != "" {
		t.Error(diff)
	}
	wantSums := sum("s") + "  usr/lib/a space\n" + sum("server") + "  usr/sbin/server\n" + sum("server") + "  usr/sbin/twin\n"
	if diff := cmp.Diff(wantSums, text(tree, "var/lib/dpkg/status.d/server.md5sums")); diff != "" {
		t.Error(diff)
	}
	if tree["var/lib/dpkg/status.d/base-files"] == nil {
		t.Error("base-files has no status")
	}
}

func TestTwoPackagesOnePath(t *testing.T) {
	file := func(content string) []debarchive.File { return []debarchive.File{reg("usr/bin/x", content)} }
	same := map[string]string{"Multi-Arch": "same"}
	tests := []struct {
		name  string
		a, b  pkg
		want  string // content, or
		fails []string
	}{
		{"one replaces the other", pkg{Name: "pa", Files: file("a")}, pkg{Name: "pb", Files: file("b"), Fields: map[string]string{"Replaces": "pa (<< 2)"}}, "b", nil},
		{"the first replaces the second", pkg{Name: "pa", Files: file("a"), Fields: map[string]string{"Replaces": "pc, pb (>= 1)"}}, pkg{Name: "pb", Files: file("b")}, "a", nil},
		{"it replaces another version", pkg{Name: "pa", Files: file("a")}, pkg{Name: "pb", Files: file("b"), Fields: map[string]string{"Replaces": "pa (<< 1.0-1)"}}, "", []string{"/usr/bin/x", "pa 1.0-1", "pb 1.0-1", "neither replaces"}},
		{"neither replaces", pkg{Name: "pa", Files: file("a")}, pkg{Name: "pb", Files: file("b")}, "", []string{"/usr/bin/x", "pa 1.0-1", "pb 1.0-1"}},
		{"the same bytes", pkg{Name: "pa", Files: file("s"), Fields: same}, pkg{Name: "pb", Files: file("s"), Fields: same}, "s", nil},
		{"a folder and a file", pkg{Name: "pa", Files: file("a")}, pkg{Name: "pb", Files: []debarchive.File{reg("usr/bin/x/y", "b")}}, "", []string{"/usr/bin/x", "folder"}},
		{"over merged /usr", pkg{Name: "pa", Files: []debarchive.File{reg("bin/x", "a")}}, pkg{Name: "pb", Files: file("b")}, "", []string{"/usr/bin/x"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, tt.a, tt.b)
			if tt.fails != nil {
				b.refuses(fault.Failed, tt.fails...)
				return
			}
			if got := text(b.tree(), "usr/bin/x"); got != tt.want {
				t.Errorf("want the file of %q, got %q", tt.want, got)
			}
		})
	}
}

func TestReplacedHardLinkTarget(t *testing.T) {
	tree := newBed(t,
		pkg{Name: "pa", Files: []debarchive.File{reg("usr/bin/x", "a"), hardlink("usr/bin/y", "usr/bin/x"), hardlink("usr/bin/z", "usr/bin/x"), reg("usr/bin/zz", "after")}},
		pkg{Name: "pb", Files: []debarchive.File{reg("usr/bin/x", "b")}, Fields: map[string]string{"Replaces": "pa"}},
	).tree()
	got := text(tree, "usr/bin/x") + text(tree, "usr/bin/y") + text(tree, "usr/bin/z") + text(tree, "usr/bin/zz")
	if got != "baaafter" {
		t.Errorf("dpkg leaves y and z as a ships them, got %q", got)
	}
}

func TestFolders(t *testing.T) {
	tree := newBed(t,
		pkg{Name: "pa", Files: []debarchive.File{dir("var/spool/x", 0o755), reg("var/spool/x/a", "a")}},
		pkg{Name: "pb", Files: []debarchive.File{{Path: "var/spool/x", Type: tar.TypeDir, Mode: 0o1770, User: "root", Group: "mail"}, reg("var/spool/x/b", "b")}},
		pkg{Name: "pc", Files: []debarchive.File{dir("var/spool/x", 0o755), reg("var/spool/x/c", "c")}},
	).tree()
	if got := mode(tree, "var/spool/x"); got != "1770 0:8" {
		t.Errorf("the folder's own mode counts in every layer, got %s", got)
	}
}

func TestSymlinkedFolderOfAnotherPackage(t *testing.T) {
	tree := newBed(t,
		pkg{Name: "a-user", Files: []debarchive.File{reg("opt/current/etc/x.conf", "x"), reg("srv/deep/link/z", "z")}},
		pkg{Name: "b-owner", Files: []debarchive.File{dir("opt/v2", 0), symlink("opt/current", "v2"), dir("srv/real", 0), symlink("srv/deep", "/srv/real"), symlink("srv/real/link", "../real2"), dir("srv/real2", 0)}},
	).tree()
	for at, want := range map[string]string{"opt/v2/etc/x.conf": "x", "srv/real2/z": "z"} {
		if got := text(tree, at); got != want {
			t.Errorf("%s: want %q, got %q", at, want, got)
		}
	}
	newBed(t, pkg{Name: "pa", Files: []debarchive.File{symlink("usr/one", "two"), symlink("usr/two", "one")}},
		pkg{Name: "pb", Files: []debarchive.File{reg("usr/one/x", "x")}}).refuses(fault.Failed, "pb 1.0-1", "usr/one", "circle")
}

func TestOwnersByName(t *testing.T) {
	files := []debarchive.File{{Path: "var/www/x", Content: "x", User: "www-data", UID: 7777, Group: "shadow", GID: 7777}, {Path: "var/plain", Content: "y", UID: 123, GID: 456}}
	tree := newBed(t, pkg{Name: "www", Files: files}).tree()
	if got := mode(tree, "var/www/x") + ", " + mode(tree, "var/plain"); got != "0644 33:42, 0644 123:456" {
		t.Errorf("names outweigh numbers, got %s", got)
	}
	if passwd := text(tree, "etc/passwd"); !strings.Contains(passwd, "www-data:x:33:33:") {
		t.Errorf("www-data has no account:\n%s", passwd)
	}
	b := newBed(t, pkg{Name: "own", Files: []debarchive.File{{Path: "var/x", Content: "x", User: "_own", UID: 101}}})
	b.refuses(fault.Failed, "own 1.0-1", "_own", "accounts.users")
	b.image.Spec.Accounts.Users = []v1alpha1.User{{Name: "_own", UID: 900, GID: 900, Home: "/nonexistent", Shell: "/usr/sbin/nologin"}}
	if got := mode(b.tree(), "var/x"); got != "0644 900:0" {
		t.Errorf("want the number of the spec, got %s", got)
	}
}

func TestAccounts(t *testing.T) {
	b := newBed(t)
	b.image.Spec.Accounts = v1alpha1.Accounts{
		Users:  []v1alpha1.User{{Name: "app", UID: 1000, GID: 1000, Comment: "App", Home: "/home/app", Shell: "/bin/false"}, {Name: "nobody", UID: 99, GID: 99, Home: "/", Shell: "/bin/false"}},
		Groups: []v1alpha1.Group{{Name: "extra", GID: 2000, Members: []string{"app", "nonroot"}}},
	}
	tree := b.tree()
	wantPasswd := "root:x:0:0:root:/root:/usr/sbin/nologin\nnobody:x:99:99::/:/bin/false\napp:x:1000:1000:App:/home/app:/bin/false\nnonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin\n"
	if diff := cmp.Diff(wantPasswd, text(tree, "etc/passwd")); diff != "" {
		t.Error(diff)
	}
	wantGroup := "root:x:0:\nnobody:x:99:\napp:x:1000:\nextra:x:2000:app,nonroot\nnonroot:x:65532:\nnogroup:x:65534:\n"
	if diff := cmp.Diff(wantGroup, text(tree, "etc/group")); diff != "" {
		t.Error(diff)
	}
	if got := mode(tree, "home/app") + ", " + mode(tree, "tmp") + ", " + mode(tree, "root"); got != "0700 1000:1000, 1777 0:0, 0700 0:0" {
		t.Errorf("got %s", got)
	}
}

func TestSpecPaths(t *testing.T) {
	b := newBed(t, pkg{Name: "web", Files: []debarchive.File{
		reg("usr/bin/web", "web"), reg("etc/web.conf", "packaged"), dir("var/cache/web", 0), hardlink("usr/bin/web2", "usr/bin/web"), dir("usr/share/old", 0),
	}}, pkg{Name: "more", Files: []debarchive.File{dir("var/cache/web", 0), dir("usr/share/old", 0), reg("usr/lib/shared", "s")}})
	b.image.Spec.Paths = []v1alpha1.Path{
		{Path: "/srv/data/deep", Type: v1alpha1.PathDirectory, Mode: "0750", UID: ptr(65532), GID: ptr(65532)},
		{Path: "/etc/motd", Type: v1alpha1.PathFile, Content: "hi\n", Mode: "0600"},
		{Path: "/etc/web.conf", Type: v1alpha1.PathFile, Content: "mine"},
		{Path: "/bin/alias", Type: v1alpha1.PathSymlink, Target: "web"},
		{Path: "/etc/motd2", Type: v1alpha1.PathHardlink, Target: "/etc/motd"},
		{Path: "/var/cache/web", Type: v1alpha1.PathExisting, UID: ptr(33)},
		{Path: "/usr/bin/web", Type: v1alpha1.PathExisting, Capabilities: "cap_net_bind_service+ep", Mode: "0711"},
		{Path: "/var/lib", Type: v1alpha1.PathDirectory, Mode: "0711"},
		{Path: "/usr/share/old", Type: v1alpha1.PathSymlink, Target: "new"},
	}
	tree := b.tree()
	for at, want := range map[string]string{
		"srv/data/deep": "0750 65532:65532", "srv/data": "0755 0:0", "etc/motd": "0600 0:0", "etc/motd2": "0600 0:0",
		"etc/web.conf": "0644 0:0", "var/cache/web": "0755 33:0", "usr/bin/web": "0711 0:0", "usr/bin/web2": "0711 0:0",
		"usr/bin/alias": "0777 0:0", "var/lib": "0711 0:0",
	} {
		if got := mode(tree, at); got != want {
			t.Errorf("%s: want %s, got %s", at, want, got)
		}
	}
	if got := text(tree, "etc/web.conf") + text(tree, "etc/motd2"); got != "minehi\n" {
		t.Errorf("got %q", got)
	}
	set, err := capability.Parse("cap_net_bind_service+ep")
	if err != nil {
		t.Fatal(err)
	}
	if got := tree["usr/bin/web"].Header.PAXRecords["SCHILY.xattr.security.capability"]; got != string(set.Xattr()) {
		t.Errorf("capabilities: want %x, got %x", set.Xattr(), got)
	}
	if sums := text(tree, "var/lib/dpkg/status.d/web.md5sums"); strings.Contains(sums, "web.conf") {
		t.Errorf("the package still claims what the spec replaced:\n%s", sums)
	}
}

func TestSpecPathsRefused(t *testing.T) {
	tests := []struct {
		name string
		path v1alpha1.Path
		says []string
	}{
		{"existing, but is not", v1alpha1.Path{Path: "/no/such", Type: v1alpha1.PathExisting, Mode: "0755"}, []string{"/no/such", "no package"}},
		{"capabilities of a folder", v1alpha1.Path{Path: "/etc", Type: v1alpha1.PathExisting, Capabilities: "cap_chown+ep"}, []string{"/etc", "regular file"}},
		{"hard link to nothing", v1alpha1.Path{Path: "/x", Type: v1alpha1.PathHardlink, Target: "/no/such"}, []string{"/x", "/no/such"}},
		{"hard link to a packaged file", v1alpha1.Path{Path: "/x", Type: v1alpha1.PathHardlink, Target: "/usr/lib/os-release"}, []string{"/x", "another layer"}},
		{"a file over a full folder", v1alpha1.Path{Path: "/usr/lib", Type: v1alpha1.PathFile, Content: "x"}, []string{"/usr/lib", "folder"}},
		{"a symlink over a full folder", v1alpha1.Path{Path: "/usr/lib", Type: v1alpha1.PathSymlink, Target: "/x"}, []string{"/usr/lib", "folder"}},
		{"below a file", v1alpha1.Path{Path: "/usr/lib/os-release/x", Type: v1alpha1.PathFile, Content: "x"}, []string{"/usr/lib/os-release", "no folder"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.image.Spec.Paths = []v1alpha1.Path{tt.path}
			b.refuses(fault.Usage, tt.says...)
		})
	}
}

func TestCapabilitiesMakeLayersOfTheirOwn(t *testing.T) {
	// Both sets are bytes above 0x7f in the attribute: whoever takes them for text takes
	// them for the same.
	b := newBed(t, pkg{Name: "web", Files: []debarchive.File{reg("usr/bin/web", "web")}})
	seen := map[string]string{}
	for _, caps := range []string{"cap_setuid+ep", "cap_setuid,cap_setgid+ep"} {
		b.image.Spec.Paths = []v1alpha1.Path{{Path: "/usr/bin/web", Type: v1alpha1.PathExisting, Capabilities: caps}}
		got := b.tree()["usr/bin/web"].Header.PAXRecords["SCHILY.xattr.security.capability"]
		set, err := capability.Decode([]byte(got))
		if err != nil {
			t.Fatal(err)
		}
		want, err := capability.Parse(caps)
		if err != nil {
			t.Fatal(err)
		}
		if set != want || seen[got] != "" {
			t.Errorf("%s: want %+v, got %+v (as %s)", caps, want, set, seen[got])
		}
		seen[got] = caps
	}
}

func TestPackagedXattrSurvivesTheCache(t *testing.T) {
	value := "\x01\x00\x00\x02\x80\x00\x00\x00\xff\xfe\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	b := newBed(t, pkg{Name: "web", Files: []debarchive.File{{Path: "usr/bin/web", Content: "w", Xattr: map[string]string{"security.capability": value}}}})
	for range 2 { // fresh, then from the cache
		if got := b.tree()["usr/bin/web"].Header.PAXRecords["SCHILY.xattr.security.capability"]; got != value {
			t.Errorf("want %x, got %x", value, got)
		}
	}
}

func TestHardening(t *testing.T) {
	shell := pkg{Name: "dash", Files: []debarchive.File{reg("usr/bin/dash", "d")}}
	needy := pkg{Name: "needy", Fields: map[string]string{"Depends": "dash"}}
	tests := []struct {
		name     string
		packages []pkg
		edit     func(*v1alpha1.BaseImageSpec)
		says     []string
	}{
		{"a shell nobody listed", []pkg{shell, needy}, func(s *v1alpha1.BaseImageSpec) { s.Packages = []string{"base-files", "needy"} }, []string{"no shell", "dash", "needy 1.0-1"}},
		{"world-writable file", []pkg{{Name: "pw", Files: []debarchive.File{{Path: "usr/lib/w", Content: "w", Mode: 0o666}}}}, nil, []string{"world-writable", "/usr/lib/w", "0666"}},
		{"world-writable folder", []pkg{{Name: "pw", Files: []debarchive.File{dir("var/w", 0o777)}}}, nil, []string{"world-writable", "/var/w"}},
		{"sticky elsewhere", []pkg{{Name: "pw", Files: []debarchive.File{dir("var/w", 0o1777)}}}, nil, []string{"world-writable", "/var/w"}},
		{"setuid by the spec", nil, func(s *v1alpha1.BaseImageSpec) {
			s.Paths = []v1alpha1.Path{{Path: "/usr/bin/x", Type: v1alpha1.PathFile, Content: "x", Mode: "4755"}}
		}, []string{"setuid", "/usr/bin/x"}},
		{"an absent package", []pkg{{Name: "px"}}, func(s *v1alpha1.BaseImageSpec) { s.Absent.Packages = []string{"px"} }, []string{"absent", "package px"}},
		{"an absent path", []pkg{{Name: "px", Files: []debarchive.File{reg("usr/bin/x", "x")}}}, func(s *v1alpha1.BaseImageSpec) { s.Absent.Paths = []string{"/usr/**/x"} }, []string{"absent", "/usr/bin/x", "from px"}},
		{"no system", []pkg{{Name: "px"}}, func(s *v1alpha1.BaseImageSpec) { s.Packages = []string{"px"} }, []string{"os-release", "base-files"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, tt.packages...)
			if tt.edit != nil {
				tt.edit(&b.image.Spec)
			}
			b.refuses(fault.Denied, append(tt.says, "bed")...)
		})
	}
	b := newBed(t, shell, needy)
	b.tree() // the shell is listed: no objection
}

func TestExclude(t *testing.T) {
	p := pkg{Name: "px", Files: []debarchive.File{
		reg("usr/share/locale/de/x.mo", "de"), reg("usr/share/locale/fr/x.mo", "fr"), reg("usr/lib/x/a.py", "a"), reg("usr/lib/x/b.txt", "b"), reg("usr/lib/x/sub/c.py", "c"),
		reg("usr/bin/git", "g"), hardlink("usr/bin/git-x", "usr/bin/git"),
	}}
	b := newBed(t, p)
	b.image.Spec.Exclude = []string{"/usr/share/locale/**", "/usr/lib/x/*.py"}
	tree := b.tree()
	for at, want := range map[string]bool{"usr/share/locale": false, "usr/share/locale/de/x.mo": false, "usr/lib/x/a.py": false, "usr/lib/x/b.txt": true, "usr/lib/x/sub/c.py": true} {
		if got := tree[at] != nil; got != want {
			t.Errorf("%s is in the image: %v, want %v", at, got, want)
		}
	}
	b.image.Spec.Exclude = []string{"/usr/bin/git"}
	b.refuses(fault.Failed, "usr/bin/git-x", "exclude")
}
