package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/starter"
	"plimsoll.dev/plimsoll/internal/site/home"
)

func newPolicy(env *Env) *cobra.Command {
	cmd := group("policy", "Decide which images may sail",
		newPolicyAdd(env), newPolicyList(env), newPolicyCheck(env), newPolicyTest(env), newPolicyDiff(env), newPolicyExcept(env))
	cmd.Long = `The policies of a site are the files *.yaml in the folder policies of $PLIMSOLL_HOME: ImagePolicy and
PolicyException documents. A registry that is served asks them for every image, as does
"plimsoll policy check".

docs/policy.md tells how to write them, docs/policies/starter.md what the starter set holds.` + "\n" + exitCodes
	return cmd
}

// policyOptions are the flags that name policies, instead of the home's.
type policyOptions struct{ home.PolicySource }

func (o *policyOptions) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.Files, "file", "f", nil, "file or folder of policies, instead of the home's")
	flags.StringArrayVar(&o.Profiles, "profile", nil, "profile of the starter set, instead of the home's policies: "+strings.Join(profiles(), ", "))
}

// profiles names those of the starter set, the mildest first.
func profiles() []string {
	var names []string
	for _, p := range starter.Profiles() {
		names = append(names, p.Name)
	}
	return names
}

func newPolicyAdd(env *Env) *cobra.Command {
	show := false
	cmd := &cobra.Command{
		Use:   "add PROFILE",
		Short: "Take up a profile of the starter set",
		Long: `Add writes the profile into the home's policies, as a file of your own: edit its parameters, gates
and rules as you like. A file that is there already stays as it is.

Profiles: ` + strings.Join(profiles(), ", ") + ". docs/policies/starter.md says what each wants.\n" + exitCodes,
		Example: `  plimsoll policy add baseline
  plimsoll policy add restricted --show > policies/restricted.yaml`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: profiles(),
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := starter.Policies(args[0])
			if err != nil {
				return err
			}
			if show {
				_, err := env.Out.Write(text)
				return err
			}
			return env.addPolicy(args[0]+".yaml", text)
		},
	}
	cmd.Flags().BoolVar(&show, "show", false, "only print it")
	return cmd
}

// addPolicy writes a new file of policies.
func (env *Env) addPolicy(name string, text []byte) error {
	path := filepath.Join(env.home().PolicyFolder(), name)
	if _, err := os.Stat(path); err == nil {
		return fault.Newf(fault.Failed, "write a policy", path, "there is such a file already").WithHint("edit it, or remove it first")
	}
	if err := os.MkdirAll(env.home().PolicyFolder(), 0o755); err != nil {
		return fault.New(fault.Failed, "write a policy", path, err)
	}
	if err := aside.WriteBytes(path, text); err != nil {
		return fault.New(fault.Failed, "write a policy", path, err)
	}
	fmt.Fprintf(env.Err, "wrote %s\n", path)
	return nil
}

// listed is what `policy list` gives a script.
type listed struct {
	Policies   []v1alpha1.ImagePolicy     `json:"policies"`
	Exceptions []v1alpha1.PolicyException `json:"exceptions"`
}

func newPolicyList(env *Env) *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use:     "list",
		Aliases: []string{"ls"},
		Short:   "List policies, their rules, and exceptions with when they end",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			all, err := env.home().Documents(o.PolicySource)
			if err != nil {
				return err
			}
			if _, err := all.Compile(policy.Options{}); err != nil {
				return err
			}
			return env.print(listed{all.Policies, all.Exceptions}, func(w io.Writer) { printPolicies(w, all) })
		},
	}
	o.flags(cmd)
	return cmd
}

func printPolicies(w io.Writer, all *policy.Documents) {
	fmt.Fprintln(w, "POLICY\tRULE\tREGISTRY\tADMISSION\tIDENTITY\tGATEWAY\tWANTS")
	for _, p := range all.Policies {
		for _, r := range p.Spec.Rules {
			g, d := r.Gates, p.Spec.Gates
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, r.Name, atGate(g.Registry, d.Registry), atGate(g.Admission, d.Admission),
				atGate(g.Identity, d.Identity), atGate(g.Gateway, d.Gateway), r.Title)
		}
	}
	if len(all.Exceptions) == 0 {
		return
	}
	fmt.Fprintln(w, "\nEXCEPTION\tOWNER\tEXPIRES\tRULES\tREASON")
	exceptions := slices.SortedFunc(slices.Values(all.Exceptions), func(a, b v1alpha1.PolicyException) int {
		return a.Spec.Expires.Compare(b.Spec.Expires.Time)
	})
	for _, e := range exceptions {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.Name, e.Spec.Owner, day(e.Spec.Expires.Time), strings.Join(e.Spec.Rules, ","), e.Spec.Reason)
	}
}

func atGate(rule, policy v1alpha1.PolicyAction) string { return orDash(string(cmp.Or(rule, policy))) }
