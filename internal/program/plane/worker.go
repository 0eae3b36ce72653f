package plane

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/build"
	"plimsoll.dev/plimsoll/internal/build/override"
	controller "plimsoll.dev/plimsoll/internal/controller/build"
	"plimsoll.dev/plimsoll/internal/controller/logs"
	"plimsoll.dev/plimsoll/internal/controller/tag"
	"plimsoll.dev/plimsoll/internal/executor"
	"plimsoll.dev/plimsoll/internal/executor/pod"
	"plimsoll.dev/plimsoll/internal/fault"
	"plimsoll.dev/plimsoll/internal/oci"
	"plimsoll.dev/plimsoll/internal/site"
	"plimsoll.dev/plimsoll/internal/source"
)

// worker is build.Worker in the site.
type worker struct {
	*Plane
	cache client.Reader     // of Builders
	steps executor.Executor // nil is the site's own

	// judged waits a while for a verdict on what a tag names now. nil does not.
	judged func(ctx context.Context, tag, digest string)
}

// Build implements controller.Worker.
func (w worker) Build(ctx context.Context, job controller.Job, log io.Writer, step func(v1alpha1.BuildStep)) (controller.Outcome, error) {
	var none controller.Outcome
	b, err := w.declared(ctx, job.Image.Spec.Builder.Name)
	if err != nil {
		return none, err
	}
	request, err := w.request(job, b)
	if err != nil {
		return none, err
	}
	if err := w.heldAlready(job, request.Tag); err != nil {
		return none, err
	}
	if err := w.admit(ctx, job); err != nil {
		return none, err
	}
	end, err := w.lend(job, &request)
	if err != nil {
		return none, err
	}
	defer end()
	request.Log = log
	request.Verbose = true // whoever reads the log cannot run it again as he likes
	request.Progress = func(n build.Note) {
		if n.Began {
			logs.Begin(log, n.Phase, n.Architecture)
			return
		}
		step(v1alpha1.BuildStep{Name: n.Phase, Architecture: n.Architecture, Duration: metav1.Duration{Duration: n.Duration.Round(time.Millisecond)}, Text: n.Text})
	}
	ctx = pod.With(ctx, pod.Placement{Scheduling: job.Image.Spec.Build.Scheduling, Requests: job.Image.Spec.Build.Resources.Requests})
	built, err := w.site.Build(ctx, request)
	if err != nil {
		return none, err
	}
	first := built.Images[0]
	out := controller.Outcome{
		Digest: built.Digest, Tags: w.names(request.Tag, request.AdditionalTags), Unchanged: built.Unchanged,
		RunImage: w.stoodOn(b, first.RunImage), Buildpacks: first.Buildpacks,
	}
	w.judge(ctx, job, out)
	return out, nil
}

// heldAlready says whether the home has the overrides that hold for the job. Their reconciler writes
// them there, and hears of them at the same time as the Image's.
func (w worker) heldAlready(job controller.Job, at oci.Reference) error {
	kept, err := override.Load(build.OverridesFolder(w.site.Folder))
	if err != nil {
		return err
	}
	for _, wanted := range sound(job.Overrides).For(at.Repository(), time.Now()) {
		same := func(o v1alpha1.DependencyOverride) bool {
			return o.Name == wanted.Name && override.Holding{o}.Digest() == override.Holding{wanted}.Digest()
		}
		if !slices.ContainsFunc(kept.All(), same) { // it may have others, of its own
			return fault.Newf(fault.Unavailable, "build", job.Image.Spec.Tag, "its overrides have not reached the home yet")
		}
	}
	return nil
}

// stoodOn gives the run image as the builder's status names it: by the digest of its tag, which may
// be an index, where the build knows the image of one architecture. The status is from before the
// build, so that a base which moved meanwhile is seen to be newer.
func (w worker) stoodOn(b *v1alpha1.Builder, image string) *v1alpha1.Published {
	name, digest, _ := strings.Cut(image, "@")
	for _, run := range b.Status.Run {
		if is, err := w.placed(run.Image); err == nil && is == name && run.Digest != "" {
			name, digest = run.Image, run.Digest
			break
		}
	}
	return &v1alpha1.Published{Image: name, Digest: digest}
}

