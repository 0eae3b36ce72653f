package mirror

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/Masterminds/semver/v3"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/robfig/cron/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/manifest"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// Import is an ImageImport that was checked.
type Import struct {
	Name        string
	Source      string // repository outside, with its registry
	Destination string // repository here
	File        string // where it was read

	spec           v1alpha1.ImageImportSpec
	source, target oci.Reference
	semver         *semver.Constraints // nil: not wanted
	platforms      []v1.Platform
	schedule       cron.Schedule // nil: on demand only
	bytes          int64
	tags           int
	fingerprint    string // of the spec
}

const (
	importHint   = "docs/registry-mirror.md shows what an ImageImport may say"
	maxDocuments = 1_000 // of a file
	defaultBytes = 16 << 30
	defaultTags  = 100
	leastEvery   = time.Minute
)

// ReadImports reads the ImageImport documents of the file at a path. Paths in them are relative
// to its folder.
func ReadImports(file string) ([]*Import, error) {
	text, err := manifest.ReadFile(file)
	if err != nil {
		return nil, err
	}
	return ParseImports(file, text)
}

// ParseImports reads those in a text, as if it stood in the file.
func ParseImports(file string, text []byte) ([]*Import, error) {
	var all []*Import
	wrong := func(err error) error { return fault.New(fault.Usage, "read imports", file, err).WithHint(importHint) }
	for document := range documents(text) {
		i, err := parseImport(file, document)
		if err != nil {
			return nil, wrong(err)
		}
		if slices.ContainsFunc(all, func(other *Import) bool { return other.Name == i.Name }) {
			return nil, wrong(fmt.Errorf("two imports are named %q", i.Name))
		}
		if all = append(all, i); len(all) > maxDocuments {
			return nil, wrong(fmt.Errorf("it has more than %d documents", maxDocuments))
		}
	}
	return all, nil
}

// documents gives the documents of a file's text, each with empty lines for those before it, so
// that errors name the lines of the file. What holds nothing but comments is none.
func documents(text []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var body []byte
		line, before, said := 0, 0, false
		whole := func() bool { return !said || yield(append(bytes.Repeat([]byte("\n"), before), body...)) }
		for one := range bytes.Lines(text) {
			if line++; bytes.Equal(bytes.TrimRight(one, " \t\r\n"), []byte("---")) {
				if !whole() {
					return
				}
				body, before, said = nil, line, false
				continue
			}
			words := bytes.TrimSpace(one)
			said = said || len(words) > 0 && words[0] != '#'
			body = append(body, one...)
		}
		whole()
	}
}

func parseImport(file string, text []byte) (*Import, error) {
	var r v1alpha1.ImageImport
	document, err := manifest.Decode(text, v1alpha1.ImageImportKind, &r)
	if err != nil {
		return nil, err
	}
	if p := manifest.CheckHeader(r.TypeMeta, v1alpha1.ImageImportKind, r.Name); p != nil {
		return nil, document.Wrong(p)
	}
	i := &Import{Name: r.Name, File: file, spec: r.Spec}
	for _, step := range []func() *manifest.Problem{i.readSource, i.readTags, i.readPlatforms, i.readDestination, i.readSchedule, i.readRest} {
		if p := step(); p != nil {
			p.Field = "spec." + p.Field
			return nil, document.Wrong(p)
		}
	}
	plain, err := json.Marshal(i.spec)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(plain)
	i.fingerprint = hex.EncodeToString(sum[:])
	i.Source, i.Destination = i.source.Repository(), i.target.Repository()
	return i, nil
}

func (i *Import) readSource() *manifest.Problem {
	var p *manifest.Problem
	if i.source, p = readUpstream("source", i.spec.Source); p != nil {
		return p
	}
	return rebase(filepath.Dir(i.File), i.spec.Credentials, i.spec.Verify)
}

// readUpstream reads a repository of a registry outside, or the path that several begin with.
func readUpstream(field, text string) (oci.Reference, *manifest.Problem) {
	want := fmt.Sprintf(`want a registry's host and a path, as "registry.example.com/team/app", got %q`, text)
	last := text[strings.LastIndexByte(text, '/')+1:]
	if strings.ContainsAny(last, ":@") {
		return oci.Reference{}, manifest.Bad(field, want+": without a tag or digest")
	}
	ref, err := oci.Parse(text)
	if err != nil || ref.IsLocal() {
		return ref, manifest.Bad(field, want)
	}
	return ref, nil
}

