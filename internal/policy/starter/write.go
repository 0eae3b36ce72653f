package starter

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
)

// part is the policy of a profile for one kind of manifest.
type part struct {
	suffix, condition, what string
	kind                    artifact.Kind
}

// parts has a place for every manifest: what is neither an image nor an index counts as an artifact.
func parts() []part {
	return []part{
		{"", `image.kind == "image"`, "images", artifact.KindImage},
		{"-index", `image.kind == "index"`, "indexes, whose images fulfil the rest each for itself", artifact.KindIndex},
		{"-artifact", `!(image.kind in ["image", "index"])`, "all else, into which nobody can look", artifact.KindArtifact},
	}
}

// write gives the YAML of a profile.
func (s *set) write(p Profile) ([]byte, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "# The profile %s of Plimsoll's starter set. %s\n# It is yours: change parameters and gates, take rules out, add your own.\n# docs/policies/starter.md tells of every rule.\n", p.Name, p.Description)
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	for _, part := range parts() {
		document, err := s.policy(p, part)
		if err != nil {
			return nil, err
		}
		if err := encoder.Encode(document); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), encoder.Close()
}

// policy gives the ImagePolicy of one part.
func (s *set) policy(p Profile, part part) (*yaml.Node, error) {
	rules := &yaml.Node{Kind: yaml.SequenceNode}
	for _, choice := range p.Rules {
		i := slices.IndexFunc(s.rules, func(r Rule) bool { return r.Name == choice.Name })
		if i < 0 {
			return nil, fmt.Errorf("the profile %s has no rule %q to choose", p.Name, choice.Name)
		}
		if slices.Contains(s.rules[i].Kinds, part.kind) {
			rules.Content = append(rules.Content, chosen(s.ruleNodes[i], choice))
		}
	}
	text, err := yaml.Marshal(rules)
	if err != nil {
		return nil, err
	}
	variables, text := s.variablesIn(text)
	parameters, err := s.parametersIn(text, p)
	if err != nil {
		return nil, err
	}
	spec := mapping(
		"description", scalar(fmt.Sprintf("%s This is for %s.", p.Description, part.what)),
		"gates", gates(p.Gates),
		"parameters", parameters,
		"matchConditions", &yaml.Node{Kind: yaml.SequenceNode, Content: []*yaml.Node{mapping("name", scalar("kind"), "expression", scalar(part.condition))}},
		"variables", variables,
		"rules", rules,
	)
	return mapping(
		"apiVersion", scalar(v1alpha1.APIVersion),
		"kind", scalar(v1alpha1.ImagePolicyKind),
		"metadata", mapping("name", scalar(p.Name+part.suffix)),
		"spec", spec,
	), nil
}

// chosen gives a rule's node as a profile has it.
func chosen(rule *yaml.Node, choice Choice) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(rule.Content); i += 2 {
		switch key, value := rule.Content[i], rule.Content[i+1]; {
		case key.Value == "kinds":
		case key.Value == "grace" && choice.Grace != "":
			since := scalar(field(value, "since"))
			since.Style = yaml.DoubleQuotedStyle
			grace := mapping("period", scalar(choice.Grace), "since", since)
			grace.Style = value.Style
			out.Content = append(out.Content, key, grace)
		default:
			out.Content = append(out.Content, key, value)
		}
	}
	if own := gates(choice.Gates); len(own.Content) > 0 {
		out.Content = append(out.Content, scalar("gates"), own)
	}
	return out
}

// variablesIn gives the variables that the text reads, in their order, and the text with theirs.
func (s *set) variablesIn(text []byte) (*yaml.Node, []byte) {
	out := &yaml.Node{Kind: yaml.SequenceNode}
	for _, variable := range slices.Backward(s.variables.Content) { // each reads only those before it
		if !reads(text, "variables."+field(variable, "name")) {
			continue
		}
		out.Content = slices.Insert(out.Content, 0, variable)
		text = append(text, "\n"+field(variable, "expression")...)
	}
	return out, text
}

// parametersIn gives the parameters that the text reads, as the profile sets them.
func (s *set) parametersIn(text []byte, p Profile) (*yaml.Node, error) {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(s.parameters.Content); i += 2 {
		key, value := s.parameters.Content[i], s.parameters.Content[i+1]
		if !reads(text, "params."+key.Value) {
			continue
		}
		if own, ok := p.Parameters[key.Value]; ok {
			set := &yaml.Node{}
			if err := set.Encode(own); err != nil {
				return nil, err
			}
			set.Style = value.Style
			value = set
		}
		out.Content = append(out.Content, key, value)
	}
	return out, nil
}

// reads says whether the text holds the name, and not only as a part of a longer one.
func reads(text []byte, name string) bool {
	rest := string(text)
	for {
		_, after, found := strings.Cut(rest, name)
		if !found {
			return false
		}
		if after == "" || !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", rune(after[0])) {
			return true
		}
		rest = after
	}
}

func gates(g v1alpha1.PolicyGates) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
	for _, at := range []struct {
		gate   artifact.Gate
		action v1alpha1.PolicyAction
	}{
		{artifact.GateRegistry, g.Registry}, {artifact.GateAdmission, g.Admission},
		{artifact.GateIdentity, g.Identity}, {artifact.GateGateway, g.Gateway},
	} {
		if at.action != "" {
			out.Content = append(out.Content, scalar(string(at.gate)), scalar(string(at.action)))
		}
	}
	return out
}

// mapping gives a mapping of names and nodes; what is empty is left out.
func mapping(pairs ...any) *yaml.Node {
	out := &yaml.Node{Kind: yaml.MappingNode}
	for i := 0; i < len(pairs); i += 2 {
		value := pairs[i+1].(*yaml.Node)
		if value.Kind == yaml.ScalarNode || len(value.Content) > 0 {
			out.Content = append(out.Content, scalar(pairs[i].(string)), value)
		}
	}
	return out
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// field gives a mapping's text of the name.
func field(mapping *yaml.Node, name string) string {
	for i := 0; i < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == name {
			return mapping.Content[i+1].Value
		}
	}
	return ""
}
