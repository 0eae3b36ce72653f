package maintscript

// coveredScripts are the scripts that are not walked, for all they do is known and made
// elsewhere or means nothing in an image. The value says which.
var coveredScripts = map[string]string{
	"ca-certificates/postinst":      "the CA bundle and its links are made by the composer",
	"ca-certificates-java/postinst": "Java's trust store is made by the composer",
	"base-passwd/preinst":           "the base accounts are made by the composer",
	"base-passwd/postinst":          "the base accounts are made by the composer",
	"base-files/preinst":            "/usr is merged in every image",
	"dpkg/postinst":                 "the state of dpkg itself; an image has the inventory in status.d",
	"libc6/preinst":                 "checks the running kernel and an older libc",
	"libpam0g/postinst":             "restarts services after an upgrade",
	"tzdata/postinst":               "the time zone is UTC, as the C library has it without /etc/localtime",
	"locales/postinst":              "C.UTF-8 is in the C library; other locales come with the package locales-all",
	"python3/postinst":              "byte-compiles modules, and keeps the settings for doing so",
}

// coveredTriggers are the named triggers whose action is made elsewhere, or that only a
// running machine needs.
var coveredTriggers = map[string]string{
	"ldconfig":                          "the linker's cache is made by the composer",
	"update-ca-certificates":            "the CA bundle is made by the composer",
	"update-ca-certificates-fresh":      "the CA bundle is made by the composer",
	"update-ca-certificates-java":       "Java's trust store is made by the composer",
	"update-ca-certificates-java-fresh": "Java's trust store is made by the composer",
	"libc-upgrade":                      "there is nothing to restart",
	"nginx-reload":                      "there is nothing to restart",
	"update-initramfs":                  "an image has no kernel",
	"/usr/lib/sysctl.d":                 "the kernel's settings are the host's",
	"/usr/lib32":                        "/usr is merged in every image",
	"/usr/libo32":                       "/usr is merged in every image",
	"/usr/libx32":                       "/usr is merged in every image",
}

// sourced are files that a script may read in without more being asked of it.
var sourced = map[string]string{
	"/usr/share/debconf/confmodule":       "debconf; db_get is answered with the default",
	"/usr/share/dpkg/sh/dpkg-error.sh":    "messages",
	"/usr/share/initscripts/default.sh":   "settings of init scripts",
	"/lib/lsb/init-functions":             "messages",
	"/usr/lib/lsb/init-functions":         "messages",
	"/etc/os-release":                     "the release's name",
	"/usr/share/ucf/ucf_helper_functions": "conffile questions",
}

// sourcedMatters are files that scripts read in for functions which are known to matter.
var sourcedMatters = map[string]string{
	"/usr/lib/php/php-maintscript-helper":                 "PHP's modules are not enabled.",
	"/usr/share/apache2/apache2-maintscript-helper":       "The web server's modules and configuration snippets of this package are not enabled.",
	"/usr/share/postgresql-common/maintscripts-functions": "PostgreSQL's manual pages get no generic names, and for a server no database cluster is made: the image's entrypoint must make one.",
}