func (i *Import) readTags() *manifest.Problem {
	t := &i.spec.Tags
	if len(t.Names)+len(t.Patterns) == 0 && t.Semver == "" {
		return manifest.Bad("tags", "want names, patterns or semver")
	}
	for n, name := range t.Names {
		if !isTag(name) || slices.Contains(t.Names[:n], name) {
			return manifest.Bad(fmt.Sprintf("tags.names[%d]", n), fmt.Sprintf("bad or repeated tag %q", name))
		}
	}
	for field, patterns := range map[string][]string{"patterns": t.Patterns, "except": t.Except} {
		for n, pattern := range patterns {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" || strings.ContainsAny(pattern, `/\`) {
				return manifest.Bad(fmt.Sprintf("tags.%s[%d]", field, n), fmt.Sprintf(`want a pattern such as "1.27*" or "v[0-9]*", got %q`, pattern))
			}
		}
	}
	if t.Semver != "" {
		var err error
		if i.semver, err = semver.NewConstraint(t.Semver); err != nil {
			return manifest.Bad("tags.semver", fmt.Sprintf(`want a range such as ">=1.26 <2", got %q`, t.Semver))
		}
	}
	if t.Newest < 0 {
		return manifest.Bad("tags.newest", "it cannot be negative")
	}
	return nil
}

func (i *Import) readPlatforms() *manifest.Problem {
	for n, text := range i.spec.Platforms {
		p, err := v1.ParsePlatform(text)
		if err != nil || p.OS == "" || p.Architecture == "" || p.OSVersion != "" || slices.Contains(i.spec.Platforms[:n], text) {
			return manifest.Bad(fmt.Sprintf("platforms[%d]", n), fmt.Sprintf(`want "os/architecture", such as "linux/amd64", each once; got %q`, text))
		}
		i.platforms = append(i.platforms, *p)
	}
	return nil
}

func (i *Import) readDestination() *manifest.Problem {
	d := &i.spec.Destination
	if !call.IsRepository(d.Repository) {
		return manifest.Bad("destination.repository", fmt.Sprintf(`want a repository of this registry, such as "approved/app", got %q`, d.Repository))
	}
	if call.Reserved(d.Repository) {
		return manifest.Bad("destination.repository", fmt.Sprintf("%s holds the images of build steps: nobody writes there", d.Repository))
	}
	var err error
	if i.target, err = oci.Parse(d.Repository); err != nil || !i.target.IsLocal() {
		return manifest.Bad("destination.repository", fmt.Sprintf("%q reads as a repository of another registry: its first part may have no dot", d.Repository))
	}
	if d.Tag == "" {
		d.Tag = "{tag}"
	}
	if !isTag(targetTag(d.Tag, "t", v1.Hash{Hex: strings.Repeat("0", 64)})) {
		return manifest.Bad("destination.tag", fmt.Sprintf(`want a tag in which "{tag}" and "{digest}" stand for theirs, got %q`, d.Tag))
	}
	several := len(i.spec.Tags.Names) != 1 || len(i.spec.Tags.Patterns) > 0 || i.semver != nil
	if several && !strings.Contains(d.Tag, "{tag}") && !strings.Contains(d.Tag, "{digest}") {
		return manifest.Bad("destination.tag", fmt.Sprintf("%q would name several images: it needs {tag}", d.Tag))
	}
	return nil
}

// tagName is <reference> as a tag of OCI distribution-spec 1.1, "Pulling Manifests".
var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

func isTag(text string) bool { return tagName.MatchString(text) }

// targetTag gives our tag of theirs.
func targetTag(template, tag string, digest v1.Hash) string {
	return strings.NewReplacer("{tag}", tag, "{digest}", digest.Hex[:min(12, len(digest.Hex))]).Replace(template)
}

