package base

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// statusDir is where scanners look for the packages of an image without dpkg: a control
// stanza a package, as distroless images have them.
const statusDir = "var/lib/dpkg/status.d"

// addStatus gives each member its inventory: the control stanza and the MD5 sums of its
// files that are in the image (deb-md5sums(5)), and beside them the list of all its paths,
// as dpkg keeps it. All lie in the package's own layer.
func (t *tree) addStatus() {
	for _, m := range t.members {
		sums := map[string]string{} // by path
		conffiles := map[string]string{}
		newest := int64(0)
		weak := map[string]string{}
		for _, n := range m.nodes {
			newest = max(newest, n.mtime)
			if n.kind == tar.TypeLink && weak[n.link] != "" {
				sums[n.path] = weak[n.link]
			}
			if n.kind != tar.TypeReg {
				continue
			}
			weak[n.path] = n.entry.MD5
			if slices.Contains(m.content.Conffiles, n.entry.Path) {
				conffiles[n.path] = n.entry.MD5
				continue
			}
			sums[n.path] = n.entry.MD5
		}
		t.addOwned(m, statusDir, tar.TypeDir, newest, nil)
		t.addOwned(m, statusDir+"/"+m.pkg.Name, tar.TypeReg, newest, []byte(stanza(m.content.Control, conffiles)))
		if len(sums) > 0 {
			t.addOwned(m, statusDir+"/"+m.pkg.Name+".md5sums", tar.TypeReg, newest, md5sums(sums))
		}
		t.addOwned(m, infoDir, tar.TypeDir, newest, nil)
		t.addOwned(m, listOf(m), tar.TypeReg, newest, pathList(m))
	}
}

// infoDir is where dpkg keeps what it knows of each package's files.
const infoDir = "var/lib/dpkg/info"

func listOf(m *member) string { return infoDir + "/" + m.pkg.Name + ".list" }

// md5sums gives the lines of deb-md5sums(5), by path.
func md5sums(sums map[string]string) []byte {
	var text strings.Builder
	for _, file := range slices.Sorted(maps.Keys(sums)) {
		text.WriteString(sums[file] + "  " + file + "\n")
	}
	return []byte(text.String())
}

// pathList gives the text of the package's .list: the root as "/.", then every folder, file
// and link of the package, this list among them.
func pathList(m *member) []byte {
	paths := []string{"/" + listOf(m)}
	for _, n := range m.nodes {
		paths = append(paths, "/"+n.path)
	}
	slices.Sort(paths)
	paths = slices.Compact(paths) // a package may ship both /bin and /usr/bin
	return []byte("/.\n" + strings.Join(paths, "\n") + "\n")
}

// addOwned puts a made node, with the folders above it, in the member's own layer.
func (t *tree) addOwned(m *member, file string, kind byte, mtime int64, data []byte) {
	if dir := path.Dir(file); dir != "." && !slices.ContainsFunc(m.nodes, func(n *node) bool { return n.path == dir }) {
		t.addOwned(m, dir, tar.TypeDir, mtime, nil)
	}
	n := &node{path: file, kind: kind, mode: 0o644, mtime: mtime, owner: m, size: int64(len(data)), data: data}
	if kind == tar.TypeDir {
		n.mode = 0o755
		if known := t.at[file]; known != nil && known.isDir() {
			n.mode, n.uid, n.gid, n.xattr = known.mode, known.uid, known.gid, known.xattr
		}
		if slices.ContainsFunc(m.nodes, func(o *node) bool { return o.path == file }) {
			return
		}
	}
	if kind == tar.TypeReg {
		sum := sha256.Sum256(data)
		n.sum = hex.EncodeToString(sum[:])
	}
	if t.at[file] == nil {
		t.at[file] = n
	}
	m.nodes = append(m.nodes, n)
}

// stanza gives the control stanza with the Conffiles field that dpkg adds on installing
// (deb-status: path and MD5).
func stanza(control string, conffiles map[string]string) string {
	text := strings.TrimRight(control, "\n") + "\n"
	if len(conffiles) == 0 {
		return text
	}
	var lines []string
	for file, sum := range conffiles {
		lines = append(lines, fmt.Sprintf(" /%s %s\n", file, sum))
	}
	slices.Sort(lines)
	return text + "Conffiles:\n" + strings.Join(lines, "")
}

// fieldOf gives the value of a single-line field of a control stanza, folded lines joined.
func fieldOf(control, name string) string {
	var value strings.Builder
	in := false
	for line := range strings.Lines(control) {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if in {
				value.WriteString(" " + strings.TrimSpace(line))
			}
			continue
		}
		key, rest, _ := strings.Cut(line, ":")
		if in = strings.EqualFold(key, name); in {
			value.WriteString(strings.TrimSpace(rest))
		}
	}
	return value.String()
}
