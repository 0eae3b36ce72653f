package resolve_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/resolve"
	"plimsoll.dev/plimsoll/internal/fault"
)

// tinyCases cover one feature each. want is the set that comes out, or "" when there is none;
// apt, where it is not the same, is what apt makes of it (TestTinyAsApt), with why ours differs.
var tinyCases = []struct {
	name, archive, request, want string
	apt                          string // "none" when apt fails
	why                          string
}{
	{
		name: "dependencies are followed", request: "a", want: "a 1, b 1, c 1",
		archive: "a 1; Depends: b\nb 1; Pre-Depends: c\nc 1\nd 1",
	},
	{
		name: "recommendations and essential packages are not", request: "a", want: "a 1",
		archive: "a 1; Recommends: b; Suggests: c\nb 1\nc 1\ne 1; Essential: yes; Priority: required",
	},
	{
		name: "the highest version", request: "a", want: "a 1:1",
		archive: "a 1.9\na 1.10\na 1:1\na 1:1~rc1",
	},
	{
		name: "the highest version over all suites", request: "a", want: "a 1.10, b 2",
		archive: "a 1.9; Depends: b\na 1.10; Depends: b; suite: security\nb 2\nb 1; suite: security",
	},
	{
		name: "a requested version", request: "a=1", want: "a 1",
		archive: "a 1\na 2",
	},
	{
		name: "a requested range", request: "a (<< 2)", want: "a 1.5", apt: "-", // apt takes no ranges
		archive: "a 1\na 1.5\na 2",
	},
	{
		name: "every operator", request: "a", want: "a 1, b 2, c 2, d 2, e 2, f 2",
		archive: "a 1; Depends: b (>> 1), c (>= 2), d (= 2), e (<= 2), f (<< 3)\nb 2\nc 2\nd 2\ne 2\nf 2",
	},
	{
		name: "a tilde sorts before the end", request: "a", want: "a 1, b 2~rc1",
		archive: "a 1; Depends: b (<< 2)\nb 2~rc1",
	},
	{
		name: "an older dependency when the newest will not do", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: b (<< 2)\nb 1\nb 2", apt: "none",
		why: "apt's resolver only ever considers the candidate, the highest version",
	},
	{
		name: "an older version's siblings", request: "a=1", want: "a 1, b 1",
		archive: "a 1; Depends: b (= 1)\na 2; Depends: b (= 2)\nb 1\nb 2", apt: "none",
		why: "apt's resolver only ever considers the candidate, the highest version",
	},
	{
		name: "the first alternative", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: b | c\nb 1\nc 1",
	},
	{
		name: "the next when the first is not there", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: b (>= 2) | x | c\nb 1\nc 1",
	},
	{
		name: "the next when the first cannot be installed", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: b | c\nb 1; Depends: x\nc 1",
	},
	{
		name: "the next when the first cannot be installed far below", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: b | c\nb 1; Depends: b1\nb1 1; Depends: b2\nb2 1; Depends: x\nc 1",
	},
	{
		name: "the next when the first conflicts with what is requested", request: "a d", want: "a 1, c 1, d 1",
		archive: "a 1; Depends: b | c\nb 1\nc 1\nd 1; Conflicts: b",
	},
	{
		name: "the next when the first conflicts with what is needed later", request: "a", want: "a 1, c 1, d 1, e 1",
		archive: "a 1; Depends: b | c, d\nb 1\nc 1\nd 1; Depends: e\ne 1; Breaks: b",
	},
	{
		name: "what was taken before is preferred", request: "a c", want: "a 1, c 1",
		archive: "a 1; Depends: b | c\nb 1\nc 1",
	},
	{
		name: "what was taken on the way is preferred", request: "z", want: "a 1, c 1, z 1",
		archive: "z 1; Depends: c, a\na 1; Depends: b | c\nb 1\nc 1",
	},
	{
		name: "what comes only later is not", request: "z", want: "a 1, b 1, c 1, z 1",
		archive: "z 1; Depends: a, c\na 1; Depends: b | c\nb 1\nc 1",
	},
	{
		name: "a virtual package", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: v\nb 1; Provides: v",
	},
	{
		name: "a real package before its providers", request: "a", want: "a 1, v 1",
		archive: "a 1; Depends: v\nb 1; Provides: v; Priority: required\nv 1; Priority: extra",
	},
	{
		name: "a provider when the real one is too old", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: v (>= 2)\nb 1; Provides: v (= 3)\nv 1",
	},
	{
		name: "an essential provider first", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: v\nb 1; Provides: v; Priority: required\nc 1; Provides: v; Essential: yes; Priority: optional\nd 1; Provides: v",
	},
	{
		name: "then the higher priority", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: v\nb 1; Provides: v; Priority: optional\nc 1; Provides: v; Priority: standard\nd 1; Provides: v; Priority: extra",
	},
	{
		name: "then the last mentioned", request: "a", want: "a 1, c 1",
		archive: "a 1; Depends: v\nb 1; Provides: v\nc 1; Provides: v",
	},
	{
		name: "a mention in a relation counts", request: "a", want: "a 1, b 1",
		archive: "x 1; Suggests: c, b\na 1; Depends: v\nb 1; Provides: v\nc 1; Provides: v",
	},
	{
		name: "an unversioned Provides does not satisfy a version", request: "a", want: "",
		archive: "a 1; Depends: v (>= 1)\nb 1; Provides: v",
	},
	{
		name: "a versioned Provides does", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: v (>= 1)\nb 1; Provides: v (= 1:0)\nc 1; Provides: v (= 0.5)",
	},
	{
		name: "a versioned Provides satisfies no version too", request: "a", want: "a 1, b 1",
		archive: "a 1; Depends: v\nb 1; Provides: v (= 1)",
	},
	{
		name: "an unequal Provides provides nothing of a version", request: "a", want: "",
		archive: "a 1; Depends: v (>= 1)\nb 1; Provides: v (>= 1)",
	},
	{
		name: "a requested virtual package with one provider", request: "v", want: "b 1",
		archive: "b 1; Provides: v",
	},
	{
		name: "a requested virtual package with several", request: "v", want: "",
		archive: "b 1; Provides: v\nc 1; Provides: v",
	},
	{
		name: "what a package provides satisfies itself", request: "a", want: "a 1",
		archive: "a 1; Depends: v; Provides: v\nb 1; Provides: v",
	},
	{
		name: "a package that provides its own name in an older version", request: "a", want: "a 1, b 2",
		archive: "a 1; Depends: b (= 1)\nb 2; Provides: b (= 1)",
	},
	{
		name: "circles", request: "a", want: "a 1, b 1, c 1",
		archive: "a 1; Depends: b\nb 1; Depends: c\nc 1; Depends: a",
	},
	{
		name: "requested packages that conflict", request: "a b", want: "",
		archive: "a 1; Conflicts: b\nb 1",
	},
	{
		name: "a conflict with another version only", request: "a b", want: "a 1, b 2",
		archive: "a 1; Breaks: b (<< 2)\nb 2",
	},
	{
		name: "an older version to avoid a conflict", request: "a b", want: "a 1, b 1",
		archive: "a 1; Breaks: b (>= 2)\nb 1\nb 2", apt: "none",
		why: "apt's resolver only ever considers the candidate, the highest version",
	},
	{
		name: "a conflict with a virtual package", request: "a b", want: "",
		archive: "a 1; Conflicts: v\nb 1; Provides: v",
	},
	{
		name: "one that all of a kind have does not hit themselves", request: "a", want: "a 1",
		archive: "a 1; Conflicts: v; Provides: v\nb 1; Provides: v; Conflicts: v",
	},
	{
		name: "a versioned conflict spares an unversioned Provides", request: "a b", want: "a 1, b 1",
		archive: "a 1; Conflicts: v (<< 2)\nb 1; Provides: v",
	},
	{
		name: "a versioned conflict hits a versioned Provides", request: "a b", want: "",
		archive: "a 1; Breaks: v (<< 2)\nb 1; Provides: v (= 1)",
	},
	{
		name: "Replaces alone keeps nothing out", request: "a b", want: "a 1, b 1",
		archive: "a 1; Replaces: b\nb 1",
	},
	{
		name: ":any of a package that allows it", request: "a", want: "a 1, p 1",
		archive: "a 1; Depends: p:any\np 1; Multi-Arch: allowed",
	},
	{
		name: ":any of one that does not", request: "a", want: "",
		archive: "a 1; Depends: p:any\np 1; Multi-Arch: foreign",
	},
	{
		name: ":any of what a package provides", request: "a", want: "a 1, p 1",
		archive: "a 1; Depends: v:any (>= 1)\np 1; Multi-Arch: allowed; Provides: v (= 1)",
	},
	{
		name: "the architecture's own name as qualifier", request: "a", want: "a 1, p 1",
		archive: "a 1; Depends: p:amd64\np 1",
	},
	{
		name: "a foreign architecture", request: "a", want: "",
		archive: "a 1; Depends: p:i386\np 1",
	},
	{
		name: "a conflict with a foreign architecture", request: "a p", want: "a 1, p 1",
		archive: "a 1; Conflicts: p:i386\np 1",
	},
	{
		name: "Multi-Arch: same and foreign change nothing for one architecture", request: "a", want: "a 1, p 1, q 1",
		archive: "a 1; Depends: p, q; Multi-Arch: same\np 1; Multi-Arch: same\nq 1 all; Multi-Arch: foreign",
	},
	{
		name: "one version with two contents: the first-named suite's", request: "a", want: "a 1, x 1",
		archive: "a 1; Depends: x\na 1; Depends: y; suite: security\nx 1\ny 1",
	},
	{
		name: "a request qualified by the architecture", request: "a:amd64 b:native", want: "a 1, b 1",
		archive: "a 1\nb 1", apt: "-", // apt knows no :native in a request
	},
	{
		name: "a Provides for :any alone", request: "a", want: "a 1, p 1",
		archive: "a 1; Depends: v:any\np 1; Provides: v:any",
	},
	{
		name: "a Provides for :any is none without", request: "a", want: "",
		archive: "a 1; Depends: v\np 1; Provides: v:any",
	},
	{
		name: "a Provides for the architecture", request: "a", want: "a 1, p 1",
		archive: "a 1; Depends: v\np 1; Provides: v:amd64",
	},
	{
		name: "a Provides for another one", request: "a", want: "",
		archive: "a 1; Depends: v\np 1; Provides: v:i386",
	},
	{
		name: "a conflict qualified by :any", request: "a p", want: "a 1, p 1",
		archive: "a 1; Conflicts: p:any\np 1",
	},
	{
		name: "a conflict qualified by :any, with one that allows it", request: "a p", want: "",
		archive: "a 1; Conflicts: p:any\np 1; Multi-Arch: allowed",
	},
	{
		name: "a conflict that would only hit a version not taken", request: "a b", want: "a 1, b 2",
		archive: "a 1; Conflicts: b (= 1)\nb 1\nb 2",
	},
	{
		name: "a provider's older version", request: "a", want: "a 1, p 1", apt: "none",
		archive: "a 1; Depends: v\np 1; Provides: v\np 2",
		why:     "apt's resolver only ever considers the candidate, the highest version",
	},
	{
		name: "another provider before an older version", request: "a", want: "a 1, q 1",
		archive: "a 1; Depends: v | w\np 1; Provides: v\np 2\nq 1; Provides: w",
	},
	{
		name: "packages of no architecture", request: "a", want: "a 1, p 1",
		archive: "a 1 all; Depends: p\np 1 all",
	},
	{
		name: "search in earnest", request: "a", want: "a 1, b2 1, c2 1, d 1",
		archive: "a 1; Depends: b1 | b2, c1 | c2, d\nb1 1\nb2 1\nc1 1; Conflicts: b2\nc2 1; Conflicts: b1\nd 1; Conflicts: c1",
		apt:     "none", why: "apt's resolver takes back the first choice it made only once",
	},
}