func (i *Import) readSchedule() *manifest.Problem {
	s := i.spec.Schedule
	switch {
	case s.Cron != "" && s.Every != "":
		return manifest.Bad("schedule", "want cron or every, not both")
	case s.Every != "":
		every, err := time.ParseDuration(s.Every)
		if err != nil || every < leastEvery {
			return manifest.Bad("schedule.every", fmt.Sprintf(`want a duration of at least a minute, such as "6h", got %q`, s.Every))
		}
		i.schedule = cron.Every(every)
	case s.Cron != "":
		schedule, err := parseCron(s.Cron)
		if err != nil {
			return manifest.Bad("schedule.cron", fmt.Sprintf(`want "minute hour day month weekday", such as "0 3 * * *", got %q`, s.Cron))
		}
		i.schedule = schedule
	}
	return nil
}

func parseCron(text string) (schedule cron.Schedule, err error) {
	if strings.ContainsAny(text, "=@") || len(text) > 256 {
		return nil, errors.New("zones and nicknames are not taken")
	}
	defer func() {
		if p := recover(); p != nil { // the parser trusts its input
			err = fmt.Errorf("%v", p)
		}
	}()
	return cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow).Parse(text)
}

func (i *Import) readRest() *manifest.Problem {
	var p *manifest.Problem
	if i.bytes, p = readBytes("limits.bytes", i.spec.Limits.Bytes); p != nil {
		return p
	}
	i.tags = i.spec.Limits.Tags
	if i.tags == 0 {
		i.tags = defaultTags
	}
	if i.tags < 0 {
		return manifest.Bad("limits.tags", "it cannot be negative")
	}
	if d := i.spec.Deletion; d != "" && d != v1alpha1.DeletionKeep && d != v1alpha1.DeletionUntag {
		return manifest.Bad("deletion", fmt.Sprintf("want %s or %s, got %q", v1alpha1.DeletionKeep, v1alpha1.DeletionUntag, d))
	}
	return nil
}

// sized keeps the exponents out that quantities may have, too.
var sized = regexp.MustCompile(`^[0-9]{1,12}(?:[KMGT]i|[kMGT])?$`)

func readBytes(field, text string) (int64, *manifest.Problem) {
	if text == "" {
		return defaultBytes, nil
	}
	if sized.MatchString(text) {
		if q, err := resource.ParseQuantity(text); err == nil && q.Value() > 0 {
			return q.Value(), nil
		}
	}
	return 0, manifest.Bad(field, fmt.Sprintf(`want a size such as "4Gi", got %q`, text))
}

// rebase makes the paths in what is common to imports and proxies absolute, and gives the first
// problem of it.
func rebase(folder string, login *v1alpha1.UpstreamCredentials, verify *v1alpha1.UpstreamVerification) *manifest.Problem {
	at := func(name *string) {
		if *name != "" && !strings.Contains(*name, ":") && !filepath.IsAbs(*name) {
			*name = filepath.Join(folder, *name)
		}
	}
	if login != nil {
		switch {
		case login.Username == "":
			return manifest.Bad("credentials.username", "it is empty")
		case login.Password == "" || login.Password == "env://":
			return manifest.Bad("credentials.password", `want "env://NAME" or a file`)
		}
		at(&login.Password)
	}
	if verify == nil {
		return nil
	}
	if len(verify.Keys)+len(verify.Identities) == 0 {
		return manifest.Bad("verify", "want keys or identities of those who sign images")
	}
	for i, id := range verify.Identities {
		if (id.Issuer == "") == (id.IssuerRegexp == "") || (id.Subject == "") == (id.SubjectRegexp == "") {
			return manifest.Bad(fmt.Sprintf("verify.identities[%d]", i), "want one of issuer and issuerRegexp, and one of subject and subjectRegexp")
		}
		for field, text := range map[string]string{"issuerRegexp": id.IssuerRegexp, "subjectRegexp": id.SubjectRegexp} {
			if _, err := regexp.Compile(text); err != nil {
				return manifest.Bad(fmt.Sprintf("verify.identities[%d].%s", i, field), "it is no regular expression")
			}
		}
	}
	for _, names := range [][]string{verify.Keys, verify.AttestationKeys} {
		for i := range names {
			at(&names[i])
		}
	}
	at(&verify.Root)
	return nil
}
