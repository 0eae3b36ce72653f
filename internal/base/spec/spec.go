// Package spec takes the YAML of a BaseImage and gives it checked and with its defaults,
// or an error that names the line and the field.
package spec

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"go.yaml.in/yaml/v3"
	strict "sigs.k8s.io/json"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maxSpec bounds a spec's text in bytes.
const maxSpec = 4 << 20

// Load reads the BaseImage in the file. Relative paths in it are made absolute.
func Load(path string) (*v1alpha1.BaseImage, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "read spec", path, errors.Unwrap(err)).WithHint("name a file with -f")
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSpec+1))
	if err != nil {
		return nil, fault.New(fault.Failed, "read spec", path, err)
	}
	if len(text) > maxSpec {
		return nil, fault.Newf(fault.Usage, "read spec", path, "it is larger than 4 MiB")
	}
	image, err := Parse(text)
	if err != nil {
		return nil, fault.New(fault.Usage, "read spec", path, err).WithHint("docs/base.md describes every field")
	}
	if key := image.Spec.Archive.Keyring; key != "" && !filepath.IsAbs(key) {
		image.Spec.Archive.Keyring = filepath.Join(filepath.Dir(path), key)
	}
	return image, nil
}

// SetSuites has the image take packages from other suites than its spec names.
func SetSuites(image *v1alpha1.BaseImage, suites []string) error {
	image.Spec.Archive.Suites = suites
	maps.DeleteFunc(image.Spec.Archive.Mirrors, func(suite, _ string) bool { return !slices.Contains(suites, suite) })
	if bad := checkArchive(&image.Spec); bad != nil {
		return fault.Newf(fault.Usage, "read flags", "--suite", bad.text)
	}
	return nil
}

// Parse reads one BaseImage, checks it and fills in the defaults.
func Parse(text []byte) (*v1alpha1.BaseImage, error) {
	doc, err := document(text)
	if err != nil {
		return nil, err
	}
	at := locator{doc}
	var plain any
	if err := at.plain(doc, ""); err != nil {
		return nil, err
	}
	if err := doc.Decode(&plain); err != nil {
		return nil, firstOf(err)
	}
	asJSON, err := json.Marshal(plain)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", doc.Line, err)
	}
	var image v1alpha1.BaseImage
	unknown, err := strict.UnmarshalStrict(asJSON, &image)
	if err != nil {
		return nil, at.typeError(err, asJSON)
	}
	if len(unknown) > 0 {
		return nil, at.unknownField(unknown[0])
	}
	if problem := missingNumber(plain); problem != nil {
		return nil, at.problem(problem)
	}
	if problem := check(&image); problem != nil {
		return nil, at.problem(problem)
	}
	setDefaults(&image.Spec)
	return &image, nil
}

// document gives the root node of the only YAML document in text.
func document(text []byte) (*yaml.Node, error) {
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
		return nil, fmt.Errorf("line %d: a second document: one file holds one BaseImage", more.Line)
	}
	doc := root.Content[0]
	if doc.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: want fields (apiVersion, kind, spec), got something else", doc.Line)
	}
	return doc, nil
}

func setDefaults(s *v1alpha1.BaseImageSpec) {
	if len(s.Archive.Components) == 0 {
		s.Archive.Components = []string{"main"}
	}
	if len(s.Architectures) == 0 {
		s.Architectures = []string{runtime.GOARCH}
	}
	slices.Sort(s.Architectures)
	if s.RunAs == nil {
		s.RunAs = &v1alpha1.RunAs{UID: 65532, GID: 65532}
	}
	if s.Layering.MaxLayers == 0 {
		s.Layering.MaxLayers = MaxLayers
	}
	if s.Layering.Compression == "" {
		s.Layering.Compression = "gzip"
	}
	for i := range s.Accounts.Users {
		u := &s.Accounts.Users[i]
		if u.Home == "" {
			u.Home = "/nonexistent"
		}
		if u.Shell == "" {
			u.Shell = "/usr/sbin/nologin"
		}
	}
}
