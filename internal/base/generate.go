package base

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/capability"
	"plimsoll.dev/plimsoll/internal/base/ldcache"
	"plimsoll.dev/plimsoll/internal/base/truststore"
	"plimsoll.dev/plimsoll/internal/fault"
)

// addFile puts a made file in the tree.
func (t *tree) addFile(file string, mode int64, data []byte) *node {
	sum := sha256.Sum256(data)
	n := &node{path: file, kind: tar.TypeReg, mode: mode, size: int64(len(data)), data: data, sum: hex.EncodeToString(sum[:])}
	t.parents(file)
	t.add(n)
	return n
}

func (t *tree) addLink(file, target string) *node {
	n := &node{path: file, kind: tar.TypeSymlink, mode: 0o777, link: target}
	t.parents(file)
	t.add(n)
	return n
}

// addSkeleton makes the folders and links every image needs, where no package ships them.
func (t *tree) addSkeleton() {
	for _, dir := range []struct {
		path string
		mode int64
	}{
		{"dev", 0o755}, {"etc", 0o755}, {"home", 0o755}, {"proc", 0o755}, {"root", 0o700}, {"run", 0o755},
		{"sys", 0o755}, {"tmp", 0o1777}, {"usr", 0o755}, {"usr/bin", 0o755}, {"usr/lib", 0o755}, {"usr/sbin", 0o755},
		{"var", 0o755}, {"var/tmp", 0o1777},
	} {
		if t.at[dir.path] == nil {
			t.add(&node{path: dir.path, kind: tar.TypeDir, mode: dir.mode})
		}
	}
	for _, name := range merged {
		if t.at[name] == nil && t.at["usr/"+name] != nil {
			t.addLink(name, "usr/"+name)
		}
	}
	if t.at["var/run"] == nil {
		t.addLink("var/run", "/run")
	}
}

// nsswitch makes the C library look into files, then DNS (nsswitch.conf(5)).
const nsswitch = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\nprotocols: files\nservices: files\n"

func (t *tree) addAccounts(o *owners) {
	t.addFile("etc/passwd", 0o644, []byte(o.passwd()))
	t.addFile("etc/group", 0o644, []byte(o.groupFile()))
	if t.at["etc/nsswitch.conf"] == nil {
		t.addFile("etc/nsswitch.conf", 0o644, []byte(nsswitch))
	}
	for _, u := range o.users {
		home := strings.TrimPrefix(path.Clean(u.Home), "/")
		if under(home, "home") && t.at[home] == nil {
			t.parents(home)
			t.add(&node{path: home, kind: tar.TypeDir, mode: 0o700, uid: u.UID, gid: u.GID})
		}
	}
}

// addTimeZone sets UTC where time zones are there; a spec may set another under paths.
func (t *tree) addTimeZone() {
	const utc = "usr/share/zoneinfo/Etc/UTC"
	if t.at[utc] == nil || t.at["etc/localtime"] != nil {
		return
	}
	t.addLink("etc/localtime", "/"+utc)
	t.addFile("etc/timezone", 0o644, []byte("Etc/UTC\n"))
}

// addTrust makes the CA bundle, its hashed links and Java's trust store from the
// certificates that packages ship and those the spec adds. What the spec itself puts in
// their place stays.
func (t *tree) addTrust() error {
	var files []truststore.File
	for file, n := range t.at {
		if n.kind == tar.TypeReg && strings.HasSuffix(file, ".crt") && strings.Contains(file, "share/ca-certificates/") {
			files = append(files, truststore.File{Path: "/" + file, Data: t.text(n)})
		}
	}
	if len(files) == 0 {
		return nil
	}
	certs, err := truststore.Load(files)
	if err != nil {
		return err
	}
	const bundle, java = "etc/ssl/certs/ca-certificates.crt", "etc/ssl/certs/java/cacerts"
	if t.at[bundle] == nil {
		t.addFile(bundle, 0o644, truststore.Bundle(certs)).layer = trustLayer
	}
	for _, link := range truststore.HashLinks(certs) {
		if at := "etc/ssl/certs/" + link.Name; t.at[at] == nil {
			t.addLink(at, link.Target).layer = trustLayer
		}
	}
	if !t.hasJava() || t.at[java] != nil {
		return nil
	}
	store, err := truststore.JavaKeystore(certs)
	if err != nil {
		return err
	}
	t.addFile(java, 0o644, store).layer = trustLayer
	return nil
}

