package kpack

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// fields are those of one mapping of a resource that nobody has taken yet. What is left in the end
// is told of: so no field is forgotten.
type fields struct {
	c      *conversion
	r      *resource
	path   string // below the resource: "spec.build"
	values map[string]any
}

// fieldsOf gives those of the resource's spec.
func (c *conversion) fieldsOf(r *resource) *fields {
	spec, ok := r.plain["spec"].(map[string]any)
	if !ok && r.plain["spec"] != nil {
		c.note(r, "spec", "want fields: it was left out")
	}
	return &fields{c: c, r: r, path: "spec", values: maps.Clone(spec)}
}

// take gives the value and counts it as converted.
func (f *fields) take(name string) (any, bool) {
	v, found := f.values[name]
	delete(f.values, name)
	return v, found && v != nil
}

func (f *fields) note(name, format string, args ...any) {
	f.c.note(f.r, join(f.path, name), format, args...)
}

// text takes text; "" where there is none.
func (f *fields) text(name string) string {
	v, found := f.take(name)
	s, ok := v.(string)
	if found && !ok {
		f.note(name, "want text: it was left out")
	}
	return s
}

// number takes a whole number.
func (f *fields) number(name string) (int64, bool) {
	v, found := f.take(name)
	var n int64
	if !found {
		return 0, false
	}
	if err := into(v, &n); err != nil {
		f.note(name, "want a number: it was left out")
		return 0, false
	}
	return n, true
}

// flag takes true or false.
func (f *fields) flag(name string) bool {
	v, found := f.take(name)
	b, ok := v.(bool)
	if found && !ok {
		f.note(name, "want true or false: it was left out")
	}
	return b
}

// below takes fields; nil where there are none.
func (f *fields) below(name string) *fields {
	v, found := f.take(name)
	if !found {
		return nil
	}
	m, ok := v.(map[string]any)
	if !ok {
		f.note(name, "want fields: it was left out")
		return nil
	}
	return &fields{c: f.c, r: f.r, path: join(f.path, name), values: maps.Clone(m)}
}

// list takes a list of fields.
func (f *fields) list(name string) []*fields {
	v, found := f.take(name)
	if !found {
		return nil
	}
	items, ok := v.([]any)
	if !ok {
		f.note(name, "want a list: it was left out")
	}
	var out []*fields
	for i, item := range items {
		each := fmt.Sprintf("%s[%d]", name, i)
		m, ok := item.(map[string]any)
		if !ok {
			f.note(each, "want fields: it was left out")
			continue
		}
		out = append(out, &fields{c: f.c, r: f.r, path: join(f.path, each), values: maps.Clone(m)})
	}
	return out
}

// as takes what has one of Kubernetes' own types, and says whether it is there.
func (f *fields) as(name string, value any) bool {
	v, found := f.take(name)
	if !found {
		return false
	}
	if err := into(v, value); err != nil {
		f.note(name, "it is not what Kubernetes has there: it was left out")
		return false
	}
	return true
}

// drop takes what has no equivalent and says why, or what to do about it.
func (f *fields) drop(name, format string, args ...any) {
	if _, found := f.take(name); found {
		f.note(name, format, args...)
	}
}

// rest tells of what nobody took.
func (f *fields) rest() {
	if f == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(f.values)) {
		f.drop(name, "left out: Plimsoll has no such field")
	}
}

// into reads a plain value as a type, strictly.
func into(v, value any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return strict(text, value)
}
