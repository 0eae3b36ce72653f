package update

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
)

// PlanOptions are what NewPlan may be told.
type PlanOptions struct {
	// Builds says whether the image of that tag can be built again here. nil: those can that
	// say where their source is.
	Builds func(reference string) bool

	// Labels gives those that are put upon the labels of an image's configuration: what the Image says
	// that publishes under that tag. nil: none are.
	Labels func(reference string) map[string]string

	// Base gives the name by which the inventory knows a base that a patch names. nil: it is the same.
	Base func(name string) string

	// BaseBytes gives how many bytes of layers a base has that another has not: what the
	// registry and every host fetch once. nil: the whole base is said, as a bound.
	BaseBytes func(ctx context.Context, name, from, to string) (int64, error)

	// Inputs is a text for all that decides what comes of building again beside what the plan
	// itself names: the digests of builders.
	Inputs string

	// Tried are the attempts of items that are left out, for the same was tried before with
	// the same inputs.
	Tried map[[16]byte]bool
}

// named gives the name by which the inventory knows a base.
func (o PlanOptions) named(base string) string {
	if o.Base == nil {
		return base
	}
	return o.Base(base)
}

// Plan says what would be done with which images. It is the same for the same inventory.
type Plan struct {
	// Digest is over all that would be done: two plans with the same do the same.
	Digest string `json:"digest"`
	Radius Radius `json:"radius"`

	names  []string // of waves
	rows   []row    // in running order
	bases  []string // that must be built first
	inputs string
}

// row is an item in few bytes, for there may be a hundred thousand.
type row struct {
	reference string
	team      string
	digest    [sha256.Size]byte
	*decision
	wave int
}

// NewPlan finds the images that the target means, and the cheapest sound remedy for each.
func NewPlan(ctx context.Context, inv *inventory.Inventory, spec v1alpha1.PatchSpec, o PlanOptions) (*Plan, error) {
	p, err := newPlanner(spec, o)
	if err != nil {
		return nil, err
	}
	if err := inv.Exposed(ctx, p.exposure(), p.take); err != nil {
		return nil, err
	}
	p.joinPlatforms()
	p.leaveOut()
	p.assign()
	return p.finish(ctx, inv)
}

// planner makes one plan.
type planner struct {
	PlanOptions
	spec  v1alpha1.PatchSpec
	scope selector
	waves []wave

	keys      []string // names of labels that are asked for
	rows      []row
	labelled  []map[string]string // of rows
	scales    *scales
	decisions map[decided]*decision
	bases     map[string]bool // that must be built first
}

type decided struct {
	group  int
	builds bool
}

func newPlanner(spec v1alpha1.PatchSpec, o PlanOptions) (*planner, error) {
	t := spec.Target
	if len(t.Advisories)+len(t.Severities)+len(t.Bases) == 0 && !t.Exploited && !t.All {
		return nil, fault.Newf(fault.Usage, "plan a patch", "", "it has no target").
			WithHint("name advisories, severities, exploited, bases or all")
	}
	p := &planner{PlanOptions: o, spec: spec, scales: newScales(), decisions: map[decided]*decision{}, bases: map[string]bool{}}
	var err error
	if p.scope, err = newSelector(spec.Scope.Repositories, spec.Scope.Except, spec.Scope.Labels); err != nil {
		return nil, fault.New(fault.Usage, "plan a patch", "scope", err)
	}
	if p.waves, err = newWaves(spec.Waves); err != nil {
		return nil, err
	}
	p.keys = slices.Concat(teamLabels, p.scope.keys())
	for _, w := range p.waves {
		p.keys = append(p.keys, w.selector.keys()...)
	}
	return p, nil
}

// teamLabels name who answers for an image, the first that it has.
var teamLabels = []string{v1alpha1.LabelTeam, "team"}

