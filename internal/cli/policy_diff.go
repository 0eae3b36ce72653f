package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/inventory"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/site/home"
	"plimsoll.dev/plimsoll/internal/site/judge"
)

type diffOptions struct {
	policyOptions
	against policyOptions
	gate    string
	where   policy.Where
	at      string
	jobs    int
}

func newPolicyDiff(env *Env) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff",
		Short: "Say which verdicts other policies would change, in the whole inventory",
		Long: `Diff asks the policies that -f and --profile name, beside those of the home, for every image of the
inventory, and lists those with another verdict at the gate. Nothing is changed. With --at it says what
time alone changes: what grace periods and exceptions that end will deny.

Of images that nobody has asked about, the facts are gathered first, which takes a while and is kept.` + "\n" + exitCodes,
		Example: `  plimsoll policy diff -f next/
  plimsoll policy diff --profile restricted --gate admission
  plimsoll policy diff --at 2027-01-01`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runPolicyDiff(cmd.Context(), env, o) },
	}
	o.flags(cmd)
	flags := cmd.Flags()
	flags.StringArrayVar(&o.against.Files, "against", nil, "file or folder of policies to hold them against, instead of the home's")
	flags.StringVar(&o.gate, "gate", string(artifact.GateRegistry), "gate at which verdicts are compared")
	flags.StringVar(&o.where.Namespace, "namespace", "", "Kubernetes namespace in which images are to run")
	flags.StringVar(&o.where.Environment, "environment", "", "environment in which images are to run")
	flags.StringVar(&o.at, "at", "", "ask the new policies as on that day (2027-01-01) or moment (RFC 3339)")
	flags.IntVar(&o.jobs, "jobs", runtime.GOMAXPROCS(0), "images asked about at once")
	return cmd
}

func runPolicyDiff(ctx context.Context, env *Env, o diffOptions) error {
	gate, err := gateNamed(o.gate)
	if err != nil {
		return err
	}
	now := time.Now()
	then, err := moment("--at", o.at)
	if err != nil {
		return err
	}
	old, err := env.home().Policies(o.against.PolicySource)
	if err != nil && !errors.Is(err, home.ErrNoPolicies) {
		return err // a home without policies lets everything through
	}
	next := old
	if len(o.Files)+len(o.Profiles) > 0 {
		if next, err = env.home().Policies(o.PolicySource); err != nil {
			return err
		}
	} else if o.at == "" || old == nil {
		return fault.Newf(fault.Usage, "read flags", "-f", "nothing is named to hold the policies against").
			WithHint("name policies with -f or --profile, or a time with --at")
	}
	index, err := env.home().Inventory(ctx)
	if err != nil {
		return err
	}
	begins := func(images int) { fmt.Fprintf(env.Err, "gathering the facts of %s\n", plural(images, "image")) }
	if err := judge.GatherBare(ctx, env.home(), begins); err != nil {
		return err
	}
	c := &comparison{gate: gate, where: o.where, old: side{old, now}, next: side{next, then}, children: map[string]pair{}}
	if err := c.run(ctx, index, max(1, o.jobs)); err != nil {
		return err
	}
	diff := c.diff()
	return env.print(diff, diff.table)
}

// side is one of what is compared.
type side struct {
	set *policy.Set // nil: there are no policies, and everything is let through
	at  time.Time
}

func (s side) decide(subject *policy.Subject, where policy.Where) artifact.Verdict {
	if s.set == nil {
		open := artifact.Verdict{Gates: map[artifact.Gate]artifact.Action{}}
		for _, gate := range artifact.Gates() {
			open.Gates[gate] = artifact.ActionAllow
		}
		return open
	}
	return s.set.DecideOn(subject, where, s.at)
}

// pair is what both sides say of an image, as far as an index needs it.
type pair struct{ old, next artifact.Verdict }

// comparison asks both sides for every image.
type comparison struct {
	gate      artifact.Gate
	where     policy.Where
	old, next side

	mu       sync.Mutex
	images   int
	counts   map[change]int
	changed  []changedVerdict
	children map[string]pair // by repository@digest: of images, without results
	indexes  []artifact.Facts
	shared   map[string]map[artifact.Gate]artifact.Action
}

type change struct{ From, To artifact.Action }

// changedVerdict is an image with another verdict.
type changedVerdict struct {
	Repository string          `json:"repository"`
	Digest     string          `json:"digest"`
	Tags       []string        `json:"tags,omitempty"`
	From       artifact.Action `json:"from"`
	To         artifact.Action `json:"to"`
	Why        string          `json:"why,omitempty"`
	Remedy     string          `json:"remedy,omitempty"`
}

// run asks about images as they come, and about indexes when those they name are known.
func (c *comparison) run(ctx context.Context, index *inventory.Inventory, jobs int) error {
	c.counts, c.shared = map[change]int{}, map[string]map[artifact.Gate]artifact.Action{}
	many := make(chan []artifact.Facts, jobs)
	workers, inner := errgroup.WithContext(ctx)
	for range jobs {
		workers.Go(func() error {
			for some := range many {
				for _, f := range some {
					c.ask(f)
				}
			}
			return nil
		})
	}
	workers.Go(func() error {
		defer close(many)
		return batches(inner, index, many)
	})
	if err := workers.Wait(); err != nil {
		return err
	}
	for _, f := range c.indexes {
		c.askIndex(f)
	}
	return ctx.Err()
}