// request gives the build of the job, without what is secret.
func (w worker) request(job controller.Job, b *v1alpha1.Builder) (r site.BuildRequest, err error) {
	spec := &job.Image.Spec
	if r.Tag, err = w.place(spec.Tag); err != nil {
		return r, err
	}
	if r.AdditionalTags, err = w.additional(job); err != nil {
		return r, err
	}
	if r.Builder, err = w.builder(b, job.Build.Spec.Inputs.Builder); err != nil {
		return r, err
	}
	if spec.Cache.Image != "" {
		if r.Cache.Image, err = w.place(spec.Cache.Image); err != nil {
			return r, err
		}
	}
	r.Cache.Clear = spec.Cache.Disabled
	if r.RunImage, err = w.placed(spec.Build.RunImage); err != nil {
		return r, err
	}
	r.Architectures, r.Force = spec.Architectures, job.Force
	r.Location, r.Source = location(spec, job.Build.Spec.Inputs.Source)
	r.Settings = build.Settings{
		Buildpacks: spec.Build.Buildpacks, Process: spec.Build.Process, Offline: spec.Build.Network == v1alpha1.NetworkNone,
		Client: build.ClientSettings(w.site.Getenv), Trust: build.ClientTrust(w.site.Getenv),
		Limits: executor.Limits{
			Memory:   spec.Build.Resources.Limits.Memory().Value(),
			MilliCPU: spec.Build.Resources.Limits.Cpu().MilliValue(),
		},
	}
	r.Executor = w.steps
	r.Means = w.means("image", job.Image.Namespace+"/"+job.Image.Name)
	return r, nil
}

// location gives where the source is, at just the revision that the Build is of.
func location(spec *v1alpha1.ImageSpec, revision string) (string, source.Options) {
	o := source.Options{Subpath: spec.Source.Subpath}
	switch from := spec.Source; {
	case from.Git != nil:
		o.Ref = revision
		return from.Git.URL, o
	case from.Archive != nil:
		o.Checksum = revision
		return from.Archive.URL, o
	default:
		name, _, _ := strings.Cut(from.Artifact.Image, "@")
		return "oci://" + name + "@" + revision, o
	}
}

// additional are the tags that name the image besides its own.
func (w worker) additional(job controller.Job) ([]oci.Reference, error) {
	var out []oci.Reference
	for _, name := range job.Image.Spec.AdditionalTags {
		ref, err := w.place(name)
		if err != nil {
			return nil, err
		}
		out = append(out, ref)
	}
	if job.Image.Spec.TaggingStrategy != v1alpha1.TaggingBuildNumber {
		return out, nil
	}
	ref, err := w.place(job.Image.Spec.Tag)
	if err != nil {
		return nil, err
	}
	made := job.Build.CreationTimestamp.UTC().Format("20060102.150405")
	return append(out, ref.Tag(strings.Join([]string{ref.Identifier(), "b" + number(job.Build.Spec.Number) + "." + made}, "-"))), nil
}

// declared gives the Builder of that name.
func (w worker) declared(ctx context.Context, name string) (*v1alpha1.Builder, error) {
	var b v1alpha1.Builder
	if err := w.cache.Get(ctx, client.ObjectKey{Name: name}, &b); err != nil {
		return nil, fault.New(fault.NotFound, "find builder", name, err).WithHint("declare a Builder of that name: docs/builders.md")
	}
	return &b, nil
}

// builder gives the builder image as it was when the Build was made: a newer one is the next
// Build's.
func (w worker) builder(b *v1alpha1.Builder, digest string) (oci.Reference, error) {
	text, err := tag.Of(b)
	if err != nil {
		return oci.Reference{}, err
	}
	ref, err := w.place(text)
	if err != nil {
		return ref, err
	}
	return at(ref, digest)
}

// names are the tags as users know them.
func (w worker) names(first oci.Reference, others []oci.Reference) []string {
	out := []string{w.reach(first)}
	for _, ref := range others {
		out = append(out, w.reach(ref))
	}
	return out
}

