package maintscript

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Link is a symbolic link of the alternatives system.
type Link struct{ Path, Target string } // both absolute

const alternativesDir = "/etc/alternatives/"

// Available gives the alternatives whose program is there, each without the slaves whose
// file is not, as update-alternatives leaves them out.
func Available(all []Alternative, exists func(path string) bool) []Alternative {
	var kept []Alternative
	for _, a := range all {
		if !exists(a.Path) {
			continue
		}
		a.Slaves = slices.DeleteFunc(slices.Clone(a.Slaves), func(s Slave) bool { return !exists(s.Path) })
		kept = append(kept, a)
	}
	return kept
}

// Links gives the links of the alternatives in automatic mode (update-alternatives(1)),
// sorted by path: for each name the highest priority wins, among equals the path that
// sorts first; LINK points to /etc/alternatives/NAME and that to PATH, and so for the
// winner's slaves.
func Links(all []Alternative) []Link {
	best := map[string]Alternative{}
	for _, a := range all {
		old, ok := best[a.Name]
		if !ok || cmp.Or(cmp.Compare(old.Priority, a.Priority), cmp.Compare(a.Path, old.Path)) < 0 {
			best[a.Name] = a
		}
	}
	links := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(best)) {
		a := best[name]
		links[a.Link] = alternativesDir + a.Name
		links[alternativesDir+a.Name] = a.Path
		for _, s := range a.Slaves {
			links[s.Link] = alternativesDir + s.Name
			links[alternativesDir+s.Name] = s.Path
		}
	}
	var list []Link
	for p, target := range links {
		list = append(list, Link{Path: p, Target: target})
	}
	slices.SortFunc(list, func(a, b Link) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// ParseJinfo reads a Java package's usr/lib/jvm/.NAME.jinfo, which lists its programs for
// update-java-alternatives(8): a priority, and a line "TYPE NAME PATH" for each; the
// generic name is /usr/bin/NAME. Lines of type "plugin" belong to web browsers and are
// left out. A file of another form is a fault of kind Failed that names it.
func ParseJinfo(file string, data []byte) ([]Alternative, error) {
	bad := func(line int, why string) error {
		return fault.New(fault.Failed, "read Java's alternatives", file, errors.New("line "+strconv.Itoa(line)+": "+why))
	}
	priority := 0
	var list []Alternative
	for i, line := range strings.Split(string(data), "\n") {
		if key, v, ok := strings.Cut(line, "="); ok && !strings.ContainsAny(key, " \t") {
			if key == "priority" {
				n, err := strconv.Atoi(strings.TrimSpace(v))
				if err != nil {
					return nil, bad(i+1, "the priority is not a number")
				}
				priority = n
			}
			continue
		}
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") || fields[0] == "plugin" {
			continue
		}
		if len(fields) != 3 {
			return nil, bad(i+1, "it is neither KEY=VALUE nor TYPE NAME PATH")
		}
		a := Alternative{Name: fields[1], Link: "/usr/bin/" + fields[1], Path: fields[2]}
		if !validAlternative(a) {
			return nil, bad(i+1, "the name or the path is not proper")
		}
		list = append(list, a)
	}
	for i := range list {
		list[i].Priority = priority
	}
	return list, nil
}
