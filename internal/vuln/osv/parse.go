package osv

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	strict "sigs.k8s.io/json"
)

// MaxRecord bounds the text of one record in bytes. The largest that are published list
// the versions of some thousand packages in about 2 MiB.
const MaxRecord = 16 << 20

// What one field may hold. Names and versions are printed and compared, so they are short
// and hold no control characters.
const (
	maxName       = 1 << 10
	maxVersion    = 512
	maxSummary    = 256
	maxReferences = 8
)

var idPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:+-]{0,127}$`)

// ValidID says whether the id can be one: letters, digits and "._:+-" only, at most 128, so
// that it can stand in a path, an address or a table as it is.
func ValidID(id string) bool { return idPattern.MatchString(id) }

// text is a record as it is written, with what is only looked at.
type text struct {
	Record
	Modified *time.Time `json:"modified"` // told from one that is missing: some databases write year 1
	Details  string     `json:"details"`
}

// Parse reads one record.
func Parse(data []byte) (*Record, error) {
	if len(data) > MaxRecord {
		return nil, fmt.Errorf("it is larger than %d bytes", MaxRecord)
	}
	var t text
	if err := strict.UnmarshalCaseSensitivePreserveInts(data, &t); err != nil {
		return nil, err
	}
	r := &t.Record
	if !ValidID(r.ID) {
		return nil, fmt.Errorf("id: %.60q is none", r.ID)
	}
	if t.Modified == nil {
		return nil, fmt.Errorf("%s: modified: it is missing", r.ID)
	}
	r.Modified = t.Modified.UTC()
	r.Published, r.Withdrawn = r.Published.UTC(), r.Withdrawn.UTC()
	r.Aliases, r.Upstream, r.Related = ids(r.Aliases), ids(r.Upstream), ids(r.Related)
	r.Summary = Summary(cmp.Or(r.Summary, t.Details))
	r.References = worthKeeping(r.References)
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", r.ID, err)
	}
	return r, nil
}

// ids gives those that can be ids. Some databases leave a comma behind one, or put a link
// there; the record is worth no less for it.
func ids(names []string) []string {
	var kept []string
	for _, name := range names {
		if name = strings.Trim(name, ", "); ValidID(name) {
			kept = append(kept, name)
		}
	}
	return kept
}

// Summary gives the first line of prose, fit to be printed, of at most 256 bytes.
func Summary(prose string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(prose), "\n")
	line = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, line))
	if len(line) <= maxSummary {
		return line
	}
	const dots = "…"
	cut := maxSummary - len(dots)
	for !utf8.RuneStart(line[cut]) {
		cut--
	}
	return strings.TrimSpace(line[:cut]) + dots
}

func worthKeeping(all []Reference) []Reference {
	kept := slices.DeleteFunc(all, func(r Reference) bool {
		return r.Type != "ADVISORY" && r.Type != "FIX" || check("url", r.URL, 2*maxName) != nil
	})
	return kept[:min(len(kept), maxReferences)]
}

// check holds what the schema demands of the fields that are kept.
func (r *Record) check() error {
	for _, at := range []time.Time{r.Modified, r.Published, r.Withdrawn} {
		if year := at.Year(); year < 1 || year > 9999 {
			return fmt.Errorf("the year %d is none", year)
		}
	}
	if err := checkSeverity(r.Severity); err != nil {
		return err
	}
	for i := range r.Affected {
		if err := r.Affected[i].check(); err != nil {
			return fmt.Errorf("affected[%d].%w", i, err)
		}
	}
	return nil
}

func checkSeverity(all []Severity) error {
	for i, s := range all {
		if err := errors.Join(check("type", s.Type, maxName), check("score", s.Score, maxName)); err != nil {
			return fmt.Errorf("severity[%d].%w", i, err)
		}
	}
	return nil
}

func (a *Affected) check() error {
	if a.Package != (Package{}) {
		if err := a.Package.check(); err != nil {
			return fmt.Errorf("package.%w", err)
		}
	}
	if err := checkSeverity(a.Severity); err != nil {
		return err
	}
	for i, r := range a.Ranges {
		if err := r.check(); err != nil {
			return fmt.Errorf("ranges[%d].%w", i, err)
		}
		if a.Package == (Package{}) && r.Type != GIT {
			return fmt.Errorf("ranges[%d]: it is of type %s, and no package is named", i, r.Type)
		}
	}
	for i, v := range a.Versions {
		if err := check("versions", v, maxVersion); err != nil {
			return fmt.Errorf("versions[%d]: %w", i, errors.Unwrap(err))
		}
	}
	return nil
}

func (p Package) check() error {
	if err := check("ecosystem", p.Ecosystem, maxName); err != nil {
		return err
	}
	if err := check("name", p.Name, maxName); err != nil {
		return err
	}
	if p.PURL == "" {
		return nil
	}
	return check("purl", p.PURL, 2*maxName)
}

// check holds a range to the schema: a known type, a repository where it is of commits, at
// least one point of introduction, and not both kinds of end.
func (r Range) check() error {
	switch r.Type {
	case SEMVER, ECOSYSTEM:
	case GIT:
		if err := check("repo", r.Repo, 2*maxName); err != nil {
			return err
		}
	default:
		return fmt.Errorf("type: %.60q is none", string(r.Type))
	}
	var introduced, fixed, last bool
	for i, e := range r.Events {
		if err := e.check(); err != nil {
			return fmt.Errorf("events[%d]%w", i, err)
		}
		introduced = introduced || e.Introduced != ""
		fixed = fixed || e.Fixed != ""
		last = last || e.LastAffected != ""
	}
	switch {
	case !introduced:
		return errors.New("events: nothing says where it was introduced")
	case fixed && last:
		return errors.New("events: there is both a fixed and a last_affected")
	}
	return nil
}

// check demands exactly one field.
func (e Event) check() error {
	var value string
	set := 0
	for _, v := range [...]string{e.Introduced, e.Fixed, e.LastAffected, e.Limit} {
		if v != "" {
			value = v
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf(": want one of introduced, fixed, last_affected and limit, got %d", set)
	}
	if err := check("", value, maxVersion); err != nil {
		return err
	}
	return nil
}

// check refuses a text that is empty, longer than limit bytes, or not fit to be printed.
func check(field, value string, limit int) error {
	var why error
	switch {
	case value == "":
		why = errors.New("it is empty")
	case len(value) > limit:
		why = fmt.Errorf("it is longer than %d bytes", limit)
	case strings.ContainsFunc(value, unicode.IsControl):
		why = fmt.Errorf("%.60q holds control characters", value)
	default:
		return nil
	}
	return fmt.Errorf("%s: %w", field, why)
}

// UnmarshalJSON takes the fields that are understood: what a database adds for itself may
// have any shape, and never makes a record unreadable.
func (d *DatabaseSpecific) UnmarshalJSON(data []byte) error {
	fields, err := anyFields(data)
	if err != nil {
		return err
	}
	*d = DatabaseSpecific{Severity: word(fields["severity"]), Review: word(fields["review_status"]), URL: word(fields["url"])}
	return nil
}

// UnmarshalJSON is as lenient as DatabaseSpecific's.
func (a *AffectedSpecific) UnmarshalJSON(data []byte) error {
	fields, err := anyFields(data)
	if err != nil {
		return err
	}
	*a = AffectedSpecific{LastKnown: word(fields["last_known_affected_version_range"])}
	return nil
}

// UnmarshalJSON is as lenient as DatabaseSpecific's.
func (e *EcosystemSpecific) UnmarshalJSON(data []byte) error {
	fields, err := anyFields(data)
	if err != nil {
		return err
	}
	*e = EcosystemSpecific{
		Urgency: word(fields["urgency"]), State: word(fields["state"]), UploadUrgency: word(fields["upload_urgency"]),
		Imports: imports(fields["imports"]),
	}
	return nil
}

func anyFields(data []byte) (map[string]json.RawMessage, error) {
	if len(data) == 0 || data[0] != '{' {
		return nil, nil // the JSON reader has judged the rest
	}
	var fields map[string]json.RawMessage
	return fields, json.Unmarshal(data, &fields)
}

// word gives a text that is fit to be printed, else "".
func word(data json.RawMessage) string {
	var text string
	if len(data) == 0 || json.Unmarshal(data, &text) != nil || check("", text, maxName) != nil {
		return ""
	}
	return text
}

// imports gives none, which means that all of the module is affected, when any of them
// cannot be read: a doubt must not hide a finding.
func imports(data json.RawMessage) []Import {
	var all []Import
	if len(data) == 0 || json.Unmarshal(data, &all) != nil {
		return nil
	}
	for _, i := range all {
		for _, name := range slices.Concat([]string{i.Path}, i.Symbols, i.GOOS, i.GOARCH) {
			if check("", name, maxName) != nil {
				return nil
			}
		}
	}
	return all
}
