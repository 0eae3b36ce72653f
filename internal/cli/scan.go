package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/site/known"
	"plimsoll.dev/plimsoll/internal/site/ledger"
	"plimsoll.dev/plimsoll/internal/vuln/report"
)

type scanOptions struct {
	form, platform, failOn string
	vex                    []string
	attest, all            bool
}

func newScan(env *Env) *cobra.Command {
	var o scanOptions
	cmd := &cobra.Command{
		Use:   "scan REF",
		Short: "Say which advisories concern an image, and what fixes them",
		Long: `Scan holds what is in any image against the advisories of this home (plimsoll feed sync) and sorts
what it finds by what mends it: a rebase, a rebuild, a newer dependency, or nothing yet.

Findings that a VEX statement says do not count are left out, and counted: statements in files
given with --vex, and those attached to the image by somebody whom the home trusts.

--fail-on takes severities, "fixable", "exploited" and "epss=0.5", joined by "," (any) and "+" (all),
and "incomplete" for a scan that could not look at all; the exit code is then 3. docs/scan.md tells
all.` + "\n" + exitCodes,
		Example: `  plimsoll scan shop:1
  plimsoll scan registry.example.com/theirs:1 --fail-on high+fixable,exploited
  plimsoll scan shop:1 --format sarif > shop.sarif`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runScan(cmd.Context(), env, o, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.form, "format", "", "sarif or cyclonedx (a VEX) instead of a table or -o json")
	flags.StringVar(&o.platform, "platform", "", "platform of an image that has several, such as linux/arm64")
	flags.StringVar(&o.failOn, "fail-on", "", "fail when there are such findings, as high+fixable")
	flags.StringSliceVar(&o.vex, "vex", nil, "file of OpenVEX statements to heed")
	flags.BoolVar(&o.all, "suppressed", false, "show what VEX statements suppress, too, and why")
	flags.BoolVar(&o.attest, "attest", false, "sign the result and put it beside the image")
	return cmd
}

func runScan(ctx context.Context, env *Env, o scanOptions, text string) error {
	var rule report.Rule // fails nothing
	if o.failOn != "" {
		var err error
		if rule, err = report.ParseRule(o.failOn); err != nil {
			return err
		}
	}
	write, err := o.writer(env)
	if err != nil {
		return err
	}
	found, scan, err := known.Scan(ctx, env.home(), text, o.platform, o.vex)
	if err != nil {
		return err
	}
	if o.attest {
		evidence, err := report.Evidence(scan)
		if err != nil {
			return err
		}
		if err := ledger.Attach(ctx, env.home(), found.Ref, found.Image, evidence); err != nil {
			return err
		}
	}
	if err := write(scan); err != nil {
		return err
	}
	return failed(scan, rule, o.failOn)
}

// failed gives an error of kind Denied for a scan that the rule, as it was written, fails.
func failed(scan report.Scan, rule report.Rule, failOn string) error {
	if failing := rule.Failing(scan.Findings); len(failing) > 0 {
		fail := "fail"
		if len(failing) == 1 {
			fail = "fails"
		}
		return fault.Newf(fault.Denied, "scan", scan.Reference,
			fmt.Sprintf("%s %s --fail-on %s, such as %s in %s", plural(len(failing), "finding"), fail, failOn, failing[0].ID, fullName(failing[0].Package))).
			WithHint("mend them as the table says, or tell why they do not count with --vex")
	}
	if missed := scan.Incomplete(); rule.FailsIncomplete() && len(missed) > 0 {
		return fault.Newf(fault.Denied, "scan", scan.Reference, "it is incomplete: "+missed[0]).
			WithHint("add the feeds that are missing: plimsoll feed add --help")
	}
	return nil
}

// writer gives what prints the scan.
func (o scanOptions) writer(env *Env) (func(report.Scan) error, error) {
	switch o.form {
	case "":
		return func(s report.Scan) error {
			return env.print(s, func(w io.Writer) { printScan(w, s, o.all) })
		}, nil
	case "sarif":
		return func(s report.Scan) error { return report.WriteSARIF(env.Out, s) }, nil
	case "cyclonedx":
		return func(s report.Scan) error { return report.WriteCycloneDX(env.Out, s) }, nil
	}
	return nil, fault.Newf(fault.Usage, "read flags", "--format "+o.form, "want sarif or cyclonedx")
}

func printScan(w io.Writer, s report.Scan, all bool) {
	fmt.Fprintf(w, "%s@%s  %s\n", s.Reference, s.Contents.Image, visible(s.Contents.Platform))
	for _, group := range report.Table(s.Findings) {
		fmt.Fprintf(w, "\n%s\nSEVERITY\tADVISORY\tPACKAGE\tINSTALLED\tFIXED\tNOTES\n", strings.ToUpper(group.Title))
		for _, r := range group.Rows {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Severity, visible(r.ID), visible(r.Package()), visible(r.Installed), visible(orDash(r.Fixed)),
				visible(strings.Join(notes(r), ", ")))
		}
	}
	if all {
		printSuppressed(w, s.Findings)
	}
	for _, line := range s.Incomplete() {
		fmt.Fprintf(w, "\n%s\n", visible(line))
	}
	c := report.Count(s.Findings)
	fmt.Fprintf(w, "\n%s: %s; %d can be fixed; %d suppressed\n", plural(c.Total, "finding"), severities(c), c.Fixable, c.Suppressed)
	fmt.Fprintf(w, "advisories of %s\n", day(s.Database.Updated))
}

// severities counts by severity: all findings, of the gravest also that there are none.
func severities(c report.Counts) string {
	var parts []string
	for _, severity := range []artifact.Severity{
		artifact.SeverityCritical, artifact.SeverityHigh, artifact.SeverityMedium, artifact.SeverityLow, artifact.SeverityNone, artifact.SeverityUnknown,
	} {
		if n := c.Severity[severity]; n > 0 || severity.Rank() <= artifact.SeverityLow.Rank() {
			parts = append(parts, fmt.Sprintf("%d %s", n, severity))
		}
	}
	return strings.Join(parts, ", ")
}

// notes are the row's own, and the distribution's word where it says more than that there
// is a fix.
func notes(r report.Row) []string {
	out := r.Notes
	if r.State != "" && r.State != "fixed" && r.State != "affected" {
		out = append(out, r.State)
	}
	return out
}

func printSuppressed(w io.Writer, findings []artifact.Finding) {
	header := "\nSUPPRESSED\nADVISORY\tPACKAGE\tSTATUS\tBECAUSE\tSAYS\n"
	for _, f := range findings {
		if f.Suppressed == nil {
			continue
		}
		because := strings.TrimSpace(f.Suppressed.Justification + " " + f.Suppressed.Statement)
		fmt.Fprintf(w, "%s%s\t%s\t%s\t%s\t%s (%s)\n", header, visible(f.ID), visible(fullName(f.Package)), visible(f.Suppressed.Status),
			visible(orDash(because)), visible(orDash(f.Suppressed.Author)), visible(f.Suppressed.From))
		header = ""
	}
}
