package query

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/fault"
)

func TestParse(t *testing.T) {
	severe := Compare{Field: Severity, Op: GreaterEqual, Value: Value{Text: "high", Number: 4}}
	fixable := Compare{Field: Fixable, Op: Equal, Value: Value{}}
	cases := []struct {
		name, input string
		want        Query
	}{
		{"a package and its version", `what contains openssl < 3.5.7-1~deb13u3`,
			Query{Subject: Images, Where: Contains{Package{Name: "openssl", Op: Less, Version: "3.5.7-1~deb13u3"}}}},
		{"the type is told from the name", `what contains npm/@babel/core`,
			Query{Subject: Images, Where: Contains{Package{Type: "npm", Name: "@babel/core"}}}},
		{"a host is no type", `what contains golang.org/x/net`,
			Query{Subject: Images, Where: Contains{Package{Name: "golang.org/x/net"}}}},
		{"a package URL", `what contains pkg:golang/golang.org/x/net < 0.38`,
			Query{Subject: Images, Where: Contains{Package{Type: "golang", Name: "golang.org/x/net", Op: Less, Version: "0.38"}}}},
		{"a package URL with a version", `what contains pkg:maven/org.slf4j/slf4j-api@2.0.1`,
			Query{Subject: Images, Where: Contains{Package{Type: "maven", Name: "org.slf4j:slf4j-api", Op: Equal, Version: "2.0.1"}}}},
		{"an advisory and its fix", `what is affected by CVE-2025-9230 and how is it fixed`,
			Query{Subject: Images, Where: Affected{Compare{Field: ID, Op: Equal, Value: Value{Text: "CVE-2025-9230"}}}, Fix: true}},
		{"one finding with both properties", `images where affected by (severity >= high and fixable)`,
			Query{Subject: Images, Where: Affected{And{[]Expr{severe, fixable}}}}},
		{"a lent field", `images where severity >= HIGH`, Query{Subject: Images, Where: Affected{severe}}},
		{"and binds tighter than or", `images where signed or severity >= high and not signed-by key`,
			Query{Subject: Images, Where: Or{[]Expr{
				Compare{Field: Signed, Op: Equal},
				And{[]Expr{Affected{severe}, Not{Compare{Field: SignedBy, Op: Equal, Value: Value{Text: "key"}}}}},
			}}}},
		{"a base and an age", `images where base="base/run" and age>30d`,
			Query{Subject: Images, Where: And{[]Expr{
				Compare{Field: Base, Op: Equal, Value: Value{Text: "base/run"}},
				Compare{Field: Age, Op: Greater, Value: Value{Text: "30d", Age: 30 * 24 * time.Hour}},
			}}}},
		{"licences by both spellings", `packages where license ~ "GPL-*" and licence != MIT`,
			Query{Subject: Packages, Where: And{[]Expr{
				Compare{Field: Licence, Op: Glob, Value: Value{Text: "GPL-*"}},
				Compare{Field: Licence, Op: NotEqual, Value: Value{Text: "MIT"}},
			}}}},
		{"a label, without spaces", `images where label.Team!=ships`,
			Query{Subject: Images, Where: Compare{Field: Label, Label: "Team", Op: NotEqual, Value: Value{Text: "ships"}}}},
		{"all advisories", `advisories`, Query{Subject: Advisories}},
		{"a day is meant to its end", `images as of 2026-01-31`,
			Query{Subject: Images, AsOf: time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC)}},
		{"all that were ever known", `what contains "and" ever`,
			Query{Subject: Images, Where: Contains{Package{Name: "and"}}, Ever: true}},
		{"a size", `images where size > 1.5GiB`,
			Query{Subject: Images, Where: Compare{Field: Size, Op: Greater, Value: Value{Text: "1.5GiB", Number: 1.5 * (1 << 30)}}}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Parse(c.input)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			again, err := Parse(got.String())
			if err != nil {
				t.Fatalf("its full form is not read: %v", err)
			}
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("its full form %s means something else: %s", got, diff)
			}
		})
	}
}

func TestRefusals(t *testing.T) {
	cases := []struct {
		name, input string
		column      int
		hint        string // a part of it
	}{
		{"nothing", ``, 1, "begin with"},
		{"an unknown beginning", `which contains x`, 1, "begin with"},
		{"no package", `what contains`, 14, "name a package"},
		{"no version", `what contains x <`, 18, "name a version"},
		{"a pattern for a version", `what contains x ~ 1*`, 17, "compare it with"},
		{"two versions", `what contains pkg:npm/x@1 < 2`, 27, "leave one"},
		{"no such type", `what contains pkg:nonsense/x`, 15, "the types are"},
		{"a version alone", `packages where version < 3`, 16, "together with its package"},
		{"a field of another subject", `images where state = fixed`, 14, "begin with one of"},
		{"an operator that makes no sense", `images where base > x`, 19, "= != ~"},
		{"an age that is none", `images where age > tall`, 20, "duration"},
		{"a severity that is none", `images where severity >= terrible`, 26, "critical"},
		{"a date that is none", `images as of 2026-02-30`, 14, "write 2026-01-31"},
		{"an open parenthesis", `images where (signed`, 21, "column 14"},
		{"a closed one", `images where signed)`, 20, "joined by"},
		{"an open quotation", `what contains "x`, 15, "close it"},
		{"a lone mark", `images where ! signed`, 14, "not"},
		{"nothing to fix", `images where signed and how is it fixed`, 21, "affected"},
		{"where it runs", `images where running-in prod`, 14, "registries alone"},
		{"columns count characters", `what contains "é" <`, 20, "name a version"},
		{"too deep", `images where ` + strings.Repeat("(", 40) + `signed` + strings.Repeat(")", 40), 47, "32 levels"},
		{"too many", `images where signed` + strings.Repeat(" or signed", 200), 2014, "at most 200"},
		{"too long", `images where base = ` + strings.Repeat("x", MaxLength), 1, "8 KiB"},
		{"no text", "images where base = \xff", 1, "ask, for example"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := Parse(c.input)
			var where *Error
			if !errors.As(err, &where) || fault.KindOf(err) != fault.Usage {
				t.Fatalf("got %v, want a usage fault with a place", err)
			}
			if where.Column != c.column || !strings.Contains(fault.HintOf(err), c.hint) {
				t.Errorf("got column %d and hint %q (%v), want column %d and %q", where.Column, fault.HintOf(err), err, c.column, c.hint)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`what contains openssl < 3.5.7-1~deb13u3`, `what contains pkg:golang/golang.org/x/net < 0.38`,
		`what is affected by CVE-2025-9230 and how is it fixed as of 2026-01-31`,
		`images where (base = "base/run" or not signed-by key) and age > 30d and label.a ~ 'x"*' ever`,
		`packages where package "a b" >= 1 and licence ~ GPL-* and affected by anything`,
		`advisories where severity >= high and not fixable and published > 7d`, `what contains pkg:npm/a%22@1`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		q, err := Parse(input)
		if err != nil || len(q.String()) > MaxLength {
			return
		}
		again, err := Parse(q.String())
		if err != nil {
			t.Fatalf("%q is read as %q, which is not: %v", input, q, err)
		}
		if diff := cmp.Diff(q, again); diff != "" {
			t.Fatalf("%q and its full form %q mean different things: %s", input, q, diff)
		}
	})
}
