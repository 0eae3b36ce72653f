package maintscript

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// options are the words of a command sorted into options and operands.
type options struct {
	set      map[string]value
	operands []value
	all      map[string][]value // for options that may come more than once
}

// parse sorts args. withValue names the options that take a value, short ones by their
// letter ("m"), long ones without dashes ("mode").
func parse(args []value, withValue ...string) options {
	takes := map[string]bool{}
	for _, o := range withValue {
		takes[o] = true
	}
	o := options{set: map[string]value{}, all: map[string][]value{}}
	put := func(name string, v value) {
		o.set[name] = v
		o.all[name] = append(o.all[name], v)
	}
	for i := 0; i < len(args); i++ {
		a := args[i].text
		following := func() value {
			if i++; i < len(args) {
				return args[i]
			}
			return value{}
		}
		switch {
		case a == "--":
			o.operands = append(o.operands, args[i+1:]...)
			return o
		case strings.HasPrefix(a, "--"):
			name, v, ok := strings.Cut(a[2:], "=")
			switch {
			case ok:
				put(name, value{text: v, known: args[i].known})
			case takes[name]:
				put(name, following())
			default:
				put(name, known(""))
			}
		case len(a) > 1 && a[0] == '-':
			for j := 1; j < len(a); j++ {
				letter := a[j : j+1]
				if !takes[letter] {
					put(letter, known(""))
					continue
				}
				if rest := a[j+1:]; rest != "" {
					put(letter, value{text: rest, known: args[i].known})
				} else {
					put(letter, following())
				}
				break
			}
		default:
			o.operands = append(o.operands, args[i])
		}
	}
	return o
}

func (o options) has(names ...string) bool {
	for _, n := range names {
		if _, ok := o.set[n]; ok {
			return true
		}
	}
	return false
}

// get gives the value of the first of the names that is set.
func (o options) get(names ...string) value {
	for _, n := range names {
		if v, ok := o.set[n]; ok {
			return v
		}
	}
	return known("")
}

func allKnown(vs ...value) bool {
	for _, v := range vs {
		if !v.known {
			return false
		}
	}
	return true
}

const unread = "The script works out while it runs what this command acts on."