func TestResolve(t *testing.T) {
	for _, test := range tinyCases {
		t.Run(test.name, func(t *testing.T) {
			result, err := resolveTiny(t, tiny(test.archive), test.request)
			if got := strings.Join(names(result), ", "); got != test.want {
				t.Errorf("got %q, want %q (%v)", got, test.want, err)
			}
			if (err == nil) != (test.want != "") {
				t.Errorf("error %v", err)
			}
			if err == nil {
				check(t, tiny(test.archive).universe(t), "amd64", split(test.request), result)
			}
		})
	}
}

func TestReasons(t *testing.T) {
	result, err := resolveTiny(t, "a 1; Depends: b | c\nb 1; Pre-Depends: v (>= 1)\nc 1\nd 1; Provides: v (= 1)", "a")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range result.Packages {
		got = append(got, c.Package.Name+" "+c.Why.String())
	}
	want := []string{
		"a requested",
		`b needed by a 1 through Depends "b | c"`,
		`d needed by b 1 through Pre-Depends "v (>= 1)"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestOmit(t *testing.T) {
	const archive = tiny("a 1; Depends: doc, x | y, z | doc\ndoc 1; Depends: more\nmore 1\nx 1\ny 1\nz 1; Pre-Depends: v\nv2 1; Provides: v")
	for _, test := range []struct {
		name, want string
		omit       []string
		omissions  []resolve.Omission
	}{
		{"what only an omitted package could satisfy is satisfied", "a 1, v2 1, x 1, z 1", []string{"doc"},
			[]resolve.Omission{{Packages: []string{"doc"}, By: "a 1", Field: "Depends", Relation: "doc"}}},
		{"the next best does not take the place of an omitted first choice", "a 1, doc 1, more 1", []string{"x"},
			[]resolve.Omission{{Packages: []string{"x"}, By: "a 1", Field: "Depends", Relation: "x | y"}}},
		{"an omitted second choice leaves the first", "a 1, doc 1, more 1, x 1", []string{"y"}, nil},
		{"all alternatives, and a provider", "a 1, z 1", []string{"doc", "x", "y", "v2"}, []resolve.Omission{
			{Packages: []string{"doc"}, By: "a 1", Field: "Depends", Relation: "doc"},
			{Packages: []string{"x", "y"}, By: "a 1", Field: "Depends", Relation: "x | y"},
			{Packages: []string{"v2"}, By: "z 1", Field: "Pre-Depends", Relation: "v"},
		}},
		{"what is never needed is not reported", "a 1, doc 1, more 1, x 1", []string{"nothing", "v2"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := resolveTiny(t, archive, "a", test.omit...)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(names(result), ", "); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if diff := cmp.Diff(test.omissions, result.Omissions); diff != "" {
				t.Errorf("omissions (-want +got)\n%s", diff)
			}
		})
	}
}

// TestFailuresExplain holds what a user reads when there is no set.
func TestFailuresExplain(t *testing.T) {
	for _, test := range []struct {
		name, archive, request string
		omit                   []string
		kind                   fault.Kind
		want, hint             string
	}{
		{
			name: "a version that is nowhere", request: "baz", kind: fault.Failed,
			archive: "baz 2; Depends: bar\nbar 1.2; Depends: libfoo (>= 9)\nlibfoo 1.2\nlibfoo 1.3; suite: security",
			want: "resolve packages: baz: bar 1.2 needs libfoo (>= 9) (wanted by baz 2 ← requested baz), " +
				"and the archive has libfoo 1.3 (security), 1.2 (main)",
			hint: "add the suite that has it to the archive's suites, or loosen the version asked for",
		},
		{
			name: "a name that is nowhere", request: "a", kind: fault.Failed,
			archive: "a 1; Depends: b | c\nb 1; Depends: x\nc 1; Depends: y | z (>= 1)\nw 1; Provides: z",
			want: "resolve packages: a: b 1 needs x (wanted by a 1 ← requested a), and the archive has no x; " +
				"c 1 needs y | z (>= 1) (wanted by a 1 ← requested a), and the archive has no y, and the archive has it only as provided by w 1 (as z)",
			hint: "add the suite that has it to the archive's suites, or loosen the version asked for",
		},
		{
			name: "a conflict of two that are needed", request: "a b", kind: fault.Failed,
			archive: "a 1; Depends: x\nb 1; Depends: y\nx 1; Breaks: y (<< 2)\ny 1",
			want:    "resolve packages: \"a b\": x 1 Breaks y (<< 2), and both x (wanted by a 1 ← requested a) and y 1 (wanted by b 1 ← requested b) are needed",
			hint:    "request only one of the two, or omit the one that is not needed",
		},
		{
			name: "a conflict with a virtual package", request: "a b", kind: fault.Failed,
			archive: "a 1; Depends: m1 | m2\nb 1; Conflicts: m\nm1 1; Provides: m\nm2 1; Provides: m",
			want: "resolve packages: \"a b\": b 1 Conflicts m, provided by m1 1, and both b (requested b) and m1 1 (wanted by a 1 ← requested a) are needed; " +
				"b 1 Conflicts m, provided by m2 1, and both b (requested b) and m2 1 (wanted by a 1 ← requested a) are needed",
			hint: "request only one of the two, or omit the one that is not needed",
		},
		{
			name: "two versions of one package", request: "a b", kind: fault.Failed,
			archive: "a 1; Depends: x (= 1)\nb 1; Depends: x (= 2)\nx 1\nx 2",
			want:    "resolve packages: \"a b\": only one version of x can be installed, and both 1 (wanted by a 1 ← requested a) and 2 (wanted by b 1 ← requested b) are needed",
		},
		{
			name: "a malformed field", request: "a", kind: fault.Failed,
			archive: "a 1; Depends: b\nb 1; Depends: c (",
			want:    `resolve packages: a: b 1 cannot be read (wanted by a 1 ← requested a): relation "c (": ")" is missing`,
		},
		{
			name: "a qualifier that is not allowed", request: "a", kind: fault.Failed,
			archive: "a 1; Depends: b:any\nb 1",
			want:    "resolve packages: a: a 1 needs b:any (requested a), and b 1 does not allow the qualifier :any",
			hint:    "add the suite that has it to the archive's suites, or loosen the version asked for",
		},
		{
			name: "an unknown name", request: "pythn3", kind: fault.NotFound, archive: "python3 1\npython 1\nperl 1",
			want: "resolve packages: pythn3: the archive has no package of that name for amd64",
			hint: "did you mean python3, python?",
		},
		{
			name: "an unknown version", request: "a=3", kind: fault.NotFound, archive: "a 1\na 2; suite: security",
			want: "resolve packages: a=3: the archive has a 2 (security), 1 (main)",
		},
		{
			name: "several providers", request: "v", kind: fault.Usage, archive: "a 1; Provides: v\nb 1; Provides: v",
			want: "resolve packages: v: it is a virtual package that several provide", hint: "request one of b, a",
		},
		{
			name: "a foreign architecture", request: "a:arm64", kind: fault.Usage, archive: "a 1",
			want: "resolve packages: a:arm64: it is of architecture arm64, and the set is for amd64",
			hint: `build a base for arm64, or leave ":arm64" away`,
		},
		{
			name: "a request that is none", request: "a (>= )", kind: fault.Usage, archive: "a 1",
			want: `read package request: "a (>= )": relation "a (>= )": ">=" is no version constraint`,
			hint: `write "name", "name=1.2" or "name (>= 1.2)"`,
		},
		{
			name: "requested and omitted", request: "a", omit: []string{"a"}, kind: fault.Usage, archive: "a 1",
			want: "resolve packages: a: it is requested and omitted", hint: "take it out of one of the two lists",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := resolveTiny(t, tiny(test.archive), test.request, test.omit...)
			if err == nil {
				t.Fatal("no error")
			}
			if fault.KindOf(err) != test.kind {
				t.Errorf("kind %v, want %v", fault.KindOf(err), test.kind)
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if diff := cmp.Diff(test.hint, fault.HintOf(err)); diff != "" {
				t.Errorf("hint (-want +got)\n%s", diff)
			}
		})
	}
}

func TestResolveStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := resolve.Resolve(ctx, tiny("a 1").universe(t), resolve.Request{Architecture: "amd64", Packages: []string{"a"}})
	if fault.KindOf(err) != fault.Canceled {
		t.Errorf("want Canceled, got %v", err)
	}
}

// TestDocumentedFailures holds the failures that docs/resolver.md shows against real ones.
func TestDocumentedFailures(t *testing.T) {
	document, err := os.ReadFile("../../../docs/resolver.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ archive, request string }{
		{
			"baz 2; Depends: bar; suite: trixie\nbar 1.2; Depends: libfoo (>= 9); suite: trixie\n" +
				"libfoo 1.2; suite: trixie\nlibfoo 1.3; suite: trixie-security", "baz",
		},
		{"a 1; Depends: x\nb 1; Depends: y\nx 1; Breaks: y (<< 2)\ny 1", "a b"},
	} {
		_, err := resolveTiny(t, tiny(test.archive), test.request)
		want := fmt.Sprintf("plimsoll: %v\nhint: %s\n", err, fault.HintOf(err))
		if !strings.Contains(string(document), want) {
			t.Errorf("the document does not show\n%s", want)
		}
	}
}