// batches sends all facts, some at a time: a channel for each one would take longer than the
// asking.
func batches(ctx context.Context, index *inventory.Inventory, to chan<- []artifact.Facts) error {
	const size = 256
	var some []artifact.Facts
	send := func() error {
		select {
		case to <- some:
			some = nil
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	err := index.Facts(ctx, inventory.Selection{}, func(f artifact.Facts) error {
		if some = append(some, f); len(some) < size {
			return nil
		}
		return send()
	})
	if err != nil {
		return err
	}
	return send()
}

// ask compares the verdicts on one manifest.
func (c *comparison) ask(f artifact.Facts) {
	subject := policy.Prepare(f)
	old, next := c.old.decide(subject, c.where), c.next.decide(subject, c.where)
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.Image.Kind == artifact.KindIndex {
		f.Packages, f.Findings = nil, nil
		c.indexes = append(c.indexes, f)
		return
	}
	c.children[f.Image.Repository+"@"+f.Image.Digest] = pair{c.bare(old), c.bare(next)}
	c.note(f, old, next)
}

// bare gives of a verdict what an index needs, sharing what is equal.
func (c *comparison) bare(v artifact.Verdict) artifact.Verdict {
	var key strings.Builder
	for _, gate := range artifact.Gates() {
		key.WriteString(string(v.Gates[gate]) + " ")
	}
	gates, known := c.shared[key.String()]
	if !known {
		gates = v.Gates
		c.shared[key.String()] = gates
	}
	return artifact.Verdict{Gates: gates}
}

func (c *comparison) askIndex(f artifact.Facts) {
	var olds, nexts []policy.Child
	for _, digest := range f.Children {
		child, known := c.children[f.Image.Repository+"@"+digest]
		a, b := policy.Child{Digest: digest}, policy.Child{Digest: digest}
		if known {
			a.Verdict, b.Verdict = &child.old, &child.next
		}
		olds, nexts = append(olds, a), append(nexts, b)
	}
	subject := policy.Prepare(f)
	c.note(f, policy.Join(c.old.decide(subject, c.where), olds), policy.Join(c.next.decide(subject, c.where), nexts))
}

// note counts the image, and keeps it if its verdict is another.
func (c *comparison) note(f artifact.Facts, old, next artifact.Verdict) {
	c.images++
	from, to := old.At(c.gate), next.At(c.gate)
	c.counts[change{from, to}]++
	if from == to {
		return
	}
	one := changedVerdict{Repository: f.Image.Repository, Digest: f.Image.Digest, Tags: f.Image.Tags, From: from, To: to}
	if to == artifact.ActionDeny {
		one.Why, one.Remedy = judge.Reasons(next, c.gate)
	}
	c.changed = append(c.changed, one)
}

// policyDiff is what `policy diff` gives a script.
type policyDiff struct {
	Gate    artifact.Gate    `json:"gate"`
	Images  int              `json:"images"`
	Allowed int              `json:"allowed"` // by the new policies, with a warning or without
	Denied  int              `json:"denied"`
	Changed []changedVerdict `json:"changed"` // denials first, then by name
}

func (c *comparison) diff() policyDiff {
	d := policyDiff{Gate: c.gate, Images: c.images, Changed: c.changed}
	for change, n := range c.counts {
		if change.To == artifact.ActionDeny {
			d.Denied += n
		}
	}
	d.Allowed = d.Images - d.Denied
	slices.SortFunc(d.Changed, func(a, b changedVerdict) int {
		return cmp.Or(cmp.Compare(b.To.Rank(), a.To.Rank()), cmp.Compare(a.Repository, b.Repository), cmp.Compare(a.Digest, b.Digest))
	})
	return d
}

func (d policyDiff) table(w io.Writer) {
	fmt.Fprintln(w, "IMAGE\tFROM\tTO\tWHY")
	const shown = 200
	for i, v := range d.Changed {
		if i == shown {
			fmt.Fprintf(w, "… and %d more: -o json has all\n", len(d.Changed)-shown)
			break
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", visible(v.name()), v.From, v.To, visible(v.Why))
	}
	fmt.Fprintf(w, "\n%s at the %s gate: %d change; then %d allowed, %d denied\n", plural(d.Images, "image"), d.Gate, len(d.Changed), d.Allowed, d.Denied)
}

// name gives the image by its tag where it has one.
func (v changedVerdict) name() string {
	if len(v.Tags) > 0 {
		return v.Repository + ":" + v.Tags[0]
	}
	if hex, ok := strings.CutPrefix(v.Digest, "sha256:"); ok {
		return fmt.Sprintf("%s@sha256:%.12s", v.Repository, hex)
	}
	return v.Repository + "@" + v.Digest
}
