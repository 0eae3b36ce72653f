package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// errUnsatisfiable says that no set exists; the solver's proof then tells why.
var errUnsatisfiable = errors.New("no set of packages satisfies this")

// maxConflicts bounds the search. Sets from a real archive meet a handful.
const maxConflicts = 50_000

// lit is a version being installed, 2·id, or not being installed, 2·id+1.
type lit int32

func installed(v *version) lit { return lit(2 * v.id) }
func absent(v *version) lit    { return lit(2*v.id + 1) }
func (l lit) not() lit         { return l ^ 1 }
func (l lit) id() int          { return int(l >> 1) }

// clause is a set of literals of which one at least must be true.
type clause struct {
	lits   []lit
	need   *need     // why it holds: a need of a package or request,
	rival  *rival    // or a conflict,
	broken *version  // or a version that cannot be read; none of them: one version a name
	from   []*clause // or, learned, the clauses it follows from
	zero   []*clause // and the reasons of the facts that it took as given
}

func (c *clause) learned() bool { return len(c.from) > 0 }

type truth int8

const (
	unknown truth = iota
	yes
	no
)

// solver searches by conflict-driven clause learning, with two watched literals a clause. The
// clauses of a version enter when the version is first assumed installed, so only the part
// of the archive that the search touches is ever read.
type solver struct {
	pool  *pool
	roots []*need

	truth    []truth
	level    []int
	reason   []*clause
	expanded []bool
	watches  [][]*clause // by literal: the clauses that watch it
	trail    []lit
	marks    []int // the trail's length at each decision
	head     int   // what of the trail is propagated

	conflicts int
	proof     *clause // violated at level 0
	err       error   // the universe could not be read
}

func newSolver(p *pool) *solver { return &solver{pool: p} }

