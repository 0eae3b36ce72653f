// Package cases takes policies and a table of facts and what is wanted of them, and gives
// which rows hold: tests for those who write policies.
package cases

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	strict "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/policy"
)

// Case is one row: what is known, and what should come of it.
type Case struct {
	File string `json:"file"`
	Name string `json:"name"`

	Facts      artifact.Facts             `json:"-"`
	Where      policy.Where               `json:"-"`
	Now        time.Time                  `json:"-"`
	Exceptions []v1alpha1.PolicyException `json:"-"` // beside those of the policies' own files
	Want       Want                       `json:"-"`
}

// Want is what should come of the facts. What is left empty may be anything.
type Want struct {
	Registry  artifact.Action `json:"registry,omitempty"`
	Admission artifact.Action `json:"admission,omitempty"`
	Identity  artifact.Action `json:"identity,omitempty"`
	Gateway   artifact.Action `json:"gateway,omitempty"`

	Rules map[string]Outcome `json:"rules,omitempty"` // by "policy/rule"
}

// Outcome is what a rule comes to.
type Outcome string

// The outcomes.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Grace   Outcome = "grace"   // it does not hold, and has time
	Missing Outcome = "missing" // a fact that it reads is not known
	Excused Outcome = "excused"
	Absent  Outcome = "absent" // its policy does not cover the image
)

// OutcomeOf gives the outcome of a result.
func OutcomeOf(r artifact.Result) Outcome {
	switch {
	case r.Passed:
		return Pass
	case r.Excused != "":
		return Excused
	case r.Missing:
		return Missing
	case r.Deadline != nil:
		return Grace
	}
	return Fail
}

// file is the YAML of a table. Facts of a row are merged over those of the file (RFC 7396), and
// these over those of the file that is named.
type file struct {
	Now       *time.Time      `json:"now,omitempty"`
	Where     policy.Where    `json:"where,omitempty"`
	Facts     json.RawMessage `json:"facts,omitempty"`
	FactsFrom string          `json:"factsFrom,omitempty"` // a path from the file's folder
	Cases     []row           `json:"cases"`
}

type row struct {
	Name       string                     `json:"name"`
	Now        *time.Time                 `json:"now,omitempty"`
	Where      *policy.Where              `json:"where,omitempty"`
	Facts      json.RawMessage            `json:"facts,omitempty"`
	FactsFrom  string                     `json:"factsFrom,omitempty"`
	Exceptions []v1alpha1.PolicyException `json:"exceptions,omitempty"`
	Want       Want                       `json:"want"`
}

const (
	hint     = `docs/policy.md, "Testing policies", describes the file`
	maxCases = 10_000
)

// Load reads the table in the file.
func Load(path string) ([]Case, error) {
	text, err := manifest.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Read(path, text, os.ReadFile)
}

