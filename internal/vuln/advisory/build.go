package advisory

import (
	"bufio"
	"bytes"
	"context"
	"iter"
	"os"
	"slices"
	"strings"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/vuln/osv"
	"plimsoll.dev/plimsoll/internal/vuln/version"
)

// Feed is a source of records.
type Feed struct {
	Name    string // what findings tell as their source: "debian-changelogs", "osv"
	Records iter.Seq2[*osv.Record, error]
}

// Exploitation is what is known of who exploits what. The zero value knows nothing.
type Exploitation struct {
	Known map[string]bool    // CVEs in a catalogue of known exploited vulnerabilities (KEV)
	EPSS  map[string]float64 // probability by CVE, 0 to 1
}

// Stats says what Build took in and wrote.
type Stats struct {
	Records         int `json:"records"` // all that the feeds gave
	Withdrawn       int `json:"withdrawn"`
	Vulnerabilities int `json:"vulnerabilities"` // after the merge, in some package
	Packages        int `json:"packages"`
	Unordered       int `json:"unordered"` // ranges left out: their versions cannot be ordered
}

// Build writes the database of all feeds to path. It replaces the file that is there only
// when every feed was read to its end. The same records, in whatever order, give the same
// bytes.
func Build(ctx context.Context, path string, feeds []Feed, known Exploitation) (Stats, error) {
	b := builder{names: names{node: map[string]int32{}}, keys: map[Key]int32{}}
	for _, feed := range feeds {
		for record, err := range feed.Records {
			if err == nil && b.stats.Records%1024 == 0 {
				err = ctx.Err()
			}
			if err != nil {
				return Stats{}, fault.New(fault.KindOf(err), "compile advisories", feed.Name, err)
			}
			b.add(feed.Name, record)
		}
	}
	err := aside.Write(path, func(f *os.File) error {
		out := bufio.NewWriterSize(f, 1<<16)
		if err := b.write(out, known); err != nil {
			return err
		}
		return out.Flush()
	})
	if err != nil {
		return Stats{}, fault.New(fault.KindOf(err), "write advisory database", path, err)
	}
	return b.stats, nil
}

// builder is the state of one Build.
type builder struct {
	names  names
	keys   map[Key]int32 // their places in order of first mention
	claims []claimOf
	facts  []fact
	buffer []byte
	stats  Stats
}

// claimOf is an encoded claim, and what it is about.
type claimOf struct {
	key     int32
	node    int32 // of names
	payload []byte
}

// fact is what a record says of a vulnerability as such.
type fact struct {
	node    int32 // of names
	rating  rating
	summary string
	rank    int // of the summary: the lowest is shown
}

func (b *builder) add(feed string, r *osv.Record) {
	b.stats.Records++
	if !r.Withdrawn.IsZero() {
		b.stats.Withdrawn++
		return
	}
	about := b.vulnerabilities(r)
	for _, node := range about {
		b.facts = append(b.facts, factOf(r, node))
	}
	for i := range r.Affected {
		affected := &r.Affected[i]
		if affected.Package.Name == "" || affected.Package.Ecosystem == "" || strings.Contains(affected.Package.Ecosystem, separator) {
			continue // only commits of a repository, or nothing that a package can be told by
		}
		key := KeyOf(affected.Package.Ecosystem, affected.Package.Name)
		claim := b.claim(feed, key, r, affected)
		if len(claim.Ranges) == 0 && len(claim.Versions) == 0 {
			continue
		}
		at, known := b.keys[key]
		if !known {
			key = Key{strings.Clone(key.Ecosystem), strings.Clone(key.Name)}
			at = int32(len(b.keys))
			b.keys[key] = at
		}
		b.buffer = claim.append(b.buffer[:0])
		payload := bytes.Clone(b.buffer) // of its exact size: there are hundreds of thousands
		for _, node := range about {
			b.claims = append(b.claims, claimOf{at, node, payload})
		}
	}
}

// vulnerabilities gives what the record is about: one, with all the names it has, or each
// that it bundles. A CVE is one vulnerability, so a record with two of them is about both:
// what a distribution says of one must not be taken for the other's.
func (b *builder) vulnerabilities(r *osv.Record) []int32 {
	bundled := r.Upstream
	if len(bundled) == 0 && isBulletin(r.ID) {
		bundled = cves(r.Related) // before schema 1.7 there was no better place for what it fixes
	}
	if len(bundled) == 0 {
		bundled = cves(append([]string{r.ID}, r.Aliases...))
	}
	if len(bundled) > 1 {
		about := make([]int32, 0, len(bundled))
		for _, name := range bundled {
			about = append(about, b.names.add(name))
			b.names.bundle(about[len(about)-1], r.ID)
		}
		slices.Sort(about)
		return slices.Compact(about)
	}
	node := b.names.add(r.ID)
	for _, name := range slices.Concat(r.Aliases, bundled) {
		b.names.link(node, b.names.add(name))
	}
	return []int32{node}
}

func cves(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !isCVE(name) })
}

// isBulletin says whether the id is of a distribution's announcement, which may be about
// many vulnerabilities.
func isBulletin(id string) bool {
	return slices.ContainsFunc([]string{"DSA-", "DLA-", "DTSA-", "USN-", "LSN-"}, func(prefix string) bool {
		return strings.HasPrefix(id, prefix)
	})
}

