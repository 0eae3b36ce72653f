package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/build/inspect"
)

const digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func deb(name, version string) inspect.Package {
	return inspect.Package{Type: "deb", Name: name, Version: version}
}

// application is an image with everything that a page can show of one.
func application() *inspect.Report {
	return &inspect.Report{
		Ref: "shop:1", Digest: digest,
		Platforms: []inspect.Platform{
			{Platform: "linux/amd64", Digest: digest, Layers: 4, Size: 5_000_000, Shown: true},
			{Platform: "linux/arm64", Digest: digest, Layers: 14, Size: 900},
		},
		Image: inspect.Image{
			Kind: inspect.KindApplication, Platform: "linux/amd64", Digest: digest, Size: 5_000_000, Distro: "debian 13",
			Created: time.Date(2026, time.November, 20, 10, 0, 0, 0, time.UTC),
			Source:  &inspect.Source{URL: "https://git.example/shop.git", Revision: "abc", Subpath: "web", Digest: digest},
			Build:   &inspect.Build{Builder: "builder:1@" + digest, Buildpacks: []string{"test/go@1", "test/procfile@2"}, Lifecycle: "0.21.17"},
			Runs: inspect.Runs{
				Processes: []inspect.Process{
					{Type: "web", Command: []string{"shop", "--greeting", "good day"}, Default: true},
					{Type: "worker", Command: []string{"work | log"}, Shell: true},
				},
				User: "65532:65532", WorkingDirectory: "/workspace", Ports: []string{"8080/tcp"},
				Environment: []string{"PATH=/usr/bin", "LANG=C.UTF-8", "CNB_APP_DIR=/workspace"},
			},
			Base: &inspect.Base{Name: "run:1", Digest: digest, Layers: 2, Size: 4_000_000, Rebasable: true},
			Rebase: &inspect.Rebase{
				Status: inspect.RebaseStale, RunImage: "run:1", Known: true, New: 1, Bytes: 3_500_000,
				Packages: []inspect.PackageChange{{Name: "libssl3t64", From: "3.5.6", To: "3.5.7"}, {Name: "old", From: "1"}, {Name: "zlib1g", To: "1"}},
			},
			Facts: []inspect.Fact{{Name: "user", Good: true, Text: "runs as 65532:65532, not as root"}, {Name: "shell", Text: "has a shell: dash"}},
			Layers: []inspect.Layer{
				{Part: inspect.PartBase, Name: "base-files", Digest: digest, Size: 100_000, Told: inspect.ToldByManifest, Packages: []inspect.Package{deb("base-files", "13")}},
				{Part: inspect.PartBase, Name: "openssl", Digest: digest, Size: 3_900_000, Told: inspect.ToldByManifest, Packages: []inspect.Package{deb("libssl3t64", "3.5.6"), deb("openssl", "3.5.6")}},
				{Part: inspect.PartBuildpack, Name: "app", Buildpack: "test/go@1", Digest: digest, Size: 900_000, Told: inspect.ToldBySBOM, Packages: []inspect.Package{{Type: "golang", Name: "stdlib", Version: "1.26"}}},
				{Part: inspect.PartApplication, Name: "application", Digest: digest, Size: 100_000},
			},
			Packages: []inspect.Count{{Type: "deb", Count: 3}, {Type: "golang", Count: 1}},
		},
	}
}

// foreign is an image of which little is known.
func foreign() *inspect.Report {
	return &inspect.Report{
		Ref: "registry.example/postgres:17", Digest: digest, Platforms: []inspect.Platform{{Platform: "linux/amd64"}},
		Image: inspect.Image{
			Kind: inspect.KindForeign, Platform: "linux/amd64", Size: 50_000_000,
			Runs:  inspect.Runs{Entrypoint: []string{"docker-entrypoint.sh"}, Command: []string{"postgres"}, Volumes: []string{"/var/lib/postgresql/data"}},
			Facts: []inspect.Fact{{Name: "user", Text: "runs as root"}},
			Layers: []inspect.Layer{
				{Part: inspect.PartOther, Name: "ADD file:1 in /", Size: 30_000_000, Told: inspect.ToldByInventory, Packages: []inspect.Package{deb("bash", "5.2")}, Removed: []string{"apt"}},
				{Part: inspect.PartOther, Name: strings.Repeat("RUN set -eux; ", 9), Size: 20_000_000},
			},
			NotKnown: []inspect.Unknown{{What: "source", Why: "it has no annotation or label org.opencontainers.image.source"}, {What: "packages", Why: "only the lowest 1 of its 2 layers were read; those above may bring more, and this line is too long for a page"}},
			Notes:    []string{"its label x cannot be read"},
		},
	}
}

func pageOf(r *inspect.Report, all bool) string {
	var out bytes.Buffer
	p := page{w: &out, report: r, image: &r.Image, all: all}
	p.write()
	return out.String()
}

