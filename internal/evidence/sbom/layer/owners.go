package layer

import (
	"cmp"
	"path"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/evidence/sbom/extract"
)

// owners knows what belongs to packages of the layer: a package owns what came with it. A
// file that a later layer puts over one of them belongs to nobody, as its bytes are not the
// package's.
type owners struct {
	files   map[string]string // by path: the distribution's package, "" for another
	folders map[string]string
}

func newOwners() owners { return owners{files: map[string]string{}, folders: map[string]string{}} }

func (o owners) add(list []extract.Owned) {
	for _, one := range list {
		at := o.files
		if one.Folder {
			at = o.folders
		}
		if one.Path != "." && !strings.HasPrefix(one.Path, "..") && at[one.Path] == "" {
			at[one.Path] = one.By
		}
	}
}

// of gives who owns the file.
func (o owners) of(file string) (by string, owned bool) {
	if by, owned = o.files[file]; owned {
		return by, true
	}
	for dir := path.Dir(file); dir != "."; dir = path.Dir(dir) {
		if by, owned = o.folders[dir]; owned {
			return by, true
		}
	}
	return "", false
}

// record gives what was collected, in order.
func (r *reader) record(diffID string) *Record {
	out := &Record{Recipe: Recipe(), DiffID: diffID, Over: sorted(r.over), Cut: sorted(r.cut), Gaps: r.gaps}
	own := r.distributed()
	for _, t := range r.tells {
		t.Packages = r.shipped(t, own)
		if len(t.Packages)+len(t.Licenses)+len(t.Declared) > 0 || t.Distro != nil || t.Link != "" {
			out.Tells = append(out.Tells, t)
		}
	}
	for name, f := range r.files {
		if _, owned := r.owners.of(name); !owned {
			out.Files = append(out.Files, f)
		}
	}
	slices.SortFunc(out.Tells, func(a, b Tell) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(out.Files, func(a, b artifact.File) int { return cmp.Compare(a.Path, b.Path) })
	slices.SortFunc(out.Gaps, func(a, b artifact.Gap) int { return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Why, b.Why)) })
	return out
}

// shipped gives the packages of a file with the distribution's package that ships it. A
// runtime that one ships is that package, and needs no second name.
func (r *reader) shipped(t Tell, own map[string]bool) []artifact.Package {
	by := r.owners.files[t.Path]
	if by == "" {
		return t.Packages
	}
	var out []artifact.Package
	for _, p := range t.Packages {
		switch p.Type {
		case "generic":
			continue
		case "deb", "rpm", "apk", "opkg":
		default:
			if own[by] {
				p.Owner = by
			}
		}
		out = append(out, p)
	}
	return out
}

// distributed names the packages that a distribution itself maintains, as their maintainer's
// address tells: for what others ship in the same form, it neither fixes anything nor says
// what is wrong.
func (r *reader) distributed() map[string]bool {
	own := map[string]bool{}
	for _, t := range r.tells {
		for _, p := range t.Packages {
			if p.Type == "deb" && distributor.MatchString(p.Supplier) {
				own[p.Name] = true
			}
		}
	}
	return own
}

var distributor = regexp.MustCompile(`[@.](?:debian\.(?:org|net)|ubuntu\.com)>?$`)
