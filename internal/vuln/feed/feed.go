// Package feed takes the names of advisory feeds and gives their records from the disk,
// as they were when each feed was last fetched whole and found sound.
//
// A feed has parts, one for each ecosystem. A part is replaced as a whole or not at all:
// what is broken, truncated, shrunken, older or not what its keeper vouched for never takes
// the place of what is there.
package feed

import (
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/fault"
)

// Kind says how a feed is laid out.
type Kind string

// The kinds.
const (
	OSV     Kind = "osv"            // <url>/<ecosystem>/all.zip, modified_id.csv, <id>.json: the public OSV export's layout
	Debian  Kind = "debian"         // derived from a signed Debian archive
	Tracker Kind = "debian-tracker" // the JSON export of Debian's security tracker
	KEV     Kind = "kev"            // a catalogue of known exploited vulnerabilities in CISA's JSON
	EPSS    Kind = "epss"           // scores of the Exploit Prediction Scoring System, CSV or CSV.gz
)

// Feed is one source of advisories.
type Feed struct {
	Name string `json:"name"` // a folder's name too: lower-case letters, digits and dashes
	Kind Kind   `json:"kind"`

	// URL is an http, https or file address, or an absolute path: of a folder for osv, of a
	// file for debian-tracker, kev and epss. debian has none.
	URL string `json:"url,omitempty"`

	// Ecosystems are the parts of an osv feed: "Go", "npm", "Debian". For debian-tracker
	// they name the releases: "trixie" as "Debian:13" is "Debian:13=trixie".
	Ecosystems []string `json:"ecosystems,omitempty"`

	// Suites are a debian feed's, all of one release; none are those of Debian 13. Mirrors
	// say who serves them, by suite, where that is not for the machine's apt sources to say.
	Suites  []string          `json:"suites,omitempty"`
	Mirrors map[string]string `json:"mirrors,omitempty"`
	Keyring string            `json:"keyring,omitempty"` // of the archive; "" is Debian's own

	// Checksums is the SHA-256 of the feed's SHA256SUMS file, or "required": then, as for a
	// Key, that file must stand at URL and vouch for all that is read. Key is the path of a
	// PEM public key (ECDSA or Ed25519) that SHA256SUMS.sig beside it is made with.
	Checksums string `json:"checksums,omitempty"`
	Key       string `json:"key,omitempty"`
}

var (
	namePattern      = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
	ecosystemPattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 ._:+-]{0,63}$`)
	trackerPattern   = regexp.MustCompile(`^Debian:[0-9]+=[a-z]+$`)
	sumPattern       = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// Shown gives the feed as people may see it: without the credentials in its addresses.
func (f Feed) Shown() Feed {
	f.URL = redact(f.URL)
	mirrors := map[string]string{}
	for suite, address := range f.Mirrors {
		mirrors[suite] = redact(address)
	}
	if f.Mirrors != nil {
		f.Mirrors = mirrors
	}
	return f
}

// Check gives what is wrong with the feed, or nil.
func (f Feed) Check() error {
	if why := f.wrong(); why != "" {
		return fault.Newf(fault.Usage, "read feed", f.Name, why).WithHint("docs/feeds.md shows a feed of each kind")
	}
	return nil
}

func (f Feed) wrong() string {
	if !namePattern.MatchString(f.Name) {
		return "name: want lower-case letters, digits and dashes"
	}
	if f.Kind == Debian {
		return f.wrongArchive()
	}
	if !slices.Contains([]Kind{OSV, Tracker, KEV, EPSS}, f.Kind) {
		return fmt.Sprintf("kind: want osv, debian, debian-tracker, kev or epss, got %q", string(f.Kind))
	}
	if !isAddress(f.URL) {
		return "url: want an http, https or file address, or an absolute path"
	}
	pattern := map[Kind]*regexp.Regexp{OSV: ecosystemPattern, Tracker: trackerPattern}[f.Kind]
	if (pattern != nil) != (len(f.Ecosystems) > 0) {
		return "ecosystems: osv and debian-tracker feeds need them, no other kind takes them"
	}
	for i, e := range f.Ecosystems {
		if !pattern.MatchString(e) || slices.Contains(f.Ecosystems[:i], e) {
			return fmt.Sprintf("ecosystems: %q is none, or stands there twice", e)
		}
	}
	if len(f.Suites) > 0 || len(f.Mirrors) > 0 || f.Keyring != "" {
		return "suites, mirrors and keyring are for the kind debian"
	}
	if f.Checksums != "" && f.Checksums != "required" && !sumPattern.MatchString(f.Checksums) {
		return `checksums: want a SHA-256 in lower-case hexadecimal, or "required"`
	}
	return ""
}

func (f Feed) wrongArchive() string {
	if f.URL != "" || len(f.Ecosystems) > 0 || f.Checksums != "" || f.Key != "" {
		return "a debian feed takes suites, mirrors and keyring only: the archive's signatures vouch for it"
	}
	for suite, mirror := range f.Mirrors {
		if !slices.Contains(f.AllSuites(), suite) || !isAddress(mirror) {
			return fmt.Sprintf("mirrors: want an address for one of the suites, got %q", suite)
		}
	}
	return ""
}

// AllSuites are those of a debian feed; where it names none, those of Debian 13: its security
// updates, what is urgent in between, and the point releases.
func (f Feed) AllSuites() []string {
	if len(f.Suites) > 0 {
		return f.Suites
	}
	return []string{"trixie-security", "trixie-updates", "trixie"}
}

// parts names the feed's parts; that of a feed which has but one is its kind.
func (f Feed) parts() []string {
	if f.Kind == OSV {
		return f.Ecosystems
	}
	return []string{string(f.Kind)}
}

// rules is the version of how records are read and kept. A change of it has all feeds read
// again.
const rules = "3"

// made tells how the feed's records are made of what is at its address.
func (f Feed) made() string {
	return strings.Join(append([]string{rules, string(f.Kind)}, f.madeOf()...), " ")
}

func (f Feed) madeOf() []string {
	switch f.Kind {
	case Debian:
		return f.AllSuites()
	case Tracker:
		return f.Ecosystems
	}
	return nil
}

func isAddress(s string) bool {
	if filepath.IsAbs(s) {
		return true
	}
	u, err := url.Parse(s)
	if err != nil {
		return false
	}
	return u.Scheme == "file" && strings.HasPrefix(u.Path, "/") || (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}
