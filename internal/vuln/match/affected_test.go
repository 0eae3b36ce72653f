package match_test

import (
	"encoding/json"
	"iter"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
)

// feed gives the records of JSON texts.
func feed(t testing.TB, texts ...string) iter.Seq2[*osv.Record, error] {
	t.Helper()
	return func(yield func(*osv.Record, error) bool) {
		for _, text := range texts {
			r := new(osv.Record)
			if err := json.Unmarshal([]byte(text), r); err != nil {
				t.Fatalf("%v in %s", err, text)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

func database(t testing.TB, feeds ...advisory.Feed) *advisory.Database {
	t.Helper()
	path := filepath.Join(t.TempDir(), "advisories")
	if _, err := advisory.Build(t.Context(), path, feeds, advisory.Exploitation{}); err != nil {
		t.Fatal(err)
	}
	db, err := advisory.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// findings matches one package.
func findings(t testing.TB, db *advisory.Database, p artifact.Package) []artifact.Finding {
	t.Helper()
	for r, err := range match.Packages(t.Context(), db, slices.Values([]artifact.Package{p})) {
		if err != nil {
			t.Fatal(err)
		}
		return r.Findings
	}
	t.Fatal("a package gave no result")
	return nil
}

func packageOf(t testing.TB, ecosystem, name, version string) artifact.Package {
	t.Helper()
	p := artifact.Package{Name: name, Version: version}
	switch ecosystem {
	case "Debian:13":
		p.Type, p.Namespace, p.Distro = "deb", "debian", "debian-13"
	case "Go":
		p.Type = "golang"
	case "npm", "PyPI":
		p.Type = map[string]string{"npm": "npm", "PyPI": "pypi"}[ecosystem]
	case "Maven":
		p.Type, p.Namespace, p.Name = "maven", filepath.Dir(name), filepath.Base(name)
	default:
		t.Fatalf("no package of %s", ecosystem)
	}
	return p
}

// TestEvaluation holds ranges and lists of versions to the evaluation of the OSV schema.
func TestEvaluation(t *testing.T) {
	tests := []struct {
		name, ecosystem string
		affected        string // the JSON of one affected[] without its package
		in, out         []string
		fixed           map[string]string
	}{
		{
			"a fix", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.0.2"}]}]`,
			[]string{"1.0.0", "1.0.1", "1.0.2-rc.1", "1.0.1+build"}, []string{"0.9.9", "1.0.0-rc.1", "1.0.2", "2.0.0", "1.0.2+build"},
			map[string]string{"1.0.0": "1.0.2"},
		},
		{
			"introduced 0 is before all versions", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"}]}]`,
			[]string{"0.0.0-0", "0.1.0"}, []string{"1.0.0"}, nil,
		},
		{
			"never fixed", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"}]}]`,
			[]string{"1.0.0", "99.0.0"}, []string{"0.9.9"}, map[string]string{"1.0.0": ""},
		},
		{
			"the last affected version is affected", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"last_affected":"1.4.0"}]}]`,
			[]string{"1.3.9", "1.4.0"}, []string{"1.4.1", "1.4.1-rc.1"}, map[string]string{"1.4.0": ""},
		},
		{
			"events out of order, two lines in one range", "npm",
			`"ranges":[{"type":"SEMVER","events":[{"fixed":"2.0.3"},{"fixed":"1.2.3"},{"introduced":"2.0.0"},{"introduced":"1.0.0"}]}]`,
			[]string{"1.0.0", "1.2.2", "2.0.0", "2.0.2"}, []string{"0.9.0", "1.2.3", "1.9.9", "2.0.3"},
			map[string]string{"1.1.0": "1.2.3", "2.0.1": "2.0.3"},
		},
		{
			"two ranges: the fix of its own line", "npm",
			`"ranges":[{"type":"SEMVER","events":[{"introduced":"2.0.0"},{"fixed":"2.0.3"}]},{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]`,
			[]string{"1.0.0", "2.0.1"}, []string{"1.2.3", "2.0.3"}, map[string]string{"1.1.0": "1.2.3", "2.0.1": "2.0.3"},
		},
		{
			"ranges that overlap: the fix of the first is affected by the second", "npm",
			`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.0"}]},{"type":"SEMVER","events":[{"introduced":"1.1.0"},{"fixed":"1.3.0"}]}]`,
			[]string{"1.0.0", "1.2.5"}, []string{"1.3.0"}, map[string]string{"1.0.0": "1.3.0"},
		},
		{
			"a limit ends what the range says", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"limit":"2.0.0"}]}]`,
			[]string{"1.5.0"}, []string{"2.0.0", "3.0.0"}, nil,
		},
		{
			"several limits: below any", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"limit":"2.0.0"},{"limit":"3.0.0"}]}]`,
			[]string{"2.5.0"}, []string{"3.0.0"}, nil,
		},
		{
			"the limit * is none", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"limit":"*"}]}]`,
			[]string{"99.0.0"}, []string{"0.1.0"}, nil,
		},
		{
			"introduced and fixed at once is not affected", "npm", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"introduced":"1.0.0"},{"fixed":"1.0.0"}]}]`,
			[]string{"0.1.0"}, []string{"1.0.0", "1.1.0"}, nil,
		},
		{
			"fixed and introduced again at once is affected", "npm",
			`"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.0.0"},{"introduced":"1.0.0"},{"fixed":"2.0.0"}]}]`,
			[]string{"0.1.0", "1.0.0", "1.1.0"}, []string{"2.0.0"}, map[string]string{"0.1.0": "2.0.0"},
		},
		{
			"a list beside a range", "npm", `"versions":["3.0.0"],"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.0.2"}]}]`,
			[]string{"1.0.1", "3.0.0"}, []string{"1.0.2", "3.0.1"}, nil,
		},
		{
			"a list alone", "PyPI", `"versions":["1.0","2.0rc1"]`,
			[]string{"1.0", "1.0.0", "2.0-RC.1"}, []string{"1.0.1", "2.0", ""}, nil,
		},
		{
			"PEP 440", "PyPI", `"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"1.0"},{"fixed":"1.10"}]}]`,
			[]string{"1.0.post1", "1.9", "1.10rc1", "1.10.dev1"}, []string{"1.0rc1", "1.10", "1.10.0", "1!0.5"}, nil,
		},
		{
			"Debian's order", "Debian:13", `"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"3.5.6-1~deb13u1"}]}]`,
			[]string{"3.5.6-1~deb13u0", "3.5.5-1+deb13u9", "3.5.5-1+b2", "3.0.17-1~deb12u3"}, []string{"3.5.6-1~deb13u1", "3.5.6-1", "1:0.1"},
			map[string]string{"3.5.5-1": "3.5.6-1~deb13u1"},
		},
		{
			"Maven's order", "Maven", `"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"2.0-beta9"},{"fixed":"2.15.0"}]}]`,
			[]string{"2.0-beta9", "2.0", "2.14.1", "2.15.0-rc1"}, []string{"1.2.17", "2.0-alpha1", "2.15.0"}, nil,
		},
		{
			"Go's pseudo-versions", "Go", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.0.0-20210921155107-089bfa567519"}]}]`,
			[]string{"v0.0.0-20210921155106-ffffffffffff"}, []string{"v0.0.0-20210921155107-089bfa567519", "v0.1.0", "(devel)", ""}, nil,
		},
		{
			"Go's +incompatible is no part of the order", "Go", `"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"20.10.9+incompatible"}]}]`,
			[]string{"v20.10.8+incompatible"}, []string{"v20.10.9+incompatible", "v20.10.9"}, nil,
		},
		{
			"a git range tells of commits only", "PyPI",
			`"ranges":[{"type":"GIT","repo":"https://git.example/r","events":[{"introduced":"0"},{"introduced":"1111111111111111111111111111111111111111"},{"fixed":"2222222222222222222222222222222222222222"}]}],"versions":["1.0"]`,
			[]string{"1.0", "1111111111111111111111111111111111111111"}, []string{"2222222222222222222222222222222222222222", "1.1", "0.1"}, nil,
		},
		{
			"a range with a version that none can order covers nothing", "Debian:13",
			`"ranges":[{"type":"ECOSYSTEM","events":[{"introduced":"0"},{"fixed":"x:1"}]}],"versions":["1.0-1"]`,
			[]string{"1.0-1"}, []string{"0.9-1"}, nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			name := "pkg"
			record := `{"id":"X-1","affected":[{"package":{"ecosystem":"` + tt.ecosystem + `","name":"`
			if tt.ecosystem == "Maven" {
				record += "org.example:pkg"
				name = "org.example/pkg"
			} else {
				record += name
			}
			db := database(t, advisory.Feed{Name: "test", Records: feed(t, record+`"},`+tt.affected+`}]}`)})
			is := func(version string) []artifact.Finding {
				return findings(t, db, packageOf(t, tt.ecosystem, name, version))
			}
			for _, version := range tt.in {
				if len(is(version)) != 1 {
					t.Errorf("%s is said to be safe", version)
				}
			}
			for _, version := range tt.out {
				if len(is(version)) != 0 {
					t.Errorf("%s is said to be affected", version)
				}
			}
			got := map[string]string{}
			for version := range tt.fixed {
				for _, f := range is(version) {
					got[version] = f.Fixed
				}
			}
			if diff := cmp.Diff(tt.fixed, got); len(tt.fixed) > 0 && diff != "" {
				t.Errorf("fixed (-want +got)\n%s", diff)
			}
		})
	}
}
