package policy

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/interpreter"

	"plimsoll.dev/plimsoll/artifact"
)

// Decide gives the verdict on an image at the time. It is DecideOn for facts that are asked
// about once.
func (s *Set) Decide(facts artifact.Facts, where Where, now time.Time) artifact.Verdict {
	return s.DecideOn(Prepare(facts), where, now)
}

// DecideOn gives the verdict on a subject at the time. It never fails: a rule that cannot be
// evaluated does not pass.
func (s *Set) DecideOn(subject *Subject, where Where, now time.Time) artifact.Verdict {
	q := newQuestion(s, subject, where, now)
	v := artifact.Verdict{
		Repository: subject.facts.Image.Repository, Image: subject.facts.Image.Digest,
		Gates: map[artifact.Gate]artifact.Action{}, Results: []artifact.Result{},
		Decided: now.UTC(), Policies: s.digest, Facts: subject.digest,
	}
	for _, p := range s.policies {
		if !q.covered(p) {
			continue
		}
		for _, gate := range p.gates {
			worsen(v.Gates, gate, artifact.ActionAllow)
		}
		for _, r := range p.rules {
			q.decide(&v, r)
		}
	}
	v.Until = q.until
	return v
}

// decide asks one rule, and adds what comes of it to the verdict.
func (q *question) decide(v *artifact.Verdict, r *rule) {
	result := q.ask(r)
	if !result.Passed {
		var used []*exception
		result, used = q.excuse(r, result)
		for _, e := range used {
			use(v, e, r)
			q.earlier(e.spec.Expires.Time)
		}
	}
	for gate, action := range result.Gates {
		worsen(v.Gates, gate, action)
	}
	if result.Deadline != nil {
		q.earlier(*result.Deadline)
	}
	v.Results = append(v.Results, result)
}

// use lists the exception among those in use.
func use(v *artifact.Verdict, e *exception, r *rule) {
	id := r.policy + "/" + r.Name
	i := slices.IndexFunc(v.Exceptions, func(x artifact.ExceptionInUse) bool { return x.Name == e.name })
	if i >= 0 {
		v.Exceptions[i].Rules = append(v.Exceptions[i].Rules, id)
		return
	}
	v.Exceptions = append(v.Exceptions, artifact.ExceptionInUse{
		Name: e.name, Owner: e.spec.Owner, Reason: e.spec.Reason, Expires: e.spec.Expires.UTC(), Rules: []string{id},
	})
}

func worsen(gates map[artifact.Gate]artifact.Action, gate artifact.Gate, action artifact.Action) {
	if old, ok := gates[gate]; !ok || action.Rank() > old.Rank() {
		gates[gate] = action
	}
}

// question is one decision on its way: what expressions read, and what it has cost.
type question struct {
	set     *Set
	subject *Subject
	where   Where
	now     time.Time

	facts  []any   // of the variables that all expressions read; nil until one is
	policy *policy // in hand
	values []any   // of its parameters and variables; nil until one is read

	exceptions func() []*exception // for the image, found when the first rule needs one

	running running
	spent   uint64
	until   *time.Time
}

var (
	allVariables = variables()
	placeOf      = func() map[string]int {
		places := map[string]int{}
		for i, v := range allVariables {
			places[v.name] = i
		}
		return places
	}()
)

func newQuestion(set *Set, subject *Subject, where Where, now time.Time) *question {
	q := &question{set: set, subject: subject, where: where, now: now, facts: make([]any, len(allVariables))}
	q.exceptions = sync.OnceValue(q.excepted)
	return q
}

// earlier has the verdict stand no longer than to the time.
func (q *question) earlier(at time.Time) {
	at = at.UTC()
	if q.until == nil || at.Before(*q.until) {
		q.until = &at
	}
}

// enter takes a policy in hand.
func (q *question) enter(p *policy) {
	q.policy, q.values = p, slices.Clone(p.values)
}

// covered takes the policy in hand if it covers the image. A condition that cannot be
// evaluated holds.
func (q *question) covered(p *policy) bool {
	if !p.scope.covers(&q.subject.facts, q.where, true) {
		return false
	}
	q.enter(p)
	for _, condition := range p.conditions {
		if holds, err := q.eval(condition); err == nil && holds == types.False {
			return false
		}
	}
	return true
}

