package maintscript

import (
	"bytes"
	"fmt"
	"maps"
	"strings"

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
	unsure  int  // how many conditions are around that only a machine can decide
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
	w.unsure++
	defer func() { w.unsure-- }()
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

// report adds a finding about a statement.
func (w *walker) report(s syntax.Node, command, why string) {
	w.out.find(Finding{Script: w.script, Line: int(s.Pos().Line()), Command: command, Why: why})
}

func (w *walker) reportf(s syntax.Node, args []value, format string, a ...any) {
	w.report(s, join(args), fmt.Sprintf(format, a...))
}
