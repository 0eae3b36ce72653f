// Package match takes packages and an advisory database and gives the Findings: which
// vulnerabilities concern which package, what fixes them, and what an image must do to get
// the fix.
package match

import (
	"cmp"
	"context"
	"iter"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/vuln/advisory"
)

// Contents gives the findings of an image in the order of its packages, for each by ID.
func Contents(ctx context.Context, db *advisory.Database, c artifact.Contents) ([]artifact.Finding, error) {
	var all []artifact.Finding
	for result, err := range Packages(ctx, db, slices.Values(c.Packages)) {
		if err != nil {
			return nil, err
		}
		for _, f := range result.Findings {
			f.Remedy = artifact.RemedyOf(f.Package, c.InBase(f.Package), f.Fixed)
			all = append(all, f)
		}
	}
	return all, nil
}

// Result is a package with its findings, by ID. Their Remedy is empty: it depends on the
// image, and artifact.RemedyOf gives it.
type Result struct {
	Package  artifact.Package
	Findings []artifact.Finding
}

// batch is how many packages are matched at a time: enough to keep all processors busy, few
// enough to hold in memory.
const batch = 1024

// Packages matches packages of any number of images, each once, on all processors. Results
// come in the order of the packages, those without findings too. It ends with the first
// error.
func Packages(ctx context.Context, db *advisory.Database, packages iter.Seq[artifact.Package]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		next, stop := iter.Pull(packages)
		defer stop()
		results := make([]Result, 0, batch)
		for more := true; more; {
			results = results[:0]
			for len(results) < batch {
				var p artifact.Package
				if p, more = next(); !more {
					break
				}
				results = append(results, Result{Package: p})
			}
			if err := matchAll(ctx, db, results); err != nil {
				yield(Result{}, err)
				return
			}
			for _, r := range results {
				if !yield(r, nil) {
					return
				}
			}
		}
	}
}

func matchAll(ctx context.Context, db *advisory.Database, results []Result) error {
	group, ctx := errgroup.WithContext(ctx)
	workers := min(runtime.GOMAXPROCS(0), len(results))
	for w := range workers {
		group.Go(func() error {
			for i := w; i < len(results); i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				var err error
				if results[i].Findings, err = one(db, results[i].Package); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// one gives the findings of a package, by ID.
func one(db *advisory.Database, p artifact.Package) ([]artifact.Finding, error) {
	key, installed := Identify(p)
	if key.Ecosystem == "" || installed == "" {
		return nil, nil
	}
	entries, err := db.Lookup(key)
	if err != nil || len(entries) == 0 {
		return nil, err
	}
	s := subject{installed: installed, python: key.Ecosystem == "PyPI"}
	var findings []artifact.Finding
	for _, e := range entries {
		claims := heard(e.Claims)
		affected := s.affected(claims)
		if len(affected) == 0 {
			continue
		}
		v, err := db.Describe(e)
		if err != nil {
			return nil, err
		}
		fixed := s.fixed(claims)
		f := finding(p, v, affected, spelled(p, fixed))
		f.Published = published(affected, fixed)
		findings = append(findings, f)
	}
	slices.SortFunc(findings, func(a, b artifact.Finding) int { return cmp.Compare(a.ID, b.ID) })
	return findings, nil
}

// spelled gives a fixed version as the package's own world writes it: Go's vulnerability
// database leaves out the "v" of modules.
func spelled(p artifact.Package, fixed string) string {
	if p.Type == "golang" && fixed != "" && strings.HasPrefix(p.Version, "v") {
		return "v" + strings.TrimPrefix(fixed, "v")
	}
	return fixed
}

// published gives when the first of the records was that name the fixed version, or the
// first of all where none does: so long a fix could be had, by those who know of it.
func published(claims []advisory.Claim, fixed string) time.Time {
	var naming, any time.Time
	for _, c := range claims {
		any = earlier(any, c.Published)
		if fixed != "" && fixes(c, fixed) {
			naming = earlier(naming, c.Published)
		}
	}
	if naming.IsZero() {
		return any
	}
	return naming
}

func fixes(c advisory.Claim, version string) bool {
	return slices.ContainsFunc(c.Ranges, func(r advisory.Range) bool {
		return slices.Contains(r.Events, advisory.Event{Kind: advisory.Fixed, Version: version})
	})
}

// earlier gives the first of two times, of which a zero one is not known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// heard gives the claims whose word counts: those of the lowest rank.
func heard(claims []advisory.Claim) []advisory.Claim {
	lowest := slices.MinFunc(claims, func(a, b advisory.Claim) int { return cmp.Compare(a.Rank, b.Rank) }).Rank
	if !slices.ContainsFunc(claims, func(c advisory.Claim) bool { return c.Rank != lowest }) {
		return claims
	}
	return slices.DeleteFunc(slices.Clone(claims), func(c advisory.Claim) bool { return c.Rank != lowest })
}

func finding(p artifact.Package, v advisory.Vulnerability, claims []advisory.Claim, fixed string) artifact.Finding {
	f := artifact.Finding{
		ID: v.ID, Aliases: v.Aliases, Summary: v.Summary,
		Severity: v.Severity, Score: v.Score, Vector: v.Vector,
		Package: p, Fixed: fixed, State: "affected",
		KnownExploited: v.KnownExploited, EPSS: v.EPSS,
	}
	var feeds []string
	for _, c := range claims {
		feeds = append(feeds, c.Feed)
		if f.Vector == "" {
			if word, known := advisory.Word(c.Urgency); known && word.Rank() < f.Severity.Rank() {
				f.Severity = word
			}
		}
		if word := own(c); word != "" && f.State == "affected" {
			f.State = word
		}
	}
	slices.Sort(feeds)
	f.Source = strings.Join(slices.Compact(feeds), ",")
	if f.State == "unimportant" && f.Severity.Rank() < artifact.SeverityLow.Rank() {
		// The score is the vulnerability's; how bad it is here the distribution knows, which
		// looked at how it builds the package.
		f.Severity = artifact.SeverityLow
	}
	if fixed != "" {
		f.State = "fixed"
	}
	return f
}

// own gives the distribution's own word for why there is no fix, or "".
func own(c advisory.Claim) string {
	switch c.State {
	case "", "open", "resolved":
	default:
		return c.State
	}
	switch c.Urgency {
	case "unimportant", "end-of-life":
		return c.Urgency
	}
	return ""
}
