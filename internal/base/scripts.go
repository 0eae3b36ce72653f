package base

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/base/capability"
	"plimsoll.dev/plimsoll/internal/debian/maintscript"
)

// scripts is what the maintainer scripts of all members would do at their installation,
// read, not run.
type scripts struct {
	reports  []maintscript.Report // one for each member
	members  []*member
	warnings []Warning
}

func readScripts(members []*member, architecture string, place *placer) *scripts {
	kinds := map[string]fs.FileMode{}
	for _, m := range members {
		for i := range m.content.Entries {
			e := &m.content.Entries[i]
			if at, ok := place.place(e.Path, e.Type); ok {
				kinds["/"+at] = fileMode(e.Type, e.Mode)
			}
		}
	}
	lstat := func(file string) (fs.FileMode, bool) {
		mode, ok := kinds["/"+usrMerge(strings.TrimPrefix(path.Clean(file), "/"))]
		return mode, ok
	}
	awaited := map[string]bool{}
	for _, m := range members {
		for _, trigger := range maintscript.Interests([]byte(m.content.Scripts["triggers"])) {
			awaited[trigger] = true
		}
	}
	s := &scripts{members: members}
	for _, m := range members {
		text := m.content.Scripts
		s.reports = append(s.reports, maintscript.Read(maintscript.Scripts{
			Package: m.pkg.Name, Arch: architecture, Lstat: lstat,
			Listening: func(trigger string) bool { return awaited[trigger] },
			Preinst:   []byte(text["preinst"]), Postinst: []byte(text["postinst"]),
			Triggers: []byte(text["triggers"]), Templates: []byte(text["templates"]),
		}))
	}
	return s
}

func fileMode(kind byte, mode int64) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	switch kind {
	case tar.TypeDir:
		m |= fs.ModeDir
	case tar.TypeSymlink:
		m |= fs.ModeSymlink
	}
	return m
}

// diversions gives the moved paths, as packages ship them: before /usr is merged.
func (s *scripts) diversions() map[string]diversion {
	moved := map[string]diversion{}
	for _, r := range s.reports {
		for _, d := range r.Diversions {
			moved[strings.TrimPrefix(d.File, "/")] = diversion{by: d.By, to: strings.TrimPrefix(d.To, "/")}
		}
	}
	return moved
}

// declared adds to the reports what the packages' sysusers.d and tmpfiles.d files declare.
func (s *scripts) declared() error {
	for i, m := range s.members {
		r := &s.reports[i]
		for _, n := range m.nodes {
			switch file := "/" + n.path; {
			case n.kind != tar.TypeReg || !strings.HasSuffix(file, ".conf"):
			case under(n.path, "usr/lib/sysusers.d"):
				found, err := maintscript.ParseSysusers(file, n.entry.Text)
				if err != nil {
					return err
				}
				r.Users, r.Groups = append(r.Users, found.Users...), append(r.Groups, found.Groups...)
				r.Members = append(r.Members, found.Members...)
			case under(n.path, "usr/lib/tmpfiles.d"):
				found, err := maintscript.ParseTmpfiles(file, n.entry.Text)
				if err != nil {
					return err
				}
				r.Paths = append(r.Paths, found...)
			}
		}
	}
	return nil
}

func (s *scripts) warn(m *member, format string, args ...any) {
	w := Warning{Package: m.pkg.Name, Missing: fmt.Sprintf(format, args...)}
	if !slices.Contains(s.warnings, w) {
		s.warnings = append(s.warnings, w)
	}
}

// apply does to the tree what the scripts would have done, and warns of the rest.
func (s *scripts) apply(t *tree, o *owners, read func(*node) ([]byte, error)) error {
	if err := s.declared(); err != nil {
		return err
	}
	for i, r := range s.reports {
		s.accounts(s.members[i], r, o)
	}
	alternatives, err := s.javaTools(t)
	if err != nil {
		return err
	}
	for i, r := range s.reports {
		m := s.members[i]
		alternatives = append(alternatives, r.Alternatives...)
		for _, p := range r.Paths {
			if err := s.path(t, m, p, o, read); err != nil {
				return err
			}
		}
		for _, c := range r.Capabilities {
			s.capability(t, m, c)
		}
		for _, f := range r.Uncovered {
			s.warn(m, "its %s (line %d) would run `%s`: %s", f.Script, f.Line, f.Command, f.Why)
		}
	}
	exists := func(file string) bool {
		at, ok := t.resolve(usrMerge(strings.TrimPrefix(file, "/")), true)
		return ok && t.at[at] != nil
	}
	for _, link := range maintscript.Links(maintscript.Available(alternatives, exists)) {
		if at := usrMerge(strings.TrimPrefix(link.Path, "/")); t.at[at] == nil { // else a package ships the path itself
			t.addLink(at, link.Target)
		}
	}
	return nil
}

