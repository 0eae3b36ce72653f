package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

type checkOptions struct {
	policyOptions
	gate  string
	where policy.Where
	at    string
	facts bool
	all   bool
}

func newPolicyCheck(env *Env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check REF",
		Short: "Say whether an image may sail; what is wrong, why, and what to do",
		Long: `Check gathers all that is known of the image (it reads its layers, verifies what is attached to it
and holds its packages against the advisories of this home) and asks the policies: those of the
home, or those that -f and --profile name. An index may pass only when each of its images does.

The exit code is 3 when the image is denied at the gate.` + "\n" + exitCodes,
		Example: `  plimsoll policy check shop:1
  plimsoll policy check shop:1 --gate admission --environment production
  plimsoll policy check registry.example.com/theirs:1 --profile restricted
  plimsoll policy check shop:1 -f next.yaml --at 2027-01-01
  plimsoll policy check shop:1 --facts -o json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runPolicyCheck(cmd.Context(), env, o, args[0]) },
	}
	o.flags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&o.gate, "gate", string(artifact.GateRegistry), "gate whose action is the exit code: registry, admission, identity or gateway")
	flags.StringVar(&o.where.Namespace, "namespace", "", "Kubernetes namespace in which it is to run")
	flags.StringVar(&o.where.Environment, "environment", "", "environment in which it is to run")
	flags.StringVar(&o.at, "at", "", "decide as on that day (2027-01-01) or moment (RFC 3339)")
	flags.BoolVar(&o.facts, "facts", false, "print the facts that the policies are asked with, as JSON or YAML, and decide nothing")
	flags.BoolVar(&o.all, "all", false, "show the rules that pass, too")
	return cmd
}

// gateNamed gives the gate of that name.
func gateNamed(name string) (artifact.Gate, error) {
	if gate := artifact.Gate(name); slices.Contains(artifact.Gates(), gate) {
		return gate, nil
	}
	return "", fault.Newf(fault.Usage, "read flags", "--gate "+name, "want registry, admission, identity or gateway")
}

// moment reads a day or a moment; "" is now.
func moment(flag, text string) (time.Time, error) {
	if text == "" {
		return time.Now(), nil
	}
	for _, form := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fault.Newf(fault.Usage, "read flags", flag+" "+text, "want a day such as 2027-01-31, or a moment of RFC 3339")
}

func runPolicyCheck(ctx context.Context, env *Env, o checkOptions, text string) error {
	gate, err := gateNamed(o.gate)
	if err != nil {
		return err
	}
	at, err := moment("--at", o.at)
	if err != nil {
		return err
	}
	ref, err := oci.Parse(text)
	if err != nil {
		return err
	}
	var set *policy.Set
	if !o.facts {
		if set, err = env.home().Policies(o.PolicySource); err != nil {
			return err
		}
	}
	g, err := judge.NewGatherer(ctx, env.home())
	if err != nil {
		return err
	}
	fleet, err := g.Fleet(ctx, ref)
	if err != nil {
		return err
	}
	if o.facts {
		return encode(env.Out, cmp.Or(env.format, "yaml"), fleet.All())
	}
	verdict := fleet.Decide(set, o.where, at)
	checked := checked{Ref: text, Gate: gate, Action: verdict.At(gate), Verdict: verdict}
	if err := env.print(checked, func(w io.Writer) { checked.table(w, o.all) }); err != nil {
		return err
	}
	return judge.Denial(verdict, gate, text)
}

// checked is what `policy check` gives a script.
type checked struct {
	Ref              string          `json:"ref"`
	Gate             artifact.Gate   `json:"gate"`
	Action           artifact.Action `json:"action"` // at that gate
	artifact.Verdict `json:",inline"`
}

func (c checked) table(w io.Writer, all bool) {
	fmt.Fprintf(w, "%s@%s\n\nGATE\tVERDICT\n", c.Ref, c.Image)
	for _, gate := range artifact.Gates() {
		action := "no policy covers it"
		if a, covered := c.Gates[gate]; covered {
			action = string(a)
		}
		fmt.Fprintf(w, "%s\t%s\n", gate, action)
	}
	header := "\nRULE\tRESULT\tWHY\n"
	for _, r := range c.Results {
		if r.Passed && !all {
			continue
		}
		fmt.Fprintf(w, "%s%s\t%s\t%s\n", header, visible(r.Policy+"/"+r.Rule), c.result(r), visible(cmp.Or(r.Why, r.Title)))
		header = ""
		if r.Remedy != "" && !r.Passed && r.Excused == "" {
			fmt.Fprintf(w, "\t\tremedy: %s\n", visible(r.Remedy))
		}
	}
	for i, e := range c.Exceptions {
		if i == 0 {
			fmt.Fprint(w, "\nEXCEPTION\tOWNER\tEXPIRES\tEXCUSES\tREASON\n")
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(e.Name), visible(e.Owner), day(e.Expires), strings.Join(e.Rules, ","), visible(e.Reason))
	}
	passed := 0
	for _, r := range c.Results {
		if r.Passed {
			passed++
		}
	}
	fmt.Fprintf(w, "\n%d of %d rules pass", passed, len(c.Results))
	if c.Until != nil {
		fmt.Fprintf(w, "; decided anew %s at the latest", c.Until.Format(time.RFC3339))
	}
	fmt.Fprintln(w)
}

// result says what a rule comes to at the gate that was asked for.
func (c checked) result(r artifact.Result) string {
	switch {
	case r.Passed:
		return "pass"
	case r.Excused != "":
		return "excused by " + visible(r.Excused)
	}
	action := cmp.Or(r.Gates[c.Gate], artifact.ActionAllow)
	if r.Deadline != nil && action != artifact.ActionDeny {
		return fmt.Sprintf("%s until %s", action, day(*r.Deadline))
	}
	return string(action)
}