// Rebase implements controller.Worker.
func (w worker) Rebase(ctx context.Context, jobs []controller.Job, end func(int, controller.Outcome, error)) {
	byLogins := map[account][]int{}
	for i, job := range jobs {
		if job.Build.Annotations[v1alpha1.AnnotationMoved] != "" {
			out, err := w.look(ctx, job)
			end(i, out, err)
			continue
		}
		byLogins[accountOf(job)] = append(byLogins[accountOf(job)], i)
	}
	var rebasing errgroup.Group
	rebasing.SetLimit(mostFleets)
	for _, these := range byLogins {
		rebasing.Go(func() error {
			w.rebase(ctx, jobs, these, end)
			return nil
		})
	}
	_ = rebasing.Wait()
}

// mostFleets is how many parts of a fleet are under way at a time.
const mostFleets = 8

// mostJudged is how many images of a part wait for their verdicts at a time.
const mostJudged = 32

// judge waits for the verdict on what has come of a job.
func (w worker) judge(ctx context.Context, job controller.Job, out controller.Outcome) {
	if w.judged != nil {
		w.judged(ctx, job.Image.Spec.Tag, out.Digest)
	}
}

// account names a service account; the zero value is one that has no logins.
type account struct{ namespace, name string }

func accountOf(job controller.Job) account {
	if len(job.Secrets.Registries) == 0 {
		return account{}
	}
	return account{job.Image.Namespace, job.Image.Spec.ServiceAccountName}
}

// rebase rebases those of the jobs, which have the same logins: nobody's image is read or written
// with another's.
func (w worker) rebase(ctx context.Context, jobs []controller.Job, these []int, end func(int, controller.Outcome, error)) {
	items, places := make([]site.RebaseItem, 0, len(these)), map[string]int{}
	for _, i := range these {
		item, err := w.item(jobs[i])
		if err == nil {
			err = w.admit(ctx, jobs[i])
		}
		if err != nil {
			end(i, controller.Outcome{}, err)
			continue
		}
		places[item.Tag] = i
		items = append(items, item)
	}
	if len(items) == 0 {
		return
	}
	var judging errgroup.Group // while others are rebased
	judging.SetLimit(mostJudged)
	o := site.RebaseOptions{Means: w.means("fleet", number(int64(len(items))))}
	o.Registries = w.registries(jobs[these[0]].Secrets.Logins)
	err := w.site.Rebase(ctx, items, o, func(r site.RebaseOutcome) {
		i := places[r.Item.Tag]
		delete(places, r.Item.Tag)
		if r.Err != nil {
			end(i, controller.Outcome{}, r.Err)
			return
		}
		out := controller.Outcome{Digest: r.To, Unchanged: r.From == r.To}
		for _, name := range append([]string{r.Item.Tag}, r.Item.AdditionalTags...) {
			if ref, err := oci.ParseTag(name); err == nil {
				out.Tags = append(out.Tags, w.reach(ref))
			}
		}
		if inputs := jobs[i].Build.Spec.Inputs; inputs.RunImage != "" {
			out.RunImage = &v1alpha1.Published{Image: inputs.RunImage, Digest: inputs.RunDigest}
		}
		judging.Go(func() error {
			w.judge(ctx, jobs[i], out)
			end(i, out, nil)
			return nil
		})
	})
	_ = judging.Wait()
	for tag, i := range maps.Clone(places) {
		if err == nil {
			err = fault.Newf(fault.Failed, "rebase", tag, "nothing was said of it")
		}
		end(i, controller.Outcome{}, err)
	}
}

// item is the job as an image to put on a newer base.
func (w worker) item(job controller.Job) (site.RebaseItem, error) {
	ref, err := w.place(job.Image.Spec.Tag)
	if err != nil {
		return site.RebaseItem{}, err
	}
	item := site.RebaseItem{Tag: ref.String()}
	if item.RunImage, err = w.placed(job.Build.Spec.Inputs.RunImage); err != nil {
		return item, err
	}
	others, err := w.additional(job)
	for _, other := range others {
		item.AdditionalTags = append(item.AdditionalTags, other.String())
	}
	return item, err
}
