package query

import (
	"slices"
	"strings"
)

// Field is the name of what is compared.
type Field string

// kind is what a field's values are, which decides how they are read and compared.
type kind int

const (
	text     kind = iota // = != ~
	number               // all but ~
	bytes                // number, with a unit: 200MB, 1GiB
	severity             // all but ~
	moment               // a date, a time, or an age before now: < <= > >=
	age                  // a duration: < <= > >=
	flag                 // stands alone
	opaque               // a value without a comparison: signed-by KEY
	outcome              // = != with one of outcomes
)

// Fields of images.
const (
	Reference  Field = "ref"
	Repository Field = "repository"
	Tag        Field = "tag"
	Digest     Field = "digest"
	Platform   Field = "platform"
	Distro     Field = "distro" // of packages, too
	Base       Field = "base"
	BaseDigest Field = "base-digest"
	Source     Field = "source" // an image's URL; a package's source package
	Revision   Field = "revision"
	Label      Field = "label"
	Created    Field = "created"
	Pushed     Field = "pushed"
	Seen       Field = "seen"
	Age        Field = "age"
	Size       Field = "size"
	Evidence   Field = "evidence"
	Signed     Field = "signed"
	SignedBy   Field = "signed-by"
	RunningIn  Field = "running-in"
	Verdict    Field = "verdict"
)

// Fields of packages.
const (
	Name    Field = "name"
	Type    Field = "type"
	Arch    Field = "arch"
	Licence Field = "licence"
)

// Fields of advisories, and of the findings they lead to.
const (
	ID        Field = "id"
	Severity  Field = "severity"
	Score     Field = "score"
	EPSS      Field = "epss"
	Exploited Field = "exploited"
	Fixable   Field = "fixable"
	State     Field = "state"
	Feed      Field = "feed"
	Published Field = "published"
	Modified  Field = "modified"
	Since     Field = "since"
)

// fields says which there are for each subject.
var fields = map[Subject]map[Field]kind{
	Images: {
		Reference: text, Repository: text, Tag: text, Digest: text, Platform: text, Distro: text,
		Base: text, BaseDigest: text, Source: text, Revision: text, Label: text,
		Created: moment, Pushed: moment, Seen: moment, Age: age, Size: bytes,
		Evidence: text, Signed: flag, SignedBy: opaque, RunningIn: opaque, Verdict: outcome,
	},
	Packages: {
		Name: text, Type: text, Arch: text, Distro: text, Source: text, Licence: text,
	},
	Advisories: {
		ID: text, Severity: severity, Score: number, EPSS: number, Exploited: flag, Fixable: flag,
		State: text, Feed: text, Published: moment, Modified: moment, Since: moment,
	},
}

// gates are where a verdict counts, the registry first, and outcomes what it can be there.
var (
	gates    = []string{"registry", "admission", "identity", "gateway"}
	outcomes = []string{"allowed", "audited", "warned", "denied", "unknown"}
)

// spellings are other words for fields.
var spellings = map[string]Field{"license": Licence, "reference": Reference, "seen-since": Seen}

// lent are the fields that a subject takes from another, so that the common question is
// short: `severity >= high` of images means affected by (severity >= high).
var lent = map[Subject]map[Field]Subject{
	Images:   {Licence: Packages, Severity: Advisories, Fixable: Advisories, Exploited: Advisories, EPSS: Advisories},
	Packages: {Severity: Advisories, Fixable: Advisories, Exploited: Advisories, EPSS: Advisories},
}

// fieldNamed finds the field that a word names in a condition about the subject: owner is
// whose it is, the subject itself or one that lends it.
func fieldNamed(subject Subject, word string) (field Field, label string, owner Subject, found bool) {
	name := strings.ToLower(word)
	if subject == Images && strings.HasPrefix(name, "label.") && len(name) > len("label.") {
		return Label, word[len("label."):], subject, true
	}
	if gate, found := strings.CutPrefix(name, "verdict."); found && subject == Images && slices.Contains(gates, gate) {
		return Verdict, gate, subject, true
	}
	field = Field(name)
	if other, ok := spellings[name]; ok {
		field = other
	}
	if _, ok := fields[subject][field]; ok && field != Label {
		return field, "", subject, true
	}
	if owner, ok := lent[subject][field]; ok {
		return field, "", owner, true
	}
	return "", "", "", false
}

// names lists the fields of a subject for a hint.
func names(subject Subject) string {
	var all []string
	for field := range fields[subject] {
		all = append(all, strings.Replace(string(field), "label", "label.NAME", 1))
	}
	for field := range lent[subject] {
		all = append(all, string(field))
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// ops are the comparisons of a kind; the first is what a hint shows.
func (k kind) ops() []Op {
	switch k {
	case text:
		return []Op{Equal, NotEqual, Glob}
	case outcome:
		return []Op{Equal, NotEqual}
	case number, bytes, severity:
		return []Op{GreaterEqual, Equal, NotEqual, Less, LessEqual, Greater}
	case moment, age:
		return []Op{Greater, GreaterEqual, Less, LessEqual}
	}
	return nil
}
