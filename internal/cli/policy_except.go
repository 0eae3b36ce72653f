package cli

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/site/home"
)

func newPolicyExcept(env *Env) *cobra.Command {
	var spec v1alpha1.PolicyExceptionSpec
	expires := ""
	cmd := &cobra.Command{
		Use:   "except NAME",
		Short: "Let images pass rules that they do not fulfil, for a while",
		Long: `Except writes a PolicyException into the home's policies. Each has an owner, a reason and an end,
and stands in every verdict that it changes; those that end soon are listed by "plimsoll policy list"
and told by a registry that is served.` + "\n" + exitCodes,
		Example: `  plimsoll policy except zlib-in-shop --rule baseline/no-high --finding CVE-2026-27171 --repository 'shop/**' \
    --owner shop-team --reason 'not reachable: no untrusted archives' --expires 2027-01-31`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			end, err := moment("--expires", expires)
			if err != nil {
				return err
			}
			if !end.After(time.Now()) {
				return fault.Newf(fault.Usage, "read flags", "--expires "+expires, "it must be in the future")
			}
			spec.Expires = metav1.NewTime(end.UTC().Truncate(time.Second))
			return env.addException(args[0], spec)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&spec.Owner, "owner", "", "who answers for it: a person or a team")
	flags.StringVar(&spec.Reason, "reason", "", "why it is right for now")
	flags.StringVar(&spec.Ticket, "ticket", "", "where it was decided")
	flags.StringVar(&expires, "expires", "", "day or moment at which it ends")
	flags.StringArrayVar(&spec.Rules, "rule", nil, "POLICY/RULE that it excuses")
	flags.StringArrayVar(&spec.Scope.Repositories, "repository", nil, "repositories for which it holds, such as shop/**")
	flags.StringArrayVar(&spec.Scope.Environments, "environment", nil, "environments in which it holds")
	flags.StringArrayVar(&spec.Digests, "digest", nil, "images for which it holds")
	flags.StringArrayVar(&spec.Findings, "finding", nil, "advisories that it sets aside, and nothing else")
	for _, required := range []string{"owner", "reason", "expires", "rule"} {
		_ = cmd.MarkFlagRequired(required)
	}
	return cmd
}

// addException writes the exception, once it is known to fit the home's policies.
func (env *Env) addException(name string, spec v1alpha1.PolicyExceptionSpec) error {
	exception := v1alpha1.PolicyException{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.PolicyExceptionKind},
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       spec,
	}
	text, err := yaml.Marshal(exception)
	if err != nil {
		return fmt.Errorf("encode exception: %w", err)
	}
	text = []byte(strings.Replace(string(text), "  creationTimestamp: null\n", "", 1))
	all, err := env.home().Documents(home.PolicySource{})
	if err != nil {
		return err
	}
	for _, rule := range spec.Rules {
		if !hasRule(all, rule) {
			return fault.Newf(fault.Usage, "read flags", "--rule "+rule, "no policy of this home has such a rule").
				WithHint("`plimsoll policy list` names them; write POLICY/RULE")
		}
	}
	read, err := policy.Read("exception "+name, text)
	if err != nil {
		return err
	}
	all.Add(read)
	if _, err := all.Compile(policy.Options{}); err != nil {
		return err
	}
	return env.addPolicy("exception-"+name+".yaml", text)
}

// hasRule says whether the name, in which "*" stands for any, is of a rule.
func hasRule(all *policy.Documents, name string) bool {
	for _, p := range all.Policies {
		for _, r := range p.Spec.Rules {
			if ok, err := path.Match(name, p.Name+"/"+r.Name); ok && err == nil {
				return true
			}
		}
	}
	return false
}
