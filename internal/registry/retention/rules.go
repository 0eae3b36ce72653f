// Package retention takes the tags of a store and the rules of its projects, and gives which
// tags stay: it removes the others, and keeps those that do not move where they are.
package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/registry/access/pattern"
	"plimsoll.dev/plimsoll/internal/registry/settings"
)

// Tag is what rules are asked about.
type Tag struct {
	Name     string
	Digest   digest.Digest
	Pushed   time.Time // last
	Pulled   time.Time // last, by the day; zero: never
	Deployed bool
}

// Decision is what becomes of a tag.
type Decision struct {
	Tag  Tag
	Keep bool
	Why  string // in a few words
}

// rules are those of a project, understood.
type rules struct {
	rules     []rule
	immutable []pattern.Pattern
}

// rule is one; a period of zero keeps nothing.
type rule struct {
	repositories, tags []pattern.Pattern
	last               int
	pushed, pulled     time.Duration
}

const defaultUntagged = 24 * time.Hour

// Check is the settings' check of retention, of tags that do not move, and of the schedule.
func Check(s *settings.Settings) *manifest.Problem {
	for i := range s.Projects {
		if _, problem := compile(&s.Projects[i], fmt.Sprintf("spec.projects[%d]", i)); problem != nil {
			return problem
		}
	}
	if _, err := settings.Period(s.Keeping.Untagged); s.Keeping.Untagged != "" && err != nil {
		return manifest.Bad("spec.keeping.untagged", err.Error())
	}
	if s.Keeping.Schedule != "" {
		if _, err := parseSchedule(s.Keeping.Schedule); err != nil {
			return manifest.Bad("spec.keeping.schedule", err.Error())
		}
	}
	return nil
}

// compile reads a project's rules; the problem's field is below the given one.
func compile(p *v1alpha1.RegistryProject, field string) (*rules, *manifest.Problem) {
	c := &compiler{}
	out := &rules{immutable: c.patterns(field+".immutableTags", p.ImmutableTags)}
	for i, r := range p.Retention {
		at := fmt.Sprintf("%s.retention[%d]", field, i)
		one := rule{
			repositories: c.patterns(at+".repositories", r.Repositories),
			tags:         c.patterns(at+".tags", r.Tags),
			last:         r.KeepLast,
			pushed:       c.period(at+".keepPushedWithin", r.KeepPushedWithin),
			pulled:       c.period(at+".keepPulledWithin", r.KeepPulledWithin),
		}
		switch {
		case r.KeepLast < 0:
			c.bad(at+".keepLast", "it cannot be negative")
		case one.last == 0 && one.pushed == 0 && one.pulled == 0:
			c.bad(at, "it keeps nothing: say what it keeps by keepLast, keepPushedWithin or keepPulledWithin")
		}
		out.rules = append(out.rules, one)
	}
	return out, c.problem
}

// compiler reads values, and keeps the first problem.
type compiler struct{ problem *manifest.Problem }

func (c *compiler) bad(field, text string) {
	if c.problem == nil {
		c.problem = manifest.Bad(field, text)
	}
}

func (c *compiler) patterns(field string, texts []string) []pattern.Pattern {
	var all []pattern.Pattern
	for i, text := range texts {
		p, err := pattern.Compile(text, "/")
		if err != nil {
			c.bad(fmt.Sprintf("%s[%d]", field, i), err.Error())
		}
		all = append(all, p)
	}
	return all
}

func (c *compiler) period(field, text string) time.Duration {
	if text == "" {
		return 0
	}
	d, err := settings.Period(text)
	if err != nil {
		c.bad(field, err.Error())
	}
	return d
}

// covers says whether one of the patterns is like the text. None are like everything.
func covers(patterns []pattern.Pattern, text string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p pattern.Pattern) bool { return p.Match(text) })
}

// fixed says whether a tag does not move.
func (r *rules) fixed(tag string) bool { return len(r.immutable) > 0 && covers(r.immutable, tag) }

// decide says of each tag of a repository what becomes of it.
func (r *rules) decide(repository string, tags []Tag, now time.Time) []Decision {
	tags = slices.Clone(tags)
	slices.SortFunc(tags, func(a, b Tag) int { // the newest first
		if c := b.Pushed.Compare(a.Pushed); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	taken := make([]int, len(r.rules)) // of each rule's last
	out := make([]Decision, 0, len(tags))
	for _, t := range tags {
		d := Decision{Tag: t}
		covered := false
		for i, rule := range r.rules {
			if !covers(rule.repositories, repository) || !covers(rule.tags, t.Name) {
				continue
			}
			covered = true
			if why := rule.keeps(t, taken[i], now); why != "" {
				d.Keep, d.Why = true, why
			}
			taken[i]++
		}
		switch {
		case r.fixed(t.Name):
			d.Keep, d.Why = true, "it is immutable"
		case t.Deployed:
			d.Keep, d.Why = true, "it is deployed"
		case !covered:
			d.Keep, d.Why = true, "no rule covers it"
		case !d.Keep:
			d.Why = "no rule keeps it"
		}
		out = append(out, d)
	}
	return out
}

// keeps gives why the rule keeps a tag it covers, before which it covered so many newer ones;
// "" when it does not.
func (r rule) keeps(t Tag, newer int, now time.Time) string {
	switch {
	case newer < r.last:
		return fmt.Sprintf("it is among the last %d", r.last)
	case r.pushed > 0 && now.Sub(t.Pushed) < r.pushed:
		return "it was pushed within " + period(r.pushed)
	case r.pulled > 0 && !t.Pulled.IsZero() && now.Sub(t.Pulled) < r.pulled:
		return "it was pulled within " + period(r.pulled)
	}
	return ""
}

func period(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}
