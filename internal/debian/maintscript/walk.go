package maintscript

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

	"mvdan.cc/sh/v3/pattern"
	"mvdan.cc/sh/v3/syntax"
)

// truth is the exit status of a command as far as it is known.
type truth int

const (
	maybe truth = iota
	yes         // status 0
	no
)

func (t truth) not() truth {
	switch t {
	case yes:
		return no
	case no:
		return yes
	}
	return maybe
}

func when(b bool) truth {
	if b {
		return yes
	}
	return no
}

// flow says how a command ended.
type flow int

const (
	next flow = iota
	exits
	returns
	breaks
	continues
)

// A hostile script must end, too.
const (
	maxSteps = 50_000
	maxDepth = 40
)

// state is what a subshell would copy.
type state struct {
	vars   map[string]value
	params []value
	umask  string
	cwd    value
}

func (s state) clone() state {
	s.vars = maps.Clone(s.vars)
	return s
}

// walker walks one script.
type walker struct {
	in       Scripts
	out      *collector
	script   string
	defaults map[string]string
	state
	funcs   map[string]*syntax.Stmt
	steps   int
	depth   int
	reading int  // how many command substitutions are around; their programs only print
	foreign bool // functions of a file that is not walked are about
}

func (w *walker) run(text []byte, args []string) {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if !isShell(string(line)) {
		w.out.find(Finding{Script: w.script, Line: 1, Command: firstLine(string(line)),
			Why: "This script is not written in shell, so nothing of what it does can be read."})
		return
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(bytes.NewReader(text), w.script)
	if err != nil {
		w.out.find(Finding{Script: w.script, Line: 1, Command: firstLine(string(line)),
			Why: "The shell syntax of this script could not be parsed: " + firstLine(err.Error()) + "."})
		return
	}
	w.funcs = map[string]*syntax.Stmt{}
	w.cwd = known("/")
	w.vars = map[string]value{
		"DPKG_MAINTSCRIPT_PACKAGE": known(w.in.Package),
		"DPKG_MAINTSCRIPT_NAME":    known(w.script),
		"DPKG_MAINTSCRIPT_ARCH":    known(w.in.Arch),
		"DEBIAN_FRONTEND":          known("noninteractive"),
		"PATH":                     known("/usr/sbin:/usr/bin:/sbin:/bin"),
	}
	for _, a := range args {
		w.params = append(w.params, known(a))
	}
	w.list(file.Stmts)
}

func isShell(shebang string) bool {
	fields := strings.Fields(strings.TrimPrefix(shebang, "#!"))
	if !strings.HasPrefix(shebang, "#!") || len(fields) == 0 {
		return false
	}
	program := fields[0][strings.LastIndexByte(fields[0], '/')+1:]
	return program == "sh" || program == "bash" || program == "dash"
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 120 {
		s = s[:120]
	}
	return strings.ToValidUTF8(strings.TrimSpace(s), "?")
}

func (w *walker) list(stmts []*syntax.Stmt) (truth, flow) {
	status := yes
	for _, s := range stmts {
		var f flow
		if status, f = w.stmt(s); f != next {
			return status, f
		}
	}
	return status, next
}

func (w *walker) stmt(s *syntax.Stmt) (truth, flow) {
	if w.steps++; w.steps > maxSteps {
		if w.steps == maxSteps+1 {
			w.report(s, "", "The script is too long to follow from here on.")
		}
		return maybe, exits
	}
	status, f := w.command(s)
	if s.Negated {
		status = status.not()
	}
	return status, f
}

func (w *walker) command(s *syntax.Stmt) (truth, flow) {
	switch c := s.Cmd.(type) {
	case *syntax.CallExpr:
		return w.call(s, c)
	case nil:
		w.redirect(s, known(""))
		return yes, next
	case *syntax.DeclClause:
		return w.declare(c), next
	case *syntax.FuncDecl:
		w.funcs[c.Name.Value] = c.Body
		return yes, next
	}
	w.redirect(s, value{})
	switch c := s.Cmd.(type) {
	case *syntax.Block:
		return w.list(c.Stmts)
	case *syntax.Subshell:
		return w.subshell(c.Stmts), next
	case *syntax.IfClause:
		return w.ifClause(c)
	case *syntax.BinaryCmd:
		return w.binary(c)
	case *syntax.ForClause:
		return w.forClause(c)
	case *syntax.WhileClause:
		return w.whileClause(c)
	case *syntax.CaseClause:
		return w.caseClause(c)
	}
	return maybe, next // [[ … ]], arithmetic and the like change no file
}

func (w *walker) subshell(stmts []*syntax.Stmt) truth {
	saved := w.state
	w.state = saved.clone()
	status, _ := w.list(stmts)
	w.state = saved
	return status
}

// branches walks ways of which one is taken, and joins what they leave behind: a variable
// they disagree on is unknown from then on. A way that leaves the script or the function
// has no say in what follows; if all leave, so does the whole.
func (w *walker) branches(ways ...func() (truth, flow)) (truth, flow) {
	before := w.state
	var joined *state
	left := next
	for _, way := range ways {
		w.state = before.clone()
		_, f := way()
		if f != next {
			left = f
			continue
		}
		if joined == nil {
			after := w.state
			joined = &after
		} else {
			joined.join(w.state)
		}
	}
	if joined == nil {
		w.state = before
		return maybe, left
	}
	w.state = *joined
	return maybe, next
}

func nothing() (truth, flow) { return maybe, next }

func (s *state) join(o state) {
	for name, v := range o.vars {
		if s.vars[name] != v && (v != known("") || s.has(name)) {
			s.vars[name] = value{}
		}
	}
	for name, v := range s.vars {
		if _, ok := o.vars[name]; !ok && v != known("") {
			s.vars[name] = value{}
		}
	}
	if s.cwd != o.cwd {
		s.cwd = value{}
	}
	if s.umask != o.umask {
		s.umask = ""
	}
}

func (s *state) has(name string) bool {
	_, ok := s.vars[name]
	return ok
}

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

// report adds a finding about a statement.
func (w *walker) report(s syntax.Node, command, why string) {
	w.out.find(Finding{Script: w.script, Line: int(s.Pos().Line()), Command: command, Why: why})
}

func (w *walker) reportf(s syntax.Node, args []value, format string, a ...any) {
	w.report(s, join(args), fmt.Sprintf(format, a...))
}
