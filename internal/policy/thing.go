package policy

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Sizes that facts are held to when an expression reads them. What is larger is an error in
// the expression, so never a pass; the cost of an expression is estimated with them.
const (
	maxText  = 1 << 10 // bytes of a text
	maxLabel = 1 << 20 // bytes of a label's or an annotation's value
	maxList  = 1_000   // entries of a list or a map
	maxMany  = 20_000  // packages, findings
)

// missing is the error of reading what is not known.
type missing struct{ why string }

func (m *missing) Error() string { return m.why }

// object describes one kind of value that expressions read fields of. It drives the type
// checker, the evaluation and the documentation.
type object struct {
	name   string // of its type in CEL
	typ    *types.Type
	doc    string
	fields []field
}

func newObject(name, doc string, fields ...field) *object {
	for i := range fields {
		get := fields[i].get
		fields[i].get = func(owner any) (any, error) {
			value, err := get(owner)
			if err != nil {
				return nil, fmt.Errorf("%s.%w", strings.ToLower(name), err)
			}
			return value, nil
		}
	}
	return &object{name, types.NewObjectType(name), doc, fields}
}

// field is one of an object's.
type field struct {
	name string
	typ  *types.Type
	doc  string
	max  int // the longest text, or the most entries
	get  func(owner any) (any, error)
}

// find gives the field of the name, or nil.
func (o *object) find(name string) *field {
	for i := range o.fields {
		if o.fields[i].name == name {
			return &o.fields[i]
		}
	}
	return nil
}

func text[T any](name, doc string, get func(*T) string) field {
	return field{name, types.StringType, doc, maxText, func(owner any) (any, error) {
		return textOf(name, get(owner.(*T)))
	}}
}

func flag[T any](name, doc string, get func(*T) bool) field {
	return field{name, types.BoolType, doc, 0, func(owner any) (any, error) {
		return types.Bool(get(owner.(*T))), nil
	}}
}

func number[T any](name, doc string, get func(*T) int64) field {
	return field{name, types.IntType, doc, 0, func(owner any) (any, error) {
		return types.Int(get(owner.(*T))), nil
	}}
}

func fraction[T any](name, doc string, get func(*T) float64) field {
	return field{name, types.DoubleType, doc, 0, func(owner any) (any, error) {
		return types.Double(get(owner.(*T))), nil
	}}
}

// moment is a field that is missing where the time is zero.
func moment[T any](name, doc string, get func(*T) time.Time) field {
	return field{name, types.TimestampType, doc, 0, func(owner any) (any, error) {
		at := get(owner.(*T))
		if at.IsZero() {
			return nil, &missing{name + " is not known"}
		}
		return types.Timestamp{Time: at}, nil
	}}
}

func texts[T any](name, doc string, get func(*T) []string) field {
	return field{name, types.NewListType(types.StringType), doc, maxList, func(owner any) (any, error) {
		return textsOf(name, get(owner.(*T)))
	}}
}

func pairs[T any](name, doc string, get func(*T) map[string]string) field {
	return field{name, types.NewMapType(types.StringType, types.StringType), doc, maxList, func(owner any) (any, error) {
		return pairsOf(name, get(owner.(*T)))
	}}
}

// part is a field that is an object itself.
func part[T, P any](name, doc string, of *object, get func(*T) *P) field {
	return field{name, of.typ, doc, 0, func(owner any) (any, error) {
		return &thing{of, get(owner.(*T))}, nil
	}}
}

func textOf(name, s string) (any, error) {
	if len(s) > maxText {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, maxText)
	}
	return types.String(s), nil
}

func textsOf(name string, list []string) (any, error) {
	if len(list) > maxList {
		return nil, fmt.Errorf("%s has more than %d entries", name, maxList)
	}
	for _, s := range list {
		if len(s) > maxText {
			return nil, fmt.Errorf("an entry of %s is longer than %d bytes", name, maxText)
		}
	}
	return types.NewStringList(types.DefaultTypeAdapter, list), nil
}

func pairsOf(name string, m map[string]string) (any, error) {
	if len(m) > maxList {
		return nil, fmt.Errorf("%s has more than %d entries", name, maxList)
	}
	for key, value := range m {
		if len(key) > maxText || len(value) > maxLabel {
			return nil, fmt.Errorf("an entry of %s is longer than %d bytes", name, maxLabel)
		}
	}
	return &ordered{types.NewStringStringMap(types.DefaultTypeAdapter, m), m}, nil
}

// ordered is a map over which loops go in the order of its keys: CEL's own have none, so that
// the same facts could give another verdict.
type ordered struct {
	traits.Mapper

	is map[string]string
}

var _ traits.Foldable = (*ordered)(nil)

// Iterator implements traits.Iterable.
func (o *ordered) Iterator() traits.Iterator {
	return types.NewStringList(types.DefaultTypeAdapter, slices.Sorted(maps.Keys(o.is))).Iterator()
}

// Fold implements traits.Foldable.
func (o *ordered) Fold(f traits.Folder) {
	for _, key := range slices.Sorted(maps.Keys(o.is)) {
		if !f.FoldEntry(key, o.is[key]) {
			return
		}
	}
}

// thing is a value of an object's kind, in CEL.
type thing struct {
	kind *object
	is   any // a pointer to what its fields read
}

var (
	_ ref.Val            = (*thing)(nil)
	_ traits.Indexer     = (*thing)(nil)
	_ traits.FieldTester = (*thing)(nil)
)

// Value gives what the fields' getters take.
func (t *thing) Value() any { return t.is }

// Type implements ref.Val.
func (t *thing) Type() ref.Type { return t.kind.typ }

// Get implements traits.Indexer for what the planner could not resolve: values of dynamic type.
func (t *thing) Get(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	f := t.kind.find(string(name))
	if !ok || f == nil {
		return types.NewErr("no such field: %v", index)
	}
	value, err := f.get(t.is)
	if err != nil {
		return types.WrapErr(err)
	}
	return value.(ref.Val)
}

// IsSet implements traits.FieldTester.
func (t *thing) IsSet(index ref.Val) ref.Val {
	name, ok := index.(types.String)
	f := t.kind.find(string(name))
	if !ok || f == nil {
		return types.NewErr("no such field: %v", index)
	}
	return types.Bool(f.isSet(t.is))
}

// isSet says whether the field can be read.
func (f *field) isSet(owner any) bool {
	_, err := f.get(owner)
	return err == nil
}

// Equal says whether both are the same object, not whether they look alike.
func (t *thing) Equal(other ref.Val) ref.Val {
	o, ok := other.(*thing)
	return types.Bool(ok && o.is == t.is)
}

// ConvertToNative implements ref.Val: things stay in CEL.
func (t *thing) ConvertToNative(to reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s is no %v", t.kind.name, to)
}

// ConvertToType implements ref.Val.
func (t *thing) ConvertToType(to ref.Type) ref.Val {
	if to == types.TypeType {
		return t.kind.typ
	}
	return types.NewErr("%s is no %s", t.kind.name, to.TypeName())
}
