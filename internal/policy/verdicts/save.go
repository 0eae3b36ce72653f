package verdicts

import (
	"context"
	"maps"

	"plimsoll.dev/plimsoll/artifact"
)

// maxBatch is how many verdicts are saved at once.
const maxBatch = 512

// save brings the store up to date. What others are to be told of is in the journal first: who is
// killed after any step tells them twice rather than never.
func (k *Keeper) save(ctx context.Context) error {
	k.saving.Lock()
	defer k.saving.Unlock()
	for {
		batch, untold := k.table.takeUnsaved(k.opts.Publish != nil)
		if len(batch) == 0 {
			return nil
		}
		err := k.journal.add(opUntold, untold, false)
		if err == nil {
			err = k.store.Save(ctx, batch)
		}
		if err != nil {
			k.table.saveAgain(batch)
			return err
		}
		k.table.nowSaved(batch)
		k.queue.push(untold)
	}
}

// takeUnsaved gives verdicts that the store does not have, and the images of which others are to
// be told. Until nowSaved the table counts on nothing.
func (t *table) takeUnsaved(tell bool) (batch []artifact.Verdict, untold []Image) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for image := range t.unsaved {
		delete(t.unsaved, image)
		e := t.entries[image]
		e.saved = 0
		batch = append(batch, *e.verdict)
		if tell && !maps.Equal(e.told, e.verdict.Gates) {
			untold = append(untold, image)
		}
		if len(batch) == maxBatch {
			break
		}
	}
	return batch, untold
}

func (t *table) nowSaved(batch []artifact.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range batch {
		image := Image{batch[i].Repository, batch[i].Image}
		if e, saved := t.entries[image], sum(t.seed, &batch[i]); e != nil && e.sum == saved {
			e.saved = saved
			delete(t.unsaved, image)
		}
	}
}

func (t *table) saveAgain(batch []artifact.Verdict) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range batch {
		if image := (Image{batch[i].Repository, batch[i].Image}); t.entries[image] != nil {
			t.unsaved[image] = true
		}
	}
}

func (k *Keeper) wakeWriter() {
	select {
	case k.unsaved <- struct{}{}:
	default:
	}
}

// saveLoop saves what was decided. What could not be saved is tried again by the sweeper.
func (k *Keeper) saveLoop() {
	for {
		select {
		case <-k.work.Done():
			return
		case <-k.unsaved:
		}
		if err := k.save(k.work); err != nil && k.work.Err() == nil {
			k.opts.Log.Error("verdicts cannot be saved", "error", err)
		}
	}
}

// done notes that a task of the journal is. If that cannot be written it is done again after the
// next start.
func (k *Keeper) done(what op, image Image, number uint64) {
	if err := k.journal.done(what, image, number); err != nil {
		k.opts.Log.Error("the journal of verdicts cannot be written", "error", err)
	}
}
