// Package starter takes the name of a profile and gives policies that a platform team can adopt as
// they are: rules that are written once, chosen and tuned by each profile, as plain YAML to copy
// and edit.
package starter

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
)

var (
	//go:embed rules.yaml
	rulesText []byte

	//go:embed profiles.yaml
	profilesText []byte
)

// Rule is a rule of the set.
type Rule struct {
	Name     string                  `yaml:"name"`
	Kinds    []artifact.Kind         `yaml:"kinds"` // of manifests that it is for
	Title    string                  `yaml:"title"`
	Reason   string                  `yaml:"reason"`
	Grace    struct{ Period string } `yaml:"grace"`    // "" is none
	Controls map[string][]string     `yaml:"controls"` // of "slsa", "nist-800-190", "cis": those it answers
}

// Profile is a choice of rules.
type Profile struct {
	Name        string               `yaml:"name"`
	Description string               `yaml:"description"`
	Gates       v1alpha1.PolicyGates `yaml:"gates"`
	Parameters  map[string]any       `yaml:"parameters"` // that are not the rules' own
	Rules       []Choice             `yaml:"rules"`
}

// Choice is a rule as a profile has it.
type Choice struct {
	Name  string               `yaml:"name"`
	Gates v1alpha1.PolicyGates `yaml:"gates"` // where they are not the profile's
	Grace string               `yaml:"grace"` // instead of the rule's own period
}

// Rules gives all rules.
func Rules() []Rule { return slices.Clone(read().rules) }

// Profiles gives all profiles, the mildest first.
func Profiles() []Profile { return slices.Clone(read().profiles) }

// Policies gives the policies of a profile: YAML of ImagePolicy documents, one for each kind of manifest.
func Policies(name string) ([]byte, error) {
	s := read()
	i := slices.IndexFunc(s.profiles, func(p Profile) bool { return p.Name == name })
	if i < 0 {
		var names []string
		for _, p := range s.profiles {
			names = append(names, p.Name)
		}
		return nil, fault.Newf(fault.Usage, "find the profile", name, "there is none of this name").
			WithHint("profiles are " + strings.Join(names, ", "))
	}
	return s.write(s.profiles[i])
}

// set is what the files hold. The nodes keep comments and the form of what was written.
type set struct {
	rules    []Rule
	profiles []Profile

	parameters, variables *yaml.Node
	ruleNodes             []*yaml.Node // of rules
}

// read reads the files, which are part of the program.
var read = sync.OnceValue(func() *set {
	s := &set{}
	var file struct{ Parameters, Variables, Rules yaml.Node }
	err := yaml.Unmarshal(rulesText, &file)
	s.parameters, s.variables, s.ruleNodes = &file.Parameters, &file.Variables, file.Rules.Content
	if err == nil {
		err = file.Rules.Decode(&s.rules)
	}
	if err == nil {
		err = yaml.Unmarshal(profilesText, &s.profiles)
	}
	if err != nil {
		panic(fmt.Sprintf("starter: %v", err))
	}
	return s
})
