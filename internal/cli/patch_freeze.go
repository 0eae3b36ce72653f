package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/fault"
)

func newPatchFreeze(env *Env) *cobra.Command {
	var o struct {
		owner, reason, until string
		lasts                time.Duration
	}
	cmd := &cobra.Command{
		Use:   "freeze --reason TEXT --until TIME",
		Short: "Let no patch of this site begin anything for a time",
		Long: `Freeze stops all campaigns of the site, those of its control plane too: what is under way ends, and
nothing more begins until the freeze does. It always has an owner, a reason and an end.` + "\n" + exitCodes,
		Example: `  plimsoll patch freeze --owner ops --reason "the fair" --until 2026-12-24
  plimsoll patch freeze --reason "looking into it" --for 2h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.until == "" && o.lasts == 0 {
				return fault.Newf(fault.Usage, "read flags", "patch freeze", "it is not said when it ends").WithHint("add --until or --for")
			}
			end := time.Now().Add(o.lasts)
			if o.until != "" {
				var err error
				if end, err = moment("--until", o.until); err != nil {
					return err
				}
			}
			return runPatchFreeze(cmd.Context(), env, cmp.Or(o.owner, env.Getenv("USER")), o.reason, end)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.owner, "owner", "", "who answers for it (default: $USER)")
	flags.StringVar(&o.reason, "reason", "", "why, for whoever wonders")
	flags.StringVar(&o.until, "until", "", "day or moment at which it ends")
	flags.DurationVar(&o.lasts, "for", 0, "how long it lasts, such as 2h")
	_ = cmd.MarkFlagRequired("reason")
	cmd.MarkFlagsMutuallyExclusive("until", "for")
	return cmd
}

func runPatchFreeze(ctx context.Context, env *Env, owner, reason string, until time.Time) error {
	if owner == "" {
		return fault.Newf(fault.Usage, "read flags", "--owner", "it is not known who you are").WithHint("say who answers for it: --owner NAME")
	}
	if !until.After(time.Now()) {
		return fault.Newf(fault.Usage, "read flags", "--until", "a freeze ends in the future")
	}
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	f, err := engine.Freeze(ctx, owner, reason, until)
	if err != nil {
		return err
	}
	return env.print(f, func(w io.Writer) {
		fmt.Fprintf(w, "nothing begins until %s; `plimsoll patch thaw` ends it sooner\n", clock(f.Until))
	})
}

func newPatchThaw(env *Env) *cobra.Command {
	return &cobra.Command{
		Use:     "thaw",
		Short:   "End all freezes",
		Example: "  plimsoll patch thaw",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runPatchThaw(cmd.Context(), env) },
	}
}

func runPatchThaw(ctx context.Context, env *Env) error {
	engine, err := env.engine(ctx)
	if err != nil {
		return err
	}
	defer engine.Close()
	n, err := engine.Thaw(ctx, cmp.Or(env.Getenv("USER"), "somebody"))
	if err != nil {
		return err
	}
	return env.print(map[string]int64{"ended": n}, func(w io.Writer) { fmt.Fprintf(w, "%s ended\n", plural(int(n), "freeze")) })
}
