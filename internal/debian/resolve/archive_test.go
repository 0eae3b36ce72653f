package resolve_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/testbed"
)

// The suites that the comparisons run on, in the order of apt's sources.
const release = "trixie"

var (
	suites = []string{release, release + "-updates", release + "-security"}
	arches = []string{"amd64", "arm64"}
)

// aptArchive is a Debian archive as apt downloaded it into a state of its own: empty status,
// lists of both architectures, uncompressed.
type aptArchive struct {
	dir  string // holds etc, state, cache and an empty status file
	asOf string // hash of the suites' InRelease files and of apt's version
}

// aptLists gives the lists, which apt refreshes at most daily; one process does so at a time.
func aptLists(t testing.TB) aptArchive {
	t.Helper()
	archive, err := downloadedLists()
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range []string{"apt-get", "apt-cache"} {
		testbed.Tool(t, tool)
	}
	return archive
}

var downloadedLists = sync.OnceValues(func() (aptArchive, error) {
	home, err := os.UserCacheDir()
	if err != nil {
		return aptArchive{}, err
	}
	a := aptArchive{dir: filepath.Join(home, "plimsoll-test", "apt", release)}
	for _, d := range []string{"etc/preferences.d", "etc/none", "etc/all", "etc/amd64", "etc/arm64", "answers", "state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return a, err
		}
	}
	lock, err := os.OpenFile(filepath.Join(a.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return a, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return a, err
	}
	if err := a.refresh(); err != nil {
		return a, err
	}
	a.asOf, err = a.state()
	return a, err
})

// state gives a hash of all that apt's answers depend on besides the question.
func (a aptArchive) state() (string, error) {
	files, err := filepath.Glob(filepath.Join(a.dir, "state/lists", "*_InRelease"))
	if err != nil {
		return "", err
	}
	all, err := exec.Command("apt-get", "--version").Output()
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		all = append(all, text...)
	}
	return fmt.Sprintf("%x", sha256.Sum256(all)), err
}

// refresh downloads the lists when they are a day old or not there, and builds apt's cache.
func (a aptArchive) refresh() error {
	stamp := filepath.Join(a.dir, "stamp")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < 24*time.Hour {
		return nil
	}
	entries, err := machineSources("/etc/apt")
	if err != nil {
		return err
	}
	// The download asks for all architectures, each comparison for one.
	for folder, wanted := range map[string][]string{"all": arches, "amd64": {"amd64"}, "arm64": {"arm64"}} {
		sources, err := sourcesFor(entries, wanted)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(a.dir, "etc", folder, "test.sources"), []byte(sources), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(a.dir, "status"), nil, 0o644); err != nil {
		return err
	}
	// The machine's own settings (a proxy, perhaps) stay in force for the download.
	update := exec.Command("apt-get", append(a.options("amd64"),
		"-o", "APT::Architectures::=arm64", "-o", "Dir::Etc::sourceparts="+a.dir+"/etc/all", "-o", "Dir::Cache::pkgcache=",
		"-o", "Dir::Cache::srcpkgcache=", "-o", "APT::Sandbox::User=root", "-o", "APT::Update::Error-Mode=any",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "update")...)
	if out, err := update.CombinedOutput(); err != nil {
		if a.complete() {
			return nil // yesterday's lists compare as well as today's
		}
		return fmt.Errorf("apt-get update: %w\n%s", err, out)
	}
	return os.WriteFile(stamp, []byte(time.Now().UTC().Format(time.RFC3339)), 0o644)
}

// complete says whether every list is there; a failed update leaves the former ones.
func (a aptArchive) complete() bool {
	for _, suite := range suites {
		for _, arch := range arches {
			if _, err := a.list(suite, arch); err != nil {
				return false
			}
		}
	}
	return true
}

// options point apt at this archive, with nothing installed.
func (a aptArchive) options(arch string) []string {
	var args []string
	for _, o := range []string{
		"Dir::Etc=" + a.dir + "/etc", "Dir::Etc::sourcelist=/dev/null", "Dir::Etc::sourceparts=" + a.dir + "/etc/" + arch,
		"Dir::State=" + a.dir + "/state", "Dir::Cache=" + a.dir + "/cache",
		"Dir::State::status=" + a.dir + "/status", "Dir::Cache::pkgcache=pkgcache-" + arch + ".bin",
		"Dir::Cache::srcpkgcache=srcpkgcache-" + arch + ".bin", "APT::Architecture=" + arch,
		"APT::Architectures::=" + arch, "APT::Default-Release=", "Acquire::Languages=none", "Acquire::GzipIndexes=false",
	} {
		args = append(args, "-o", o)
	}
	return args
}

