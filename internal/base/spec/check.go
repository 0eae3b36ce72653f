package spec

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/base/capability"
	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/manifest"
)

// MaxLayers bounds the layers of a base: room is left for those of an application, since
// many runtimes stop at 127.
const MaxLayers = 60

const minLayers = 3

var (
	packageName = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)         // Debian Policy 5.6.7
	accountName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,31}$`) // capitals as in Debian-exim
	suiteName   = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9+./-]*$`)
	envName     = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// madeLayers hold what belongs to no package.
const madeLayers = 2

// PackageLayers is how many of a base's layers can hold packages.
func PackageLayers(maxLayers int) int { return maxLayers - madeLayers }

// OwnLayers is how many sources can have a layer of their own where there are more of them
// than layers: some layers are left for the others to share.
func OwnLayers(maxLayers int) int {
	const shared = 16
	packages := PackageLayers(maxLayers)
	return packages - min(shared, (packages+1)/2)
}

// known are the architectures Debian and OCI both name.
var known = []string{"amd64", "arm64"}

// check gives the first problem of the image, or nil.
func check(image *v1alpha1.BaseImage) *manifest.Problem {
	if p := manifest.CheckHeader(image.TypeMeta, v1alpha1.BaseImageKind, image.Name); p != nil {
		return p
	}
	s := &image.Spec
	for _, step := range []func(*v1alpha1.BaseImageSpec) *manifest.Problem{
		checkArchive, checkPackages, checkAccounts, checkPaths, checkPatterns, checkConfig, checkLayering,
	} {
		if p := step(s); p != nil {
			p.Field = "spec." + p.Field
			return p
		}
	}
	return nil
}

func checkArchive(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	if len(s.Archive.Suites) == 0 {
		return manifest.Bad("archive.suites", `want at least one, such as "trixie"`)
	}
	for i, suite := range s.Archive.Suites {
		if !suiteName.MatchString(suite) || strings.Contains(suite, "..") || slices.Contains(s.Archive.Suites[:i], suite) {
			return manifest.Bad(fmt.Sprintf("archive.suites[%d]", i), fmt.Sprintf("bad or repeated suite %q", suite))
		}
	}
	for i, component := range s.Archive.Components {
		if !suiteName.MatchString(component) || strings.Contains(component, "..") {
			return manifest.Bad(fmt.Sprintf("archive.components[%d]", i), fmt.Sprintf("bad component %q", component))
		}
	}
	for _, suite := range slices.Sorted(maps.Keys(s.Archive.Mirrors)) {
		if !slices.Contains(s.Archive.Suites, suite) {
			return manifest.Bad("archive.mirrors."+suite, "no suite of this name is in archive.suites")
		}
	}
	if s.Archive.Keys != "" && s.Archive.Keyring != "" {
		return manifest.Bad("archive.keys", "there is a keyring, too: want one of them")
	}
	for i, a := range s.Architectures {
		if !slices.Contains(known, a) || slices.Contains(s.Architectures[:i], a) {
			return manifest.Bad(fmt.Sprintf("architectures[%d]", i), fmt.Sprintf("want each of %s at most once, got %q", strings.Join(known, ", "), a))
		}
	}
	return nil
}

func checkPackages(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	if len(s.Packages) == 0 {
		return manifest.Bad("packages", "want at least one")
	}
	for i, p := range s.Packages {
		if !isRequest(p) {
			return manifest.Bad(fmt.Sprintf("packages[%d]", i), fmt.Sprintf(`want "name", "name (>= version)" or "name=version", got %q`, p))
		}
	}
	if p := checkOmissions("omit", s.Omit); p != nil {
		return p
	}
	if p := checkOmissions("accept", s.Accept); p != nil {
		return p
	}
	for i, name := range s.Absent.Packages {
		if !packageName.MatchString(name) {
			return manifest.Bad(fmt.Sprintf("absent.packages[%d]", i), fmt.Sprintf("bad package name %q", name))
		}
	}
	return nil
}

// isRequest tells whether the resolver can read the text as a wanted package.
func isRequest(text string) bool {
	if name, version, ok := strings.Cut(text, "="); ok && !strings.Contains(name, "(") {
		text = name + " (= " + version + ")"
	}
	r, err := index.ParseRelation(text)
	return err == nil && packageName.MatchString(r.Name) && len(r.Arches) == 0
}

func checkOmissions(field string, omissions []v1alpha1.Omission) *manifest.Problem {
	for i, o := range omissions {
		switch {
		case !packageName.MatchString(o.Package):
			return manifest.Bad(fmt.Sprintf("%s[%d].package", field, i), fmt.Sprintf("bad package name %q", o.Package))
		case strings.TrimSpace(o.Reason) == "":
			return manifest.Bad(fmt.Sprintf("%s[%d].reason", field, i), "say why, for "+o.Package)
		}
	}
	return nil
}

