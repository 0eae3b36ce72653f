package resolve_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plimsoll.dev/plimsoll/internal/debian/index"
	"plimsoll.dev/plimsoll/internal/debian/resolve"
)

// aptSets are package sets of every sort that apt's resolver and ours are both given.
var aptSets = []struct {
	arch     string // "" for amd64
	packages string
}{
	// Run bases.
	{packages: "libc6"},
	{packages: "base-files netbase tzdata"},
	{packages: "libc6 openssl ca-certificates tzdata zlib1g"},
	{packages: "nodejs ca-certificates"},
	{packages: "nodejs npm"},
	{packages: "python3"},
	{packages: "python3-venv python3-pip"},
	{packages: "python3-numpy python3-requests python3-yaml"},
	{packages: "python3-django python3-psycopg2 gunicorn"},
	{packages: "openjdk-21-jre-headless ca-certificates"},
	{packages: "default-jre-headless"},
	{packages: "default-jdk-headless maven"},
	{packages: "libstdc++6 libgomp1"},
	// Build sets.
	{packages: "gcc make git bash coreutils"},
	{packages: "build-essential"},
	{packages: "build-essential debhelper devscripts"},
	{packages: "golang-go git ca-certificates"},
	{packages: "rustc cargo"},
	{packages: "cmake ninja-build clang lld"},
	{packages: "autoconf automake libtool pkg-config"},
	// Tools and languages.
	{packages: "libxml2 curl perl"},
	{packages: "curl wget git jq"},
	{packages: "ruby ruby-rails"},
	{packages: "php-cli php-fpm php-mysql"},
	{packages: "libwww-perl libdbd-pg-perl"},
	{packages: "libmojolicious-perl starman"},
	// Servers.
	{packages: "postgresql-17"},
	{packages: "mariadb-server"},
	{packages: "nginx"},
	{packages: "apache2 libapache2-mod-php"},
	{packages: "redis"},
	{packages: "haproxy varnish"},
	{packages: "bind9 unbound"},
	{packages: "samba"},
	{packages: "podman buildah skopeo"},
	// Mail, where one must choose.
	{packages: "exim4"},
	{packages: "postfix"},
	{packages: "default-mta"},
	{packages: "mutt bsd-mailx"},
	{packages: "mailman3"},
	{packages: "logwatch postfix"},
	{packages: "sendmail cron"},
	// Init systems, desktops, and what hangs on them.
	{packages: "systemd"},
	{packages: "systemd-sysv dbus"},
	{packages: "sysvinit-core"},
	{packages: "init"},
	{packages: "libgl1 libegl1"},
	{packages: "network-manager"},
	{packages: "apt dpkg gnupg"},
	{packages: "emacs-nox"},
	{packages: "texlive-base"},
	{packages: "texlive-latex-extra pandoc"},
	{packages: "chromium"},
	{packages: "firefox-esr"},
	{packages: "libreoffice-writer-nogui"},
	{packages: "fonts-dejavu fonts-noto-core"},
	{packages: "xfce4"},
	{packages: "linux-image-amd64"},
	{packages: "roundcube"},
	{packages: "ansible"},
	{packages: "libssl3t64 libglib2.0-0t64 libcurl4t64"},
	{packages: "libssl3 libglib2.0-0"},
	// The version before the last security update, where there was one.
	{packages: "openssl@trixie"},
	{packages: "openssl@trixie ca-certificates@trixie libc6"},
	{packages: "curl@trixie"},
	{packages: "nodejs@trixie"},
	{packages: "openjdk-21-jre-headless@trixie"},
	{packages: "linux-image-amd64@trixie"},
	{packages: "libssl3t64@trixie openssl"},
	{packages: "libxml2@trixie"},
	{packages: "bind9@trixie"},
	{packages: "php8.4-cli@trixie"},
	// The other architecture.
	{arch: "arm64", packages: "libc6 openssl ca-certificates tzdata zlib1g"},
	{arch: "arm64", packages: "nodejs"},
	{arch: "arm64", packages: "python3 python3-numpy"},
	{arch: "arm64", packages: "openjdk-21-jre-headless"},
	{arch: "arm64", packages: "gcc make git bash coreutils"},
	{arch: "arm64", packages: "nginx postgresql-17"},
	{arch: "arm64", packages: "linux-image-arm64"},
	// What cannot be.
	{packages: "exim4 postfix"},
	{packages: "systemd-sysv sysvinit-core"},
	{packages: "awk"},
	{packages: "mail-transport-agent"},
	{packages: "no-such-package"},
	{packages: "libc6=1.0"},
	{packages: "python3 python3-minimal=3.9.2-3"},
	{packages: "libjpeg-turbo-progs libjpeg-progs libjpeg62-turbo-dev libjpeg-dev libjpeg62-dev"},
}

