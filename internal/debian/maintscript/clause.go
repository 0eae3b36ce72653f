package maintscript

import (
	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

func (w *walker) ifClause(c *syntax.IfClause) (truth, flow) {
	if len(c.Cond) == 0 { // the else part
		return w.list(c.Then)
	}
	condition, f := w.list(c.Cond)
	if f != next {
		return condition, f
	}
	otherwise := func() (truth, flow) {
		if c.Else == nil {
			return yes, next
		}
		return w.ifClause(c.Else)
	}
	switch condition {
	case yes:
		return w.list(c.Then)
	case no:
		return otherwise()
	}
	return w.branches(func() (truth, flow) { return w.list(c.Then) }, otherwise)
}

func (w *walker) binary(c *syntax.BinaryCmd) (truth, flow) {
	if c.Op == syntax.Pipe || c.Op == syntax.PipeAll {
		w.subshell([]*syntax.Stmt{c.X})
		return w.subshell([]*syntax.Stmt{c.Y}), next
	}
	status, f := w.stmt(c.X)
	if f != next {
		return status, f
	}
	goOn := yes
	if c.Op == syntax.OrStmt {
		goOn = no
	}
	switch status {
	case goOn:
		return w.stmt(c.Y)
	case maybe:
		right := maybe
		_, f = w.branches(func() (truth, flow) {
			var f flow
			right, f = w.stmt(c.Y)
			return right, f
		}, nothing)
		if c.Op == syntax.OrStmt && right == yes {
			return yes, f
		}
		return maybe, f
	}
	return status, next
}

func (w *walker) forClause(c *syntax.ForClause) (truth, flow) {
	iter, ok := c.Loop.(*syntax.WordIter)
	if !ok {
		return w.once(c.Do, nil)
	}
	items := w.params
	if iter.InPos.IsValid() {
		items = w.fields(iter.Items)
	}
	for _, item := range items {
		if !item.known {
			return w.once(c.Do, func() { w.vars[iter.Name.Value] = item })
		}
	}
	status := yes
	for _, item := range items {
		w.vars[iter.Name.Value] = item
		var f flow
		status, f = w.list(c.Do)
		if f == breaks {
			break
		}
		if f == exits || f == returns {
			return status, f
		}
	}
	return status, next
}

func (w *walker) whileClause(c *syntax.WhileClause) (truth, flow) {
	w.forget(c.Cond)
	w.forget(c.Do)
	status, f := w.list(c.Cond)
	if f != next {
		return status, f
	}
	if status == no && !c.Until || status == yes && c.Until {
		return yes, next
	}
	return w.once(c.Do, nil)
}

// once walks the body of a loop whose rounds are not known: one round, with every
// variable that the body changes unknown.
func (w *walker) once(body []*syntax.Stmt, prepare func()) (truth, flow) {
	w.forget(body)
	if prepare != nil {
		prepare()
	}
	return w.branches(func() (truth, flow) {
		status, f := w.list(body)
		if f == breaks || f == continues {
			f = next
		}
		return status, f
	}, nothing)
}

func (w *walker) forget(body []*syntax.Stmt) {
	for _, s := range body {
		syntax.Walk(s, func(n syntax.Node) bool {
			if a, ok := n.(*syntax.Assign); ok && a.Name != nil {
				w.vars[a.Name.Value] = value{}
			}
			return true
		})
	}
}

func (w *walker) caseClause(c *syntax.CaseClause) (truth, flow) {
	word := w.text(c.Word)
	var possible []func() (truth, flow)
	certain := false
	for _, item := range c.Items {
		matches := no
		for _, p := range item.Patterns {
			switch w.matches(word, p) {
			case yes:
				matches = yes
			case maybe:
				if matches == no {
					matches = maybe
				}
			}
		}
		if matches == no {
			continue
		}
		possible = append(possible, func() (truth, flow) { return w.list(item.Stmts) })
		if matches == yes {
			certain = true
			break
		}
	}
	switch {
	case len(possible) == 0:
		return yes, next
	case len(possible) == 1 && certain:
		return possible[0]()
	case !certain:
		possible = append(possible, nothing)
	}
	return w.branches(possible...)
}

func (w *walker) matches(word value, p *syntax.Word) truth {
	pat := w.pattern(p)
	if pat.known && pat.text == "*" {
		return yes
	}
	if !word.known || !pat.known {
		return maybe
	}
	return match(pat.text, word.text)
}

// match tells whether the text is one that the shell pattern describes.
func match(pat, text string) truth {
	re, err := compile(pat, pattern.EntireString)
	if err != nil {
		return maybe
	}
	return when(re.MatchString(text))
}