// solve gives the finished walk over a satisfying set.
func (s *solver) solve(ctx context.Context) (*walk, error) {
	for _, r := range s.roots {
		if c := s.addClause(&clause{lits: literals(nil, r.options), need: r}); c != nil {
			s.proof = c
			return nil, errUnsatisfiable
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		conflict := s.propagate()
		for ; conflict != nil; conflict = s.propagate() {
			if err := s.learn(ctx, conflict); err != nil {
				return nil, err
			}
		}
		if s.err != nil {
			return nil, s.err
		}
		w := newWalk(s)
		if w.run() {
			return w, nil
		}
		if s.err != nil {
			return nil, s.err
		}
		if err := s.learn(ctx, w.conflict); err != nil {
			return nil, err
		}
	}
}

// learn turns a conflict into a clause and takes back what led to it.
func (s *solver) learn(ctx context.Context, conflict *clause) error {
	if len(s.marks) == 0 {
		s.proof = conflict
		return errUnsatisfiable
	}
	if s.conflicts++; s.conflicts > maxConflicts {
		return fmt.Errorf("gave up after %d conflicts", maxConflicts)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	learned, level := s.analyze(conflict)
	s.backTo(level)
	s.addClause(learned)
	return nil
}

// decide assumes the version installed and gives the conflict that follows, or nil.
func (s *solver) decide(v *version) *clause {
	s.marks = append(s.marks, len(s.trail))
	s.assign(installed(v), nil)
	return s.propagate()
}

func (s *solver) value(v *version) truth { return s.valueOf(installed(v)) }

func (s *solver) valueOf(l lit) truth {
	s.grow()
	t := s.truth[l.id()]
	if t == unknown || l&1 == 0 {
		return t
	}
	return yes + no - t
}

// grow makes room for the versions that the pool has met since.
func (s *solver) grow() {
	if n := len(s.pool.all); len(s.truth) < n {
		more := n - len(s.truth)
		s.truth = append(s.truth, make([]truth, more)...)
		s.level = append(s.level, make([]int, more)...)
		s.reason = append(s.reason, make([]*clause, more)...)
		s.expanded = append(s.expanded, make([]bool, more)...)
		s.watches = append(s.watches, make([][]*clause, 2*more)...)
	}
}

func (s *solver) assign(l lit, reason *clause) {
	s.grow()
	s.truth[l.id()] = yes
	if l&1 == 1 {
		s.truth[l.id()] = no
	}
	s.level[l.id()] = len(s.marks)
	s.reason[l.id()] = reason
	s.trail = append(s.trail, l)
}

func (s *solver) backTo(level int) {
	if level >= len(s.marks) {
		return
	}
	keep := s.marks[level]
	for _, l := range s.trail[keep:] {
		s.truth[l.id()] = unknown
		s.reason[l.id()] = nil
	}
	s.trail, s.marks, s.head = s.trail[:keep], s.marks[:level], keep
}

// propagate draws every conclusion of the trail and gives the clause that is violated, or nil.
func (s *solver) propagate() *clause {
	for s.head < len(s.trail) {
		l := s.trail[s.head]
		s.head++
		if l&1 == 0 {
			if c := s.expand(s.pool.all[l.id()]); c != nil {
				return c
			}
		}
		if c := s.visitWatches(l.not()); c != nil {
			return c
		}
	}
	return nil
}

// visitWatches looks at the clauses that watch a literal which has become false.
func (s *solver) visitWatches(gone lit) *clause {
	watching := s.watches[gone]
	kept := watching[:0]
	for i, c := range watching {
		if c.lits[0] == gone {
			c.lits[0], c.lits[1] = c.lits[1], c.lits[0]
		}
		if s.valueOf(c.lits[0]) == yes {
			kept = append(kept, c)
			continue
		}
		other := slices.IndexFunc(c.lits[2:], func(l lit) bool { return s.valueOf(l) != no })
		if other >= 0 {
			c.lits[1], c.lits[other+2] = c.lits[other+2], c.lits[1]
			s.watches[c.lits[1]] = append(s.watches[c.lits[1]], c)
			continue
		}
		kept = append(kept, c)
		if s.valueOf(c.lits[0]) == no {
			s.watches[gone] = append(kept, watching[i+1:]...)
			return c
		}
		s.assign(c.lits[0], c)
	}
	s.watches[gone] = kept
	return nil
}

// addClause takes a clause in and gives it back when it is violated already. Its first two
// literals become those that can tell of a change soonest.
func (s *solver) addClause(c *clause) *clause {
	s.grow()
	rank := func(l lit) int {
		if s.valueOf(l) != no {
			return -1
		}
		return len(s.marks) - s.level[l.id()]
	}
	slices.SortStableFunc(c.lits, func(a, b lit) int { return rank(a) - rank(b) })
	if len(c.lits) > 1 {
		s.watches[c.lits[0]] = append(s.watches[c.lits[0]], c)
		s.watches[c.lits[1]] = append(s.watches[c.lits[1]], c)
	}
	switch {
	case len(c.lits) == 0 || s.valueOf(c.lits[0]) == no:
		return c
	case s.valueOf(c.lits[0]) == unknown && (len(c.lits) == 1 || s.valueOf(c.lits[1]) == no):
		s.assign(c.lits[0], c)
	}
	return nil
}

// expand takes in the clauses of a version that is assumed installed for the first time.
func (s *solver) expand(v *version) *clause {
	if s.expanded[v.id] {
		return nil
	}
	if err := s.pool.readRelations(v); err != nil {
		s.err = err
		return nil
	}
	s.grow()
	s.expanded[v.id] = true
	var violated *clause
	add := func(c *clause) {
		if found := s.addClause(c); violated == nil {
			violated = found
		}
	}
	if v.broken != nil {
		add(&clause{lits: []lit{absent(v)}, broken: v})
	}
	for _, n := range v.needs {
		if len(n.options) > 0 || len(n.omitted) == 0 {
			if !slices.Contains(n.options, v) {
				add(&clause{lits: literals(v, n.options), need: n})
			}
		}
	}
	for _, r := range v.rivals {
		for _, o := range r.with {
			add(&clause{lits: []lit{absent(v), absent(o)}, rival: r})
		}
	}
	siblings, err := s.pool.named(v.pkg.Name)
	if err != nil {
		s.err = err
	}
	for _, o := range siblings {
		if o != v {
			add(&clause{lits: []lit{absent(v), absent(o)}})
		}
	}
	return violated
}

// literals gives "not owner, or one of the options".
func literals(owner *version, options []*version) []lit {
	lits := make([]lit, 0, len(options)+1)
	if owner != nil {
		lits = append(lits, absent(owner))
	}
	for _, o := range options {
		lits = append(lits, installed(o))
	}
	return lits
}

// analyze gives the clause that keeps the conflict from coming again, by its first unique
// implication point, and the level at which it says something new.
func (s *solver) analyze(conflict *clause) (*clause, int) {
	learned := &clause{}
	seen := make(map[int]bool)
	open, at, back := 0, len(s.trail)-1, 0
	pivot, c := lit(-1), conflict
	var rest []lit
	for {
		learned.from = append(learned.from, c)
		for _, l := range c.lits {
			if l == pivot || seen[l.id()] {
				continue
			}
			seen[l.id()] = true
			switch level := s.level[l.id()]; {
			case level == len(s.marks):
				open++
			case level > 0:
				rest, back = append(rest, l), max(back, level)
			case s.reason[l.id()] != nil:
				learned.zero = append(learned.zero, s.reason[l.id()])
			}
		}
		for !seen[s.trail[at].id()] || s.level[s.trail[at].id()] != len(s.marks) {
			at--
		}
		pivot = s.trail[at]
		at--
		if open--; open == 0 {
			break
		}
		c = s.reason[pivot.id()]
	}
	learned.lits = append([]lit{pivot.not()}, rest...)
	return learned, back
}
