package kpack

import (
	"bytes"
	"errors"
	"fmt"
	"iter"
	"strings"

	"plimsoll.dev/plimsoll/internal/manifest"
)

// MaxText bounds a file, in bytes.
const MaxText = 16 << 20

// maxResources bounds what one file holds.
const maxResources = 20_000

// resource is one of the input.
type resource struct {
	file     string
	before   int    // lines of the file before the document
	text     []byte // as it stood there; nil for an item of a list
	document *manifest.Document
	at       string // path of the resource in the document: "", or "items[3]"
	plain    map[string]any

	group, version, kind, namespace, name string

	used bool // a builder is made of it
}

// read takes in all resources of a file.
func (c *conversion) read(in Input) error {
	if len(in.Text) > MaxText {
		return fmt.Errorf("it is larger than %d MiB", MaxText>>20)
	}
	documents := 0
	for text, before := range documentsIn(in.Text) {
		var plain map[string]any
		document, err := manifest.Decode(text, "resource", &plain)
		if err != nil {
			// Once more, with empty lines in front, so that it names the line of the file.
			_, err = manifest.Decode(append(bytes.Repeat([]byte("\n"), before), text...), "resource", &plain)
			return err
		}
		items := []*resource{{file: in.Name, before: before, text: text, document: document, plain: plain}}
		if list, ok := plain["items"].([]any); ok && strings.HasSuffix(textOf(plain, "kind"), "List") {
			items = nil
			for i, item := range list {
				fields, _ := item.(map[string]any)
				items = append(items, &resource{file: in.Name, before: before, document: document, at: fmt.Sprintf("items[%d]", i), plain: fields})
			}
		}
		if documents += max(1, len(items)); documents > maxResources {
			return fmt.Errorf("it has more than %d resources", maxResources)
		}
		for _, r := range items {
			if err := c.take(r); err != nil {
				return fmt.Errorf("line %d: %w", r.line(""), err)
			}
		}
	}
	return nil
}

// take names the resource and keeps it where others find it.
func (c *conversion) take(r *resource) error {
	r.group, r.version, _ = strings.Cut(textOf(r.plain, "apiVersion"), "/")
	r.kind = textOf(r.plain, "kind")
	metadata, _ := r.plain["metadata"].(map[string]any)
	r.namespace, r.name = textOf(metadata, "namespace"), textOf(metadata, "name")
	if r.group == "" || r.kind == "" {
		return errors.New("want a resource: it has no apiVersion and kind")
	}
	if r.name == "" && r.isKpack() {
		return fmt.Errorf("the %s has no metadata.name", r.kind)
	}
	c.resources = append(c.resources, r)
	switch {
	case r.isKpack():
		c.found[key(r.kind, r.namespace, r.name)] = r
	case r.kind == "ServiceAccount" && r.group == "v1":
		c.accounts[r.namespace+"/"+r.name] = newAccount(r)
	}
	return nil
}

// key is by what others refer to a resource of kpack's: cluster-wide kinds have no namespace.
func key(kind, namespace, name string) string {
	if strings.HasPrefix(kind, "Cluster") {
		namespace = ""
	}
	return kind + " " + namespace + "/" + name
}

func (r *resource) isKpack() bool { return r.group == "kpack.io" }

// String gives "Image team-a/shop".
func (r *resource) String() string {
	if r.namespace == "" {
		return strings.TrimSpace(r.kind + " " + r.name)
	}
	return r.kind + " " + r.namespace + "/" + r.name
}

func (r *resource) line(field string) int {
	return r.before + max(1, r.document.Line(join(r.at, field)))
}

func join(path, field string) string { return strings.Trim(path+"."+field, ".") }

func textOf(fields map[string]any, name string) string {
	s, _ := fields[name].(string)
	return s
}

// documentsIn gives the documents of a file's text with the number of lines before each. What
// holds nothing but comments is none.
func documentsIn(text []byte) iter.Seq2[[]byte, int] {
	return func(yield func([]byte, int) bool) {
		start, before, line, said := 0, 0, 0, false
		offset := 0
		for one := range bytes.Lines(text) {
			line++
			end := offset
			offset += len(one)
			if isMarker(one) {
				if said && !yield(text[start:end], before) {
					return
				}
				start, before, said = offset, line, false
				continue
			}
			words := bytes.TrimSpace(one)
			said = said || len(words) > 0 && words[0] != '#'
		}
		if said {
			yield(text[start:], before)
		}
	}
}

// isMarker says whether a line separates documents (YAML 1.2, 9.1.4). One with content behind the
// dashes is left to the reader of YAML, which refuses a second document.
func isMarker(line []byte) bool {
	rest, found := bytes.CutPrefix(line, []byte("---"))
	rest = bytes.TrimSpace(rest)
	return found && (len(rest) == 0 || rest[0] == '#' && line[3] != '#')
}
