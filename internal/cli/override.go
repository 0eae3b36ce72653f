package cli

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/override"
	"plimsoll.dev/plimsoll/internal/fault"
)

func newOverride(env *Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "override",
		Short: "Set the lowest versions that dependencies may have, whatever lock files say",
		Long: `An override is the lowest version of a dependency that a build may use: one that would use a
lower version uses this one, the application's repository untouched. Builds on this home hold to
its overrides from then on, and an image that has a lower version all the same is refused.

docs/overrides.md tells all.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newOverrideAdd(env), newOverrideList(env), newOverrideRemove(env))
	return cmd
}

func newOverrideAdd(env *Env) *cobra.Command {
	var o struct {
		name, reason, expires            string
		advisories, repositories, except []string
		major                            bool
	}
	cmd := &cobra.Command{
		Use:   "add ECOSYSTEM PACKAGE VERSION --reason TEXT",
		Short: "Let no build use a lower version of a dependency",
		Long: `Add writes a DependencyOverride into the home, or raises the one of that name. ECOSYSTEM is npm, Go
or PyPI. A version of another major than the application's is refused when it is built, unless
--major allows it.` + "\n" + exitCodes,
		Example: `  plimsoll override add npm lodash 4.17.21 --reason 'prototype pollution' --advisory CVE-2020-8203
  plimsoll override add Go golang.org/x/net v0.38.0 --reason CVE-2025-22872 --repository 'shop/**'`,
		Args: cobra.ExactArgs(3),
		RunE: func(_ *cobra.Command, args []string) error {
			added := v1alpha1.DependencyOverride{Spec: v1alpha1.DependencyOverrideSpec{
				Ecosystem: args[0], Package: args[1], Version: args[2], Major: o.major,
				Reason: v1alpha1.Reason(o.reason), Advisories: texts[v1alpha1.Word](o.advisories),
				Scope: v1alpha1.OverrideScope{
					Repositories: texts[v1alpha1.RepositoryPattern](o.repositories), Except: texts[v1alpha1.RepositoryPattern](o.except),
				},
			}}
			added.Name = cmp.Or(o.name, overrideName(args[0], args[1]))
			if o.expires != "" {
				end, err := moment("--expires", o.expires)
				if err != nil {
					return err
				}
				if !end.After(time.Now()) {
					return fault.Newf(fault.Usage, "read flags", "--expires "+o.expires, "it must be in the future")
				}
				added.Spec.Expires = &metav1.Time{Time: end.UTC().Truncate(time.Second)}
			}
			return runOverrideAdd(env, added)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "name of the override (default: made of ecosystem and package)")
	flags.StringVar(&o.reason, "reason", "", "why, for whoever finds another version than the lock file's")
	flags.StringArrayVar(&o.advisories, "advisory", nil, "advisory that it answers, such as CVE-2020-8203")
	flags.StringArrayVar(&o.repositories, "repository", nil, "repositories of images that it is for, such as shop/** (default: all)")
	flags.StringArrayVar(&o.except, "except", nil, "repositories that it is not for")
	flags.StringVar(&o.expires, "expires", "", "day or moment at which it ends")
	flags.BoolVar(&o.major, "major", false, "it may cross a major version")
	_ = cmd.MarkFlagRequired("reason")
	return cmd
}

// texts gives flags as the named texts of a resource.
func texts[T ~string](flags []string) []T {
	var out []T
	for _, text := range flags {
		out = append(out, T(text))
	}
	return out
}

var notOfNames = regexp.MustCompile(`[^a-z0-9]+`)

// overrideName gives a resource's name: "npm-scope-name" for npm's "@scope/name".
func overrideName(ecosystem, name string) string {
	return strings.Trim(notOfNames.ReplaceAllString(strings.ToLower(ecosystem+"-"+name), "-"), "-")
}

func runOverrideAdd(env *Env, added v1alpha1.DependencyOverride) error {
	if err := override.Put(build.OverridesFolder(env.Home), added); err != nil {
		return err
	}
	return env.print(listedOverride(added), func(w io.Writer) {
		fmt.Fprintf(w, "%s: builds use %s %s or newer from now on\n", added.Name, visible(added.Spec.Package), visible(added.Spec.Version))
	})
}

func newOverrideList(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the overrides of this home",
		Long:    "List shows the overrides of this home.\n" + exitCodes,
		Example: "  plimsoll override list -o json",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return runOverrideList(env) },
	}
}

// overrideRow is an override as scripts see it.
type overrideRow struct {
	Name string `json:"name"`
	v1alpha1.DependencyOverrideSpec
	Expired bool `json:"expired"`
}

func listedOverride(o v1alpha1.DependencyOverride) overrideRow {
	return overrideRow{Name: o.Name, DependencyOverrideSpec: o.Spec, Expired: o.Spec.Expires != nil && !time.Now().Before(o.Spec.Expires.Time)}
}

func runOverrideList(env *Env) error {
	set, err := override.Load(build.OverridesFolder(env.Home))
	if err != nil {
		return err
	}
	rows := []overrideRow{}
	for _, o := range set.All() {
		rows = append(rows, listedOverride(o))
	}
	return env.print(rows, func(w io.Writer) {
		fmt.Fprintln(w, "NAME\tECOSYSTEM\tPACKAGE\tFLOOR\tFOR\tENDS\tREASON")
		for _, r := range rows {
			ends := "never"
			if r.Expires != nil {
				ends = r.Expires.Format(time.DateOnly)
			}
			if r.Expired {
				ends = "ended " + ends
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.Ecosystem, visible(r.Package), visible(r.Version), visible(scopeOfOverride(r.Scope)), ends, visible(string(r.Reason)))
		}
	})
}

func scopeOfOverride(scope v1alpha1.OverrideScope) string {
	text := "all"
	if len(scope.Repositories) > 0 {
		text = listOf(scope.Repositories)
	}
	if len(scope.Except) > 0 {
		text += " but " + listOf(scope.Except)
	}
	return text
}

func listOf(patterns []v1alpha1.RepositoryPattern) string {
	var all []string
	for _, p := range patterns {
		all = append(all, string(p))
	}
	return strings.Join(all, ", ")
}

func newOverrideRemove(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME...",
		Short:   "End overrides",
		Long:    "Remove ends overrides: the next builds use what lock files say again.\n" + exitCodes,
		Example: "  plimsoll override remove npm-lodash",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			for _, name := range args {
				if err := override.Remove(build.OverridesFolder(env.Home), name); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
