package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/update"
)

func newPatchApply(env *Env) *cobra.Command {
	var o patchSelection
	name := ""
	cmd := &cobra.Command{
		Use:   "apply [ADVISORY...]",
		Short: "Patch: carry out what plan shows, wave by wave",
		Long: `Apply plans, shows the plan, and carries it out. Where this home's control plane runs, it declares a
Patch there and follows it; else it works itself until all is done. Interrupted or killed, it is
taken up where it was by the same command, or by ` + "`plimsoll patch resume`" + `.

It fails when images do: what they are and why is told by ` + "`plimsoll patch status NAME`" + `.
docs/patch.md tells all.` + "\n" + exitCodes,
		Example: `  plimsoll patch apply CVE-2026-0001
  plimsoll patch apply --base bases/run:1 --name ssl
  plimsoll patch apply -f patch.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := o.patch(args)
			if err != nil {
				return err
			}
			return runPatchApply(cmd.Context(), env, cmp.Or(name, p.Name, patchName(p.Spec.Target)), p.Spec)
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&name, "name", "", "name of the patch (default: that of the file, or made of what is patched)")
	return cmd
}

func runPatchApply(ctx context.Context, env *Env, name string, spec v1alpha1.PatchSpec) error {
	up, err := env.controlPlane(ctx)
	if err != nil {
		return err
	}
	engine, err := env.campaigns(ctx, up, up == nil)
	if err != nil {
		return err
	}
	defer engine.Close()
	s, err := engine.Status(ctx, name)
	if err != nil && fault.KindOf(err) != fault.NotFound {
		return err
	}
	if err == nil && s.Ended.IsZero() && sameSpec(s.Spec, spec) {
		return follow(ctx, env, engine, name, up == nil) // it was begun before
	}
	plan, err := engine.Plan(ctx, spec)
	if err != nil {
		return err
	}
	if env.format == "" {
		if err := env.print(nil, func(w io.Writer) { printPlan(w, shownPlan{Plan: plan}) }); err != nil {
			return err
		}
	}
	if idle(plan) {
		return nothingToDo(env, plan)
	}
	if up == nil {
		_, err = engine.ApplyPlan(ctx, name, spec, plan)
	} else {
		err = up.Declare(ctx, name, spec)
	}
	if err != nil {
		return err
	}
	return follow(ctx, env, engine, name, up == nil)
}

// nothingToDo says so. That something stays is no failure of the command: nothing was tried.
func nothingToDo(env *Env, plan *update.Plan) error {
	if env.format != "" {
		return env.print(shownPlan{Plan: plan}, nil)
	}
	fmt.Fprintln(env.Out, "\nthere is nothing to do")
	return nil
}

// follow shows how a campaign goes until it has ended, and works at it where nobody else does. Its
// error says that not all went well.
func follow(ctx context.Context, env *Env, engine *update.Engine, name string, works bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	worked := make(chan struct{})
	if works {
		go func() {
			defer close(worked)
			if err := engine.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				cancel(err)
			}
		}()
	} else {
		close(worked)
	}
	last, err := watch(ctx, env, engine, name)
	cause := context.Cause(ctx)
	cancel(nil)
	<-worked
	switch {
	case err != nil && cause != nil:
		return cause
	case err != nil:
		return err
	}
	if err := env.print(last, func(w io.Writer) { printOutcome(w, last) }); err != nil {
		return err
	}
	if last.Phase != v1alpha1.PatchDone || last.Counts.Failed > 0 {
		return fault.Newf(fault.Failed, "patch", name, cmp.Or(last.Why, fmt.Sprintf("%d of %d images failed", last.Counts.Failed, last.Counts.Total))).
			WithHint("`plimsoll patch status " + name + "` says what is left and why")
	}
	return nil
}

// watch gives the status of a campaign when it has ended and its report is written.
func watch(ctx context.Context, env *Env, engine *update.Engine, name string) (update.Status, error) {
	progress := env.progress()
	defer progress.close()
	told := ""
	err := engine.Follow(ctx, name, func(s update.Status) {
		for _, wave := range s.Waves {
			if wave.Done+wave.Failed > 0 || wave.Name == s.WaveName {
				progress.update("wave "+wave.Name, int(wave.Done+wave.Failed), int(wave.Images))
			}
		}
		if s.Ended.IsZero() && s.Why != "" && s.Why != told && env.format == "" {
			fmt.Fprintf(env.Err, "%s: %s%s\n", s.Phase, visible(s.Why), until(s.Due))
			told = s.Why
		}
	})
	if err != nil {
		return update.Status{}, err
	}
	const reported = 30 * time.Second // it is written within a moment
	for began := time.Now(); ; {
		s, err := engine.Status(ctx, name)
		if err != nil || s.Report != "" || time.Since(began) > reported {
			return s, err
		}
		select {
		case <-ctx.Done():
			return s, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func until(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return " until " + t.Local().Format(time.DateTime)
}

func printOutcome(w io.Writer, s update.Status) {
	c := s.Counts
	fmt.Fprintf(w, "\n%s: %s of %d remedied in %s", s.Phase, plural(int(c.Done), "image"), c.Total, s.Ended.Sub(s.Started).Round(time.Second))
	for _, part := range []struct {
		n    int64
		text string
	}{{c.Failed, "failed"}, {c.RolledBack, "rolled back"}, {c.Skipped, "left as they are"}, {c.Planned, "not begun"}} {
		if part.n > 0 {
			fmt.Fprintf(w, ", %d %s", part.n, part.text)
		}
	}
	fmt.Fprintf(w, "\nproof: plimsoll patch report %s --verify\n", s.Patch)
}
