package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/site/served"
)

type registryImportOptions struct {
	file   string
	dryRun bool
}

func newRegistryImport(s *store) *cobra.Command {
	var o registryImportOptions
	cmd := &cobra.Command{
		Use:   "import [NAME...]",
		Short: "Take images of other registries in, now",
		Long: `Import runs the ImageImports of a file, or of the folder imports in $PLIMSOLL_HOME: all, or those
with the names. Of each tag that one wants it verifies what must be signed, copies the image with
what is attached to it, accounts for it, and lets our tag name it last. What is refused on the way
gets no tag, and an older one keeps its own. It may be interrupted and run again.

docs/registry-mirror.md tells more.` + "\n" + exitCodes,
		Example: `  plimsoll registry import -f import.yaml --dry-run
  plimsoll registry import -f import.yaml
  plimsoll registry import nginx redis`,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.with(cmd.Context(), func(reg *registry.Registry) error { return runRegistryImport(cmd.Context(), s.env, reg, o, args) })
		},
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file of ImageImports (default: the home's)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would be taken in, and whether its source's signatures hold; policies are not asked")
	return cmd
}

func runRegistryImport(ctx context.Context, env *Env, reg *registry.Registry, o registryImportOptions, names []string) error {
	bars := env.progress()
	defer bars.close()
	reports, failed := served.Import(ctx, env.home(), reg, served.ImportOptions{
		File: o.file, Names: names, DryRun: o.dryRun,
		Done: func(name string, done, total int) { bars.update("import "+name, done, total) },
	})
	if reports == nil && failed != nil {
		return failed
	}
	if err := env.print(reports, func(w io.Writer) {
		importTable(w, reports)
		if o.dryRun {
			fmt.Fprintln(w, "policies were not asked: they judge what is here")
		}
	}); err != nil {
		return err
	}
	return failed
}

func importTable(w io.Writer, reports []*mirror.Report) {
	fmt.Fprintln(w, "IMPORT\tTAG\tTO\tDIGEST\tRESULT\tSIZE\tWHY")
	for _, r := range reports {
		for _, o := range r.Tags {
			to := ""
			if o.To != "" {
				to = r.Destination + ":" + o.To
			}
			why := append([]string{o.Why}, o.Notes...)
			if o.Remedy != "" {
				why = append(why, "to do: "+o.Remedy)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%.19s\t%s\t%s\t%s\n", r.Name, visible(o.Tag), visible(to), o.Digest, o.Result, size(o.Bytes),
				visible(strings.TrimPrefix(strings.Join(why, "; "), "; ")))
		}
	}
}

func newRegistryImports(s *store) *cobra.Command {
	return &cobra.Command{
		Use:   "imports [NAME]",
		Short: "Say what the home's ImageImports came to; of one, every tag",
		Args:  cobra.MaximumNArgs(1),
		RunE:  func(_ *cobra.Command, args []string) error { return runRegistryImports(s.env, args) },
	}
}

func runRegistryImports(env *Env, names []string) error {
	m := served.Mirror(env.home(), mirror.Options{})
	imports, err := m.Load()
	if err == nil && len(names) > 0 {
		imports, err = served.ChosenImports(m, "", names)
	}
	if err != nil {
		return err
	}
	states := []*mirror.State{}
	for _, i := range imports {
		state, err := m.State(i)
		if err != nil {
			return err
		}
		states = append(states, state)
	}
	return env.print(states, func(w io.Writer) {
		if len(names) > 0 {
			importTags(w, states[0])
			return
		}
		fmt.Fprintln(w, "NAME\tSOURCE\tDESTINATION\tTAGS\tSUCCEEDED\tNEXT\tERROR")
		for _, s := range states {
			fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%s\n", s.Name, s.Source, s.Destination, len(s.Tags), atMinute(s.Succeeded), atMinute(s.Next), visible(s.Error))
		}
	})
}

func importTags(w io.Writer, s *mirror.State) {
	fmt.Fprintln(w, "TAG\tTO\tUPSTREAM\tRESULT\tLOOKED AT\tWHY")
	for _, tag := range slices.Sorted(maps.Keys(s.Tags)) {
		t := s.Tags[tag]
		fmt.Fprintf(w, "%s\t%s\t%.19s\t%s\t%s\t%s\n", visible(tag), visible(t.To), t.Upstream, t.Result, atMinute(t.At), visible(t.Why))
	}
}

// atMinute gives a time for people, "-" for none.
func atMinute(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}