// ask gives what a rule comes to without exceptions.
func (q *question) ask(r *rule) artifact.Result {
	result := artifact.Result{Policy: r.policy, Rule: r.Name, Title: r.Title, Controls: r.Controls}
	holds, err := q.eval(r.condition)
	if err == nil && holds == types.True {
		result.Passed = true
		return result
	}
	result.Why = q.words(r.message, r.Message, r.Title)
	result.Remedy = q.words(r.remedy, r.Remedy, "")
	if err != nil {
		var unknown *missing
		result.Missing = errors.As(err, &unknown)
		result.Why = oneLine(err.Error() + " (wanted: " + inSentence(r.Title) + ")")
	}
	result.Gates, result.Deadline = q.actions(r)
	return result
}

// inSentence gives a title as it goes on after other words: one that begins with an abbreviation
// stays as it is.
func inSentence(title string) string {
	first, size := utf8.DecodeRuneInString(title)
	if second, _ := utf8.DecodeRuneInString(title[size:]); unicode.IsUpper(second) {
		return title
	}
	return string(unicode.ToLower(first)) + title[size:]
}

// actions gives what a rule that does not hold does at each gate now, and from when on it
// denies where it only warns.
func (q *question) actions(r *rule) (map[artifact.Gate]artifact.Action, *time.Time) {
	if r.grace == nil {
		return maps.Clone(r.gates), nil
	}
	since, err := q.eval(r.grace.since)
	at, ok := since.(types.Timestamp)
	if err != nil || !ok {
		return maps.Clone(r.gates), nil
	}
	deadline := at.Time.Add(r.grace.period).UTC()
	if !q.now.Before(deadline) {
		return maps.Clone(r.gates), nil
	}
	var eased bool
	gates := map[artifact.Gate]artifact.Action{}
	for gate, action := range r.gates {
		if action == artifact.ActionDeny {
			action, eased = artifact.ActionWarn, true
		}
		gates[gate] = action
	}
	if !eased {
		return gates, nil
	}
	return gates, &deadline
}

// words gives a text that an expression makes, else the plain one, else the last.
func (q *question) words(made *expression, plain, last string) string {
	if made != nil {
		until := q.until // the verdict may outlast its words
		v, err := q.eval(made)
		q.until = until
		if s, ok := v.(types.String); ok && err == nil && strings.TrimSpace(string(s)) != "" {
			return oneLine(string(s))
		}
	}
	if plain != "" {
		return oneLine(plain)
	}
	return oneLine(last)
}

const maxWords = 600 // bytes

// oneLine makes a text safe to print: parts of it may be from the image.
func oneLine(s string) string {
	s = strings.TrimSpace(strings.ToValidUTF8(s, "?"))
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	if len(s) <= maxWords {
		return s
	}
	cut := maxWords
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// ResolveName implements cel.Activation. Loops ask in each round whether they are to stop.
func (q *question) ResolveName(name string) (any, bool) {
	if name == "#interrupted" {
		return !q.round(), true
	}
	if i, ok := placeOf[name]; ok {
		return once(q.facts, i, func() (any, error) { return allVariables[i].get(q) }), true
	}
	if q.policy == nil {
		return nil, false
	}
	i, ok := q.policy.names[name]
	if !ok {
		return nil, false
	}
	return once(q.values, i, func() (any, error) { return q.eval(q.policy.variables[i]) }), true
}

// Parent implements cel.Activation.
func (q *question) Parent() interpreter.Activation { return nil }

// once gives the value at the place, which get makes for the first that asks.
func once(values []any, i int, get func() (any, error)) any {
	if values[i] == nil {
		value, err := get()
		if err != nil {
			value = types.WrapErr(err)
		}
		values[i] = value
	}
	return values[i]
}

func (q *question) signatures() (any, error) {
	list := q.subject.facts.Signatures
	return things("signatures", maxList, signatureObject, list)
}

func (q *question) packages() (any, error) { return q.subject.packages() }

func (q *question) findings() (any, error) { return q.subject.findings() }

func (q *question) unadvised() (any, error) {
	if q.subject.facts.Findings == nil {
		return nil, &missing{neverScanned}
	}
	return textsOf("unadvised", q.subject.facts.Unadvised)
}

func (q *question) licenses() (any, error) {
	if q.subject.facts.Licenses == nil {
		return nil, &missing{"its licences are not known"}
	}
	return textsOf("licenses", q.subject.facts.Licenses)
}

func (q *question) advisories() (any, error) {
	at := q.subject.facts.Advisories
	if at.IsZero() {
		return nil, &missing{"advisories were never synced"}
	}
	return types.Timestamp{Time: at}, nil
}