func checkAccounts(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	var users, groups []string
	for i, u := range s.Accounts.Users {
		field := fmt.Sprintf("accounts.users[%d]", i)
		switch {
		case !accountName.MatchString(u.Name) || slices.Contains(users, u.Name):
			return manifest.Bad(field+".name", fmt.Sprintf("bad or repeated name %q", u.Name))
		case !isID(u.UID):
			return manifest.Bad(field+".uid", fmt.Sprintf("%d is no user number", u.UID))
		case !isID(u.GID):
			return manifest.Bad(field+".gid", fmt.Sprintf("%d is no group number", u.GID))
		case u.UID == 0 && u.Name != "root" && !s.Hardening.AllowRoot:
			return manifest.Bad(field+".uid", "a second root is not allowed unless hardening.allowRoot says so")
		case u.Home != "" && !strings.HasPrefix(u.Home, "/") || u.Shell != "" && !strings.HasPrefix(u.Shell, "/"):
			return manifest.Bad(field, "home and shell are absolute paths")
		case strings.ContainsAny(u.Comment+u.Home+u.Shell, ":\n"):
			return manifest.Bad(field, "a colon or a line break cannot stand in a field of /etc/passwd")
		}
		users = append(users, u.Name)
	}
	for i, g := range s.Accounts.Groups {
		field := fmt.Sprintf("accounts.groups[%d]", i)
		switch {
		case !accountName.MatchString(g.Name) || slices.Contains(groups, g.Name):
			return manifest.Bad(field+".name", fmt.Sprintf("bad or repeated name %q", g.Name))
		case !isID(g.GID):
			return manifest.Bad(field+".gid", fmt.Sprintf("%d is no group number", g.GID))
		}
		for j, m := range g.Members {
			if !accountName.MatchString(m) {
				return manifest.Bad(fmt.Sprintf("%s.members[%d]", field, j), fmt.Sprintf("bad user name %q", m))
			}
		}
		groups = append(groups, g.Name)
	}
	return nil
}

// missingNumber finds an account without a number. Left out, it would be 0: root's.
func missingNumber(document any) *manifest.Problem {
	spec := at(document, "spec")
	if run, ok := at(spec, "runAs").(map[string]any); ok {
		if p := lacks(run, "spec.runAs", "uid", "gid"); p != nil {
			return p
		}
	}
	for _, list := range []struct {
		name    string
		numbers []string
	}{{"users", []string{"uid", "gid"}}, {"groups", []string{"gid"}}} {
		items, _ := at(at(spec, "accounts"), list.name).([]any)
		for i, item := range items {
			fields, _ := item.(map[string]any)
			if p := lacks(fields, fmt.Sprintf("spec.accounts.%s[%d]", list.name, i), list.numbers...); p != nil {
				return p
			}
		}
	}
	return nil
}

func at(fields any, name string) any {
	m, _ := fields.(map[string]any)
	return m[name]
}

func lacks(fields map[string]any, path string, names ...string) *manifest.Problem {
	for _, name := range names {
		if fields[name] == nil {
			return manifest.Bad(path+"."+name, "want a number")
		}
	}
	return nil
}

func isID(n int) bool { return n >= 0 && n < 1<<32-1 }

func checkPaths(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	seen := map[string]bool{}
	for i, p := range s.Paths {
		field := fmt.Sprintf("paths[%d]", i)
		if !isAbsolute(p.Path) || seen[p.Path] {
			return manifest.Bad(field+".path", fmt.Sprintf("want an absolute clean path, once, got %q", p.Path))
		}
		seen[p.Path] = true
		for _, kept := range []string{"/var/lib/dpkg", "/var/lib/plimsoll"} {
			if p.Path == kept || strings.HasPrefix(p.Path, kept+"/") {
				return manifest.Bad(field+".path", "the inventory below "+kept+" is not the spec's to change")
			}
		}
		if bad := checkPath(p); bad != nil {
			bad.Field = field + bad.Field
			return bad
		}
	}
	return nil
}

