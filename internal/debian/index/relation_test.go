package index_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/testbed"
)

func TestParseRelations(t *testing.T) {
	for _, test := range []struct {
		name, input string
		want        []index.Group
	}{
		{"nothing", " \n ", nil},
		{"a name", "libc6", []index.Group{{{Name: "libc6"}}}},
		{"two and a trailing comma", "a, b,", []index.Group{{{Name: "a"}}, {{Name: "b"}}}},
		{"alternatives", "a|b |c", []index.Group{{{Name: "a"}, {Name: "b"}, {Name: "c"}}}},
		{"each operator", "a (<< 1), a (<= 1), a (= 1), a (>= 1), a (>> 1)", []index.Group{
			{{Name: "a", Op: "<<", Version: "1"}}, {{Name: "a", Op: "<=", Version: "1"}}, {{Name: "a", Op: "=", Version: "1"}},
			{{Name: "a", Op: ">=", Version: "1"}}, {{Name: "a", Op: ">>", Version: "1"}},
		}},
		{"obsolete operators, which dpkg reads as or equal", "a (< 1), a (> 1)", []index.Group{
			{{Name: "a", Op: "<=", Version: "1"}}, {{Name: "a", Op: ">=", Version: "1"}},
		}},
		{"no space at all", "a(>=1:2~rc1-3)", []index.Group{{{Name: "a", Op: ">=", Version: "1:2~rc1-3"}}}},
		{"space, tabs and folds everywhere", "\ta\n ( >=\t1 )\n ,\n b", []index.Group{
			{{Name: "a", Op: ">=", Version: "1"}}, {{Name: "b"}},
		}},
		{"qualifiers", "python3:any (>= 3.5~), gcc:native, libc6:amd64", []index.Group{
			{{Name: "python3", Qualifier: "any", Op: ">=", Version: "3.5~"}}, {{Name: "gcc", Qualifier: "native"}}, {{Name: "libc6", Qualifier: "amd64"}},
		}},
		{"architectures", "a [amd64 arm64] | b (= 1) [!i386]", []index.Group{
			{{Name: "a", Arches: []string{"amd64", "arm64"}}, {Name: "b", Op: "=", Version: "1", Arches: []string{"!i386"}}},
		}},
		{"a name with every letter", "libstdc++6.1_x-Y", []index.Group{{{Name: "libstdc++6.1_x-Y"}}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := index.ParseRelations(test.input)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestParseRelationsRefuses(t *testing.T) {
	for _, input := range []string{
		"a (1)", "a (>= )", "a (>= 1", "a (=> 1)", "a (== 1)", "a >= 1", "a b", "|", "a |", "-a", "a:", "a: (= 1)", "a:b:c",
		"a (= one)", "a (= 1) (= 2)", "a []", "a [amd64 !i386]", "a [amd64", "a <!nocheck>", "${misc:Depends}", "a/b", "a (= 1)x",
		"é", "a\x00",
	} {
		if got, err := index.ParseRelations(input); err == nil {
			t.Errorf("%q was read as %v", input, got)
		}
	}
}

func TestRelationFor(t *testing.T) {
	for _, test := range []struct {
		relation, arch string
		want           bool
	}{
		{"a", "amd64", true}, {"a [amd64]", "amd64", true}, {"a [amd64]", "arm64", false},
		{"a [!amd64]", "amd64", false}, {"a [!amd64]", "arm64", true}, {"a [linux-any]", "arm64", true},
		{"a [!any]", "amd64", false}, {"a [any-arm64 i386]", "arm64", true}, {"a [!i386 !arm64]", "arm64", false},
	} {
		r, err := index.ParseRelation(test.relation)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.For(test.arch); got != test.want {
			t.Errorf("%s for %s: %v", test.relation, test.arch, got)
		}
	}
}

func TestMayOverwrite(t *testing.T) {
	q := &index.Package{Name: "old", Version: "1.5-1", Provides: "virtual"}
	for _, test := range []struct {
		replaces string
		want     bool
	}{
		{"", false}, {"old", true}, {"other, old (<< 2)", true}, {"old (<< 1.5)", false}, {"old (<= 1.5-1)", true}, {"virtual", false},
	} {
		p := &index.Package{Name: "new", Version: "2", Architecture: "amd64", Replaces: test.replaces}
		got, err := p.MayOverwrite(q)
		if err != nil || got != test.want {
			t.Errorf("Replaces: %s: %v, %v", test.replaces, got, err)
		}
	}
	if _, err := (&index.Package{Replaces: "("}).MayOverwrite(q); err == nil {
		t.Error("a malformed Replaces gives no error")
	}
}

// TestCompareVersionsIsDpkgs holds the order against dpkg itself, for every pair.
func TestCompareVersionsIsDpkgs(t *testing.T) {
	dpkg := testbed.Tool(t, "dpkg")
	versions := []string{
		"0", "1", "1.0", "1.0-0", "1.0-1", "1.0~rc1-1", "1.0~~", "1.0~", "1.0+b1", "1.0-1+b1", "1.0-1+deb13u1", "1.0-1~deb13u1",
		"1.10", "1.9", "1.09", "1:0.1", "0:1", "2:0~", "1.0a", "1.0A", "1.0.a", "1.0+dfsg-1", "1.0-1-1", "3.5.7-1~deb13u3",
		"1:1.3.dfsg+really1.3.1-1+deb13u1", "00001",
	}
	for i, a := range versions {
		for _, b := range versions[i:] {
			want := -1
			if exec.Command(dpkg, "--compare-versions", a, "eq", b).Run() == nil {
				want = 0
			} else if exec.Command(dpkg, "--compare-versions", a, "gt", b).Run() == nil {
				want = 1
			}
			if got := index.CompareVersions(a, b); sign(got) != want {
				t.Errorf("compare %s with %s: %d, dpkg says %d", a, b, sign(got), want)
			}
			if back := index.CompareVersions(b, a); sign(back) != -want {
				t.Errorf("compare %s with %s: %d, dpkg says %d", b, a, sign(back), -want)
			}
		}
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func FuzzParseRelations(f *testing.F) {
	for _, seed := range []string{
		"a", "a (>= 1), b | c", "python3:any (>= 3.5~)", "a [amd64 !i386]", "a\n (<< 1:2-3~)", "${x}", "a (= 1", "a,,b", "<!x>",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		groups, err := index.ParseRelations(input)
		if err != nil {
			return
		}
		var parts []string
		for _, g := range groups {
			parts = append(parts, g.String())
		}
		again, err := index.ParseRelations(strings.Join(parts, ", "))
		if err != nil {
			t.Fatalf("%q was read, but not its own text %q: %v", input, parts, err)
		}
		if diff := cmp.Diff(groups, again); diff != "" {
			t.Errorf("%q is read differently from its own text (-first +again)\n%s", input, diff)
		}
	})
}
