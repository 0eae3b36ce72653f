package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/quota"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/registry/settings"
	"plimsoll.dev/plimsoll/internal/site/served"
)

func newRegistryRetention(s *store) *cobra.Command {
	return group("retention", "Remove the tags that no rule of their project keeps", newRetentionRun(s))
}

func newRetentionRun(s *store) *cobra.Command {
	var o retentionOptions
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Apply the rules now, and collect what is garbage then",
		Long: `Run applies the rules that registry.yaml has for each project: it removes the tags that no rule keeps,
then the manifests that nothing holds any more, with what is attached to them, and the blobs that
nobody needs. It may run beside servers and pushes; a tag that moves meanwhile stays.

A server does the same by spec.keeping.schedule. docs/registry-operations.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll registry retention run --dry-run
  plimsoll registry retention run`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runRetention(cmd.Context(), s, o) },
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.dryRun, "dry-run", false, "only say what would be removed")
	flags.DurationVar(&o.grace, "grace", time.Hour, "spare what is younger: longer than a push takes")
	return cmd
}

type retentionOptions struct {
	dryRun bool
	grace  time.Duration
}

func runRetention(ctx context.Context, s *store, o retentionOptions) error {
	return s.with(ctx, func(reg *registry.Registry) error {
		report, err := served.Retain(ctx, s.env.home(), reg, served.RetainOptions{DryRun: o.dryRun, Grace: o.grace, Logger: s.env.warningLog()})
		if err != nil {
			return err
		}
		return s.env.print(report, func(w io.Writer) { printRetention(w, report) })
	})
}

func printRetention(w io.Writer, r retention.Report) {
	fmt.Fprintln(w, "REPOSITORY\tTAG\tDIGEST\tPUSHED")
	for _, t := range r.Removed {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", t.Repository, t.Tag, t.Digest, t.Pushed.UTC().Format(time.DateTime))
	}
	verb := "removed"
	if r.DryRun {
		verb = "would be removed"
	}
	fmt.Fprintf(w, "\n%d tags %s and %d kept in %d repositories that rules cover; %d manifests and %d blobs (%s) collected\n",
		len(r.Removed), verb, r.Kept, r.Repositories, r.Collected.Manifests, r.Collected.Blobs, size(r.Collected.Bytes))
}

func newRegistryUsage(s *store) *cobra.Command {
	return &cobra.Command{
		Use:   "usage",
		Short: "Show what each project holds, and may hold",
		Long: `Usage counts what is in the store: a blob once for each project that has it, with uploads under way.
A project without a name stands for the repositories that belong to none.` + "\n" + exitCodes,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := served.SettingsNow(s.env.home())
			if err != nil {
				return err
			}
			return s.with(cmd.Context(), func(reg *registry.Registry) error {
				quotas, err := quota.Open(cmd.Context(), reg, func() *settings.Settings { return said }, quota.Options{})
				if err != nil {
					return err
				}
				all := quotas.Usage()
				return s.env.print(all, func(w io.Writer) { printUsage(w, all) })
			})
		},
	}
}

func printUsage(w io.Writer, all []quota.Usage) {
	fmt.Fprintln(w, "PROJECT\tBYTES\tOF\tUPLOADS\tREPOSITORIES\tOF\tTAGS\tOF")
	most := func(n int64, text string) string {
		if n == 0 {
			return "-"
		}
		return text
	}
	for _, u := range all {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%d\t%s\n", cmp.Or(u.Project, "-"), size(u.Bytes), most(u.BytesLimit, size(u.BytesLimit)), size(u.Reserved),
			u.Repositories, most(int64(u.RepositoriesLimit), fmt.Sprint(u.RepositoriesLimit)), u.Tags, most(int64(u.TagsLimit), fmt.Sprint(u.TagsLimit)))
	}
}
