package maintscript

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// postinst reads a script's text as a package's postinst.
func postinst(lines ...string) Scripts {
	return Scripts{Package: "demo", Arch: "amd64", Postinst: []byte("#!/bin/sh\nset -e\n" + strings.Join(lines, "\n") + "\n")}
}

// tree gives an Lstat: "d" a directory, "l" a link, "f" a file, "x" a program.
func tree(entries map[string]string) func(string) (fs.FileMode, bool) {
	modes := map[string]fs.FileMode{"d": fs.ModeDir | 0o755, "l": fs.ModeSymlink | 0o777, "f": 0o644, "x": 0o755}
	return func(name string) (fs.FileMode, bool) {
		kind, ok := entries[name]
		return modes[kind], ok
	}
}

func TestEffects(t *testing.T) {
	for _, tt := range []struct {
		name, reason string
		in           Scripts
		want         Report
	}{
		{"alternative", "one group with a slave, over two lines", postinst(
			`update-alternatives --quiet --install /usr/bin/pager pager /usr/bin/more 50 \`,
			`  --slave /usr/share/man/man1/pager.1.gz pager.1.gz /usr/share/man/man1/more.1.gz`),
			Report{Alternatives: []Alternative{{Name: "pager", Link: "/usr/bin/pager", Path: "/usr/bin/more", Priority: 50,
				Slaves: []Slave{{"pager.1.gz", "/usr/share/man/man1/pager.1.gz", "/usr/share/man/man1/more.1.gz"}}}}}},
		{"alternatives in a loop", "a Java runtime registers its tools so, with an optional slave in a variable", Scripts{
			Postinst: []byte(`#!/bin/sh
base=/usr/lib/jvm/demo
prio=2111
tools='java keytool'
case "$1" in
configure)
  [ -n "$2" ] || change=y
  if [ "$change" = y ]; then
    for t in $tools; do
      unset man || true
      if [ -e $base/man/$t.1.gz ]; then
        man="--slave \
          /usr/share/man/man1/$t.1.gz $t.1.gz $base/man/$t.1.gz"
      fi
      update-alternatives --install /usr/bin/$t $t $base/bin/$t $prio $man
    done
  fi
  ;;
esac
`), Lstat: tree(map[string]string{"/usr/lib/jvm/demo/man/java.1.gz": "f"})},
			Report{Alternatives: []Alternative{
				{Name: "java", Link: "/usr/bin/java", Path: "/usr/lib/jvm/demo/bin/java", Priority: 2111,
					Slaves: []Slave{{"java.1.gz", "/usr/share/man/man1/java.1.gz", "/usr/lib/jvm/demo/man/java.1.gz"}}},
				{Name: "keytool", Link: "/usr/bin/keytool", Path: "/usr/lib/jvm/demo/bin/keytool", Priority: 2111}}}},
		{"only upgrades", "what an upgrade does is not done at first", postinst(
			`if [ "$1" = configure ] && [ -n "$2" ]; then mkdir /old; fi`,
			`if dpkg --compare-versions "$2" lt-nl 1.0; then mkdir /older; fi`,
			`case "$1" in abort-upgrade) mkdir /abort ;; esac`), Report{}},
		{"first installation", "the empty version is lower than any", postinst(
			`if dpkg --compare-versions "$2" lt 1.0; then mkdir -m 0750 /new; fi`),
			Report{Paths: []Path{{Path: "/new", Kind: Directory, Mode: "0750"}}}},
		{"diversions", "a loop in preinst; what is removed again is gone", Scripts{Package: "demo", Preinst: []byte(`#!/bin/sh
case $1 in install)
  for lib in liba.so libb.so; do
    dpkg-divert --package demo --no-rename --divert "/lib/$lib.old" --add "/lib/$lib"
  done
  dpkg-divert --local /etc/local
  dpkg-divert --package demo --remove /lib/libb.so
esac
`)}, Report{Diversions: []Diversion{{"/lib/liba.so", "/lib/liba.so.old", "demo"}, {"/etc/local", "/etc/local.distrib", ""}}}},
		{"capability", "setcap when it is there", Scripts{Postinst: []byte(`#!/bin/sh
if command -v setcap >/dev/null; then
  if ! setcap cap_net_raw+ep /usr/bin/ping; then chmod u+s /usr/bin/ping; fi
else
  chmod u+s /usr/bin/ping
fi
`), Lstat: tree(map[string]string{"/usr/sbin/setcap": "x", "/usr/bin/ping": "x"})},
			Report{Capabilities: []Capability{{"/usr/bin/ping", "cap_net_raw+ep"}}}},
		{"debconf's default", "a question is answered as without a user", Scripts{Postinst: []byte(`#!/bin/sh
. /usr/share/debconf/confmodule
db_get demo/caps
if [ "$RET" = true ]; then setcap cap_bpf=ep /usr/bin/x; else setcap -r /usr/bin/x; fi
db_get demo/dir
mkdir "$RET"
`), Templates: []byte("Template: demo/caps\nType: boolean\nDefault: false\nDescription: Caps?\n\nTemplate: demo/dir\nDefault: /srv/demo\n")},
			Report{Paths: []Path{{Path: "/srv/demo", Kind: Directory}}}},
		{"functions", "with positional parameters, locals and an early return", postinst(
			`setup() {`, `  local dir="$1"`, `  [ -n "$dir" ] || return 0`, `  mkdir -p ${dir}`, `  chown ${OWNER}:$3 ${dir}`, `  chmod $2 $dir`, `}`,
			`OWNER=redis`, `setup /var/lib/redis 750 ${OWNER}`, `setup ""`),
			Report{Paths: []Path{{Path: "/var/lib/redis", Kind: Directory, Owner: "redis", Group: "redis", Mode: "750"}}}},
		{"accounts", "made only if they are missing", postinst(
			`getent passwd demo >/dev/null || adduser --system --quiet --home /var/lib/demo --no-create-home --shell /bin/sh --group --gecos "Demo server" demo`,
			`if ! getent group extra; then addgroup --system --gid 640 extra; fi`,
			`if ! getent group demo; then addgroup never; fi`,
			`getent passwd www-data || adduser --system www-data`,
			`adduser demo extra`, `usermod -a -G ssl,demo demo`, `useradd -r -u 99 -d / -s /usr/sbin/nologin -G video two`),
			Report{
				Users: []User{
					{Name: "demo", UID: AnyID, System: true, Group: "demo", Home: "/var/lib/demo", Shell: "/bin/sh", Comment: "Demo server"},
					{Name: "two", UID: 99, System: true, Home: "/", Shell: "/usr/sbin/nologin"}},
				Groups:  []Group{{Name: "extra", GID: 640, System: true}},
				Members: []Member{{"demo", "extra"}, {"demo", "ssl"}, {"two", "video"}}}},
		{"statoverride", "adds only where nobody else did", postinst(
			`F=/etc/demo.conf`, `if ! dpkg-statoverride --list $F >/dev/null 2>&1; then dpkg-statoverride --update --add demo adm 640 $F; fi`),
			Report{Paths: []Path{{Path: "/etc/demo.conf", Owner: "demo", Group: "adm", Mode: "640"}}}},
		{"files", "texts, copies and links", postinst(
			`cat > /etc/hosts <<-EOF`, "\t127.0.0.1 localhost", "\t$1", `EOF`,
			`echo one > /etc/two; echo two >> /etc/two`, `: > "$DPKG_ROOT/etc/empty"`, `umask 066; touch /etc/secret; umask 022`,
			`cp -p "$DPKG_ROOT/usr/share/demo/profile" /etc/profile`, `ln -sf share/man "$DPKG_ROOT/usr/local/man"`,
			`ln -sr /etc/locale.conf /etc/default/locale`, `ln -s /usr/share/zoneinfo/Etc/UTC /etc/x.new && mv -f /etc/x.new /etc/localtime`,
			`install -d -m 2775 -o demo -g adm /var/log/demo`, `echo gone > /etc/gone; rm -f /etc/gone`),
			Report{Paths: []Path{
				{Path: "/etc/hosts", Kind: File, Content: "127.0.0.1 localhost\nconfigure\n"},
				{Path: "/etc/two", Kind: File, Content: "one\ntwo\n"},
				{Path: "/etc/empty", Kind: File},
				{Path: "/etc/secret", Kind: File, Mode: "0600", KeepOld: true},
				{Path: "/etc/profile", Kind: Copy, Source: "/usr/share/demo/profile"},
				{Path: "/usr/local/man", Kind: Symlink, Target: "share/man", Replace: true},
				{Path: "/etc/default/locale", Kind: Symlink, Target: "../locale.conf"},
				{Path: "/etc/localtime", Kind: Symlink, Target: "/usr/share/zoneinfo/Etc/UTC", Replace: true},
				{Path: "/var/log/demo", Kind: Directory, Owner: "demo", Group: "adm", Mode: "2775"}}}},
		{"a directory becomes a link", "rmdir makes room for it", Scripts{
			Postinst: []byte("#!/bin/sh\nif [ ! -L /var/run ]; then rmdir /var/run; ln -s /run /var/run; fi\n"), Lstat: tree(map[string]string{"/var/run": "d"})},
			Report{Paths: []Path{{Path: "/var/run", Kind: Symlink, Target: "/run", Replace: true}}}},
		{"a link where the script looks first", "another script may have put something there", postinst(
			`[ -e /etc/a ] || ln -s b /etc/a`, `ln -s d /etc/c`),
			Report{Paths: []Path{{Path: "/etc/a", Kind: Symlink, Target: "b", KeepOld: true}, {Path: "/etc/c", Kind: Symlink, Target: "d"}}}},
		{"ucf", "it copies at a first installation, whatever its options are", postinst(
			`INI=/etc/php/php.ini`, `ucf /usr/lib/php/php.ini $INI`, `ucfr php $INI`,
			`register() { ucf --debconf-ok --sum-file /x.md5sum -three-way "$1" "$2"; ucfr demo "$2"; }`,
			`for f in a b; do register /usr/share/demo/$f /etc/demo/$f; done`,
			`ucf --purge /etc/old`, `ucf /usr/share/demo/there /etc/there`,
		), Report{Paths: []Path{
			{Path: "/etc/php/php.ini", Kind: Copy, Source: "/usr/lib/php/php.ini", KeepOld: true},
			{Path: "/etc/demo/a", Kind: Copy, Source: "/usr/share/demo/a", KeepOld: true},
			{Path: "/etc/demo/b", Kind: Copy, Source: "/usr/share/demo/b", KeepOld: true},
			{Path: "/etc/there", Kind: Copy, Source: "/usr/share/demo/there", KeepOld: true}}}},
		{"ucf of a scratch file", "as openssh-server and others do it", Scripts{Postinst: []byte(`#!/bin/sh
. /usr/share/debconf/confmodule
new="$(mktemp)"
cp -aZ /usr/share/demo/conf "$new"
db_get demo/plain
if [ "$RET" != true ]; then sed -i s/a/b/ "$new"; fi
ucf --three-way "$new" /etc/demo.conf
rm -f "$new"
text=$(mktemp --tmpdir demo.XXXX)
echo "one" > $text
echo "two" >> $text
chmod 644 $text
ucf $text /etc/demo.text
dir=$(mktemp -d)
cp /usr/share/demo/conf $dir/
ucf $dir/conf /etc/demo.dir
`), Templates: []byte("Template: demo/plain\nDefault: true\n"), Lstat: tree(map[string]string{"/usr/share/demo/conf": "f"})},
			Report{Paths: []Path{
				{Path: "/etc/demo.conf", Kind: Copy, Source: "/usr/share/demo/conf", KeepOld: true},
				{Path: "/etc/demo.text", Kind: File, Content: "one\ntwo\n", Mode: "644", KeepOld: true},
				{Path: "/etc/demo.dir", Kind: Copy, Source: "/usr/share/demo/conf", KeepOld: true}}}},
		{"eval and wrappers", "a known line is walked", postinst(
			`V=/srv/x; eval "mkdir $V"`, `runuser -u demo -- mkdir /srv/y`, `install -m 0644 /dev/null /etc/empty`, `exec 3>&1`),
			Report{Paths: []Path{{Path: "/srv/x", Kind: Directory}, {Path: "/srv/y", Kind: Directory}, {Path: "/etc/empty", Kind: File, Mode: "0644"}}}},
		{"nobody listens", "a trigger is only a finding if a package waits for it", Scripts{Triggers: []byte("activate other-index\n"),
			Listening: func(string) bool { return false }}, Report{}},
		{"services", "an image has no init system", postinst(
			`if [ -d /run/systemd/system ]; then strange-daemon --reload; fi`,
			`deb-systemd-helper unmask demo.service >/dev/null || true`,
			`if [ -x /etc/init.d/demo ]; then update-rc.d demo defaults; invoke-rc.d demo start || exit 1; fi`,
			`ldconfig; py3compile -p demo; update-mime-database /usr/share/mime`), Report{}},
		{"both branches", "what depends on the machine is walked both ways", postinst(
			`if [ -e /etc/flag ]; then V=a; mkdir /yes; else V=b; mkdir /no; fi`, `mkdir /v-$V`),
			Report{Paths: []Path{{Path: "/yes", Kind: Directory}, {Path: "/no", Kind: Directory}},
				Uncovered: []Finding{{"postinst", 4, "mkdir /v-…", unread}}}},
		{"exit in a branch", "those who leave have no say", postinst(
			`if [ -e /etc/flag ]; then V=a; exit 0; fi`, `V=b; mkdir /v-$V; exit 0; mkdir /never`),
			Report{Paths: []Path{{Path: "/v-b", Kind: Directory}}}},
		{"triggered", "the package waits for a trigger of its own", Scripts{
			Triggers: []byte("# mine\ninterest-noawait /usr/share/demo\nactivate-noawait ldconfig\nactivate other-index\n"),
			Postinst: []byte("#!/bin/sh\nif [ \"$1\" = triggered ]; then for t in $2; do mkdir /made$t; done; fi\n")},
			Report{Paths: []Path{{Path: "/made/usr/share/demo", Kind: Directory}},
				Uncovered: []Finding{{"triggers", 4, "activate other-index", "Another package's script acts on this trigger, and that action is not made."}}}},
		{"known as a whole", "the composer makes the trust store", Scripts{Package: "ca-certificates-java", Postinst: []byte("#!/bin/sh\njava -jar x\n")}, Report{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Read(tt.in)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

func TestUncovered(t *testing.T) {
	for _, tt := range []struct {
		name, line, command, why string
	}{
		{"unknown program", "demo-setup --all", "demo-setup --all", "not known what this program changes"},
		{"program in a package", "/usr/lib/demo/setup", "/usr/lib/demo/setup", "not known"},
		{"known to matter", "make-ssl-cert generate-default-snakeoil", "make-ssl-cert generate-default-snakeoil", "self-signed"},
		{"computed path", `mkdir "$(demo-dir)"`, "mkdir …", "works out"},
		{"computed owner", `chown $(stat -c %u /usr/local) /srv`, "chown … /srv", "works out"},
		{"computed text", `sed s/a/b/ /usr/share/demo.conf > /etc/demo.conf`, "> /etc/demo.conf", "writes into this file"},
		{"ucf of what is not known", `ucf "$(demo-file)" /etc/demo.conf`, "ucf … /etc/demo.conf", "works out"},
		{"ucf to what is not known", `ucf /usr/share/demo "$(demo-file)"`, "ucf /usr/share/demo …", "works out"},
		{"ucf of an edited file", `T=$(mktemp); sed s/a/b/ /usr/share/demo > $T; ucf --debconf-ok $T /etc/demo.conf`, "ucf /tmp/maintscript.1 /etc/demo.conf", "/etc/demo.conf together"},
		{"ucf of a file that a program makes", `demo > /tmp/demo; ucf /tmp/demo /etc/demo.conf`, "ucf /tmp/demo /etc/demo.conf", "together"},
		{"a scratch file that two branches write", `T=$(mktemp); if demo; then echo a >> $T; else echo b >> $T; fi; ucf $T /etc/demo.conf`, "ucf /tmp/maintscript.1 /etc/demo.conf", "together"},
		{"a moved scratch file", `T=$(mktemp); demo > $T; mv $T /etc/demo.conf`, "mv /tmp/maintscript.1 /etc/demo.conf", "moves a file"},
		{"in-place edit", `sed -i s/a/b/ /etc/demo.conf`, "sed -i s/a/b/ /etc/demo.conf", "in place"},
		{"appended", `echo line >> /etc/services`, "> /etc/services", "writes into this file"},
		{"computed program", `for h in /usr/lib/demo.d/*; do $h run; done`, "/usr/lib/demo.d/… run", "which program"},
		{"other script", `. /usr/share/demo/functions`, ". /usr/share/demo/functions", "not walked"},
		{"eval", `eval "$(demo)"`, "eval …", "put together"},
		{"moved file", `mv /etc/a /etc/b`, "mv /etc/a /etc/b", "moves a file"},
		{"alternative by variable", `update-alternatives --install /usr/bin/x x "$(find-it)" 10`, "update-alternatives --install /usr/bin/x x … 10", "works out"},
		{"bad alternative", `update-alternatives --install /usr/bin/x ../x /usr/bin/y 10`, "update-alternatives --install /usr/bin/x ../x /usr/bin/y 10", "slash"},
		{"bad account", `adduser --system "a:b"`, "adduser --system a:b", "works out"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Read(postinst(tt.line)).Uncovered
			var matching []Finding
			for _, f := range got {
				if f.Command == tt.command && strings.Contains(f.Why, tt.why) && f.Line == 3 && f.Script == "postinst" {
					matching = append(matching, f)
				}
			}
			if len(matching) != 1 {
				t.Errorf("findings = %+v, want one with %q because %q", got, tt.command, tt.why)
			}
		})
	}
}

func TestOtherLanguages(t *testing.T) {
	for _, text := range []string{"#!/usr/bin/perl\nprint 1;\n", "\x7fELF\x02", "#!/usr/bin/python3\n", "echo no interpreter\n", "#!\n"} {
		got := Read(Scripts{Preinst: []byte(text)}).Uncovered
		if len(got) != 1 || got[0].Script != "preinst" || !strings.Contains(got[0].Why, "not written in shell") {
			t.Errorf("%q: %+v", text, got)
		}
	}
	got := Read(Scripts{Preinst: []byte("#!/bin/sh\nif then\n")}).Uncovered
	if len(got) != 1 || !strings.Contains(got[0].Why, "could not be parsed") {
		t.Errorf("broken syntax: %+v", got)
	}
}

func TestHostileScriptsEnd(t *testing.T) {
	deep := "f() { f; f; }\nf\n"
	wide := "for a in 1 2 3 4 5 6 7 8 9; do for b in 1 2 3 4 5 6 7 8 9; do for c in 1 2 3 4 5 6 7 8 9; do for d in 1 2 3 4 5 6 7 8 9; do for e in 1 2 3 4 5 6 7 8 9; do true; done; done; done; done; done\n"
	for _, text := range []string{deep, wide} {
		got := Read(postinst(text))
		if len(got.Uncovered) != 1 || !strings.Contains(got.Uncovered[0].Why, "too long") {
			t.Errorf("%q: %+v", text, got.Uncovered)
		}
	}
}

func TestExpansion(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"default", `mkdir "/${X:-a}/${1:-b}"`, "/a/configure"},
		{"empty default", `mkdir "/${2:-a}"`, "/a"},
		{"alternate", `mkdir "/x${DPKG_ROOT:+/never}"`, "/x"},
		{"prefix", `V=/usr/share/x.conf; mkdir "/${V##*/}"`, "/x.conf"},
		{"suffix", `V=x.tar.gz; mkdir "/${V%.*}-${V%%.*}"`, "/x.tar-x"},
		{"splitting", `V="/one -m 755"; mkdir $V`, "/one"},
		{"quotes", `mkdir '/$x'\ y"` + "\\\"$1\\\"" + `"`, `/$x y"configure"`},
		{"all parameters", `set -- -p "/a b"; mkdir "$@"`, "/a b"},
		{"shift", `shift; set -- a b; shift; mkdir "/$1-$#"`, "/b-1"},
		{"append", `V=/a; V="$V/b"; mkdir $V`, "/a/b"},
		{"substitution", `mkdir /$(basename /usr/x)$(dirname /y/z)`, "/x/y"},
		{"directory", `cd /srv; mkdir sub`, "/srv/sub"},
		{"clean", `mkdir //a/../b/`, "/b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := Read(postinst(tt.script))
			if len(got.Paths) != 1 || got.Paths[0].Path != tt.want || len(got.Uncovered) > 0 {
				t.Errorf("got %+v, want one directory %q", got, tt.want)
			}
		})
	}
}