// harmless are the commands that are passed over, with the reason. Those of the first
// group act on what the composer makes itself, those of the second on a running machine
// or on caches, those of the third only read or talk.
var harmless = map[string]string{
	"ldconfig":                "the linker's cache is made by the composer",
	"update-ca-certificates":  "the CA bundle is made by the composer",
	"dpkg-trigger":            "triggers are read from the triggers file",
	"dpkg-maintscript-helper": "moves conffiles of older versions",
	"py3compile":              "byte code is a cache",
	"py3clean":                "byte code is a cache",
	"pypy3compile":            "byte code is a cache",
	"update-mime-database":    "a cache for desktops",
	"update-desktop-database": "a cache for desktops",
	"update-menus":            "menus of desktops",
	"update-icon-caches":      "a cache for desktops",
	"gtk-update-icon-cache":   "a cache for desktops",
	"glib-compile-schemas":    "a cache for desktops",
	"update-mime":             "mailcap for desktops",
	"install-info":            "the info pages' directory",
	"mandb":                   "the manual's index",
	"update-locale":           "the image's environment sets the locale",
	"locale-gen":              "C.UTF-8 is in the C library; other locales come with locales-all",
	"update-shells":           "only login programs read /etc/shells",
	"add-shell":               "only login programs read /etc/shells",
	"systemd-tmpfiles":        "tmpfiles.d is read from the package itself",
	"systemd-sysusers":        "sysusers.d is read from the package itself",
	"ucfr":                    "remembers configuration files",
	"ucfq":                    "asks about configuration files",

	"deb-systemd-helper": "an image has no init system",
	"deb-systemd-invoke": "an image has no init system",
	"invoke-rc.d":        "an image has no init system",
	"update-rc.d":        "an image has no init system",
	"service":            "an image has no init system",
	"systemctl":          "an image has no init system",
	"systemd-hwdb":       "an image has no devices",
	"start-stop-daemon":  "nothing runs during a build",
	"udevadm":            "an image has no devices",
	"update-initramfs":   "an image has no kernel",
	"update-binfmts":     "the kernel's settings are the host's",
	"sysctl":             "the kernel's settings are the host's",
	"modprobe":           "the kernel is the host's",
	"killall":            "nothing runs during a build",
	"kill":               "nothing runs during a build",
	"pkill":              "nothing runs during a build",
	"nscd":               "a cache of a running machine",
	"restorecon":         "labels are the host's",
	"apparmor_parser":    "profiles are the host's",
	"aa-status":          "profiles are the host's",
	"apt-get":            "no package is installed by a script",
	"sync":               "nothing is on disk yet",
	"pg_updatedicts":     "dictionaries of desktops",
	"pg_updateaptconfig": "protects packages from autoremove",
	"pg_checksystem":     "a warning about the kernel's settings",

	"aa-enabled":               "profiles are the host's",
	"dbus-send":                "nothing runs during a build",
	"dbus-uuidgen":             "an image has no machine id",
	"systemd-machine-id-setup": "an image has no machine id",
	"journalctl":               "an image has no journal",
	"gio-querymodules":         "a cache; without it GLib looks at the modules",
	"update-info-dir":          "the info pages' directory",
	"helpztags":                "the editor's help",
	"runit-helper":             "an image has no init system",
	"named-checkconf":          "a check",
	"df":                       "", "base64": "",

	"rm": "", "rmdir": "", "find": "", "awk": "", "basename": "", "cat": "", "cmp": "", "cut": "",
	"date": "", "diff": "", "dirname": "", "dpkg-query": "", "dpkg-architecture": "", "dpkg-realpath": "",
	"dpkg-vendor": "", "egrep": "", "expr": "", "fgrep": "", "getcap": "", "grep": "", "head": "",
	"hostname": "", "ischroot": "", "ls": "", "lsb_release": "", "md5sum": "", "mktemp": "", "mountpoint": "",
	"perl": "", "pidof": "", "pgrep": "", "printf": "", "ps": "", "pwd": "", "readlink": "", "realpath": "",
	"runlevel": "", "sed": "", "seq": "", "sha256sum": "", "sha512sum": "", "sleep": "", "sort": "", "stat": "",
	"su": "", "tail": "", "tee": "", "times": "", "tr": "", "type": "", "uname": "", "uniq": "", "wait": "",
	"wc": "", "which": "", "who": "", "whoami": "", "xargs": "", "getconf": "", "tput": "", "logger": "",
	"echo": "", "trap": "", "ulimit": "", "hash": "", "alias": "", "error": "", "warning": "", "stty": "",
}

// matters are commands that are known to matter, with the sentence that tells why.
var matters = map[string]string{
	"pam-auth-update":        "PAM has no common files in /etc/pam.d; a program that logs users in (su, sudo, login, sshd) refuses them.",
	"make-ssl-cert":          "No self-signed certificate is made; a server that is configured for it does not start.",
	"pg_createcluster":       "No database cluster is made; the image's entrypoint must make one.",
	"update-passwd":          "The base accounts are not brought up to date.",
	"ssh-keygen":             "No host key is made, and none should be in an image.",
	"update-gsfontmap":       "Ghostscript's font map is not made.",
	"update-grub":            "No boot loader is configured.",
	"fc-cache":               "No font cache is made; the first program that draws text makes it slowly.",
	"update-xmlcatalog":      "XML catalogs are not registered; XML tools then look for schemas in the network.",
	"update-catalog":         "SGML catalogs are not registered; SGML tools then do not find their schemas.",
	"gconftool-2":            "Settings are not registered.",
	"a2enmod":                "The web server's modules are not enabled.",
	"a2ensite":               "The web server's sites are not enabled.",
	"a2enconf":               "The web server's configuration snippets are not enabled.",
	"phpenmod":               "PHP's modules are not enabled.",
	"debconf-set-selections": "Answers to questions are not kept.",
}

// baseAccounts are in every image (base-passwd's master files).
var baseAccounts = map[string]bool{
	"root": true, "daemon": true, "bin": true, "sys": true, "sync": true, "games": true, "man": true, "lp": true,
	"mail": true, "news": true, "uucp": true, "proxy": true, "www-data": true, "backup": true, "list": true,
	"irc": true, "_apt": true, "nobody": true, "adm": true, "tty": true, "disk": true, "kmem": true, "dialout": true,
	"fax": true, "voice": true, "cdrom": true, "floppy": true, "tape": true, "sudo": true, "audio": true, "dip": true,
	"operator": true, "src": true, "shadow": true, "utmp": true, "video": true, "sasl": true, "plugdev": true,
	"staff": true, "users": true, "nogroup": true,
}

// neverThere are files that an image being built has not: traces of older versions, and
// an administrator's marks.
var neverThere = []string{".dpkg-bak", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-remove", ".ucf-old", ".ucf-dist",
	"/etc/staff-group-for-usr-local"}

// scratch are places whose files are not part of an image.
var scratch = []string{"/dev/", "/tmp/", "/proc/", "/sys/", "/var/lib/dpkg/", "/var/lib/ucf/", "/var/cache/debconf/"}
