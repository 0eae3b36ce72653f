package maintscript

import (
	"path"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// cmd is one simple command with its words expanded.
type cmd struct {
	stmt *syntax.Stmt
	args []value // the name first
}

// wrappers run the command that follows their options.
var wrappers = map[string]bool{"command": true, "env": true, "exec": true, "nice": true, "ionice": true,
	"nohup": true, "chronic": true, "setpriv": true, "runuser": true, "setsid": true, "builtin": true, "time": true}

// switching are the wrappers that act as another user; their command follows "--".
var switching = map[string]bool{"setpriv": true, "runuser": true}

func endOfOptions(args []value) int {
	for i, a := range args[:len(args)-1] {
		if a.text == "--" {
			return i + 1
		}
	}
	return 0
}

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
		if end := endOfOptions(c.args); end > 0 && switching[c.args[0].text] {
			c.args = c.args[end:]
			continue
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
		if key := w.script + " " + name; !w.out.told[key] { // once is enough
			w.out.told[key] = true
			w.reportf(c.stmt, c.args, "%s", why)
		}
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
	if w.reading > 0 {
		return maybe // it is asked for what it prints
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
