package hardening

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// check gives the checks on what the report holds: those of section 4 of the CIS Docker
// Benchmark that an image alone can answer, then our own.
func check(r *Report, config *v1.ConfigFile, annotations map[string]string) []Check {
	const name = "org.opencontainers.image.base.name" // OCI image-spec, annotations.md
	base := cmp.Or(annotations[name], config.Config.Labels[name])
	live := count(r.Secrets, func(s Secret) bool { return !s.Sample })
	return []Check{
		user(r.User),
		one("CIS-DI-4.2", "Trusted base", base != "", "it says that it stands on "+base, Info, "it does not say on which base it stands"),
		none("CIS-DI-4.3", "No unnecessary packages", Warn, "package manager or compiler", r.programs(PackageManager, Compiler)),
		one("CIS-DI-4.6", "HEALTHCHECK", config.Config.Healthcheck != nil, "it has one", Info, "it has none; Kubernetes has probes of its own"),
		one("CIS-DI-4.7", "No update of packages alone in a step", !stepWith(config, updatesAlone), "no step is one", Warn, "a step of its history is one, which a cache makes old"),
		none("CIS-DI-4.8", "No setuid or setgid programs", Warn, "program with the bit", names(r.SetID)),
		one("CIS-DI-4.9", "COPY instead of ADD", !stepWith(config, adds), "no step of its history is an ADD", Warn, "a step of its history is an ADD, which may fetch or unpack what nobody checked"),
		secrets(live, len(r.Secrets)-live),
		none("PLM-1", "No shell", Warn, "shell", r.programs(Shell)),
		none("PLM-2", "No door for others", Fail, "server for remote access", r.programs(RemoteAccess)),
		none("PLM-3", "No program that makes one user another", Warn, "program", r.programs(Privilege)),
		none("PLM-4", "No network tools", Info, "tool", r.programs(Network)),
		none("PLM-5", "Nothing that everybody may write", Warn, "file or folder", names(r.WorldWritable)),
		none("PLM-6", "No file capabilities", Info, "program with some", names(r.Capabilities)),
		one("PLM-7", "Nothing left untold", r.Skipped.More == 0, "all findings are here", Fail,
			fmt.Sprintf("%d findings are more than are told", r.Skipped.More)),
	}
}

func user(u User) Check {
	c := Check{ID: "CIS-DI-4.1", Title: "A user that is not root", Result: Pass, Why: "it runs as " + u.Value}
	switch {
	case u.Root:
		c.Result, c.Why = Fail, "it runs as root"
	case !u.Numeric:
		c.Result, c.Why = Warn, "it runs as "+u.Value+": without a number no cluster can tell that it is not root"
	}
	return c
}

func secrets(live, samples int) Check {
	c := Check{ID: "CIS-DI-4.10", Title: "No secrets", Result: Pass, Why: "none was found"}
	switch {
	case live > 0:
		c.Result, c.Why = Fail, fmt.Sprintf("%d found; whoever pulls the image has them", live)
	case samples > 0:
		c.Result, c.Why = Warn, fmt.Sprintf("%d found, all among tests, examples or documents", samples)
	}
	return c
}

// one gives Pass and its reason, or another result and that reason.
func one(id, title string, passes bool, good string, otherwise Result, bad string) Check {
	if passes {
		return Check{ID: id, Title: title, Result: Pass, Why: good}
	}
	return Check{ID: id, Title: title, Result: otherwise, Why: bad}
}

// none gives Pass when there are no paths, and names the first of them otherwise.
func none(id, title string, otherwise Result, what string, paths []string) Check {
	const named = 3
	more := ""
	if len(paths) > named {
		more = ", …"
	}
	return one(id, title, len(paths) == 0, "there is no "+what, otherwise,
		fmt.Sprintf("%d of the kind %q: %s%s", len(paths), what, strings.Join(paths[:min(named, len(paths))], ", "), more))
}

func (r *Report) programs(kinds ...ProgramKind) []string {
	var paths []string
	for _, p := range r.Programs {
		if slices.Contains(kinds, p.Kind) {
			paths = append(paths, "/"+p.Path)
		}
	}
	return paths
}

func names(files []File) []string {
	var paths []string
	for _, f := range files {
		paths = append(paths, "/"+f.Path)
	}
	return paths
}

func count[T any](all []T, is func(T) bool) int {
	n := 0
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}

func stepWith(config *v1.ConfigFile, is func(i int, step string) bool) bool {
	for i, step := range config.History {
		if is(i, step.CreatedBy) {
			return true
		}
	}
	return false
}

// adds tells an ADD as docker build and BuildKit write it. The first step is how a root
// filesystem comes into an image.
func adds(i int, step string) bool {
	step = strings.TrimPrefix(step, "/bin/sh -c #(nop) ")
	return i > 0 && strings.HasPrefix(strings.TrimSpace(step), "ADD ")
}

func updatesAlone(_ int, step string) bool {
	for _, update := range []string{"apt-get update", "apt update", "apk update"} {
		if strings.Contains(step, update) {
			return !strings.Contains(step, " install") && !strings.Contains(step, " add ") && !strings.Contains(step, "upgrade")
		}
	}
	return false
}
