package match_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
	"plimsoll.dev/plimsoll/internal/vuln/match"
)

func TestMissing(t *testing.T) {
	deb := func(distro string) artifact.Package {
		return artifact.Package{Type: "deb", Namespace: "debian", Name: "a", Version: "1", Distro: distro}
	}
	apk := artifact.Package{Type: "apk", Name: "a", Version: "1", Distro: "alpine-3.18.4"}
	npm := artifact.Package{Type: "npm", Name: "unheard-of", Version: "1"}
	module := artifact.Package{Type: "golang", Name: "m", Version: "v1.0.0"}
	shipped := artifact.Package{Type: "pypi", Name: "requests", Version: "2", Owner: "python3-requests"}
	generic := artifact.Package{Type: "generic", Name: "node", Version: "24.0.0"}
	tests := []struct {
		name       string
		ecosystems []string
		packages   []artifact.Package
		want       []match.Unmatched
	}{
		{"all have advisories", []string{"Debian:13", "npm"}, []artifact.Package{deb("debian-13.2"), npm, shipped}, nil},
		{"a release without", []string{"Debian:13", "Debian"}, []artifact.Package{deb("debian-12"), deb("debian-12"), deb("debian-13")}, []match.Unmatched{{"Debian:12", 2}}},
		{"all releases alike", []string{"Debian"}, []artifact.Package{deb("debian-12")}, nil},
		{"those of no ecosystem last", []string{"Go"}, []artifact.Package{generic, npm, apk, module}, []match.Unmatched{{"Alpine:v3.18", 1}, {"npm", 1}, {"", 1}}},
		{"an empty database", nil, []artifact.Package{module}, []match.Unmatched{{"Go", 1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var records []string
			for _, ecosystem := range tt.ecosystems {
				records = append(records, `{"id":"X-`+ecosystem+`","affected":[{"package":{"ecosystem":"`+ecosystem+`","name":"a"},"versions":["1"]}]}`)
			}
			db := database(t, advisory.Feed{Name: "test", Records: feed(t, records...)})
			got, err := match.Missing(db, artifact.Contents{Packages: tt.packages})
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got)\n%s", err, diff)
			}
		})
	}
}

// TestAFixIsSpeltAsTheVersion: what people read is what they write into go.mod.
func TestAFixIsSpeltAsTheVersion(t *testing.T) {
	db := database(t, advisory.Feed{Name: "test", Records: feed(t,
		`{"id":"X-1","affected":[{"package":{"ecosystem":"Go","name":"m"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.17.0"}]}]}]}`,
		`{"id":"X-2","affected":[{"package":{"ecosystem":"Go","name":"stdlib"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.24.6"}]}]}]}`)})
	for _, tt := range []struct{ name, version, want string }{{"m", "v0.7.0", "v0.17.0"}, {"stdlib", "1.24.5", "1.24.6"}} {
		got := findings(t, db, artifact.Package{Type: "golang", Name: tt.name, Version: tt.version})
		if len(got) != 1 || got[0].Fixed != tt.want {
			t.Errorf("%s %s: %+v, want %s", tt.name, tt.version, got, tt.want)
		}
	}
}
