package maintscript

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Accounts is what sysusers.d files declare.
type Accounts struct {
	Users   []User
	Groups  []Group
	Members []Member
}

// ParseSysusers reads one usr/lib/sysusers.d/*.conf (sysusers.d(5)): lines of type u, g
// and m. Lines of type r name a range of numbers and are passed over. file names it in
// errors. A line that does not parse is a fault of kind Failed.
func ParseSysusers(file string, data []byte) (Accounts, error) {
	var a Accounts
	err := eachLine("read sysusers.d", file, data, func(f []string) error {
		if len(f) < 2 {
			return errors.New("it has no name")
		}
		kind, name := strings.TrimRight(f[0], "!"), f[1]
		if !validName(name) && kind != "r" {
			return fmt.Errorf("%q is not a proper name", name)
		}
		switch kind {
		case "u":
			return a.user(name, field(f, 2), field(f, 3), field(f, 4), field(f, 5))
		case "g":
			gid, err := declaredID(field(f, 2))
			a.Groups = append(a.Groups, Group{Name: name, GID: gid, System: true})
			return err
		case "m":
			if !validName(field(f, 2)) {
				return errors.New("it names no group")
			}
			a.Members = append(a.Members, Member{User: name, Group: f[2]})
		case "r":
		default:
			return fmt.Errorf("%q is not a type", f[0])
		}
		return nil
	})
	return a, err
}

func (a *Accounts) user(name, id, comment, home, shell string) error {
	uid, group, hasGroup := strings.Cut(id, ":")
	number, err := declaredID(uid)
	if err != nil {
		return err
	}
	if !hasGroup {
		// The group has the user's name and, if it is free, number.
		group = name
		a.Groups = append(a.Groups, Group{Name: name, GID: number, System: true})
	}
	if strings.ContainsAny(comment+home+shell, ":\n") {
		return errors.New("a field holds a colon")
	}
	a.Users = append(a.Users, User{Name: name, UID: number, System: true, Group: group, Home: home, Shell: shell, Comment: comment})
	return nil
}

// declaredID reads a number, or "-" for any; a path, whose owner has the number, is any,
// too.
func declaredID(s string) (int, error) {
	if s == "" || s == "-" || strings.HasPrefix(s, "/") {
		return AnyID, nil
	}
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return AnyID, fmt.Errorf("%q is not a number", s)
	}
	return int(n), nil
}

// field gives a field, or "" for one that is absent or "-".
func field(f []string, i int) string {
	if i >= len(f) || f[i] == "-" {
		return ""
	}
	return f[i]
}

// eachLine splits the lines of a systemd configuration file into fields.
func eachLine(what, file string, data []byte, f func(fields []string) error) error {
	for i, line := range strings.Split(string(data), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		fields, err := splitFields(line)
		if err == nil {
			err = f(fields)
		}
		if err != nil {
			return fault.New(fault.Failed, what, file, fmt.Errorf("line %d: %w", i+1, err))
		}
	}
	return nil
}

// splitFields splits at white space outside of quotes.
func splitFields(line string) ([]string, error) {
	var fields []string
	var now strings.Builder
	quote, open := byte(0), false
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && i+1 < len(line) && quote != '\'':
			i++
			now.WriteByte(line[i])
			open = true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, open = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if open {
				fields = append(fields, now.String())
				now.Reset()
			}
			open = false
		default:
			now.WriteByte(c)
			open = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if open {
		fields = append(fields, now.String())
	}
	return fields, nil
}

// specifiers are those of tmpfiles.d(5) whose value is the same in every image.
var specifiers = strings.NewReplacer("%t", "/run", "%S", "/var/lib", "%C", "/var/cache", "%L", "/var/log",
	"%T", "/tmp", "%V", "/var/tmp", "%%", "%")

// ParseTmpfiles reads one usr/lib/tmpfiles.d/*.conf (tmpfiles.d(5)): lines of type d and D
// (and v, q, Q, which are directories without btrfs), L, and f with literal content. It
// gives them in the file's order, without those that are for a booting machine only ("!")
// and those below /dev, /proc, /sys and /tmp. Lines of other types clean up, set what a
// layer does not carry, or need a running machine; they are passed over, as is a path
// with a specifier that depends on the machine. file names it in errors. A line that does
// not parse is a fault of kind Failed.
func ParseTmpfiles(file string, data []byte) ([]Path, error) {
	var paths []Path
	err := eachLine("read tmpfiles.d", file, data, func(f []string) error {
		if f[0] == "" {
			return errors.New("it has no type")
		}
		kind, modifiers := f[0][:1], f[0][1:]
		if bad := strings.Trim(modifiers, "+!-=~^$?"); bad != "" {
			return fmt.Errorf("%q is not a type", f[0])
		}
		if len(f) < 2 {
			return errors.New("it has no path")
		}
		name := specifiers.Replace(f[1])
		if strings.Contains(name, "%") || strings.Contains(modifiers, "!") || !strings.Contains("dDvqQLf", kind) {
			return nil
		}
		if !strings.HasPrefix(name, "/") {
			return fmt.Errorf("%q is not an absolute path", name)
		}
		if name = path.Clean(name); isScratch(name) || name == "/" {
			return nil
		}
		p := Path{Path: name, Kind: Directory, Mode: strings.TrimLeft(field(f, 2), "~:"),
			Owner: strings.TrimLeft(field(f, 3), ":"), Group: strings.TrimLeft(field(f, 4), ":")}
		argument := ""
		if len(f) > 6 {
			argument = specifiers.Replace(strings.Join(f[6:], " "))
		}
		switch kind {
		case "L":
			if argument == "" || argument == "-" {
				argument = "/usr/share/factory" + name
			}
			forced := strings.Contains(modifiers, "+")
			p = Path{Path: name, Kind: Symlink, Target: argument, Replace: forced, KeepOld: !forced}
		case "f":
			if strings.Contains(argument, "%") {
				return nil
			}
			p.Kind, p.KeepOld = File, !strings.Contains(modifiers, "+")
			if argument != "-" {
				p.Content = argument
			}
		}
		paths = append(paths, p)
		return nil
	})
	return paths, err
}
