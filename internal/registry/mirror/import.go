package mirror

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/registry/mirror/upstream"
)

// Result is what became of one tag.
type Result string

// The results.
const (
	Imported  Result = "imported"  // it is here, and its tag names it
	Unchanged Result = "unchanged" // as it was
	Denied    Result = "denied"    // not verified, or the site's policy refuses it; an older one keeps the tag
	Broken    Result = "failed"
	Untagged  Result = "untagged" // the source has it no more, nor do we
	Missing   Result = "missing"  // the source has it no more; ours stays
	Would     Result = "would import"
)

// Outcome is what became of one tag of the source.
type Outcome struct {
	Tag      string   `json:"tag"`
	To       string   `json:"to,omitempty"`       // our tag
	Upstream string   `json:"upstream,omitempty"` // digest of what theirs names
	Digest   string   `json:"digest,omitempty"`   // of what is here of it
	Result   Result   `json:"result"`
	Bytes    int64    `json:"bytes,omitempty"` // that came
	Why      string   `json:"why,omitempty"`
	Remedy   string   `json:"remedy,omitempty"` // of what is denied
	Notes    []string `json:"notes,omitempty"`

	kind    fault.Kind
	brought bool // all of it was looked at
}

// Report is what one run of an import came to.
type Report struct {
	Name        string    `json:"name"`
	Source      string    `json:"source"`
	Destination string    `json:"destination"`
	Tags        []Outcome `json:"tags"`
}

// Err gives nil when every tag is as the import wants it; else an error that names the first
// which is not, Denied only when nothing else went wrong.
func (r *Report) Err() error {
	var first *Outcome
	count := 0
	for i, o := range r.Tags {
		if o.Result != Denied && o.Result != Broken {
			continue
		}
		count++
		if first == nil || first.Result == Denied && o.Result == Broken {
			first = &r.Tags[i]
		}
	}
	if first == nil {
		return nil
	}
	why := first.Why
	if count > 1 {
		why += fmt.Sprintf(" (and %d more)", count-1)
	}
	return fault.Newf(first.kind, "import", r.Source+":"+first.Tag, why).
		WithHint("`plimsoll registry imports " + r.Name + "` tells of every tag")
}

// ImportOptions say how an import runs.
type ImportOptions struct {
	// DryRun resolves and verifies, and writes nothing.
	DryRun bool
	// Done hears of each tag. Nil: nobody does.
	Done func(o Outcome, done, total int)
}

// Import runs an import now. What became of single tags is in the report, and no error of the
// run; what keeps it from looking at tags at all is one.
func (m *Mirror) Import(ctx context.Context, i *Import, o ImportOptions) (*Report, error) {
	release, err := m.claim(ctx, i.Name)
	if err != nil {
		return nil, err
	}
	defer release()
	state, err := m.State(i)
	if err != nil {
		return nil, err
	}
	r := &run{mirror: m, spec: i, state: state, o: o, report: &Report{Name: i.Name, Source: i.Source, Destination: i.Destination}}
	r.take = &take{
		mirror: m, from: m.session(i.source, i.spec.Credentials), to: m.o.Registries.Session(),
		source: i.source, target: i.target, platforms: i.platforms, verify: i.spec.Verify,
		evidence: i.spec.Evidence == nil || *i.spec.Evidence, limit: i.bytes,
	}
	if o.DryRun {
		err := r.all(ctx)
		return r.report, err
	}
	state.Started = time.Now().UTC()
	err = r.all(ctx)
	if ended := r.end(ctx, err); err == nil {
		err = ended
	}
	return r.report, err
}

// run is one run of an import.
type run struct {
	mirror *Mirror
	spec   *Import
	state  *State
	take   *take
	o      ImportOptions
	report *Report
	target map[string]string // theirs, by our tag
}

