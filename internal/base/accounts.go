package base

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/content"
	"plimsoll.dev/plimsoll/internal/debian/maintscript"
)

// The numbers that Debian reserves for names in packages (Debian Policy 9.2.2 and the
// lists in package base-passwd). Only those that files or memberships need reach an image.
var (
	staticUsers = map[string]int{
		"root": 0, "daemon": 1, "bin": 2, "sys": 3, "sync": 4, "games": 5, "man": 6, "lp": 7, "mail": 8,
		"news": 9, "uucp": 10, "proxy": 13, "www-data": 33, "backup": 34, "list": 38, "irc": 39, "nobody": 65534,
	}
	staticGroups = map[string]int{
		"root": 0, "daemon": 1, "bin": 2, "sys": 3, "adm": 4, "tty": 5, "disk": 6, "lp": 7, "mail": 8, "news": 9,
		"uucp": 10, "man": 12, "proxy": 13, "kmem": 15, "dialout": 20, "fax": 21, "voice": 22, "cdrom": 24,
		"floppy": 25, "tape": 26, "sudo": 27, "audio": 29, "dip": 30, "www-data": 33, "backup": 34, "operator": 37,
		"list": 38, "irc": 39, "src": 40, "shadow": 42, "utmp": 43, "video": 44, "sasl": 45, "plugdev": 46,
		"staff": 50, "games": 60, "users": 100, "nogroup": 65534,
	}
)

const nologin = "/usr/sbin/nologin"

// owners knows the accounts of an image: the spec's, and the static ones its files need.
type owners struct {
	users  []v1alpha1.User
	groups []v1alpha1.Group
}

// newOwners gives root, nobody and nonroot, overlaid by the spec's own accounts.
func newOwners(spec v1alpha1.Accounts) owners {
	var o owners
	users := []v1alpha1.User{
		{Name: "root", UID: 0, GID: 0, Comment: "root", Home: "/root", Shell: nologin},
		{Name: "nobody", UID: 65534, GID: 65534, Comment: "nobody", Home: "/nonexistent", Shell: nologin},
		{Name: "nonroot", UID: 65532, GID: 65532, Comment: "nonroot", Home: "/home/nonroot", Shell: nologin},
	}
	groups := []v1alpha1.Group{{Name: "root", GID: 0}, {Name: "nogroup", GID: 65534}, {Name: "nonroot", GID: 65532}}
	o.users = overlay(users, spec.Users, func(u v1alpha1.User) string { return u.Name })
	o.groups = overlay(groups, spec.Groups, func(g v1alpha1.Group) string { return g.Name })
	for _, u := range spec.Users { // a user's own group, when nobody declares it
		named := func(g v1alpha1.Group) bool { return g.GID == u.GID || g.Name == u.Name }
		if !slices.ContainsFunc(o.groups, named) {
			o.groups = append(o.groups, v1alpha1.Group{Name: u.Name, GID: u.GID})
		}
	}
	return o
}

// overlay gives base with the items of top in place of those with the same name.
func overlay[T any](base, top []T, name func(T) string) []T {
	all := slices.Clone(base)
	for _, item := range top {
		at := slices.IndexFunc(all, func(old T) bool { return name(old) == name(item) })
		if at < 0 {
			all = append(all, item)
			continue
		}
		all[at] = item
	}
	return all
}

// ids gives the numbers of an entry's owner: by name, as dpkg does, else by number.
func (o *owners) ids(e *content.Entry) (uid, gid int, err error) {
	uid, gid = e.UID, e.GID
	if e.User != "" {
		var ok bool
		if uid, ok = o.user(e.User); !ok {
			return 0, 0, fmt.Errorf("%q belongs to user %q, who is not in the image: add the account under accounts.users", e.Path, e.User)
		}
	}
	if e.Group != "" {
		var ok bool
		if gid, ok = o.group(e.Group); !ok {
			return 0, 0, fmt.Errorf("%q belongs to group %q, which is not in the image: add it under accounts.groups", e.Path, e.Group)
		}
	}
	return uid, gid, nil
}

func (o *owners) user(name string) (int, bool) {
	for _, u := range o.users {
		if u.Name == name {
			return u.UID, true
		}
	}
	uid, ok := staticUsers[name]
	if ok {
		o.users = append(o.users, v1alpha1.User{Name: name, UID: uid, GID: staticGroups[name], Comment: name, Home: "/nonexistent", Shell: nologin})
	}
	return uid, ok
}

func (o *owners) group(name string) (int, bool) {
	for _, g := range o.groups {
		if g.Name == name {
			return g.GID, true
		}
	}
	gid, ok := staticGroups[name]
	if ok {
		o.groups = append(o.groups, v1alpha1.Group{Name: name, GID: gid})
	}
	return gid, ok
}

func (o *owners) hasUser(name string) bool {
	return slices.ContainsFunc(o.users, func(u v1alpha1.User) bool { return u.Name == name })
}

// addUser adds an account that a package creates with a number of its own.
func (o *owners) addUser(u maintscript.User) {
	uid, static := staticUsers[u.Name]
	if !static {
		uid = u.UID
	}
	gid := staticGroups["nogroup"]
	if id, ok := number(cmp.Or(u.Group, u.Name), o.group); ok {
		gid = id
	}
	o.users = append(o.users, v1alpha1.User{
		Name: u.Name, UID: uid, GID: gid, Comment: u.Comment,
		Home: cmp.Or(u.Home, "/nonexistent"), Shell: cmp.Or(u.Shell, nologin),
	})
}

func (o *owners) addGroup(name string, gid int) {
	o.groups = append(o.groups, v1alpha1.Group{Name: name, GID: gid})
}

// join makes the user a member of the group, where the image has both.
func (o *owners) join(user, group string) {
	if !o.hasUser(user) {
		return
	}
	for i := range o.groups {
		if g := &o.groups[i]; g.Name == group && !slices.Contains(g.Members, user) {
			g.Members = append(slices.Clone(g.Members), user)
		}
	}
}

// passwd gives the text of /etc/passwd (passwd(5)), by number.
func (o *owners) passwd() string {
	users := slices.SortedStableFunc(slices.Values(o.users), func(a, b v1alpha1.User) int {
		return cmp.Or(cmp.Compare(a.UID, b.UID), cmp.Compare(a.Name, b.Name))
	})
	var text strings.Builder
	for _, u := range users {
		fmt.Fprintf(&text, "%s:x:%d:%d:%s:%s:%s\n", u.Name, u.UID, u.GID, u.Comment, u.Home, u.Shell)
	}
	return text.String()
}

// groupFile gives the text of /etc/group (group(5)), by number.
func (o *owners) groupFile() string {
	groups := slices.SortedStableFunc(slices.Values(o.groups), func(a, b v1alpha1.Group) int {
		return cmp.Or(cmp.Compare(a.GID, b.GID), cmp.Compare(a.Name, b.Name))
	})
	var text strings.Builder
	for _, g := range groups {
		fmt.Fprintf(&text, "%s:x:%d:%s\n", g.Name, g.GID, strings.Join(g.Members, ","))
	}
	return text.String()
}