// updateAlternatives reads --install with its slaves (update-alternatives(1)). The other
// actions change a choice that an image does not have.
func (w *walker) updateAlternatives(c cmd) truth {
	args := c.args[1:]
	for len(args) > 0 && args[0].text != "--install" {
		switch args[0].text {
		case "--remove", "--remove-all", "--set", "--auto", "--query", "--list", "--display", "--get-selections":
			return no // there is no such alternative before the first installation
		}
		args = args[1:]
	}
	if len(args) < 5 {
		return maybe
	}
	if !allKnown(args[:5]...) {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	priority, err := strconv.Atoi(args[4].text)
	if err != nil {
		w.reportf(c.stmt, c.args, "The alternative's priority is not a number.")
		return yes
	}
	a := Alternative{Link: args[1].text, Name: args[2].text, Path: args[3].text, Priority: priority}
	for args = args[5:]; len(args) >= 4 && args[0].text == "--slave"; args = args[4:] {
		if !allKnown(args[:4]...) {
			w.reportf(c.stmt, c.args, unread)
			return yes
		}
		a.Slaves = append(a.Slaves, Slave{Link: args[1].text, Name: args[2].text, Path: args[3].text})
	}
	if !validAlternative(a) {
		w.reportf(c.stmt, c.args, "The alternative has a path that is not absolute, or a name with a slash.")
		return yes
	}
	w.out.addAlternative(a)
	return yes
}

func (c *collector) addAlternative(a Alternative) {
	for i, old := range c.Alternatives {
		if old.Name == a.Name && old.Path == a.Path {
			c.Alternatives[i] = a
			return
		}
	}
	c.Alternatives = append(c.Alternatives, a)
}

func validAlternative(a Alternative) bool {
	ok := validLink(a.Name, a.Link, a.Path)
	for _, s := range a.Slaves {
		ok = ok && validLink(s.Name, s.Link, s.Path)
	}
	return ok
}

func validLink(name, link, target string) bool {
	return name != "" && name != "." && name != ".." && !strings.Contains(name, "/") &&
		strings.HasPrefix(link, "/") && strings.HasPrefix(target, "/") &&
		path.Clean(link) == link && path.Clean(target) == target
}

// divert reads "dpkg-divert --add" (dpkg-divert(1)); adding is the default action.
func (w *walker) divert(c cmd) truth {
	o := parse(c.args[1:], "divert", "package", "admindir", "instdir", "root")
	if o.has("list", "listpackage", "truename") {
		return no
	}
	if len(o.operands) != 1 {
		return maybe
	}
	file, okFile := w.absolute(o.operands[0])
	to, okTo := w.absolute(o.get("divert"))
	if !o.has("divert") {
		to, okTo = file+".distrib", okFile
	}
	by := o.get("package")
	if !o.has("package") && !o.has("local") {
		by = known(w.in.Package)
	}
	if !okFile || o.has("remove") {
		w.removeDiversion(file)
		return yes
	}
	if !okTo || !by.known {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	w.removeDiversion(file)
	w.out.Diversions = append(w.out.Diversions, Diversion{File: file, To: to, By: by.text})
	return yes
}

func (w *walker) removeDiversion(file string) {
	var kept []Diversion
	for _, d := range w.out.Diversions {
		if d.File != file {
			kept = append(kept, d)
		}
	}
	w.out.Diversions = kept
}

// statoverride reads "dpkg-statoverride --add USER GROUP MODE FILE".
func (w *walker) statoverride(c cmd) truth {
	o := parse(c.args[1:], "admindir", "instdir", "root")
	if o.has("list") {
		return no // nothing is overridden before the first installation
	}
	if !o.has("add") || len(o.operands) != 4 {
		return maybe
	}
	name, ok := w.absolute(o.operands[3])
	if !ok || !allKnown(o.operands...) {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	p := w.out.path(name)
	p.Owner, p.Group, p.Mode = o.operands[0].text, o.operands[1].text, o.operands[2].text
	return yes
}

// setcap reads pairs of capabilities and file (setcap(8)).
func (w *walker) setcap(c cmd) truth {
	args := c.args[1:]
	for len(args) > 0 && (args[0].text == "-q" || args[0].text == "-v") {
		args = args[1:]
	}
	for ; len(args) >= 2; args = args[2:] {
		file, ok := w.absolute(args[1])
		switch {
		case !ok || !args[0].known:
			w.reportf(c.stmt, c.args, unread)
		case args[0].text == "-r":
		default:
			w.out.Capabilities = append(w.out.Capabilities, Capability{File: file, Text: args[0].text})
		}
	}
	return yes
}

// adduser reads adduser(8) and useradd(8), and "adduser USER GROUP".
func (w *walker) adduser(c cmd) truth {
	o := parse(c.args[1:], "u", "g", "d", "s", "c", "G", "uid", "gid", "home", "shell", "gecos", "comment",
		"ingroup", "home-dir", "groups", "firstuid", "lastuid", "conf", "base-dir", "b", "k", "K", "e", "f", "p")
	if len(o.operands) == 0 || !allKnown(o.operands...) {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	if name := o.operands[0].text; len(o.operands) == 2 {
		w.join(name, o.operands[1].text)
		return yes
	}
	if c.args[0].text == "adduser" && o.has("group") && !o.has("system") {
		return w.addgroup(c)
	}
	u := User{Name: o.operands[0].text, System: o.has("system", "r")}
	texts := []value{o.get("uid", "u"), o.get("ingroup", "gid", "g"), o.get("home", "home-dir", "d"),
		o.get("shell", "s"), o.get("gecos", "comment", "c"), o.get("groups", "G")}
	uid, ok := number(texts[0])
	if !allKnown(texts...) || !ok || !validName(u.Name) {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	u.UID, u.Group, u.Home, u.Shell, u.Comment = uid, texts[1].text, texts[2].text, texts[3].text, texts[4].text
	if o.has("group", "U", "user-group") && u.Group == "" {
		u.Group = u.Name
	}
	for _, g := range strings.FieldsFunc(texts[5].text, func(r rune) bool { return r == ',' }) {
		w.join(u.Name, g)
	}
	w.out.addUser(u)
	return yes
}

func (c *collector) addUser(u User) {
	for _, old := range c.Users {
		if old.Name == u.Name {
			return
		}
	}
	c.Users = append(c.Users, u)
}

// join puts a user, maybe of another package, into one more group.
func (w *walker) join(user, group string) {
	for _, u := range w.out.Users {
		if u.Name == user && u.Group == group {
			return // it is the primary one
		}
	}
	m := Member{User: user, Group: group}
	if !slices.Contains(w.out.Members, m) {
		w.out.Members = append(w.out.Members, m)
	}
}

func (w *walker) addgroup(c cmd) truth {
	o := parse(c.args[1:], "g", "gid", "K", "p", "firstgid", "lastgid", "conf")
	if len(o.operands) == 2 && allKnown(o.operands...) {
		w.join(o.operands[0].text, o.operands[1].text)
		return yes
	}
	gid, ok := number(o.get("gid", "g"))
	if len(o.operands) != 1 || !o.operands[0].known || !ok || !validName(o.operands[0].text) {
		w.reportf(c.stmt, c.args, unread)
		return yes
	}
	g := Group{Name: o.operands[0].text, GID: gid, System: o.has("system", "r")}
	for _, old := range w.out.Groups {
		if old.Name == g.Name {
			return yes
		}
	}
	w.out.Groups = append(w.out.Groups, g)
	return yes
}

// usermod reads "usermod -aG GROUPS USER" and "gpasswd -a USER GROUP".
func (w *walker) usermod(c cmd) truth {
	o := parse(c.args[1:], "G", "groups", "d", "home", "s", "shell", "c", "comment", "g", "gid", "u", "uid")
	if c.args[0].text == "gpasswd" && len(o.operands) == 2 && o.has("a") && allKnown(o.operands...) {
		w.join(o.operands[0].text, o.operands[1].text)
		return yes
	}
	groups := o.get("G", "groups")
	if len(o.operands) != 1 || !o.operands[0].known || !groups.known || groups.text == "" {
		w.reportf(c.stmt, c.args, "An account is changed in a way that is not made.")
		return yes
	}
	for _, g := range strings.Split(groups.text, ",") {
		w.join(o.operands[0].text, g)
	}
	return yes
}

// number reads an account's number; an empty text leaves the choice to the system.
func number(v value) (int, bool) {
	if v.text == "" {
		return AnyID, v.known
	}
	n, err := strconv.ParseUint(v.text, 10, 31)
	return int(n), err == nil && v.known
}

// validName holds what no account's name may hold: it would break /etc/passwd.
func validName(s string) bool {
	return s != "" && !strings.ContainsAny(s, ":,/ \t\r\n\x00") && !strings.HasPrefix(s, "-")
}
