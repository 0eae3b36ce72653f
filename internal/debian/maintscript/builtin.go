package maintscript

import (
	"mvdan.cc/sh/v3/syntax"
	"strings"
)

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
	case "eval":
		return (*walker).eval
	case "exec": // without a command it only redirects
		return func(*walker, cmd) truth { return yes }
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
	case "ucf":
		return (*walker).ucf
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

// eval walks a command line that is known, and reports another.
func (w *walker) eval(c cmd) truth {
	line := ""
	for _, a := range c.args[1:] {
		line += a.text + " "
		if !a.known {
			if w.reading == 0 {
				w.reportf(c.stmt, c.args, "The command is put together while the script runs.")
			}
			return maybe
		}
	}
	file, err := syntax.NewParser(syntax.Variant(syntax.LangBash)).Parse(strings.NewReader(line), "eval")
	if w.depth++; err != nil || w.depth > maxDepth {
		w.depth--
		return maybe
	}
	status, _ := w.list(file.Stmts)
	w.depth--
	return status
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
