package base

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/base/capability"
	"plimsoll.dev/plimsoll/internal/debian/maintscript"
)

// scripts is what the maintainer scripts of all members would do at their installation,
// read, not run.
type scripts struct {
	reports  []maintscript.Report // one for each member
	members  []*member
	setuid   patterns // paths that may have set-id bits
	missing  []*account
	warnings []Warning
}

func readScripts(members []*member, architecture string, place *placer, setuid patterns) *scripts {
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
	s := &scripts{members: members, setuid: setuid}
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
	if err := s.paths(t, o, read); err != nil {
		return err
	}
	for i, r := range s.reports {
		m := s.members[i]
		alternatives = append(alternatives, r.Alternatives...)
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
	s.warnOfAccounts()
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

func (s *scripts) capability(t *tree, m *member, c maintscript.Capability) {
	at, _ := t.resolve(usrMerge(strings.TrimPrefix(c.File, "/")), true)
	set, err := capability.Parse(c.Text)
	if n := t.at[at]; err == nil && n != nil && n.kind == tar.TypeReg {
		t.each(n, func(n *node) { n.xattr = map[string][]byte{capability.Attribute: set.Xattr()} })
		return
	}
	s.warn(m, "it would set capabilities %q on %s", c.Text, c.File)
}