func TestConditions(t *testing.T) {
	there := tree(map[string]string{"/d": "d", "/f": "f", "/l": "l", "/x": "x", "/usr/bin/tool": "x"})
	for condition, want := range map[string]bool{
		`[ "$1" = configure ]`:                         true,
		`test "$1" != configure`:                       false,
		`[ "$1" = a -o "$1" = configure ]`:             true,
		`[ "$1" = configure -a -n "$2" ]`:              false,
		`[ ! \( "$1" = a -o "$1" = b \) ]`:             true,
		`! [ -z "$2" ]`:                                false,
		`[ "$2" ]`:                                     false,
		`[ 3 -gt 2 ] && [ 2 -le 2 ]`:                   true,
		`[ -d /d ] && [ -f /f ] && [ -L /l ]`:          true,
		`[ -d /f ] || [ -L /d ] || [ -e /none ]`:       false,
		`[ -x /x ] && ! [ -x /f ]`:                     true,
		`[ -x "$(command -v tool)" ]`:                  true,
		`which tool >/dev/null && command -v tool`:     true,
		`[ -x "$(which none)" ]`:                       false,
		`[ -d /run/systemd/system ]`:                   false,
		`dpkg --compare-versions "$2" ge-nl 5`:         true,
		`dpkg --compare-versions "$2" gt 5`:            false,
		`[ -z "$(dpkg-divert --listpackage /f)" ]`:     true,
		`dpkg-statoverride --list /f`:                  false,
		`getent passwd root`:                           true,
		`getent passwd stranger`:                       false,
		`[ "$(dpkg --print-architecture)" = amd64 ]`:   true,
		`false || true`:                                true,
		`case "$1" in a|conf*) true;; *) false;; esac`: true,
	} {
		in := postinst("if " + condition + "; then mkdir /then; else mkdir /else; fi")
		in.Lstat = there
		got := Read(in).Paths
		name := map[bool]string{true: "/then", false: "/else"}[want]
		if len(got) != 1 || got[0].Path != name {
			t.Errorf("%s: %+v, want only %s", condition, got, name)
		}
	}
}