func checkPath(p v1alpha1.Path) *manifest.Problem {
	isLink := p.Type == v1alpha1.PathSymlink || p.Type == v1alpha1.PathHardlink
	switch {
	case !slices.Contains([]v1alpha1.PathType{v1alpha1.PathDirectory, v1alpha1.PathFile, v1alpha1.PathSymlink, v1alpha1.PathHardlink, v1alpha1.PathExisting}, p.Type):
		return manifest.Bad(".type", fmt.Sprintf("want directory, file, symlink, hardlink or existing, got %q", p.Type))
	case isLink && p.Target == "":
		return manifest.Bad(".target", "a link needs a target")
	case p.Type == v1alpha1.PathHardlink && !isAbsolute(p.Target):
		return manifest.Bad(".target", fmt.Sprintf("a hard link's target is an absolute path, got %q", p.Target))
	case !isLink && p.Target != "":
		return manifest.Bad(".target", "only links have a target")
	case p.Content != "" && p.Type != v1alpha1.PathFile:
		return manifest.Bad(".content", "only files have content")
	case p.UID != nil && !isID(*p.UID):
		return manifest.Bad(".uid", fmt.Sprintf("%d is no user number", *p.UID))
	case p.GID != nil && !isID(*p.GID):
		return manifest.Bad(".gid", fmt.Sprintf("%d is no group number", *p.GID))
	}
	if p.Mode != "" {
		if mode, err := strconv.ParseUint(p.Mode, 8, 16); err != nil || mode > 0o7777 || isLink {
			return manifest.Bad(".mode", fmt.Sprintf(`want an octal mode such as "0755" (and none for links), got %q`, p.Mode))
		}
	}
	if p.Capabilities != "" && p.Type != v1alpha1.PathFile && p.Type != v1alpha1.PathExisting {
		return manifest.Bad(".capabilities", "only files carry capabilities")
	}
	if p.Capabilities != "" {
		if _, err := capability.Parse(p.Capabilities); err != nil {
			return manifest.Bad(".capabilities", err.Error())
		}
	}
	return nil
}

func isAbsolute(p string) bool {
	return strings.HasPrefix(p, "/") && p != "/" && path.Clean(p) == p && !strings.ContainsAny(p, "\x00\n")
}

func checkPatterns(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	lists := []struct {
		field    string
		patterns []string
	}{{"exclude", s.Exclude}, {"absent.paths", s.Absent.Paths}, {"hardening.allowSetuid", s.Hardening.AllowSetuid}}
	for _, list := range lists {
		for i, p := range list.patterns {
			if !isAbsolute(p) {
				return manifest.Bad(fmt.Sprintf("%s[%d]", list.field, i), fmt.Sprintf("want an absolute clean path, got %q", p))
			}
		}
	}
	return nil
}

func checkConfig(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	for _, name := range slices.Sorted(maps.Keys(s.Environment)) {
		value := s.Environment[name]
		if !envName.MatchString(name) || strings.ContainsAny(value, "\x00\n") {
			return manifest.Bad("environment."+name, "bad name, or a value with a line break")
		}
	}
	if s.WorkingDirectory != "" && s.WorkingDirectory != "/" && !isAbsolute(s.WorkingDirectory) {
		return manifest.Bad("workingDirectory", fmt.Sprintf("want an absolute clean path, got %q", s.WorkingDirectory))
	}
	if r := s.RunAs; r != nil {
		switch {
		case !isID(r.UID):
			return manifest.Bad("runAs.uid", fmt.Sprintf("%d is no user number", r.UID))
		case !isID(r.GID):
			return manifest.Bad("runAs.gid", fmt.Sprintf("%d is no group number", r.GID))
		case r.UID == 0 && !s.Hardening.AllowRoot:
			return manifest.Bad("runAs.uid", "root is not allowed unless hardening.allowRoot says so")
		}
	}
	return nil
}

func checkLayering(s *v1alpha1.BaseImageSpec) *manifest.Problem {
	l := s.Layering
	switch {
	case l.MaxLayers != 0 && (l.MaxLayers < minLayers || l.MaxLayers > MaxLayers):
		return manifest.Bad("layering.maxLayers", fmt.Sprintf("want %d to %d, got %d", minLayers, MaxLayers, l.MaxLayers))
	case l.Compression != "" && l.Compression != "gzip" && l.Compression != "zstd":
		return manifest.Bad("layering.compression", fmt.Sprintf("want gzip or zstd, got %q", l.Compression))
	}
	for i, name := range l.Own {
		if !packageName.MatchString(name) {
			return manifest.Bad(fmt.Sprintf("layering.own[%d]", i), fmt.Sprintf("bad source package name %q", name))
		}
	}
	if room := OwnLayers(cmp.Or(l.MaxLayers, MaxLayers)); len(l.Own) > room {
		return manifest.Bad("layering.own", fmt.Sprintf("want at most %d names where there are at most %d layers", room, cmp.Or(l.MaxLayers, MaxLayers)))
	}
	return nil
}