// exposure asks the inventory what the target means.
func (p *planner) exposure() inventory.Exposure {
	t := p.spec.Target
	ask := inventory.Exposure{Advisories: t.Advisories, Exploited: t.Exploited, Fixable: t.All}
	for _, base := range t.Bases {
		ask.Bases = append(ask.Bases, p.named(base))
	}
	for _, severity := range t.Severities {
		ask.Severities = append(ask.Severities, artifact.Severity(severity))
	}
	if t.All {
		ask.Bases = []string{"*"}
	}
	for _, key := range p.keys {
		if key != v1alpha1.LabelNamespace { // which is not the image's to say
			ask.Labels = append(ask.Labels, key)
		}
	}
	return ask
}

// take takes an image in.
func (p *planner) take(image inventory.ExposedImage) error {
	repository := repositoryOf(image.Name)
	switch {
	case strings.Contains(image.Name, "@"): // a digest never names anything else
		return nil
	case image.Carries: // a base is built from its packages, not patched
		p.bases[image.Name] = true
		return nil
	}
	labels := p.labels(image)
	if !p.scope.means(repository, labels) {
		return nil
	}
	builds := image.Sourced
	if p.Builds != nil {
		builds = p.Builds(image.Name)
	}
	key := decided{image.Group, builds}
	d := p.decisions[key]
	if d == nil {
		d = p.scales.decide(&image, builds)
		p.decisions[key] = d
	}
	r := row{reference: image.Name, team: teamOf(repository, labels), decision: d}
	_, digits, _ := strings.Cut(image.Digest, ":")
	if n, err := hex.Decode(r.digest[:], []byte(digits)[:min(len(digits), 2*sha256.Size)]); err != nil || n != sha256.Size || len(digits) != 2*sha256.Size {
		return nil // no registry that is asked for tags has such a one
	}
	p.rows, p.labelled = append(p.rows, r), append(p.labelled, labels)
	return nil
}

// labels gives those of an image that are asked for.
func (p *planner) labels(image inventory.ExposedImage) map[string]string {
	if p.Labels == nil {
		return image.Labels
	}
	above := p.Labels(image.Name)
	if len(above) == 0 {
		return image.Labels
	}
	all := map[string]string{} // the others are shared
	maps.Copy(all, image.Labels)
	for _, key := range p.keys {
		if value, has := above[key]; has {
			all[key] = value
		}
	}
	return all
}

// teamOf gives who answers for an image: as its labels say, else the folder that its
// repository is in.
func teamOf(repository string, labels map[string]string) string {
	for _, name := range teamLabels {
		if labels[name] != "" {
			return labels[name]
		}
	}
	parts := strings.Split(repository, "/")
	if len(parts) > 1 && strings.ContainsAny(parts[0], ".:") {
		parts = parts[1:]
	}
	return strings.Join(parts[:len(parts)-1], "/")
}

// joinPlatforms makes one row of the images that one reference names, and sorts them by reference.
func (p *planner) joinPlatforms() {
	order := make([]int, len(p.rows))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int {
		if by := cmp.Compare(p.rows[i].reference, p.rows[j].reference); by != 0 {
			return by
		}
		return bytes.Compare(p.rows[i].digest[:], p.rows[j].digest[:])
	})
	rows, labelled := make([]row, 0, len(order)), make([]map[string]string, 0, len(order))
	for _, i := range order {
		if n := len(rows); n > 0 && rows[n-1].reference == p.rows[i].reference {
			rows[n-1].decision = merged(rows[n-1].decision, p.rows[i].decision)
			continue
		}
		rows, labelled = append(rows, p.rows[i]), append(labelled, p.labelled[i])
	}
	p.rows, p.labelled = rows, labelled
}

// leaveOut drops what was tried before with the same inputs.
func (p *planner) leaveOut() {
	if len(p.Tried) == 0 {
		return
	}
	kept, labelled := p.rows[:0], p.labelled[:0]
	for i, r := range p.rows {
		if !p.Tried[r.attempt(p.Inputs)] {
			kept, labelled = append(kept, r), append(labelled, p.labelled[i])
		}
	}
	p.rows, p.labelled = kept, labelled
}

