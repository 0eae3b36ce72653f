package cli

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy/cases"
)

func newPolicyTest(env *Env) *cobra.Command {
	var o policyOptions
	cmd := &cobra.Command{
		Use:   "test TABLE...",
		Short: "Test policies by tables of facts and what is wanted of them",
		Long: `Test decides each case of the tables by the home's policies, or by those that -f and --profile name,
and says which do not come out as wanted. A folder stands for the files *.yaml in it.
docs/policy.md shows the form.` + "\n" + exitCodes,
		Example: `  plimsoll policy test cases.yaml
  plimsoll policy test -f policies/ tests/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return runPolicyTest(env, o, args) },
	}
	o.flags(cmd)
	return cmd
}

func runPolicyTest(env *Env, o policyOptions, paths []string) error {
	policies, err := env.home().Documents(o.PolicySource)
	if err != nil {
		return err
	}
	var all []cases.Case
	for _, path := range paths {
		files, err := tables(path)
		if err != nil {
			return err
		}
		for _, file := range files {
			some, err := cases.Load(file)
			if err != nil {
				return err
			}
			all = append(all, some...)
		}
	}
	results, err := cases.Run(policies, all)
	if err != nil {
		return err
	}
	failed := 0
	for _, r := range results {
		if !r.Passed {
			failed++
		}
	}
	err = env.print(results, func(w io.Writer) {
		fmt.Fprintln(w, "CASE\tRESULT\tPROBLEM")
		for _, r := range results {
			result := "ok"
			if !r.Passed {
				result = "FAILED"
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", visible(r.Name), result, visible(strings.Join(r.Problems, "; ")))
		}
		fmt.Fprintf(w, "\n%s, %d failed\n", plural(len(results), "case"), failed)
	})
	if err != nil || failed == 0 {
		return err
	}
	return fault.Newf(fault.Failed, "test policies", strings.Join(paths, " "), fmt.Sprintf("%d of %s failed", failed, plural(len(results), "case")))
}

// tables gives the file, or the tables in the folder.
func tables(path string) ([]string, error) {
	inside, err := filepath.Glob(filepath.Join(path, "*.yaml"))
	if err != nil || len(inside) == 0 {
		return []string{path}, nil
	}
	return inside, nil
}
