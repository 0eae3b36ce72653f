package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/update"
)

func newPatchPlan(env *Env) *cobra.Command {
	var o patchSelection
	images := false
	cmd := &cobra.Command{
		Use:   "plan [ADVISORY...]",
		Short: "Say what a patch would do; nothing moves",
		Long: `Plan asks the inventory which images are meant, finds the cheapest sound remedy for each, and shows
how far it would reach: images, teams, remedies, bytes, time, and what stays and why.

docs/patch.md tells all.` + "\n" + exitCodes,
		Example: `  plimsoll patch plan CVE-2026-0001
  plimsoll patch plan --severity critical,high --repository 'shop/**'
  plimsoll patch plan --base bases/run:1 -o json
  plimsoll patch plan -f patch.yaml --images`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return runPatchPlan(cmd.Context(), env, o, args, images)
		},
	}
	o.flags(cmd)
	cmd.Flags().BoolVar(&images, "images", false, "list every image, too")
	return cmd
}

// shownPlan is a plan as scripts see it.
type shownPlan struct {
	*update.Plan
	Images []update.Item `json:"images,omitempty"`
}

func runPatchPlan(ctx context.Context, env *Env, o patchSelection, args []string, images bool) error {
	p, err := o.patch(args)
	if err != nil {
		return err
	}
	up, err := env.controlPlane(ctx)
	if err != nil {
		return err
	}
	engine, err := env.campaigns(ctx, up, false)
	if err != nil {
		return err
	}
	defer engine.Close()
	plan, err := engine.Plan(ctx, p.Spec)
	if err != nil {
		return err
	}
	shown := shownPlan{Plan: plan}
	if images {
		shown.Images = plan.Items(0, plan.Len())
	}
	return env.print(shown, func(w io.Writer) { printPlan(w, shown) })
}

func printPlan(w io.Writer, p shownPlan) {
	r := p.Radius
	fmt.Fprintf(w, "images\t%d\n", r.Images)
	for _, remedy := range []artifact.Remedy{artifact.RemedyRebase, artifact.RemedyRebuild, artifact.RemedyOverride, artifact.RemedyNone} {
		if n := r.Remedies[remedy]; n > 0 {
			fmt.Fprintf(w, "  %s\t%d\n", remedy, n)
		}
	}
	fmt.Fprintf(w, "bytes\t%s%s\n", atMost(r.Bound), size(r.Bytes))
	fmt.Fprintf(w, "time\t%s\n", estimated(r))
	table := func(title string, rows []update.Share) {
		if len(rows) == 0 {
			return
		}
		fmt.Fprintf(w, "\n%s\tIMAGES\n", title)
		for _, row := range rows {
			fmt.Fprintf(w, "%s\t%d\n", visible(orDash(row.Name)), row.Images)
		}
	}
	table("TEAM", r.Teams)
	table("WAVE", r.Waves)
	if len(r.Bases) > 0 {
		fmt.Fprintln(w, "\nONTO BASE\tFROM\tTO\tIMAGES\tNEW IN IT")
		for _, b := range r.Bases {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\n", visible(b.Name), short(b.From), short(b.To), b.Images, size(b.Bytes))
		}
	}
	if len(r.Overrides) > 0 {
		fmt.Fprintln(w, "\nOVERRIDE\tFLOOR\tIMAGES\tFOR")
		for _, o := range r.Overrides {
			fmt.Fprintf(w, "%s %s\t%s\t%d\t%s\n", o.Ecosystem, visible(o.Package), visible(o.Version), o.Images, visible(strings.Join(o.Advisories, ", ")))
		}
	}
	if len(r.First) > 0 {
		fmt.Fprintln(w, "\nbuild these bases again first, then plan again:")
		for _, base := range r.First {
			fmt.Fprintf(w, "  %s\n", visible(base))
		}
	}
	if len(r.Unfixed) > 0 {
		fmt.Fprintln(w, "\nSTAYS\tSEVERITY\tPACKAGE\tIMAGES\tWHY")
		for _, u := range r.Unfixed {
			fmt.Fprintf(w, "%s\t%s\t%s %s\t%d\t%s\n", visible(u.Advisory), u.Severity, visible(u.Package), visible(u.Version), u.Images, visible(u.Why))
		}
	}
	if len(p.Images) > 0 {
		fmt.Fprintln(w, "\nIMAGE\tTEAM\tREMEDY\tFIXES\tWHY NOT")
		for _, i := range p.Images {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", visible(i.Reference), visible(orDash(i.Team)), i.Remedy, visible(orDash(causes(i.Fixes))), visible(orDash(i.Why)))
		}
	}
}

func atMost(bound bool) string {
	if bound {
		return "at most "
	}
	return ""
}

// estimated says how long the work takes, and how well that is known.
func estimated(r update.Radius) string {
	text := "about " + r.Estimate.Round(time.Second).String()
	if !r.Measured {
		text += ", assumed: nothing like it was done here yet"
	}
	return text
}

// causes names what is fixed; of many the first.
func causes(all []update.Cause) string {
	const shown = 3
	var names []string
	for _, c := range all[:min(len(all), shown)] {
		names = append(names, c.Advisory+" "+c.Package)
	}
	text := strings.Join(names, ", ")
	if more := len(all) - shown; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// idle says whether a plan does nothing.
func idle(p *update.Plan) bool { return p.Radius.Images == p.Radius.Remedies[artifact.RemedyNone] }

// sameSpec says whether two specs mean the same campaign.
func sameSpec(a, b v1alpha1.PatchSpec) bool {
	a.Paused, b.Paused = false, false
	one, _ := json.Marshal(a) // it is plain data
	other, _ := json.Marshal(b)
	return bytes.Equal(one, other)
}
