package kpack

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"

	strictjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
)

// strict refuses what the type has no field for.
func strict(text []byte, value any) error {
	unknown, err := strictjson.UnmarshalStrict(text, value)
	if err == nil && len(unknown) > 0 {
		err = unknown[0]
	}
	return err
}

// handOn writes a resource that is not kpack's as it is.
func (c *conversion) handOn(r *resource) error {
	text := r.text
	if text == nil {
		var err error
		if text, err = yaml.Marshal(r.plain); err != nil {
			return err
		}
	}
	c.result.Documents = append(c.result.Documents, append(bytes.TrimSpace(text), '\n'))
	return nil
}

// write writes a resource of ours that the resource r became.
func (c *conversion) write(r *resource, kind, namespace, name string, spec any) error {
	text, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	var plain map[string]any
	if err := strict(text, &plain); err != nil {
		return err
	}
	if id := kind + " " + namespace + "/" + name; c.written[id] {
		c.note(r, "metadata", "another resource became %s %q, too: give one of them another name", kind, name)
	} else {
		c.written[id] = true
	}
	metadata := map[string]any{"name": name}
	if namespace != "" {
		metadata["namespace"] = namespace
	}
	before, _ := r.plain["metadata"].(map[string]any)
	for _, field := range []string{"labels", "annotations"} {
		if kept := keptOf(before[field]); len(kept) > 0 {
			metadata[field] = kept
		}
	}
	out, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.APIVersion, "kind": kind, "metadata": metadata, "spec": filled(plain),
	})
	if err != nil {
		return err
	}
	c.result.Documents = append(c.result.Documents, out)
	return nil
}

// keptOf gives labels or annotations that still mean something: not those of kpack itself, and not
// what kubectl remembers of the resource that was.
func keptOf(v any) map[string]any {
	all, _ := v.(map[string]any)
	kept := maps.Clone(all)
	maps.DeleteFunc(kept, func(name string, value any) bool {
		_, isText := value.(string)
		return !isText || strings.Contains(name, "kpack.io/") || strings.HasPrefix(name, "kubectl.kubernetes.io/")
	})
	return kept
}

// filled leaves out mappings with nothing in them, which say nothing.
func filled(fields map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range fields {
		if below, ok := v.(map[string]any); ok {
			if below = filled(below); len(below) == 0 {
				continue
			}
			v = below
		}
		out[name] = v
	}
	return out
}
