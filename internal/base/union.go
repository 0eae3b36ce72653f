package base

import (
	"archive/tar"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/fault"
)

// docs are the folders of documentation. Copyright files stay: licences ask for it.
var docs = compile([]string{
	"/usr/share/doc/**", "/usr/share/man/**", "/usr/share/info/**", "/usr/share/doc-base/**",
	"/usr/share/lintian/**", "/usr/share/bug/**", "/usr/share/gtk-doc/**", "/usr/share/reportbug/**",
})

const setIDs = 0o6000

// unionOptions say what of the packages' files is kept.
type unionOptions struct {
	exclude    patterns
	setuid     patterns // paths that keep setuid and setgid
	keepDocs   bool
	owners     *owners
	diversions map[string]diversion // by the path diverted from
	stripped   *[]string            // collects the paths that lost setuid or setgid
}

// diversion moves a path of all packages but one (dpkg-divert(1)).
type diversion struct{ by, to string }

// join puts the members' entries together as one tree.
func join(members []*member, place *placer, o unionOptions) (*tree, error) {
	t := &tree{members: members, at: map[string]*node{}}
	for _, m := range members {
		moved := map[string]*node{} // a hard link's target may have been moved, or dropped
		for i := range m.content.Entries {
			e := &m.content.Entries[i]
			n, err := o.node(m, e, place, moved)
			if err != nil {
				return nil, fault.New(fault.Failed, "compose", m.pkg.String(), err)
			}
			if n == nil {
				continue
			}
			if err := t.settle(n); err != nil {
				return nil, err
			}
		}
		for _, n := range slices.Clone(m.nodes) {
			if n.replaced {
				t.drop(n)
			}
		}
	}
	t.shareFolders()
	t.pruneDocs()
	return t, nil
}

// node gives an entry's place in the image, or nil when the entry is not wanted.
func (o *unionOptions) node(m *member, e *content.Entry, place *placer, moved map[string]*node) (*node, error) {
	file := e.Path
	if d, ok := o.diversions[file]; ok && d.by != m.pkg.Name {
		file = d.to
	}
	at, ok := place.place(file, e.Type)
	if !ok {
		return nil, fmt.Errorf("%q lies below symlinks that go in a circle", e.Path)
	}
	if at == "" || place.links[at] != "" && e.Type == tar.TypeDir {
		return nil, nil
	}
	if !o.keepDocs && isDoc(at, e) || o.exclude.match(at) {
		return nil, nil
	}
	n := &node{path: at, kind: e.Type, mode: e.Mode, size: e.Size, mtime: e.MTime, xattr: e.Xattr, link: e.Link, owner: m, entry: e, sum: e.SHA256}
	var err error
	if n.uid, n.gid, err = o.owners.ids(e); err != nil {
		return nil, err
	}
	if n.mode&setIDs != 0 && n.kind == tar.TypeReg && !o.setuid.match(at) {
		n.mode &^= setIDs
		*o.stripped = append(*o.stripped, "/"+at)
	}
	if e.Type == tar.TypeReg {
		moved[e.Path] = n
	}
	if e.Type == tar.TypeLink {
		target, kept := moved[e.Link]
		if !kept {
			return nil, fmt.Errorf("%q is a hard link to %q, which is left out: exclude both or none", e.Path, e.Link)
		}
		n.link = target.path // one inode has one owner, one mode, one set of attributes
		n.mode, n.uid, n.gid, n.xattr, n.mtime = target.mode, target.uid, target.gid, target.xattr, target.mtime
	}
	return n, nil
}

// isDoc tells documentation. Symlinks between doc folders stay, since a copyright file may
// lie behind one.
func isDoc(file string, e *content.Entry) bool {
	if !docs.match(file) {
		return false
	}
	rest, inDoc := strings.CutPrefix(file, "usr/share/doc/")
	if !inDoc {
		return file != "usr/share/doc"
	}
	parts := strings.Split(rest, "/")
	switch {
	case len(parts) == 1:
		return e.Type != tar.TypeDir && e.Type != tar.TypeSymlink
	case len(parts) == 2:
		return parts[1] != "copyright"
	}
	return true
}

// settle puts the node into the tree, or says which package is in its way.
func (t *tree) settle(n *node) error {
	old, taken := t.at[n.path]
	switch {
	case !taken, n.isDir() && old.isDir():
		if !taken || plain(old) {
			t.at[n.path] = n
		}
		n.owner.nodes = append(n.owner.nodes, n)
	case n.isDir() || old.isDir():
		return clash(n, old, "one ships a folder, the other a file")
	case n.kind == old.kind && n.link == old.link && n.sum == old.sum && n.mode == old.mode:
		n.owner.nodes = append(n.owner.nodes, n) // the same file twice, as Multi-Arch: same allows
	case replaces(n.owner, old.owner):
		t.drop(old)
		t.at[n.path] = n
		n.owner.nodes = append(n.owner.nodes, n)
	case replaces(old.owner, n.owner):
		n.replaced = true // until its hard links have been seen
		n.owner.nodes = append(n.owner.nodes, n)
	default:
		return clash(n, old, "neither replaces the other")
	}
	return nil
}

func plain(n *node) bool { return n.mode == 0o755 && n.uid == 0 && n.gid == 0 && n.xattr == nil }

// replaces tells whether a's Replaces field takes files from b (Debian Policy 7.6).
func replaces(a, b *member) bool {
	taker := index.Package{Name: a.pkg.Name, Architecture: a.pkg.Architecture, Replaces: fieldOf(a.content.Control, "Replaces")}
	may, err := taker.MayOverwrite(&index.Package{Name: b.pkg.Name, Version: b.pkg.Version})
	return err == nil && may
}

func clash(n, old *node, why string) error {
	return fault.Newf(fault.Failed, "compose", "/"+n.path, fmt.Sprintf("%s and %s both ship it, and %s", old.owner.pkg, n.owner.pkg, why)).
		WithHint("exclude the path, or leave one of the packages out")
}

// shareFolders gives a folder that several packages ship the same metadata in each of
// their layers, so that the order of layers means nothing.
func (t *tree) shareFolders() {
	for _, m := range t.members {
		for _, n := range m.nodes {
			if counts := t.at[n.path]; n.isDir() && counts != n {
				n.mode, n.uid, n.gid, n.xattr = counts.mode, counts.uid, counts.gid, counts.xattr
			}
		}
	}
}

// pruneDocs drops the folders in usr/share/doc that have lost everything they held.
func (t *tree) pruneDocs() {
	full := map[string]bool{}
	for file := range t.at {
		if i := strings.LastIndexByte(file, '/'); i > 0 {
			full[file[:i]] = true
		}
	}
	for _, m := range t.members {
		kept := m.nodes[:0]
		for _, n := range m.nodes {
			if n.isDir() && strings.HasPrefix(n.path, "usr/share/doc/") && !full[n.path] {
				if t.at[n.path] == n {
					delete(t.at, n.path)
				}
				continue
			}
			kept = append(kept, n)
		}
		m.nodes = kept
	}
}
