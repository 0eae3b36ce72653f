package maintscript

import (
	"io/fs"
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// cmd is one simple command with its words expanded.
type cmd struct {
	stmt *syntax.Stmt
	args []value // the name first
}

// builtins are the commands whose effect or result is read. Each gives the exit status.
// It is a function, not a variable, because the handlers come back to it.
func builtins(name string) func(*walker, cmd) truth {
	switch name {
	case ":", "true":
		return func(*walker, cmd) truth { return yes }
	case "false":
		return func(*walker, cmd) truth { return no }
	case "test", "[":
		return (*walker).testCommand
	case "set":
		return (*walker).set
	case "shift":
		return (*walker).shift
	case "unset", "read":
		return (*walker).unset
	case "export", "local", "readonly", "declare", "typeset":
		return (*walker).export
	case "cd":
		return (*walker).cd
	case "umask":
		return (*walker).setUmask
	case ".", "source":
		return (*walker).source
	case "dpkg":
		return (*walker).dpkg
	case "getent", "id":
		return (*walker).account
	case "db_get":
		return (*walker).dbGet
	case "update-alternatives":
		return (*walker).updateAlternatives
	case "dpkg-divert":
		return (*walker).divert
	case "dpkg-statoverride":
		return (*walker).statoverride
	case "setcap":
		return (*walker).setcap
	case "adduser", "useradd":
		return (*walker).adduser
	case "addgroup", "groupadd":
		return (*walker).addgroup
	case "usermod", "gpasswd":
		return (*walker).usermod
	case "mkdir", "install", "ln", "cp", "mv", "touch", "rm", "rmdir", "chown", "chgrp", "chmod", "sed", "tee":
		return func(w *walker, c cmd) truth { return w.files(name, c) }
	case "shadowconfig", "pwconv", "grpconv":
		return func(*walker, cmd) truth { return yes } // accounts are written with shadow files
	}
	return nil
}

// wrappers run the command that follows their options.
var wrappers = map[string]bool{"command": true, "env": true, "exec": true, "nice": true, "ionice": true,
	"nohup": true, "chronic": true, "setsid": true, "builtin": true, "time": true}

func (w *walker) call(s *syntax.Stmt, c *syntax.CallExpr) (truth, flow) {
	if len(c.Args) == 0 {
		status := yes
		for _, a := range c.Assigns {
			w.assign(a)
			if hasCommand(a.Value) {
				status = maybe
			}
		}
		w.redirect(s, known(""))
		return status, next
	}
	args := w.fields(c.Args)
	if len(args) == 0 {
		w.redirect(s, known(""))
		return maybe, next
	}
	return w.dispatch(cmd{stmt: s, args: args})
}

func (w *walker) assign(a *syntax.Assign) {
	if a.Name == nil {
		return
	}
	v := w.text(a.Value)
	if a.Array != nil || a.Index != nil {
		v = value{}
	}
	if a.Append {
		old, _ := w.variable(a.Name.Value)
		b := newBuilder()
		b.add(old)
		b.add(v)
		v = b.now
	}
	w.vars[a.Name.Value] = v
}

func hasCommand(word *syntax.Word) bool {
	found := false
	if word != nil {
		syntax.Walk(word, func(n syntax.Node) bool {
			_, ok := n.(*syntax.CmdSubst)
			found = found || ok
			return !found
		})
	}
	return found
}

func (w *walker) declare(c *syntax.DeclClause) truth {
	for _, a := range c.Args {
		if a.Naked && a.Value != nil || a.Name == nil {
			continue // an option
		}
		if a.Naked {
			if _, set := w.vars[a.Name.Value]; !set && c.Variant.Value == "local" {
				w.vars[a.Name.Value] = known("")
			}
			continue
		}
		w.assign(a)
	}
	return yes
}

func (w *walker) dispatch(c cmd) (truth, flow) {
	for len(c.args) > 1 && c.args[0].known && wrappers[c.args[0].text] {
		if c.args[0].text == "command" && (c.args[1].text == "-v" || c.args[1].text == "-V") {
			w.redirect(c.stmt, value{})
			if len(c.args) < 3 {
				return maybe, next
			}
			return w.installed(c.args[2]), next
		}
		c.args = c.args[1:]
		for len(c.args) > 1 && (strings.HasPrefix(c.args[0].text, "-") || strings.Contains(c.args[0].text, "=")) {
			c.args = c.args[1:]
		}
	}
	name := c.args[0]
	if !name.known {
		w.redirect(c.stmt, value{})
		return w.computed(c), next
	}
	if f, ok := leaves[name.text]; ok {
		return w.status(c.args[1:]), f
	}
	if body := w.funcs[name.text]; body != nil {
		w.redirect(c.stmt, value{})
		return w.function(body, c.args[1:])
	}
	w.redirect(c.stmt, printed(c.args))
	if handle := builtins(path.Base(name.text)); handle != nil {
		return handle(w, c), next
	}
	return w.other(c), next
}

var leaves = map[string]flow{"exit": exits, "return": returns, "break": breaks, "continue": continues}

// status reads the argument of exit and return.
func (w *walker) status(args []value) truth {
	switch {
	case len(args) == 0:
		return maybe
	case !args[0].known:
		return maybe
	}
	return when(args[0].text == "0")
}

func (w *walker) function(body *syntax.Stmt, args []value) (truth, flow) {
	if w.depth++; w.depth > maxDepth {
		w.depth--
		return maybe, next
	}
	params := w.params
	w.params = args
	status, f := w.stmt(body)
	w.params = params
	w.depth--
	if f == exits {
		return status, f
	}
	return status, next
}

// printed gives what a command writes to its standard output where that is sure.
func printed(args []value) value {
	switch args[0].text {
	case ":", "true", "touch":
		return known("")
	case "echo":
		args = args[1:]
		end := "\n"
		if len(args) > 0 && args[0].text == "-n" {
			args, end = args[1:], ""
		}
		text := ""
		for i, a := range args {
			if !a.known || strings.Contains(a.text, `\`) || strings.HasPrefix(a.text, "-e") {
				return value{}
			}
			if i > 0 {
				text += " "
			}
			text += a.text
		}
		return known(text + end)
	case "printf":
		if len(args) == 2 && args[1].known && !strings.ContainsAny(args[1].text, `%\`) {
			return args[1]
		}
	}
	return value{}
}

// ignoredHooks are folders whose programs are run by a loop and only keep caches.
var ignoredHooks = []string{"/usr/share/python3/runtime.d/"}

func (w *walker) computed(c cmd) truth {
	for _, prefix := range ignoredHooks {
		if strings.HasPrefix(c.args[0].text, prefix) {
			return maybe
		}
	}
	if w.reading == 0 {
		w.reportf(c.stmt, c.args, "The script works out while it runs which program to call.")
	}
	return maybe
}

// other is a command without a handler of its own.
func (w *walker) other(c cmd) truth {
	name := path.Base(c.args[0].text)
	for _, a := range c.args[1:] {
		if strings.HasSuffix(a.text, "/py_compile.py") {
			return yes // byte code is a cache
		}
	}
	if why, ok := matters[name]; ok {
		w.reportf(c.stmt, c.args, "%s", why)
		return yes
	}
	if reason, ok := harmless[name]; ok || strings.HasPrefix(name, "db_") {
		if name == "which" || name == "type" || name == "hash" {
			if len(c.args) > 1 {
				return w.installed(c.args[len(c.args)-1])
			}
		}
		if reason != "" || name == "echo" || name == "printf" || strings.HasPrefix(name, "db_") {
			return yes
		}
		return maybe
	}
	if w.foreign && w.installed(c.args[0]) != yes {
		return maybe // a function of the script that was read in and reported
	}
	if w.installed(c.args[0]) == no {
		w.reportf(c.stmt, c.args, "The script calls a program that the image does not have, so its effect is missing.")
		return maybe
	}
	w.reportf(c.stmt, c.args, "It is not known what this program changes in the image.")
	return maybe
}

func (w *walker) testCommand(c cmd) truth {
	args := c.args[1:]
	if c.args[0].text == "[" {
		if len(args) == 0 || args[len(args)-1].text != "]" {
			return maybe
		}
		args = args[:len(args)-1]
	}
	return w.test(args)
}

func (w *walker) set(c cmd) truth {
	for i, a := range c.args[1:] {
		if a.text == "--" {
			w.params = c.args[i+2:]
			return yes
		}
		if !a.known || !strings.HasPrefix(a.text, "-") && !strings.HasPrefix(a.text, "+") {
			w.params = c.args[i+1:]
			return yes
		}
	}
	return yes
}

func (w *walker) shift(cmd) truth {
	if len(w.params) > 0 {
		w.params = w.params[1:]
	}
	return yes
}

// unset forgets variables; read does so, too, for what comes in is not known.
func (w *walker) unset(c cmd) truth {
	for _, a := range c.args[1:] {
		if c.args[0].text == "unset" {
			delete(w.vars, a.text)
		} else {
			w.vars[a.text] = value{}
		}
	}
	if c.args[0].text == "unset" {
		return yes
	}
	return maybe
}

func (w *walker) export(c cmd) truth {
	for _, a := range c.args[1:] {
		if name, v, ok := strings.Cut(a.text, "="); ok {
			w.vars[name] = value{text: v, known: a.known}
		}
	}
	return yes
}

func (w *walker) cd(c cmd) truth {
	if len(c.args) != 2 {
		w.cwd = value{}
		return maybe
	}
	if dir, ok := w.absolute(c.args[1]); ok {
		w.cwd = known(dir)
	} else {
		w.cwd = value{}
	}
	return yes
}

func (w *walker) setUmask(c cmd) truth {
	w.umask = ""
	if len(c.args) == 2 && c.args[1].known {
		w.umask = c.args[1].text
	}
	return yes
}

func (w *walker) source(c cmd) truth {
	if len(c.args) < 2 {
		return maybe
	}
	file := c.args[1]
	if sourced[file.text] != "" || strings.HasPrefix(file.text, "/etc/default/") {
		return yes
	}
	w.foreign = true
	if why := sourcedMatters[file.text]; why != "" {
		w.reportf(c.stmt, c.args, "%s", why)
	} else {
		w.reportf(c.stmt, c.args, "The script reads in another one that is not walked.")
	}
	return yes
}

func (w *walker) dpkg(c cmd) truth {
	if len(c.args) > 1 && c.args[1].text == "--compare-versions" {
		return compareVersions(c.args[2:])
	}
	return maybe
}

// account answers getent and id: the base accounts and those the scripts make are there.
func (w *walker) account(c cmd) truth {
	if len(c.args) < 2 {
		return maybe
	}
	name := c.args[len(c.args)-1]
	if !name.known || c.args[0].text == "getent" && c.args[1].text != "passwd" && c.args[1].text != "group" {
		return maybe
	}
	if baseAccounts[name.text] {
		return yes
	}
	group := c.args[0].text == "getent" && c.args[1].text == "group"
	for _, u := range w.out.Users {
		if u.Name == name.text && (!group || u.Group == "" || u.Group == u.Name) {
			return yes
		}
	}
	for _, g := range w.out.Groups {
		if group && g.Name == name.text {
			return yes
		}
	}
	return no
}

func (w *walker) dbGet(c cmd) truth {
	w.vars["RET"] = value{}
	if len(c.args) < 2 || !c.args[1].known {
		return maybe
	}
	answer, ok := w.defaults[c.args[1].text]
	if !ok {
		return maybe
	}
	w.vars["RET"] = known(answer)
	return yes
}

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
	case name == "mktemp":
		return known("/tmp/maintscript"), true
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
	if ok && isScratch(name) {
		return
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
	return name == "/tmp/maintscript"
}

// isDir tells whether the path is known to be a directory.
func (w *walker) isDir(name string) bool {
	mode, found := w.lstat(name)
	return found == yes && mode&fs.ModeDir != 0
}
