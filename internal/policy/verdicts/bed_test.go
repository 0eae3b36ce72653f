package verdicts_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/policy"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

// signedOnly wants a signature, and no finding older than a week.
const signedOnly = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: test}
spec:
  gates: {registry: deny}
  rules:
    - {name: signed, title: signed, reason: r, expression: size(signatures) > 0}
    - name: fixed
      title: no findings
      reason: r
      expression: image.kind == 'index' || size(findings) == 0
      grace: {period: 7d, since: "findings.map(f, f.published).min()"}
`

const warnOnly = `
apiVersion: plimsoll.dev/v1alpha1
kind: ImagePolicy
metadata: {name: test}
spec:
  gates: {registry: warn}
  rules:
    - {name: signed, title: signed, reason: r, expression: size(signatures) > 0}
`

func exception(expires time.Time) string {
	return fmt.Sprintf(`
---
apiVersion: plimsoll.dev/v1alpha1
kind: PolicyException
metadata: {name: legacy}
spec: {owner: shop, reason: it is old, expires: %q, rules: [test/signed], scope: {repositories: ["**"]}}
`, expires.Format(time.RFC3339))
}

// ledger is what is there of images, and what is kept of it.
type ledger struct {
	mu       sync.Mutex
	there    map[verdicts.Image]artifact.Facts
	kept     map[verdicts.Image]artifact.Facts
	gathered map[verdicts.Image]int
	busy     map[verdicts.Image]bool
	overlap  bool
	failure  error
	broken   error         // of All, after half of it
	hold     chan struct{} // Gather waits for it to be closed
	slow     chan struct{} // so does All, once it has read
	rules    string
}

func newLedger(rules string) *ledger {
	return &ledger{
		there: map[verdicts.Image]artifact.Facts{}, kept: map[verdicts.Image]artifact.Facts{},
		gathered: map[verdicts.Image]int{}, busy: map[verdicts.Image]bool{}, rules: rules,
	}
}

func (l *ledger) Gather(ctx context.Context, image verdicts.Image) (artifact.Facts, error) {
	l.mu.Lock()
	l.gathered[image]++
	l.overlap = l.overlap || l.busy[image]
	l.busy[image] = true
	facts, ok := l.there[image]
	failure, hold := l.failure, l.hold
	l.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			failure = ctx.Err()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy[image] = false
	switch {
	case failure != nil:
		return artifact.Facts{}, failure
	case !ok:
		return artifact.Facts{}, fault.Newf(fault.NotFound, "read", image.String(), "there is none")
	}
	l.kept[image] = facts
	return facts, nil
}

func (l *ledger) Known(_ context.Context, image verdicts.Image) (artifact.Facts, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	facts, ok := l.kept[image]
	return facts, ok, nil
}

func (l *ledger) All(context.Context) iter.Seq2[artifact.Facts, error] {
	l.mu.Lock()
	all, slow, broken := slices.Collect(maps.Values(l.kept)), l.slow, l.broken
	l.mu.Unlock()
	return func(yield func(artifact.Facts, error) bool) {
		if slow != nil {
			<-slow
		}
		for i, facts := range all {
			if broken != nil && i >= len(all)/2 {
				yield(artifact.Facts{}, broken)
				return
			}
			if !yield(facts, nil) {
				return
			}
		}
	}
}

func (l *ledger) load(context.Context) (*policy.Set, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, err := policy.Read("test.yaml", []byte(l.rules))
	if err != nil {
		return nil, err
	}
	return d.Compile(policy.Options{})
}

func (l *ledger) set(change func(l *ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// put has an image there, not kept yet.
func (l *ledger) put(facts artifact.Facts) verdicts.Image {
	image := verdicts.Image{Repository: facts.Image.Repository, Digest: facts.Image.Digest}
	l.set(func(l *ledger) { l.there[image] = facts })
	return image
}

func (l *ledger) times(image verdicts.Image) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gathered[image]
}

// shelf is a store in memory.
type shelf struct {
	mu      sync.Mutex
	kept    map[verdicts.Image]artifact.Verdict
	saves   int // verdicts
	failure error
}

func newShelf() *shelf { return &shelf{kept: map[verdicts.Image]artifact.Verdict{}} }

func (s *shelf) All(context.Context) iter.Seq2[artifact.Verdict, error] {
	return func(yield func(artifact.Verdict, error) bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, v := range s.kept {
			if !yield(v, nil) {
				return
			}
		}
	}
}

func (s *shelf) Save(_ context.Context, all []artifact.Verdict) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil {
		return s.failure
	}
	for _, v := range all {
		s.kept[verdicts.Image{Repository: v.Repository, Digest: v.Image}] = v
		s.saves++
	}
	return nil
}

func (s *shelf) at(image verdicts.Image) (artifact.Action, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.kept[image]
	return v.At(artifact.GateRegistry), ok
}

func digestOf(n int) string { return fmt.Sprintf("sha256:%064x", n) }

var someone = []artifact.SignatureFacts{{By: "release"}}

// image gives facts of a signed image without findings.
func image(n int) artifact.Facts {
	return artifact.Facts{
		Image:      artifact.ImageFacts{Repository: "shop", Digest: digestOf(n), Kind: artifact.KindImage, Platform: "linux/amd64"},
		Signatures: someone, Findings: []artifact.Finding{},
	}
}

func unsigned(facts artifact.Facts) artifact.Facts {
	facts.Signatures = []artifact.SignatureFacts{}
	return facts
}

func index(n int, children ...int) artifact.Facts {
	facts := image(n)
	facts.Image.Kind, facts.Image.Platform, facts.Findings = artifact.KindIndex, "", nil
	for _, child := range children {
		facts.Children = append(facts.Children, digestOf(child))
	}
	return facts
}

// open gives a keeper that is closed with the test.
func open(t testing.TB, folder string, l *ledger, s *shelf, opts verdicts.Options) *verdicts.Keeper {
	t.Helper()
	k, err := verdicts.Open(t.Context(), folder, l.load, l, s, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil && !strings.Contains(err.Error(), "already closed") {
			t.Error(err)
		}
		if l.overlap {
			t.Error("facts of one image were gathered twice at once")
		}
	})
	return k
}

// want holds the action at the registry.
func want(t testing.TB, k *verdicts.Keeper, image verdicts.Image, action artifact.Action) artifact.Verdict {
	t.Helper()
	v, err := k.Verdict(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	if got := v.At(artifact.GateRegistry); got != action || v.Repository != image.Repository || v.Image != image.Digest {
		t.Fatalf("%s, want %s: %+v", got, action, v.Results)
	}
	return v
}

// told is who is told of changes.
type told struct {
	mu      sync.Mutex
	changes []verdicts.Change
	failure error
	hold    chan struct{}
}

func (p *told) publish(ctx context.Context, c verdicts.Change) error {
	p.mu.Lock()
	failure, hold := p.failure, p.hold
	p.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if failure != nil {
		return failure
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.changes = append(p.changes, c)
	return nil
}

// of gives what was told of an image: "before→after".
func (p *told) of(image verdicts.Image) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []string{}
	for _, c := range p.changes {
		if c.Verdict.Image == image.Digest {
			all = append(all, string(c.Before[artifact.GateRegistry])+"→"+string(c.Verdict.At(artifact.GateRegistry)))
		}
	}
	return all
}

var errDown = errors.New("the registry is down")
