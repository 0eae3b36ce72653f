// Package manifest takes the YAML of one resource and gives it decoded strictly, and for
// every complaint about it the line and the field.
package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"go.yaml.in/yaml/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	strict "sigs.k8s.io/json"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maxText bounds a resource's text in bytes.
const maxText = 4 << 20

// objectName matches Kubernetes' DNS subdomain names.
var objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// Problem is a bad value: its field, as "spec.paths[2].mode", and what is wrong with it.
type Problem struct{ Field, Text string }

// Bad gives a problem.
func Bad(field, text string) *Problem { return &Problem{Field: field, Text: text} }

func (p *Problem) Error() string { return p.Field + ": " + p.Text }

// Document is a YAML document that became a resource.
type Document struct {
	Plain any // what it says, as encoding/json would give it

	locator
}

// ReadFile gives the text of the file.
func ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "read spec", path, errors.Unwrap(err)).WithHint("name a file with -f")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return nil, fault.New(fault.Failed, "read spec", path, err)
	}
	if len(text) > maxText {
		return nil, fault.Newf(fault.Usage, "read spec", path, "it is larger than 4 MiB")
	}
	return text, nil
}

// Decode reads the only document in text into a resource of the kind, and refuses what the
// resource has no field for.
func Decode(text []byte, kind string, into any) (*Document, error) {
	root, err := document(text, kind)
	if err != nil {
		return nil, err
	}
	d := &Document{locator: locator{root}}
	if err := d.plain(root, ""); err != nil {
		return nil, err
	}
	if err := root.Decode(&d.Plain); err != nil {
		return nil, firstOf(err)
	}
	asJSON, err := json.Marshal(d.Plain)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", root.Line, err)
	}
	unknown, err := strict.UnmarshalStrict(asJSON, into)
	if err != nil {
		return nil, d.typeError(err, asJSON)
	}
	if len(unknown) > 0 {
		return nil, d.unknownField(unknown[0])
	}
	return d, nil
}

// Wrong gives the problem as an error that names its line.
func (d *Document) Wrong(p *Problem) error {
	return fmt.Errorf("line %d: %s: %s", d.Line(p.Field), p.Field, p.Text)
}

// CheckHeader gives the first problem of what every resource has, or nil.
func CheckHeader(t metav1.TypeMeta, kind, name string) *Problem {
	switch {
	case t.APIVersion != v1alpha1.APIVersion:
		return Bad("apiVersion", fmt.Sprintf("want %q, got %q", v1alpha1.APIVersion, t.APIVersion))
	case t.Kind != kind:
		return Bad("kind", fmt.Sprintf("want %q, got %q", kind, t.Kind))
	case !objectName.MatchString(name):
		return Bad("metadata.name", fmt.Sprintf("want lower-case letters, digits, dots and dashes, got %q", name))
	}
	return nil
}

// document gives the root node of the only YAML document in text.
func document(text []byte, kind string) (*yaml.Node, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var root, more yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("it is empty")
		}
		return nil, err
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("line %d: a second document: one file holds one %s", more.Line, kind)
	}
	doc := root.Content[0]
	if doc.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want fields (apiVersion, kind, spec), got something else", doc.Line)
	}
	return doc, nil
}
