package served

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/registry"
	"plimsoll.dev/plimsoll/internal/registry/call"
	"plimsoll.dev/plimsoll/internal/registry/mirror"
	"plimsoll.dev/plimsoll/internal/registry/retention"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
	"plimsoll.dev/plimsoll/internal/site/verify"
)

// Mirror gives what takes images of other registries into this one, with what the options add.
func Mirror(h *home.Home, o mirror.Options) *mirror.Mirror {
	o.Registries, o.Dir, o.Getenv = h.Registries, h.Path("imports"), h.Getenv
	o.Verify = func(ctx context.Context, session *oci.Session, ref oci.Reference, wanted v1alpha1.UpstreamVerification) error {
		return verify.Upstream(ctx, h, session, ref, wanted)
	}
	return mirror.New(o)
}

// through gives the registries whose local one is that, behind those doors.
func through(h *home.Home, reg *registry.Registry, doors ...func(http.Handler) http.Handler) *oci.Registries {
	local := reg.TransportThrough(doors...)
	return &oci.Registries{
		Local: func(context.Context) (http.RoundTripper, error) { return local, nil },
		Keys:  h.Registries.Keys, Agent: h.Registries.Agent, Remote: h.Registries.Remote,
	}
}

// ImportOptions are what Import may be told.
type ImportOptions struct {
	File   string                             // of ImageImports; "" is the home's folder of them
	Names  []string                           // those that are to run; none is all
	DryRun bool                               // only say what would be taken in; policies are not asked
	Done   func(name string, done, total int) // hears of each tag of an import; nil hears nothing
}

// Import runs ImageImports now, into the store of the home. The reports are of those that ran, as
// far as they came; the error says the most of what is to be done.
func Import(ctx context.Context, h *home.Home, reg *registry.Registry, o ImportOptions) ([]*mirror.Report, error) {
	said, err := Settings(h, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	h = h.Through(through(h, reg, call.Keep, retention.NewImmutable(reg, said.Now).Door))
	account, err := importJudge(ctx, h)
	if err != nil {
		return nil, err
	}
	var named []string
	m := Mirror(h, mirror.Options{
		Account: account, Named: func(repository, tag, _ string) { named = append(named, repository+":"+tag) },
	})
	imports, err := ChosenImports(m, o.File, o.Names)
	if err != nil {
		return nil, err
	}
	var reports []*mirror.Report
	var failed error
	for _, i := range imports {
		options := mirror.ImportOptions{DryRun: o.DryRun}
		if o.Done != nil {
			options.Done = func(_ mirror.Outcome, done, total int) { o.Done(i.Name, done, total) }
		}
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
		judge.Remember(ctx, h, ref)
	}
	return reports, failed
}

// worse gives the error that says more of what is to be done: what is denied is so by intent.
func worse(a, b error) error {
	if b == nil || a != nil && fault.KindOf(a) != fault.Denied {
		return a
	}
	return b
}

// ChosenImports reads the file, or the home's, and gives those with the names.
func ChosenImports(m *mirror.Mirror, file string, names []string) ([]*mirror.Import, error) {
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
func importJudge(ctx context.Context, h *home.Home) (func(context.Context, oci.Reference) error, error) {
	set, err := h.Policies(home.PolicySource{})
	if errors.Is(err, home.ErrNoPolicies) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g, err := judge.NewGatherer(ctx, h)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, ref oci.Reference) error {
		known, err := g.Fleet(ctx, ref)
		if err != nil {
			return err
		}
		return judge.Denial(known.Decide(set, policy.Where{}, time.Now()), artifact.GateRegistry, ref.String())
	}, nil
}
