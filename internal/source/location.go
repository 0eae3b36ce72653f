package source

import (
	"cmp"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/artifact"
)

// place is a parsed location.
type place struct {
	kind    artifact.SourceKind // "" for a local path that has not been looked at
	at      string              // a local path, an image's reference, or the URL to ask, without login
	login   *url.Userinfo       // of an http(s) URL; nil when there is none
	shown   string              // for messages and the Source: no login, no query
	scheme  string              // of a URL; "" otherwise
	ref     string              // what stood behind "#"
	subpath string              // what stood behind "#…:"
}

var (
	schemed   = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*)://`)
	transport = regexp.MustCompile(`^[A-Za-z0-9+.-]+::`)
	scpLike   = regexp.MustCompile(`^([A-Za-z0-9_][\w.+-]*)@(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_][\w.-]*):(.+)$`)
	loginPart = regexp.MustCompile(`//.*@`)
	queryPart = regexp.MustCompile(`\?.*`)
	checksum  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// packed are the names that archives have.
var packed = []string{".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".zip"}

// parse reads a location. It looks at the text alone.
func parse(location string) (place, error) {
	p := place{shown: guarded(location)}
	switch {
	case location == "":
		return p, p.usage("it is empty", "name a directory, a git URL, an archive or oci://REF")
	case strings.HasPrefix(location, "-"):
		return p, p.usage("it looks like an option", `write "./" before a path that begins with a dash`)
	case hasControl(location):
		p.shown = ""
		return p, p.usage("it holds a control character", "")
	case transport.MatchString(location):
		return p, p.usage("git's remote helpers run commands and are not used", "use https, ssh or file")
	}
	if m := schemed.FindStringSubmatch(location); m != nil {
		p.scheme = strings.ToLower(m[1])
		return p, p.parseURL(location)
	}
	if before, behind, _ := strings.Cut(location, "#"); scpLike.MatchString(before) {
		m := scpLike.FindStringSubmatch(before)
		p.kind, p.scheme, p.at, p.shown = artifact.GitSource, "ssh", before, before
		if strings.HasPrefix(m[3], "-") {
			return p, p.usage("its path looks like an option", "")
		}
		p.fragment(behind)
		return p, nil
	}
	p.at, p.shown = location, location
	return p, nil
}

func (p *place) parseURL(location string) error {
	if p.scheme == "oci" {
		return p.parseImage(location)
	}
	u, err := url.Parse(location)
	if err != nil {
		return p.usage("it is not a URL", `a "%" or a space in it is written %25 or %20`)
	}
	p.fragment(u.Fragment)
	u.Fragment, u.RawFragment = "", ""
	p.kind = artifact.GitSource
	switch p.scheme {
	case "http", "https":
		p.login, u.User = u.User, nil
		if isPacked(u.Path) {
			p.kind = artifact.ArchiveSource
		} else if u.RawQuery != "" {
			p.kind = "" // an archive, if it has a checksum
		}
	case "ssh":
		if _, has := u.User.Password(); has {
			return p.usage("ssh takes no password from a URL", "use a key, by ssh's agent or its configuration")
		}
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return p.usage("a file is on this machine", "write file:///path, with three slashes")
		}
	default:
		return p.usage("there are no sources by "+p.scheme, "use https, ssh, file or oci")
	}
	if p.scheme != "file" && (u.Hostname() == "" || strings.HasPrefix(u.Host, "-") || strings.HasPrefix(u.User.String(), "-")) {
		return p.usage("it names no host", "")
	}
	p.at = u.String()
	u.RawQuery, u.ForceQuery = "", false
	p.shown = u.String()
	return nil
}

func (p *place) parseImage(location string) error {
	p.kind, p.at = artifact.ImageSource, location[len("oci://"):]
	if host, _, _ := strings.Cut(p.at, "/"); strings.Contains(host, "@") && strings.Contains(p.at, "/") {
		return p.usage("a reference has no login", "log in with your registry client")
	}
	p.shown = location
	return nil
}

// fragment reads "ref", "ref:subpath" or ":subpath".
func (p *place) fragment(text string) { p.ref, p.subpath, _ = strings.Cut(text, ":") }

// settle joins what the location and the options say.
func (p *place) settle(o *Options) error {
	if o.Checksum != "" && (p.scheme == "http" || p.scheme == "https") {
		p.kind = artifact.ArchiveSource
	}
	if p.ref != "" && o.Ref != "" && p.ref != o.Ref || p.subpath != "" && o.Subpath != "" && p.subpath != o.Subpath {
		return p.usage("it and the options name two different refs or sub-paths", "name it once")
	}
	o.Ref, o.Subpath = cmp.Or(o.Ref, p.ref), cmp.Or(o.Subpath, p.subpath)
	switch {
	case p.kind == "" && p.scheme != "":
		return p.usage("a git URL has no query", "give the checksum if it is an archive")
	case o.Checksum != "" && !checksum.MatchString(o.Checksum):
		return p.usage("the checksum is not sha256: and 64 digits", "")
	case o.Checksum != "" && p.kind != artifact.ArchiveSource && p.kind != "":
		return p.usage("only an archive has a checksum", "name a full commit, or an image by digest")
	case o.Ref != "" && p.kind != artifact.GitSource:
		return p.usage("only a git URL has a ref", "write file:///path for a repository on this machine")
	case !isRef(o.Ref):
		return p.usage("its ref is no name that git allows", "name a branch, a tag or a commit")
	case slices.Contains(strings.Split(o.Subpath, "/"), "..") || hasControl(o.Subpath):
		return p.usage("its sub-path leads out of it", "name a folder below its top")
	}
	o.Subpath = strings.Trim(path.Clean("/"+o.Subpath), "/")
	return p.settleHTTP(o)
}

// settleHTTP wants content that proves itself from a network that proves nothing.
func (p *place) settleHTTP(o *Options) error {
	switch {
	case p.scheme != "http":
	case p.login != nil:
		return p.usage("plain http shows a login to everyone", "use https")
	case p.kind == artifact.ArchiveSource && o.Checksum == "":
		return p.usage("plain http proves nothing of what it brings", "use https, or give the checksum of the archive")
	case p.kind == artifact.GitSource && !isCommit(o.Ref):
		return p.usage("plain http proves nothing of what it brings", "use https, or name a commit in full")
	}
	return nil
}

// isRef tells what git-check-ref-format(1) allows, and no more. "" is the default.
func isRef(ref string) bool {
	if ref == "" {
		return true
	}
	if strings.ContainsAny(ref, " ~^:?*[\\") || strings.Contains(ref, "..") || strings.Contains(ref, "@{") || hasControl(ref) ||
		strings.HasPrefix(ref, "-") || strings.HasSuffix(ref, ".") || ref == "@" {
		return false
	}
	for part := range strings.SplitSeq(ref, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return true
}

// isCommit tells a commit's id in full: SHA-1 or SHA-256 in hex.
func isCommit(ref string) bool {
	return (len(ref) == 40 || len(ref) == 64) && strings.Trim(ref, "0123456789abcdef") == ""
}

func isPacked(name string) bool {
	for _, suffix := range packed {
		if strings.HasSuffix(strings.ToLower(name), suffix) {
			return true
		}
	}
	return false
}

func hasControl(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// guarded gives what of a location may be shown before it is understood: all that could be
// a login or a token is taken out of a URL.
func guarded(location string) string {
	if !strings.Contains(location, "//") {
		return location
	}
	return loginPart.ReplaceAllString(queryPart.ReplaceAllString(location, ""), "//")
}
