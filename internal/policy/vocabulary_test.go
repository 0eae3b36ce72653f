package policy

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/cel-go/common/decls"
	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/cel/environment"

	"plimsoll.dev/plimsoll/artifact"
)

// TestExpressionsReadAllFacts holds the tables to the JSON of the nouns: a field that somebody
// adds there is a name that nobody can read.
func TestExpressionsReadAllFacts(t *testing.T) {
	for _, of := range []struct {
		noun   any
		object *object
		own    []string // fields that the noun does not have
	}{
		{artifact.ImageFacts{}, imageObject, []string{"registry"}},
		{artifact.BaseFacts{}, baseObject, nil},
		{artifact.SourceFacts{}, sourceObject, nil},
		{artifact.ProvenanceFacts{}, provenanceObject, nil},
		{artifact.SignatureFacts{}, signatureObject, nil},
		{artifact.SBOMFacts{}, sbomObject, nil},
		{artifact.TestFacts{}, testsObject, nil},
		{artifact.MalwareFacts{}, malwareObject, nil},
		{artifact.HardeningFacts{}, hardeningObject, nil},
		{artifact.Package{}, packageObject, []string{"inBase", "purl"}},
		{artifact.Finding{}, findingObject, []string{"fixable", "inBase", "purl", "rank"}},
	} {
		var names []string
		for _, f := range of.object.fields {
			names = append(names, f.name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(slices.Sorted(slices.Values(append(jsonFields(of.noun), of.own...))), names); diff != "" {
			t.Errorf("%s (-in the noun +in expressions):\n%s", of.object.name, diff)
		}
	}
	var names []string
	for _, v := range allVariables {
		if !strings.Contains(v.name, ".") && v.name != "now" {
			names = append(names, v.name)
		}
	}
	want := slices.DeleteFunc(jsonFields(artifact.Facts{}), func(name string) bool { return name == "inBase" }) // of each package
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(names))); diff != "" {
		t.Errorf("facts (-in the noun +in expressions):\n%s", diff)
	}
}

func jsonFields(noun any) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeOf(noun)) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// TestEveryFieldCanBeRead reads each field of facts in which everything is set.
func TestEveryFieldCanBeRead(t *testing.T) {
	facts := artifact.Facts{}
	fill(reflect.ValueOf(&facts).Elem())
	facts.Packages[0].Paths = nil
	subject := Prepare(facts)
	var conditions []string
	for _, v := range allVariables {
		if o := objectOf(v.typ.TypeName()); o != nil {
			conditions = append(conditions, readAll(v.name, o)...)
			continue
		}
		if ps := v.typ.Parameters(); len(ps) == 1 {
			if o := objectOf(ps[0].TypeName()); o != nil {
				conditions = append(conditions, readAll(v.name+"[0]", o)...)
				continue
			}
		}
		conditions = append(conditions, v.name+" == "+v.name)
	}
	set := compile(t, rules("", conditions...))
	v := set.DecideOn(subject, Where{Namespace: "n", Environment: "e"}, time.Unix(100, 0))
	for i, r := range v.Results {
		if !r.Passed {
			t.Errorf("%s: %s", conditions[i], r.Why)
		}
	}
	if len(v.Results) < 120 {
		t.Errorf("only %d fields were read", len(v.Results))
	}
}

func readAll(of string, o *object) []string {
	var conditions []string
	for _, f := range o.fields {
		name := of + "." + f.name
		if part := objectOf(f.typ.TypeName()); part != nil {
			conditions = append(conditions, readAll(name, part)...)
			continue
		}
		conditions = append(conditions, name+" == "+name)
	}
	return conditions
}

func objectOf(name string) *object {
	i := slices.IndexFunc(objects(), func(o *object) bool { return o.name == name })
	if i < 0 {
		return nil
	}
	return objects()[i]
}

// TestDialectIsKubernetes compares the functions with those of the environment that
// ValidatingAdmissionPolicy compiles in.
func TestDialectIsKubernetes(t *testing.T) {
	theirs := environment.MustBaseEnvSet(version.MajorMinor(1, 33), true).NewExpressionsEnv().Functions()
	ours := dialect().Functions()
	for _, name := range slices.Sorted(maps.Keys(theirs)) {
		mine, ok := ours[name]
		for _, overload := range theirs[name].OverloadDecls() {
			if isAuthorizer(overload.ID()) {
				continue
			}
			has := func(o *decls.OverloadDecl) bool { return o.ID() == overload.ID() }
			if !ok || !slices.ContainsFunc(mine.OverloadDecls(), has) {
				t.Errorf("%s (%s) is Kubernetes' and not ours", name, overload.ID())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(ours)) {
		if theirs[name] == nil {
			t.Errorf("%s is ours and not Kubernetes'", name)
		}
	}
}

// isAuthorizer names what asks the API server about users: there is none here.
func isAuthorizer(overload string) bool {
	return strings.HasPrefix(overload, "authorizer_") || strings.HasPrefix(overload, "pathcheck_") || strings.HasPrefix(overload, "groupcheck_") ||
		strings.HasPrefix(overload, "resourcecheck_") || strings.HasPrefix(overload, "decision_")
}
