package registry

import (
	"context"
	"errors"
	"fmt"
	"path"
	"runtime/debug"
	"slices"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"plimsoll.dev/plimsoll/artifact"
	"plimsoll.dev/plimsoll/internal/registry/call"
)

// ruling is what came of asking about one manifest.
type ruling struct {
	Judgement
	manifest digest.Digest // that was judged
}

func (r ruling) released() bool { return r.Action.Rank() < artifact.ActionDeny.Rank() }

func allowed() ruling { return ruling{Judgement: Judgement{Action: artifact.ActionAllow}} }

func held(d digest.Digest, why, remedy string) ruling {
	return ruling{Judgement{Action: artifact.ActionDeny, Why: why, Remedy: remedy}, d}
}

func unjudged(d digest.Digest) ruling {
	return held(d, "it is not judged yet", "try again in a minute")
}

// asker asks the gate about a manifest.
type asker func(ctx context.Context, repo string, d digest.Digest) ruling

// maxChain is how far evidence may follow evidence: a signature of a signature of an image.
const maxChain = 4

// ruleBlob gives the ruling by which a blob is released, else one by which it is not. there is
// false where the repository has no manifest that refers to it.
func (q *quarantine) ruleBlob(ctx context.Context, repo string, canonical digest.Digest) (found ruling, there bool, err error) {
	if canonical == v1.DescriptorEmptyJSON.Digest { // "{}" tells nobody anything
		return allowed(), true, nil
	}
	// Who pulls a blob has pulled its manifest, so the first of these mostly finds that. The
	// second looks at what others pushed to the store, and only the third waits.
	for _, step := range []struct {
		look bool
		ask  asker
	}{{false, q.known}, {true, q.known}, {false, q.judge}} {
		if step.look {
			if err := q.look(ctx, repo); err != nil {
				return ruling{}, false, err
			}
		}
		found, there, err = q.ruleUsers(ctx, repo, canonical, step.ask)
		if err != nil || there && found.released() {
			return found, there, err
		}
	}
	return found, there, nil
}

// ruleUsers gives the ruling of the first of a blob's manifests that is released and still
// there, else that of one which is not; there is false when there are none.
func (q *quarantine) ruleUsers(ctx context.Context, repo string, blob digest.Digest, ask asker) (found ruling, there bool, err error) {
	h := q.contents.of(repo)
	for i, it := range h.usersOf(blob) {
		one, err := q.rule(ctx, repo, it, ask)
		if err != nil {
			return ruling{}, false, err
		}
		if !one.released() {
			found, there = one, true
			continue
		}
		if live, err := q.store.exists(ctx, path.Join(revisionDir(repo, it.digest), "link")); err != nil || live {
			if i > 0 {
				h.prefer(blob, it)
			}
			return one, live, err
		}
	}
	return found, there, nil
}

// ruleNamed gives the ruling of a manifest of the repository; there is false where it has none
// of that name.
func (q *quarantine) ruleNamed(ctx context.Context, repo string, d digest.Digest, ask asker) (found ruling, there bool, err error) {
	it, err := q.item(ctx, repo, d)
	if err != nil || it == nil {
		return ruling{}, false, err
	}
	found, err = q.rule(ctx, repo, it, ask)
	return found, true, err
}

// rule gives the ruling of a manifest. Evidence about another one is released with that, and
// is no content of its own; all else is judged.
func (q *quarantine) rule(ctx context.Context, repo string, it *item, ask asker) (ruling, error) {
	return q.ruleWithin(ctx, repo, it, ask, maxChain)
}

func (q *quarantine) ruleWithin(ctx context.Context, repo string, it *item, ask asker, chain int) (ruling, error) {
	if !it.typed || chain == 0 {
		return ask(ctx, repo, it.digest), nil
	}
	subjects, err := q.subjects(ctx, repo, it)
	if err != nil || len(subjects) == 0 || len(subjects) > maxSubjects {
		return ask(ctx, repo, it.digest), err
	}
	if proven, err := q.isEvidence(ctx, repo, it); err != nil || !proven {
		return ask(ctx, repo, it.digest), err
	}
	var mildest ruling
	for i, subject := range subjects {
		one, err := q.ruleWithin(ctx, repo, subject, ask, chain-1)
		if err != nil {
			return ruling{}, err
		}
		if i == 0 || one.Action.Rank() < mildest.Action.Rank() {
			mildest = one
		}
	}
	return mildest, nil
}

// maxSubjects is how many manifests one may be about and be evidence still: each has to be ruled on.
const maxSubjects = 16