// list gives the path of a suite's Packages file.
func (a aptArchive) list(suite, arch string) (string, error) {
	pattern := filepath.Join(a.dir, "state/lists", "*_dists_"+suite+"_main_binary-"+arch+"_Packages")
	found, err := filepath.Glob(pattern)
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("want one list %s, got %q", pattern, found)
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// indexFiles builds the indexes of an architecture in dir.
func (a aptArchive) indexFiles(t testing.TB, arch, dir string) []string {
	t.Helper()
	var paths []string
	for _, suite := range suites {
		list, err := a.list(suite, arch)
		if err != nil {
			t.Fatal(err)
		}
		in, err := os.Open(list)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, suite+"-"+arch)
		out, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := index.Build(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
		if err := out.Close(); err != nil {
			t.Fatal(err)
		}
		in.Close()
		paths = append(paths, path)
	}
	return paths
}

// openAll opens index files, one for each suite and in their order.
func openAll(t testing.TB, paths []string) *index.Universe {
	t.Helper()
	var all []*index.Index
	for i, path := range paths {
		x, err := index.Open(path, suites[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { x.Close() })
		all = append(all, x)
	}
	return index.NewUniverse(all...)
}

// remembered is install with a memory: apt takes seconds a question, so its answers are kept
// for as long as neither the lists nor apt change.
func (a aptArchive) remembered(t testing.TB, arch string, packages []string) (set []string, ok bool) {
	t.Helper()
	question := sha256.Sum256(fmt.Appendf(nil, "%s %s %q", a.asOf, arch, packages))
	path := filepath.Join(a.dir, "answers", fmt.Sprintf("%x", question))
	if text, err := os.ReadFile(path); err == nil {
		lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		return lines[1:], lines[0] == "installs"
	}
	set, ok = a.install(t, arch, packages)
	head := map[bool]string{true: "installs", false: "fails"}[ok]
	text := strings.Join(append([]string{head}, set...), "\n") + "\n"
	if err := os.WriteFile(path+".new", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
	return set, ok
}

// install asks apt what it would install: "name version" lines, sorted, or that it fails.
func (a aptArchive) install(t testing.TB, arch string, packages []string) (set []string, ok bool) {
	t.Helper()
	args := append(a.options(arch), "--no-install-recommends", "--simulate", "install", "--")
	cmd := exec.Command("apt-get", append(args, packages...)...)
	// No setting of the machine may tilt the comparison.
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.bareConfig(t), "LC_ALL=C")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	for line := range strings.Lines(out.String()) {
		// Inst NAME [OLD] (VERSION SOURCE [ARCH]) ...
		f := strings.Fields(line)
		if len(f) < 3 || f[0] != "Inst" {
			continue
		}
		set = append(set, f[1]+" "+strings.TrimPrefix(f[2], "("))
	}
	if err != nil {
		t.Logf("apt: %s%s", tail(out.String()), errs.String())
		return nil, false
	}
	slices.Sort(set)
	return set, true
}

// tail gives the end of apt's story, where it names what it cannot do.
func tail(s string) string {
	_, after, found := strings.Cut(s, "unmet dependencies:")
	if !found {
		return ""
	}
	return after
}

// bareConfig gives a configuration that keeps apt from reading the machine's.
func (a aptArchive) bareConfig(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "apt.conf")
	text := fmt.Sprintf("Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"%s/etc/none\";\n", a.dir)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// source is one entry of apt's sources.
type source struct {
	uri, signedBy      string
	suites, components []string
}

// machineSources reads both forms of apt's sources (sources.list(5)).
func machineSources(etc string) ([]source, error) {
	var all []source
	lists, _ := filepath.Glob(etc + "/sources.list.d/*.list")
	for _, path := range append([]string{etc + "/sources.list"}, lists...) {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			if s, ok := oneLine(line); ok {
				all = append(all, s)
			}
		}
	}
	stanzas, _ := filepath.Glob(etc + "/sources.list.d/*.sources")
	for _, path := range stanzas {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		for paragraph := range strings.SplitSeq(string(text), "\n\n") {
			all = append(all, deb822(paragraph)...)
		}
	}
	return all, nil
}

func oneLine(line string) (source, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(line), "deb ")
	if !ok {
		return source{}, false
	}
	var s source
	rest = strings.TrimSpace(rest)
	if strings.HasPrefix(rest, "[") {
		var options string
		options, rest, _ = strings.Cut(rest[1:], "]")
		for o := range strings.FieldsSeq(options) {
			if by, ok := strings.CutPrefix(o, "signed-by="); ok {
				s.signedBy = by
			}
		}
	}
	f := strings.Fields(rest)
	if len(f) < 3 {
		return source{}, false
	}
	s.uri, s.suites, s.components = f[0], f[1:2], f[2:]
	return s, true
}

func deb822(paragraph string) []source {
	fields := make(map[string][]string)
	lines := bufio.NewScanner(strings.NewReader(paragraph))
	for lines.Scan() {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && !strings.HasPrefix(name, "#") {
			fields[strings.ToLower(name)] = strings.Fields(value)
		}
	}
	if !slices.Contains(fields["types"], "deb") {
		return nil
	}
	var all []source
	for _, uri := range fields["uris"] {
		s := source{uri: uri, suites: fields["suites"], components: fields["components"]}
		if by := fields["signed-by"]; len(by) == 1 {
			s.signedBy = by[0]
		}
		all = append(all, s)
	}
	return all
}

// sourcesFor finds the machine's Debian mirror and its security mirror by the suites they
// carry, and gives a sources file for the release under test.
func sourcesFor(entries []source, arches []string) (string, error) {
	for _, security := range entries {
		for _, suite := range security.suites {
			base, ok := strings.CutSuffix(suite, "-security")
			if !ok || !slices.Contains(security.components, "main") {
				continue
			}
			for _, main := range entries {
				if slices.Contains(main.suites, base) && slices.Contains(main.components, "main") {
					return stanza(main, arches, suites[:2]) + "\n" + stanza(security, arches, suites[2:]), nil
				}
			}
		}
	}
	return "", fmt.Errorf("apt's sources in /etc/apt name no Debian suite with its -security: add them and run again")
}

func stanza(s source, arches, suites []string) string {
	if s.signedBy == "" {
		s.signedBy = "/usr/share/keyrings/debian-archive-keyring.gpg"
	}
	return fmt.Sprintf("Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nArchitectures: %s\nSigned-By: %s\n",
		s.uri, strings.Join(suites, " "), strings.Join(arches, " "), s.signedBy)
}
