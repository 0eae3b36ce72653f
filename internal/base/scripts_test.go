package base_test

import (
	"archive/tar"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base"
	"plimsoll.dev/plimsoll/internal/base/basetest"
	"plimsoll.dev/plimsoll/internal/testbed/debarchive"
)

// configured gives a package whose postinst has these lines.
func configured(name string, files []debarchive.File, lines ...string) pkg {
	return pkg{Name: name, Files: files, Scripts: map[string]string{"postinst": "#!/bin/sh\nset -e\n" + strings.Join(lines, "\n") + "\n"}}
}

// warned gives the tree, whose inventory must be whole, and the warnings as "package: text".
func (b *bed) warned() (basetest.Tree, []string) {
	b.t.Helper()
	built := b.build().Images[0]
	tree := basetest.Read(b.t, built.Image)
	tree.CheckInventory(b.t)
	var texts []string
	for _, w := range built.Warnings {
		texts = append(texts, w.Package+": "+w.Missing)
	}
	return tree, texts
}

// kind gives a link as "-> target", anything else as its mode.
func kind(tree basetest.Tree, at string) string {
	if f := tree[at]; f != nil && f.Header.Typeflag == tar.TypeSymlink {
		return "-> " + f.Header.Linkname
	}
	return mode(tree, at)
}

func TestScriptsMakePaths(t *testing.T) {
	migrate := []string{
		`mkdir -p /run/lock; chmod 1777 /run/lock`, `if [ ! -L /var/run ]; then rmdir /var/run; ln -s /run /var/run; fi`,
		`if [ ! -L /var/lock ]; then rmdir /var/lock; ln -s /run/lock /var/lock; fi`,
	}
	empty := []debarchive.File{dir("var/run", 0), dir("var/lock", 0)}
	tests := []struct {
		name, reason string
		packages     []pkg
		want         map[string]string
		warnings     []string
	}{
		{"ucf", "a configuration file comes to be at the first installation",
			[]pkg{configured("web", []debarchive.File{reg("usr/share/web/conf", "c"), {Path: "usr/share/web/secret", Content: "s", Mode: 0o600}, reg("etc/kept", "k")},
				`ucf --three-way /usr/share/web/conf /etc/web.conf`, `ucf /usr/share/web/secret /etc/secret`, `ucf /usr/share/web/conf /etc/kept`, `ucf /no/such /etc/none`)},
			map[string]string{"etc/web.conf": "0644 0:0", "etc/secret": "0600 0:0", "etc/none": "absent"},
			[]string{"web: it would copy /no/such to /etc/none, but the image does not have that file"}},
		{"a folder becomes a link", "whoever ships the empty folder loses it, and what others make below goes behind the link",
			[]pkg{configured("a-user", nil, `mkdir -p /var/run/user`, `mkdir /var/lock/sub`), configured("files", empty, migrate...), {Name: "more", Files: empty}},
			map[string]string{"var/run": "-> /run", "var/lock": "-> /run/lock", "run/lock": "1777 0:0", "run/user": "0755 0:0", "run/lock/sub": "0755 0:0"}, nil},
		{"a full folder stays", "a package ships something below it",
			[]pkg{configured("files", empty, migrate...), {Name: "other", Files: []debarchive.File{reg("var/run/other/x", "x")}}},
			map[string]string{"var/run": "0755 0:0", "var/lock": "-> /run/lock"},
			[]string{"files: it would put a link to /run in the place of the folder /var/run, but that is not empty"}},
		{"something else stands there", "a link that is not made is told, but not one that the script looks for, or that is the same",
			[]pkg{configured("pa", []debarchive.File{reg("etc/a", "a")}, `ln -s x /etc/a`, `ln -sf b /etc/b`, `ln -s /etc/x /etc/same`, `ln -s one /etc/asked`),
				configured("pb", []debarchive.File{reg("etc/b", "b")}, `ln -s x /etc/same`, `[ -e /etc/asked ] || ln -s two /etc/asked`)},
			map[string]string{"etc/a": "0644 0:0", "etc/b": "-> b", "etc/same": "-> /etc/x", "etc/asked": "-> one"},
			[]string{"pa: it would link /etc/a to x, but something else stands there"}},
		{"folders of logs and caches", "their files are not kept, but a server wants its folder",
			[]pkg{configured("db", []debarchive.File{dir("var/cache/db", 0)}, `install -d -m 2750 -o www-data -g adm /var/log/db`, `: > /var/log/db/log`,
				`chown www-data /var/cache/db`, `mkdir /run/db`, `ucf /usr/lib/os-release /var/cache/db/x`)},
			map[string]string{"var/log/db": "2750 33:4", "var/log/db/log": "absent", "var/cache/db": "0755 33:0", "run/db": "0755 0:0", "var/cache/db/x": "absent"}, nil},
		{"modes", "folders keep set-id and sticky bits, programs do not get any",
			[]pkg{configured("pm", []debarchive.File{reg("usr/bin/one", "1"), reg("usr/bin/two", "2"), reg("usr/bin/three", "3"), reg("etc/conf", "c")},
				`install -d -m 2775 -g mail /var/mail`, `mkdir /var/spool/x; chmod g+s,o-rx /var/spool/x`, `mkdir -m 3770 /var/spool/y`,
				`chmod u+s /usr/bin/one`, `chmod 4755 /usr/bin/two`, `chmod u=rwxs,go=rx /usr/bin/three`, `chmod o= /etc/conf`)},
			map[string]string{"var/mail": "2775 0:8", "var/spool/x": "2750 0:0", "var/spool/y": "3770 0:0", "usr/bin/one": "0644 0:0", "usr/bin/two": "0755 0:0", "usr/bin/three": "4755 0:0", "etc/conf": "0640 0:0"},
			[]string{
				"pm: it would set the mode of /usr/bin/one to 4644, but hardening lets no program act as its owner or group: give it what it needs under paths (capabilities), or list it under hardening.allowSetuid and set the mode under paths",
				"pm: it would set the mode of /usr/bin/two to 4755, but hardening lets no program act as its owner or group: give it what it needs under paths (capabilities), or list it under hardening.allowSetuid and set the mode under paths",
			}},
		{"ownership goes down, modes do not", "chown -R changes no group that it does not name",
			[]pkg{configured("pr", []debarchive.File{dir("srv/d", 0), {Path: "srv/d/f", Content: "f", Mode: 0o600, Group: "shadow"}}, `chown -R www-data /srv/d`, `chmod 0700 /srv/d`)},
			map[string]string{"srv/d": "0700 33:0", "srv/d/f": "0600 33:42"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t, tt.packages...)
			b.image.Spec.Hardening.AllowSetuid = []string{"/usr/bin/three"}
			tree, warnings := b.warned()
			got := map[string]string{}
			for at := range tt.want {
				got[at] = kind(tree, at)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
			if diff := cmp.Diff(tt.warnings, warnings); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
		})
	}
}