// Read reads a table as if it stood in the file. open gives the files that it names.
func Read(path string, text []byte, open func(string) ([]byte, error)) ([]Case, error) {
	var f file
	document, err := manifest.Decode(text, "table of policy tests", &f)
	if err == nil && (len(f.Cases) == 0 || len(f.Cases) > maxCases) {
		err = document.Wrong(manifest.Bad("cases", fmt.Sprintf("want at least one, at most %d", maxCases)))
	}
	if err != nil {
		return nil, fault.New(fault.Usage, "read policy tests", path, err).WithHint(hint)
	}
	r := reader{path: path, open: open, file: f}
	var cases []Case
	for i := range f.Cases {
		c, problem := r.row(&f.Cases[i])
		if problem != nil {
			problem.Field = fmt.Sprintf("cases[%d].%s", i, problem.Field)
			return nil, fault.New(fault.Usage, "read policy tests", path, document.Wrong(problem)).WithHint(hint)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// reader makes cases of rows.
type reader struct {
	path string
	open func(string) ([]byte, error)
	file file
}

func (r *reader) row(in *row) (Case, *manifest.Problem) {
	c := Case{File: r.path, Name: in.Name, Where: r.file.Where, Exceptions: in.Exceptions, Want: in.Want}
	if in.Name == "" {
		return c, manifest.Bad("name", "say what it shows")
	}
	switch {
	case in.Now != nil:
		c.Now = *in.Now
	case r.file.Now != nil:
		c.Now = *r.file.Now
	default:
		return c, manifest.Bad("now", "want the time of the verdict here, or once for all rows")
	}
	if in.Where != nil {
		c.Where = *in.Where
	}
	if problem := in.Want.check(); problem != nil {
		return c, problem
	}
	for i := range c.Exceptions {
		c.Exceptions[i].APIVersion, c.Exceptions[i].Kind = v1alpha1.APIVersion, v1alpha1.PolicyExceptionKind
	}
	facts, err := r.facts(in)
	if err != nil {
		return c, manifest.Bad("facts", err.Error())
	}
	c.Facts = facts
	return c, nil
}

func (w *Want) check() *manifest.Problem {
	if w.gates() == nil && len(w.Rules) == 0 {
		return manifest.Bad("want", "a row that wants nothing cannot fail")
	}
	for gate, action := range w.gates() {
		if !slices.Contains([]artifact.Action{artifact.ActionAllow, artifact.ActionAudit, artifact.ActionWarn, artifact.ActionDeny}, action) {
			return manifest.Bad("want."+string(gate), fmt.Sprintf("want allow, audit, warn or deny, got %q", action))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(w.Rules)) {
		if !slices.Contains([]Outcome{Pass, Fail, Grace, Missing, Excused, Absent}, w.Rules[name]) {
			return manifest.Bad("want.rules."+name, fmt.Sprintf("want pass, fail, grace, missing, excused or absent, got %q", w.Rules[name]))
		}
	}
	return nil
}

// gates gives the actions that are wanted; nil when there are none.
func (w *Want) gates() map[artifact.Gate]artifact.Action {
	gates := map[artifact.Gate]artifact.Action{
		artifact.GateRegistry: w.Registry, artifact.GateAdmission: w.Admission, artifact.GateIdentity: w.Identity, artifact.GateGateway: w.Gateway,
	}
	maps.DeleteFunc(gates, func(_ artifact.Gate, action artifact.Action) bool { return action == "" })
	if len(gates) == 0 {
		return nil
	}
	return gates
}

// facts merges what the file and the row say, the row's last.
func (r *reader) facts(in *row) (artifact.Facts, error) {
	var merged any = map[string]any{}
	for _, layer := range []struct {
		from string
		text []byte
	}{{from: r.file.FactsFrom}, {text: r.file.Facts}, {from: in.FactsFrom}, {text: in.Facts}} {
		text := layer.text
		if layer.from != "" {
			path := layer.from
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(r.path), path)
			}
			var err error
			if text, err = r.open(path); err != nil {
				return artifact.Facts{}, fmt.Errorf("factsFrom: %w", err)
			}
			if text, err = yaml.YAMLToJSON(text); err != nil {
				return artifact.Facts{}, fmt.Errorf("factsFrom: %s: %w", layer.from, err)
			}
		}
		if text == nil {
			continue
		}
		var patch any
		if err := json.Unmarshal(text, &patch); err != nil {
			return artifact.Facts{}, err
		}
		merged = merge(merged, patch)
	}
	return decode(merged)
}

// decode gives facts, and refuses what they have no field for.
func decode(merged any) (artifact.Facts, error) {
	var facts artifact.Facts
	text, err := json.Marshal(merged)
	if err != nil {
		return facts, err
	}
	unknown, err := strict.UnmarshalStrict(text, &facts)
	return facts, errors.Join(append(unknown, err)...)
}

// merge is RFC 7396: null takes away, fields are merged, all else replaces.
func merge(target, patch any) any {
	fields, ok := patch.(map[string]any)
	if !ok {
		return patch
	}
	into, ok := target.(map[string]any)
	if !ok {
		into = map[string]any{}
	}
	into = maps.Clone(into)
	for name, value := range fields {
		if value == nil {
			delete(into, name)
			continue
		}
		into[name] = merge(into[name], value)
	}
	return into
}