func TestInspectPage(t *testing.T) {
	tests := []struct {
		name   string
		report *inspect.Report
		all    bool
		want   string
	}{{
		name: "an application", report: application(), want: `
shop:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
application, linux/amd64, debian 13, 5.0 MB in 4 layers, created 2026-11-20 10:00 UTC

PLATFORM       SIZE  LAYERS  DIGEST
linux/amd64  5.0 MB  4       sha256:0123456789ab  shown here
linux/arm64   900 B  14      sha256:0123456789ab

source       https://git.example/shop.git
revision     abc
folder       web
content      sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef

built on     builder:1@sha256:0123456789ab
buildpacks   test/go@1, test/procfile@2
lifecycle    0.21.17

runs         web     shop --greeting "good day" (default)
             worker  work | log (in a shell)
works in     /workspace
ports        8080/tcp
environment  LANG=C.UTF-8

base         run:1@sha256:0123456789ab, 2 layers, 4.0 MB
rebase now   changes 3 packages, brings 1 new layer (3.5 MB)
             libssl3t64  3.5.6 -> 3.5.7
             old         1 is gone
             zlib1g      1 is new

safety       ok    runs as 65532:65532, not as root
             note  has a shell: dash

LAYER               SIZE  PACKAGES
base, 2 layers    4.0 MB  base-files 13, libssl3t64 3.5.6, openssl 3.5.6
test/go: app    900.0 kB  stdlib 1.26
application     100.0 kB
total             5.0 MB  3 deb, 1 golang
`}, {
		name: "an image of others", report: foreign(), want: `
registry.example/postgres:17@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
image that plimsoll did not make, linux/amd64, 50.0 MB in 2 layers

entrypoint   docker-entrypoint.sh
command      postgres
volumes      /var/lib/postgresql/data

safety       note  runs as root

LAYER                                              SIZE  PACKAGES
ADD file:1 in /                                 30.0 MB  bash 5.2
RUN set -eux; RUN set -eux; RUN set -eux; RUN…  20.0 MB  not known
total                                           50.0 MB

not known    source: it has no annotation or label org.opencontainers.image.source
             packages: only the lowest 1 of its 2 layers were read; those above may bring more, and
             this line is too long for a page

notes        its label x cannot be read
`}, {
		name: "every layer", report: layersAlone(foreign()), all: true, want: `
registry.example/postgres:17@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
image that plimsoll did not make, linux/amd64, 50.0 MB in 2 layers

LAYER                                              SIZE  PACKAGE    VERSION  DIGEST
ADD file:1 in /                                 30.0 MB  bash       5.2
                                                         apt        removed
RUN set -eux; RUN set -eux; RUN set -eux; RUN…  20.0 MB  not known
total                                           50.0 MB
`}}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimPrefix(test.want, "\n"), pageOf(test.report, test.all)); diff != "" {
				t.Errorf("page (-want +got):\n%s", diff)
			}
		})
	}
}

// layersAlone takes away what is not about layers.
func layersAlone(r *inspect.Report) *inspect.Report {
	r.Image.Runs, r.Image.Facts, r.Image.NotKnown, r.Image.Notes = inspect.Runs{}, nil, nil, nil
	return r
}

// TestInspectPageIsSafe holds that what an image says can neither act on the terminal nor
// pass for a line of the page, wherever it stands.
func TestInspectPageIsSafe(t *testing.T) {
	const evil = "x\n\x1b[2J\t\u009b31m\u202e\x7f"
	r := application()
	i := &r.Image
	r.Ref, i.Platform, i.Distro = evil, evil, evil
	r.Platforms[0].Platform, r.Platforms[0].Digest = evil, evil
	*i.Source = inspect.Source{URL: evil, Revision: evil, Subpath: evil, Digest: evil}
	*i.Build = inspect.Build{Builder: evil, Buildpacks: []string{evil}, Lifecycle: evil}
	i.Runs = inspect.Runs{
		Processes: []inspect.Process{{Type: evil, Command: []string{evil}}}, User: evil, WorkingDirectory: evil, Environment: []string{evil}, Ports: []string{evil}, Volumes: []string{evil},
	}
	i.Base.Name, i.Base.Digest = evil, evil
	i.Rebase.Packages = []inspect.PackageChange{{Name: evil, From: evil, To: evil}}
	i.Builder = &inspect.Builder{
		Description: evil, Lifecycle: evil, APIs: inspect.APIs{Buildpack: []string{evil}, Platform: []string{evil}},
		Buildpacks: []inspect.BuilderBuildpack{{ID: evil, Version: evil, API: evil, Targets: []string{evil}}},
		Order:      [][]string{{evil}}, RunImages: []inspect.RunImage{{Image: evil, Buildpacks: []string{evil}}},
	}
	i.Facts[0].Text = evil
	for n := range i.Layers {
		l := &i.Layers[n]
		l.Name, l.Buildpack, l.Digest, l.Removed = evil, evil, evil, []string{evil}
		l.Packages = []inspect.Package{{Type: evil, Name: evil, Version: evil}}
	}
	i.Packages = []inspect.Count{{Type: evil, Count: 1}}
	i.NotKnown, i.Notes = []inspect.Unknown{{What: evil, Why: evil}}, []string{evil}
	for _, kind := range []inspect.Kind{inspect.KindApplication, inspect.KindBase, inspect.KindBuilder} {
		for _, all := range []bool{false, true} {
			i.Kind = kind
			text := pageOf(r, all)
			for _, c := range text {
				if c != '\n' && !unicode.IsPrint(c) {
					t.Fatalf("kind %s, layers %t: the page holds %U", kind, all, c)
				}
			}
			if strings.Contains(text, "\n\\x1b") {
				t.Errorf("kind %s, layers %t: a line begins as the image wants:\n%s", kind, all, text)
			}
		}
	}
}

func TestWrap(t *testing.T) {
	tests := []struct {
		text string
		want []string
	}{
		{"", []string{""}},
		{"short", []string{"short"}},
		{"one two three", []string{"one two", "three"}},
		{"muchtoolongaword and more", []string{"muchtoolongaword", "and more"}},
		{"äöü äöü äöü", []string{"äöü äöü", "äöü"}},
		{"a muchtoolongaword", []string{"a", "muchtoolongaword"}},
	}
	for _, test := range tests {
		got := wrap(test.text, 8)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
		for _, line := range got {
			if utf8.RuneCountInString(line) > 8 && strings.Contains(line, " ") {
				t.Errorf("%q is too long", line)
			}
		}
	}
}