func TestMissingAccountsAreToldOnce(t *testing.T) {
	b := newBed(t,
		configured("a-client", []debarchive.File{dir("etc/db", 0)}, `chown db:db /etc/db`, `chgrp keys /etc/db`),
		configured("db", []debarchive.File{dir("var/lib/db", 0)}, `adduser --system --group --home /var/lib/db --shell /bin/sh db`,
			`chown db:db /var/lib/db`, `addgroup --system keys`, `addgroup --system db`, `chown :db /var/lib/db`),
		configured("more", nil, `adduser --system --ingroup mail --no-create-home more`))
	_, warnings := b.warned()
	want := []string{
		`db: it wants a user "db", which would own /etc/db, /var/lib/db: add to accounts.users: {name: db, uid: N, gid: N, home: /var/lib/db, shell: /bin/sh}`,
		`db: it wants a group "keys", which would own /etc/db: add to accounts.groups: {name: keys, gid: N}`,
		`more: it wants a user "more": add to accounts.users: {name: more, uid: N, gid: 8, home: /nonexistent}`,
	}
	less := cmp.Transformer("sort", func(texts []string) map[string]int {
		counts := map[string]int{}
		for _, text := range texts {
			counts[text]++
		}
		return counts
	})
	if diff := cmp.Diff(want, warnings, less); diff != "" {
		t.Error(diff)
	}
	b.image.Spec.Accounts = v1alpha1.Accounts{
		Users:  []v1alpha1.User{{Name: "db", UID: 900, GID: 900, Home: "/var/lib/db"}, {Name: "more", UID: 901, GID: 8, Home: "/nonexistent"}},
		Groups: []v1alpha1.Group{{Name: "keys", GID: 902}},
	}
	tree, warnings := b.warned()
	if got := mode(tree, "etc/db") + ", " + mode(tree, "var/lib/db"); got != "0755 900:902, 0755 900:900" || len(warnings) > 0 {
		t.Errorf("got %s and %q", got, warnings)
	}
}

func TestAcceptedWarningsStayInTheReport(t *testing.T) {
	b := newBed(t, configured("pa", nil, `chown nemo /etc`))
	b.image.Spec.Accept = []v1alpha1.Omission{{Package: "pa", Reason: "it is odd"}}
	result, err := b.builder().Build(t.Context(), b.image, base.Options{Strict: true})
	if err != nil {
		t.Fatalf("what is accepted does not fail a strict build: %v", err)
	}
	warnings := result.Images[0].Warnings
	if len(warnings) != 1 || warnings[0].Accepted != "it is odd" || len(base.Unaccepted(warnings)) != 0 {
		t.Errorf("got %+v", warnings)
	}
}

func TestListsNameEveryPath(t *testing.T) {
	b := newBed(t, pkg{Name: "one", Files: []debarchive.File{
		reg("bin/tool", "t"), symlink("usr/bin/alias", "tool"), hardlink("usr/bin/twin", "bin/tool"), dir("var/empty", 0), reg("usr/share/man/man1/tool.1", "m"),
	}})
	list := text(b.tree(), "var/lib/dpkg/info/one.list")
	want := "/.\n/usr\n/usr/bin\n/usr/bin/alias\n/usr/bin/tool\n/usr/bin/twin\n/var\n/var/empty\n/var/lib\n/var/lib/dpkg\n/var/lib/dpkg/info\n" +
		"/var/lib/dpkg/info/one.list\n/var/lib/dpkg/status.d\n/var/lib/dpkg/status.d/one\n/var/lib/dpkg/status.d/one.md5sums\n"
	lines := []string{}
	for line := range strings.Lines(list) {
		if !strings.HasPrefix(line, "/usr/share") { // folders that the archive of the test makes above what is left out
			lines = append(lines, line)
		}
	}
	if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
		t.Error(diff)
	}
}
