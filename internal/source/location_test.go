package source

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

func TestParse(t *testing.T) {
	type want struct {
		kind              artifact.SourceKind
		at, shown         string
		ref, subpath, why string
	}
	const git, archive = artifact.GitSource, artifact.ArchiveSource
	commit := strings.Repeat("a", 40)
	tests := []struct {
		location string
		options  Options
		want     want
	}{
		{"dir", Options{}, want{at: "dir", shown: "dir"}},
		{"./a#b", Options{}, want{at: "./a#b", shown: "./a#b"}},
		{"a:b", Options{}, want{at: "a:b", shown: "a:b"}},
		{"https://h/a.git", Options{}, want{kind: git, at: "https://h/a.git", shown: "https://h/a.git"}},
		{"HTTPS://u:p@h:8443/a#b/c:d/e", Options{}, want{kind: git, at: "https://h:8443/a", shown: "https://h:8443/a", ref: "b/c", subpath: "d/e"}},
		{"https://token@h/a", Options{Ref: "v1", Subpath: "./x/"}, want{kind: git, at: "https://h/a", shown: "https://h/a", ref: "v1", subpath: "x"}},
		{"git@h:a/b.git#v1", Options{}, want{kind: git, at: "git@h:a/b.git", shown: "git@h:a/b.git", ref: "v1"}},
		{"git@[::1]:a", Options{}, want{kind: git, at: "git@[::1]:a", shown: "git@[::1]:a"}},
		{"ssh://git@h:22/a", Options{}, want{kind: git, at: "ssh://git@h:22/a", shown: "ssh://git@h:22/a"}},
		{"file:///a%20b#:c", Options{}, want{kind: git, at: "file:///a%20b", shown: "file:///a%20b", subpath: "c"}},
		{"https://h/a.tar.gz?sig=x#:c", Options{}, want{kind: archive, at: "https://h/a.tar.gz?sig=x", shown: "https://h/a.tar.gz", subpath: "c"}},
		{"https://h/get?f=x", Options{Checksum: "sha256:" + strings.Repeat("0", 64)}, want{kind: archive, at: "https://h/get?f=x", shown: "https://h/get"}},
		{"http://h/a#" + commit, Options{}, want{kind: git, at: "http://h/a", shown: "http://h/a", ref: commit}},
		{"oci://h/a:v1", Options{}, want{kind: artifact.ImageSource, at: "h/a:v1", shown: "oci://h/a:v1"}},
		{"oci://h/a@sha256:0", Options{}, want{kind: artifact.ImageSource, at: "h/a@sha256:0", shown: "oci://h/a@sha256:0"}},

		{"", Options{}, want{why: "empty"}},
		{"--upload-pack=x", Options{}, want{why: "option"}},
		{"ext::sh -c x", Options{}, want{why: "commands"}},
		{"fd::17", Options{}, want{why: "commands"}},
		{"ssh://-oProxyCommand=x/a", Options{}, want{why: "host"}},
		{"ssh://git:pw@h/a", Options{}, want{why: "password"}},
		{"git@h:-a", Options{}, want{why: "option"}},
		{"git://h/a", Options{}, want{why: "no sources by git"}},
		{"https:///a", Options{}, want{why: "no host"}},
		{"https://u:p/w@h/a?t=p/w", Options{}, want{why: "not a URL"}},
		{"file://h/a", Options{}, want{why: "this machine"}},
		{"https://h/a\nb", Options{}, want{why: "control"}},
		{"https://h/a?x=1", Options{}, want{why: "no query"}},
		{"https://h/a#--x", Options{}, want{why: "its ref"}},
		{"https://h/a#a..b", Options{}, want{why: "its ref"}},
		{"https://h/a#a", Options{Ref: "b"}, want{why: "two different"}},
		{"https://h/a#a:../b", Options{}, want{why: "leads out"}},
		{"https://h/a", Options{Ref: "a\x00"}, want{why: "its ref"}},
		{"dir", Options{Ref: "a"}, want{why: "only a git URL"}},
		{"http://h/a#main", Options{}, want{why: "plain http"}},
		{"http://h/a.zip", Options{}, want{why: "plain http"}},
		{"http://u:p@h/a#" + commit, Options{}, want{why: "plain http"}},
		{"oci://u:p@h/a", Options{}, want{why: "login"}},
	}
	for _, tt := range tests {
		t.Run(tt.location, func(t *testing.T) {
			p, err := parse(tt.location)
			if err == nil {
				err = p.settle(&tt.options)
			}
			got := want{p.kind, p.at, p.shown, tt.options.Ref, tt.options.Subpath, ""}
			if err != nil {
				got = want{why: tt.want.why}
				if fault.KindOf(err) != fault.Usage || tt.want.why == "" || !strings.Contains(err.Error(), tt.want.why) {
					t.Errorf("%v", err)
				}
				if strings.Contains(err.Error(), "p/w") || strings.Contains(err.Error(), "u:p") || strings.Contains(err.Error(), "pw") {
					t.Errorf("it tells the password: %v", err)
				}
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRelativeURL(t *testing.T) {
	tests := []struct{ base, address, want string }{
		{"https://h/a/b.git", "../c", "https://h/a/c"},
		{"https://h/a/b.git/", "./c", "https://h/a/b.git/c"},
		{"https://h/a/b", "../../c/d", "https://h/c/d"},
		{"https://h/a", "../../c", ""},
		{"git@h:a/b", "../c", "git@h:a/c"},
		{"git@h:a", "../c", "git@h:c"},
		{"git@h:a", "../../c", ""},
		{"file:///srv/a", "../c", "file:///srv/c"},
		{"ssh://git@h:22/a", "./../c", "ssh://git@h:22/c"},
	}
	for _, tt := range tests {
		if got, ok := relativeURL(tt.base, tt.address); got != tt.want || ok != (tt.want != "") {
			t.Errorf("%s at %s is %q, want %q", tt.address, tt.base, got, tt.want)
		}
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"at 'https://u:p@h/a' and ssh://x@h": "at 'https://h/a' and ssh://h",
		"a\x1b[31mred\r\n":                   "a [31mred",
	} {
		if got := visible(text); got != want {
			t.Errorf("visible(%q) = %q, want %q", text, got, want)
		}
	}
}

// FuzzParse looks for a location that becomes an option of git's, or that shows its login.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"dir", "https://u:p@h/a.git#b:c", "git@h:a", "ssh://u@h/a", "file:///a", "oci://h/a:b", "ext::x", "https://u:p@h/a.zip?q", "http://[::1]/a", "-x", "a@b:-c", "https://u:p/@h"} {
		f.Add(seed, "", "")
	}
	f.Add("https://h/a", "v1", "x/../y")
	f.Fuzz(func(t *testing.T, location, ref, subpath string) {
		o := Options{Ref: ref, Subpath: subpath}
		p, err := parse(location)
		if err == nil {
			err = p.settle(&o)
		}
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("%v", err)
			}
			return
		}
		if strings.HasPrefix(p.at, "-") || strings.HasPrefix(o.Ref, "-") || strings.HasPrefix(o.Subpath, "/") || o.Subpath == ".." || strings.HasPrefix(o.Subpath, "../") {
			t.Errorf("%q gives %+v, %+v", location, p, o)
		}
		if p.login != nil && (strings.Contains(p.shown, p.login.String()+"@") || strings.Contains(p.at, p.login.String()+"@")) {
			t.Errorf("%q keeps its login: %+v", location, p)
		}
		if p.kind == artifact.GitSource && (p.scheme == "http" || p.scheme == "https" || p.scheme == "ssh") && strings.Contains(hostOf(p.at), "//-") {
			t.Errorf("%q gives an option for a host: %+v", location, p)
		}
	})
}
