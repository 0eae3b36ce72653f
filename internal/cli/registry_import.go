package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/retention"
)

// mirror gives what takes images of other registries into this one, with what the options add.
func (env *Env) mirror(o mirror.Options) *mirror.Mirror {
	env.keychain() // now, for several will want it at once
	o.Registries, o.Dir, o.Verify, o.Getenv = env.Registries, filepath.Join(env.Home, "imports"), env.verifyUpstream, env.Getenv
	return mirror.New(o)
}

// served gives the registries whose local one is that, behind those doors.
func (env *Env) served(reg *registry.Registry, doors ...func(http.Handler) http.Handler) *oci.Registries {
	local := reg.TransportThrough(doors...)
	return &oci.Registries{
		Local: func(context.Context) (http.RoundTripper, error) { return local, nil },
		Keys:  env.Registries.Keys, Agent: env.Registries.Agent, Remote: env.Registries.Remote,
	}
}

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
			said, err := s.env.registrySettings(slog.New(slog.DiscardHandler))
			if err != nil {
				return err
			}
			return s.with(cmd.Context(), registry.Options{}, func(reg *registry.Registry) error {
				here := *s.env
				here.Registries = here.served(reg, retention.NewImmutable(reg, said.Now).Door)
				return runRegistryImport(cmd.Context(), &here, o, args)
			})
		},
	}
	cmd.Flags().StringVarP(&o.file, "file", "f", "", "file of ImageImports (default: the home's)")
	cmd.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would be taken in, and whether its source's signatures hold; policies are not asked")
	return cmd
}

func runRegistryImport(ctx context.Context, env *Env, o registryImportOptions, names []string) error {
	judges, err := env.importJudge(ctx)
	if err != nil {
		return err
	}
	var named []string
	m := env.mirror(mirror.Options{
		Account: judges, Named: func(repository, tag, _ string) { named = append(named, repository+":"+tag) },
	})
	imports, err := chosenImports(m, o.file, names)
	if err != nil {
		return err
	}
	bars := env.progress()
	defer bars.close()
	var reports []*mirror.Report
	var failed error
	for _, i := range imports {
		options := mirror.ImportOptions{DryRun: o.dryRun, Done: func(_ mirror.Outcome, done, total int) { bars.update("import "+i.Name, done, total) }}
		report, err := m.Import(ctx, i, options)
		if report != nil {
			reports = append(reports, report)
		}
		if err == nil {
			err = report.Err()
		}
		failed = worse(failed, err)
	}
	for _, ref := range named {
		env.remember(ctx, ref)
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

// worse gives the error that says more of what is to be done: what is denied is so by intent.
func worse(a, b error) error {
	if b == nil || a != nil && fault.KindOf(a) != fault.Denied {
		return a
	}
	return b
}

// chosenImports reads the file, or the home's, and gives those with the names.
func chosenImports(m *mirror.Mirror, file string, names []string) ([]*mirror.Import, error) {
	load := m.Load
	if file != "" {
		load = func() ([]*mirror.Import, error) { return mirror.ReadImports(file) }
	}
	all, err := load()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(i *mirror.Import) bool { return i.Name == name }) {
			return nil, fault.Newf(fault.NotFound, "choose imports", name, "there is no such ImageImport").
				WithHint("`plimsoll registry imports` lists those of the home")
		}
	}
	if len(names) > 0 {
		all = slices.DeleteFunc(all, func(i *mirror.Import) bool { return !slices.Contains(names, i.Name) })
	}
	if len(all) == 0 {
		return nil, fault.Newf(fault.Usage, "choose imports", file, "there is no ImageImport").
			WithHint("name a file with -f, or put it into the folder imports of the home")
	}
	return all, nil
}

// importJudge gives what holds an image against this home's policies before a tag names it; nil
// where there are none.
func (env *Env) importJudge(ctx context.Context) (func(context.Context, oci.Reference) error, error) {
	set, err := env.policies(policyOptions{})
	if errors.Is(err, errNoPolicies) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g, err := env.gatherer(ctx)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, ref oci.Reference) error {
		known, err := g.fleet(ctx, ref)
		if err != nil {
			return err
		}
		verdict := known.decide(set, policy.Where{}, time.Now())
		return checked{Ref: ref.String(), Gate: artifact.GateRegistry, Action: verdict.At(artifact.GateRegistry), Verdict: verdict}.err()
	}, nil
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
	m := env.mirror(mirror.Options{})
	imports, err := m.Load()
	if err == nil && len(names) > 0 {
		imports, err = chosenImports(m, "", names)
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
