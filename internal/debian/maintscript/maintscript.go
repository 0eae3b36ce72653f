// Package maintscript takes the maintainer scripts of a Debian package and gives what they
// would do at its first installation, as far as that can be read without running them:
// alternatives, diversions, file capabilities, paths, accounts; and a finding for each
// command whose effect matters and could not be read.
//
// The scripts are walked along their syntax tree with the arguments dpkg would give
// (Debian Policy, chapter 6): a variable that is assigned a literal has a value, a test on
// known values is decided, a loop over literals is unrolled. Where a condition depends on
// the machine both branches are walked. Nothing is ever executed.
package maintscript

import (
	"cmp"
	"io/fs"
	"slices"
	"strings"
)

// Scripts is what a package's control.tar says about its installation. Empty fields mean
// that the file is not there.
type Scripts struct {
	Package   string // its name, for the scripts that are known as a whole
	Arch      string // its Debian architecture
	Preinst   []byte
	Postinst  []byte
	Triggers  []byte
	Templates []byte // debconf's questions; their defaults answer db_get

	// Lstat tells what the composed tree has at an absolute path. It follows links in the
	// directories on the way (the /bin of a merged /usr), but not one at the end. It
	// decides file tests. Nil leaves them undecided, and both branches are walked.
	Lstat func(path string) (fs.FileMode, bool)

	// Listening tells whether a package of the image waits for the trigger. Nil means
	// that one may.
	Listening func(trigger string) bool
}

// Report is what the scripts of one package would do. Nothing in it has been judged: the
// caller decides what to apply.
type Report struct {
	Alternatives []Alternative
	Diversions   []Diversion
	Capabilities []Capability
	Paths        []Path // files, directories, links and their ownership, each path once
	Users        []User
	Groups       []Group
	Members      []Member
	Uncovered    []Finding
}

// Alternative is one "update-alternatives --install", or one line of a jinfo file.
type Alternative struct {
	Name     string // of the group: the link in /etc/alternatives
	Link     string // absolute path of the generic name
	Path     string // absolute path of the program
	Priority int
	Slaves   []Slave
}

// Slave is a link that follows its alternative, such as the manual page.
type Slave struct{ Name, Link, Path string }

// Diversion is one "dpkg-divert --add": the package's File is unpacked as To by every
// other package. By is the package that keeps File; empty for a local diversion. dpkg
// compares File with the names in data.tar as they are shipped: a diversion of
// /lib/x.so does not hold for a package that ships /usr/lib/x.so.
type Diversion struct{ File, To, By string }

// Capability is one "setcap"; Text is as in cap_from_text(3).
type Capability struct{ File, Text string }

// Kind says what a Path makes.
type Kind string

// The kinds of Path.
const (
	Existing  Kind = ""          // only owner, group or mode of what a package ships
	Directory Kind = "directory" // with its parents
	File      Kind = "file"      // with Content
	Copy      Kind = "copy"      // of the file Source
	Symlink   Kind = "symlink"   // to Target
)

// Path is what the scripts make of one path. Owner, Group and Mode are empty where the
// scripts leave them alone; a new directory is then root's with 0755, a new file 0644.
type Path struct {
	Path      string
	Kind      Kind
	Target    string // of a Symlink, as written
	Source    string // of a Copy, absolute
	Content   string // of a File
	Owner     string // name or number
	Group     string // name or number
	Mode      string // octal, or chmod's symbolic form such as "g+s"
	Recursive bool   // owner, group and mode hold for everything below, too
	KeepOld   bool   // what is there already stays: the script uses touch or ucf, or looks first
	Replace   bool   // a Symlink takes the place of what is there: the script removes that first
}

// AnyID is the UID or GID of an account whose number the script leaves to the system.
const AnyID = -1

// User is an account. Home, Shell and Comment are empty where the script leaves them to
// the tool's defaults.
type User struct {
	Name    string
	UID     int // AnyID when the system may choose
	System  bool
	Group   string // primary group, by name or number; empty: one of its own name, or nogroup for adduser --system
	Home    string
	Shell   string
	Comment string
}

