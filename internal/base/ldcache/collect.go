package ldcache

import (
	"path"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// ConfPath is the first configuration file, as a key of Directories' input.
const ConfPath = "/etc/ld.so.conf"

// Directories gives the search directories of the dynamic linker's cache in ldconfig's
// order: those of ld.so.conf with its includes, then the built-in ones of Debian's glibc
// for the architecture. conf has the files by absolute path: /etc/ld.so.conf and whatever
// it may include; missing ones are passed over, as ldconfig does. An unknown architecture
// is a fault of kind Usage.
func Directories(conf map[string][]byte, arch string) ([]string, error) {
	m, ok := machines[arch]
	if !ok {
		return nil, fault.Newf(fault.Usage, "read ld.so.conf", arch, "this architecture is not known").
			WithHint("The known ones are amd64 and arm64.")
	}
	dirs := readConf(conf, ConfPath, map[string]bool{})
	dirs = append(dirs, "/lib/"+m.triplet, "/usr/lib/"+m.triplet, "/lib", "/usr/lib")
	var unique []string
	for _, d := range dirs {
		if !slices.Contains(unique, d) {
			unique = append(unique, d)
		}
	}
	return unique, nil
}

// readConf reads one file, ld.so.conf(5): a directory or an include a line, "#" starts a
// comment. Each file counts once, so that includes cannot circle.
func readConf(conf map[string][]byte, file string, seen map[string]bool) []string {
	if seen[file] {
		return nil
	}
	seen[file] = true
	var dirs []string
	for line := range strings.Lines(string(conf[file])) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		words := strings.Fields(line)
		switch {
		case line == "":
		case words[0] == "include" && len(words) > 1:
			for _, pattern := range words[1:] {
				for _, name := range glob(conf, file, pattern) {
					dirs = append(dirs, readConf(conf, name, seen)...)
				}
			}
		case words[0] == "hwcap" && len(words) > 1: // obsolete, ignored since glibc 2.33
		default:
			dir, _, _ := strings.Cut(line, "=") // "DIR=TYPE" was for libc5
			if dir = strings.TrimRight(strings.TrimSpace(dir), "/"); strings.HasPrefix(dir, "/") {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

func glob(conf map[string][]byte, from, pattern string) []string {
	if !strings.HasPrefix(pattern, "/") {
		pattern = path.Join(path.Dir(from), pattern)
	}
	var names []string
	for name := range conf {
		// A leading dot must be written out, as in a shell.
		hidden := strings.HasPrefix(path.Base(name), ".") && !strings.HasPrefix(path.Base(pattern), ".")
		if ok, err := path.Match(pattern, name); err == nil && ok && !hidden {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// File is one entry of the composed tree that matters to the cache: a file for which
// Candidate holds, or any symbolic link, those to directories included (the /lib of a
// merged /usr).
type File struct {
	Path   string // absolute and clean
	Target string // for a symbolic link, where it points; empty for a file
	Info   Info   // for a file, what Scan gave
}

// Link is a symbolic link that ldconfig would add for the library's name.
type Link struct {
	Path   string // absolute
	Target string // a name in the same directory
}

// Result is what Collect gives.
type Result struct {
	Libraries []Library // for Build
	Links     []Link    // missing names of libraries; Debian's packages ship theirs, so usually none
}

// Collect picks from the tree what ldconfig picks from the search directories, in their
// order: for each name in a directory the newest file, links that are named after their
// library, and the folders below glibc-hwcaps. A directory reached twice over links
// counts once. The order of files does not matter.
func Collect(files []File, dirs []string) Result {
	t := newTree(files)
	var result Result
	seen := map[string]bool{}
	for _, dir := range dirs {
		real, ok := t.resolve(dir)
		if !ok || seen[real] {
			continue
		}
		seen[real] = true
		t.collect(dir, real, "", &result)
		hwcaps, ok := t.resolve(dir + "/glibc-hwcaps")
		if !ok {
			continue
		}
		for _, name := range t.children(hwcaps) {
			if sub, ok := t.resolve(hwcaps + "/" + name); ok && !seen[sub] && len(t.entries[sub]) > 0 {
				seen[sub] = true
				t.collect(dir+"/glibc-hwcaps/"+name, sub, name, &result)
			}
		}
	}
	return result
}

// entry is what ldconfig remembers of a library of a directory while it reads on.
type entry struct {
	name   string
	soname string
	link   bool
	info   Info
}

// collect reads one directory (search_dir in glibc's elf/ldconfig.c).
func (t *tree) collect(dir, real, hwcaps string, result *Result) {
	byName := map[string]*entry{}
	var order []string
	for _, name := range t.entries[real] {
		e, ok := t.candidate(real, name)
		if !ok {
			continue
		}
		old := byName[e.soname]
		switch {
		case old == nil:
			byName[e.soname] = &e
			order = append(order, e.soname)
		case !e.link && old.link, e.link == old.link && libcmp(old.name, e.name) < 0:
			*old = e
		}
	}
	for _, soname := range order {
		e := byName[soname]
		file := soname
		if hwcaps != "" {
			file = e.name // no links are made there
		} else if !e.link && e.name != soname && !t.has(real+"/"+soname) {
			result.Links = append(result.Links, Link{Path: real + "/" + soname, Target: e.name})
		}
		result.Libraries = append(result.Libraries, Library{
			Soname: soname, Path: strings.TrimRight(dir, "/") + "/" + file,
			Flags: e.info.Flags, HWCaps: hwcaps, ISALevel: e.info.ISALevel,
		})
	}
}

// candidate tells whether the entry of a directory is a library, and under which name.
func (t *tree) candidate(dir, name string) (entry, bool) {
	if !Candidate(name) {
		return entry{}, false
	}
	full := dir + "/" + name
	real, ok := t.resolve(full)
	if !ok || !t.files[real].Info.IsLibrary() {
		return entry{}, false
	}
	info := t.files[real].Info
	e := entry{name: name, soname: info.Soname, link: t.files[full].Target != "", info: info}
	if e.soname == "" {
		e.soname = name
	}
	if strings.Contains(e.soname, "/") {
		return entry{}, false // the path would leave the directory
	}
	if !e.link {
		return e, true
	}
	// A link counts as a name of its own only if it is the library's name, or the
	// ".so" that ld(1) looks for; any other is one more file with that soname.
	if name != e.soname && !(strings.HasSuffix(name, ".so") && strings.HasPrefix(e.soname, name)) {
		e.link = false
		return e, true
	}
	e.soname = name
	return e, true
}
