package policy

import (
	"reflect"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
)

// TestDigestHoldsEveryField changes each field of facts in which everything is set: one that
// somebody adds and forgets to write does not change the digest.
func TestDigestHoldsEveryField(t *testing.T) {
	facts := &artifact.Facts{}
	fill(reflect.ValueOf(facts).Elem())
	seen := map[string]string{digestOfFacts(facts): "nothing"}
	changes := 0
	each(reflect.ValueOf(facts).Elem(), "facts", func(path string) {
		changes++
		digest := digestOfFacts(facts)
		if other, ok := seen[digest]; ok {
			t.Errorf("a change of %s gives the digest of a change of %s", path, other)
		}
		seen[digest] = path
	})
	if changes < 100 {
		t.Errorf("only %d fields were changed", changes)
	}
}

func TestDigestTellsNoneFromNotKnown(t *testing.T) {
	none, unknown := artifact.Facts{Findings: []artifact.Finding{}}, artifact.Facts{}
	if digestOfFacts(&none) == digestOfFacts(&unknown) {
		t.Error("no findings and findings that are not known have one digest")
	}
	// Where one text ends and the next begins is told, too.
	a, b := artifact.Facts{Licenses: []string{"ab", "c"}}, artifact.Facts{Licenses: []string{"a", "bc"}}
	if digestOfFacts(&a) == digestOfFacts(&b) {
		t.Error("two lists of licences have one digest")
	}
}

// fill sets every field to one of something.
func fill(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(time.Unix(1, 2).UTC()))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"k": "v"}))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.String:
		v.SetString("s")
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	}
}

// each changes one field after the other, tells of it, and puts it back.
func each(v reflect.Value, path string, changed func(path string)) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	with := func(other any) {
		v.Set(reflect.ValueOf(other).Convert(v.Type()))
		changed(path)
		v.Set(old)
	}
	if v.Type() == reflect.TypeFor[time.Time]() {
		with(time.Unix(1, 3).UTC())
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		each(v.Elem(), path, changed)
		v.SetZero()
		changed(path + " (nil)")
		v.Set(old)
	case reflect.Slice:
		each(v.Index(0), path+"[0]", changed)
		v.SetZero()
		changed(path + " (nil)")
		v.Set(old)
	case reflect.Map:
		with(map[string]string{"k": "other"})
	case reflect.Struct:
		for i := range v.NumField() {
			each(v.Field(i), path+"."+v.Type().Field(i).Name, changed)
		}
	case reflect.String:
		with("other")
	case reflect.Int, reflect.Int64:
		with(2)
	case reflect.Float64:
		with(2.0)
	case reflect.Bool:
		with(true)
	}
}