// all looks at every tag that is wanted, then at those that were and are gone.
func (r *run) all(ctx context.Context) error {
	var there []string
	if r.spec.wantsList() {
		var err error
		if there, err = r.take.from.Tags(ctx, r.spec.source); err != nil {
			return upstream.Plain(err)
		}
		r.take.tags = map[string]bool{}
		for _, tag := range there {
			r.take.tags[tag] = true
		}
	}
	chosen, err := r.spec.choose(there)
	if err != nil {
		return err
	}
	r.target = map[string]string{}
	for n, tag := range chosen {
		o := r.tag(ctx, tag)
		if ctx.Err() != nil {
			return ctx.Err() // what it came to says nothing of the tag
		}
		if err := r.note(o, n+1, len(chosen)); err != nil {
			return err
		}
	}
	return r.gone(ctx, chosen)
}

// note keeps what became of a tag, before the next is looked at.
func (r *run) note(o Outcome, done, total int) error {
	r.report.Tags = append(r.report.Tags, o)
	if r.o.Done != nil {
		r.o.Done(o, done, total)
	}
	if r.o.DryRun {
		return nil
	}
	now, before := time.Now().UTC(), r.state.Tags[o.Tag]
	state := TagState{Outcome: o, At: now, Names: o.Result == Imported || o.Result == Unchanged, Brought: before.Brought}
	if o.brought {
		state.Brought = now
	}
	if !state.Names && before.Names {
		state.Names, state.To, state.Digest = o.Result != Untagged, before.To, before.Digest
	}
	r.state.Tags[o.Tag] = state
	return r.mirror.save(r.state)
}

// tag does what is to be done about one tag of the source.
func (r *run) tag(ctx context.Context, tag string) Outcome {
	// From here on it is the digest that counts: the tag may move meanwhile.
	digest, err := r.take.from.Head(ctx, r.spec.source.Tag(tag))
	if fault.KindOf(err) == fault.NotFound && r.state.Tags[tag].Names && !r.o.DryRun {
		return r.lost(ctx, tag)
	}
	o := Outcome{Tag: tag}
	if err == nil {
		o.Upstream = digest.String()
		err = r.bring(ctx, &o, digest)
	}
	if err != nil {
		o.fail(upstream.Plain(err))
	}
	return o
}

func (o *Outcome) fail(err error) {
	o.kind, o.Why, o.Result = fault.KindOf(err), shortened(err.Error()), Broken
	if o.kind == fault.Denied {
		o.Result, o.Remedy = Denied, shortened(fault.HintOf(err))
	}
}

func (r *run) bring(ctx context.Context, o *Outcome, digest v1.Hash) error {
	if err := r.claim(o, digest); err != nil {
		return err
	}
	named, err := r.named(ctx, o.To)
	if err != nil {
		return err
	}
	if before := r.state.Tags[o.Tag]; r.settled(before, digest) && before.To == o.To && before.Digest == named {
		o.Digest, o.Result = named, Unchanged
		return nil
	}
	if r.o.DryRun {
		return r.preview(ctx, o, digest)
	}
	o.brought = true
	sent := r.take.sent.Load()
	image, err := r.take.image(ctx, digest)
	o.Bytes, o.Notes = r.take.sent.Load()-sent, shortenedAll(image.notes)
	if image.Size > 0 {
		o.Digest = image.Digest.String()
	}
	if err != nil {
		return err
	}
	o.Result = Imported
	if named == o.Digest && o.Bytes == 0 {
		o.Result = Unchanged
		return nil
	}
	return r.take.name(ctx, image.Manifest, o.To)
}

// claim gives the tag its name here, which no other of this run may have.
func (r *run) claim(o *Outcome, digest v1.Hash) error {
	o.To = targetTag(r.spec.spec.Destination.Tag, o.Tag, digest)
	wrong := func(why string) error {
		return fault.Newf(fault.Failed, "name image", o.To, why).WithHint("change spec.destination.tag")
	}
	if !isTag(o.To) {
		return wrong("it is no tag")
	}
	if other, taken := r.target[o.To]; taken {
		return wrong("it is the name of " + other + " already")
	}
	r.target[o.To] = o.Tag
	return nil
}

