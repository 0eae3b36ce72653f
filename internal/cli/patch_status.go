package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory/campaigns"
	"plimsoll.dev/plimsoll/internal/update"
)

func newPatchStatus(env *Env) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Say how far patches are, what is left and why",
		Long: `Status lists the newest campaigns, or tells of one: its waves, when it will be done at the pace so
far, and of the images that are not done what is the matter with them.` + "\n" + exitCodes,
		Example: `  plimsoll patch status
  plimsoll patch status ssl
  plimsoll patch status ssl --all -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return runPatchList(cmd.Context(), env)
			}
			return runPatchStatus(cmd.Context(), env, args[0], all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "list all images, and those that are done")
	return cmd
}

// newestPatches is how many campaigns are listed.
const newestPatches = 50

func runPatchList(ctx context.Context, env *Env) error {
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	list, err := engine.List(ctx, newestPatches)
	if err != nil {
		return err
	}
	return env.print(list, func(w io.Writer) {
		fmt.Fprintln(w, "PATCH\tRUN\tPHASE\tWAVE\tIMAGES\tDONE\tFAILED\tNO FIX\tESTIMATED\tWHY")
		for _, s := range list {
			c := s.Counts
			fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%d\t%d\t%d\t%d\t%s\t%s\n", visible(s.Patch), s.Run, s.Phase, orDash(s.WaveName), c.Total, c.Done, c.Failed, c.Unfixable,
				orDash(clock(s.Estimate)), visible(orDash(s.Why)))
		}
	})
}

// patchStatus is a campaign as scripts see it.
type patchStatus struct {
	update.Status
	Images []update.Item `json:"images,omitempty"` // that are not done, or all
	More   bool          `json:"more,omitempty"`   // there are more than are listed
}

// shownImages is how many images are listed unless all are wanted.
const shownImages = 100

func runPatchStatus(ctx context.Context, env *Env, name string, all bool) error {
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	out := patchStatus{}
	if out.Status, err = engine.Status(ctx, name); err != nil {
		return err
	}
	filter := campaigns.Filter{Wave: -1}
	if !all {
		filter.Limit = shownImages + 1
		filter.States = []campaigns.State{campaigns.Failed, campaigns.Moving, campaigns.Returning, campaigns.RolledBack, campaigns.Planned, campaigns.Skipped}
	}
	for {
		items, err := engine.Items(ctx, out.Campaign, filter)
		if err != nil {
			return err
		}
		out.Images = append(out.Images, items...)
		if len(items) == 0 || !all {
			break
		}
		filter.After = items[len(items)-1].Number
	}
	if !all && len(out.Images) > shownImages {
		out.Images, out.More = out.Images[:shownImages], true
	}
	return env.print(out, func(w io.Writer) { printPatchStatus(w, out) })
}

func printPatchStatus(w io.Writer, s patchStatus) {
	c := s.Counts
	fmt.Fprintf(w, "patch\t%s, run %d\n", visible(s.Patch), s.Run)
	fmt.Fprintf(w, "phase\t%s", s.Phase)
	if s.Why != "" {
		fmt.Fprintf(w, ": %s%s", visible(s.Why), until(s.Due))
	}
	fmt.Fprintf(w, "\nimages\t%d: %d done, %d under way, %d planned, %d failed, %d left as they are\n", c.Total, c.Done, c.Moving, c.Planned, c.Failed, c.Skipped+c.RolledBack)
	if !s.Estimate.IsZero() {
		fmt.Fprintf(w, "estimated\t%s\n", clock(s.Estimate))
	}
	for _, f := range s.Frozen {
		fmt.Fprintf(w, "frozen\tuntil %s by %s: %s\n", clock(f.Until), visible(f.Owner), visible(f.Reason))
	}
	if s.Report != "" {
		fmt.Fprintf(w, "report\t%s\n", s.Report)
	}
	if len(s.Waves) > 0 {
		fmt.Fprintln(w, "\nWAVE\tIMAGES\tDONE\tFAILED")
		for _, wave := range s.Waves {
			fmt.Fprintf(w, "%s\t%d\t%d\t%d\n", wave.Name, wave.Images, wave.Done, wave.Failed)
		}
	}
	if len(s.Images) == 0 {
		return
	}
	fmt.Fprintln(w, "\nIMAGE\tREMEDY\tSTATE\tWHY")
	for _, i := range s.Images {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", visible(i.Reference), i.Remedy, i.State, visible(orDash(cmp.Or(i.Error, i.Why))))
	}
	if s.More {
		fmt.Fprintln(w, "and more: --all lists them")
	}
}

func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Local().Format(time.DateTime)
}

func newPatchPause(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "pause NAME",
		Short:   "Begin nothing more of a patch; what is under way ends",
		Example: "  plimsoll patch pause ssl",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPatchPause(cmd.Context(), env, args[0]) },
	}
}

func newPatchResume(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:   "resume NAME",
		Short: "Go on with a patch that was paused or interrupted",
		Long: `Resume ends a pause. Where no control plane runs, it then works at the patch until that has ended.` +
			"\n" + exitCodes,
		Example: "  plimsoll patch resume ssl",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runPatchResume(cmd.Context(), env, args[0]) },
	}
}

func runPatchPause(ctx context.Context, env *Env, name string) error {
	up, err := env.controlPlane(ctx)
	if err != nil {
		return err
	}
	if up != nil {
		if err := up.Pause(ctx, name, true); fault.KindOf(err) != fault.NotFound || err == nil {
			return err
		}
	}
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	return engine.Pause(ctx, name)
}

func runPatchResume(ctx context.Context, env *Env, name string) error {
	up, err := env.controlPlane(ctx)
	if err != nil {
		return err
	}
	if up != nil {
		if err := up.Pause(ctx, name, false); fault.KindOf(err) != fault.NotFound || err == nil {
			return err
		}
	}
	engine, err := env.campaigns(ctx, up, up == nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	if err := engine.Resume(ctx, name); err != nil || up != nil {
		return err
	}
	return follow(ctx, env, engine, name, true)
}
