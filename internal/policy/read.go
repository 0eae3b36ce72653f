package policy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// Documents are policies and exceptions that know where they were read.
type Documents struct {
	Policies   []v1alpha1.ImagePolicy
	Exceptions []v1alpha1.PolicyException

	policyAt, exceptionAt []origins
}

// origins is where a document stands. The lines before it in its file are empty in its text.
type origins struct {
	file string
	text []byte
}

const (
	readHint = "docs/policy.md describes every field and variable"

	maxFile      = 1 << 20 // bytes
	maxDocuments = 1_000   // of a file
)

// Load reads files, and all *.yaml and *.yml files in folders, in the order of their names.
func Load(paths ...string) (*Documents, error) {
	all := &Documents{}
	for _, path := range paths {
		files, err := filesIn(path)
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := manifest.ReadFile(file)
			if err != nil {
				return nil, err
			}
			d, err := Read(file, text)
			if err != nil {
				return nil, err
			}
			all.Add(d)
		}
	}
	return all, nil
}

func filesIn(path string) ([]string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fault.New(fault.Usage, "read policies", path, err)
	case !info.IsDir():
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path) // sorted
	if err != nil {
		return nil, fault.New(fault.Failed, "read policies", path, err)
	}
	var files []string
	for _, entry := range entries {
		if ext := filepath.Ext(entry.Name()); !entry.IsDir() && (ext == ".yaml" || ext == ".yml") {
			files = append(files, filepath.Join(path, entry.Name()))
		}
	}
	return files, nil
}

// Add puts the other's documents behind these.
func (d *Documents) Add(other *Documents) {
	d.policyAt = append(padded(d.policyAt, len(d.Policies)), padded(other.policyAt, len(other.Policies))...)
	d.exceptionAt = append(padded(d.exceptionAt, len(d.Exceptions)), padded(other.exceptionAt, len(other.Exceptions))...)
	d.Policies = append(d.Policies, other.Policies...)
	d.Exceptions = append(d.Exceptions, other.Exceptions...)
}

// padded gives as many origins as there are documents: those that were read from no file have
// empty ones.
func padded(at []origins, n int) []origins {
	return append(at, make([]origins, max(0, n-len(at)))...)
}

// Read decodes the ImagePolicy and PolicyException documents of a file's text. What they say
// is checked by Compile.
func Read(file string, text []byte) (*Documents, error) {
	if len(text) > maxFile {
		return nil, fault.Newf(fault.Usage, "read policies", file, "it is larger than 1 MiB")
	}
	documents := split(text)
	if len(documents) > maxDocuments {
		return nil, fault.Newf(fault.Usage, "read policies", file, fmt.Sprintf("it has more than %d documents", maxDocuments))
	}
	d := &Documents{}
	for _, document := range documents {
		if err := d.read(file, document); err != nil {
			return nil, fault.New(fault.Usage, "read policies", file, err).WithHint(readHint)
		}
	}
	return d, nil
}

func (d *Documents) read(file string, text []byte) error {
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		return err
	}
	if root.Kind == 0 || root.Content[0].ShortTag() == "!!null" {
		return nil // nothing but comments
	}
	var header struct {
		Kind string `yaml:"kind"`
	}
	_ = root.Decode(&header) // what has no such field is complained of below
	switch header.Kind {
	case v1alpha1.ImagePolicyKind:
		var p v1alpha1.ImagePolicy
		if _, err := manifest.Decode(text, header.Kind, &p); err != nil {
			return err
		}
		d.Policies, d.policyAt = append(d.Policies, p), append(d.policyAt, origins{file, text})
		return nil
	case v1alpha1.PolicyExceptionKind:
		var e v1alpha1.PolicyException
		if _, err := manifest.Decode(text, header.Kind, &e); err != nil {
			return err
		}
		d.Exceptions, d.exceptionAt = append(d.Exceptions, e), append(d.exceptionAt, origins{file, text})
		return nil
	}
	return fmt.Errorf("line %d: kind: want %s or %s, got %q",
		root.Content[0].Line, v1alpha1.ImagePolicyKind, v1alpha1.PolicyExceptionKind, header.Kind)
}

// marker matches the lines between documents (YAML 1.2.2, section 9.1): nothing else may stand
// at the beginning of a line that way.
var marker = regexp.MustCompile(`(?m)^(---([ \t].*)?|\.\.\.([ \t].*)?)\r?$`)

// split gives the documents of a file, each with as many empty lines before it as there are
// lines.
func split(text []byte) [][]byte {
	var documents [][]byte
	lines, start := 0, 0
	add := func(end int) {
		if len(bytes.TrimSpace(text[start:end])) > 0 {
			documents = append(documents, append(bytes.Repeat([]byte("\n"), lines), text[start:end]...))
		}
		lines += bytes.Count(text[start:end], []byte("\n"))
		start = end
	}
	for _, at := range marker.FindAllIndex(text, -1) {
		add(at[0])
	}
	add(len(text))
	return documents
}

// fault tells of the first problem, by where it stands, and how many more there are.
func (d *Documents) fault(problems []problem) error {
	first := problems[0]
	why := d.describe(first)
	if more := len(problems) - 1; more > 0 {
		why += fmt.Sprintf(" (and %d more)", more)
	}
	return fault.Newf(fault.Usage, "compile policies", d.locate(first), why).WithHint(readHint)
}

// describe says what is wrong and in which rule.
func (d *Documents) describe(p problem) string {
	name := ""
	switch {
	case p.exception:
		name = d.Exceptions[p.index].Name
	case p.index < len(d.Policies):
		name = d.Policies[p.index].Name
		var i int
		if n, _ := fmt.Sscanf(p.field, "spec.rules[%d]", &i); n == 1 {
			name += "/" + d.Policies[p.index].Spec.Rules[i].Name
		}
	}
	field := strings.TrimPrefix(p.field, "spec.")
	if p.wrong.line > 0 && d.originOf(p).file == "" {
		field = fmt.Sprintf("%s:%d:%d", field, p.wrong.line, p.column+1) // the file's would be given beside it
	}
	parts := []string{name, field, p.text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}