func (t *tree) hasJava() bool {
	return slices.ContainsFunc(t.members, func(m *member) bool {
		return m.pkg.Name == "ca-certificates-java" || strings.Contains(m.pkg.Name, "-jre") || strings.Contains(m.pkg.Name, "-jdk")
	})
}

// addLinkerCache makes /etc/ld.so.cache, as ldconfig would.
func (t *tree) addLinkerCache(architecture string) error {
	conf := map[string][]byte{}
	var files []ldcache.File
	for at, n := range t.at {
		if strings.HasPrefix(at, "etc/ld.so.conf") && n.kind == tar.TypeReg {
			conf["/"+at] = t.text(n)
		}
		switch {
		case n.kind == tar.TypeSymlink:
			files = append(files, ldcache.File{Path: "/" + at, Target: n.link})
		case n.entry != nil && n.entry.Library != nil:
			files = append(files, ldcache.File{Path: "/" + at, Info: *n.entry.Library})
		}
	}
	dirs, err := ldcache.Directories(conf, architecture)
	if err != nil {
		return err
	}
	found := ldcache.Collect(files, dirs)
	if len(found.Libraries) == 0 {
		return nil
	}
	for _, link := range found.Links {
		if at := strings.TrimPrefix(link.Path, "/"); t.at[at] == nil {
			t.addLink(at, link.Target)
		}
	}
	t.addFile(ldcache.CachePath, 0o644, ldcache.Build(found.Libraries))
	return nil
}

// text gives the bytes of a made file, or of a packaged one that declares something.
func (t *tree) text(n *node) []byte {
	if n.entry != nil {
		return n.entry.Text
	}
	return n.data
}

// addPaths makes what the spec asks for, last, so that it has the last word.
func (t *tree) addPaths(paths []v1alpha1.Path) error {
	for _, p := range paths {
		at, ok := t.resolve(usrMerge(strings.TrimPrefix(p.Path, "/")), false)
		if !ok || at == "" {
			return fault.Newf(fault.Usage, "make path", p.Path, "it lies below symlinks that go in a circle")
		}
		if err := t.addPath(at, p); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) addPath(at string, p v1alpha1.Path) error {
	old := t.at[at]
	if err := t.makeRoom(at, p); err != nil {
		return err
	}
	var n *node
	switch p.Type {
	case v1alpha1.PathExisting:
		if old == nil {
			return fault.Newf(fault.Usage, "change path", p.Path, "no package ships it").WithHint("give its type (file, directory) to make it")
		}
		n = old
	case v1alpha1.PathDirectory:
		if n = old; n == nil || !n.isDir() {
			n = &node{path: at, kind: tar.TypeDir, mode: 0o755}
			t.parents(at)
			t.add(n)
		}
	case v1alpha1.PathFile:
		n = t.addFile(at, 0o644, []byte(p.Content))
	case v1alpha1.PathSymlink:
		n = t.addLink(at, p.Target)
	case v1alpha1.PathHardlink:
		var err error
		if n, err = t.addHardlink(at, p); err != nil {
			return err
		}
	}
	return t.amend(n, p)
}

// makeRoom refuses a path that would stand where others lie or below what is no folder.
func (t *tree) makeRoom(at string, p v1alpha1.Path) error {
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		if n := t.at[dir]; n != nil && !n.isDir() {
			return fault.Newf(fault.Usage, "make path", p.Path, "/"+dir+" is no folder")
		}
	}
	if n := t.at[at]; n == nil || !n.isDir() || p.Type == v1alpha1.PathDirectory || p.Type == v1alpha1.PathExisting {
		return nil
	}
	for file := range t.at {
		if under(file, at) {
			return fault.Newf(fault.Usage, "make path", p.Path, "a folder that holds files stands there").WithHint("exclude " + p.Path + "/** as well")
		}
	}
	return nil
}