// keptDifferences are the sets on which ours is not apt's, each with why ours is right or
// acceptable. One that is no longer a difference fails the test as much as a new one does.
//
// A set with "@" differs only while the suite's version is not the newest, which the next
// point release ends: till the next security update such an explanation then rests.
var keptDifferences = map[string]string{
	"curl@trixie":       oldSiblings + "libcurl4t64",
	"nodejs@trixie":     oldSiblings + "libnode115",
	"bind9@trixie":      oldSiblings + "bind9-libs and bind9-utils",
	"php8.4-cli@trixie": oldSiblings + "php8.4-common",
}

const oldSiblings = "apt's resolver considers no version but each package's candidate and gives up; " +
	"ours finds the set that satisfies every relation, with the equally old "

func TestResolvesAsApt(t *testing.T) {
	archive := aptLists(t)
	universes := make(map[string]resolve.Universe)
	for _, arch := range arches {
		universes[arch] = openAll(t, archive.indexFiles(t, arch, t.TempDir()))
	}
	for _, set := range aptSets {
		arch := set.arch
		if arch == "" {
			arch = "amd64"
		}
		t.Run(arch+" "+set.packages, func(t *testing.T) {
			t.Parallel()
			packages, newest := pinned(t, universes[arch], set.packages)
			theirs, possible := archive.remembered(t, arch, packages)
			result, err := resolve.Resolve(t.Context(), universes[arch], resolve.Request{Architecture: arch, Packages: packages})
			diff := ""
			if possible != (err == nil) {
				diff = "apt succeeds: " + map[bool]string{true: "yes", false: "no"}[possible] + "\n"
			}
			if err != nil {
				t.Logf("ours: %v", err)
			}
			if possible && err == nil {
				diff = cmp.Diff(theirs, names(result))
			}
			reason, kept := keptDifferences[set.packages]
			kept = kept && !newest
			switch {
			case diff != "" && !kept:
				t.Errorf("differs from apt (-apt +ours), and nothing explains it:\n%s", diff)
			case diff == "" && kept:
				t.Errorf("no longer differs from apt: remove the explanation %q", reason)
			}
		})
	}
}

// pinned reads "name@suite" as the version of the name that the suite has, and says whether
// all such versions are the newest.
func pinned(t *testing.T, u resolve.Universe, packages string) (wanted []string, newest bool) {
	t.Helper()
	wanted, newest = strings.Fields(packages), true
	for i, w := range wanted {
		name, suite, ok := strings.Cut(w, "@")
		if !ok {
			continue
		}
		versions, err := u.Versions(name)
		if err != nil {
			t.Fatal(err)
		}
		at := slices.IndexFunc(versions, func(p *index.Package) bool { return p.Suite == suite })
		if at < 0 {
			t.Fatalf("%s has no %s: %v", suite, name, versions)
		}
		wanted[i] = name + "=" + versions[at].Version
		newest = newest && versions[at].Version == versions[0].Version
	}
	return wanted, newest
}

func names(r resolve.Result) []string {
	var set []string
	for _, c := range r.Packages {
		set = append(set, c.Package.Name+" "+c.Package.Version)
	}
	return set
}
