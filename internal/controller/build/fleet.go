package build

import (
	"context"
	"fmt"
	"runtime/debug"
	"sync"

	"golang.org/x/sync/errgroup"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"plimsoll.dev/plimsoll/api/v1alpha1"
	"plimsoll.dev/plimsoll/internal/controller/secrets"
	"plimsoll.dev/plimsoll/internal/fault"
)

// maxFleets is how many are under way at a time.
const maxFleets = 2

// writers is how many ends of a fleet are written down at a time.
const writers = 16

// fleet rebases the Images of many Builds at once. A single one is written once, at its end.
func (r *runner) fleet(ctx context.Context, fleet []started) {
	defer r.landed()
	jobs, of := r.prepare(ctx, fleet)
	var writing errgroup.Group
	writing.SetLimit(writers)
	told := newTold(len(jobs))
	r.rebase(ctx, jobs, func(i int, outcome Outcome, err error) {
		if !told.first(i) {
			return
		}
		if err == nil && !outcome.Unchanged && outcome.RunImage != nil {
			r.moved.count(*outcome.RunImage)
		}
		err = redact(err, jobs[i].Secrets.Redactor())
		writing.Go(func() error {
			r.end(of[i], outcome, err, report{})
			return nil
		})
	})
	for _, i := range told.missing() {
		r.end(of[i], Outcome{}, fault.Newf(fault.Unavailable, "rebase", of[i].build.Name, "it was not done"), report{})
	}
	_ = writing.Wait()
}

// rebase has the worker rebase; a mistake in it does not end the process.
func (r *runner) rebase(ctx context.Context, jobs []Job, end func(int, Outcome, error)) {
	defer func() {
		if p := recover(); p != nil {
			log.FromContext(ctx).Error(fmt.Errorf("panic: %v", p), "rebase", "stack", string(debug.Stack()))
		}
	}()
	r.worker.Rebase(ctx, jobs, end)
}

// prepare gives a job for each Build of the fleet whose Image is there and may be read; the others
// it ends. Images of one service account share its logins.
func (r *runner) prepare(ctx context.Context, fleet []started) (jobs []Job, of []started) {
	type account struct{ namespace, name string }
	type login struct {
		secrets.Logins
		err error
	}
	logins := map[account]login{}
	for _, b := range fleet {
		stands, err := r.stands(ctx, b)
		if err == nil && !stands {
			r.finish(b.entry, nil, true)
			r.wake(b.image) // it asks again
			continue
		}
		var i *v1alpha1.Image
		if err == nil {
			i, err = r.imageOf(ctx, b.build)
		}
		if err == nil && i == nil {
			r.finish(b.entry, nil, true)
			continue
		}
		if err != nil {
			r.end(b, Outcome{}, fault.New(fault.Unavailable, "read the Image of", b.build.Name, err), report{})
			continue
		}
		who := account{i.Namespace, i.Spec.ServiceAccountName}
		l, known := logins[who]
		if !known {
			l.Logins, l.err = secrets.ResolveLogins(ctx, r.api, who.namespace, who.name)
			logins[who] = l
		}
		if l.err != nil {
			r.end(b, Outcome{}, l.err, report{})
			continue
		}
		jobs = append(jobs, Job{Image: i, Build: b.build.DeepCopy(), Secrets: secrets.Resolved{Logins: l.Logins}})
		of = append(of, b)
	}
	return jobs, of
}

// told is which jobs the worker has told the end of.
type told struct {
	mu   sync.Mutex
	done []bool
}

func newTold(n int) *told { return &told{done: make([]bool, n)} }

// first says that nobody has told of the job before.
func (t *told) first(i int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.done[i]
	t.done[i] = true
	return !was
}

func (t *told) missing() (out []int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, done := range t.done {
		if !done {
			out = append(out, i)
		}
	}
	return out
}