// FuzzRead holds that any script is read to its end.
func FuzzRead(f *testing.F) {
	f.Add("#!/bin/sh\nfor i in a b; do update-alternatives --install /usr/bin/$i $i /opt/$i 1; done\n", "interest x\n", "Template: a/b\nDefault: c\n")
	f.Add("#!/bin/bash\nf() { local x=${1%%/*}; case $x in a|b) return 1;; esac; }\nwhile read l; do f $l || exit; done < /etc/x > /etc/y\n", "", "")
	f.Add("#!/bin/sh -e\ncat > /etc/x <<-EOF\n\ta $1 `id`\n\tEOF\ncp -a /x/. /y; chmod -x /z; ln -s a b\n", "activate y", "")
	f.Fuzz(func(t *testing.T, script, triggers, templates string) {
		r := Read(Scripts{Package: "p", Postinst: []byte(script), Triggers: []byte(triggers), Templates: []byte(templates)})
		for _, p := range r.Paths {
			if !strings.HasPrefix(p.Path, "/") || strings.Contains(p.Path+"/", "/../") {
				t.Fatalf("path %q leaves the image", p.Path)
			}
		}
		for _, a := range r.Alternatives {
			if !validAlternative(a) {
				t.Fatalf("alternative %+v", a)
			}
		}
		Links(r.Alternatives)
	})
}
