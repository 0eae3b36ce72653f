package base

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/debian/maintscript"
)

// account is a user or a group that scripts want and the image has not.
type account struct {
	group bool
	name  string
	by    *member          // who makes it, or else who names it first
	user  maintscript.User // what its maker says; empty when nobody makes it
	owns  []string
}

// accounts adds users and groups with fixed numbers and notes those that the system
// would have numbered: a number that depends on the order of installation is none.
func (s *scripts) accounts(m *member, r maintscript.Report, o *owners) {
	for _, g := range r.Groups {
		if _, known := o.group(g.Name); known {
			continue
		}
		if g.GID == maintscript.AnyID {
			s.want(m, true, g.Name)
			continue
		}
		o.addGroup(g.Name, g.GID)
	}
	for _, u := range r.Users {
		if o.hasUser(u.Name) {
			continue
		}
		if _, static := staticUsers[u.Name]; !static && u.UID == maintscript.AnyID {
			if a := s.want(m, false, u.Name); a.user.Name == "" {
				a.by, a.user = m, u
			}
			continue
		}
		o.addUser(u)
	}
	for _, member := range r.Members {
		o.join(member.User, member.Group)
	}
}

// want notes an account that is not in the image.
func (s *scripts) want(m *member, group bool, name string) *account {
	at := slices.IndexFunc(s.missing, func(a *account) bool { return a.group == group && a.name == name })
	if at >= 0 {
		return s.missing[at]
	}
	a := &account{group: group, name: name, by: m}
	s.missing = append(s.missing, a)
	return a
}

// wantOwner notes that the path would belong to an account that is not in the image.
func (s *scripts) wantOwner(m *member, group bool, name, file string) {
	if a := s.want(m, group, name); !slices.Contains(a.owns, file) {
		a.owns = append(a.owns, file)
	}
}

// warnOfAccounts says once of each missing account what it would own and how to add it. A
// user brings the group of its name.
func (s *scripts) warnOfAccounts() {
	users := map[string]*account{}
	for _, a := range s.missing {
		if !a.group {
			users[a.name] = a
		}
	}
	for _, a := range s.missing {
		if u := users[a.name]; a.group && u != nil {
			for _, file := range a.owns {
				if !slices.Contains(u.owns, file) {
					u.owns = append(u.owns, file)
				}
			}
		}
	}
	for _, a := range s.missing {
		switch {
		case !a.group:
			s.warn(a.by, "it wants a user %q%s: add to accounts.users: %s", a.name, a.holdings(), a.line())
		case users[a.name] == nil:
			s.warn(a.by, "it wants a group %q%s: add to accounts.groups: {name: %s, gid: N}", a.name, a.holdings(), a.name)
		}
	}
}

func (a *account) holdings() string {
	if len(a.owns) == 0 {
		return ""
	}
	const shown = 8
	if more := len(a.owns) - shown; more > 0 {
		return fmt.Sprintf(", which would own %s and %d more", strings.Join(a.owns[:shown], ", "), more)
	}
	return ", which would own " + strings.Join(a.owns, ", ")
}

// line gives the user as YAML to paste; the numbers that are a choice are N.
func (a *account) line() string {
	gid := "N"
	if id, static := staticGroups[a.user.Group]; static {
		gid = strconv.Itoa(id)
	}
	text := fmt.Sprintf("{name: %s, uid: N, gid: %s, home: %s", a.name, gid, cmp.Or(a.user.Home, "/nonexistent"))
	if shell := a.user.Shell; shell != "" && shell != nologin {
		text += ", shell: " + shell
	}
	return text + "}"
}
