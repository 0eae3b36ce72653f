package base

import (
	"archive/tar"
	"path"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/debian/maintscript"
)

// paths makes what the scripts make, and changes what they change. Links that take the
// place of a folder come first, so that what other scripts put below it lies behind them.
func (s *scripts) paths(t *tree, o *owners, read func(*node) ([]byte, error)) error {
	for i, r := range s.reports {
		for _, p := range r.Paths {
			if at, ok := t.lies(p.Path, false); ok && p.Kind == maintscript.Symlink && p.Replace && t.at[at] != nil && t.at[at].isDir() {
				s.link(t, s.members[i], at, p)
			}
		}
	}
	for i, r := range s.reports {
		for _, p := range r.Paths {
			if err := s.path(t, s.members[i], p, o, read); err != nil {
				return err
			}
		}
	}
	return nil
}

// lies gives the place in the tree of a path that a script names; ok is false for the root
// and for circles of links.
func (t *tree) lies(file string, last bool) (at string, ok bool) {
	at, ok = t.resolve(usrMerge(strings.TrimPrefix(path.Clean(file), "/")), last)
	return at, ok && at != ""
}

// path makes one path, or changes a packaged one, unless that is already as it should be.
func (s *scripts) path(t *tree, m *member, p maintscript.Path, o *owners, read func(*node) ([]byte, error)) error {
	follows := p.Kind == maintscript.Existing || p.Kind == maintscript.Directory
	at, ok := t.lies(p.Path, follows)
	if !ok || within(at, machines) {
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
		} else if !old.isDir() {
			s.warn(m, "it would make the folder %s, but a file stands there", p.Path)
			return nil
		}
	case maintscript.Symlink:
		s.link(t, m, at, p)
		return nil
	case maintscript.File:
		if within(at, transient) {
			return nil
		}
		if old == nil {
			t.addFile(at, 0o644, []byte(p.Content))
		}
	case maintscript.Copy:
		if old != nil || within(at, transient) {
			return nil
		}
		if made, err := s.copy(t, m, at, p, read); !made {
			return err
		}
	}
	s.own(t, m, t.at[at], p, o)
	return nil
}

// machines are folders that a running machine fills; transient are those whose files are
// not worth keeping in an image, though programs ask for the folders.
var (
	machines  = []string{"tmp", "proc", "sys", "dev", "var/lib/dpkg", "var/lib/dbus", "var/lib/systemd"}
	transient = []string{"var/cache", "var/log", "run"}
)

func within(at string, dirs []string) bool {
	for _, dir := range dirs {
		if at == dir || under(at, dir) {
			return true
		}
	}
	return false
}

// link makes a symlink where nothing stands, or where the script has made room. It warns
// when something else is there that the script does not expect.
func (s *scripts) link(t *tree, m *member, at string, p maintscript.Path) {
	old := t.at[at]
	switch {
	case old == nil:
		t.addLink(at, p.Target)
	case old.kind == tar.TypeSymlink && goal(at, old.link) == goal(at, p.Target):
	case p.Replace && t.empty(old):
		t.addLink(at, p.Target)
	case p.Replace:
		s.warn(m, "it would put a link to %s in the place of the folder %s, but that is not empty", p.Target, p.Path)
	case !p.KeepOld:
		s.warn(m, "it would link %s to %s, but something else stands there", p.Path, p.Target)
	}
}

// goal gives the absolute path that a symlink at the path names.
func goal(at, target string) string {
	if strings.HasPrefix(target, "/") {
		return path.Clean(target)
	}
	return path.Join("/", path.Dir(at), target)
}

// empty tells whether the node can go without anything below it going, too.
func (t *tree) empty(n *node) bool {
	if !n.isDir() {
		return true
	}
	for at := range t.at {
		if under(at, n.path) {
			return false
		}
	}
	return true
}

// copy makes a copy of a file, with its mode.
func (s *scripts) copy(t *tree, m *member, at string, p maintscript.Path, read func(*node) ([]byte, error)) (made bool, err error) {
	from, _ := t.lies(p.Source, true)
	source := t.at[from]
	if source != nil && source.kind == tar.TypeLink {
		source = t.at[source.link]
	}
	if source == nil || source.kind != tar.TypeReg {
		s.warn(m, "it would copy %s to %s, but the image does not have that file", p.Source, p.Path)
		return false, nil
	}
	data := source.data
	if source.entry != nil {
		if data, err = read(source); err != nil {
			return false, err
		}
	}
	t.addFile(at, source.mode&^setIDs, data)
	return true, nil
}

