package base

import (
	"archive/tar"
	"fmt"
	"maps"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/capability"
)

// Check is one line of the hardening report.
type Check struct {
	Name    string   `json:"name"`
	Passed  bool     `json:"passed"`
	Details []string `json:"details,omitempty"` // what failed, or what was changed so that it passes
}

// shells and packageManagers are programs that a run-time image does not need, by the
// package that brings them.
var (
	shells          = []string{"bash", "busybox", "busybox-static", "csh", "dash", "fish", "ksh", "ksh93u+m", "mksh", "tcsh", "yash", "zsh", "posh"}
	packageManagers = []string{"apt", "apt-utils", "aptitude", "cdebootstrap", "debootstrap", "dpkg", "mmdebstrap", "nala", "npm", "pipx", "python3-pip", "snapd"}
)

// harden checks the tree against the defaults that the spec did not open.
func harden(t *tree, s *v1alpha1.BaseImageSpec, stripped []string) []Check {
	checks := []Check{
		{Name: "runs as a non-root numeric user", Passed: s.RunAs.UID != 0 || s.Hardening.AllowRoot},
		unlisted("no shell unless listed", t, shells, "/bin/sh and the like give an intruder a foothold"),
		unlisted("no package manager unless listed", t, packageManagers, "images are replaced, not changed"),
		setIDBits(t, compile(s.Hardening.AllowSetuid), stripped),
		capabilities(t),
		worldWritable(t),
		inside("no documentation but copyright files", t, s.Hardening.Documentation, func(n *node) bool {
			return n.entry != nil && n.kind == tar.TypeReg && isDoc(n.path, n.entry)
		}),
		absent(t, s.Absent),
		{Name: "says which system it is (/etc/os-release)", Passed: t.at["etc/os-release"] != nil},
	}
	if last := &checks[len(checks)-1]; !last.Passed {
		last.Details = []string{"scanners cannot tell the distribution: add the package base-files"}
	}
	return checks
}

// failed gives the checks that did not pass.
func failed(checks []Check) []Check {
	return slices.DeleteFunc(slices.Clone(checks), func(c Check) bool { return c.Passed })
}

func unlisted(name string, t *tree, names []string, why string) Check {
	c := Check{Name: name, Passed: true}
	for _, m := range t.members {
		if slices.Contains(names, m.pkg.Name) && !m.pkg.Requested {
			c.Passed = false
			c.Details = append(c.Details, fmt.Sprintf("%s is in, %s; %s: list it under packages, or omit it with a reason", m.pkg.Name, m.pkg.Why, why))
		}
	}
	return c
}

func setIDBits(t *tree, allowed patterns, stripped []string) Check {
	c := Check{Name: "no setuid or setgid programs", Passed: true}
	for _, file := range stripped {
		c.Details = append(c.Details, "bit taken from "+file)
	}
	for at, n := range t.at {
		if n.kind == tar.TypeReg && n.mode&setIDs != 0 && !allowed.match(at) {
			c.Passed = false
			c.Details = append(c.Details, fmt.Sprintf("/%s has mode %04o: take the bit away, or list it under hardening.allowSetuid", at, n.mode))
		}
	}
	slices.Sort(c.Details)
	return c
}

// capabilities lists the programs that carry some, for they start with more rights than
// whoever starts them. Packages and specs give them one by one, so none fails.
func capabilities(t *tree) Check {
	c := Check{Name: "file capabilities are listed", Passed: true}
	for _, at := range slices.Sorted(maps.Keys(t.at)) {
		if xattr := t.at[at].xattr[capability.Attribute]; xattr != nil {
			text := "some that the kernel will not understand"
			if set, err := capability.Decode(xattr); err == nil {
				text = set.String()
			}
			c.Details = append(c.Details, "/"+at+" has "+text)
		}
	}
	return c
}

func worldWritable(t *tree) Check {
	c := Check{Name: "nothing world-writable but sticky folders for temporary files", Passed: true}
	for at, n := range t.at {
		if n.kind == tar.TypeSymlink || n.mode&0o002 == 0 {
			continue
		}
		if n.isDir() && n.mode&0o1000 != 0 && slices.Contains([]string{"tmp", "var/tmp", "run/lock", "var/lock", "dev/shm"}, at) {
			continue
		}
		c.Passed = false
		c.Details = append(c.Details, fmt.Sprintf("/%s has mode %04o: set another under paths (type: existing)", at, n.mode))
	}
	slices.Sort(c.Details)
	return c
}

func inside(name string, t *tree, allowed bool, is func(*node) bool) Check {
	c := Check{Name: name, Passed: true}
	if allowed {
		c.Details = []string{"allowed by the spec"}
		return c
	}
	for _, at := range slices.Sorted(maps.Keys(t.at)) {
		if is(t.at[at]) {
			c.Passed = false
			c.Details = append(c.Details, "/"+at)
		}
	}
	return c
}

func absent(t *tree, a v1alpha1.Absent) Check {
	c := Check{Name: "nothing that the spec wants absent", Passed: true}
	for _, m := range t.members {
		if slices.Contains(a.Packages, m.pkg.Name) {
			c.Passed = false
			c.Details = append(c.Details, fmt.Sprintf("package %s is in, %s", m.pkg.Name, m.pkg.Why))
		}
	}
	unwanted := compile(a.Paths)
	for _, at := range slices.Sorted(maps.Keys(t.at)) {
		if unwanted.match(at) {
			c.Passed = false
			c.Details = append(c.Details, "/"+at+" is in"+from(t.at[at]))
		}
	}
	return c
}

func from(n *node) string {
	if n.owner == nil {
		return ""
	}
	return ", from " + n.owner.pkg.Name
}

// describe gives the failed checks as lines.
func describe(checks []Check) string {
	var lines []string
	for _, c := range checks {
		lines = append(lines, strings.TrimSuffix(c.Name+" ("+strings.Join(c.Details, "; ")+")", " ()"))
	}
	return strings.Join(lines, "; ")
}
