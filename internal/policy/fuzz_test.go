package policy

import (
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

// FuzzRead reads, compiles and decides by whatever a file may hold.
func FuzzRead(f *testing.F) {
	f.Add([]byte(rules("parameters: {a: [1, 2]}\nvariables: [{name: b, expression: params.a.sum()}]", "variables.b > 2", "age.image < duration('1h')")))
	f.Add([]byte(rules("", "true") + "---\n" + exceptionOf("e", "scope: {repositories: ['**']}\nfindings: [CVE-2026-0001]\nmatch: image.size > 1")))
	f.Add([]byte("a: &a [*a]\n---\nkind: ImagePolicy\n...\n%YAML 1.2\n--- |\n x\n"))
	facts := largeFacts(10, 5)
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := Read("f.yaml", text)
		if err == nil {
			var set *Set
			if set, err = d.Compile(Options{}); err == nil {
				check(t, set, facts)
			}
		}
		if err != nil && fault.KindOf(err) != fault.Usage {
			t.Errorf("%v is no complaint about the file", err)
		}
	})
}

// FuzzExpression compiles and evaluates whatever an expression may be.
func FuzzExpression(f *testing.F) {
	for _, condition := range []string{
		`true`, `findings.all(f, !f.fixable)`, `packages.exists(p, p.purl.startsWith("pkg:deb"))`, `image.labels[?"a"].orValue("") == ""`,
		`has(image.created) && age.image < duration("1h")`, `signatures.map(s, s.by).join(",").replace("a", "b") == "c"`, `"%s".format([image.user]) == ""`,
		`findings.map(f, f.published).min() < now`, `licenses.exists_one(l, l.matches("^MIT$"))`, `[1, 2].transformList(i, v, i * v).sum() > 1`,
		`quantity("1Gi").add(1).isGreaterThan(quantity("1k"))`, `sets.intersects(licenses, ["a"])`, `image.size / (image.layers - 12) == 0`,
	} {
		f.Add(condition)
	}
	facts := largeFacts(10, 5)
	f.Fuzz(func(t *testing.T, condition string) {
		e, wrong := newScope().compile(condition, nil)
		if wrong != nil {
			if wrong.text == "" {
				t.Error("something is wrong, and nobody says what")
			}
			return
		}
		q := newQuestion(&Set{}, Prepare(facts), Where{}, theNow())
		start := time.Now()
		if v, err := q.eval(e); (v == nil) == (err == nil) && err == nil {
			t.Error("neither a value nor an error")
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

// check holds a verdict to what all verdicts have.
func check(t *testing.T, set *Set, facts artifact.Facts) {
	v := set.Decide(facts, Where{}, theNow())
	for _, r := range v.Results {
		if r.Passed && (len(r.Gates) > 0 || r.Missing || r.Excused != "") {
			t.Errorf("passed, and yet: %+v", r)
		}
		for gate, action := range r.Gates {
			if v.At(gate).Rank() < action.Rank() {
				t.Errorf("%s is milder than %s/%s: %s", gate, r.Policy, r.Rule, action)
			}
		}
	}
	if v.Until != nil && v.Until.Before(v.Decided) {
		t.Errorf("it ended at %s, before it began", v.Until)
	}
}