// own sets owner and mode, and below a folder the owner when the script does so.
func (s *scripts) own(t *tree, m *member, n *node, p maintscript.Path, o *owners) {
	uid, userKnown := -1, true
	if p.Owner != "" {
		if uid, userKnown = number(p.Owner, o.user); !userKnown {
			s.wantOwner(m, false, p.Owner, "/"+n.path)
		}
	}
	gid, groupKnown := -1, true
	if p.Group != "" {
		if gid, groupKnown = number(p.Group, o.group); !groupKnown {
			s.wantOwner(m, true, p.Group, "/"+n.path)
		}
	}
	if !userKnown || !groupKnown {
		return
	}
	give := func(n *node) {
		if uid >= 0 {
			n.uid = uid
		}
		if gid >= 0 {
			n.gid = gid
		}
	}
	mode := s.mode(m, n, p)
	t.each(n, func(n *node) {
		give(n)
		n.mode = mode
	})
	if !p.Recursive {
		return
	}
	for at, below := range t.at {
		if under(at, n.path) {
			t.each(below, give)
		}
	}
}

// mode gives the node's mode as the script sets it. A program gets a set-id bit only where
// the spec allows it; a folder keeps its own, with which it hands down its group.
func (s *scripts) mode(m *member, n *node, p maintscript.Path) int64 {
	if p.Mode == "" {
		return n.mode
	}
	mode, ok := chmod(n.mode, p.Mode, n.isDir())
	if !ok {
		s.warn(m, "it changes the mode of %s by %q", p.Path, p.Mode)
		return n.mode
	}
	if n.isDir() || mode&setIDs == 0 || s.setuid.match(n.path) {
		return mode
	}
	s.warn(m, "it would set the mode of %s to %04o, but hardening lets no program act as its owner or group: "+
		"give it what it needs under paths (capabilities), or list it under hardening.allowSetuid and set the mode under paths", p.Path, mode)
	return mode &^ setIDs
}

func number(text string, named func(string) (int, bool)) (int, bool) {
	if id, err := strconv.Atoi(text); err == nil {
		return id, true
	}
	return named(text)
}

// chmod gives the mode after chmod(1), whose argument is octal, or clauses such as "g+s"
// or "u=rwX,go-w". A clause without "u", "g", "o" or "a" acts as with the umask 022.
func chmod(mode int64, text string, dir bool) (int64, bool) {
	if octal, err := strconv.ParseInt(text, 8, 64); err == nil {
		return octal & 0o7777, octal >= 0 && octal <= 0o7777
	}
	for clause := range strings.SplitSeq(text, ",") {
		at := strings.IndexAny(clause, "+-=")
		if at < 0 {
			return 0, false
		}
		bits, ok := clauseBits(clause[at+1:], dir || mode&0o111 != 0)
		if !ok {
			return 0, false
		}
		reach := int64(0)
		for _, who := range clause[:at] {
			switch who {
			case 'u':
				reach |= 0o4700
			case 'g':
				reach |= 0o2070
			case 'o':
				reach |= 0o1007
			case 'a':
				reach |= 0o7777
			default:
				return 0, false
			}
		}
		if at == 0 {
			reach = 0o7777 &^ 0o022
		}
		switch clause[at] {
		case '+':
			mode |= bits & reach
		case '-':
			mode &^= bits & reach
		case '=':
			mode = mode&^reach | bits&reach
		}
	}
	return mode, true
}

// clauseBits gives the permissions of a clause, for everybody.
func clauseBits(letters string, searchable bool) (bits int64, ok bool) {
	for _, letter := range letters {
		switch letter {
		case 'r':
			bits |= 0o444
		case 'w':
			bits |= 0o222
		case 'x':
			bits |= 0o111
		case 'X':
			if searchable {
				bits |= 0o111
			}
		case 's':
			bits |= setIDs
		case 't':
			bits |= 0o1000
		default:
			return 0, false
		}
	}
	return bits, true
}
