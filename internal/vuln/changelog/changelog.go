// Package changelog takes the changelogs of a Debian release's source packages and gives
// what they say was fixed as OSV records, so that a site without any other feed still knows
// which versions hold known vulnerabilities.
//
// What it can know is what maintainers write: the versions that fix a CVE. What nobody has
// fixed yet, and how bad anything is, no changelog tells.
package changelog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Limits on a changelog. The largest, linux's, has 540 entries in 4 MB.
const (
	maxLine  = 1 << 16
	maxEntry = 8 << 20
)

// entry is one version's (deb-changelog(5)).
type entry struct {
	source, version string
	suites          []string // "trixie-security", "unstable", "UNRELEASED"
	urgency         string   // lower-case
	rebuilt         bool     // binary-only=yes: nothing but the compiler's work changed
	items           []string // one for each bullet, on one line
	date            time.Time
}

var (
	heading = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9+.-]*) \(([^()\s]+)\)((?:\s+[A-Za-z0-9][A-Za-z0-9+./-]*)*)\s*;(.*)$`)
	trailer = regexp.MustCompile(`(?:[A-Z][a-z]{2}, +)?\d{1,2} [A-Z][a-z]{2} \d{4} .*$`)
	bullet  = regexp.MustCompile(`^\s+[*+~o–•-] `)
)

// entries reads a changelog, the newest entry first. Lines that are of no entry, as editors
// leave them in old ones, are passed over; a text without any entry gives an error.
func entries(r io.Reader) iter.Seq2[entry, error] {
	return func(yield func(entry, error) bool) {
		var e entry
		var size, found int
		lines := bufio.NewScanner(r)
		lines.Buffer(make([]byte, 1<<12), maxLine)
		for lines.Scan() {
			line := strings.ToValidUTF8(lines.Text(), "�")
			if size += len(line); size > maxEntry {
				yield(entry{}, fmt.Errorf("the entry of %s is longer than %d bytes", e.version, maxEntry))
				return
			}
			if h := headingOf(line); h != nil {
				if e.version != "" && !yield(e, nil) { // its trailer is missing
					return
				}
				e, size = newEntry(h), 0
				found++
				continue
			}
			if strings.HasPrefix(line, " --") && e.version != "" {
				e.date = dateOf(line)
				if !yield(e, nil) {
					return
				}
				e = entry{}
				continue
			}
			if e.version != "" {
				e.add(line)
			}
		}
		err := lines.Err()
		if err == nil && e.version != "" {
			yield(e, nil)
			return
		}
		if err == nil && found == 0 {
			err = errors.New("it is no changelog")
		}
		if err != nil {
			yield(entry{}, err)
		}
	}
}

// headingOf gives the parts of a heading, or nil. Most lines are text, and told by a blank.
func headingOf(line string) []string {
	if line == "" || line[0] == ' ' {
		return nil
	}
	return heading.FindStringSubmatch(line)
}

func newEntry(h []string) entry {
	e := entry{source: h[1], version: h[2], suites: strings.Fields(h[3])}
	for pair := range strings.SplitSeq(h[4], ",") {
		key, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		word, _, _ := strings.Cut(strings.TrimSpace(value), " ")
		switch strings.ToLower(key) {
		case "urgency":
			e.urgency = strings.ToLower(word)
		case "binary-only":
			e.rebuilt = strings.EqualFold(word, "yes")
		}
	}
	return e
}

// add takes a line of text: it begins a bullet, goes on with one, or ends one by being
// empty.
func (e *entry) add(line string) {
	text := strings.TrimSpace(line)
	last := len(e.items) - 1
	switch {
	case text == "":
		e.items = append(e.items, "")
	case last < 0 || bullet.MatchString(line):
		e.items = append(e.items, text)
	case strings.HasSuffix(e.items[last], "-") && endsInCVE.MatchString(e.items[last]):
		e.items[last] += text // the number was wrapped
	default:
		e.items[last] = strings.TrimSpace(e.items[last] + " " + text)
	}
}

var endsInCVE = regexp.MustCompile(`(?i)CVE-(\d{4}-)?$`)

// dateOf reads the date of a trailer, " -- name <address>  date"; the zero time is of one
// that has none.
func dateOf(line string) time.Time {
	at := trailer.FindString(line)
	if _, after, found := strings.Cut(at, ", "); found {
		at = after // the weekday, which some get wrong
	}
	fields := strings.Fields(at)
	date, err := time.Parse("2 Jan 2006 15:04:05 -0700", strings.Join(fields[:min(len(fields), 5)], " "))
	if err != nil {
		return time.Time{}
	}
	return date.UTC()
}

// Excerpt gives what Records needs of a changelog, again as a changelog: all headings, and
// the bullets that name a CVE. source is the package's name.
func Excerpt(changelog io.Reader, source string) ([]byte, error) {
	var out bytes.Buffer
	mine := false
	for e, err := range entries(changelog) {
		if err != nil {
			return nil, fmt.Errorf("changelog of %s: %w", source, err)
		}
		if e.source != source {
			continue // of a package that it was made from: its versions are others
		}
		mine = true
		e.write(&out)
	}
	if !mine {
		return nil, fmt.Errorf("changelog of %s: it is another package's", source)
	}
	return out.Bytes(), nil
}

var namesCVE = regexp.MustCompile(`(?i)CVE`)

func (e entry) write(out *bytes.Buffer) {
	kind := ""
	if e.rebuilt {
		kind = ", binary-only=yes"
	}
	fmt.Fprintf(out, "%s (%s) %s; urgency=%s%s\n", e.source, e.version, strings.Join(e.suites, " "), e.urgency, kind)
	for _, item := range slices.DeleteFunc(slices.Clone(e.items), func(s string) bool { return !namesCVE.MatchString(s) }) {
		if !bullet.MatchString("  " + item) {
			item = "* " + item
		}
		fmt.Fprintf(out, "  %s\n", item)
	}
	fmt.Fprintf(out, " -- x <x>  %s\n", e.date.Format("Mon, 02 Jan 2006 15:04:05 -0700"))
}