// lookAgain is how long what is attached to an image counts as known.
const lookAgain = 24 * time.Hour

// settled says whether a tag was brought as the import still says it should be, and not long ago.
func (r *run) settled(before TagState, digest v1.Hash) bool {
	return r.state.Fingerprint == r.spec.fingerprint && before.Names && before.Upstream == digest.String() &&
		(before.Result == Imported || before.Result == Unchanged) &&
		(!r.take.evidence || time.Since(before.Brought) < lookAgain)
}

// named gives the digest that our tag names now, "" where there is no such tag.
func (r *run) named(ctx context.Context, tag string) (string, error) {
	digest, err := r.take.to.Head(ctx, r.spec.target.Tag(tag))
	if fault.KindOf(err) == fault.NotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return digest.String(), nil
}

func (r *run) preview(ctx context.Context, o *Outcome, digest v1.Hash) error {
	if err := r.take.check(ctx, digest); err != nil {
		return err
	}
	wanted, blobs, err := r.take.read(ctx, digest)
	if err != nil {
		return err
	}
	o.Result, o.Digest, o.Bytes = Would, wanted.Digest.String(), total(blobs)
	return nil
}

// gone looks at tags that an earlier run brought and the source has no more. Of those that the
// import only wants no more, nothing is said.
func (r *run) gone(ctx context.Context, chosen []string) error {
	if r.take.tags == nil || r.o.DryRun {
		return nil
	}
	for _, tag := range slices.Sorted(maps.Keys(r.state.Tags)) {
		switch {
		case slices.Contains(chosen, tag) || r.take.tags[tag]:
		case !r.state.Tags[tag].Names:
			delete(r.state.Tags, tag)
		default:
			if err := r.note(r.lost(ctx, tag), 0, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// lost does what is to be done about a tag of ours that the source has no more.
func (r *run) lost(ctx context.Context, tag string) Outcome {
	o := r.state.Tags[tag].Outcome
	o.Result, o.Bytes, o.Notes, o.Why, o.Remedy = Missing, 0, nil, "the source has it no more", ""
	if r.spec.spec.Deletion == v1alpha1.DeletionUntag {
		if err := r.untag(ctx, &o); err != nil {
			o.fail(err)
		}
	}
	return o
}

// untag removes our tag, unless it names something else by now.
func (r *run) untag(ctx context.Context, o *Outcome) error {
	named, err := r.named(ctx, o.To)
	if err != nil || named != "" && named != o.Digest {
		return err
	}
	o.Result = Untagged
	done, err := r.take.to.Delete(ctx, r.spec.target.Tag(o.To))
	if err == nil && !done {
		err = fault.Newf(fault.Denied, "remove tag", r.spec.target.Tag(o.To).String(), "the registry does not let it be removed")
	}
	return err
}

// end keeps what the run came to as a whole, and tells of it.
func (r *run) end(ctx context.Context, err error) error {
	s := r.state
	if err == nil {
		err = r.report.Err()
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return r.mirror.save(s) // it did not end
	}
	r.mirror.o.Ended(r.report, err)
	s.Finished, s.Error, s.Fingerprint = time.Now().UTC(), "", r.spec.fingerprint
	switch {
	case err == nil:
		s.Succeeded, s.Failures = s.Finished, 0
	case fault.KindOf(err) == fault.Denied:
		s.Error, s.Failures = shortened(err.Error()), 0 // trying again soon changes nothing
	default:
		s.Error, s.Failures = shortened(err.Error()), s.Failures+1
	}
	s.Next = r.spec.next(s)
	return r.mirror.save(s)
}

// shortened bounds what a registry outside may have written into the text of an error.
func shortened(text string) string {
	const most = 500
	text = strings.ToValidUTF8(text, "?")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

func shortenedAll(texts []string) []string {
	const most = 20
	var out []string
	for _, text := range texts[:min(most, len(texts))] {
		out = append(out, shortened(text))
	}
	if more := len(texts) - len(out); more > 0 {
		out = append(out, fmt.Sprintf("and %d more", more))
	}
	return out
}
