package judge

import (
	"context"
	"strings"
	"time"

	"plimsoll.dev/plimsoll/internal/aside"
	"plimsoll.dev/plimsoll/internal/policy/verdicts"
)

// WatchEvery is how often the judge looks for what others have changed.
const WatchEvery = 500 * time.Millisecond

// Watch has verdicts decided anew when the policies of the home change, and when other
// processes tell the inventory something; until ctx ends.
func (j *Judge) Watch(ctx context.Context) {
	tick := time.NewTicker(WatchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := PolicyState(j.home); now != j.seen.policies {
			changed := changedFiles(j.seen.policies, now)
			j.seen.policies = now
			j.reload(ctx, changed)
		}
		if now := trustState(j.home); now != j.seen.trust {
			was := j.seen.trust
			if j.seen.trust = now; !j.distrust(ctx) {
				j.seen.trust = was // it is tried again
			}
		}
		if now := advisoryState(j.home); now != j.seen.advisories {
			j.seen.advisories = now
			j.recompute(ctx)
		}
		if err := j.hearNews(ctx); err != nil && ctx.Err() == nil {
			j.log.Warn("the inventory does not say what is new", "error", err)
		}
	}
}

// hearNews has what others tell the inventory anew decided anew; all, where a base is among what is new.
func (j *Judge) hearNews(ctx context.Context) error {
	own, based := j.ownSince(j.seen.news)
	news, mark, err := j.index.News(ctx, j.seen.news, own...)
	if err == nil {
		j.seen.news = mark
	}
	changed := make([]verdicts.Image, len(news))
	for i, m := range news {
		changed[i] = verdicts.Image(m)
		based = j.gatherer().stands.forget(m.Digest) || based
	}
	j.keeper.FindingsChanged(changed...)
	if based {
		j.recompute(ctx)
	}
	return err
}

func (j *Judge) recompute(ctx context.Context) {
	if _, err := j.keeper.Recompute(ctx); err != nil && ctx.Err() == nil {
		j.log.Error("verdicts are not decided anew", "error", err)
	}
}

func (j *Judge) reload(ctx context.Context, changed []string) {
	stats, err := j.keeper.Reload(ctx)
	if err != nil {
		j.log.Error("the policies are not taken up: the former ones stay", "error", err)
		return
	}
	j.log.Info("took up the policies", "images", stats.Images, "verdictsChanged", stats.Changed)
	j.Tell(ctx, "changed: "+strings.Join(changed, ", "))
}

// Tell says which policies decide now, and why.
func (j *Judge) Tell(ctx context.Context, why string) {
	j.mu.Lock()
	set := j.set
	j.mu.Unlock()
	if j.TakenUp != nil {
		j.TakenUp(ctx, set, why)
	}
}

// distrust forgets who was believed: other keys and identities may be trusted now. It is false
// where not all images are looked into anew.
func (j *Judge) distrust(ctx context.Context) bool {
	g, err := NewGatherer(ctx, j.home)
	if err != nil {
		j.log.Error("whom to trust cannot be read anew: the former ones stay", "error", err)
		return true
	}
	j.mu.Lock()
	j.gather = g
	j.mu.Unlock()
	if err := j.lookAnew(ctx); err != nil {
		j.log.Error("others are trusted, and images are not looked into anew yet", "error", err)
		return false
	}
	return true
}

// lookAnew has all images looked into by the word of those who are trusted now, and notes who
// that is for the next start.
func (j *Judge) lookAnew(ctx context.Context) error {
	changed := map[string][]string{} // digests by repository
	for f, err := range j.All(ctx) {
		if err != nil {
			return err
		}
		changed[f.Image.Repository] = append(changed[f.Image.Repository], f.Image.Digest)
	}
	for repository, digests := range changed {
		if err := j.keeper.Changed(repository, digests...); err != nil {
			return err
		}
	}
	if len(changed) > 0 {
		j.log.Info("others are trusted: images are looked into anew", "repositories", len(changed))
	}
	return aside.WriteDurable(j.trustFile(), []byte(j.seen.trust))
}