// Group is a group of accounts.
type Group struct {
	Name   string
	GID    int // AnyID when the system may choose
	System bool
}

// Member puts a user, maybe of another package, into a further group.
type Member struct{ User, Group string }

// Finding is a command whose effect is not in the Report although it may matter.
type Finding struct {
	Script  string // "preinst", "postinst" or "triggers"
	Line    int    // in that file, from 1
	Command string // as far as it could be read; "…" stands for what could not
	Why     string // one sentence
}

// Read walks the scripts as for a first installation: "preinst install", "postinst
// configure" with no old version, and "postinst triggered" for the triggers the package
// waits for. It never fails: what it cannot read is in Uncovered.
func Read(s Scripts) Report {
	c := &collector{paths: map[string]*Path{}, seen: map[Finding]bool{}, removed: map[string]bool{}, tested: map[string]bool{}, told: map[string]bool{}}
	defaults := templateDefaults(s.Templates)
	run := func(script string, text []byte, args ...string) {
		if len(text) == 0 || coveredScripts[s.Package+"/"+script] != "" {
			return
		}
		w := &walker{in: s, out: c, script: script, defaults: defaults}
		w.run(text, args)
	}
	run("preinst", s.Preinst, "install")
	run("postinst", s.Postinst, "configure", "")
	for _, t := range Interests(s.Triggers) {
		if coveredTriggers[t] == "" {
			run("postinst", s.Postinst, "triggered", t)
		}
	}
	for i, line := range strings.Split(string(s.Triggers), "\n") {
		verb, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		name = strings.TrimSpace(name)
		if strings.HasPrefix(verb, "activate") && coveredTriggers[name] == "" && (s.Listening == nil || s.Listening(name)) {
			c.find(Finding{Script: "triggers", Line: i + 1, Command: strings.TrimSpace(line),
				Why: "Another package's script acts on this trigger, and that action is not made."})
		}
	}
	return c.report()
}

// Interests gives the triggers of a deb-triggers(5) file that the package waits for.
func Interests(triggers []byte) []string {
	var names []string
	for line := range strings.Lines(string(triggers)) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[0], "interest") {
			names = append(names, fields[1])
		}
	}
	return names
}

// templateDefaults gives the default answers of a debconf templates file.
func templateDefaults(templates []byte) map[string]string {
	defaults := map[string]string{}
	name := ""
	for line := range strings.Lines(string(templates)) {
		key, value, ok := strings.Cut(line, ":")
		switch value = strings.TrimSpace(value); {
		case strings.TrimSpace(line) == "":
			name = ""
		case ok && strings.EqualFold(key, "Template"):
			name = value
		case ok && strings.EqualFold(key, "Default") && name != "":
			defaults[name] = value
		}
	}
	return defaults
}

// collector gathers effects in the order of their first appearance.
type collector struct {
	Report
	paths map[string]*Path
	order []string
	seen  map[Finding]bool

	removed   map[string]bool // what the scripts have taken away
	tested    map[string]bool // what they look at
	told      map[string]bool // programs that were reported once for a script
	temporary int             // how many scratch files were made
}

func (c *collector) path(name string) *Path {
	delete(c.removed, name)
	p := c.paths[name]
	if p == nil {
		p = &Path{Path: name}
		c.paths[name] = p
		c.order = append(c.order, name)
	}
	return p
}

func (c *collector) remove(name string) {
	delete(c.paths, name)
	c.order = slices.DeleteFunc(c.order, func(n string) bool { return n == name })
}

func (c *collector) find(f Finding) {
	key := f
	key.Why = ""
	if !c.seen[key] {
		c.seen[key] = true
		c.Uncovered = append(c.Uncovered, f)
	}
}

func (c *collector) report() Report {
	r := c.Report
	for _, name := range c.order {
		if isScratch(name) {
			continue
		}
		r.Paths = append(r.Paths, *c.paths[name])
	}
	order := map[string]int{"preinst": 0, "postinst": 1, "triggers": 2}
	slices.SortStableFunc(r.Uncovered, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Script], order[b.Script]), cmp.Compare(a.Line, b.Line))
	})
	return r
}