// addHardlink links to a made file: a link into another layer would be a copy.
func (t *tree) addHardlink(at string, p v1alpha1.Path) (*node, error) {
	target, _ := t.resolve(usrMerge(strings.TrimPrefix(p.Target, "/")), false)
	old := t.at[target]
	if old == nil || old.kind != tar.TypeReg {
		return nil, fault.Newf(fault.Usage, "make path", p.Path, "its target "+p.Target+" is no file of the image")
	}
	if old.owner != nil {
		return nil, fault.Newf(fault.Usage, "make path", p.Path, "a hard link to a package's file would copy it into another layer").
			WithHint("make it a symlink")
	}
	n := &node{path: at, kind: tar.TypeLink, mode: old.mode, uid: old.uid, gid: old.gid, link: target}
	t.parents(at)
	t.add(n)
	return n, nil
}

// amend sets what the path says of mode, owner and capabilities.
func (t *tree) amend(n *node, p v1alpha1.Path) error {
	change := func(n *node) error {
		if p.Mode != "" {
			mode, err := strconv.ParseInt(p.Mode, 8, 64)
			if err != nil {
				return err
			}
			n.mode = mode
		}
		if p.UID != nil {
			n.uid = *p.UID
		}
		if p.GID != nil {
			n.gid = *p.GID
		}
		if p.Capabilities == "" {
			return nil
		}
		if n.kind != tar.TypeReg && n.kind != tar.TypeLink {
			return fault.Newf(fault.Usage, "set capabilities", p.Path, "it is no regular file")
		}
		set, err := capability.Parse(p.Capabilities)
		if err != nil {
			return err
		}
		n.xattr = map[string][]byte{capability.Attribute: set.Xattr()}
		return nil
	}
	var err error
	t.each(n, func(n *node) {
		if err == nil {
			err = change(n)
		}
	})
	return err
}

// The layers of what belongs to no package. Trust has one of its own, so that new
// certificate authorities do not renew everything else.
const (
	baseLayer  = "base"
	trustLayer = "trust"
)

// inventory is the path that lists what a made layer holds, so that no file is an orphan.
func inventory(layer string) string { return "var/lib/plimsoll/" + layer + "/files" }

// addInventory lists the made files of each layer: hash and path, a link with its target,
// and the list itself.
func (t *tree) addInventory() {
	for _, n := range slices.Clone(t.made) {
		t.parents(inventory(n.layer))
	}
	lines := map[string][]string{}
	for _, n := range t.made {
		line := ""
		switch n.kind {
		case tar.TypeReg:
			line = fmt.Sprintf("%s  /%s\n", n.sum, n.path)
		case tar.TypeSymlink, tar.TypeLink:
			line = fmt.Sprintf("link  /%s -> %s\n", n.path, n.link)
		case tar.TypeDir:
			line = fmt.Sprintf("dir  /%s\n", n.path)
		}
		lines[n.layer] = append(lines[n.layer], line)
	}
	for layer, text := range lines {
		text = append(text, "list  /"+inventory(layer)+"\n") // it cannot hold its own hash
		slices.Sort(text)
		t.addFile(inventory(layer), 0o644, []byte(strings.Join(text, ""))).layer = layer
	}
	t.repeatFolders()
}

// repeatFolders puts the made folders above a path in that path's layer too, where it is
// not the one that holds them: a layer must not ask for a folder of a later one.
func (t *tree) repeatFolders() {
	in := map[[2]string]bool{}
	for _, n := range slices.Clone(t.made) {
		for dir := path.Dir(n.path); dir != "."; dir = path.Dir(dir) {
			above := t.at[dir]
			if above == nil || above.owner != nil || above.layer == n.layer || in[[2]string{n.layer, dir}] {
				continue
			}
			in[[2]string{n.layer, dir}] = true
			again := *above
			again.layer = n.layer
			t.made = append(t.made, &again)
		}
	}
}

// sortMade puts the made nodes in the order of their layer: folders before what they hold,
// and hard links after their targets.
func (t *tree) sortMade() {
	slices.SortFunc(t.made, func(a, b *node) int {
		if aLink, bLink := a.kind == tar.TypeLink, b.kind == tar.TypeLink; aLink != bLink {
			if aLink {
				return 1
			}
			return -1
		}
		return strings.Compare(a.path, b.path)
	})
}

func under(file, dir string) bool { return strings.HasPrefix(file, dir+"/") }
