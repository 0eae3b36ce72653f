package maintscript

import (
	"io/fs"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// output gives what a command substitution prints where that is sure.
func (w *walker) output(stmts []*syntax.Stmt) value {
	if len(stmts) == 1 && !stmts[0].Negated {
		if call, ok := stmts[0].Cmd.(*syntax.CallExpr); ok && len(call.Args) > 0 {
			if v, ok := w.answer(w.fields(call.Args)); ok {
				return v
			}
		}
	}
	w.depth++
	w.reading++
	if w.depth <= maxDepth {
		w.subshell(stmts)
	}
	w.depth--
	w.reading--
	return value{}
}

func (w *walker) answer(args []value) (value, bool) {
	if len(args) > 0 && args[0].text == "mktemp" {
		return w.mktemp(args), true
	}
	for _, a := range args {
		if !a.known {
			return value{}, false
		}
	}
	if len(args) == 0 {
		return known(""), true
	}
	arg := func(i int) string {
		if i < len(args) {
			return args[i].text
		}
		return ""
	}
	switch name := args[0].text; {
	case name == "dpkg-divert" && arg(1) == "--listpackage":
		return known(""), true // nothing is diverted before the first installation
	case name == "dpkg-divert" && arg(1) == "--truename" && len(args) == 3:
		return args[2], true
	case name == "dpkg" && arg(1) == "--print-architecture":
		return known(w.in.Arch), w.in.Arch != ""
	case name == "basename" && len(args) == 2 && arg(1) != "":
		return known(path.Base(arg(1))), true
	case name == "dirname" && len(args) == 2 && arg(1) != "":
		return known(path.Dir(arg(1))), true
	case name == "echo":
		v := printed(args)
		return known(strings.TrimRight(v.text, "\n")), v.known
	case name == "command" && arg(1) == "-v" && len(args) == 3, name == "which" && len(args) == 2:
		return w.where(args[len(args)-1])
	}
	return value{}, false
}

// where answers "command -v": the path, or nothing when the tree has no such program.
func (w *walker) where(program value) (value, bool) {
	if w.in.Lstat == nil {
		return value{}, true
	}
	for _, dir := range []string{"/usr/sbin/", "/usr/bin/"} {
		if _, found := w.lstat(dir + path.Base(program.text)); found == yes {
			return known(dir + path.Base(program.text)), true
		}
	}
	return known(""), true
}

// redirect looks at where a command writes. content is what it prints, if that is sure.
func (w *walker) redirect(s *syntax.Stmt, content value) {
	var here *syntax.Redirect
	for _, r := range s.Redirs {
		if r.Op == syntax.Hdoc || r.Op == syntax.DashHdoc {
			here = r
		}
	}
	for _, r := range s.Redirs {
		appends := r.Op == syntax.AppOut || r.Op == syntax.AppAll
		writes := appends || r.Op == syntax.RdrOut || r.Op == syntax.ClbOut || r.Op == syntax.RdrAll
		if !writes || r.N != nil && r.N.Value != "1" {
			continue
		}
		text := content
		if here != nil && isCat(s) {
			text = w.here(here)
		}
		w.write(s, w.text(r.Word), text, appends)
	}
}

func isCat(s *syntax.Stmt) bool {
	call, ok := s.Cmd.(*syntax.CallExpr)
	return ok && len(call.Args) == 1 && call.Args[0].Lit() == "cat"
}

func (w *walker) here(r *syntax.Redirect) value {
	v := w.text(r.Hdoc)
	if r.Op == syntax.DashHdoc && v.known {
		var b strings.Builder
		for line := range strings.Lines(v.text) {
			b.WriteString(strings.TrimLeft(line, "\t"))
		}
		v.text = b.String()
	}
	return v
}

// write puts text into a file, or reports that it could not be read.
func (w *walker) write(s *syntax.Stmt, target, text value, appends bool) {
	name, ok := w.absolute(target)
	if !ok && isScratch(target.text) {
		return
	}
	if ok && isScratch(name) {
		w.writeScratch(name, text, appends)
		return
	}
	if !text.known && strings.HasPrefix(name, "/var/log/") {
		return // what a build logs is no part of the image
	}
	if !ok {
		w.report(s, "> "+join([]value{target}), "The script writes a file whose name it works out while it runs.")
		return
	}
	old := w.out.paths[name]
	switch {
	case !text.known, appends && (old == nil || old.Kind != File):
		w.report(s, "> "+name, "The script works out while it runs what it writes into this file.")
	case appends:
		old.Content += text.text
	default:
		p := w.out.path(name)
		p.Kind, p.Content, p.KeepOld = File, text.text, false
		w.creation(p)
	}
}

// writeScratch follows what the script puts into a scratch file, for it may install it.
func (w *walker) writeScratch(name string, text value, appends bool) {
	old := w.out.paths[name]
	switch {
	case !strings.HasPrefix(name, temporary):
	case !text.known, appends && (old == nil || old.Kind != File):
		w.compute(name)
	case w.unsure > 0 && old != nil && (old.Kind == Copy || old.Content != ""):
		w.compute(name) // another branch may have written it
	case appends:
		old.Content += text.text
	default:
		p := w.out.path(name)
		p.Kind, p.Content, p.Source = File, text.text, ""
	}
}

// creation gives a new file the mode that the umask leaves it.
func (w *walker) creation(p *Path) {
	if p.Mode == "" && len(w.umask) >= 3 && strings.HasSuffix(w.umask, "66") {
		p.Mode = "0600"
	} else if p.Mode == "" && strings.HasSuffix(w.umask, "77") {
		p.Mode = "0600"
	}
}

func isScratch(name string) bool {
	for _, prefix := range scratch {
		if strings.HasPrefix(name+"/", prefix) {
			return true
		}
	}
	return false
}

// isDir tells whether the path is known to be a directory.
func (w *walker) isDir(name string) bool {
	mode, found := w.lstat(name)
	return found == yes && mode&fs.ModeDir != 0
}
