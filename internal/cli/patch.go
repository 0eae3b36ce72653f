package cli

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/site/remedy"
	"plimsoll.dev/plimsoll/internal/update"
)

// ControlPlane is that of this home, where one runs.
type ControlPlane interface {
	// Images gives what says of a reference whether an Image builds it, and which labels that Image
	// puts upon its own.
	Images(ctx context.Context) (builds func(reference string) bool, labels func(reference string) map[string]string, err error)

	// Declare declares a Patch, and gives nil when its campaign is kept.
	Declare(ctx context.Context, name string, spec v1alpha1.PatchSpec) error

	// Pause says in the Patch of that name whether it is paused; NotFound where there is none.
	Pause(ctx context.Context, name string, paused bool) error
}

func newPatch(env *Env) *cobra.Command {
	return group("patch", "Bring a fix to every image that needs it, in waves, with proof",
		newPatchPlan(env), newPatchApply(env), newPatchStatus(env), newPatchPause(env), newPatchResume(env),
		newPatchFreeze(env), newPatchThaw(env), newPatchReport(env))
}

// patchSelection says what is to be patched.
type patchSelection struct {
	file                 string
	bases, severities    []string
	repositories, except []string
	all, exploited       bool
}

func (o *patchSelection) flags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&o.file, "file", "f", "", "file of a Patch, which also has waves, windows and tests")
	flags.StringArrayVar(&o.bases, "base", nil, "base of which a newer one stands, such as bases/run:1")
	flags.StringSliceVar(&o.severities, "severity", nil, "findings that have a fix: critical, high, medium, low")
	flags.BoolVar(&o.exploited, "exploited", false, "findings that are known to be exploited")
	flags.BoolVar(&o.all, "all", false, "whatever is stale")
	flags.StringArrayVar(&o.repositories, "repository", nil, "repositories to stay in, such as shop/** (default: all)")
	flags.StringArrayVar(&o.except, "except", nil, "repositories to leave out")
}

// patch gives the Patch that the flags and arguments say; its name is "" where they give none.
func (o *patchSelection) patch(advisories []string) (v1alpha1.Patch, error) {
	var p v1alpha1.Patch
	selected := len(advisories)+len(o.bases)+len(o.severities)+len(o.repositories)+len(o.except) > 0 || o.all || o.exploited
	if o.file != "" {
		if selected {
			return p, fault.Newf(fault.Usage, "read arguments", "patch", "there are both a --file and what to patch").WithHint("say it in the file")
		}
		return readPatch(o.file)
	}
	p.Spec.Target = v1alpha1.PatchTarget{Advisories: advisories, Severities: o.severities, Exploited: o.exploited, Bases: o.bases, All: o.all}
	p.Spec.Scope = v1alpha1.PatchScope{Repositories: o.repositories, Except: o.except}
	if len(advisories)+len(o.bases)+len(o.severities) == 0 && !o.all && !o.exploited {
		return p, fault.Newf(fault.Usage, "read arguments", "patch", "it is not said what to patch").
			WithHint("name advisories, --severity, --exploited, --base REF, or --all")
	}
	for _, s := range o.severities {
		if !slices.Contains([]string{"critical", "high", "medium", "low"}, s) {
			return p, fault.Newf(fault.Usage, "read flags", "--severity "+s, "want critical, high, medium or low")
		}
	}
	return p, nil
}

func readPatch(path string) (v1alpha1.Patch, error) {
	var p v1alpha1.Patch
	text, err := manifest.ReadFile(path)
	if err != nil {
		return p, err
	}
	wrong := func(err error) error {
		return fault.New(fault.Usage, "read patch", path, err).WithHint("docs/patch.md shows what it may say")
	}
	d, err := manifest.Decode(text, v1alpha1.PatchKind, &p)
	if err != nil {
		return p, wrong(err)
	}
	if problem := manifest.CheckHeader(p.TypeMeta, v1alpha1.PatchKind, p.Name); problem != nil {
		return p, wrong(d.Wrong(problem))
	}
	if p.Spec.Automatic {
		return p, fault.Newf(fault.Usage, "read patch", path, "spec.automatic is for a Patch that stands in a control plane").
			WithHint("declare it there: plimsoll kubectl apply -f " + path)
	}
	return p, nil
}

var notOfPatches = regexp.MustCompile(`[^a-z0-9]+`)

// patchName gives a name that follows from what is patched.
func patchName(t v1alpha1.PatchTarget) string {
	words := slices.Concat(t.Advisories, t.Bases, t.Severities)
	if t.Exploited {
		words = append(words, "exploited")
	}
	if t.All {
		words = append(words, "all")
	}
	text := notOfPatches.ReplaceAllString(strings.ToLower(strings.Join(words, "-")), "-")
	return strings.Trim(text[:min(len(text), 63)], "-")
}

// controlPlane gives that of this home; nil where none runs.
func (env *Env) controlPlane(ctx context.Context) (ControlPlane, error) {
	if env.ControlPlane == nil {
		return nil, nil
	}
	return env.ControlPlane(ctx)
}

// campaigns opens the update engine of the home. It works at campaigns only when works is true: else
// it knows of them.
func (env *Env) campaigns(ctx context.Context, up ControlPlane, works bool) (*update.Engine, error) {
	own, err := os.Executable()
	if err != nil {
		return nil, err
	}
	o := remedy.Home{Site: env.Site()}.Options()
	o.Tester = remedy.Tester{Site: env.Site(), Probe: remedy.Probe(filepath.Dir(own))}
	if !works {
		o.Remedier = nil
	}
	if up != nil {
		if o.Plan.Builds, o.Plan.Labels, err = up.Images(ctx); err != nil {
			return nil, err
		}
	}
	inv, err := env.home().Inventory(ctx)
	if err != nil {
		return nil, err
	}
	return update.Open(ctx, inv, env.home().InventoryAddress(), o)
}

// engine opens the update engine to ask it, and to have it do what a moment takes.
func (env *Env) engine(ctx context.Context) (*update.Engine, error) {
	return env.campaigns(ctx, nil, false)
}