// subjects gives the manifests of the repository that one says it is about: the subject it
// names, else those of the tags that keep it (cosign's sha256-….sig).
func (q *quarantine) subjects(ctx context.Context, repo string, it *item) ([]*item, error) {
	names := []digest.Digest{it.subject}
	if it.subject == "" {
		var err error
		if names, err = q.signed(ctx, repo, it); err != nil {
			return nil, err
		}
	}
	var found []*item
	for _, d := range names {
		subject, err := q.item(ctx, repo, d)
		if err != nil {
			return nil, err
		}
		if subject != nil {
			found = append(found, subject)
		}
	}
	return found, nil
}

// signed gives the images that the tags of a manifest speak of, as they are now.
func (q *quarantine) signed(ctx context.Context, repo string, it *item) ([]digest.Digest, error) {
	for _, look := range []bool{false, true} {
		if look {
			if err := q.lookAtTags(ctx, repo); err != nil {
				return nil, err
			}
		}
		var images []digest.Digest
		for _, tag := range q.contents.of(repo).tagsOf(it.digest) {
			now, err := q.tagged(ctx, repo, tag)
			if err != nil {
				return nil, err
			}
			if image := signedBelow(tag); now == it.digest && !slices.Contains(images, image) {
				images = append(images, image)
			}
		}
		if len(images) > 0 {
			return images, nil
		}
	}
	return nil, nil
}

// tagged gives the canonical digest of what a tag names; "" for none.
func (q *quarantine) tagged(ctx context.Context, repo, tag string) (digest.Digest, error) {
	d, ok, err := q.store.link(ctx, tagLink(repo, tag))
	if err != nil || !ok {
		return "", err
	}
	canonical, _, err := q.store.revision(ctx, repo, d)
	return canonical, err
}

// known asks the gate for what stands at once.
func (q *quarantine) known(_ context.Context, repo string, d digest.Digest) ruling {
	found, _ := q.standing(repo, d)
	return found
}

// judge asks the gate, and waits until ctx ends. Who asks for the same meanwhile gets the same
// answer, and a client that goes ends nothing.
func (q *quarantine) judge(ctx context.Context, repo string, d digest.Digest) ruling {
	if found, ok := q.standing(repo, d); ok {
		return found
	}
	answer := q.flights.DoChan(repo+"@"+d.String(), func() (any, error) { return q.ask(ctx, repo, d), nil })
	select {
	case a := <-answer:
		return a.Val.(ruling)
	case <-ctx.Done():
		return q.known(ctx, repo, d)
	}
}

// standing gives what the gate says at once; ok is false where it says nothing, and the ruling
// then refuses for the time being.
func (q *quarantine) standing(repo string, d digest.Digest) (found ruling, ok bool) {
	defer q.recovered(repo, d, &found)
	if j, ok := q.gate.Known(repo, d); ok {
		return ruling{j, d}, true
	}
	return unjudged(d), false
}

// ask asks the gate in the name of this process.
func (q *quarantine) ask(ctx context.Context, repo string, d digest.Digest) (found ruling) {
	defer q.recovered(repo, d, &found)
	inside := call.WithRecord(call.WithPrincipal(context.WithoutCancel(ctx), nil), &call.Record{})
	inside, cancel := context.WithTimeout(inside, q.patience)
	defer cancel()
	j, err := q.gate.Judge(inside, repo, d)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return q.known(ctx, repo, d)
	case err != nil:
		return q.failed(repo, d, err)
	}
	return ruling{j, d}
}

// recovered makes a gate that panics one that failed.
func (q *quarantine) recovered(repo string, d digest.Digest, found *ruling) {
	if p := recover(); p != nil {
		*found = q.failed(repo, d, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
	}
}

// failed refuses what could not be judged. The cause goes to the log, not to the client.
func (q *quarantine) failed(repo string, d digest.Digest, err error) ruling {
	q.log.Error("registry gate failed", "repository", repo, "digest", d, "error", err)
	return held(d, "it could not be judged", "try again later; the registry's log has the cause")
}

// item gives what the index knows of a manifest of the repository, which it reads if need be;
// nil where there is none of that name.
func (q *quarantine) item(ctx context.Context, repo string, d digest.Digest) (*item, error) {
	if d.Validate() != nil {
		return nil, nil
	}
	canonical, ok, err := q.store.revision(ctx, repo, d)
	if err != nil || !ok {
		return nil, err
	}
	if it := q.contents.of(repo).item(canonical); it != nil {
		return it, nil
	}
	content, err := q.store.driver.GetContent(ctx, path.Join(blobDir(canonical), "data"))
	if isMissing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return q.learn(ctx, repo, content)
}