// javaTools gives the alternatives that Java packages declare.
func (s *scripts) javaTools(t *tree) ([]maintscript.Alternative, error) {
	var tools []maintscript.Alternative
	for _, m := range s.members {
		for _, n := range m.nodes {
			if n.kind != tar.TypeReg || !strings.HasPrefix(n.path, "usr/lib/jvm/.") || !strings.HasSuffix(n.path, ".jinfo") {
				continue
			}
			found, err := maintscript.ParseJinfo("/"+n.path, t.text(n))
			if err != nil {
				return nil, err
			}
			tools = append(tools, found...)
		}
	}
	return tools, nil
}

// accounts adds users and groups with fixed numbers and warns of those that the system
// would have numbered: a number that depends on the order of installation is none.
func (s *scripts) accounts(m *member, r maintscript.Report, o *owners) {
	for _, g := range r.Groups {
		if _, known := o.group(g.Name); known {
			continue
		}
		if g.GID == maintscript.AnyID {
			s.warn(m, "it wants a group %q: add it under accounts.groups with a number of your choice", g.Name)
			continue
		}
		o.addGroup(g.Name, g.GID)
	}
	for _, u := range r.Users {
		if o.hasUser(u.Name) {
			continue
		}
		if _, static := staticUsers[u.Name]; !static && u.UID == maintscript.AnyID {
			s.warn(m, "it wants a user %q (home %s): add it under accounts.users with a number of your choice", u.Name, orNone(u.Home))
			continue
		}
		o.addUser(u)
	}
	for _, member := range r.Members {
		o.join(member.User, member.Group)
	}
}

func orNone(home string) string {
	if home == "" {
		return "none"
	}
	return home
}

// path makes one path, or changes a packaged one, unless that is already as it should be.
func (s *scripts) path(t *tree, m *member, p maintscript.Path, o *owners, read func(*node) ([]byte, error)) error {
	at, ok := t.resolve(usrMerge(strings.TrimPrefix(path.Clean(p.Path), "/")), false)
	if !ok || at == "" || transient(at) {
		return nil
	}
	old := t.at[at]
	switch p.Kind {
	case maintscript.Existing:
		if old == nil {
			return nil
		}
	case maintscript.Directory:
		if old == nil {
			t.parents(at)
			t.add(&node{path: at, kind: tar.TypeDir, mode: 0o755})
		}
	case maintscript.Symlink:
		if old == nil {
			t.addLink(at, p.Target)
		}
		return nil
	case maintscript.File:
		if old == nil {
			t.addFile(at, 0o644, []byte(p.Content))
		}
	case maintscript.Copy:
		source := t.at[usrMerge(strings.TrimPrefix(p.Source, "/"))]
		if old != nil || source == nil || source.kind != tar.TypeReg {
			return nil
		}
		data, err := read(source)
		if err != nil {
			return err
		}
		t.addFile(at, 0o644, data)
	}
	return s.own(t, m, t.at[at], p, o)
}

// transient tells paths that hold nothing worth keeping in an image.
func transient(at string) bool {
	for _, dir := range []string{"var/cache", "var/log", "run", "tmp", "proc", "sys", "dev", "var/lib/dpkg", "var/lib/dbus", "var/lib/systemd"} {
		if at == dir || under(at, dir) {
			return true
		}
	}
	return false
}

// own sets owner and mode. A set-id bit is not given: hardening would take it again.
func (s *scripts) own(t *tree, m *member, n *node, p maintscript.Path, o *owners) error {
	uid, gid, mode := n.uid, n.gid, n.mode
	if p.Owner != "" {
		id, ok := number(p.Owner, o.user)
		if !ok {
			s.warn(m, "it gives %s to user %q, who is not in the image", p.Path, p.Owner)
			return nil
		}
		uid = id
	}
	if p.Group != "" {
		id, ok := number(p.Group, o.group)
		if !ok {
			s.warn(m, "it gives %s to group %q, which is not in the image", p.Path, p.Group)
			return nil
		}
		gid = id
	}
	if p.Mode != "" {
		octal, err := strconv.ParseInt(p.Mode, 8, 64)
		if err != nil {
			s.warn(m, "it changes the mode of %s by %q", p.Path, p.Mode)
			return nil
		}
		mode = octal &^ setIDs
	}
	t.each(n, func(n *node) { n.uid, n.gid, n.mode = uid, gid, mode })
	if p.Recursive {
		for at, below := range t.at {
			if under(at, n.path) {
				t.each(below, func(n *node) { n.uid, n.gid = uid, gid })
			}
		}
	}
	return nil
}

func number(text string, named func(string) (int, bool)) (int, bool) {
	if id, err := strconv.Atoi(text); err == nil {
		return id, true
	}
	return named(text)
}

func (s *scripts) capability(t *tree, m *member, c maintscript.Capability) {
	at, _ := t.resolve(usrMerge(strings.TrimPrefix(c.File, "/")), true)
	set, err := capability.Parse(c.Text)
	if n := t.at[at]; err == nil && n != nil && n.kind == tar.TypeReg {
		t.each(n, func(n *node) { n.xattr = map[string][]byte{capability.Attribute: set.Xattr()} })
		return
	}
	s.warn(m, "it would set capabilities %q on %s", c.Text, c.File)
}