func factOf(r *osv.Record, node int32) fact {
	f := fact{node: node, summary: r.Summary, rank: summaryRank(r.ID)}
	if word, known := Word(r.Database.Severity); known {
		f.rating.word = word
	}
	severities := slices.Clone(r.Severity)
	for _, affected := range r.Affected {
		severities = append(severities, affected.Severity...)
	}
	for _, severity := range severities {
		if rated, ok := rate(severity); ok && rated.generation > 0 && rated.above(f.rating) {
			f.rating = rated
		}
	}
	return f
}

// summaryRank puts those first who write summaries for people: a CVE's first line is
// prose, and a distribution's says only that there is one.
func summaryRank(id string) int {
	prefix, _, _ := strings.Cut(id, "-")
	switch prefix {
	case "GHSA":
		return 0
	case "CVE":
		return 2
	case "DEBIAN", "UBUNTU", "ALPINE", "DSA", "DLA", "DTSA", "USN", "LSN":
		return 3
	}
	return 1
}

// claim gives what the record says of one package, its events in order.
func (b *builder) claim(feed string, key Key, r *osv.Record, affected *osv.Affected) Claim {
	claim := Claim{
		Record: r.ID, Feed: feed, Rank: rankOf(r.ID, key),
		Urgency: affected.Ecosystem.Urgency, State: affected.Ecosystem.State, Published: r.Published,
		Versions: slices.Clone(affected.Versions),
	}
	for _, severity := range slices.Concat(affected.Severity, r.Severity) {
		if _, vector := strings.CutPrefix(severity.Type, "CVSS"); !vector && claim.Urgency == "" {
			claim.Urgency = severity.Score // Ubuntu's own word
		}
	}
	for _, in := range affected.Ranges {
		if in.Type == osv.GIT {
			claim.Versions = append(claim.Versions, affectedCommits(in.Events)...)
			continue
		}
		scheme := version.Of(key.Ecosystem)
		if in.Type == osv.SEMVER {
			scheme = version.SemVer
		}
		if out, ok := ordered(scheme, in.Events); ok {
			claim.Ranges = append(claim.Ranges, out)
			continue
		}
		b.stats.Unordered++
	}
	slices.Sort(claim.Versions)
	claim.Versions = slices.Compact(claim.Versions)
	return claim
}

// rankOf says whose word counts most where several records tell of one vulnerability in one
// package. A distribution's own records know what it patched, so they come before those of
// others; and a record of this release before one of all releases. Among equals, a version
// is affected if any says so.
func rankOf(record string, key Key) int {
	family, release, _ := strings.Cut(key.Ecosystem, ":")
	var own []string
	switch family {
	case "Debian":
		own = []string{"DEBIAN-", "DSA-", "DLA-", "DTSA-"}
	case "Ubuntu":
		own = []string{"UBUNTU-", "USN-", "LSN-"}
	case "Alpine":
		own = []string{"ALPINE-"}
	default:
		return 0
	}
	rank := 0
	if !slices.ContainsFunc(own, func(prefix string) bool { return strings.HasPrefix(record, prefix) }) {
		rank = 2
	}
	if release == "" {
		rank++
	}
	return rank
}

// affectedCommits gives the commits that a GIT range names as affected. What lies between
// them only the repository knows.
func affectedCommits(events []osv.Event) []string {
	var commits []string
	for _, event := range events {
		if event.Introduced != "" && event.Introduced != "0" {
			commits = append(commits, event.Introduced)
		}
		if event.LastAffected != "" {
			commits = append(commits, event.LastAffected)
		}
	}
	return commits
}

// ordered gives the range with its events in the order of their versions; false when that
// cannot be said. Events of one version stay in the record's order: "fixed 2, introduced 2"
// leaves 2 affected, "introduced 2, fixed 2" does not.
func ordered(scheme version.Scheme, events []osv.Event) (Range, bool) {
	type point struct {
		event Event
		at    version.Version
	}
	out := Range{Scheme: string(scheme)}
	var points []point
	for _, in := range events {
		if in.Limit != "" {
			if in.Limit != "*" {
				out.Limits = append(out.Limits, in.Limit)
			}
			continue
		}
		event := Event{Introduced, in.Introduced}
		switch {
		case in.Fixed != "":
			event = Event{Fixed, in.Fixed}
		case in.LastAffected != "":
			event = Event{LastAffected, in.LastAffected}
		}
		var at version.Version
		if event != (Event{Introduced, "0"}) {
			var err error
			if at, err = scheme.Parse(event.Version); err != nil {
				return Range{}, false
			}
		}
		points = append(points, point{event, at})
	}
	sound := true
	slices.SortStableFunc(points, func(a, b point) int {
		zero := Event{Introduced, "0"}
		switch {
		case a.event == zero && b.event == zero:
			return 0
		case a.event == zero:
			return -1
		case b.event == zero:
			return 1
		}
		order, err := a.at.Compare(b.at)
		sound = sound && err == nil
		return order
	})
	for _, p := range points {
		out.Events = append(out.Events, p.event)
	}
	return out, sound && len(points) > 0
}