// finish makes the plan of the rows.
func (p *planner) finish(ctx context.Context, inv *inventory.Inventory) (*Plan, error) {
	p.order()
	plan := &Plan{rows: p.rows, inputs: p.Inputs}
	for _, w := range p.waves {
		plan.names = append(plan.names, w.name)
	}
	for name := range p.bases {
		plan.bases = append(plan.bases, name)
	}
	slices.Sort(plan.bases)
	plan.Digest = plan.digest(p.spec)
	paces, err := inv.Campaigns().Paces(ctx)
	if err != nil {
		return nil, err
	}
	plan.Radius, err = p.radius(ctx, plan, paces)
	return plan, err
}

// order puts the rows into their running order: by wave, what is exploited first, then the worst,
// then the cheapest. What nothing can be done for is last. Few orders are different, and those of
// each are sorted by reference already.
func (p *planner) order() {
	type place struct{ wave, exploited, severity, cost int }
	truth := map[bool]int{true: 0, false: 1}
	at := map[place][]row{}
	for _, r := range p.rows {
		to := place{r.wave, truth[r.exploited], r.severity.Rank(), cost[r.remedy]}
		at[to] = append(at[to], r)
	}
	places := slices.SortedFunc(maps.Keys(at), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.wave, b.wave), cmp.Compare(a.exploited, b.exploited), cmp.Compare(a.severity, b.severity), cmp.Compare(a.cost, b.cost))
	})
	p.rows = p.rows[:0]
	for _, place := range places {
		p.rows = append(p.rows, at[place]...)
	}
}

// digest is over all that is to be done, and what it was asked for.
func (plan *Plan) digest(spec v1alpha1.PatchSpec) string {
	h := sha256.New()
	encoder := json.NewEncoder(h)
	_ = encoder.Encode([]any{spec.Target, spec.Scope, spec.Waves}) // a hash takes everything
	var text []byte
	sums := map[*decision][sha256.Size]byte{} // their texts are long, and thousands of rows have the same
	for _, r := range plan.rows {
		sum, known := sums[r.decision]
		if !known {
			text = r.decision.text(text[:0])
			sum = sha256.Sum256(text)
			sums[r.decision] = sum
		}
		h.Write([]byte(r.reference))
		h.Write([]byte{0, byte(r.wave)})
		h.Write(r.digest[:])
		h.Write(sum[:])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}

// Waves gives the names of the waves, in their order.
func (plan *Plan) Waves() []string { return slices.Clone(plan.names) }

// Len gives how many items there are.
func (plan *Plan) Len() int { return len(plan.rows) }

// Items gives up to n items after those, in running order.
func (plan *Plan) Items(after, n int) []Item {
	after = min(max(after, 0), len(plan.rows))
	some := plan.rows[after:min(after+max(n, 0), len(plan.rows))]
	items := make([]Item, len(some))
	for i, r := range some {
		items[i] = r.item(int64(after + i + 1))
		items[i].Attempt = r.attempt(plan.inputs)
	}
	return items
}

func (r row) item(number int64) Item {
	return Item{
		Number: number, Reference: r.reference, From: "sha256:" + hex.EncodeToString(r.digest[:]), Team: r.team, Wave: r.wave,
		Remedy: r.remedy, Base: r.base, Overrides: r.overrides, Severity: r.severity, Fixes: r.fixes, Leaves: r.leaves, Why: r.why,
	}
}

// attempt is a hash over what is tried with the image.
func (r row) attempt(inputs string) (sum [16]byte) {
	if cost[r.remedy] < cost[artifact.RemedyRebuild] {
		inputs = ""
	}
	to := ""
	if r.base != nil {
		to = r.base.To
	}
	h := sha256.New()
	for _, part := range []string{r.reference, string(r.digest[:]), string(r.remedy), to, inputs} {
		h.Write(append([]byte(part), 0))
	}
	for _, o := range r.overrides {
		h.Write([]byte(o.Ecosystem + "\x00" + o.Package + "\x00" + o.Version + "\x00"))
	}
	copy(sum[:], h.Sum(nil))
	return sum
}
